/*-------------------------------------------------------------------------
 *
 * listener.h
 *	  The WebSocket library, behind a small table of functions.
 *
 * listener.c is the only file with libwebsockets.h. What the library gets to see of a
 * handshake is never the client's: handshake.c has read and checked the request, and
 * listener_adopt() hands the library one that we wrote ourselves. So its HTTP parser,
 * HTTP/2 included, is out of the clients' reach.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_LISTENER_H
#define GATEWAY_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

/* What happens to a connection. session is what opened() gave; see session.h for what each means. */
typedef struct ListenerEvents
{
	void (*received)(void *session, const char *data, size_t len, size_t remaining, bool final, bool binary);
	void (*alive)(void *session);
	void (*writable)(void *session);
	void (*leaving)(void *session);
	void (*closed)(void *session);
	/* A close frame has come: does the library have to answer it, or is it the answer to ours? */
	bool (*answer_close)(void *session);
} ListenerEvents;

/* A handshake that was checked. */
typedef struct ListenerRequest
{
	const char *key;  /* Sec-WebSocket-Key, 24 characters */
	bool subprotocol; /* select pg_notifyd.v1 */
	const char *rest; /* what the client has sent behind the head */
	size_t rest_len;
	/* The connection is established: gives the session. io is for the functions below. */
	void *(*opened)(void *arg, void *io);
	void *arg;
} ListenerRequest;

/* Start the library on this loop. Descriptors are limited to RLIMIT_NOFILE as it is now. */
extern bool listener_start(uv_loop_t *loop, const ListenerEvents *events) __attribute__((warn_unused_result));

/*
 * Hand a socket over, which then belongs to the library. opened() is called within, and
 * received() may be. False: it did not come to that, and the socket is closed.
 */
extern bool listener_adopt(int fd, const ListenerRequest *request) __attribute__((warn_unused_result));

/* The functions of a SessionIo. */
extern bool listener_ready(void *io);
extern bool listener_write(void *io, const uint8_t *data, size_t len);
extern void listener_wake(void *io);
extern void listener_drop(void *io);
extern void listener_probe(void *io);

#endif /* GATEWAY_LISTENER_H */
