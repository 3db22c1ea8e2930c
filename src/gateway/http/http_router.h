/*-------------------------------------------------------------------------
 *
 * http_router.h
 *	  Which handler a request goes to: a table of methods, paths and handlers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HTTP_ROUTER_H
#define GATEWAY_HTTP_ROUTER_H

#include "gateway/http/http_request.h"

struct HttpConnection;

/*
 * Deals with a request; arg is the table's. It answers by one of the functions of http_server.h, at
 * once or, after http_keep(), later.
 */
typedef void (*HttpHandler)(struct HttpConnection *connection, HttpRequest *request, void *arg);

typedef struct HttpRoute
{
	unsigned methods; /* HttpMethod, one or more */
	const char *path; /* a segment "*" stands for any one that is not empty, and is captured */
	HttpHandler handler;
	size_t max_body; /* bytes; 0: a request that has a body is refused */
} HttpRoute;

#define HTTP_ROUTER_METHODS 64 /* bytes that the names of all methods take */

/*
 * The route of a request, whose captures are decoded in place then. NULL: none; *allowed is the
 * methods that there are for its path, 0 where there is no such path.
 */
extern const HttpRoute *
http_router_find(const HttpRoute *routes, size_t count, HttpRequest *request, unsigned *allowed);

/* The methods' names as the header Allow has them, in HTTP_ROUTER_METHODS bytes of text. */
extern void http_router_methods(unsigned methods, char *text);

#endif /* GATEWAY_HTTP_ROUTER_H */
