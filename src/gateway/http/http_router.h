/*-------------------------------------------------------------------------
 *
 * http_router.h
 *	  Finds the handler of a request: a table of methods, paths and handlers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HTTP_ROUTER_H
#define GATEWAY_HTTP_ROUTER_H

#include "gateway/http/http_request.h"

struct HttpConnection;

/*
 * Process a request. arg is the table's. The handler answers with one of the functions of
 * http_server.h, at once or, after http_keep(), later.
 */
typedef void (*HttpHandler)(struct HttpConnection *connection, HttpRequest *request, void *arg);

typedef struct HttpRoute
{
	unsigned methods; /* HttpMethod, one or more */
	const char *path; /* a segment "*" matches any non-empty segment, and is captured */
	HttpHandler handler;
	size_t max_body; /* bytes; 0: requests with a body are refused */
} HttpRoute;

#define HTTP_ROUTER_METHODS 64 /* bytes for the names of all methods */

/*
 * Return the route of a request, and decode its captures in place. Returns NULL if there is none;
 * *allowed is then the set of methods for its path, or 0 if the path does not exist.
 */
extern const HttpRoute *
http_router_find(const HttpRoute *routes, size_t count, HttpRequest *request, unsigned *allowed);

/*
 * Write the names of the methods, as in the header Allow, to text, which has HTTP_ROUTER_METHODS
 * bytes.
 */
extern void http_router_methods(unsigned methods, char *text);

#endif /* GATEWAY_HTTP_ROUTER_H */
