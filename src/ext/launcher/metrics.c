/*-------------------------------------------------------------------------
 *
 * metrics.c
 *	  The launcher's part of GET /metrics: what the shared memory says.
 *
 * A gateway that is asked for the metrics asks the launcher, so each gateway answers for all. The
 * values are first collected and then written as tables, see wire/exposition.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>
#include <unistd.h>

#include "ext/base/settings.h"
#include "ext/base/shared.h"
#include "ext/figures/figures.h"
#include "ext/launcher/certificate.h"
#include "ext/launcher/databases.h"
#include "ext/launcher/metrics.h"
#include "storage/fd.h"
#include "utils/timestamp.h"
#include "wire/exposition.h"
#include "wire/gateway_metrics.h"

typedef enum MetricsWorkerState
{
	METRICS_STARTING = 0,
	METRICS_IDLE,
	METRICS_BUSY,
	METRICS_WORKERS
} MetricsWorkerState;

/* Kinds of queries, from WIRE_QUERY_SNAPSHOT on. */
#define METRICS_QUERIES (WIRE_QUERY_KINDS - 1)

typedef enum DatabaseMetric
{
	DATABASE_STATE = 0, /* FIGURE_STATES of them */
	DATABASE_LAG = DATABASE_STATE + FIGURE_STATES,
	DATABASE_LAG_EVENTS,
	DATABASE_UNSEEN,
	DATABASE_LOCKED,
	DATABASE_RESTARTS,
	DATABASE_LINKS,
	DATABASE_CLIENTS,
	DATABASE_SLOW,
	DATABASE_QUEUED,
	DATABASE_WAITING,
	DATABASE_SUBSCRIPTIONS,
	DATABASE_NEWEST,
	DATABASE_WATERMARK,
	DATABASE_HELD,
	DATABASE_IN_FLIGHT,
	DATABASE_LOG_BYTES,
	DATABASE_LOG_WRITTEN,
	DATABASE_SEGMENTS,
	DATABASE_OLDEST_AGE,
	DATABASE_LEFT,
	DATABASE_LEFT_BYTES,
	DATABASE_WRITTEN,
	DATABASE_SENT,
	DATABASE_NOTIFIES,
	DATABASE_BYTES,
	DATABASE_REFUSED_TOKENS,
	DATABASE_REPLAYS,
	DATABASE_RESETS,                                     /* NOTIFYD_RESETS of them */
	DATABASE_QUERIES = DATABASE_RESETS + NOTIFYD_RESETS, /* NOTIFYD_ANSWERS for each kind */
	DATABASE_WORKERS = DATABASE_QUERIES + METRICS_QUERIES * NOTIFYD_ANSWERS, /* METRICS_WORKERS */
	DATABASE_WORKER_RESTARTS = DATABASE_WORKERS + METRICS_WORKERS,
	DATABASE_SNAPSHOTS_RUNNING,
	DATABASE_POLICY_ERRORS,
	DATABASE_POLICY_SECONDS,
	DATABASE_METRICS,
} DatabaseMetric;

#define STATE(state)                                                                               \
	[DATABASE_STATE + FIGURE_##state] = {"pg_notifyd_feed_state", "gauge",                         \
										 "1 for the state of the database's feed, 0 for others.",  \
										 "state", &figure_state_names[FIGURE_##state]}

#define RESET(reason)                                                                              \
	[DATABASE_RESETS + NOTIFYD_RESET_##                                                            \
		reason] = {"pg_notifyd_resets_total", "counter",                                           \
				   "Resets that the feed has sent to subscriptions, by reason.", "reason",         \
				   &figure_reset_names[NOTIFYD_RESET_##reason]}

#define WORKER(state, i)                                                                           \
	[DATABASE_WORKERS + METRICS_##state] = {"pg_notifyd_workers", "gauge",                         \
											"Workers that run queries of clients, by state.",      \
											"state", &metrics_worker_states[i]}

#define QUERY(kind, answer, name)                                                                  \
	[DATABASE_QUERIES + (WIRE_QUERY_##kind - 1) * NOTIFYD_ANSWERS + NOTIFYD_ANSWER_##              \
		answer] = {"pg_notifyd_" name "_total", "counter",                                         \
				   "Requests of clients for workers (" name "), by result.", "result",             \
				   &figure_answer_names[NOTIFYD_ANSWER_##answer]}

#define QUERIES(kind, view_name, name)                                                             \
	QUERY(kind, DONE, name), QUERY(kind, REFUSED, name), QUERY(kind, ERROR, name),                 \
		QUERY(kind, TIMEOUT, name), QUERY(kind, CANCELLED, name),

static const char *const metrics_worker_states[] = {"starting", "idle", "busy"};

static const ExpositionMetric metrics_database[DATABASE_METRICS] = {
	STATE(RUNNING),
	STATE(STARTING),
	STATE(WAITING),
	STATE(HELD),
	STATE(ASLEEP),
	STATE(ABSENT),
	STATE(EXCLUDED),
	STATE(LOCKED),
	STATE(SILENT),
	[DATABASE_LAG] =
		{.name = "pg_notifyd_feed_lag_seconds",
		 .type = "gauge",
		 .help = "How long the oldest commit has waited that gateways have not been sent."},
	[DATABASE_LAG_EVENTS] = {.name = "pg_notifyd_feed_lag_events",
							 .type = "gauge",
							 .help = "Ids of events that gateways have not been sent."},
	[DATABASE_UNSEEN] = {.name = "pg_notifyd_feed_last_seen_seconds",
						 .type = "gauge",
						 .help = "Time since the running feed last completed a round."},
	[DATABASE_LOCKED] = {.name = "pg_notifyd_feed_locked_seconds",
						 .type = "gauge",
						 .help = "How long the feed has waited for its lock on notifyd.log_0."},
	[DATABASE_RESTARTS] = {.name = "pg_notifyd_feed_restarts_total",
						   .type = "counter",
						   .help = "Times that the feed has ended although it was needed."},
	[DATABASE_LINKS] = {.name = "pg_notifyd_feed_links",
						.type = "gauge",
						.help = "Gateways that the feed is connected to."},
	[DATABASE_CLIENTS] = {.name = "pg_notifyd_clients",
						  .type = "gauge",
						  .help = "Connected clients of the database."},
	[DATABASE_SLOW] = {.name = "pg_notifyd_slow_clients",
					   .type = "gauge",
					   .help = "Clients that have not taken everything for 10 seconds."},
	[DATABASE_QUEUED] = {.name = "pg_notifyd_queued_bytes",
						 .type = "gauge",
						 .help =
							 "Bytes that are queued for clients that do not take them at once."},
	[DATABASE_WAITING] = {.name = "pg_notifyd_waiting_queries",
						  .type = "gauge",
						  .help = "Requests of clients that wait for a worker."},
	[DATABASE_SUBSCRIPTIONS] = {.name = "pg_notifyd_subscriptions",
								.type = "gauge",
								.help = "Subscriptions of clients."},
	[DATABASE_NEWEST] = {.name = "pg_notifyd_newest_id",
						 .type = "gauge",
						 .help = "The newest id of an event that was assigned."},
	[DATABASE_WATERMARK] = {.name = "pg_notifyd_watermark_id",
							.type = "gauge",
							.help = "Events up to this id are committed or will never be."},
	[DATABASE_HELD] = {.name = "pg_notifyd_watermark_held_seconds",
					   .type = "gauge",
					   .help =
						   "How long the commit that holds the watermark has been in progress."},
	[DATABASE_IN_FLIGHT] = {.name = "pg_notifyd_commits_in_progress",
							.type = "gauge",
							.help = "Transactions with events that are committing."},
	[DATABASE_LOG_BYTES] = {.name = "pg_notifyd_log_bytes",
							.type = "gauge",
							.help = "Size of the event log."},
	[DATABASE_LOG_WRITTEN] = {.name = "pg_notifyd_log_written_bytes_total",
							  .type = "counter",
							  .help = "Bytes that were written to the log."},
	[DATABASE_SEGMENTS] = {.name = "pg_notifyd_log_segments",
						   .type = "gauge",
						   .help = "Segments of the log in use."},
	[DATABASE_OLDEST_AGE] =
		{.name = "pg_notifyd_log_oldest_event_age_seconds",
		 .type = "gauge",
		 .help = "Age of the oldest segment of the log, and so of its oldest event."},
	[DATABASE_LEFT] = {.name = "pg_notifyd_retention_left_seconds",
					   .type = "gauge",
					   .help = "Time until the oldest events are removed for their age."},
	[DATABASE_LEFT_BYTES] = {.name = "pg_notifyd_retention_left_bytes",
							 .type = "gauge",
							 .help =
								 "Bytes until the oldest events are removed for the log's size."},
	[DATABASE_WRITTEN] = {.name = "pg_notifyd_events_written_total",
						  .type = "counter",
						  .help = "Events that were committed."},
	[DATABASE_SENT] = {.name = "pg_notifyd_events_sent_total",
					   .type = "counter",
					   .help = "Events that the feed has sent to gateways."},
	[DATABASE_NOTIFIES] = {.name = "pg_notifyd_notifications_sent_total",
						   .type = "counter",
						   .help = "Raw notifications that the feed has sent to gateways."},
	[DATABASE_BYTES] = {.name = "pg_notifyd_feed_sent_bytes_total",
						.type = "counter",
						.help = "Bytes of events that the feed has sent to gateways."},
	[DATABASE_REFUSED_TOKENS] = {.name = "pg_notifyd_tokens_refused_total",
								 .type = "counter",
								 .help = "Tokens that the feed has refused."},
	[DATABASE_REPLAYS] = {.name = "pg_notifyd_replays_total",
						  .type = "counter",
						  .help = "Replays from the log that have begun."},
	RESET(RETENTION),
	RESET(POSITION),
	RESET(ROWS),
	RESET(TABLE),
	RESET(NOTIFICATIONS),
	WORKER(STARTING, 0),
	WORKER(IDLE, 1),
	WORKER(BUSY, 2),
	[DATABASE_WORKER_RESTARTS] = {.name = "pg_notifyd_worker_restarts_total",
								  .type = "counter",
								  .help = "Times that a worker has ended although it was needed."},
	[DATABASE_SNAPSHOTS_RUNNING] = {.name = "pg_notifyd_snapshots_running",
									.type = "gauge",
									.help = "Snapshots whose rows workers are reading."},
	[DATABASE_POLICY_ERRORS] =
		{.name = "pg_notifyd_policy_errors_total",
		 .type = "counter",
		 .help = "Evaluations of policies and filters that have failed or taken too long."},
	[DATABASE_POLICY_SECONDS] = {.name = "pg_notifyd_policy_seconds_total",
								 .type = "counter",
								 .help = "Time that the feed has spent with policies and filters."},
	FIGURE_QUERIES(QUERIES)};

/* The values of one database. */
typedef struct MetricsDatabase
{
	double values[DATABASE_METRICS];
	ExpositionLabel label;
} MetricsDatabase;

typedef struct MetricsGateway
{
	double values[GATEWAY_METRICS];
	ExpositionLabel label;
	char number[12];
} MetricsGateway;

/* A duration in seconds, or NAN. */
static double
metrics_seconds(int64 us)
{
	return us == FIGURES_NONE ? NAN : (double) us / USECS_PER_SEC;
}

static void
metrics_count_database(double *values, NotifydDatabase *database)
{
	values[DATABASE_LINKS] = pg_atomic_read_u32(&database->links);
	values[DATABASE_SUBSCRIPTIONS] = pg_atomic_read_u32(&database->subscriptions);
	values[DATABASE_SEGMENTS] = pg_atomic_read_u32(&database->segments);
	values[DATABASE_WRITTEN] = (double) pg_atomic_read_u64(&database->events_written);
	values[DATABASE_LOG_WRITTEN] = (double) (pg_atomic_read_u64(&database->log_written) +
											 pg_atomic_read_u64(&database->unmeasured));
	values[DATABASE_SENT] = (double) pg_atomic_read_u64(&database->events_sent);
	values[DATABASE_NOTIFIES] = (double) pg_atomic_read_u64(&database->notifies_sent);
	values[DATABASE_BYTES] = (double) pg_atomic_read_u64(&database->bytes_sent);
	values[DATABASE_REFUSED_TOKENS] = (double) pg_atomic_read_u64(&database->refused_tokens);
}

static void
metrics_count_answers(double *values, NotifydDatabase *database)
{
	values[DATABASE_REPLAYS] = (double) pg_atomic_read_u64(&database->replays);
	for (int i = 0; i < NOTIFYD_RESETS; i++)
		values[DATABASE_RESETS + i] = (double) pg_atomic_read_u64(&database->resets[i]);
	for (int i = 0; i < METRICS_QUERIES; i++)
	{
		for (int j = 0; j < NOTIFYD_ANSWERS; j++)
			values[DATABASE_QUERIES + i * NOTIFYD_ANSWERS + j] =
				(double) pg_atomic_read_u64(&database->answers[i + 1][j]);
	}
	values[DATABASE_WORKER_RESTARTS] = (double) pg_atomic_read_u64(&database->worker_restarts);
	values[DATABASE_POLICY_ERRORS] = (double) pg_atomic_read_u64(&database->policy_errors);
	values[DATABASE_POLICY_SECONDS] =
		(double) pg_atomic_read_u64(&database->policy_us) / USECS_PER_SEC;
}

static void
metrics_count_workers(double *values, Oid database)
{
	for (int i = 0; i < METRICS_WORKERS; i++)
		values[DATABASE_WORKERS + i] = 0;
	values[DATABASE_SNAPSHOTS_RUNNING] = 0;
	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	for (int i = 0; i < NOTIFYD_MAX_WORKERS; i++)
	{
		NotifydWorker *worker = &notifyd_shared->workers[i];
		bool busy = pg_atomic_read_u64(&worker->busy_since) != 0;

		if (worker->database != database)
			continue;
		values[DATABASE_WORKERS + (!worker->ready ? METRICS_STARTING
								   : busy         ? METRICS_BUSY
												  : METRICS_IDLE)]++;
		values[DATABASE_SNAPSHOTS_RUNNING] += busy && worker->kind == WIRE_QUERY_SNAPSHOT;
	}
	LWLockRelease(&notifyd_shared->lock);
}

static void
metrics_fill_database(MetricsDatabase *to, int index)
{
	NotifydDatabase *database = &notifyd_shared->databases[index];
	double *values = to->values;
	DatabaseFigures figures;

	figures_database(database, &figures);
	for (int i = 0; i < FIGURE_STATES; i++)
		values[DATABASE_STATE + i] = figures.state == (FigureState) i;
	values[DATABASE_LAG] = metrics_seconds(figures.lag);
	values[DATABASE_LAG_EVENTS] = figures.lag == FIGURES_NONE ? NAN : (double) figures.lag_events;
	values[DATABASE_UNSEEN] = metrics_seconds(figures.unseen);
	values[DATABASE_LOCKED] = metrics_seconds(figures.locked);
	values[DATABASE_RESTARTS] = figures.restarts;
	values[DATABASE_NEWEST] = figures.newest != 0 ? (double) figures.newest : NAN;
	values[DATABASE_WATERMARK] = figures.newest != 0 ? (double) figures.watermark : NAN;
	values[DATABASE_HELD] = metrics_seconds(figures.held);
	values[DATABASE_IN_FLIGHT] = figures.in_flight;
	values[DATABASE_LOG_BYTES] = (double) figures.log_bytes;
	values[DATABASE_OLDEST_AGE] = metrics_seconds(figures.oldest_age);
	values[DATABASE_LEFT] = metrics_seconds(figures.left);
	values[DATABASE_LEFT_BYTES] = (double) figures.left_bytes;
	values[DATABASE_CLIENTS] = figures.load.clients;
	values[DATABASE_SLOW] = figures.load.slow;
	values[DATABASE_QUEUED] = (double) figures.load.queued;
	values[DATABASE_WAITING] = figures.load.waiting;
	metrics_count_database(values, database);
	metrics_count_answers(values, database);
	metrics_count_workers(values, database->oid);
	to->label = (ExpositionLabel){"database", databases_name(index)};
}

/* Databases whose entries are in use and that have the extension. */
static bool
metrics_has_database(int index)
{
	const NotifydDatabase *database = &notifyd_shared->databases[index];

	return databases_name(index) != NULL && database->oid == databases[index].oid &&
		   database->life.state != FEED_ABSENT;
}

/* The name of a database that has metrics; NULL: it has none. */
static const char *
metrics_find_database(Oid oid)
{
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		if (databases[i].oid == oid && metrics_has_database(i))
			return databases_name(i);
	}
	return NULL;
}

static ExpositionRow *
metrics_collect_databases(size_t *n)
{
	ExpositionRow *rows = palloc(NOTIFYD_MAX_DATABASES * sizeof(ExpositionRow));

	*n = 0;
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		MetricsDatabase *database;

		if (!metrics_has_database(i))
			continue;
		database = palloc(sizeof(MetricsDatabase));
		metrics_fill_database(database, i);
		rows[(*n)++] =
			(ExpositionRow){.labels = &database->label, .nlabels = 1, .values = database->values};
	}
	return rows;
}

/* The resident memory of a process in bytes (proc(5), statm), or NAN. */
static double
metrics_resident(pid_t pid)
{
	char path[64];
	long pages = 0;
	FILE *file;
	bool got;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int) pid);
	file = pid != 0 ? AllocateFile(path, "r") : NULL;
	if (file == NULL)
		return NAN;
	got = fscanf(file, "%*s %ld", &pages) == 1;
	FreeFile(file);
	return got ? (double) pages * (double) sysconf(_SC_PAGESIZE) : NAN;
}

static void
metrics_fill_gateway(MetricsGateway *to, int number, TimestampTz now)
{
	NotifydGateway gateway;

	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	gateway = notifyd_shared->gateways[number];
	LWLockRelease(&notifyd_shared->lock);

	gateway_metrics_fill(to->values, &gateway.stats);
	to->values[GATEWAY_UP] = gateway.pid != 0 && gateway.ready && !gateway.silent;
	to->values[GATEWAY_RESTARTS] = gateway.restarts;
	to->values[GATEWAY_UNSEEN] = gateway.pid != 0 && gateway.seen_at != 0
									 ? metrics_seconds(Max(now - gateway.seen_at, 0))
									 : NAN;
	to->values[GATEWAY_MEMORY] = metrics_resident(gateway.pid);
	if (gateway.pid != 0 && gateway.ready)
		gateway_metrics_sandbox(to->values, gateway.sandbox_missing,
								notifyd_sandbox != WIRE_SANDBOX_OFF);
	snprintf(to->number, sizeof(to->number), "%d", number);
	to->label = (ExpositionLabel){"gateway", to->number};
}

static ExpositionRow *
metrics_collect_gateways(size_t *n)
{
	ExpositionRow *rows = palloc(NOTIFYD_MAX_GATEWAYS * sizeof(ExpositionRow));
	TimestampTz now = GetCurrentTimestamp();

	*n = 0;
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		MetricsGateway *gateway;

		if (i >= notifyd_gateways && notifyd_shared->gateways[i].pid == 0)
			continue;
		gateway = palloc(sizeof(MetricsGateway));
		metrics_fill_gateway(gateway, i, now);
		rows[(*n)++] =
			(ExpositionRow){.labels = &gateway->label, .nlabels = 1, .values = gateway->values};
	}
	return rows;
}

typedef struct MetricsWatch
{
	double events;
	NotifydWatch watch;
	ExpositionLabel labels[4];
} MetricsWatch;

static const ExpositionMetric metrics_watch[] = {
	{.name = "pg_notifyd_watch_events_total",
	 .type = "counter",
	 .help = "Events that were committed, by watch."},
};

static ExpositionRow *
metrics_collect_watches(size_t *n)
{
	ExpositionRow *rows = palloc(NOTIFYD_MAX_WATCHES * sizeof(ExpositionRow));

	*n = 0;
	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	for (int i = 0; i < NOTIFYD_MAX_WATCHES; i++)
	{
		const NotifydWatch *watch = &notifyd_shared->watches[i];
		MetricsWatch *mine;

		if (!OidIsValid(watch->database))
			continue;
		mine = palloc(sizeof(MetricsWatch));
		mine->watch = *watch;
		mine->events = (double) pg_atomic_read_u64(&mine->watch.events);
		rows[(*n)++] = (ExpositionRow){
			.labels = mine->labels, .nlabels = lengthof(mine->labels), .values = &mine->events};
	}
	LWLockRelease(&notifyd_shared->lock);
	return rows;
}

/* Find the names of the watches' databases. A row without a name has no sample. */
static void
metrics_name_watches(ExpositionRow *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		MetricsWatch *mine = (MetricsWatch *) rows[i].values;
		const char *database = metrics_find_database(mine->watch.database);

		if (database == NULL)
			mine->events = NAN;
		mine->labels[0] = (ExpositionLabel){"database", database != NULL ? database : ""};
		mine->labels[1] = (ExpositionLabel){"channel", NameStr(mine->watch.channel)};
		mine->labels[2] = (ExpositionLabel){"schema", NameStr(mine->watch.schema)};
		mine->labels[3] = (ExpositionLabel){"table", NameStr(mine->watch.table)};
	}
}

typedef enum GroupMetric
{
	GROUP_METRIC_PENDING = 0,
	GROUP_METRIC_TAKEN,
	GROUP_METRIC_DELAYED,
	GROUP_METRIC_WAITING,
	GROUP_METRIC_BEHIND,
	GROUP_METRIC_UNTAKEN,
	GROUP_METRIC_ACKNOWLEDGED,
	GROUP_METRIC_REDELIVERED,
	GROUP_METRIC_LOST,
	GROUP_METRIC_SET_ASIDE,
	GROUP_METRICS,
} GroupMetric;

static const ExpositionMetric metrics_group[GROUP_METRICS] = {
	{.name = "pg_notifyd_group_pending",
	 .type = "gauge",
	 .help = "Events that wait for a consumer, of those read."},
	{.name = "pg_notifyd_group_taken", .type = "gauge", .help = "Events that consumers have."},
	{.name = "pg_notifyd_group_delayed",
	 .type = "gauge",
	 .help = "Events that were given back with a delay."},
	{.name = "pg_notifyd_group_waiting",
	 .type = "gauge",
	 .help = "Calls of notify_take() that wait."},
	{.name = "pg_notifyd_group_behind_ids",
	 .type = "gauge",
	 .help = "Ids of the log that the group has not read."},
	{.name = "pg_notifyd_group_last_take_seconds",
	 .type = "gauge",
	 .help = "Time since somebody has looked for events to take; 0: somebody waits."},
	{.name = "pg_notifyd_group_acknowledged_total",
	 .type = "counter",
	 .help = "Events that were acknowledged."},
	{.name = "pg_notifyd_group_redelivered_total",
	 .type = "counter",
	 .help = "Deliveries that were not the first."},
	{.name = "pg_notifyd_group_lost_total",
	 .type = "counter",
	 .help = "Times that retention has removed events."},
	{.name = "pg_notifyd_group_set_aside_total",
	 .type = "counter",
	 .help = "Events that have failed too often."},
};

typedef struct MetricsGroup
{
	double values[GROUP_METRICS];
	ExpositionLabel labels[2];
} MetricsGroup;

static void
metrics_fill_group(MetricsGroup *to, GroupFigures *figures, const char *database)
{
	to->values[GROUP_METRIC_PENDING] = figures->pending;
	to->values[GROUP_METRIC_TAKEN] = figures->taken;
	to->values[GROUP_METRIC_DELAYED] = figures->delayed;
	to->values[GROUP_METRIC_WAITING] = figures->waiting;
	to->values[GROUP_METRIC_BEHIND] = (double) figures->behind;
	to->values[GROUP_METRIC_UNTAKEN] = metrics_seconds(figures->untaken);
	to->values[GROUP_METRIC_ACKNOWLEDGED] = (double) figures->acknowledged;
	to->values[GROUP_METRIC_REDELIVERED] = (double) figures->redelivered;
	to->values[GROUP_METRIC_LOST] = (double) figures->lost;
	to->values[GROUP_METRIC_SET_ASIDE] = (double) figures->set_aside;
	to->labels[0] = (ExpositionLabel){"database", database};
	to->labels[1] = (ExpositionLabel){"group", NameStr(figures->name)};
}

static ExpositionRow *
metrics_collect_groups(size_t *n)
{
	List *groups = figures_groups();
	ExpositionRow *rows = palloc((list_length(groups) + 1) * sizeof(ExpositionRow));
	ListCell *cell;

	*n = 0;
	foreach (cell, groups)
	{
		GroupFigures *figures = lfirst(cell);
		const char *database = metrics_find_database(figures->database);
		MetricsGroup *group;

		if (database == NULL)
			continue;
		group = palloc(sizeof(MetricsGroup));
		metrics_fill_group(group, figures, database);
		rows[(*n)++] = (ExpositionRow){
			.labels = group->labels, .nlabels = lengthof(group->labels), .values = group->values};
	}
	return rows;
}

static const ExpositionMetric metrics_launcher[] = {
	{.name = "pg_notifyd_launcher_starts_total",
	 .type = "counter",
	 .help = "Starts of the launcher since the server has started."},
	{.name = "pg_notifyd_certificate_expires_timestamp_seconds",
	 .type = "gauge",
	 .help = "When the certificate expires that gateways use, as a Unix time; 0 without TLS."},
};
static const ExpositionMetric metrics_build[] = {
	{.name = "pg_notifyd_build_info",
	 .type = "gauge",
	 .help = "The versions of pg_notifyd and of PostgreSQL."},
};

WireBytes
metrics_text(void)
{
	static const ExpositionLabel versions[] = {{"version", NOTIFYD_VERSION},
											   {"postgresql", PG_VERSION}};
	double launcher_values[] = {notifyd_shared->launcher_starts, (double) certificate_expires()};
	double one = 1;
	ExpositionRow launcher = {.values = launcher_values};
	ExpositionRow build = {.labels = versions, .nlabels = lengthof(versions), .values = &one};
	size_t ndatabases;
	size_t ngateways;
	size_t nwatches;
	size_t ngroups;
	ExpositionRow *databases_rows = metrics_collect_databases(&ndatabases);
	ExpositionRow *gateways_rows = metrics_collect_gateways(&ngateways);
	ExpositionRow *watches = metrics_collect_watches(&nwatches);
	ExpositionRow *groups = metrics_collect_groups(&ngroups);
	Exposition text = {0};

	metrics_name_watches(watches, nwatches);
	/* First to measure it, then to write it. */
	for (int i = 0; i < 2; i++)
	{
		text.len = 0;
		exposition_table(&text, metrics_build, lengthof(metrics_build), &build, 1);
		exposition_table(&text, metrics_launcher, lengthof(metrics_launcher), &launcher, 1);
		exposition_table(&text, metrics_database, DATABASE_METRICS, databases_rows, ndatabases);
		exposition_table(&text, metrics_watch, lengthof(metrics_watch), watches, nwatches);
		exposition_table(&text, metrics_group, GROUP_METRICS, groups, ngroups);
		exposition_table(&text, gateway_metrics, GATEWAY_METRICS, gateways_rows, ngateways);
		if (text.buf == NULL)
			text = (Exposition){.buf = palloc(text.len), .cap = text.len};
	}
	return (WireBytes){.data = text.buf, .len = (uint32_t) text.len};
}
