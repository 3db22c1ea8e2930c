/*-------------------------------------------------------------------------
 *
 * group.h
 *	  Consumer groups: each event of a group's channels is handled by one consumer.
 *
 * What other folders use. The model is at the head of group_internal.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_GROUP_H
#define PG_NOTIFYD_GROUP_H

#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/array.h"

#include "ext/log/log.h"

/* Define the settings and, under shared_preload_libraries, install the shared memory hooks. */
extern void group_define_settings(void);
extern void group_init(void);

/* What the feed does for groups: tell a gateway that a group has events. */
typedef struct GroupFeed
{
	void (*ready)(void *arg, int gateway, const char *group);
	void *arg;
} GroupFeed;

/*
 * For the feed, once in each round, outside of a transaction: copy the state of groups that have
 * changed to notifyd.group_state from time to time, set failed events aside and send them again,
 * notify sessions that listen, and gateways.
 */
extern void group_maintain(NotifydDatabase *database, TimestampTz now, const GroupFeed *feed);

/*
 * For workers: take up to count events for a client, as the current role. They are leased when the
 * transaction commits. taken() gets each of them; it is the last one if their texts have this many
 * bytes by then.
 */
typedef struct GroupTaking
{
	const char *name;
	int count;
	Size bytes;
	int gateway; /* the client's */
	void (*taken)(void *arg, uint64 delivery, int attempt, const char *position, StringInfo event);
	void *arg;
} GroupTaking;

/*
 * Returns true if the client may have left something. Otherwise the feed tells the gateway when there
 * is something again. Raises the errors of notify_take().
 */
extern bool group_take(const GroupTaking *taking);

/*
 * For workers: give deliveries back that a client did not answer. failed: they count as attempts.
 * Returns false if transactions are about to acknowledge some of them, or to give them back: these stay
 * leased if such a transaction is rolled back. Checks no privilege.
 */
extern bool group_release(const char *name, ArrayType *ids, bool failed);

/*
 * Return the names of the groups that the current role may take from, in their order. Needs a
 * transaction.
 */
extern List *group_names(void);

/* notify_ack() and notify_nack() */
extern Datum notify_ack(PG_FUNCTION_ARGS);
extern Datum notify_nack(PG_FUNCTION_ARGS);

/* Return true if groups need the feed: something has changed, or sessions listen. */
extern bool group_needs_feed(NotifydDatabase *database);

/* Return true if a group that sessions listen to has not read all of the log. */
extern bool group_behind(NotifydDatabase *database);

/* Return true if sessions listen, so that commits have to wake the feed. */
extern bool group_has_listeners(NotifydDatabase *database);

/*
 * The ids that groups need in the log are larger than this; PG_UINT64_MAX: there are no groups. If
 * that holds up the removal of the oldest segment of the feed's map, reads the log for them first.
 * Called outside of a transaction.
 */
extern uint64 group_needed(const LogMap *map);

#endif /* PG_NOTIFYD_GROUP_H */
