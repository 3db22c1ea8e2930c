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
#include "ext/log/log.h"
#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "utils/builtins.h"
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
} StatsColumn;
#define STATS_NCOLUMNS (STATS_FAILED_QUERIES + 1)

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

/*
 * Return how many backends are committing events of a database, and set *oldest_pid to the one that
 * began first (0: none).
 */
static int
stats_in_flight(int index, int *oldest_pid)
{
	uint64 oldest = PG_UINT64_MAX;
	int count = 0;

	*oldest_pid = 0;
	for (int i = 0; i < notifyd_shared->nbackends; i++)
	{
		NotifydBackend *backend = &notifyd_shared->backends[i];
		uint64 id = pg_atomic_read_u64(&backend->first_id);

		if (id == 0 || pg_atomic_read_u32(&backend->database) != (uint32) index)
			continue;
		count++;
		if (id < oldest)
		{
			oldest = id;
			*oldest_pid = backend->pid;
		}
	}
	return count;
}

/*
 * Return true if a running feed has not completed a round of its loop for long. This works for a
 * stopped feed too.
 */
static bool
stats_feed_silent(NotifydDatabase *database)
{
	TimestampTz alive_at = (TimestampTz) pg_atomic_read_u64(&database->alive_at);

	return alive_at != 0 &&
		   TimestampDifferenceExceeds(alive_at, GetCurrentTimestamp(), NOTIFYD_SILENT_MS);
}

static const char *
stats_feed_state(FeedState state, bool held, bool silent)
{
	switch (state)
	{
		case FEED_STARTING:
			return "starting";
		case FEED_RUNNING:
			return silent ? "not responding" : "running";
		case FEED_ABSENT:
			return "absent";
		case FEED_ASLEEP:
			return "asleep";
		case FEED_WANTED:
			break;
	}
	return held ? "held" : "waiting";
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

/* Fill in the state of a database's feed. */
static void
stats_feed(StatsRow *row, NotifydDatabase *database, bool all)
{
	FeedState state;
	pid_t pid;
	pid_t hold_pid;
	TimestampTz started_at;
	bool excluded;

	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	state = database->life.state;
	pid = database->feed_pid;
	hold_pid = database->hold_pid;
	started_at = database->life.started_at;
	excluded = database->life.excluded;
	LWLockRelease(&notifyd_shared->lock);

	if (stats_database_closed(database->oid))
		stats_set_text(row, STATS_STATE, "closed");
	else if (excluded)
		stats_set_text(row, STATS_STATE, "excluded");
	else
		stats_set_text(row, STATS_STATE,
					   stats_feed_state(state, hold_pid != 0, stats_feed_silent(database)));
	if (state != FEED_RUNNING)
		return;
	if (all)
		stats_set(row, STATS_PID, Int32GetDatum(pid));
	stats_set_started(row, started_at);
	stats_set(row, STATS_LINKS, Int32GetDatum((int32) pg_atomic_read_u32(&database->links)));
	stats_set(row, STATS_SUBSCRIPTIONS,
			  Int32GetDatum((int32) pg_atomic_read_u32(&database->subscriptions)));
	if (pg_atomic_read_u32(&database->links) > 0)
	{
		Interval *lag = palloc0(sizeof(Interval));
		TimestampTz since = lag_since(database);

		if (since != 0)
			lag->time = Max(GetCurrentTimestamp() - since, 0);
		stats_set(row, STATS_LAG, IntervalPGetDatum(lag));
	}
}

static void
stats_database(StatsRow *row, NotifydDatabase *database, const char *name, bool all)
{
	uint64 next_id;
	int oldest_pid;
	int in_flight = stats_in_flight(shared_database_index(database), &oldest_pid);

	LWLockAcquire(&database->lock, LW_SHARED);
	next_id = OidIsValid(database->incarnation) ? database->next_id : 0;
	LWLockRelease(&database->lock);

	stats_begin(row, "database", name);
	stats_feed(row, database, all);
	stats_set_position(row, STATS_POSITION, database, pg_atomic_read_u64(&database->position));
	stats_set_position(row, STATS_OLDEST, database, pg_atomic_read_u64(&database->oldest));
	if (next_id > 0)
		stats_set_position(row, STATS_NEWEST, database, next_id - 1);
	stats_set_count(row, STATS_EVENTS_WRITTEN, pg_atomic_read_u64(&database->events_written));
	stats_set_count(row, STATS_EVENTS_SENT, pg_atomic_read_u64(&database->events_sent));
	stats_set_count(row, STATS_NOTIFIES_SENT, pg_atomic_read_u64(&database->notifies_sent));
	stats_set_count(row, STATS_BYTES_SENT, pg_atomic_read_u64(&database->bytes_sent));
	stats_set_count(row, STATS_REFUSED_TOKENS, pg_atomic_read_u64(&database->refused_tokens));
	stats_set_count(row, STATS_QUERIES, pg_atomic_read_u64(&database->queries));
	stats_set_count(row, STATS_FAILED_QUERIES, pg_atomic_read_u64(&database->failed_queries));
	stats_set_count(row, STATS_LOG_BYTES, pg_atomic_read_u64(&database->log_bytes));
	stats_set(row, STATS_SEGMENTS, Int32GetDatum((int32) pg_atomic_read_u32(&database->segments)));
	stats_set(row, STATS_IN_FLIGHT, Int32GetDatum(in_flight));
	if (all && oldest_pid != 0)
		stats_set(row, STATS_OLDEST_IN_FLIGHT_PID, Int32GetDatum(oldest_pid));
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
	if (gateway.silent)
		stats_set_text(row, STATS_STATE, "not responding");
	else if (gateway.ready)
		stats_set_text(row, STATS_STATE, "running");
	else
		stats_set_text(row, STATS_STATE, gateway.pid != 0 ? "starting" : "waiting");
	stats_set(row, STATS_RESTARTS, Int32GetDatum(gateway.restarts));
	stats_set(row, STATS_SUBSCRIPTIONS, Int32GetDatum((int32) gateway.subscriptions));
	stats_set(row, STATS_CLIENTS, Int32GetDatum((int32) gateway.clients));
	stats_set_count(row, STATS_ACCEPTED, gateway.accepted);
	stats_set_count(row, STATS_REFUSED, gateway.refused);
	stats_set_count(row, STATS_CLOSED_SLOW, gateway.closed_slow);
	stats_set_count(row, STATS_EVENTS_RECEIVED, gateway.events);
	stats_set_count(row, STATS_MESSAGES, gateway.messages);
	stats_set_count(row, STATS_BYTES_SENT, gateway.bytes);
	stats_set_count(row, STATS_QUEUED_BYTES, gateway.queued);
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
