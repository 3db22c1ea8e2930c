/*-------------------------------------------------------------------------
 *
 * channel.h
 *	  The launcher's end of the channel to a gateway: frames over a socket, without blocking.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_CHANNEL_H
#define PG_NOTIFYD_CHANNEL_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "wire/wire.h"

/* What a gateway may have to tell its launcher is far smaller than this. In bytes. */
#define CHANNEL_MAX_FRAME (64 * 1024)

typedef struct Channel
{
	pgsocket fd;       /* PGINVALID_SOCKET: closed */
	StringInfoData in; /* received; from cursor on not yet given out */
	StringInfoData out;
} Channel;

/* Set up a closed channel, with buffers in the current memory context, which has to outlive it. */
extern void channel_init(Channel *channel);

/* Take fd, a nonblocking socket, over; close it. Closing a closed one does nothing. */
extern void channel_open(Channel *channel, pgsocket fd);
extern void channel_close(Channel *channel);

/*
 * send queues a frame and sends what the socket takes; flush sends more of what is
 * queued. Both return false when the other end is gone. Something is still queued while
 * channel_pending().
 */
extern bool channel_send(Channel *channel, const WireMessage *message);
extern bool channel_flush(Channel *channel) __attribute__((warn_unused_result));
extern bool channel_pending(const Channel *channel);

/*
 * Receive what is there, up to some 64 kB. False when the other end is gone; what it sent before
 * counts.
 */
extern bool channel_receive(Channel *channel) __attribute__((warn_unused_result));

/*
 * Give out the next frame received. *message is good until the next call of receive.
 * WIRE_BAD: what was received is no frame, or one larger than CHANNEL_MAX_FRAME.
 */
extern WireResult
channel_next(Channel *channel, WireMessage *message) __attribute__((warn_unused_result));

#endif /* PG_NOTIFYD_CHANNEL_H */
