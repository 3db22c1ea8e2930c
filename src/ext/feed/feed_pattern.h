/*-------------------------------------------------------------------------
 *
 * feed_pattern.h
 *	  Subscriptions of patterns. The model is at the head of feed_pattern.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_PATTERN_H
#define PG_NOTIFYD_FEED_PATTERN_H

#include "ext/feed/feed.h"

/*
 * Return the stream for a SUBSCRIBE of a pattern by clients of a role (as in ViewKey). Returns NULL
 * and sets *reason if there is none. Needs a transaction.
 */
extern Stream *
pattern_stream(Link *link, const WireSubscribe *request, const char *role, AccessReason *reason);

/* A subscription has been added to the stream of a pattern, and before it is taken out. */
extern void pattern_begin(Sub *sub);
extern void pattern_end(Sub *sub);

/* The stream is about to be removed. */
extern void pattern_remove(Stream *stream);

/*
 * An event of a channel is read for a link, or several from before on: tell the subscriptions that do
 * not know the channel yet. before: they need the events after this id. Needs a transaction. Call it
 * only if there are subscriptions of patterns (Feed.npatterns).
 */
extern void pattern_look(Link *link, const char *name, int length, uint64 before);

/* Call add for each stream of a link whose pattern matches a channel and whose role gets its messages. */
extern void pattern_each_reader(Link *link, const char *channel,
								void (*add)(const Stream *stream, void *arg), void *arg);

/*
 * Retention has removed events that the link was to read, which may have been the first of a channel:
 * send the link's subscriptions of patterns a reset.
 */
extern void pattern_reset(Link *link, const char *reason);

/*
 * What subscriptions may see may have changed: tell them of all channels again. roles: end those whose
 * role may not use the database any more. Needs a transaction.
 */
extern void pattern_recheck(Feed *feed, bool roles);

#endif /* PG_NOTIFYD_FEED_PATTERN_H */
