/*-------------------------------------------------------------------------
 *
 * websocket_connection.h
 *	  A client's WebSocket connection: a transport below, a session above.
 *
 * This module has neither socket nor clock; bytes go through a transport.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WEBSOCKET_CONNECTION_H
#define GATEWAY_WEBSOCKET_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/net/transport.h"

typedef struct WebsocketConnection WebsocketConnection;

/*
 * What happens to a connection. session is what websocket_start() was given; see session.h for what
 * each means.
 */
typedef struct WebsocketEvents
{
	void (*received)(void *session, const char *data, size_t len, size_t remaining, bool final,
					 bool binary);
	void (*alive)(void *session);
	void (*writable)(void *session);
	void (*closed)(void *session);
	/*
	 * The client has sent a close frame, or what it must not send: does it get a close frame from
	 * the connection, or has it had the session's? Nothing more is received, and the session writes
	 * nothing more.
	 */
	bool (*answer_close)(void *session);
} WebsocketEvents;

/*
 * A connection on a transport, which it owns from now on. It ends with the transport, after
 * closed().
 */
extern WebsocketConnection *websocket_new(Transport *transport, const WebsocketEvents *events);

/*
 * Send the answer to the handshake, and then read what the client has sent behind its request,
 * which is unmasked in place. All events but closed() may be called within.
 */
extern void websocket_start(WebsocketConnection *connection, void *session, const char *answer,
							size_t answer_len, char *rest, size_t rest_len);

/* The functions of a SessionIo; io is a WebsocketConnection. */
extern bool websocket_ready(void *io);
extern bool websocket_write(void *io, const uint8_t *data, size_t len);
extern void websocket_pause(void *io, bool pause);
extern void websocket_wake(void *io);
extern void websocket_drop(void *io);
extern void websocket_probe(void *io);

#endif /* GATEWAY_WEBSOCKET_CONNECTION_H */
