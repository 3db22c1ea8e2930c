/*-------------------------------------------------------------------------
 *
 * launcher_workers.c
 *	  Starts the workers that run clients' queries (ext/query/).
 *
 * A gateway sends WANT_WORKER while queries wait and no worker of the database is idle. The launcher
 * then starts one, unless the database has pg_notifyd.query_workers of them, or one that is starting.
 * If that is impossible, or the worker ends before it is ready, the gateways get NO_WORKER, and no
 * other is started for WORKERS_RETRY_MS. Workers end by themselves.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ext/base/frames.h"
#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "ext/launcher/databases.h"
#include "ext/launcher/launcher_workers.h"
#include "ext/launcher/supervisor.h"

#define WORKERS_RETRY_MS 1000
#define WORKERS_LOG_MS   60000 /* how often the log says that there is no slot, at most */

/* What the launcher knows about a worker, in addition to its entry in the shared memory. */
static BackgroundWorkerHandle *worker_handles[NOTIFYD_MAX_WORKERS];

/* By the index of the database's entry: a worker is wanted; when one could not be started. */
static bool workers_want[NOTIFYD_MAX_DATABASES];
static TimestampTz workers_failed_at[NOTIFYD_MAX_DATABASES];

void
workers_wanted(const char *name, size_t length)
{
	int index = databases_find(name, length);

	if (index >= 0)
		workers_want[index] = true;
}

static void
workers_announce_none(int index, const char *reason)
{
	WireMessage message = {.type = WIRE_NO_WORKER};

	message.u.no_worker.database = frames_bytes(NameStr(databases[index].name));
	message.u.no_worker.reason = frames_bytes(reason);
	supervisor_send_all(&message);
}

static void
workers_free(NotifydWorker *worker)
{
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	worker->database = InvalidOid;
	worker->pid = 0;
	worker->ready = false;
	LWLockRelease(&notifyd_shared->lock);
	pg_atomic_write_u64(&worker->busy_since, 0);
}

/* Return the index of a database that may have workers, or -1. */
static int
workers_find_database(Oid database)
{
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		if (databases_name(i) != NULL && databases[i].oid == database)
			return i;
	}
	return -1;
}

static void
workers_reap(TimestampTz now)
{
	for (int i = 0; i < NOTIFYD_MAX_WORKERS; i++)
	{
		NotifydWorker *worker = &notifyd_shared->workers[i];
		bool ready = worker->ready;
		bool busy = pg_atomic_read_u64(&worker->busy_since) != 0;
		int index;
		pid_t pid;

		if (!OidIsValid(worker->database))
			continue;
		if (worker_handles[i] == NULL)
		{
			/* An earlier launcher has started it. */
			if (worker->pid == 0 || BackendPidGetProc(worker->pid) != NULL)
				continue;
		}
		else if (GetBackgroundWorkerPid(worker_handles[i], &pid) != BGWH_STOPPED)
			continue;
		else
			pfree(worker_handles[i]);
		worker_handles[i] = NULL;
		index = workers_find_database(worker->database);
		workers_free(worker);
		if (index >= 0 && (!ready || busy))
			(void) pg_atomic_fetch_add_u64(&notifyd_shared->databases[index].worker_restarts, 1);
		if (ready || index < 0)
			continue;
		workers_failed_at[index] = now;
		workers_announce_none(index, "workers cannot start in the database; see the server's log");
	}
}

/* Register a worker with the postmaster. Returns false if there is no free slot. */
static bool
workers_register(int entry, const LauncherDatabase *database)
{
	BackgroundWorker worker;
	MemoryContext oldcontext = MemoryContextSwitchTo(TopMemoryContext);
	bool registered;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = Int32GetDatum(entry);
	strlcpy(worker.bgw_extra, NameStr(database->name), BGW_EXTRALEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "pg_notifyd worker \"%s\"", NameStr(database->name));
	strlcpy(worker.bgw_type, "pg_notifyd worker", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "pg_notifyd", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "pg_notifyd_worker_main", sizeof(worker.bgw_function_name));
	registered = RegisterDynamicBackgroundWorker(&worker, &worker_handles[entry]);
	MemoryContextSwitchTo(oldcontext);
	return registered;
}

static void
workers_report_no_slot(const LauncherDatabase *database)
{
	static TimestampTz reported_at = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (reported_at != 0 && !TimestampDifferenceExceeds(reported_at, now, WORKERS_LOG_MS))
		return;
	reported_at = now;
	ereport(LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("pg_notifyd could not start a worker for clients of database \"%s\": there "
					"is no free background worker slot",
					NameStr(database->name)),
			 errdetail("Queries of clients wait for other workers, or fail."),
			 errhint("Increase max_worker_processes, now %d, or reduce "
					 "pg_notifyd.query_workers, now %d.",
					 max_worker_processes, notifyd_query_workers)));
}

/* Return why no worker can be started for the database, or NULL. */
static const char *
workers_start(int index)
{
	int count = 0;
	int entry = -1;

	for (int i = NOTIFYD_MAX_WORKERS - 1; i >= 0; i--)
	{
		NotifydWorker *worker = &notifyd_shared->workers[i];

		if (!OidIsValid(worker->database))
			entry = i;
		else if (worker->database == databases[index].oid)
		{
			/* One at a time. */
			if (!worker->ready)
				return NULL;
			count++;
		}
	}
	if (notifyd_query_workers == 0)
		return "queries are disabled by pg_notifyd.query_workers";
	if (notifyd_authenticator_role[0] == '\0' && notifyd_anonymous_role[0] == '\0')
		return "pg_notifyd.authenticator_role and pg_notifyd.anonymous_role are empty";
	if (count >= notifyd_query_workers)
		return NULL;
	if (entry < 0)
		return "there are too many workers";
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	notifyd_shared->workers[entry].database = databases[index].oid;
	notifyd_shared->workers[entry].ready = false;
	LWLockRelease(&notifyd_shared->lock);
	if (workers_register(entry, &databases[index]))
		return NULL;
	worker_handles[entry] = NULL;
	workers_free(&notifyd_shared->workers[entry]);
	workers_report_no_slot(&databases[index]);
	return count > 0 ? NULL : "there is no free background worker slot; see max_worker_processes";
}

void
workers_tend(TimestampTz now)
{
	workers_reap(now);
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		const char *reason;

		if (!workers_want[i])
			continue;
		workers_want[i] = false;
		if (databases_name(i) == NULL)
			continue;
		if (workers_failed_at[i] != 0 &&
			!TimestampDifferenceExceeds(workers_failed_at[i], now, WORKERS_RETRY_MS))
			reason = "workers cannot start in the database; see the server's log";
		else
			reason = workers_start(i);
		if (reason != NULL)
			workers_announce_none(i, reason);
	}
}

void
workers_take_over(void)
{
	for (int i = 0; i < NOTIFYD_MAX_WORKERS; i++)
	{
		NotifydWorker *worker = &notifyd_shared->workers[i];

		if (OidIsValid(worker->database) &&
			(worker->pid == 0 || BackendPidGetProc(worker->pid) == NULL))
			workers_free(worker);
	}
}
