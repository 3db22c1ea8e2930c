/*-------------------------------------------------------------------------
 *
 * feed_publish.h
 *	  Messages that are not in the log: those that clients of WAMP publish to channels that nobody has
 *	  declared, and those of the feed itself.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_PUBLISH_H
#define PG_NOTIFYD_FEED_PUBLISH_H

#include "ext/feed/feed.h"

/*
 * Queue feed->text on a link: for the streams of a channel (NULL: of none) that get raw
 * notifications, and for those of patterns that match a name (NULL: of none). audience is as in
 * WireEvent. Returns true if there were any.
 */
extern bool publish_to_link(Link *link, FeedChannel *channel, const char *name, WireBytes audience);

/*
 * Process ROUTE_PUBLISH, and answer it. identity is the session's; NULL: it has no token. Must be
 * called after recheck_look(), in the transaction of sub_begin().
 */
extern void publish_receive(Link *link, const FeedIdentity *identity, const WireRoute *route);

/*
 * Publish a message of the feed itself. topic and payload are UTF-8, payload is as in WireRoute. May
 * be called at any time: the next publish_flush() sends it. Returns the publication's id.
 */
extern uint64 publish_own(const char *topic, WireBytes payload);

/*
 * Send what publish_own() has left. Called in each round, before sub_commit(). Cheap when there is
 * nothing to do.
 */
extern void publish_flush(Feed *feed);

#endif /* PG_NOTIFYD_FEED_PUBLISH_H */
