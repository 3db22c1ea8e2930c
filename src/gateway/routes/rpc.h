/*-------------------------------------------------------------------------
 *
 * rpc.h
 *	  Calls of exposed functions, and messages, by HTTP.
 *
 * This module has no socket and no clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_RPC_H
#define GATEWAY_RPC_H

#include "gateway/routes/query_route.h"

/* POST, GET and HEAD /rpc/NAME */
extern void rpc_call(QueryRoute *route, HttpConnection *connection, HttpRequest *request);

/* POST /send/CHANNEL */
extern void rpc_send(QueryRoute *route, HttpConnection *connection, HttpRequest *request);

/*
 * Return the arguments in a query string (data NULL: none) as a JSON object, which the caller frees,
 * or NULL if the string is malformed. They are strings, and arrays of strings for names that are
 * repeated. Leaves out the parameters "database" and "access_token".
 */
extern char *rpc_arguments(HttpSlice query);

#endif /* GATEWAY_RPC_H */
