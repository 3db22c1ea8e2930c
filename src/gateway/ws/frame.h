/*-------------------------------------------------------------------------
 *
 * frame.h
 *	  Ready-made WebSocket frames, shared by every client they go to, and the queue
 *	  of those that a client has still to take.
 *
 * A message is framed once (RFC 6455, 5.2; a server does not mask). One longer than
 * FRAME_FRAGMENT is a sequence of fragments of that size: pings and closes may stand
 * between them, and what is written at once, and so what the WebSocket library has to
 * copy where a socket takes only a part, is never more than FRAME_WRITE bytes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_FRAME_H
#define GATEWAY_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/wire.h"

#define FRAME_FRAGMENT 32768u               /* payload of one fragment */
#define FRAME_WRITE    (2 * FRAME_FRAGMENT) /* written at once */

#define FRAME_OPCODE_CLOSE 0x8
#define FRAME_OPCODE_PING  0x9
#define FRAME_OPCODE_PONG  0xa

#define FRAME_CONTROL_MAX 125 /* payload of a control frame */

typedef struct Frame
{
	uint32_t refs;
	uint32_t len;
	uint8_t data[];
} Frame;

/*
 * A text message: so many parts one after the other, in all UTF-8, and not much more than
 * WIRE_MAX_PAYLOAD. The caller has one reference.
 */
extern Frame *frame_text(const WireBytes *parts, size_t count);

/* A control frame. What is beyond FRAME_CONTROL_MAX is cut off. */
extern Frame *frame_control(uint8_t opcode, const void *payload, size_t len);

/* A close frame; reason is cut at a character where it is too long. */
extern Frame *frame_close(uint16_t code, const char *reason);

extern Frame *frame_ref(Frame *frame);
extern void frame_unref(Frame *frame);

/*
 * Bytes that all frames and all queues take now, with what the allocator needs for them; a frame
 * counts once, however many queues it is in.
 */
extern size_t frame_memory(void);

/*
 * How many bytes from offset, which is 0 or an end that this function gave, may be
 * written so that they end where a control frame may follow: as many as fit into room,
 * but at least one fragment.
 */
extern size_t frame_cut(const Frame *frame, size_t offset, size_t room);

/* What a queued frame means for the subscription it is of. */
typedef struct FrameNote
{
	uint64_t
		before; /* while this frame is not delivered, a client may resume only at this id or before;
						FRAME_NO_POSITION: it does not matter */
	uint32_t sub;    /* the subscription to whose replay credit counts; 0: none */
	uint32_t credit; /* sub's; without one what counts as the session's own, see session.h */
} FrameNote;

#define FRAME_NO_POSITION UINT64_MAX

typedef struct QueueEntry
{
	Frame *frame;
	FrameNote note;
} QueueEntry;

/* A queue that is all zero is empty, and an empty one owns no memory. */
typedef struct Queue
{
	uint32_t count;
	uint32_t offset; /* of the first frame, this much is written */
	QueueEntry *ring;
	uint32_t capacity; /* a power of two, or 0 */
	uint32_t head;
	size_t bytes; /* still to be written, and what the entries take */
} Queue;

/*
 * Append; takes a reference of its own. offset bytes of it are written already (only in an empty
 * queue).
 */
extern void queue_append(Queue *queue, Frame *frame, FrameNote note, size_t offset);

/*
 * The next bytes to write, at most room (which is at least FRAME_WRITE): either a part
 * of the first frame, in place, or several frames gathered in scratch. *len is how
 * many; 0 for an empty queue.
 */
extern const uint8_t *queue_peek(const Queue *queue, uint8_t *scratch, size_t room, size_t *len);

/*
 * len bytes, as queue_peek() gave, have been written. For each frame that is now
 * written as a whole, done (if not NULL) gets its note.
 */
extern void
queue_consume(Queue *queue, size_t len, void (*done)(void *arg, const FrameNote *note), void *arg);

/* Drop everything. */
extern void queue_clear(Queue *queue);

/* The smallest note.before of what is queued, or FRAME_NO_POSITION. */
extern uint64_t queue_before(const Queue *queue);

#endif /* GATEWAY_FRAME_H */
