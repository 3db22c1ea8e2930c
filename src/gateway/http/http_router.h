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
	/*
	 * A segment "*" matches any non-empty segment, and is captured. The path "**" matches every
	 * path that no other route has, and its handler reads request->path.
	 */
	const char *path;
	/* If this is not NULL, the route has the paths for which it returns true, and path is NULL. */
	bool (*has)(HttpSlice path, void *arg);
	HttpHandler handler;
	size_t max_body; /* bytes; 0: requests with a body are refused */
	bool client;     /* its requests become clients that stay connected */
	/*
	 * The route belongs to the API: errors are JSON, the server answers OPTIONS, and pages of other
	 * origins are admitted by CORS. The same for all routes with this path.
	 */
	bool api;
} HttpRoute;

/* What the table has for a request. */
typedef struct HttpMatch
{
	const HttpRoute *route; /* NULL: none for this path and method */
	unsigned allowed;       /* the methods for its path; 0: the path does not exist */
	bool api;               /* the path belongs to the API */
} HttpMatch;

#define HTTP_ROUTER_METHODS 64 /* bytes for the names of all methods */

/*
 * Find the route of a request, and decode its captures. A path whose captures are malformed or too
 * long does not exist. arg is the table's.
 */
extern HttpMatch
http_router_find(const HttpRoute *routes, size_t count, HttpRequest *request, void *arg);

/*
 * Write the names of the methods, as in the header Allow, to text, which has HTTP_ROUTER_METHODS
 * bytes.
 */
extern void http_router_methods(unsigned methods, char *text);

#endif /* GATEWAY_HTTP_ROUTER_H */
