/*-------------------------------------------------------------------------
 *
 * group.h
 *	  Clients that take events from consumer groups.
 *
 * Those who take from one group on behalf of clients, its takers, wait here without a worker. A take
 * is a query like others, as its client. A group has one take at a time, and its takers have turns.
 * The feed tells when the group has events (GROUP_READY), and how a take ends says whether there may
 * be more. A taker that has got less than it wanted takes again only when the feed has told of more.
 *
 * This module has no socket and no clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_GROUP_H
#define GATEWAY_GROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gateway/query/pool.h"
#include "wire/take.h"
#include "wire/wire.h"

#define GROUP_MAX_NAME 63 /* bytes */

/* Deliveries of one take, at most. */
#define GROUP_MAX_COUNT TAKE_MAX_COUNT

/* See groups_tick(). */
#define GROUP_LOOK_MS 60000

/* The texts of the events of one take have about this many bytes at most. */
#define GROUP_TAKE_BYTES (1024 * 1024)

typedef struct GroupTakerEvents
{
	/* The client's token; empty: none. */
	WireBytes (*token)(void *owner);

	/*
	 * What a take has got, maybe nothing: a list, see WireResultMsg. The taker answers for these
	 * deliveries from now on. It may leave.
	 */
	void (*taken)(void *owner, WireBytes deliveries);

	/* A take has failed, or the group has ended, which the taker has left then. It may leave. */
	void (*failed)(void *owner, const WireFailed *failed);
} GroupTakerEvents;

/* Zero, but for events and owner, before group_join(). */
typedef struct GroupTaker
{
	const GroupTakerEvents *events;
	void *owner;
	struct Group *group; /* NULL: it takes from none */
	LIST_ENTRY(GroupTaker) in_group;
	TAILQ_ENTRY(GroupTaker) in_turns; /* while wanted is not 0 */
	uint32_t wanted;                  /* how many deliveries it may get */
	bool fresh;                       /* it has taken nothing yet */
	uint64_t dry;                     /* Group.told when it has got less than it wanted */
} GroupTaker;

/* The groups of a database that have takers. */
typedef struct Groups
{
	Pool *pool;
	LIST_HEAD(, Group) groups;
	uint64_t looked_at;
	TAILQ_HEAD(, Release) releases; /* deliveries to give back */
	struct Release *releasing;      /* the one that is on its way; NULL: none */
	bool release_stalled;           /* the last one has failed; groups_tick() goes on */
	PoolClient releaser;
} Groups;

extern void groups_init(Groups *groups, Pool *pool);

/* The database is not served any more: the takers fail, and leave. */
extern void groups_end(Groups *groups);

/* Let a taker take from a group, which need not exist. It wants nothing so far. */
extern void group_join(Groups *groups, WireBytes name, GroupTaker *taker);

/* The taker wants so many deliveries from now on. It takes at once if it is fresh. */
extern void group_want(GroupTaker *taker, uint32_t wanted);

/* Return true if a take is on its way for the taker. */
extern bool group_is_taking(const GroupTaker *taker);

/* The taker leaves, if it takes from a group. What a take on its way gets is given back. */
extern void group_leave(GroupTaker *taker);

/* The feed has told that a group has events. The empty name: all may have, because the link is new. */
extern void groups_ready(Groups *groups, WireBytes name);

/*
 * Called once a second: let takes that have failed try again, and look from time to time without
 * having been told, because a group may have been defined anew, or a privilege revoked.
 */
extern void groups_tick(Groups *groups, uint64_t now);

/*
 * Give deliveries of a group back. ids: in decimal, with commas. failed: they count as attempts, because
 * the client has got them. One query at a time does this for a database, and is repeated if no worker
 * is free.
 */
extern void groups_release(Groups *groups, WireBytes name, WireBytes ids, bool failed);

/* Return true if there are takers, or deliveries to give back, also those of a take that is on its way. */
extern bool groups_busy(const Groups *groups);

/* Remove the first delivery of a list, and set its number and its JSON object. False: there is none. */
extern bool group_next_delivery(WireBytes *deliveries, WireBytes *id, WireBytes *delivery)
	__attribute__((warn_unused_result));

#endif /* GATEWAY_GROUP_H */
