/*-------------------------------------------------------------------------
 *
 * at_end.h
 *	  What the end of the running transaction does for the workers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_AT_END_H
#define PG_NOTIFYD_AT_END_H

#include "postgres.h"

#include "ext/base/shared.h"

/* What has to be done once the transaction has committed. Bits. */
#define AT_END_WAKE_FEED      0x01 /* this database's feed has to look at the catalogs again */
#define AT_END_WAKE_ALL_FEEDS 0x02 /* every feed has */
#define AT_END_WANT_FEED      0x04 /* this database has to get a feed: shared_want_feed() */
#define AT_END_SCAN_DATABASES 0x08 /* the launcher has to look at pg_database again */

/*
 * Have this done when the current transaction commits, once its locks are released and its
 * invalidation messages are sent. If it aborts, nothing is done; if only a savepoint is rolled back,
 * all is done, perhaps in vain. Does nothing where the library is not preloaded.
 */
extern void at_end_wake(int what);

/*
 * Hold a database, whose feed then leaves it: from now to the end of the transaction, or until the
 * savepoint in which this was called is rolled back. A feed that came back earlier would fail in a
 * database that is about to be gone. Needs the shared memory. Takes NotifydShared.lock.
 */
extern void at_end_hold(NotifydDatabase *database);

#endif /* PG_NOTIFYD_AT_END_H */
