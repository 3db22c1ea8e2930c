/*-------------------------------------------------------------------------
 *
 * websocket_upgrade.h
 *	  The handshake that turns an HTTP request into a WebSocket (RFC 6455, 4.2).
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WEBSOCKET_UPGRADE_H
#define GATEWAY_WEBSOCKET_UPGRADE_H

#include "gateway/http/http_request.h"
#include "gateway/http/http_response.h"

/* The names of the subprotocols that we know: our own, and those of WAMP in its formats. */
#define WEBSOCKET_SUBPROTOCOL         "pg_notifyd.v1"
#define WEBSOCKET_SUBPROTOCOL_JSON    "wamp.2.json"
#define WEBSOCKET_SUBPROTOCOL_CBOR    "wamp.2.cbor"
#define WEBSOCKET_SUBPROTOCOL_MSGPACK "wamp.2.msgpack"

#define WEBSOCKET_ANSWER 384 /* maximum bytes of an answer */

/* Return true if the request is a valid handshake. Otherwise the response contains the reason. */
extern bool websocket_upgrade_check(const HttpRequest *request, HttpResponse *response);

/* Return the first subprotocol that the client offers and that we know, or NULL. */
extern const char *websocket_upgrade_subprotocol(const HttpRequest *request);

/*
 * Write the answer to a valid handshake to buf, which has WEBSOCKET_ANSWER bytes, and return its
 * length. extension accepts an offer, see websocket_extension.h; NULL: none.
 */
extern size_t
websocket_upgrade_answer(const HttpRequest *request, const char *extension, char *buf);

#endif /* GATEWAY_WEBSOCKET_UPGRADE_H */
