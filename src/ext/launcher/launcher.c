/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The launcher: finds the databases that need a feed, and starts their feeds.
 *
 * There is one launcher in each server, a static background worker. It is connected to no database,
 * so it sees only the shared catalogs: the databases, but not which of them have the extension. A
 * feed finds that out: it connects, and if the extension is not installed, the feed ends and the
 * database's state becomes FEED_ABSENT. After the server has started, the launcher starts a feed
 * once for each database, a few at a time. After that, CREATE EXTENSION requests a feed.
 * ext/base/feed_life.h has a diagram of the states.
 *
 * The states are in the shared memory, because a launcher may end (with an error, or by
 * pg_terminate_backend()) and be started again while its feeds continue. The launcher keeps only
 * the handles of the workers that it has registered, to notice those that end before they attach.
 *
 * Feeds that end, DDL that concerns databases (at_end.c) and child processes set the launcher's
 * latch. In each round of its loop the launcher reads the clocks once and passes the time to its
 * parts, each of which uses only those below it:
 *
 *	  launcher.c			the loop; starts feeds
 *	  watchdog.c			finds feeds and gateways that do not respond
 *	  launcher_scan.c		reads pg_database
 *	  launcher_sleep.c		databases without a feed, and what gateways know about them
 *	  launcher_slots.c		too few worker slots
 *	  launcher_workers.c	starts the workers that run clients' queries
 *	  supervisor.c			all gateways; gateway_process.c: one; gateway_life.c: its states
 *	  sockets.c				the listening sockets over time; bind.c: binding them
 *	  metrics.c				the metrics, for gateways that are asked for them
 *	  databases.c			the launcher's table of databases
 *
 * launcher_feed.c and launcher_extension.c run in other processes, in feeds and in backends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "ext/base/server_version.h"
#include "ext/base/worker.h"
#include "ext/launcher/databases.h"
#include "ext/launcher/launcher.h"
#include "ext/launcher/launcher_scan.h"
#include "ext/launcher/launcher_sleep.h"
#include "ext/launcher/launcher_slots.h"
#include "ext/launcher/launcher_workers.h"
#include "ext/launcher/metrics.h"
#include "ext/launcher/supervisor.h"
#include "ext/launcher/watchdog.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define LAUNCHER_MAX_STARTING 3     /* maximum number of feeds starting at one time */
#define LAUNCHER_STARTING_MS  10000 /* a feed that takes longer (a locked database) is not counted */
#define LAUNCHER_HELD_MS      5000 /* how often to check a held database: its holder may have died */

PGDLLEXPORT void pg_notifyd_launcher_main(Datum main_arg);

/*
 * Starting feeds
 */

/* Register a feed with the postmaster. Returns false if there is no free slot. */
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

/* Start the feed of the database at this index, unless it is no longer needed. */
static void
launcher_start_feed(int index, TimestampTz now)
{
	NotifydDatabase *database = &notifyd_shared->databases[index];
	LauncherDatabase *mine = &databases[index];
	bool wanted;

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	wanted = database->oid == mine->oid && database->life.state == FEED_WANTED;
	if (wanted)
		feed_life_step(&database->life, FEED_EVENT_STARTED, now);
	LWLockRelease(&notifyd_shared->lock);
	if (!wanted)
		return;

	if (launcher_register_feed(mine))
	{
		mine->started = mine->oid;
		mine->asked = false;
		slots_found();
		return;
	}
	mine->handle = NULL;
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	if (database->oid == mine->oid)
		feed_life_step(&database->life, FEED_EVENT_NO_SLOT, now);
	LWLockRelease(&notifyd_shared->lock);
	slots_none(now);
}

/*
 * Notice feeds that have ended. Those that never attached count as failed. A feed that finds no
 * extension may follow one that DROP EXTENSION has ended before it could tell the gateways, and a
 * feed of a database that is no longer served may have ended the same way, so this tells the
 * gateways.
 */
static void
launcher_reap_feeds(TimestampTz now)
{
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		NotifydDatabase *database = &notifyd_shared->databases[i];
		LauncherDatabase *mine = &databases[i];
		bool gone;
		pid_t pid;

		if (mine->handle == NULL || GetBackgroundWorkerPid(mine->handle, &pid) != BGWH_STOPPED)
			continue;
		pfree(mine->handle);
		mine->handle = NULL;
		slots_freed();

		LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
		if (database->oid == mine->started && database->life.state == FEED_STARTING)
		{
			feed_life_step(&database->life,
						   database->hold_pid != 0 ? FEED_EVENT_GAVE_WAY : FEED_EVENT_ENDED, now);
			scan_soon(); /* the database may have been dropped or closed */
		}
		gone = database->oid == mine->started &&
			   (database->life.state == FEED_ABSENT || database->life.excluded);
		LWLockRelease(&notifyd_shared->lock);
		if (gone && mine->oid == mine->started)
			sleep_announce_gone(NameStr(mine->name));
	}
}

/* Return the rank of a database: with too few worker slots, the lowest get their feeds first. */
static int
launcher_rank(int index)
{
	const NotifydDatabase *database = &notifyd_shared->databases[index];

	if (databases[index].asked)
		return 0;
	if (database->life.excluded)
		return 3;
	return database->looked && !database->life.visit ? 1 : 2;
}

/* Insert a database into the n waiting ones with the lowest ranks. Returns their new number. */
static int
launcher_add_candidate(int *candidates, int n, int index)
{
	int at = n;

	while (at > 0 && launcher_rank(candidates[at - 1]) > launcher_rank(index))
		at--;
	if (at >= LAUNCHER_MAX_STARTING)
		return n;
	n = Min(n + 1, LAUNCHER_MAX_STARTING);
	memmove(&candidates[at + 1], &candidates[at], (n - 1 - at) * sizeof(int));
	candidates[at] = index;
	return n;
}

/*
 * Start feeds that are needed, a few at a time. Returns in how many ms something is due again. The
 * end of a starting feed wakes the launcher.
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
		next = DATABASES_SCAN_MS;
	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		const NotifydDatabase *database = &notifyd_shared->databases[i];
		LauncherDatabase *mine = &databases[i];
		long wait;

		if (!OidIsValid(database->oid) || database->life.state != FEED_WANTED ||
			mine->oid != database->oid || !mine->connectable)
			mine->waits_since = 0;
		if (!OidIsValid(database->oid))
			continue;
		if (database->life.state == FEED_STARTING &&
			!TimestampDifferenceExceeds(database->life.started_at, now, LAUNCHER_STARTING_MS))
			starting++;
		if (database->life.state != FEED_WANTED || mine->oid != database->oid ||
			!mine->connectable || mine->handle != NULL)
			continue;
		wait = database->hold_pid != 0 && launcher_database_held(database)
				   ? LAUNCHER_HELD_MS
				   : databases_ms_until(database->life.retry_at, now);
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
		ncandidates = launcher_add_candidate(candidates, ncandidates, i);
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

/*
 * Do everything that is due for the feeds. Returns the number of ms after which to call this again.
 */
static long
launcher_tend_feeds(TimestampTz now)
{
	long next;

	launcher_reap_feeds(now);
	scan_tend(now);
	next = sleep_tend(now);
	next = Min(next, launcher_start_feeds(now));
	workers_tend(now);
	return Min(next, DATABASES_SCAN_MS);
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
 * Take over from an earlier launcher. Its feeds continue: they attach and detach themselves. Feeds
 * that it registered and that have not attached yet may or may not start, so others are started;
 * the one that attaches second ends.
 */
static void
launcher_attach(TimestampTz now)
{
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	notifyd_shared->launcher_pid = MyProcPid;
	notifyd_shared->launcher_latch = MyLatch;
	notifyd_shared->launcher_starts++;
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		FeedLife *life = &notifyd_shared->databases[i].life;

		if (life->state == FEED_STARTING)
			feed_life_step(life, FEED_EVENT_GAVE_WAY, now);
	}
	LWLockRelease(&notifyd_shared->lock);
	before_shmem_exit(launcher_detach, (Datum) 0);
}

static void
launcher_gateway_ready(void)
{
	sleep_gateway_ready();
	watchdog_gateway_ready();
}

static const GatewayCallbacks launcher_callbacks = {
	.ready = launcher_gateway_ready,
	.database_needed = sleep_database_needed,
	.worker_wanted = workers_wanted,
	.metrics = metrics_text,
};

/*
 * Always ends with exit code 1, because after 0 the postmaster would never start it again. SIGTERM
 * is sent at a shutdown, but also by pg_terminate_backend(). Its handler is die(), so that it ends
 * everything that may wait; if nothing does, the process ends here, without an error in the log.
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
	launcher_attach(GetCurrentTimestamp());
	workers_take_over();
	supervisor_start(&launcher_callbacks, supervisor_clock());
	context =
		AllocSetContextCreate(TopMemoryContext, "pg_notifyd launcher", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);

	while (!ProcDiePending)
	{
		TimestampTz now = GetCurrentTimestamp();
		int64 clock = supervisor_clock();
		long timeout;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			supervisor_reload(clock);
			scan_reload();
		}
		supervisor_communicate(clock);
		timeout = launcher_tend_feeds(now);
		timeout = Min(timeout, supervisor_tend(clock));
		timeout = Min(timeout, watchdog_tend(clock));
		MemoryContextSwitchTo(context); /* a transaction has changed the context */
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
