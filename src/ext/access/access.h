/*-------------------------------------------------------------------------
 *
 * access.h
 *	  Who may: what a role may subscribe to, and which events it may see.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_ACCESS_H
#define PG_NOTIFYD_ACCESS_H

#include "postgres.h"

#include "ext/log/log.h"
#include "wire/wire.h"

/* Why something is not allowed. */
typedef struct AccessReason
{
	WireReason kind;
	char message[512];
} AccessReason;

/*
 * Whether the role may read these columns (numbers of the relation; n = -1: the whole row) of a
 * relation, by its privileges on schema and table, and whether row security does not apply to it.
 * With false, *reason says why not.
 */
extern bool
access_relation_allowed(Oid role, Oid relation, int n, const int16 *columns, AccessReason *reason);

/* The same for an event of the log; for a message, whether the role was granted its channel. */
extern bool access_event_allowed(Oid role, const LogEvent *event, AccessReason *reason);

/* What a channel has for a role. */
typedef struct AccessChannel
{
	bool watched; /* events of watched tables that the role may read */
	bool granted; /* messages and raw notifications */
	bool
		notifies; /* a watch with notify => true sends by NOTIFY on it: those are not raw notifications */
} AccessChannel;

/*
 * Look a channel up for a role. Returns false with *reason where the role may not subscribe to it:
 * if it may not connect to the database, or if it may read none of the channel's watches and has
 * not been granted the channel. Needs a transaction.
 */
extern bool
access_channel(Oid role, const char *channel, AccessChannel *found, AccessReason *reason);

/*
 * Whether all watches of a channel that the role may read have the triggers that they need. Returns
 * false with *reason where events of one may be missing, and nothing but notify_watch() mends that.
 */
extern bool access_channel_captured(Oid role, const char *channel, AccessReason *reason);

/*
 * Whether a role may send messages to a channel: a superuser, a member of the role that owns the
 * extension, an owner of a table that is watched on the channel, or who was granted it. Needs a
 * transaction.
 */
extern bool access_may_publish(Oid role, const char *channel);

/*
 * OID of a role; an empty name is the role of a client without a token. InvalidOid with *reason if
 * there is none. Needs a transaction.
 */
extern Oid access_role(const char *name, AccessReason *reason);

/*
 * Everything about roles and the database that decisions about a role depend on. What else they
 * depend on (relations, schemas, watches, grants of channels) is not in it.
 */
typedef struct AccessStanding
{
	Oid role; /* InvalidOid: there is no such role */
	bool superuser;
	bool bypasses_rls;
	bool connects; /* to this database */
	int n;
	Oid roles[FLEXIBLE_ARRAY_MEMBER]; /* whose privileges the role has */
} AccessStanding;

/*
 * The standing of a role, its name as above, in the current context. Whatever it was made from
 * stays in PostgreSQL's caches until an invalidation tells of a change. Needs a transaction.
 */
extern AccessStanding *access_standing(const char *name);

/* Whether all decisions that were right with one are right with the other. */
extern bool access_standing_same(const AccessStanding *a, const AccessStanding *b);

#endif /* PG_NOTIFYD_ACCESS_H */
