/*-------------------------------------------------------------------------
 *
 * access.h
 *	  Decides what a role may subscribe to, and which events it may see.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_ACCESS_H
#define PG_NOTIFYD_ACCESS_H

#include "postgres.h"

#include "ext/log/log.h"
#include "wire/wire.h"

/* Why a role may not do something. */
typedef struct AccessReason
{
	WireReason kind;
	char message[512];
} AccessReason;

/*
 * Return true if the role may read these columns (numbers of the relation; n = -1: the whole row):
 * it has the privileges on schema and table, and row security does not apply to it. Otherwise sets
 * *reason.
 */
extern bool
access_relation_allowed(Oid role, Oid relation, int n, const int16 *columns, AccessReason *reason);

/* The same for an event of the log. For a message, the role must have been granted its channel. */
extern bool access_event_allowed(Oid role, const LogEvent *event, AccessReason *reason);

/* What a channel offers to a role. */
typedef struct AccessChannel
{
	bool watched; /* events of watched tables that the role may read */
	bool granted; /* messages and raw notifications */
	bool
		notifies; /* a watch with notify => true uses NOTIFY on it; these are not raw notifications */
} AccessChannel;

/*
 * Look up a channel for a role. Returns false and sets *reason if the role may not subscribe to it,
 * because it may not connect to the database, or can read none of the channel's watches and was not
 * granted the channel. Needs a transaction.
 */
extern bool
access_channel(Oid role, const char *channel, AccessChannel *found, AccessReason *reason);

/*
 * Return true if all watches of the channel that the role may read have their triggers. Otherwise
 * events may be missing until notify_watch() is called, and *reason is set.
 */
extern bool access_channel_captured(Oid role, const char *channel, AccessReason *reason);

/*
 * Return true if a role may send messages to a channel: superusers, members of the role that owns
 * the extension, owners of tables that are watched on the channel, and roles with a grant. Needs a
 * transaction.
 */
extern bool access_may_publish(Oid role, const char *channel);

/*
 * Return the OID of a role, for an empty name that of clients without a token. If there is none,
 * returns InvalidOid and sets *reason. Needs a transaction.
 */
extern Oid access_role(const char *name, AccessReason *reason);

/*
 * Everything about roles and the database that decisions about a role depend on. They also depend
 * on relations, schemas, watches and grants of channels, which are not in it.
 */
typedef struct AccessStanding
{
	Oid role; /* InvalidOid: the role does not exist */
	bool superuser;
	bool bypasses_rls;
	bool connects; /* may connect to this database */
	int n;
	Oid roles[FLEXIBLE_ARRAY_MEMBER]; /* the roles whose privileges the role has */
} AccessStanding;

/*
 * Return the standing of a role, named as above, in the current memory context. All that it depends
 * on is in PostgreSQL's caches, so a change causes an invalidation. Needs a transaction.
 */
extern AccessStanding *access_standing(const char *name);

/* Return true if all decisions made with one are right with the other too. */
extern bool access_standing_same(const AccessStanding *a, const AccessStanding *b);

#endif /* PG_NOTIFYD_ACCESS_H */
