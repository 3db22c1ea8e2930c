/*-------------------------------------------------------------------------
 *
 * wamp_user_internal.h
 *	  What wamp_user.c and wamp_user_sql.c share: the rows of notifyd.wamp_user.
 *
 * The row with the empty authid is no user: its key makes the salts of users who do not exist, who have the
 * iterations of a user who does, or if there is none, of the last one that was set. So these users look like the
 * others, also after a restart and in a restored database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WAMP_USER_INTERNAL_H
#define PG_NOTIFYD_WAMP_USER_INTERNAL_H

#include "postgres.h"

#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "ext/access/wamp_user.h"

#define WAMP_USER_SALT_SIZE  16
#define WAMP_USER_ITERATIONS 10000 /* the default of notify_wamp_user() */

/* The columns of notifyd.wamp_user, as in the extension's script. */
enum WampUserAttribute
{
	WAMP_USER_AUTHID = 1,
	WAMP_USER_ROLE,
	WAMP_USER_SALT,
	WAMP_USER_ITERATIONS_COLUMN,
	WAMP_USER_KEYLEN,
	WAMP_USER_KEY,
	WAMP_USER_NATTRIBUTES = WAMP_USER_KEY
};

/*
 * Read the row with this authid. Returns false if there is none. snapshot: NULL for the newest one, as in
 * channel_type_scan(). tid may be NULL.
 */
extern bool wamp_user_read(Relation table, const char *authid, Snapshot snapshot, WampUser *user,
						   ItemPointerData *tid);

/* Return so many random bytes, in base64. */
extern char *wamp_user_random(int size);

#endif /* PG_NOTIFYD_WAMP_USER_INTERNAL_H */
