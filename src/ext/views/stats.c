/*-------------------------------------------------------------------------
 *
 * stats.c
 *	  The rows of the view notifyd.stats.
 *
 * There is a row for each database that has a feed or should have one, and one for each gateway and for each
 * worker.
 * Everything is read from shared memory, one value after the other, so the numbers in a row are of
 * about the same moment.
 *
 * Members of pg_read_all_stats see all rows. Other roles see the row of the database that they are
 * connected to, without process ids, like in pg_stat_activity: they need to know that their events
 * lag, but not what else the server does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "ext/base/compat.h"
#include "ext/base/extension.h"
#include "fmgr.h"
#include "ext/figures/figures.h"
#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "wire/wire.h"

PG_FUNCTION_INFO_V1(notifyd_stats_rows);

/* The columns of notifyd.stats_rows(), in their order. */
typedef enum StatsColumn
{
	STATS_KIND = 0,
	STATS_NAME,
	STATS_PID,
	STATS_STATE,
	STATS_STARTED_AT,
	STATS_RESTARTS,
	STATS_POSITION,
	STATS_LAG,
	STATS_OLDEST,
	STATS_NEWEST,
	STATS_EVENTS_WRITTEN,
	STATS_EVENTS_SENT,
	STATS_NOTIFIES_SENT,
	STATS_BYTES_SENT,
	STATS_LOG_BYTES,
	STATS_SEGMENTS,
	STATS_IN_FLIGHT,
	STATS_OLDEST_IN_FLIGHT_PID,
	STATS_LINKS,
	STATS_SUBSCRIPTIONS,
	STATS_CLIENTS,
	STATS_ACCEPTED,
	STATS_REFUSED,
	STATS_CLOSED_SLOW,
	STATS_EVENTS_RECEIVED,
	STATS_MESSAGES,
	STATS_QUEUED_BYTES,
	STATS_REFUSED_TOKENS, /* from here on not in version 1.0 */
	STATS_QUERIES,
	STATS_FAILED_QUERIES,
	STATS_REFUSED_BY,
	STATS_LAG_EVENTS,
	STATS_LAST_SEEN,
	STATS_LOCKED_SINCE,
	STATS_WATERMARK,
	STATS_IN_FLIGHT_SINCE,
	STATS_OLDEST_SINCE,
	STATS_RETENTION_LEFT,
	STATS_RETENTION_LEFT_BYTES,
	STATS_REPLAYS,
	STATS_RESETS,
	STATS_ANSWERS,
	STATS_POLICY_ERRORS,
	STATS_POLICY_TIME,
	STATS_SANDBOX,
	STATS_SLOW_CLIENTS,
	STATS_WAITING_QUERIES,
	STATS_LOOP_LAG,
	STATS_WORKER_RESTARTS,
} StatsColumn;
#define STATS_NCOLUMNS (STATS_WORKER_RESTARTS + 1)

typedef struct StatsRow
{
	Datum values[STATS_NCOLUMNS];
	bool nulls[STATS_NCOLUMNS];
} StatsRow;

static void
stats_set(StatsRow *row, StatsColumn column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

static void
stats_set_text(StatsRow *row, StatsColumn column, const char *text)
{
	stats_set(row, column, CStringGetTextDatum(text));
}

static void
stats_set_count(StatsRow *row, StatsColumn column, uint64 count)
{
	stats_set(row, column, Int64GetDatum((int64) count));
}

static void
stats_set_position(StatsRow *row, StatsColumn column, const NotifydDatabase *database, uint64 id)
{
	WirePosition position = {.timeline = database->timeline, .id = id};
	char text[WIRE_POSITION_SIZE];

	if (id == 0 || position.timeline == 0)
		return;
	(void) wire_position_format(position, text);
	stats_set_text(row, column, text);
}

static void
stats_set_started(StatsRow *row, TimestampTz at)
{
	if (at != 0)
		stats_set(row, STATS_STARTED_AT, TimestampTzGetDatum(at));
}

static void
stats_begin(StatsRow *row, const char *kind, const char *name)
{
	memset(row->nulls, true, sizeof(row->nulls));
	stats_set_text(row, STATS_KIND, kind);
	stats_set_text(row, STATS_NAME, name);
}

/* Set a time that lies this many microseconds back. */
static void
stats_set_ago(StatsRow *row, StatsColumn column, int64 us)
{
	stats_set(row, column, TimestampTzGetDatum(GetCurrentTimestamp() - us));
}

static void
stats_set_interval(StatsRow *row, StatsColumn column, int64 us)
{
	Interval *interval = palloc0(sizeof(Interval));

	interval->time = us;
	stats_set(row, column, IntervalPGetDatum(interval));
}

/* Append a member with the number to a JSON object, and begin or continue the object. */
static void
stats_append(StringInfo json, const char *name, uint64 count)
{
	appendStringInfo(json, "%s\"%s\": " UINT64_FORMAT, json->len == 0 ? "{" : ", ", name, count);
}

static void
stats_set_json(StatsRow *row, StatsColumn column, StringInfo json)
{
	appendStringInfoChar(json, '}');
	stats_set(row, column, DirectFunctionCall1(jsonb_in, CStringGetDatum(json->data)));
}

/* Read a database's row of pg_database. Returns false if the database does not exist. */
static bool
stats_database_row(Oid oid, FormData_pg_database *row)
{
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(oid));

	if (!HeapTupleIsValid(tuple))
		return false;
	*row = *(Form_pg_database) GETSTRUCT(tuple);
	ReleaseSysCache(tuple);
	return true;
}

static bool
stats_database_closed(Oid oid)
{
	FormData_pg_database row;

	return stats_database_row(oid, &row) && !row.datallowconn;
}

/* Fill in what concerns a database's feed. */
static void
stats_feed(StatsRow *row, NotifydDatabase *database, const DatabaseFigures *figures, bool all)
{
	stats_set_text(row, STATS_STATE,
				   stats_database_closed(database->oid) ? "closed"
														: figure_state_names[figures->state]);
	stats_set(row, STATS_RESTARTS, Int32GetDatum(figures->restarts));
	if (figures->lag != FIGURES_NONE)
	{
		stats_set_interval(row, STATS_LAG, figures->lag);
		stats_set_count(row, STATS_LAG_EVENTS, figures->lag_events);
	}
	if (figures->feed_pid == 0)
		return;
	if (all)
		stats_set(row, STATS_PID, Int32GetDatum(figures->feed_pid));
	stats_set_started(row, figures->started_at);
	if (figures->unseen != FIGURES_NONE)
		stats_set_ago(row, STATS_LAST_SEEN, figures->unseen);
	if (figures->locked > 0)
		stats_set_ago(row, STATS_LOCKED_SINCE, figures->locked);
	stats_set(row, STATS_LINKS, Int32GetDatum((int32) pg_atomic_read_u32(&database->links)));
	stats_set(row, STATS_SUBSCRIPTIONS,
			  Int32GetDatum((int32) pg_atomic_read_u32(&database->subscriptions)));
}

/* Fill in what concerns a database's log and watermark. */
static void
stats_log(StatsRow *row, NotifydDatabase *database, const DatabaseFigures *figures, bool all)
{
	stats_set_position(row, STATS_POSITION, database, pg_atomic_read_u64(&database->position));
	stats_set_position(row, STATS_OLDEST, database, pg_atomic_read_u64(&database->oldest));
	stats_set_position(row, STATS_NEWEST, database, figures->newest);
	stats_set_position(row, STATS_WATERMARK, database, figures->watermark);
	stats_set(row, STATS_IN_FLIGHT, Int32GetDatum(figures->in_flight));
	if (figures->holder != 0)
	{
		if (all)
			stats_set(row, STATS_OLDEST_IN_FLIGHT_PID, Int32GetDatum(figures->holder));
		stats_set_ago(row, STATS_IN_FLIGHT_SINCE, figures->held);
	}
	stats_set_count(row, STATS_LOG_BYTES, figures->log_bytes);
	stats_set(row, STATS_SEGMENTS, Int32GetDatum((int32) pg_atomic_read_u32(&database->segments)));
	if (figures->oldest_age != FIGURES_NONE)
	{
		stats_set_ago(row, STATS_OLDEST_SINCE, figures->oldest_age);
		stats_set_interval(row, STATS_RETENTION_LEFT, figures->left);
	}
	stats_set_count(row, STATS_RETENTION_LEFT_BYTES, figures->left_bytes);
}

/* Fill in counters that have names. */
static void
stats_named(StatsRow *row, NotifydDatabase *database)
{
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < NOTIFYD_RESETS; i++)
		stats_append(&json, figure_reset_names[i], pg_atomic_read_u64(&database->resets[i]));
	stats_set_json(row, STATS_RESETS, &json);

	initStringInfo(&json);
	for (int i = 0; i < WIRE_QUERY_KINDS; i++)
	{
		for (int j = 0; j < NOTIFYD_ANSWERS && figure_query_names[i] != NULL; j++)
			stats_append(&json, psprintf("%s %s", figure_query_names[i], figure_answer_names[j]),
						 pg_atomic_read_u64(&database->answers[i][j]));
	}
	stats_set_json(row, STATS_ANSWERS, &json);
}

/* Fill in what concerns clients at present. */
static void
stats_load(StatsRow *row, const WireLoad *load)
{
	stats_set(row, STATS_CLIENTS, Int32GetDatum((int32) load->clients));
	stats_set_count(row, STATS_QUEUED_BYTES, load->queued);
	stats_set(row, STATS_SLOW_CLIENTS, Int32GetDatum((int32) load->slow));
	stats_set(row, STATS_WAITING_QUERIES, Int32GetDatum((int32) load->waiting));
}

static void
stats_database(StatsRow *row, NotifydDatabase *database, const char *name, bool all)
{
	DatabaseFigures figures;

	figures_database(database, &figures);
	stats_begin(row, "database", name);
	stats_feed(row, database, &figures, all);
	stats_log(row, database, &figures, all);
	stats_named(row, database);
	stats_load(row, &figures.load);
	stats_set_count(row, STATS_EVENTS_WRITTEN, pg_atomic_read_u64(&database->events_written));
	stats_set_count(row, STATS_EVENTS_SENT, pg_atomic_read_u64(&database->events_sent));
	stats_set_count(row, STATS_NOTIFIES_SENT, pg_atomic_read_u64(&database->notifies_sent));
	stats_set_count(row, STATS_BYTES_SENT, pg_atomic_read_u64(&database->bytes_sent));
	stats_set_count(row, STATS_REFUSED_TOKENS, pg_atomic_read_u64(&database->refused_tokens));
	stats_set_count(row, STATS_QUERIES, pg_atomic_read_u64(&database->queries));
	stats_set_count(row, STATS_FAILED_QUERIES, pg_atomic_read_u64(&database->failed_queries));
	stats_set_count(row, STATS_REPLAYS, pg_atomic_read_u64(&database->replays));
	stats_set_count(row, STATS_POLICY_ERRORS, pg_atomic_read_u64(&database->policy_errors));
	stats_set_interval(row, STATS_POLICY_TIME, (int64) pg_atomic_read_u64(&database->policy_us));
	stats_set_count(row, STATS_WORKER_RESTARTS, pg_atomic_read_u64(&database->worker_restarts));
}

/* Fill in how many requests a gateway has refused, all and by reason. */
static void
stats_refused(StatsRow *row, const NotifydGateway *gateway)
{
	StringInfoData json;
	uint64 sum = 0;

	initStringInfo(&json);
	for (int i = 0; i < WIRE_REFUSALS; i++)
	{
		sum += gateway->stats.refused[i];
		stats_append(&json, wire_refusal_names[i], gateway->stats.refused[i]);
	}
	stats_set_count(row, STATS_REFUSED, sum);
	stats_set_json(row, STATS_REFUSED_BY, &json);
}

/* The parts of the sandbox that a gateway has, as text. */
static const char *
stats_sandbox(uint8 missing)
{
	bool calls = (missing & WIRE_SANDBOX_CALLS) == 0;
	bool landlock = (missing & WIRE_SANDBOX_LANDLOCK) == 0;

	if (notifyd_sandbox == WIRE_SANDBOX_OFF)
		return "off";
	if (calls)
		return landlock ? "seccomp, landlock" : "seccomp";
	return landlock ? "landlock" : "none";
}

static void
stats_gateway(StatsRow *row, int number)
{
	NotifydGateway gateway;
	char name[12];

	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	gateway = notifyd_shared->gateways[number];
	LWLockRelease(&notifyd_shared->lock);

	snprintf(name, sizeof(name), "%d", number);
	stats_begin(row, "gateway", name);
	if (gateway.pid != 0)
	{
		stats_set(row, STATS_PID, Int32GetDatum(gateway.pid));
		stats_set_started(row, gateway.started_at);
	}
	if (gateway.pid != 0 && gateway.seen_at != 0)
		stats_set(row, STATS_LAST_SEEN, TimestampTzGetDatum(gateway.seen_at));
	if (gateway.ready)
		stats_set_text(row, STATS_SANDBOX, stats_sandbox(gateway.sandbox_missing));
	if (gateway.silent)
		stats_set_text(row, STATS_STATE, "not responding");
	else if (gateway.ready)
		stats_set_text(row, STATS_STATE, "running");
	else
		stats_set_text(row, STATS_STATE, gateway.pid != 0 ? "starting" : "waiting");
	stats_set(row, STATS_RESTARTS, Int32GetDatum(gateway.restarts));
	stats_set(row, STATS_SUBSCRIPTIONS, Int32GetDatum((int32) gateway.stats.subscriptions));
	stats_load(row, &(WireLoad){.clients = gateway.stats.clients,
								.slow = gateway.stats.slow,
								.waiting = gateway.stats.waiting,
								.queued = gateway.stats.queued});
	stats_set_interval(row, STATS_LOOP_LAG, gateway.stats.busy_ms * INT64CONST(1000));
	stats_set_count(row, STATS_ACCEPTED, gateway.stats.accepted);
	stats_refused(row, &gateway);
	stats_set_count(row, STATS_CLOSED_SLOW, gateway.stats.closed_slow);
	stats_set_count(row, STATS_EVENTS_RECEIVED, gateway.stats.events);
	stats_set_count(row, STATS_MESSAGES, gateway.stats.messages);
	stats_set_count(row, STATS_BYTES_SENT, gateway.stats.bytes);
}

/* Fill in the row of a worker. Returns false if the entry has none. */
static bool
stats_worker(StatsRow *row, NotifydWorker *worker)
{
	FormData_pg_database database;
	Oid oid;
	pid_t pid;
	bool ready;

	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	oid = worker->database;
	pid = worker->pid;
	ready = worker->ready;
	LWLockRelease(&notifyd_shared->lock);

	if (!OidIsValid(oid) || !stats_database_row(oid, &database))
		return false;
	stats_begin(row, "worker", NameStr(database.datname));
	if (pid != 0)
		stats_set(row, STATS_PID, Int32GetDatum(pid));
	if (!ready)
		stats_set_text(row, STATS_STATE, "starting");
	else
		stats_set_text(row, STATS_STATE,
					   pg_atomic_read_u64(&worker->busy_since) != 0 ? "busy" : "idle");
	return true;
}

/* Return the name of an entry's database if the view has a row for it, or NULL. */
static char *
stats_database_name(const NotifydDatabase *database, bool all)
{
	Oid oid = database->oid;
	FormData_pg_database row;

	/* Pairs with the barrier in shared_reset_database(). */
	pg_read_barrier();
	if (!OidIsValid(oid) || (!all && oid != MyDatabaseId))
		return NULL;
	if (database->life.state == FEED_ABSENT || !stats_database_row(oid, &row) || row.datistemplate)
		return NULL;
	return pstrdup(NameStr(row.datname));
}

/* Return the rows of notifyd.stats; none if the library is not preloaded. */
Datum
notifyd_stats_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bool all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
	StatsRow row;

	compat_materialized_srf(fcinfo);
	if (notifyd_shared == NULL)
		return (Datum) 0;
	/* tuplestore_putvalues() reads as many values as the function has columns. */
	if (rsinfo->setDesc->natts != STATS_NCOLUMNS && rsinfo->setDesc->natts != STATS_REFUSED_TOKENS)
		elog(ERROR, "unexpected number of columns: %d", rsinfo->setDesc->natts);

	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		NotifydDatabase *database = &notifyd_shared->databases[i];
		char *name = stats_database_name(database, all);

		if (name == NULL)
			continue;
		stats_database(&row, database, name, all);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row.values, row.nulls);
	}
	for (int i = 0; all && i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (i >= notifyd_gateways && notifyd_shared->gateways[i].pid == 0)
			continue;
		stats_gateway(&row, i);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row.values, row.nulls);
	}
	for (int i = 0; all && i < NOTIFYD_MAX_WORKERS; i++)
	{
		if (stats_worker(&row, &notifyd_shared->workers[i]))
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row.values, row.nulls);
	}
	return (Datum) 0;
}
