/*-------------------------------------------------------------------------
 *
 * credential.h
 *	  The token that a request presents.
 *
 * It stands in the header Authorization, in the parameter access_token, or among the subprotocols of
 * a WebSocket as bearer.<token>, for browsers, which cannot set headers. What a request presents
 * counts: a malformed token is refused, and so are several that differ.
 *
 * This module has no socket, memory or clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_CREDENTIAL_H
#define GATEWAY_CREDENTIAL_H

#include "gateway/http/http_request.h"

/* What a subprotocol with a token begins with. */
#define CREDENTIAL_SUBPROTOCOL "bearer."

/*
 * Find the token of a request; token->data is NULL if it presents none. Returns NULL, or what is
 * wrong with what it presents.
 */
extern const char *
credential_find(const HttpRequest *request, HttpSlice *token) __attribute__((warn_unused_result));

#endif /* GATEWAY_CREDENTIAL_H */
