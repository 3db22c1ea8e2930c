/*-------------------------------------------------------------------------
 *
 * figures.c
 *	  What the shared memory says about databases. See figures.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/settings.h"
#include "ext/figures/figures.h"
#include "ext/log/log.h"
#include "utils/timestamp.h"

const char *const figure_state_names[FIGURE_STATES] = {
	[FIGURE_RUNNING] = "running",       [FIGURE_STARTING] = "starting",
	[FIGURE_WAITING] = "waiting",       [FIGURE_HELD] = "held",
	[FIGURE_ASLEEP] = "asleep",         [FIGURE_ABSENT] = "absent",
	[FIGURE_EXCLUDED] = "excluded",     [FIGURE_LOCKED] = "locked",
	[FIGURE_SILENT] = "not responding",
};

List *(*figures_groups)(void) = NULL;

const char *const figure_reset_names[NOTIFYD_RESETS] = {
	[NOTIFYD_RESET_RETENTION] = "retention",
	[NOTIFYD_RESET_POSITION] = "position",
	[NOTIFYD_RESET_ROWS] = "rows",
	[NOTIFYD_RESET_TABLE] = "table",
	[NOTIFYD_RESET_NOTIFICATIONS] = "notifications",
};

#define QUERY_COUNT(kind, name, metric) +1
StaticAssertDecl(1 FIGURE_QUERIES(QUERY_COUNT) == WIRE_QUERY_KINDS,
				 "FIGURE_QUERIES names each WireQueryKind");

#define QUERY_NAME(kind, name, metric) [WIRE_QUERY_##kind] = (name),
const char *const figure_query_names[WIRE_QUERY_KINDS] = {FIGURE_QUERIES(QUERY_NAME)};

const char *const figure_answer_names[NOTIFYD_ANSWERS] = {
	[NOTIFYD_ANSWER_DONE] = "done",           [NOTIFYD_ANSWER_REFUSED] = "refused",
	[NOTIFYD_ANSWER_ERROR] = "error",         [NOTIFYD_ANSWER_TIMEOUT] = "timeout",
	[NOTIFYD_ANSWER_CANCELLED] = "cancelled",
};

static int64
figures_since(uint64 then, TimestampTz now)
{
	return then != 0 ? Max(now - (TimestampTz) then, 0) : FIGURES_NONE;
}

static FigureState
figures_state(FeedState state, bool held, const DatabaseFigures *figures)
{
	switch (state)
	{
		case FEED_STARTING:
			return FIGURE_STARTING;
		case FEED_ABSENT:
			return FIGURE_ABSENT;
		case FEED_ASLEEP:
			return FIGURE_ASLEEP;
		case FEED_RUNNING:
			if (figures->unseen > NOTIFYD_SILENT_MS * INT64CONST(1000))
				return FIGURE_SILENT;
			if (figures->locked > NOTIFYD_SILENT_MS * INT64CONST(1000))
				return FIGURE_LOCKED;
			return FIGURE_RUNNING;
		case FEED_WANTED:
			break;
	}
	return held ? FIGURE_HELD : FIGURE_WAITING;
}

/* Which commits hold the watermark. A backend writes its entry without a lock, see log.h. */
static void
figures_in_flight(NotifydDatabase *database, DatabaseFigures *figures, TimestampTz now)
{
	uint32 index = (uint32) shared_database_index(database);
	uint64 smallest = 0;

	LWLockAcquire(&database->lock, LW_SHARED);
	figures->newest = OidIsValid(database->incarnation) ? database->next_id - 1 : 0;
	LWLockRelease(&database->lock);
	for (int i = 0; i < notifyd_shared->nbackends; i++)
	{
		NotifydBackend *backend = &notifyd_shared->backends[i];
		uint64 id = pg_atomic_read_u64(&backend->first_id);

		if (id == 0 || pg_atomic_read_u32(&backend->database) != index)
			continue;
		figures->in_flight++;
		if (smallest != 0 && id > smallest)
			continue;
		smallest = id;
		figures->holder = backend->pid;
		figures->held = Max(now - backend->since, 0);
	}
	figures->watermark = smallest != 0 ? smallest - 1 : figures->newest;
}

static void
figures_lag(NotifydDatabase *database, DatabaseFigures *figures, bool expected, TimestampTz now)
{
	uint64 delivered = pg_atomic_read_u64(&database->delivered);
	TimestampTz since;

	figures->lag = FIGURES_NONE;
	if (!expected)
		return;
	since = lag_since(database);
	figures->lag = since != 0 ? Max(now - since, 0) : 0;
	delivered = Max(delivered, database->first_at_start - 1);
	figures->lag_events = figures->newest > delivered ? figures->newest - delivered : 0;
}

/*
 * The oldest segment goes when all of its events are old, which are older than the next one. If there is
 * no next one yet, it begins after its share of the time (log_retain()).
 */
static void
figures_retention(NotifydDatabase *database, DatabaseFigures *figures, TimestampTz now)
{
	TimestampTz oldest = (TimestampTz) pg_atomic_read_u64(&database->oldest_since);
	TimestampTz next = (TimestampTz) pg_atomic_read_u64(&database->next_since);
	uint64 limit = (uint64) notifyd_retention_size * 1024 * 1024;
	int64 age = (int64) (notifyd_retention * USECS_PER_SEC);

	figures->log_bytes =
		pg_atomic_read_u64(&database->log_bytes) + pg_atomic_read_u64(&database->unmeasured);
	figures->left_bytes = limit > figures->log_bytes ? limit - figures->log_bytes : 0;
	figures->oldest_age = figures->left = FIGURES_NONE;
	if (figures->log_bytes == 0 || oldest == 0)
		return;
	figures->oldest_age = Max(now - oldest, 0);
	if (next == 0)
		next = Max(oldest + age / (NOTIFYD_LOG_SEGMENTS - 1), now);
	figures->left = Max(next + age - now, 0);
}

void
figures_database(NotifydDatabase *database, DatabaseFigures *figures)
{
	TimestampTz now = GetCurrentTimestamp();
	bool down;
	bool running;
	FeedLife life;
	bool held;

	memset(figures, 0, sizeof(*figures));
	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	life = database->life;
	figures->feed_pid = database->feed_pid;
	held = database->hold_pid != 0;
	figures->load = database->load;
	LWLockRelease(&notifyd_shared->lock);

	running = life.state == FEED_RUNNING;
	down =
		(life.state == FEED_WANTED || life.state == FEED_STARTING) && !life.excluded && !life.visit;
	figures->started_at = life.started_at;
	figures->restarts = life.restarts;
	figures->unseen =
		running ? figures_since(pg_atomic_read_u64(&database->alive_at), now) : FIGURES_NONE;
	figures->locked =
		running ? Max(figures_since(pg_atomic_read_u64(&database->locked_since), now), 0) : 0;
	figures->state = life.excluded ? FIGURE_EXCLUDED : figures_state(life.state, held, figures);
	figures_in_flight(database, figures, now);
	figures_lag(database, figures, down || (running && pg_atomic_read_u32(&database->links) > 0),
				now);
	figures_retention(database, figures, now);
}
