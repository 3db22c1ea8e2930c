/*-------------------------------------------------------------------------
 *
 * log_read.c
 *	  Reading events from the log tables in order of id.
 *
 * A reader remembers the block from which on it has to look, so that it need not search again. A
 * large transaction is one marker row in the order; its events come from the bulk table
 * (log_bulk.c). A reader may stop and go on anywhere inside of it, or leave it out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ext/base/compat.h"
#include "ext/log/log_bulk.h"
#include "ext/log/log_check.h"
#include "ext/log/log_event.h"
#include "ext/log/log_tail.h"

/* ---------------- reading in order ---------------- */

/* The block from which on rows of ids behind reader->after are. */
static BlockNumber
log_begin_block(LogReader *reader, Relation table)
{
	if (reader->near_file != COMPAT_RELATION_FILE(table))
	{
		reader->near_file = COMPAT_RELATION_FILE(table);
		reader->near_block = log_locate(table, reader->after + 1);
	}
	return reader->near_block;
}

/* Visit a large transaction by its marker. Returns false if reading is to stop. */
static bool
log_read_large(LogReader *reader, TupleTableSlot *slot, uint64 upto, int *rows, Snapshot snapshot,
			   const LogVisitor *visitor)
{
	LogSummary summary;
	LogLarge large = {.reader = reader, .summary = &summary};

	reader->bulk = log_read_marker(slot, &summary);
	reader->after = reader->bulk.first - 1;
	large.last = reader->bulk.last;
	large.at = DatumGetTimestampTz(slot->tts_values[LOG_AT - 1]);
	if (visitor->skip == NULL || !visitor->skip(&large, visitor->arg))
		return log_read_bulk(reader, upto, rows, snapshot, visitor);
	reader->after = large.last;
	return --*rows > 0;
}

/* Visit the event, or the events, of a row. Returns false if reading is to stop. */
static bool
log_read_row(LogReader *reader, TupleTableSlot *slot, uint64 upto, int *rows, Snapshot snapshot,
			 const LogVisitor *visitor)
{
	LogEvent event;

	slot_getallattrs(slot);
	if (DatumGetObjectId(slot->tts_values[LOG_RELFILENUMBER - 1]) == reader->near_file)
		reader->near_block = Max(
			reader->near_block, (BlockNumber) DatumGetInt32(slot->tts_values[LOG_START_BLOCK - 1]));
	if (DatumGetChar(slot->tts_values[LOG_OP - 1]) == LOG_BULK_OP)
		return log_read_large(reader, slot, upto, rows, snapshot, visitor);
	log_event_from_slot(&event, slot, reader->near_file);
	reader->after = event.id;
	return visitor->event(&event, visitor->arg) && --*rows > 0;
}

/* Read what one segment has of reader->after < id <= upto. Returns false if reading is to stop. */
static bool
log_read_segment(LogReader *reader, int segment, uint64 upto, int *rows, Snapshot snapshot,
				 const LogVisitor *visitor)
{
	Relation table = log_open(segment, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	LogPlaces places = {0};
	bool go_on = true;

	while (go_on && reader->after < upto)
	{
		uint64 complete =
			log_collect(&places, table, log_begin_block(reader, table), reader->after, upto, *rows);

		for (int i = 0; go_on && i < places.n; i++)
		{
			if (table_tuple_fetch_row_version(table, &places.places[i].tid, snapshot, slot))
				go_on = log_read_row(reader, slot, upto, rows, snapshot, visitor);
		}
		if (go_on)
			reader->after = Max(reader->after, complete);
	}
	if (places.places != NULL)
		pfree(places.places);
	ExecDropSingleTupleTableSlot(slot);
	table_close(table, AccessShareLock);
	return go_on;
}

/* Find out whether reader->after lies inside a large transaction: its marker is then before it. */
static void
log_position_reader(LogReader *reader, int segment, uint64 first, Snapshot snapshot)
{
	if (reader->after >= first)
		(void) log_find_marker(segment, first, reader->after, snapshot, &reader->bulk);
	reader->positioned = true;
}

void
log_read(LogReader *reader, const LogMap *map, uint64 upto, int max_rows, Snapshot snapshot,
		 const LogVisitor *visitor)
{
	int rows = max_rows;

	for (int i = 0; i < map->n && reader->after < upto; i++)
	{
		uint64 first = map->segments[i].first;
		uint64 end = i + 1 < map->n ? map->segments[i + 1].first - 1 : PG_INT64_MAX;

		if (reader->after >= end)
			continue;
		if (!reader->positioned)
			log_position_reader(reader, map->segments[i].segment, first, snapshot);
		if (reader->after < reader->bulk.last &&
			!log_read_bulk(reader, upto, &rows, snapshot, visitor))
			return;
		if (!log_read_segment(reader, map->segments[i].segment, Min(end, upto), &rows, snapshot,
							  visitor))
			return;
		reader->after = Max(reader->after, Min(end, upto));
	}
	reader->after = Max(reader->after, upto);
	reader->positioned = true;
}

/* ---------------- single look-ups ---------------- */

void
log_extremes(uint64 *last_id, int *last_segment, uint64 *recent_watermark, int64 *smallest_key)
{
	*recent_watermark = 0;
	*last_id = 0;
	*last_segment = 0;
	*smallest_key = 0;
	for (int segment = 0; segment < LOG_SEGMENTS; segment++)
	{
		Relation table = log_open(segment, AccessShareLock);
		uint64 last = log_last_in(table, recent_watermark);

		/* Dead rows count too: their ids may have been given out and must not be again. */
		if (last > *last_id)
		{
			*last_id = last;
			*last_segment = segment;
		}
		table_close(table, AccessShareLock);
		*smallest_key = Min(*smallest_key, log_smallest_key(segment));
	}
}

uint64
log_last_id_of(TupleTableSlot *slot)
{
	uint64 id = (uint64) DatumGetInt64(slot->tts_values[LOG_ID - 1]);

	if (DatumGetChar(slot->tts_values[LOG_OP - 1]) == LOG_BULK_OP)
		id += DatumGetInt32(slot->tts_values[LOG_OF - 1]) - 1;
	return id;
}

uint64
log_last_visible(const LogMap *map, uint64 upto, Snapshot snapshot)
{
	uint64 last = 0;

	for (int i = map->n - 1; i >= 0 && last == 0; i--)
	{
		Relation table = log_open(map->segments[i].segment, AccessShareLock);
		TupleTableSlot *slot = table_slot_create(table, NULL);

		if (log_get_last(table, upto, snapshot, slot))
			last = log_last_id_of(slot);
		ExecDropSingleTupleTableSlot(slot);
		table_close(table, AccessShareLock);
	}
	return Max(last, map->oldest);
}

void
log_find(uint64 id, Snapshot snapshot, LogCallback callback, void *arg)
{
	LogMap map;
	LogReader reader = {.after = id - 1};
	LogVisitor visitor = {.event = callback, .arg = arg};

	if (id == 0 || id > PG_INT64_MAX)
		return;
	log_load_map(&map);

	/* Until the first feed has come there is no map, and all rows are in the first table. */
	if (map.n == 0)
		map.segments[map.n++] = (LogSegment){.segment = 0, .first = 1};
	if (id > map.oldest)
		log_read(&reader, &map, id, 1, snapshot, &visitor);
}

static bool
log_get_row(const LogGetter *getter, uint64 id, const LogAddress *address,
			const LogVisitor *visitor)
{
	LogEvent event;

	slot_getallattrs(getter->slot);
	if (DatumGetInt64(getter->slot->tts_values[LOG_ID - 1]) < 0)
		return log_read_member(getter->slot, id, address, visitor);
	log_event_from_slot(&event, getter->slot, address->file);
	if (event.id != id)
		return false;
	(void) visitor->event(&event, visitor->arg);
	return true;
}

/* The keys of bulk members are negative. Retention may have emptied the table. */
bool
log_get(LogGetter *getter, uint64 id, const LogAddress *address, LogCallback callback, void *arg)
{
	LogVisitor visitor = {.event = callback, .arg = arg};
	ItemPointerData tid = address->tid;

	if (getter->table != NULL && RelationGetRelid(getter->table) != address->table)
		log_end_get(getter);
	if (getter->table == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(getter->context);

		getter->table = table_open(address->table, AccessShareLock);
		getter->slot = table_slot_create(getter->table, NULL);
		MemoryContextSwitchTo(old);
	}
	/* Nobody empties the table while it is open. */
	return address->file == COMPAT_RELATION_FILE(getter->table) &&
		   table_tuple_fetch_row_version(getter->table, &tid, SnapshotAny, getter->slot) &&
		   log_get_row(getter, id, address, &visitor);
}

void
log_end_get(LogGetter *getter)
{
	if (getter->table == NULL)
		return;
	ExecDropSingleTupleTableSlot(getter->slot);
	table_close(getter->table, AccessShareLock);
	getter->table = NULL;
}
