/*-------------------------------------------------------------------------
 *
 * feed_local.h
 *	  Calls that SQL makes with notify_call(). See ext/sqlcall/sqlcall.h for the model.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_LOCAL_H
#define PG_NOTIFYD_FEED_LOCAL_H

#include "ext/feed/feed.h"
#include "ext/wamp/router.h"

/* Send a message of the router to a caller in SQL. */
extern void local_send(Feed *feed, const WireRoute *route);

/* Whether so many answers wait for their callers that there is no room for more. */
extern bool local_full(void);

/*
 * Called in each round, after frames were received: begin calls, end those whose callers are gone, and
 * go on sending answers. Returns after how many ms to call it again; -1: the latch says when.
 */
extern int64 local_round(Feed *feed, Router *router) __attribute__((warn_unused_result));

/* The number of calls whose callers have not gone yet. */
extern int local_calls(void);

#endif /* PG_NOTIFYD_FEED_LOCAL_H */
