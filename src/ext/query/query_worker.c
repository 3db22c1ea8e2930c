/*-------------------------------------------------------------------------
 *
 * query_worker.c
 *	  The worker: a background worker that runs clients' queries.
 *
 * It is connected as pg_notifyd.authenticator_role, as PostgREST is, or as pg_notifyd.anonymous_role if there
 * is no authenticator. Never as a superuser: a function that a client calls may RESET ROLE. The launcher starts
 * workers when gateways have queries for them (ext/launcher/launcher_workers.c), and a worker ends after
 * pg_notifyd.idle_timeout without any.
 *
 * The worker executes one query at a time, each in a transaction of its own, and sends the answer after
 * the commit. It trusts no gateway: each query has its client's token, which the worker verifies.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ext/base/extension.h"
#include "ext/base/settings.h"
#include "ext/base/worker.h"
#include "ext/launcher/launcher.h"
#include "ext/query/query.h"

#define WORKER_TICK_MS 1000

PGDLLEXPORT void pg_notifyd_worker_main(Datum main_arg);

static NotifydWorker *worker_entry;

static void
worker_detach(int code, Datum arg)
{
	(void) code;
	(void) arg;
	query_abandon();
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	if (worker_entry->pid == MyProcPid)
		worker_entry->pid = 0;
	LWLockRelease(&notifyd_shared->lock);
	shared_wake_launcher();
}

/*
 * Settings that ALTER DATABASE or ALTER ROLE may have given values that a worker cannot use. What concerns
 * queries themselves is left as it is, as in any session of the role.
 */
static void
worker_set_settings(void)
{
	static const char *const settings[][2] = {
		{"role", "none"},
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"idle_session_timeout", "0"},
		{"transaction_timeout", "0"},
		{"exit_on_error", "off"},
		{"client_encoding", "SQL_ASCII"},
	};

	for (int i = 0; i < (int) lengthof(settings); i++)
	{
		if (GetConfigOption(settings[i][0], true, false) != NULL)
			SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
	}
}

static void
worker_context(void *role)
{
	errcontext("start of a worker for clients of database \"%s\" as role \"%s\" (%s)",
			   MyBgworkerEntry->bgw_extra, (const char *) role,
			   notifyd_authenticator_role[0] != '\0' ? "pg_notifyd.authenticator_role"
													 : "pg_notifyd.anonymous_role");
}

static void
worker_connect_as_client(void)
{
	char *role =
		notifyd_authenticator_role[0] != '\0' ? notifyd_authenticator_role : notifyd_anonymous_role;
	ErrorContextCallback context = {
		.previous = error_context_stack, .callback = worker_context, .arg = role};

	error_context_stack = &context;
	worker_set_settings();
	BackgroundWorkerInitializeConnection(MyBgworkerEntry->bgw_extra, role, 0);
	if (strcmp(GetConfigOption("is_superuser", false, false), "on") == 0)
		ereport(FATAL, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
						errmsg("pg_notifyd does not run clients' queries as a superuser"),
						errdetail("The role \"%s\" is a superuser.", role),
						errhint("Set pg_notifyd.authenticator_role to a role that is none.")));
	/* With the objects of another version there is nothing that clients could call. */
	worker_begin_transaction();
	extension_require_version();
	CommitTransactionCommand();
	error_context_stack = context.previous;
}

static void
worker_attach(int index)
{
	bool mine;

	worker_entry = &notifyd_shared->workers[index];
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	mine = worker_entry->pid == 0 && worker_entry->database == MyDatabaseId;
	if (mine)
	{
		worker_entry->pid = MyProcPid;
		worker_entry->ready = true;
	}
	LWLockRelease(&notifyd_shared->lock);
	if (!mine)
		proc_exit(0);
	before_shmem_exit(worker_detach, (Datum) 0);
}

static void
worker_end(const char *reason)
{
	query_link_goodbye_all(reason);
	proc_exit(0);
}

static bool
worker_is_idle(TimestampTz since, TimestampTz now)
{
	return notifyd_idle_timeout != 0 && !spool_any() &&
		   TimestampDifferenceExceeds(since, now, notifyd_idle_timeout);
}

/* Begin a round of the loop. */
static void
worker_begin_round(NotifydDatabase *database)
{
	ResetLatch(MyLatch);
	/* A shutdown or pg_terminate_backend() is not an error, and must not be logged as one. */
	if (ProcDiePending)
		worker_end("it was terminated");
	/* There is no query that could be cancelled. */
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		worker_end("the settings have changed");
	}
	if (caller_is_gone())
		worker_end("its role has changed");
	if (launcher_database_held(database))
		worker_end("a command needs the database without other sessions");
}

void
pg_notifyd_worker_main(Datum main_arg)
{
	NotifydDatabase *database;
	TimestampTz idle_since;
	TimestampTz connected_at = 0;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, StatementCancelHandler);
	BackgroundWorkerUnblockSignals();
	worker_connect_as_client();
	worker_attach(DatumGetInt32(main_arg));
	database = shared_database(MyDatabaseId);
	MemoryContextSwitchTo(
		AllocSetContextCreate(TopMemoryContext, "pg_notifyd worker", ALLOCSET_DEFAULT_SIZES));
	caller_init();
	query_link_init(MyBgworkerEntry->bgw_extra);
	idle_since = GetCurrentTimestamp();
	pgstat_report_activity(STATE_IDLE, NULL);

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		bool tick = TimestampDifferenceExceeds(connected_at, now, WORKER_TICK_MS);
		ClientQuery *query;

		worker_begin_round(database);
		query_link_connect_all(tick);
		if (tick)
			connected_at = now;
		(void) query_link_receive_all();
		query = query_link_next_query();
		if (query != NULL)
		{
			worker_entry->kind = query->wire.kind;
			pg_atomic_write_u64(&worker_entry->busy_since, (uint64) now);
			query_run(query);
			pg_atomic_write_u64(&worker_entry->busy_since, 0);
			(void) pg_atomic_fetch_add_u64(&database->queries, 1);
			idle_since = GetCurrentTimestamp();
			query_link_send_all();
			continue;
		}
		spool_serve();
		query_link_send_all();
		if (worker_is_idle(idle_since, now))
			worker_end("there were no queries");
		query_link_wait(WORKER_TICK_MS);
	}
}
