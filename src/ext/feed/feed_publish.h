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
 * Raw notifications are not in the log. If more bytes than this are unsent, they are dropped, and
 * the subscribers get a reset.
 */
#define LINK_NOTIFY_LIMIT (16 * 1024 * 1024)

/*
 * Queue a message with this text on a link: for the streams of a channel (NULL: of none) that get raw
 * notifications, and for those of patterns that match a name (NULL: of none). audience is as in
 * WireEvent. Returns true if there were any.
 */
extern bool publish_to_link(Link *link, FeedChannel *channel, const char *name, StringInfo text,
							WireBytes audience);

/*
 * The link has been sent the events up to this id: send it the messages that come after them and
 * before the next one. Needs a transaction unless Link.kept is empty. And: the link is closed.
 */
extern void publish_send_kept(Link *link, uint64 after);
extern void publish_drop_link(Link *link);

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
