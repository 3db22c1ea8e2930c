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

#include "log.h"

/* JSON-RPC error codes of the client protocol, doc/protocol.md. */
#define ACCESS_NOT_PERMITTED   (-32003)
#define ACCESS_NO_SUCH_CHANNEL (-32004)

/* Why something is not allowed. */
typedef struct AccessReason
{
	int code;
	char message[512];
} AccessReason;

/*
 * Whether the role may read these columns (numbers of the relation; n = -1: the whole row) of a
 * relation, by its privileges on schema and table, and whether row security does not apply to it. With
 * false, *reason says why not.
 */
extern bool
access_relation_allowed(Oid role, Oid relation, int n, const int16 *columns, AccessReason *reason);

/* The same for an event of the log; for a message, whether the role was granted its channel. */
extern bool access_event_allowed(Oid role, const LogEvent *event, AccessReason *reason);

/* What a channel has for a role. */
typedef struct AccessChannel
{
	bool watched;  /* events of watched tables */
	bool granted;  /* messages and raw notifications */
	bool notifies; /* a watch with notify => true sends by NOTIFY on it: those are not raw notifications */
} AccessChannel;

/*
 * Look a channel up for a role. Returns false with *reason where the role may not subscribe to it: if it
 * may not connect to the database, if one of the channel's watches carries what it may not read, or if the
 * channel is neither watched nor granted. Needs a transaction with a snapshot.
 */
extern bool access_channel(Oid role, const char *channel, AccessChannel *found, AccessReason *reason);

/* The role that a client without a token is; InvalidOid with *reason if there is none. */
extern Oid access_anonymous_role(AccessReason *reason);

#endif /* PG_NOTIFYD_ACCESS_H */
