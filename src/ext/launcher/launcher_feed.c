/*-------------------------------------------------------------------------
 *
 * launcher_feed.c
 *	  The entry of a database's feed in the shared memory, as the feed itself changes it.
 *
 * These functions run in the feed's process, but for launcher_feed_retry(). The states are drawn in
 * launcher.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/backoff.h"
#include "ext/launcher/launcher.h"
#include "ext/launcher/launcher_feed.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#define LAUNCHER_GOOD_MS 5000 /* a feed that has lived this long has not failed at its start */

bool
launcher_database_held(const NotifydDatabase *database)
{
	pid_t pid = *(const volatile pid_t *) &database->hold_pid;

	return pid != 0 && BackendPidGetProc(pid) != NULL;
}

void
launcher_feed_retry(NotifydDatabase *database, bool failed, TimestampTz now)
{
	Assert(LWLockHeldByMeInMode(&notifyd_shared->lock, LW_EXCLUSIVE));

	database->state = FEED_WANTED;
	database->feed_pid = 0;
	database->feed_latch = NULL;
	if (!failed || database->hold_pid != 0 || database->recheck ||
		TimestampDifferenceExceeds(database->started_at, now, LAUNCHER_GOOD_MS))
	{
		database->failures = 0;
		database->retry_at = 0;
	}
	else
	{
		database->failures++;
		database->retry_at =
			TimestampTzPlusMilliseconds(now, backoff_restart_delay(database->failures));
	}
}

static void
launcher_on_feed_exit(int code, Datum arg)
{
	(void) code;
	launcher_feed_detach((NotifydDatabase *) DatumGetPointer(arg), FEED_WANTED);
}

void
launcher_feed_attached(NotifydDatabase *database)
{
	bool held = launcher_database_held(database);
	TimestampTz now = GetCurrentTimestamp();
	bool taken;

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	taken = database->state == FEED_RUNNING && database->feed_pid != MyProcPid &&
			BackendPidGetProc(database->feed_pid) != NULL;
	if (!taken && held)
		launcher_feed_retry(database, false, now);
	else if (!taken)
	{
		database->state = FEED_RUNNING;
		database->feed_pid = MyProcPid;
		database->feed_latch = MyLatch;
		database->started_at = now;
		pg_atomic_write_u64(&database->alive_at, 0);
	}
	LWLockRelease(&notifyd_shared->lock);

	if (taken || held)
		proc_exit(0);
	before_shmem_exit(launcher_on_feed_exit, PointerGetDatum(database));
}

void
launcher_feed_detach(NotifydDatabase *database, FeedState next)
{
	Assert(next == FEED_WANTED || next == FEED_ABSENT || next == FEED_ASLEEP);

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	if (database->feed_pid == MyProcPid)
	{
		launcher_feed_retry(database, next == FEED_WANTED, GetCurrentTimestamp());
		if (next != FEED_WANTED && !database->recheck)
			database->state = next;
		pg_atomic_write_u32(&database->subscriptions, 0);
		pg_atomic_write_u32(&database->links, 0);
	}
	LWLockRelease(&notifyd_shared->lock);
	shared_wake_launcher();
}
