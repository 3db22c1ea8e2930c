/*-------------------------------------------------------------------------
 *
 * websocket_upgrade.h
 *	  The handshake that makes a WebSocket of an HTTP request (RFC 6455, 4.2).
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WEBSOCKET_UPGRADE_H
#define GATEWAY_WEBSOCKET_UPGRADE_H

#include "gateway/http/http_request.h"
#include "gateway/http/http_response.h"

/* The name of the subprotocol that we speak. */
#define WEBSOCKET_SUBPROTOCOL "pg_notifyd.v1"

#define WEBSOCKET_ANSWER 256 /* bytes that an answer takes at most */

/* Is it a handshake? If not, the response says what is wrong with it. */
extern bool websocket_upgrade_check(const HttpRequest *request, HttpResponse *response);

/* Is our subprotocol among those that are offered? */
extern bool websocket_upgrade_subprotocol(const HttpRequest *request);

/*
 * The answer to a handshake that was checked, in WEBSOCKET_ANSWER bytes of buf; returns its length.
 */
extern size_t websocket_upgrade_answer(const HttpRequest *request, char *buf);

#endif /* GATEWAY_WEBSOCKET_UPGRADE_H */
