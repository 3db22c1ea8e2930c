/*-------------------------------------------------------------------------
 *
 * at_end.h
 *	  What the end of the running transaction does for other processes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_AT_END_H
#define PG_NOTIFYD_AT_END_H

#include "postgres.h"

#include "ext/base/shared.h"

/* What to do after the transaction has committed. Bits. */
#define AT_END_WAKE_FEED      0x01 /* this database's feed reads the catalogs again */
#define AT_END_WAKE_ALL_FEEDS 0x02 /* every feed does */
#define AT_END_WANT_FEED      0x04 /* this database needs a feed: shared_want_feed() */
#define AT_END_SCAN_DATABASES 0x08 /* the launcher reads pg_database again */
#define AT_END_VISIT          0x10 /* shared_visit() this database, if it is asleep */

/*
 * Request actions for the time when the current transaction has committed, released its locks and
 * sent its invalidation messages. Nothing is done if it aborts. If only a savepoint is rolled back,
 * all is done, perhaps in vain. Does nothing if the library is not preloaded.
 */
extern void at_end_wake(int what);

/*
 * Return true if the current transaction will send invalidation messages when it has committed. The
 * feed needs them before it reads the transaction's events, because it decides by catalogs who may
 * see them. For the end of the transaction, after the last change of catalogs.
 */
extern bool at_end_invalidates(void);

/*
 * Call log_decided() for the current transaction, which has committed, when its invalidation
 * messages are sent. at_end_invalidates() has returned true for it. Does not raise an error.
 */
extern void at_end_decide(NotifydDatabase *database);

/*
 * Hold a database until the end of the transaction, or until the savepoint in which this was called
 * is rolled back. Meanwhile the database's feed ends and none is started, because it would fail in
 * a database that is about to be dropped. Needs the shared memory. Takes NotifydShared.lock.
 */
extern void at_end_hold(NotifydDatabase *database);

/*
 * The current transaction has taken a lock that other sessions wait for until it ends. PREPARE
 * TRANSACTION then raises ERRCODE_FEATURE_NOT_SUPPORTED, because the lock would be kept without a
 * session. That is so even if the savepoint in which this was called is rolled back.
 */
extern void at_end_refuse_prepare(void);

#endif /* PG_NOTIFYD_AT_END_H */
