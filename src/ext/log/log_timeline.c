/*-------------------------------------------------------------------------
 *
 * log_timeline.c
 *	  Timelines: which history a position is of.
 *
 * A position is a timeline and an id. Ids alone do not tell histories apart: a server that is
 * restored from a backup, a promoted standby, a copy of a data directory, a database made from a
 * template all have the same past, and each goes on with events of its own. No file or number of
 * the server's tells either, because a copy has them too.
 *
 * So every start begins a timeline, whose number is drawn at random: when the first session after
 * the server's start, or after the database's or the extension's creation, looks at the log
 * (log_initialise()). What another copy gives out from then on is of another timeline.
 * notifyd.timeline says up to which id the earlier timelines are part of this history:
 *
 *	  timeline	a number
 *	  last_id	positions of it up to this id are good; of the present one, all
 *	  at		when it began
 *	  first_id	the first id that could be given out then
 *
 * An event that is sent again later has the position that it had first (log_timeline_of()).
 *
 * At a start the feed ends the timelines that are there at the last event that is certain, before
 * it hands out a position of the new one. Certain is more than visible. Clients have seen events in
 * order of id, so who has got as far as the id of a transaction that is not here has seen what is
 * not part of this history, also if later ids are here. Such a transaction was under way when the
 * history ended, and there are three traces of it (log_certain()):
 *
 *	  Its row is here, and its end is not: neither a commit nor an abort.
 *	  Its row is not here, and there is a gap between the ids of others.
 *	  It is behind all others; then there is nothing to find, and nothing to confuse either.
 *
 * After an ordinary crash this ends at or behind every position that was handed out: events are
 * sent up to a watermark, which is before all that is under way, and only when the ends of
 * everything up to it, aborts too, are on disk (log_decided()). An abort that left no row is a gap,
 * too. Rows tell of watermarks (log_tail.c), and what was there at the start before has ended, so
 * it matters only if no row was written after the watermark had passed it.
 *
 * Version 1.0 noted, for each timeline of PostgreSQL's, up to which id the ones before are good.
 * The first start of this version turns such rows into ours.
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
#include "ext/log/log_check.h"
#include "ext/log/log_tail.h"

/* last_id of the present timeline: it has no end yet. */
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

/* As the feed has found, or written, them. */
static LogTimelines log_timelines;

/*
 * Whether notifyd.timeline has the column first_id. It has not where the extension is still that of
 * version 1.0.
 */
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

/* The one that has not been ended; NULL: there is none. */
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

/* What a standby's primary has noted. */
static uint32
log_noted_timeline(void)
{
	LogTimelines all = {0};
	const LogTimeline *open;

	log_load_timelines(&all);
	open = log_open_timeline(&all);

	/* Version 1.0 has the server's own. */
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

/* The first timeline of which the position of an id is good; NULL: it is of the present one. */
static const LogTimeline *
log_first_timeline(const LogTimelines *all, uint64 id)
{
	const LogTimeline *first = NULL;

	for (int i = 0; i < all->n; i++)
	{
		const LogTimeline *each = &all->timelines[i];

		if (each->last == LOG_TIMELINE_OPEN || each->last < id)
			continue;

		/* Of several that end alike all but the first had no events. */
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

	/*
	 * All that writers render for NOTIFY are of the present one. They must not have to look at a
	 * table.
	 */
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

/* Whether the transaction that wrote a row came to an end, one way or the other. */
static bool
log_row_ended(TupleTableSlot *slot)
{
	HeapTuple tuple = ExecFetchSlotHeapTuple(slot, false, NULL);
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);

	return HeapTupleHeaderXminFrozen(tuple->t_data) || TransactionIdDidCommit(xmin) ||
		   TransactionIdDidAbort(xmin);
}

/*
 * Go on from *certain through the rows of a segment that follow without a gap and have ended, up to
 * upto. Returns false where one has not, or there is a gap. Rows of a start or of a new segment
 * follow a leap of the ids; they tell nothing of a watermark.
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
 * The id up to which everything that was written before this start is known to have ended. The end
 * of a segment may have been handed out as a position, too (feed_set_position()).
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

/* What version 1.0 has noted, as rows of ours. */
static const char *const log_convert_timelines =
	"UPDATE notifyd.timeline AS t SET last_id = coalesce("
	"(SELECT min(n.last_id) FROM notifyd.timeline AS n WHERE n.timeline > t.timeline), "
	"9223372036854775807) "
	"WHERE NOT EXISTS (SELECT FROM notifyd.timeline WHERE last_id = 9223372036854775807)";

/* End the timelines that are there, and note the new one. */
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
		StartTransactionCommand();
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
