/*-------------------------------------------------------------------------
 *
 * feed_lock.c
 *	  The feed's lock on the extension's tables.
 *
 * In each round the feed holds a lock on notifyd.log_0, which stands for all tables of the
 * extension. DROP EXTENSION waits until the feed has released it (watch_uninstall.c). The feed
 * itself never waits for it in the lock manager's queue: otherwise there could be a deadlock, or a
 * dropped table.
 *
 * A round may have several transactions, so the session holds the lock. PostgreSQL releases such a
 * lock when a transaction aborts (ProcReleaseLocks() in storage/lmgr/proc.c), but not when a process
 * ends between transactions: ShutdownPostgres() (utils/init/postinit.c) aborts the transaction if
 * there is one, and releases advisory locks. A lock that stays belongs to the process's slot in
 * shared memory until the server restarts. Therefore a callback releases it, however the process
 * ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lock.h"

#include "ext/feed/feed.h"

static void
feed_release_at_exit(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	LockReleaseSession(DEFAULT_LOCKMETHOD);
}

void
feed_lock_init(void)
{
	before_shmem_exit(feed_release_at_exit, (Datum) 0);
}

static void
feed_lock_tag(const Feed *feed, LOCKTAG *tag)
{
	SET_LOCKTAG_RELATION(*tag, MyDatabaseId, feed->incarnation);
}

bool
feed_enter(Feed *feed)
{
	LOCKTAG tag;

	feed_lock_tag(feed, &tag);
	return LockAcquire(&tag, AccessShareLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
feed_exit(Feed *feed)
{
	LOCKTAG tag;

	feed_lock_tag(feed, &tag);
	LockRelease(&tag, AccessShareLock, true);
}
