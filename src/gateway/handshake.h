/*-------------------------------------------------------------------------
 *
 * handshake.h
 *	  From an accepted TCP connection to a session, or to an answer of ours.
 *
 * The request's head is read here, on the bare socket, bounded in size, time and
 * number, and everything but a WebSocket handshake that is let in is answered here.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HANDSHAKE_H
#define GATEWAY_HANDSHAKE_H

#include <stdbool.h>

#include <uv.h>

#include "config.h"
#include "hub.h"
#include "session.h"

#define HANDSHAKE_MS        10000 /* for the whole head */
#define HANDSHAKE_LINGER_MS 2000  /* for the client to take an answer */
#define HANDSHAKE_MAX       4096  /* at a time; for one more, one of the address with most has to go */

/*
 * Accept on count listening sockets, the descriptors from first_fd on. They are shared
 * with other gateways. At most pending connections are held that are no sessions (any more), and never more than
 * HANDSHAKE_MAX. What is let in becomes a session of sessions.
 */
extern bool handshake_start(uv_loop_t *loop, int first_fd, int count, uint32_t pending, const Config *config,
							Hub *hub, Sessions *sessions) __attribute__((warn_unused_result));

/* A session that was let in here is about to be closed: its address has a client less. */
extern void handshake_left(Session *session);

/* Once a second, while there is anything that waits for it: see handshake_waits(). */
extern void handshake_tick(void);

/* Does a connection that is no session have a time limit, or accepting have to be tried again? */
extern bool handshake_waits(void);

/* Accept no more: close the listening sockets and whatever is no session yet. */
extern void handshake_stop(void);

#endif /* GATEWAY_HANDSHAKE_H */
