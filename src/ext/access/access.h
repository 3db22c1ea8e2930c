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
	char name[NAMEDATALEN * 2]; /* the column or value that is wrong; may be empty */
} AccessReason;

/*
 * Return true if the role has the privileges on schema and table to read these columns (numbers of
 * the relation; n = -1: the whole row). Otherwise sets *reason. Row security may hide rows; in a
 * database with the objects of version 1.0, it forbids the table.
 */
extern bool
access_relation_allowed(Oid role, Oid relation, int n, const int16 *columns, AccessReason *reason);

/*
 * The same for columns that the client has named. If the role has privileges on other columns of the
 * table, the reason names the column that it lacks.
 */
extern bool
access_named_allowed(Oid role, Oid relation, int n, const int16 *columns, AccessReason *reason);

/*
 * Return true if this database has what row security and filters need: not with the objects of
 * version 1.0.
 */
extern bool access_has_sets(void);

/* Return true if row security of the relation applies to the role. */
extern bool access_row_security(Oid role, Oid relation);

/* Return true if the role may read any column of the relation. */
extern bool access_any_column(Oid role, Oid relation);

/*
 * Return true if the role may read an event of the log, and row security does not apply to it. For
 * a message, the role must have been granted its channel.
 */
extern bool access_event_allowed(Oid role, const LogEvent *event, AccessReason *reason);

/* The columns that a client asks for, besides the key. */
typedef struct AccessColumns
{
	int n;
	char **names;
} AccessColumns;

/* What a channel offers to a role. */
typedef struct AccessChannel
{
	bool watched;    /* events of watched tables that the role may read */
	bool granted;    /* messages and raw notifications */
	bool restricted; /* row security of such a table applies to the role */
	bool
		notifies; /* a watch with notify => true uses NOTIFY on it; these are not raw notifications */
} AccessChannel;

/*
 * Look up a channel for a role that wants these columns (NULL: all). Returns false and sets *reason
 * if the role may not subscribe to it, because it may not connect to the database, or can read none
 * of the channel's watches and was not granted the channel, or because no event of the channel has
 * one of the columns. Needs a transaction.
 */
extern bool access_channel(Oid role, const char *channel, const AccessColumns *columns,
						   AccessChannel *found, AccessReason *reason);

/*
 * Return true if all watches of the channel that the role may read have their triggers. Otherwise
 * events may be missing until notify_watch() is called, and *reason is set.
 */
extern bool access_channel_captured(Oid role, const char *channel, const AccessColumns *columns,
									AccessReason *reason);

/*
 * Return true if a role may send messages to a channel: superusers, members of the role that owns
 * the extension, owners of tables that are watched on the channel, and roles with a grant. Needs a
 * transaction.
 */
extern bool access_may_publish(Oid role, const char *channel);

/*
 * Return true if a role may use a procedure that a client has registered (GRANT_CALL), or register
 * one (GRANT_REGISTER): superusers, members of the role that owns the extension, and roles with a
 * grant. length is the length of the name in bytes; it may be any. Needs a transaction.
 */
extern bool access_may_use(Oid role, const char *procedure, int length, const char *privilege);

/*
 * Return true if a channel was declared: a table is watched on it, its messages have a type, or a
 * role was granted the privilege to subscribe or to publish on this name, not only on a pattern. The
 * messages of such channels are always in the log. Needs a transaction. Sees what is committed now;
 * the answer depends on notifyd.watch, notifyd.channel_type and notifyd.channel_grant, whose changes
 * invalidate the relation cache. Needs no privilege of anybody, so do not tell clients the answer.
 */
extern bool access_is_declared(const char *channel);

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
