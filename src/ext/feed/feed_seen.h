/*-------------------------------------------------------------------------
 *
 * feed_seen.h
 *	  What the clients of subscriptions have seen in a snapshot.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_SEEN_H
#define PG_NOTIFYD_FEED_SEEN_H

#include "postgres.h"

#include "ext/feed/feed.h"

/* By which policies the rows of a table were read. */
typedef struct SeenPolicies
{
	uint64 policies; /* as of set_policies() */
	Oid relation;
} SeenPolicies;

/* Events with ids up to until whose transaction the snapshot has seen, and rows. */
typedef struct SubSeen
{
	bool compared; /* the policies, with those of the stream */
	uint32 npolicies;
	SeenPolicies *policies;
	uint64 until;
	uint64 xmin;
	uint64 xmax;
	uint32 nxip;
	uint64 xip[FLEXIBLE_ARRAY_MEMBER]; /* ascending */
} SubSeen;

/* Return a copy of what a JOIN says, in this context. The caller frees it with pfree(). */
extern SubSeen *seen_load(MemoryContext context, const WireSnapshotIds *ids);

/* Return true if the client has seen the event's change in its snapshot. */
extern bool seen_event(const Sub *sub, const LogEvent *event);

/*
 * A subscription is placed, and its replay goes on. If its client has a snapshot, compare the policies by which the
 * rows were read with those that decide about events, once. Returns why the client needs a reset, or NULL.
 */
extern const char *seen_compare(Sub *sub);

#endif /* PG_NOTIFYD_FEED_SEEN_H */
