/*-------------------------------------------------------------------------
 *
 * grant.h
 *	  Grants on channels, which notify_grant() keeps in notifyd.channel_grant.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_GRANT_H
#define PG_NOTIFYD_GRANT_H

#include "postgres.h"

#include "nodes/pg_list.h"

/* The privileges, as users write them and as they are stored. */
#define GRANT_SUBSCRIBE "subscribe"
#define GRANT_PUBLISH   "publish"
#define GRANT_CONSUME   "consume" /* of a consumer group; the name is the group's, not a channel's */
#define GRANT_CALL      "call" /* of procedures that clients have registered; the name is theirs */
#define GRANT_REGISTER  "register"

/*
 * Return true if the role, or a role whose privileges it has, was granted a privilege on a channel
 * or procedure (NULL: to subscribe or to publish). length is the length of the name in bytes. With
 * role InvalidOid, return true if any role was. Needs a transaction. Sees what is committed now, and
 * the transaction's own changes.
 */
extern bool grant_exists(Oid role, const char *channel, int length, const char *privilege);

/*
 * Return the names of the channels on which the role, or a role whose privileges it has, was granted the privilege, in
 * the order of the names. Needs a transaction. Sees what is committed now.
 */
extern List *grant_channels(Oid role, const char *privilege);

#endif /* PG_NOTIFYD_GRANT_H */
