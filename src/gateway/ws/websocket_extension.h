/*-------------------------------------------------------------------------
 *
 * websocket_extension.h
 *	  Which extension of WebSocket a client offers (RFC 6455, 9.1; RFC 7692, 7.1).
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WEBSOCKET_EXTENSION_H
#define GATEWAY_WEBSOCKET_EXTENSION_H

#include "gateway/http/http_request.h"

/*
 * Return the value of Sec-WebSocket-Extensions that accepts the client's first offer of
 * permessage-deflate that deflate.h can fulfil, or NULL if there is none.
 */
extern const char *websocket_extension_accept(const HttpRequest *request);

#endif /* GATEWAY_WEBSOCKET_EXTENSION_H */
