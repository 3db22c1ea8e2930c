/*-------------------------------------------------------------------------
 *
 * control_pipe.h
 *	  The frames on the control pipe to a gateway, an inherited socket pair.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_CONTROL_PIPE_H
#define PG_NOTIFYD_CONTROL_PIPE_H

#include "postgres.h"

#include "ext/base/frames.h"

/* A gateway's frames to the launcher are far smaller than this. In bytes. */
#define CONTROL_PIPE_MAX_FRAME (64 * 1024)

/*
 * control_pipe_send() queues a frame and sends what the socket accepts; control_pipe_flush() sends
 * more of the queue. If the other end is closed, they do nothing, and the next attempt to receive
 * finds that out.
 */
extern void control_pipe_send(FrameSocket *pipe, const WireMessage *message);
extern void control_pipe_flush(FrameSocket *pipe);

/* Send the settings to the gateway of this number. */
extern void control_pipe_send_config(FrameSocket *pipe, int gateway);

/* Ask the gateway to close its clients with this WebSocket code, and to end. */
extern void control_pipe_send_stop(FrameSocket *pipe, uint16 code);

/*
 * Write a line of this gateway into the server's log. It may quote what a client has sent, so
 * control characters are replaced.
 */
extern void control_pipe_log(int gateway, const WireLog *log);

#endif /* PG_NOTIFYD_CONTROL_PIPE_H */
