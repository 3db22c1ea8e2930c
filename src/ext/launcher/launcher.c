/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The launcher: finds the databases that need a feed, and sees to it that they have one.
 *
 * One static background worker per server. It is connected to no database, so all it can
 * see are the shared catalogs: which databases there are, but not which of them have the
 * extension. A feed finds that out: it connects, looks, and if there is none sets the
 * database's entry to FEED_ABSENT and leaves. That is done once for every database after
 * the server's start, a few at a time; later CREATE EXTENSION tells.
 *
 *				   start		   launcher_feed_attached()
 *		WANTED ----------> STARTING -----------------------> RUNNING
 *		 ^	^				  |								   |
 *		 |	|  ended before	  |		launcher_feed_detach()	   |
 *		 |	-------------------		------------------------------
 *		 |							|							 |
 *		 |<------ FEED_WANTED -------					  FEED_ABSENT -> ABSENT
 *		 |																   |
 *		 ---------------------- CREATE EXTENSION --------------------------
 *
 * A feed that nobody needs leaves its database ASLEEP instead. A gateway that has a client for it,
 * CREATE EXTENSION, or the log, when retention has to look at it, make it WANTED again.
 *
 * The states are in shared memory, because a launcher may end (by an error, or by
 * pg_terminate_backend) and be started again while its feeds go on. What the launcher
 * alone knows, the handles of the workers that it has registered, only serves to notice
 * those that end before they could attach.
 *
 * The launcher is woken by its latch: feeds that end, DDL that concerns databases
 * (at_end.c), its child processes. It also is the parent of the gateways, see
 * supervisor.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>
#include <unistd.h>

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "ext/base/backoff.h"
#include "ext/base/compat.h"
#include "ext/launcher/launcher_internal.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "ext/base/server_version.h"
#include "ext/base/settings.h"
#include "storage/procarray.h"
#include "ext/launcher/supervisor.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "ext/launcher/watchdog.h"
#include "ext/base/worker.h"

#define LAUNCHER_MAX_STARTING 3 /* feeds that are being started at one time */
#define LAUNCHER_STARTING_MS                                                                       \
	10000 /* one that takes longer (a locked database) is not counted among them */
#define LAUNCHER_GOOD_MS 5000 /* a feed that has lived this long has not failed at its start */
#define LAUNCHER_HELD_MS                                                                           \
	5000 /* a held database is looked at this often: its holder may have died */

LauncherDatabase launcher_databases[NOTIFYD_MAX_DATABASES];

static uint32 launcher_generation = 0;   /* database_generation as of the last look */
static TimestampTz launcher_scanned = 0; /* time of the last look; 0: look now */
static bool launcher_full_logged = false;

PGDLLEXPORT void pg_notifyd_launcher_main(Datum main_arg);

long
launcher_ms_until(TimestampTz then, TimestampTz now)
{
	if (then <= now || then > TimestampTzPlusMilliseconds(now, LAUNCHER_SCAN_MS))
		return 0;
	return (long) ((then - now) / 1000) + 1;
}

const char *
launcher_database_name(int index)
{
	const LauncherDatabase *mine = &launcher_databases[index];

	return OidIsValid(mine->oid) && mine->connectable ? NameStr(mine->name) : NULL;
}

/*
 * For feeds and backends
 */

bool
launcher_database_held(const NotifydDatabase *database)
{
	pid_t pid = *(const volatile pid_t *) &database->hold_pid;

	return pid != 0 && BackendPidGetProc(pid) != NULL;
}

/* The database is without a feed: when may the next one be started? */
static void
launcher_set_retry(NotifydDatabase *database, bool failed)
{
	TimestampTz now = GetCurrentTimestamp();

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
	bool taken;

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	taken = database->state == FEED_RUNNING && database->feed_pid != MyProcPid &&
			BackendPidGetProc(database->feed_pid) != NULL;
	if (!taken && held)
		launcher_set_retry(database, false);
	else if (!taken)
	{
		database->state = FEED_RUNNING;
		database->feed_pid = MyProcPid;
		database->feed_latch = MyLatch;
		database->started_at = GetCurrentTimestamp();
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
		launcher_set_retry(database, next == FEED_WANTED);
		if (next != FEED_WANTED && !database->recheck)
			database->state = next;
		pg_atomic_write_u32(&database->subscriptions, 0);
		pg_atomic_write_u32(&database->links, 0);
	}
	LWLockRelease(&notifyd_shared->lock);
	shared_wake_launcher();
}

/*
 * Which databases are there
 */

/* A row of pg_database. seen: which of the entries known before have been met. */
static void
launcher_see_database(const FormData_pg_database *row, const Oid *before, bool *seen)
{
	bool connectable = row->datallowconn && !row->datistemplate;
	NotifydDatabase *database;
	int i;

	for (i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		if (before[i] == row->oid)
			break;
	}
	if (i < NOTIFYD_MAX_DATABASES)
		seen[i] = true;
	else if (!connectable)
		return;
	else
	{
		database = shared_add_database(row->oid);
		if (database == NULL)
		{
			if (!launcher_full_logged)
				ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
							  errmsg("pg_notifyd does not serve database \"%s\" and possibly "
									 "others, because it cannot serve more than %d databases",
									 NameStr(row->datname), NOTIFYD_MAX_DATABASES)));
			launcher_full_logged = true;
			return;
		}
		i = shared_database_index(database);
	}
	if (launcher_databases[i].oid == row->oid &&
		strcmp(NameStr(launcher_databases[i].name), NameStr(row->datname)) != 0)
	{
		sleep_tell_gone(NameStr(launcher_databases[i].name));
		launcher_databases[i].announced = false;
	}
	launcher_databases[i].oid = row->oid;
	launcher_databases[i].name = row->datname;
	launcher_databases[i].connectable = connectable;
	sleep_exclude(i, !settings_serves_database(NameStr(row->datname)));
}

/*
 * Look at pg_database: make entries for new databases, free those of databases that are
 * gone. The entries that may be freed are noted before the snapshot is taken, so that a
 * database that is made meanwhile, which the snapshot does not show, keeps its entry.
 */
static void
launcher_scan(TimestampTz now)
{
	Oid before[NOTIFYD_MAX_DATABASES];
	bool seen[NOTIFYD_MAX_DATABASES] = {false};
	Relation relation;
	TableScanDesc scan;
	HeapTuple tuple;

	launcher_generation = pg_atomic_read_u32(&notifyd_shared->database_generation);
	launcher_scanned = now;
	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
		before[i] = notifyd_shared->databases[i].oid;
	LWLockRelease(&notifyd_shared->lock);

	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(STATE_RUNNING, NULL);
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
		launcher_see_database((const FormData_pg_database *) GETSTRUCT(tuple), before, seen);
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	pgstat_report_activity(STATE_IDLE, NULL);

	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		if (OidIsValid(before[i]) && !seen[i] && launcher_databases[i].oid == before[i])
			sleep_tell_gone(NameStr(launcher_databases[i].name));
	}
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		NotifydDatabase *database = &notifyd_shared->databases[i];

		if (!OidIsValid(before[i]) || seen[i] || database->oid != before[i])
			continue;
		launcher_databases[i].oid = InvalidOid;
		if (database->state == FEED_WANTED || database->state == FEED_ABSENT ||
			database->state == FEED_ASLEEP)
			shared_forget_database(database);
	}
	LWLockRelease(&notifyd_shared->lock);
}

/*
 * Starting feeds
 */

/* Register a feed with the postmaster. False if there is no free slot. */
static bool
launcher_register_feed(LauncherDatabase *mine)
{
	BackgroundWorker worker;
	MemoryContext oldcontext = MemoryContextSwitchTo(TopMemoryContext);
	bool registered;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = ObjectIdGetDatum(mine->oid);
	snprintf(worker.bgw_name, BGW_MAXLEN, "pg_notifyd feed \"%s\"", NameStr(mine->name));
	strlcpy(worker.bgw_type, "pg_notifyd feed", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "pg_notifyd", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "pg_notifyd_feed_main", sizeof(worker.bgw_function_name));

	registered = RegisterDynamicBackgroundWorker(&worker, &mine->handle);
	MemoryContextSwitchTo(oldcontext);
	return registered;
}

/* Start the feed of the database at this index, if it still is to be started. */
static void
launcher_start_feed(int index, TimestampTz now)
{
	NotifydDatabase *database = &notifyd_shared->databases[index];
	LauncherDatabase *mine = &launcher_databases[index];
	bool wanted;

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	wanted = database->oid == mine->oid && database->state == FEED_WANTED;
	if (wanted)
	{
		database->state = FEED_STARTING;
		database->started_at = now;
		database->recheck = false;
	}
	LWLockRelease(&notifyd_shared->lock);
	if (!wanted)
		return;

	if (launcher_register_feed(mine))
	{
		mine->started = mine->oid;
		slots_found();
		return;
	}
	mine->handle = NULL;
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	if (database->oid == mine->oid && database->state == FEED_STARTING)
		database->state = FEED_WANTED;
	LWLockRelease(&notifyd_shared->lock);
	slots_none(now);
}

/*
 * Notice feeds that have ended; those that never attached count as failed. One that found no
 * extension may come after one that was ended by DROP EXTENSION before it could tell the gateways:
 * so they are told here.
 */
static void
launcher_reap_feeds(void)
{
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		NotifydDatabase *database = &notifyd_shared->databases[i];
		LauncherDatabase *mine = &launcher_databases[i];
		bool absent;
		pid_t pid;

		if (mine->handle == NULL || GetBackgroundWorkerPid(mine->handle, &pid) != BGWH_STOPPED)
			continue;
		pfree(mine->handle);
		mine->handle = NULL;

		LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
		if (database->oid == mine->started && database->state == FEED_STARTING)
		{
			launcher_set_retry(database, true);
			launcher_scanned = 0; /* the database may be gone, or closed */
		}
		absent = database->oid == mine->started && database->state == FEED_ABSENT;
		LWLockRelease(&notifyd_shared->lock);
		if (absent && mine->oid == mine->started)
			sleep_tell_gone(NameStr(mine->name));
	}
}

/*
 * Start what is to be started, a few at a time. Returns in how many ms something is due
 * again; the end of a feed that is being started wakes us by itself.
 */
static long
launcher_start_feeds(TimestampTz now)
{
	int candidates[LAUNCHER_MAX_STARTING];
	int ncandidates = 0;
	int starting = 0;
	bool missing = false;
	long next = slots_retry(now);
	bool slots = next == 0;

	if (slots)
		next = LAUNCHER_SCAN_MS;
	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		const NotifydDatabase *database = &notifyd_shared->databases[i];
		LauncherDatabase *mine = &launcher_databases[i];
		long wait;

		if (!OidIsValid(database->oid) || database->state != FEED_WANTED ||
			mine->oid != database->oid || !mine->connectable)
			mine->waits_since = 0;
		if (!OidIsValid(database->oid))
			continue;
		if (database->state == FEED_STARTING &&
			!TimestampDifferenceExceeds(database->started_at, now, LAUNCHER_STARTING_MS))
			starting++;
		if (database->state != FEED_WANTED || mine->oid != database->oid || !mine->connectable ||
			mine->handle != NULL)
			continue;
		wait = database->hold_pid != 0 && launcher_database_held(database)
				   ? LAUNCHER_HELD_MS
				   : launcher_ms_until(database->retry_at, now);
		if (wait > 0)
		{
			next = Min(next, wait);
			continue;
		}
		missing = true;
		if (mine->waits_since == 0)
		{
			mine->waits_since = now;
			mine->waits_logged = false;
		}
		if (ncandidates < LAUNCHER_MAX_STARTING)
			candidates[ncandidates++] = i;
	}
	LWLockRelease(&notifyd_shared->lock);

	if (!missing)
		pg_atomic_write_u32(&notifyd_shared->slots_short, 0);
	for (int i = 0; slots && i < ncandidates && starting < LAUNCHER_MAX_STARTING; i++, starting++)
	{
		launcher_start_feed(candidates[i], now);
		slots = !slots_are_short();
	}
	slots_report(now);
	return slots ? next : Min(next, Max(slots_retry(now), 1));
}

/* Do everything that is due for the feeds. Returns after how many ms something is due again. */
static long
launcher_tend_feeds(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long next;

	launcher_reap_feeds();
	if (launcher_scanned == 0 ||
		launcher_ms_until(launcher_scanned + LAUNCHER_SCAN_MS * INT64CONST(1000), now) == 0 ||
		launcher_generation != pg_atomic_read_u32(&notifyd_shared->database_generation))
		launcher_scan(now);
	next = sleep_tend(now);
	next = Min(next, launcher_start_feeds(now));
	return Min(next, LAUNCHER_SCAN_MS);
}

/*
 * The process
 */

static void
launcher_detach(int code, Datum arg)
{
	(void) code;
	(void) arg;
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	notifyd_shared->launcher_pid = 0;
	notifyd_shared->launcher_latch = NULL;
	LWLockRelease(&notifyd_shared->lock);
}

/*
 * Take over from a launcher before us. Its feeds run on and end without us: they attach
 * and detach themselves. Feeds that it had registered and that have not attached yet may
 * or may not come, so others are started; the one that attaches second leaves.
 */
static void
launcher_attach(void)
{
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	notifyd_shared->launcher_pid = MyProcPid;
	notifyd_shared->launcher_latch = MyLatch;
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		if (notifyd_shared->databases[i].state == FEED_STARTING)
			launcher_set_retry(&notifyd_shared->databases[i], false);
	}
	LWLockRelease(&notifyd_shared->lock);
	before_shmem_exit(launcher_detach, (Datum) 0);
}

/*
 * Ends with exit code 1 in every case, as 0 would tell the postmaster never to start it
 * again: SIGTERM is a shutdown's, but also pg_terminate_backend()'s. die() is its handler,
 * so that it ends anything that may wait; where nothing does, the process ends here,
 * without an error in the log.
 */
void
pg_notifyd_launcher_main(Datum main_arg)
{
	MemoryContext context;

	(void) main_arg;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, SIG_IGN);
	BackgroundWorkerUnblockSignals();
	worker_connect(InvalidOid);

	server_version_check();
	launcher_attach();
	supervisor_start();
	context =
		AllocSetContextCreate(TopMemoryContext, "pg_notifyd launcher", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);

	while (!ProcDiePending)
	{
		long timeout;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			supervisor_reload();
			launcher_scanned = 0; /* pg_notifyd.databases may be another one */
		}
		timeout = launcher_tend_feeds();
		timeout = Min(timeout, supervisor_tend());
		timeout = Min(timeout, watchdog_tend());
		MemoryContextSwitchTo(context); /* a transaction has left us elsewhere */
		MemoryContextReset(context);
		if (!ProcDiePending)
			supervisor_wait(timeout);
	}
	proc_exit(1);
}

void
launcher_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_name, "pg_notifyd launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pg_notifyd launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "pg_notifyd", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "pg_notifyd_launcher_main", sizeof(worker.bgw_function_name));
	RegisterBackgroundWorker(&worker);

	slots_check_launcher(worker.bgw_name);
}
