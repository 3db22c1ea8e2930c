/*-------------------------------------------------------------------------
 *
 * peer.h
 *	  A connection that carries frames of wire.h: the control pipe to the launcher, or a link
 *	  to a feed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_PEER_H
#define GATEWAY_PEER_H

#include <stdbool.h>

#include <uv.h>

#include "wire/wire.h"

/* A peer that lets this much pile up does not read any more, and is given up. */
#define PEER_MAX_BACKLOG (64u * 1024 * 1024)

typedef struct Peer Peer;

typedef struct PeerEvents
{
	/*
	 * A frame, and the one behind it, or NULL where that has not come yet; they point into the
	 * peer's buffer. False: the peer is not to be talked to any longer.
	 */
	bool (*message)(void *arg, const WireMessage *message, const WireMessage *next);
	/* Everything that was sent has been taken; may be NULL. Never called within peer_send(). */
	void (*drained)(void *arg);
	/* The connection has ended, and the peer with it. Never called within peer_send(). */
	void (*closed)(void *arg, const char *why);
} PeerEvents;

/* A peer without a connection; peer_stream() is to be connected, and then peer_start() called. */
extern Peer *peer_new(uv_loop_t *loop, const PeerEvents *events, void *arg);
extern uv_pipe_t *peer_stream(Peer *peer);
extern bool peer_start(Peer *peer) __attribute__((warn_unused_result));

/*
 * Send a frame, with others: peer_flush_all() is to be called before the loop waits. Where it
 * fails, closed() is called later.
 */
extern void peer_send(Peer *peer, const WireMessage *message);

/* Write what has been sent to each peer, in one piece, as far as it takes that. */
extern void peer_flush_all(void);

/* End the connection; closed() is called, later, with this reason. */
extern void peer_close(Peer *peer, const char *why);

#endif /* GATEWAY_PEER_H */
