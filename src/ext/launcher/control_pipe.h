/*-------------------------------------------------------------------------
 *
 * control_pipe.h
 *	  The launcher's end of the control pipe to a gateway: frames over a socket, without blocking.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_CONTROL_PIPE_H
#define PG_NOTIFYD_CONTROL_PIPE_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "wire/wire.h"

/* What a gateway may have to tell its launcher is far smaller than this. In bytes. */
#define CONTROL_PIPE_MAX_FRAME (64 * 1024)

typedef struct ControlPipe
{
	pgsocket fd;       /* PGINVALID_SOCKET: closed */
	StringInfoData in; /* received; from cursor on not yet given out */
	StringInfoData out;
} ControlPipe;

/* Set up a closed pipe, with buffers in the current memory context, which has to outlive it. */
extern void control_pipe_init(ControlPipe *pipe);

/* Take fd, a nonblocking socket, over; close it. Closing a closed one does nothing. */
extern void control_pipe_open(ControlPipe *pipe, pgsocket fd);
extern void control_pipe_close(ControlPipe *pipe);

/*
 * send queues a frame and sends what the socket takes; flush sends more of what is
 * queued. Both return false when the other end is gone. Something is still queued while
 * control_pipe_pending().
 */
extern bool control_pipe_send(ControlPipe *pipe, const WireMessage *message);
extern bool control_pipe_flush(ControlPipe *pipe) __attribute__((warn_unused_result));
extern bool control_pipe_pending(const ControlPipe *pipe);

/*
 * Receive what is there, up to some 64 kB. False when the other end is gone; what it sent before
 * counts.
 */
extern bool control_pipe_receive(ControlPipe *pipe) __attribute__((warn_unused_result));

/*
 * Give out the next frame received. *message is good until the next call of receive.
 * WIRE_BAD: what was received is no frame, or one larger than CONTROL_PIPE_MAX_FRAME.
 */
extern WireResult
control_pipe_next(ControlPipe *pipe, WireMessage *message) __attribute__((warn_unused_result));

#endif /* PG_NOTIFYD_CONTROL_PIPE_H */
