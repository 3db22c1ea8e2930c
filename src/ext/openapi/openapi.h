/*-------------------------------------------------------------------------
 *
 * openapi.h
 *	  What a role may use by HTTP, as an OpenAPI document.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_OPENAPI_H
#define PG_NOTIFYD_OPENAPI_H

#include "ext/query/query.h"

/*
 * Answer GET /openapi.json: describe the exposed tables and functions, and the channels, that the client's role may use.
 * Raises an error by query_refuse() if that is longer than pg_notifyd.max_response_size.
 */
extern void openapi_query(ClientQuery *query);

#endif /* PG_NOTIFYD_OPENAPI_H */
