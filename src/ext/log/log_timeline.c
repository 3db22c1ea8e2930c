/*-------------------------------------------------------------------------
 *
 * log_timeline.c
 *	  Timelines: which history a position is of.
 *
 * A position is a timeline and an id. Ids alone do not tell histories apart: a server restored from a
 * backup, a promoted standby, a copy of a data directory and a database made from a template have
 * the same past, and each goes on with events of its own. No file or number of the server helps,
 * because a copy has these, too.
 *
 * So every start begins a timeline, whose number is drawn at random when the first session after the
 * server's start, or after CREATE DATABASE or CREATE EXTENSION, uses the log (log_attach.c).
 * Another copy gives out positions of another timeline from then on. notifyd.timeline says up to
 * which id the earlier timelines are part of this history:
 *
 *	  timeline	the number
 *	  last_id	positions of this timeline are good up to this id; all of the present one are
 *	  at		when it began
 *	  first_id	the first id that could be given out then
 *
 * An event that is sent again has the same position as before (log_timeline_of()).
 *
 * At a start, before the feed hands out a position, it ends the earlier timelines at the last event
 * that is certain. That a later event is visible does not make an id certain. Clients have seen
 * events in order of id. A client that has got as far as the id of a transaction which is not here
 * has seen what is not part of this history, even if later ids are here. Such a transaction was in
 * flight when the history ended, and leaves one of three traces (log_certain()):
 *
 *	  Its row is here, but neither its commit nor its abort.
 *	  Its row is not here, and there is a gap between the ids of others.
 *	  Its id is behind all others. Then there is nothing to find, and nothing to confuse.
 *
 * After an ordinary crash this end is at or behind every position that was handed out. The feed sends
 * events up to a watermark, which is before everything in flight, and only when the ends of all
 * transactions up to it, aborts included, are on disk (log_decided()). An abort that left no row
 * looks like a gap, too. Rows record watermarks (log_tail.c), and everything in flight at the
 * previous start has ended. So such a gap matters only if no row was written after the watermark had
 * passed it.
 *
 * Version 1.0 noted, for each timeline of PostgreSQL, up to which id the earlier ones are good. The
 * first start of this version converts these rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ext/base/extension.h"
#include "ext/base/compat.h"
#include "ext/base/worker.h"
#include "ext/log/log_check.h"
#include "ext/log/log_tail.h"

/* last_id of the present timeline, which has no end yet. */
#define LOG_TIMELINE_OPEN PG_INT64_MAX

typedef struct LogTimeline
{
	uint32 timeline;
	uint64 last;
	uint64 first; /* 0: not noted, as by version 1.0 */
} LogTimeline;

typedef struct LogTimelines
{
	LogTimeline *timelines; /* in the memory context that they were loaded in */
	int n;
	int size;
} LogTimelines;

/* The rows of notifyd.timeline, in the feed. */
static LogTimelines log_timelines;

/* Whether notifyd.timeline has the column first_id, which version 1.0 lacks. */
static bool
log_notes_first(void)
{
	return get_attnum(extension_relation("timeline"), "first_id") != InvalidAttrNumber;
}

static void
log_add_timeline(void *arg, Datum *values)
{
	LogTimelines *all = arg;
	LogTimeline *timeline;

	if (all->n == all->size)
	{
		all->size = Max(16, all->size * 2);
		if (all->timelines == NULL)
			all->timelines = palloc(all->size * sizeof(LogTimeline));
		else
			all->timelines = repalloc(all->timelines, all->size * sizeof(LogTimeline));
	}
	timeline = &all->timelines[all->n++];
	timeline->timeline = (uint32) DatumGetInt32(values[0]);
	timeline->last = (uint64) DatumGetInt64(values[1]);
	timeline->first = log_notes_first() ? (uint64) DatumGetInt64(values[3]) : 0;
}

/* Needs a transaction. */
static void
log_load_timelines(LogTimelines *all)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());

	all->n = 0;
	log_for_each_row("timeline", snapshot, log_add_timeline, all);
	UnregisterSnapshot(snapshot);
}

static const LogTimeline *
log_find_timeline(const LogTimelines *all, uint32 timeline)
{
	for (int i = 0; i < all->n; i++)
	{
		if (all->timelines[i].timeline == timeline)
			return &all->timelines[i];
	}
	return NULL;
}

/* The timeline without an end; NULL: there is none. */
static const LogTimeline *
log_open_timeline(const LogTimelines *all)
{
	for (int i = 0; i < all->n; i++)
	{
		if (all->timelines[i].last == LOG_TIMELINE_OPEN)
			return &all->timelines[i];
	}
	return NULL;
}

/* On a standby: the timeline that the primary has noted. */
static uint32
log_noted_timeline(void)
{
	LogTimelines all = {0};
	const LogTimeline *open;

	log_load_timelines(&all);
	open = log_open_timeline(&all);

	/* Version 1.0 uses the server's own timeline. */
	return open != NULL ? open->timeline : compat_timeline();
}

/* This database's entry, with a timeline; NULL: there is none, on a standby. */
static const NotifydDatabase *
log_present(void)
{
	static const NotifydDatabase *mine = NULL;

	if (mine == NULL || mine->oid != MyDatabaseId || mine->timeline == 0)
		mine = RecoveryInProgress() ? NULL : log_attach();
	return mine;
}

uint32
log_timeline(void)
{
	const NotifydDatabase *database = log_present();

	return database != NULL ? database->timeline : log_noted_timeline();
}

/* The first timeline that has an id in this history; NULL: only the present one has. */
static const LogTimeline *
log_first_timeline(const LogTimelines *all, uint64 id)
{
	const LogTimeline *first = NULL;

	for (int i = 0; i < all->n; i++)
	{
		const LogTimeline *each = &all->timelines[i];

		if (each->last == LOG_TIMELINE_OPEN || each->last < id)
			continue;

		/* If several end at the same id, all but the first had no events. */
		if (first == NULL || each->last < first->last ||
			(each->last == first->last && each->first < first->first))
			first = each;
	}
	return first;
}

uint32
log_timeline_of(uint64 id)
{
	const NotifydDatabase *database = log_present();
	LogTimelines all = {0};
	const LogTimeline *first;

	/* Writers that render events for NOTIFY end here, and need not read a table. */
	if (database != NULL && id >= database->first_at_start)
		return database->timeline;
	if (log_timelines.n > 0)
		first = log_first_timeline(&log_timelines, id);
	else
	{
		log_load_timelines(&all);
		first = log_first_timeline(&all, id);
	}
	return first != NULL ? first->timeline : log_timeline();
}

/* ---------------- where a history ended ---------------- */

/* Whether the transaction that wrote a row has committed or aborted. */
static bool
log_row_ended(TupleTableSlot *slot)
{
	HeapTuple tuple = ExecFetchSlotHeapTuple(slot, false, NULL);
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);

	return HeapTupleHeaderXminFrozen(tuple->t_data) || TransactionIdDidCommit(xmin) ||
		   TransactionIdDidAbort(xmin);
}

/*
 * Raise *certain, up to upto, through the rows of a segment that follow each other without a gap and
 * whose transactions have ended. Returns false at the first one that does not. Ids leap at a start
 * and at a new segment; the rows behind such a leap record no watermark.
 */
static bool
log_certain_in(const LogSegment *segment, uint64 upto, uint64 *certain)
{
	Relation table = log_open(segment->segment, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	LogPlaces places = {0};
	bool go_on = true;

	log_collect(&places, table, log_locate(table, *certain + 1), *certain, upto, PG_INT32_MAX);
	for (int i = 0; go_on && i < places.n; i++)
	{
		if (!table_tuple_fetch_row_version(table, &places.places[i].tid, SnapshotAny, slot))
			continue;
		slot_getallattrs(slot);
		go_on = log_row_ended(slot) &&
				(places.places[i].id <= Max(*certain + 1, segment->first) ||
				 DatumGetInt32(slot->tts_values[LOG_WATERMARK_DELTA - 1]) == PG_INT32_MAX);
		if (go_on)
			*certain = log_last_id_of(slot);
	}
	if (places.places != NULL)
		pfree(places.places);
	ExecDropSingleTupleTableSlot(slot);
	table_close(table, AccessShareLock);
	return go_on;
}

/*
 * The id up to which all transactions from before this start are known to have ended. The feed may
 * have handed out the end of a segment as a position, too (feed_set_position()).
 */
static uint64
log_certain(NotifydDatabase *database, const LogMap *map)
{
	uint64 upto = database->first_at_start - 1;
	uint64 certain = Max(database->watermark_at_start, map->oldest);
	const LogTimeline *before = log_open_timeline(&log_timelines);

	if (before != NULL && before->first > 0)
		certain = Max(certain, before->first - 1);

	certain = Min(certain, upto);
	for (int i = 0; i < map->n; i++)
	{
		uint64 end = i + 1 < map->n ? map->segments[i + 1].first - 1 : upto;

		if (end <= certain)
			continue;
		if (!log_certain_in(&map->segments[i], Min(end, upto), &certain))
			return certain;
	}
	return map->n > 0 ? Max(certain, map->segments[map->n - 1].first - 1) : certain;
}

/* ---------------- for the feed ---------------- */

/* Converts the rows of version 1.0. */
static const char *const log_convert_timelines =
	"UPDATE notifyd.timeline AS t SET last_id = coalesce("
	"(SELECT min(n.last_id) FROM notifyd.timeline AS n WHERE n.timeline > t.timeline), "
	"9223372036854775807) "
	"WHERE NOT EXISTS (SELECT FROM notifyd.timeline WHERE last_id = 9223372036854775807)";

/* End the earlier timelines, and note the new one. */
static void
log_note_timeline(NotifydDatabase *database, const LogMap *map)
{
	int64 certain;

	log_begin_work();
	certain = (int64) log_certain(database, map);
	log_execute(log_convert_timelines, 0, 0);
	log_execute("UPDATE notifyd.timeline SET last_id = $1 WHERE last_id > $1", certain, 0);
	log_execute("DELETE FROM notifyd.timeline WHERE last_id < $1", (int64) map->oldest, 0);
	log_execute(log_notes_first()
					? "INSERT INTO notifyd.timeline (timeline, last_id, at, first_id) "
					  "VALUES ($1, 9223372036854775807, clock_timestamp(), $2)"
					: "INSERT INTO notifyd.timeline (timeline, last_id, at) "
					  "VALUES ($1, 9223372036854775807, clock_timestamp())",
				database->timeline, (int64) database->first_at_start);
	log_end_work();
}

void
log_begin_timeline(NotifydDatabase *database, const LogMap *map)
{
	MemoryContext context;
	bool noted = false;

	for (;;)
	{
		worker_begin_transaction();
		context = MemoryContextSwitchTo(TopMemoryContext);
		log_load_timelines(&log_timelines);
		MemoryContextSwitchTo(context);
		CommitTransactionCommand();
		if (log_find_timeline(&log_timelines, database->timeline) != NULL)
			break;
		if (noted)
			elog(ERROR, "could not note the timeline");
		log_note_timeline(database, map);
		noted = true;
	}
}

bool
log_timeline_end(uint32 timeline, uint64 *last)
{
	const LogTimeline *found = log_find_timeline(&log_timelines, timeline);

	if (found != NULL)
		*last = found->last;
	return found != NULL;
}
