/*-------------------------------------------------------------------------
 *
 * websocket_connection.h
 *	  A client's WebSocket connection: a transport below, a session above.
 *
 * This module has no socket and no clock. It uses a transport.
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
 * The events of a connection. session is the argument of websocket_start(). session.h describes
 * them.
 */
typedef struct WebsocketEvents
{
	void (*received)(void *session, const char *data, size_t len, size_t remaining, bool final,
					 bool binary, bool compressed);
	void (*alive)(void *session);
	void (*writable)(void *session);
	void (*closed)(void *session);
	/*
	 * The client has sent a close frame or violated the protocol. Returns true if the connection
	 * must send a close frame, and false if the session's own was sent. Nothing more is delivered,
	 * and the session writes nothing more.
	 */
	bool (*answer_close)(void *session);
} WebsocketEvents;

/*
 * Create a connection on a transport, and take ownership of it. deflates: permessage-deflate was
 * negotiated. The connection ends with the transport, after closed().
 */
extern WebsocketConnection *
websocket_new(Transport *transport, const WebsocketEvents *events, bool deflates);

/*
 * Send the answer to the handshake, and then process the data that the client sent after its
 * request, which is unmasked in place. This may call all events except closed().
 */
extern void websocket_start(WebsocketConnection *connection, void *session, const char *answer,
							size_t answer_len, char *rest, size_t rest_len);

/* The functions of a SessionIo. io is a WebsocketConnection. */
extern bool websocket_ready(void *io);
extern bool websocket_write(void *io, const uint8_t *data, size_t len);
extern void websocket_pause(void *io, bool pause);
extern void websocket_wake(void *io);
extern void websocket_drop(void *io);
extern void websocket_probe(void *io);

#endif /* GATEWAY_WEBSOCKET_CONNECTION_H */
