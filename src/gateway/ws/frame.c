/*-------------------------------------------------------------------------
 *
 * frame.c
 *	  Complete WebSocket frames, and queues of them.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/ws/frame.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/base/text.h"

#define FRAME_FIN             0x80
#define FRAME_COMPRESSED      0x40 /* RSV1 (RFC 7692, 6) */
#define FRAME_OPCODE          0x0f
#define FRAME_OPCODE_TEXT     0x1
#define FRAME_OPCODE_BINARY   0x2
#define FRAME_OPCODE_CONTINUE 0x0

/* A full fragment: its length has the 16-bit form. */
#define FRAME_FRAGMENT_SIZE (4 + FRAME_FRAGMENT)

#define QUEUE_FIRST_CAPACITY 8

static size_t frame_total;

size_t
frame_memory(void)
{
	return frame_total;
}

/* Write the header of a fragment of len <= 65535 bytes, and return its size. */
static size_t
frame_header(uint8_t *to, uint8_t first, size_t len)
{
	to[0] = first;
	if (len <= FRAME_CONTROL_MAX)
	{
		to[1] = (uint8_t) len;
		return 2;
	}
	to[1] = 126;
	to[2] = (uint8_t) (len >> 8);
	to[3] = (uint8_t) len;
	return 4;
}

static Frame *
frame_new(size_t size)
{
	Frame *frame = memory_new(sizeof(Frame) + size);

	frame->refs = 1;
	frame->len = 0;
	return frame;
}

/* The frame is complete: count its memory. */
static Frame *
frame_done(Frame *frame)
{
	frame_total += memory_taken(frame);
	return frame;
}

/* Copy size bytes from the parts, skipping the first *offset bytes of the first part. */
static void
frame_copy_parts(Frame *frame, const WireBytes **parts, size_t *offset, size_t size)
{
	while (size > 0)
	{
		size_t len = (*parts)->len - *offset;

		if (len > size)
			len = size;
		if (len > 0)
			memcpy(frame->data + frame->len, (*parts)->data + *offset, len);
		frame->len += (uint32_t) len;
		size -= len;
		*offset += len;
		if (*offset == (*parts)->len)
		{
			(*parts)++;
			*offset = 0;
		}
	}
}

/* Make a message whose first fragment begins with this byte. */
static Frame *
frame_message(uint8_t opcode, const WireBytes *parts, size_t count)
{
	size_t len = 0;
	size_t offset = 0;
	size_t size;
	Frame *frame;

	for (size_t i = 0; i < count; i++)
		len += parts[i].len;
	frame = frame_new(len + (len / FRAME_FRAGMENT + 1) * 4);
	do
	{
		size = len > FRAME_FRAGMENT ? FRAME_FRAGMENT : len;
		frame->len += (uint32_t) frame_header(frame->data + frame->len,
											  opcode | (size == len ? FRAME_FIN : 0), size);
		frame_copy_parts(frame, &parts, &offset, size);
		len -= size;
		opcode = FRAME_OPCODE_CONTINUE;
	} while (len > 0);
	return frame_done(frame);
}

Frame *
frame_text(const WireBytes *parts, size_t count)
{
	return frame_message(FRAME_OPCODE_TEXT, parts, count);
}

Frame *
frame_binary(const WireBytes *parts, size_t count)
{
	return frame_message(FRAME_OPCODE_BINARY, parts, count);
}

Frame *
frame_compressed(const Frame *message, WireBytes data)
{
	return frame_message(FRAME_COMPRESSED | (message->data[0] & FRAME_OPCODE), &data, 1);
}

bool
frame_is_text(const Frame *frame)
{
	return (frame->data[0] & (FRAME_COMPRESSED | FRAME_OPCODE)) == FRAME_OPCODE_TEXT;
}

bool
frame_next(const Frame *frame, size_t *offset, WireBytes *part)
{
	const uint8_t *head = frame->data + *offset;

	if (*offset == frame->len)
		return false;
	if (head[1] == 126)
		*part =
			(WireBytes){.data = (const char *) head + 4, .len = (uint32_t) head[2] << 8 | head[3]};
	else
		*part = (WireBytes){.data = (const char *) head + 2, .len = head[1]};
	*offset = (size_t) ((const uint8_t *) part->data - frame->data) + part->len;
	return true;
}

size_t
frame_payload(const Frame *frame)
{
	size_t size = 0;
	size_t offset = 0;
	WireBytes part;

	while (frame_next(frame, &offset, &part))
		size += part.len;
	return size;
}

Frame *
frame_plain(const WireBytes *parts, size_t count)
{
	size_t len = 0;
	size_t offset = 0;
	Frame *frame;

	for (size_t i = 0; i < count; i++)
		len += parts[i].len;
	frame = frame_new(len);
	frame_copy_parts(frame, &parts, &offset, len);
	return frame_done(frame);
}

Frame *
frame_control(uint8_t opcode, const void *payload, size_t len)
{
	Frame *frame;

	if (len > FRAME_CONTROL_MAX)
		len = FRAME_CONTROL_MAX;
	frame = frame_new(2 + len);
	frame->len = (uint32_t) frame_header(frame->data, FRAME_FIN | opcode, len);
	if (len > 0)
		memcpy(frame->data + frame->len, payload, len);
	frame->len += (uint32_t) len;
	return frame_done(frame);
}

Frame *
frame_close(uint16_t code, const char *reason)
{
	uint8_t payload[FRAME_CONTROL_MAX];
	size_t len = text_utf8_cut(reason, strlen(reason), sizeof(payload) - 2);

	payload[0] = (uint8_t) (code >> 8);
	payload[1] = (uint8_t) code;
	memcpy(payload + 2, reason, len);
	return frame_control(FRAME_OPCODE_CLOSE, payload, len + 2);
}

Frame *
frame_ref(Frame *frame)
{
	frame->refs++;
	return frame;
}

void
frame_unref(Frame *frame)
{
	if (--frame->refs > 0)
		return;
	frame_total -= memory_taken(frame);
	free(frame);
}

size_t
frame_cut(const Frame *frame, size_t offset, size_t room)
{
	size_t left = frame->len - offset;
	size_t fragments;

	if (left <= room || left <= FRAME_FRAGMENT_SIZE)
		return left;
	fragments = room / FRAME_FRAGMENT_SIZE;
	return (fragments > 0 ? fragments : 1) * FRAME_FRAGMENT_SIZE;
}

static QueueEntry *
queue_at(const Queue *queue, uint32_t i)
{
	return &queue->ring[(queue->head + i) & (queue->capacity - 1)];
}

static void
queue_grow(Queue *queue)
{
	uint32_t capacity = queue->capacity ? queue->capacity * 2 : QUEUE_FIRST_CAPACITY;
	QueueEntry *ring = memory_new(capacity * sizeof(QueueEntry));

	for (uint32_t i = 0; i < queue->count; i++)
		ring[i] = *queue_at(queue, i);
	frame_total += memory_taken(ring) - memory_taken(queue->ring);
	free(queue->ring);
	queue->ring = ring;
	queue->capacity = capacity;
	queue->head = 0;
}

void
queue_append(Queue *queue, Frame *frame, FrameNote note, size_t offset)
{
	if (queue->count == queue->capacity)
		queue_grow(queue);
	if (queue->count == 0)
		queue->offset = (uint32_t) offset;
	queue->count++;
	*queue_at(queue, queue->count - 1) = (QueueEntry){.frame = frame_ref(frame), .note = note};
	queue->bytes += frame->len - offset + sizeof(QueueEntry);
}

const uint8_t *
queue_peek(const Queue *queue, uint8_t *scratch, size_t room, size_t *len)
{
	const Frame *first;
	size_t size;

	*len = 0;
	if (queue->count == 0)
		return NULL;
	first = queue_at(queue, 0)->frame;
	size = frame_cut(first, queue->offset, room);
	if (queue->count == 1 || queue->offset + size < first->len ||
		size + queue_at(queue, 1)->frame->len > room)
	{
		*len = size;
		return first->data + queue->offset;
	}

	memcpy(scratch, first->data + queue->offset, size);
	for (uint32_t i = 1; i < queue->count; i++)
	{
		const Frame *frame = queue_at(queue, i)->frame;

		if (size + frame->len > room)
			break;
		memcpy(scratch + size, frame->data, frame->len);
		size += frame->len;
	}
	*len = size;
	return scratch;
}

void
queue_consume(Queue *queue, size_t len, void (*done)(void *arg, const FrameNote *note), void *arg)
{
	while (len > 0)
	{
		QueueEntry entry = *queue_at(queue, 0);
		size_t left = entry.frame->len - queue->offset;

		if (len < left)
		{
			queue->offset += (uint32_t) len;
			queue->bytes -= len;
			return;
		}
		len -= left;
		queue->bytes -= left + sizeof(QueueEntry);
		queue->offset = 0;
		queue->head = (queue->head + 1) & (queue->capacity - 1);
		queue->count--;
		if (done != NULL)
			done(arg, &entry.note);
		frame_unref(entry.frame);
	}
	if (queue->count == 0)
		queue_clear(queue);
}

void
queue_clear(Queue *queue)
{
	for (uint32_t i = 0; i < queue->count; i++)
		frame_unref(queue_at(queue, i)->frame);
	frame_total -= memory_taken(queue->ring);
	free(queue->ring);
	*queue = (Queue){0};
}

uint64_t
queue_before(const Queue *queue)
{
	uint64_t before = FRAME_NO_POSITION;

	for (uint32_t i = 0; i < queue->count; i++)
		if (queue_at(queue, i)->note.before < before)
			before = queue_at(queue, i)->note.before;
	return before;
}
