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

/*
 * A subscription has been added to the stream of a pattern. It gets the events after this id; those
 * that the link has sent are read again by pattern_scan_some(). And: before it is taken out.
 */
extern void pattern_begin(Sub *sub, uint64 after);
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

/*
 * Read a part of the log for subscriptions that resume. Call it after live events were read. Returns
 * true if it can go on at once.
 */
extern bool pattern_scan_some(Feed *feed, Snapshot snapshot);

/* Return how far the slowest of them on a link has read, or the given id if that is less. */
extern uint64 pattern_scan_progress(const Link *link, uint64 after);

#endif /* PG_NOTIFYD_FEED_PATTERN_H */
