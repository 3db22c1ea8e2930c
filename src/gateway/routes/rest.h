/*-------------------------------------------------------------------------
 *
 * rest.h
 *	  Rows of exposed tables by HTTP.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_REST_H
#define GATEWAY_REST_H

#include "gateway/routes/query_route.h"

/*
 * Answer a request for any path and method. Workers know which paths there are, and answer 404 for the others.
 */
extern void rest_request(QueryRoute *route, HttpConnection *connection, HttpRequest *request);

/* Answer as a worker does for a path that does not exist. */
extern void rest_not_found(HttpConnection *connection);

#endif /* GATEWAY_REST_H */
