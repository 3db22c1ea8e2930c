/*-------------------------------------------------------------------------
 *
 * peer.h
 *	  A connection for frames of wire.h: the control pipe to the launcher, or a link to a feed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_PEER_H
#define GATEWAY_PEER_H

#include <stdbool.h>

#include <uv.h>

#include "wire/wire.h"

/* A peer with more unsent bytes than this does not read any more, and is closed. */
#define PEER_MAX_BACKLOG (64u * 1024 * 1024)

typedef struct Peer Peer;

typedef struct PeerEvents
{
	/*
	 * Process a frame. next is the frame after it, or NULL if that has not arrived; they point into
	 * the peer's buffer. Returns false if the connection must be closed.
	 */
	bool (*message)(void *arg, const WireMessage *message, const WireMessage *next);
	/* Everything sent was accepted. May be NULL. Never called by peer_send(). */
	void (*drained)(void *arg);
	/* The connection and the peer have ended. Never called by peer_send(). */
	void (*closed)(void *arg, const char *why);
} PeerEvents;

/*
 * Create a peer without a connection. The caller connects peer_stream(), and then calls
 * peer_start().
 */
extern Peer *peer_new(uv_loop_t *loop, const PeerEvents *events, void *arg);
extern uv_pipe_t *peer_stream(Peer *peer);
extern bool peer_start(Peer *peer) __attribute__((warn_unused_result));

/*
 * Begin a turn of the loop: process frames for which the last turn had no time. So a burst of events
 * for thousands of clients does not keep the loop from its other work. Called before the loop waits,
 * which it must not do while peers_wait() returns true.
 */
extern void peers_work(void);
extern bool peers_wait(void);

/*
 * Queue a frame. peer_flush_all() must be called before the loop waits. If sending fails, closed()
 * is called later.
 */
extern void peer_send(Peer *peer, const WireMessage *message);

/* Write the queued frames of all peers, in one piece for each. */
extern void peer_flush_all(void);

/* End the connection. closed() is called later with this reason. */
extern void peer_close(Peer *peer, const char *why);

#endif /* GATEWAY_PEER_H */
