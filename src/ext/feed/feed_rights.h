/*-------------------------------------------------------------------------
 *
 * feed_rights.h
 *	  What roles may do with channels that they have no view of: publish, and subscribe by a pattern.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_RIGHTS_H
#define PG_NOTIFYD_FEED_RIGHTS_H

#include "ext/feed/feed.h"

typedef enum Right
{
	RIGHT_PUBLISH = 0x1, /* access_may_publish() */
	RIGHT_SEE = 0x2,     /* any event: a subscription would be accepted */
	RIGHT_MESSAGES = 0x4 /* AccessChannel.granted */
} Right;

/*
 * Return true if a role (as in ViewKey) has a right on a channel, named in the server's encoding.
 * Decisions are kept until rights_forget(), and not at all while a change waits to be processed.
 * Needs a transaction.
 */
extern bool rights_has(const char *role, const char *channel, Right right);

/* Return access_is_declared(), kept like the decisions. */
extern bool rights_declared(const char *channel);

/*
 * Return true if clients with this role may use the database at all. Otherwise sets *reason. Needs a
 * transaction.
 */
extern bool rights_connect(const char *role, AccessReason *reason);

/* Something that decisions depend on has changed. Cheap when there are none. */
extern void rights_forget(void);

#endif /* PG_NOTIFYD_FEED_RIGHTS_H */
