/*-------------------------------------------------------------------------
 *
 * launcher_feed.c
 *	  The start and end of a feed: its changes to the database's entry in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/launcher/launcher.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

bool
launcher_database_held(const NotifydDatabase *database)
{
	pid_t pid = *(const volatile pid_t *) &database->hold_pid;

	return pid != 0 && BackendPidGetProc(pid) != NULL;
}

static void
launcher_on_feed_exit(int code, Datum arg)
{
	(void) code;
	launcher_feed_detach((NotifydDatabase *) DatumGetPointer(arg), FEED_EVENT_ENDED);
}

bool
launcher_feed_attached(NotifydDatabase *database)
{
	TimestampTz now = GetCurrentTimestamp();
	bool held = launcher_database_held(database);
	bool taken;
	bool looked;

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	taken = database->life.state == FEED_RUNNING && database->feed_pid != MyProcPid &&
			BackendPidGetProc(database->feed_pid) != NULL;
	if (!taken && held)
		feed_life_step(&database->life, FEED_EVENT_GAVE_WAY, now);
	else if (!taken)
	{
		feed_life_step(&database->life, FEED_EVENT_ATTACHED, now);
		database->feed_pid = MyProcPid;
		database->feed_latch = MyLatch;
		pg_atomic_write_u64(&database->alive_at, 0);
	}
	looked = database->looked;
	LWLockRelease(&notifyd_shared->lock);

	if (taken || held)
		proc_exit(0);
	before_shmem_exit(launcher_on_feed_exit, PointerGetDatum(database));
	return !looked;
}

void
launcher_database_looked(NotifydDatabase *database)
{
	if (database->looked)
		return;
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	database->looked = true;
	LWLockRelease(&notifyd_shared->lock);
	shared_wake_launcher();
}

void
launcher_feed_detach(NotifydDatabase *database, FeedEvent why)
{
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	if (database->feed_pid == MyProcPid)
	{
		if (why == FEED_EVENT_ENDED && database->hold_pid != 0)
			why = FEED_EVENT_GAVE_WAY;
		feed_life_step(&database->life, why, GetCurrentTimestamp());
		database->feed_pid = 0;
		database->feed_latch = NULL;
		database->looked |= why == FEED_EVENT_NO_EXTENSION || why == FEED_EVENT_NOT_NEEDED;
		pg_atomic_write_u32(&database->subscriptions, 0);
		pg_atomic_write_u32(&database->links, 0);
		pg_atomic_write_u64(&database->locked_since, 0);
	}
	LWLockRelease(&notifyd_shared->lock);
	shared_wake_launcher();
}
