/*-------------------------------------------------------------------------
 *
 * asset.h
 *	  The files that the gateway serves from its own program: the live page and the client library.
 *
 * client/page/embed makes the data when the gateway is built.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_ASSET_H
#define GATEWAY_ASSET_H

#include <stddef.h>

#include "gateway/http/http_request.h"
#include "gateway/http/http_response.h"

typedef struct Asset
{
	const char *content_type;
	const char *policy; /* Content-Security-Policy; NULL: none */
	const char *etag;   /* an entity tag (RFC 9110, 8.8.3), with its quotation marks */
	const char *data;
	size_t len;
} Asset;

/* client/page/, with client/pg_notifyd.js inside, and client/client.js */
extern const Asset asset_page;
extern const Asset asset_client;

/*
 * Fill in the response to a GET or HEAD of a file: 200, or 304 if the client has it (If-None-Match,
 * RFC 9110, 13.1.2). Caches ask each time, so that a page and its server have the same version.
 */
extern void asset_response(const Asset *asset, const HttpRequest *request, HttpResponse *response);

#endif /* GATEWAY_ASSET_H */
