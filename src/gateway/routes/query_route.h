/*-------------------------------------------------------------------------
 *
 * query_route.h
 *	  HTTP requests that a worker executes, for all routes that have such requests.
 *
 * A handler says what the query is, and query_route_run() does the rest: it finds the token and the
 * database, passes the request on to the pool of the database's workers, and turns the answer into
 * the response. While the query waits or runs, the connection is kept and counts as a client of its
 * address. A client that goes away cancels its query.
 *
 * The response to a query that fails is {"code": SQLSTATE, "message", "details", "hint"}, with null
 * for what is missing, and has the status that PostgREST has for the SQLSTATE.
 *
 * This module has no socket and no clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_QUERY_ROUTE_H
#define GATEWAY_QUERY_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/base/config.h"
#include "gateway/http/http_server.h"
#include "gateway/hub/hub.h"
#include "gateway/net/limiter.h"
#include "gateway/session/session.h"
#include "wire/wire.h"

/* Maximum bytes of the body of such a request, for HttpRoute.max_body. */
#define QUERY_ROUTE_MAX_BODY (1024 * 1024)

/* What the requests share. Set by the caller, but for count, which is zero at first. */
typedef struct QueryRoute
{
	const Config *config;
	Limiter *limiter;
	Hub *hub;
	const Sessions *sessions;
	const HttpServer *server;
	uint32_t count; /* requests that wait for the answers to their queries */
} QueryRoute;

/*
 * Answer a request, now or later, by running this query, which is copied. The handler sets kind,
 * read_only, name and body, or those of them that the kind has.
 */
extern void query_route_run(QueryRoute *route, HttpConnection *connection,
							const HttpRequest *request, const WireQuery *query);

/*
 * Check that a request's body is JSON as far as its Content-Type says so, and UTF-8. Returns false
 * if it is not, and the response has the reason.
 */
extern bool query_route_check_body(const HttpRequest *request, HttpResponse *response)
	__attribute__((warn_unused_result));

/* Build the response to a query that has failed, and count a token that was refused. */
extern void query_route_failed(QueryRoute *route, HttpConnection *connection,
							   const WireFailed *failed, bool anonymous, HttpResponse *response);

/* Return the status for a query that has failed. anonymous: the request presents no token. */
extern int query_route_status(const WireFailed *failed, bool anonymous);

/*
 * Return the headers that functions may read, as in WireQuery: all but those with credentials.
 * *headers is freed by the caller.
 */
extern WireBytes query_route_headers(const HttpRequest *request, char **headers);

#endif /* GATEWAY_QUERY_ROUTE_H */
