/*-------------------------------------------------------------------------
 *
 * grant.h
 *	  Grants on channels: what notify_grant() keeps in notifyd.channel_grant.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_GRANT_H
#define PG_NOTIFYD_GRANT_H

#include "postgres.h"

/* Privileges, as they are written and stored. */
#define GRANT_SUBSCRIBE "subscribe"
#define GRANT_PUBLISH   "publish"

/*
 * Whether a role, or one whose privileges it has, was granted a privilege (NULL: any) on a channel,
 * of length bytes. role InvalidOid: whether anybody was. Needs a transaction. Sees what is
 * committed now, and the transaction's own changes.
 */
extern bool grant_exists(Oid role, const char *channel, int length, const char *privilege);

#endif /* PG_NOTIFYD_GRANT_H */
