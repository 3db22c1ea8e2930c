/*-------------------------------------------------------------------------
 *
 * frame.h
 *	  Complete WebSocket frames, shared by all clients that get them, and the queue of a client's
 *	  frames.
 *
 * A message is framed once (RFC 6455, 5.2; a server does not mask). A message that is longer than
 * FRAME_FRAGMENT is a sequence of fragments of that size. So pings and closes can go between them,
 * and a single write, which libwebsockets copies if the socket accepts only a part, has at most
 * FRAME_WRITE bytes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_FRAME_H
#define GATEWAY_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/wire.h"

#define FRAME_FRAGMENT 32768u               /* maximum payload of a fragment */
#define FRAME_WRITE    (2 * FRAME_FRAGMENT) /* maximum bytes in one write */

#define FRAME_OPCODE_CLOSE 0x8
#define FRAME_OPCODE_PING  0x9
#define FRAME_OPCODE_PONG  0xa

#define FRAME_CONTROL_MAX 125 /* maximum payload of a control frame */

/* A complete ping. It has a payload because libwebsockets reports only pongs with one. */
#define FRAME_PING "\x89\x0apg_notifyd"

typedef struct Frame
{
	uint32_t refs;
	uint32_t len;
	uint8_t data[];
} Frame;

/*
 * Make a text message from the parts, which together are UTF-8 and not much longer than
 * WIRE_MAX_PAYLOAD. The caller gets one reference.
 */
extern Frame *frame_text(const WireBytes *parts, size_t count);

/* The same for a binary message, of any bytes. */
extern Frame *frame_binary(const WireBytes *parts, size_t count);

/* The same for a message that is compressed (RFC 7692, 6), whose text or binary one this is. */
extern Frame *frame_compressed(const Frame *message, WireBytes data);

/* Return true for a text message, not compressed; the frame has a header. */
extern bool frame_is_text(const Frame *frame);

/*
 * Walk through the payload of a message, fragment by fragment. *offset is 0 at first. Returns false
 * at the end. frame_payload() returns the length of all.
 */
extern bool frame_next(const Frame *frame, size_t *offset, WireBytes *part);
extern size_t frame_payload(const Frame *frame);

/* Make a frame of these bytes, without a header. */
extern Frame *frame_plain(const WireBytes *parts, size_t count);

/* Make a control frame. The payload is truncated to FRAME_CONTROL_MAX. */
extern Frame *frame_control(uint8_t opcode, const void *payload, size_t len);

/* Make a close frame. If reason is too long, it is truncated at a character. */
extern Frame *frame_close(uint16_t code, const char *reason);

extern Frame *frame_ref(Frame *frame);
extern void frame_unref(Frame *frame);

/*
 * Return the memory that all frames and queues take now, including the allocator's overhead. A
 * frame counts once, however many queues it is in.
 */
extern size_t frame_memory(void);

/*
 * Return how many bytes to write from offset, so that they end where a control frame may follow: as
 * many as fit into room, but at least one fragment. offset is 0 or the end of an earlier write.
 */
extern size_t frame_cut(const Frame *frame, size_t offset, size_t room);

/* Data about a queued frame, for its subscription. */
typedef struct FrameNote
{
	uint64_t
		before; /* while this frame is not delivered, a client must resume at this id or before; FRAME_NO_POSITION: no limit */
	uint32_t sub;    /* the subscription that credit belongs to; 0: none */
	uint32_t credit; /* of sub; without sub, bytes that count as the session's own, see session.h */
} FrameNote;

#define FRAME_NO_POSITION UINT64_MAX

typedef struct QueueEntry
{
	Frame *frame;
	FrameNote note;
} QueueEntry;

/* A queue that is all zero is empty. An empty queue has no memory. */
typedef struct Queue
{
	uint32_t count;
	uint32_t offset; /* bytes of the first frame that are written */
	QueueEntry *ring;
	uint32_t capacity; /* a power of two, or 0 */
	uint32_t head;
	size_t bytes; /* bytes still to be written, and memory of the entries */
} Queue;

/*
 * Append a frame, and take a reference to it. offset bytes of it are already written; not 0 only
 * for an empty queue.
 */
extern void queue_append(Queue *queue, Frame *frame, FrameNote note, size_t offset);

/*
 * Return the next bytes to write, at most room (which is at least FRAME_WRITE): a part of the first
 * frame in place, or several frames copied to scratch. *len is their number; 0 for an empty queue.
 */
extern const uint8_t *queue_peek(const Queue *queue, uint8_t *scratch, size_t room, size_t *len);

/*
 * len bytes, as returned by queue_peek(), were written. Calls done (if not NULL) with the note of
 * each frame that is now completely written.
 */
extern void
queue_consume(Queue *queue, size_t len, void (*done)(void *arg, const FrameNote *note), void *arg);

/* Remove all frames. */
extern void queue_clear(Queue *queue);

/* Return the smallest note.before in the queue, or FRAME_NO_POSITION. */
extern uint64_t queue_before(const Queue *queue);

#endif /* GATEWAY_FRAME_H */
