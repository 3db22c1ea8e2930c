/*-------------------------------------------------------------------------
 *
 * log_attach.c
 *	  What the first session after a start sets from the log.
 *
 * The counters, the watermark and the timeline in shared memory are set from the log by the first
 * session that needs them after the server's start, or after CREATE EXTENSION (log_initialise()). The
 * OID of notifyd.log_0, the incarnation, tells whether that has been done for this extension.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ext/log/log.h"
#include "ext/log/log_tail.h"

/*
 * The number of a timeline is less than this. Three bytes tell histories apart well enough, and are
 * short in a position, which every event has.
 */
#define LOG_TIMELINE_NUMBERS (1 << 24)

/* Set a drawn number to 0 if a timeline has it. */
static void
log_compare_timeline(void *arg, Datum *values)
{
	uint32 *drawn = arg;

	if ((uint32) DatumGetInt32(values[0]) == *drawn)
		*drawn = 0;
}

/* A number for a new timeline. */
static uint32
log_draw_timeline(void)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	uint32 drawn;

	do
	{
		if (!pg_strong_random(&drawn, sizeof(drawn)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
		drawn %= LOG_TIMELINE_NUMBERS;
		log_for_each_row("timeline", snapshot, log_compare_timeline, &drawn);
	} while (drawn == 0);
	UnregisterSnapshot(snapshot);
	return drawn;
}

/*
 * Microseconds since 1970. Ids start there, so that an id that was lost with the log is not given
 * out again.
 */
static uint64
log_clock(void)
{
	return (uint64) (GetCurrentTimestamp() + NOTIFYD_UNIX_EPOCH);
}

/*
 * Set the counters from the log. Two backends may do this at once. Both read the same log, as no id
 * is given out before, and the first of them to take the lock sets the counters.
 */
static void
log_initialise(NotifydDatabase *database, Oid incarnation)
{
	LogMap map;
	uint64 last_id;
	int segment;
	uint64 recent_watermark;
	int64 smallest_key;
	uint32 timeline = log_draw_timeline();
	uint64 next_id = log_clock();

	Assert(!RecoveryInProgress());
	log_load_map(&map);
	log_extremes(&last_id, &segment, &recent_watermark, &smallest_key);

	/* The newest segment is written to, unless ids have passed its begin (log_segment.c). */
	if (map.n > 0 && last_id < map.segments[map.n - 1].first)
	{
		segment = map.segments[map.n - 1].segment;
		next_id = Max(next_id, map.segments[map.n - 1].first);
	}
	next_id = Max(next_id, last_id + 1);

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	if (database->incarnation != incarnation)
	{
		/* Do not repeat ids that this server has given to an earlier incarnation. */
		database->next_id = Max(database->next_id, next_id);
		database->next_bulk = Max(database->next_bulk, (uint64) (1 - smallest_key));
		database->first_at_start = database->next_id;
		database->watermark_at_start = recent_watermark;
		database->timeline = timeline;
		database->segment = segment;
		log_tail_forget(database);

		/* Last: log_attach() reads it without the lock, and then the rest. */
		pg_write_barrier();
		database->incarnation = incarnation;
	}
	LWLockRelease(&database->lock);
}

NotifydDatabase *
log_attach(void)
{
	static NotifydDatabase *mine = NULL;
	Oid incarnation;

	shared_require();
	if (mine == NULL || mine->oid != MyDatabaseId)
		mine = shared_database(MyDatabaseId);

	/* An extension that was dropped and created again has other tables. */
	incarnation = log_table(0);
	if (mine->incarnation != incarnation)
		log_initialise(mine, incarnation);
	pg_read_barrier(); /* pairs with the one in log_initialise() */
	return mine;
}
