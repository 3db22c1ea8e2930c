/*-------------------------------------------------------------------------
 *
 * rest.h
 *	  HTTP requests for the rows of exposed tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_REST_H
#define PG_NOTIFYD_REST_H

#include "ext/query/query.h"

/*
 * Process a request for /PATH/ or /PATH/KEY/, where PATH is that of an exposed table. The statement runs as the
 * client's role, so PostgreSQL decides what the client may read and write.
 */
extern void rest_query(ClientQuery *query);

/* Rows in the answer to GET, unless the client says how many it wants. */
#define REST_DEFAULT_LIMIT 20

/* Give the response its ETag, made of the body, and leave out the body if the client has it already. */
extern void rest_tag(ClientQuery *query);

#endif /* PG_NOTIFYD_REST_H */
