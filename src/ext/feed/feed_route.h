/*-------------------------------------------------------------------------
 *
 * feed_route.h
 *	  Sessions of WAMP, and calls between them. See ext/wamp/router.h for the model.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_ROUTE_H
#define PG_NOTIFYD_FEED_ROUTE_H

#include "ext/feed/feed.h"

/*
 * Process a ROUTE other than PUBLISH. Returns what is wrong with it if no gateway of this version sends it,
 * otherwise NULL. Must be called after recheck_look(), in the transaction of sub_begin().
 */
extern const char *route_receive(Link *link, const WireRoute *route);

/* End a session, or all of a link that is closed, with what they have. */
extern void route_end_session(Link *link, uint32 session);
extern void route_drop_link(Link *link);

/* Rights may have changed: forget what is known about them, and check those of registrations again. */
extern void route_recheck(void);

/* Called in each round before frames are received, and afterwards: do what is due, set feed->route_due. */
extern void route_begin_round(Feed *feed);
extern void route_end_round(Feed *feed);

#endif /* PG_NOTIFYD_FEED_ROUTE_H */
