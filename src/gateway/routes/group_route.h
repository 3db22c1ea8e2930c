/*-------------------------------------------------------------------------
 *
 * group_route.h
 *	  Consumer groups by HTTP: POST /groups/NAME/take, /ack and /nack.
 *
 * A take that waits keeps its connection, and takes when the feed tells that the group has events
 * (gateway/query/group.h). So it needs no worker meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_GROUP_ROUTE_H
#define GATEWAY_GROUP_ROUTE_H

#include <sys/queue.h>

#include "gateway/routes/query_route.h"

typedef struct GroupRoute
{
	QueryRoute *queries;
	LIST_HEAD(, TakeRequest) requests; /* that wait */
} GroupRoute;

extern void group_route_init(GroupRoute *route, QueryRoute *queries);

extern void group_route_take(GroupRoute *route, HttpConnection *connection, HttpRequest *request);
extern void group_route_return(GroupRoute *route, HttpConnection *connection, HttpRequest *request,
							   WireQueryKind kind);

/* Called once a second: answer requests that have waited as long as they wanted. */
extern void group_route_tick(GroupRoute *route);

#endif /* GATEWAY_GROUP_ROUTE_H */
