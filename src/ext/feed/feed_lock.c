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
 * lock when a transaction aborts (ProcReleaseLocks() in storage/lmgr/proc.c), but not when a
 * process ends between transactions: ShutdownPostgres() (utils/init/postinit.c) aborts the
 * transaction if there is one, and releases advisory locks. A lock that stays belongs to the
 * process's slot in shared memory until the server restarts. Therefore a callback releases it,
 * however the process ends.
 *
 * Somebody may hold or request a conflicting lock for hours: DROP EXTENSION waits for every
 * transaction that has read the log, such as one of pg_dump. Meanwhile the feed does not read its
 * links either, because it needs the tables for the frames of clients. After a while it logs which
 * process it waits for. From then on it also discards raw notifications, so that PostgreSQL can
 * remove them from the queue that all databases share; their subscribers get a reset afterwards.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/timestamp.h"

#include "ext/base/compat.h"
#include "ext/base/worker.h"
#include "ext/feed/feed.h"
#include "ext/feed/listen.h"

#define FEED_LOCKED_MS      20    /* how often the feed requests a lock that is not free */
#define FEED_LOCKED_LONG_MS 10000 /* and after how long it logs that */

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
	if (LockAcquire(&tag, AccessShareLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	if (feed->locked_since != 0)
		pg_atomic_write_u64(&feed->database->locked_since, 0);
	feed->locked_since = 0;
	feed->locked_long = false;
	return true;
}

void
feed_exit(Feed *feed)
{
	LOCKTAG tag;

	feed_lock_tag(feed, &tag);
	LockRelease(&tag, AccessShareLock, true);
}

/* Describe a process of pg_locks. A prepared transaction has none. */
static const char *
feed_describe_process(const LockInstanceData *lock)
{
	return lock->pid != 0 ? psprintf("process %d", lock->pid) : "a prepared transaction";
}

/*
 * Find a process that holds a lock on a table, and one that requests the only lock that conflicts
 * with the feed's. Sets NULL for one that does not exist.
 */
static void
feed_find_lockers(const LOCKTAG *tag, const LockInstanceData **holder,
				  const LockInstanceData **requester)
{
	LockData *locks = GetLockStatusData();

	*holder = NULL;
	*requester = NULL;
	for (int i = 0; i < locks->nelements; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];

		if (memcmp(&lock->locktag, tag, sizeof(*tag)) != 0)
			continue;
		if (lock->waitLockMode == AccessExclusiveLock)
			*requester = lock;
		else if (lock->holdMask != 0)
			*holder = lock;
	}
}

/* Log who prevents the feed from getting its lock. Returns false if that has changed meanwhile. */
static bool
feed_report_locked(const Feed *feed)
{
	const LockInstanceData *holder;
	const LockInstanceData *requester;
	const char *who;
	LOCKTAG tag;

	feed_lock_tag(feed, &tag);
	feed_find_lockers(&tag, &holder, &requester);
	if (holder == NULL)
		return false;
	who = feed_describe_process(holder);
	ereport(LOG, (errmsg("the feed of database \"%s\" waits for a lock on table \"notifyd.log_0\"",
						 feed->database_name),
				  requester == NULL
					  ? errdetail("The table is locked by %s.", who)
					  : errdetail("Process %d requests a lock on the table and waits for %s.",
								  requester->pid, who),
				  errhint("No events are sent until the lock is released. "
						  "pg_terminate_backend() can end a process that holds or requests it.")));
	return true;
}

void
feed_wait_to_enter(Feed *feed)
{
	static uint32 wait_event = 0;

	if (feed->locked_since == 0)
	{
		feed->locked_since = feed->now;
		pg_atomic_write_u64(&feed->database->locked_since, (uint64) feed->now);
	}
	if (!feed->locked_long &&
		TimestampDifferenceExceeds(feed->locked_since, feed->now, FEED_LOCKED_LONG_MS))
	{
		worker_begin_transaction();
		feed->locked_long = feed_report_locked(feed);
		CommitTransactionCommand();
	}
	if (feed->locked_long)
		listen_drain();
	pg_atomic_write_u64(&feed->database->alive_at, (uint64) feed->now);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, FEED_LOCKED_MS,
					 COMPAT_WAIT_EVENT(wait_event, "NotifydFeedLock"));
}
