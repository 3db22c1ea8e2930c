/*-------------------------------------------------------------------------
 *
 * feed_place.h
 *	  Placing subscriptions again when what they may see has changed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_PLACE_H
#define PG_NOTIFYD_FEED_PLACE_H

#include "ext/feed/feed.h"

/* Let a subscription wait until it is placed again. */
extern void set_wait(Sub *sub);

/* The claims have changed: place the identity's subscriptions again. Needs a transaction. */
extern void set_place_identity(FeedIdentity *identity);

/*
 * At the begin of a round that reads events: place subscriptions again whose bindings are stale.
 * Needs a transaction, as set_look_channel() does.
 */
extern void set_look(Feed *feed);

/* Place some of the subscriptions that wait for it. Returns true if more are left. */
extern bool set_place_some(Feed *feed);

/* A subscription ends, or is placed: it does not wait any more. */
extern void set_stop_waiting(Sub *sub);

/*
 * Before events of a channel are read: place subscriptions again, if that is due. May move and end
 * subscriptions.
 */
extern void set_look_channel(FeedChannel *channel);

/*
 * What the sets of quiet channels depend on may have changed, too: set_due() returns true once a
 * second. set_look_all() then looks at every channel if a transaction has ended since; ended is the
 * snapshot's snapXactCompletionCount, which a registered copy of it does not have (snapmgr.c).
 */
extern bool set_due(const Feed *feed);
extern void set_look_all(Feed *feed, uint64 ended);

/*
 * Before a subscription to a channel begins: let the others have the policies and filters as they are now.
 * Needs a transaction.
 */
extern void set_look_subscribe(FeedChannel *channel);

#endif /* PG_NOTIFYD_FEED_PLACE_H */
