/*-------------------------------------------------------------------------
 *
 * listener.h
 *	  The clients' connections, behind a small table of functions.
 *
 * listener.c is the only file with libwebsockets.h. handshake.c has read and checked the
 * client's request, and websocket.c reads its frames: so the library's parsers, HTTP/2
 * included, are out of the clients' reach.
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
	void (*closed)(void *session);
	/*
	 * The client has sent a close frame, or what it must not send: does it get a close frame from the listener, or
	 * has it had the session's? Nothing more is received, and the session writes nothing more.
	 */
	bool (*answer_close)(void *session);
} ListenerEvents;

/* A handshake that was checked. */
typedef struct ListenerRequest
{
	const char *key;  /* Sec-WebSocket-Key, 24 characters */
	bool subprotocol; /* select pg_notifyd.v1 */
	char *rest;       /* what the client has sent behind the head; it is unmasked in place */
	size_t rest_len;
	/* The connection is established: gives the session. io is for the functions below. */
	void *(*opened)(void *arg, void *io);
	void *arg;
} ListenerRequest;

/* Start on this loop. Descriptors are limited to RLIMIT_NOFILE as it is now. */
extern bool listener_start(uv_loop_t *loop, const ListenerEvents *events) __attribute__((warn_unused_result));

/*
 * Hand a socket over and answer the handshake. opened() is called within, and the other events may be, closed()
 * excepted. False: it did not come to that, and the socket is closed.
 */
extern bool listener_adopt(int fd, const ListenerRequest *request) __attribute__((warn_unused_result));

/* The functions of a SessionIo. */
extern bool listener_ready(void *io);
extern bool listener_write(void *io, const uint8_t *data, size_t len);
extern void listener_pause(void *io, bool pause);
extern void listener_wake(void *io);
extern void listener_drop(void *io);
extern void listener_probe(void *io);

#endif /* GATEWAY_LISTENER_H */
