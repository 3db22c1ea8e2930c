/*-------------------------------------------------------------------------
 *
 * grant.h
 *	  Grants on channels and procedures, which notify_grant() keeps in notifyd.channel_grant.
 *
 * A grant is on one name or on a pattern (grant_pattern.h). Of the grants of a role that match a
 * name, those on the most specific pattern count, and the others do not: a grant on the exact name
 * takes away what a pattern would give. A member of several roles has the privileges of all of them.
 * Grants to consume name a consumer group, are never patterns, and do not affect the others.
 *
 * All functions need a transaction. They see what is committed now, and the transaction's own
 * changes. A change of a grant invalidates the relation cache entry of the table.
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
 * Return true if the role, or a role whose privileges it has, has a privilege on a channel,
 * procedure or consumer group. length is the length of the name in bytes; it may be any. Costs one
 * search of an index, whatever the number of grants, and a comparison with each pattern.
 */
extern bool grant_exists(Oid role, const char *name, int length, const char *privilege);

/*
 * Return true if any role was granted to subscribe or to publish on this name: not on a pattern, but
 * perhaps on a name that looks like one.
 */
extern bool grant_names(const char *channel, int length);

/*
 * Return true if any role was granted to subscribe or to publish on this name, or on a pattern that
 * matches it. The pattern "*" does not count.
 */
extern bool grant_reserves(const char *channel, int length);

/*
 * Return the names on which the role, or a role whose privileges it has, was granted the privilege,
 * in the order of the names, without patterns; or the patterns (GrantPattern), the most specific
 * ones first. A pattern that is returned may match names on which a more specific grant takes the
 * privilege away.
 */
extern List *grant_channels(Oid role, const char *privilege);
extern List *grant_patterns(Oid role, const char *privilege);

#endif /* PG_NOTIFYD_GRANT_H */
