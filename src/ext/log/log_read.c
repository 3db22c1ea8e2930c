/*-------------------------------------------------------------------------
 *
 * log_read.c
 *	  Reading events from the log tables in order of id.
 *
 * A bulk transaction is one marker row in the order, and its events are read through it, in pieces,
 * from the segment's table of members: a reader may stop and go on anywhere inside.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ext/base/compat.h"
#include "ext/log/log_check.h"
#include "ext/log/log_place.h"

/* A scan of a segment's table of bulk members, and markers, by key. */
typedef struct LogScan
{
	Relation table;
	Relation index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	ScanDirection direction;
} LogScan;

static void
log_begin_scan(LogScan *scan, int segment, int64 low, int64 high, ScanDirection direction,
			   Snapshot snapshot)
{
	ScanKeyData keys[2];

	scan->table = log_open_bulk(segment, AccessShareLock);
	scan->index = index_open(log_bulk_index(segment), AccessShareLock);
	scan->slot = table_slot_create(scan->table, NULL);
	scan->direction = direction;
	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(low));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(high));
	scan->scan = compat_index_beginscan(scan->table, scan->index, snapshot, 2);
	index_rescan(scan->scan, keys, 2, NULL, 0);
}

static bool
log_next(LogScan *scan)
{
	if (!index_getnext_slot(scan->scan, scan->direction, scan->slot))
		return false;
	log_check_slot(scan->table, scan->slot);
	slot_getallattrs(scan->slot);
	return true;
}

static void
log_end_scan(LogScan *scan)
{
	index_endscan(scan->scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	index_close(scan->index, AccessShareLock);
	table_close(scan->table, AccessShareLock);
}

/* Attribute numbers, from where they are not aligned. */
static void
log_event_columns(LogEvent *event, const char *data, int ncolumns)
{
	static int16 columns[MaxHeapAttributeNumber];

	event->ncolumns = ncolumns > 0 ? ncolumns : -1;
	event->columns = ncolumns > 0 ? columns : NULL;
	if (ncolumns > 0)
		memcpy(columns, data, ncolumns * sizeof(int16));
}

static void
log_event_from_slot(LogEvent *event, TupleTableSlot *slot)
{
	Datum *values = slot->tts_values;
	struct varlena *columns = PG_DETOAST_DATUM_PACKED(values[LOG_COLUMNS - 1]);
	struct varlena *channel = PG_DETOAST_DATUM_PACKED(values[LOG_CHANNEL - 1]);

	event->id = (uint64) DatumGetInt64(values[LOG_ID - 1]);
	event->tx = (uint64) DatumGetInt64(values[LOG_TX - 1]);
	event->at = DatumGetTimestampTz(values[LOG_AT - 1]);
	event->seq = DatumGetInt32(values[LOG_SEQ - 1]);
	event->of = DatumGetInt32(values[LOG_OF - 1]);
	event->head_length = DatumGetInt32(values[LOG_HEAD - 1]);
	event->relation = DatumGetObjectId(values[LOG_REL - 1]);
	event->op = DatumGetChar(values[LOG_OP - 1]);
	log_event_columns(event, VARDATA_ANY(columns), VARSIZE_ANY_EXHDR(columns) / sizeof(int16));
	event->channel = VARDATA_ANY(channel);
	event->channel_length = VARSIZE_ANY_EXHDR(channel);
	event->event = values[LOG_EVENT - 1];
	event->event_offset = 0;
	event->event_length = toast_raw_datum_size(event->event) - VARHDRSZ;
}

void
log_append_text(StringInfo buf, const LogEvent *event, Size length)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(event->event);

	if (!VARATT_IS_EXTERNAL(value) && !VARATT_IS_COMPRESSED(value))
		appendBinaryStringInfo(buf, VARDATA_ANY(value) + event->event_offset, (int) length);
	else
	{
		value = PG_DETOAST_DATUM_SLICE(event->event, (int32) event->event_offset, (int32) length);
		appendBinaryStringInfo(buf, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
		pfree(value);
	}
}

/* ---------------- bulk transactions ---------------- */

/* Note what a marker row says. */
static void
log_enter_bulk(LogReader *reader, TupleTableSlot *slot)
{
	char *place = TextDatumGetCString(slot->tts_values[LOG_EVENT - 1]);

	reader->bulk_first = (uint64) DatumGetInt64(slot->tts_values[LOG_ID - 1]);
	reader->bulk_last = reader->bulk_first + DatumGetInt32(slot->tts_values[LOG_OF - 1]) - 1;
	if (sscanf(place, "%d " INT64_FORMAT, &reader->bulk_segment, &reader->bulk_key) != 2)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("marker row " UINT64_FORMAT " of the log is damaged", reader->bulk_first)));
	pfree(place);
}

/*
 * Give the callback the members that a chunk has of reader->after < id <= stop. event has what they
 * have in common, and the id of the first. Returns false if the callback, or *rows, said to stop.
 */
static bool
log_read_chunk(LogReader *reader, LogEvent *event, TupleTableSlot *slot, uint64 stop, int *rows,
			   LogCallback callback, void *arg)
{
	struct varlena *headers = PG_DETOAST_DATUM_PACKED(slot->tts_values[LOG_COLUMNS - 1]);
	struct varlena *texts = PG_DETOAST_DATUM_PACKED(slot->tts_values[LOG_EVENT - 1]);
	const char *at = VARDATA_ANY(headers);
	const char *end = at + VARSIZE_ANY_EXHDR(headers);
	Size offset = 0;

	event->event = PointerGetDatum(texts);
	while (end - at >= (ptrdiff_t) sizeof(LogMember) && event->id <= stop)
	{
		LogMember member;

		memcpy(&member, at, sizeof(member));
		at += sizeof(member);
		if (end - at < Max(member.ncolumns, 0) * (ptrdiff_t) sizeof(int16) ||
			VARSIZE_ANY_EXHDR(texts) < offset + member.channel_length + member.text_length)
			log_report_damage(slot->tts_tableOid, ItemPointerGetBlockNumber(&slot->tts_tid),
							  "a chunk of a wrong length");
		event->head_length = member.head_length;
		event->relation = member.relation;
		event->op = member.op;
		log_event_columns(event, at, member.ncolumns);
		at += Max(member.ncolumns, 0) * sizeof(int16);
		event->channel = VARDATA_ANY(texts) + offset;
		event->channel_length = member.channel_length;
		event->event_offset = offset + member.channel_length;
		event->event_length = member.text_length;
		offset = event->event_offset + event->event_length;
		if (event->id > reader->after)
		{
			reader->after = event->id;
			if (!callback(event, arg) || --*rows <= 0)
				return false;
		}
		event->id++;
		event->seq++;
	}
	return true;
}

/* The key of the row that a bulk member is in: its own, or that of the chunk's first. */
static int64
log_find_member(int segment, int64 first_key, int64 key, Snapshot snapshot)
{
	LogScan scan;

	log_begin_scan(&scan, segment, first_key, key, BackwardScanDirection, snapshot);
	if (log_next(&scan))
		key = DatumGetInt64(scan.slot->tts_values[LOG_ID - 1]);
	log_end_scan(&scan);
	return key;
}

/*
 * Give the callback the members of the bulk transaction from reader->after up to upto. Returns
 * false if the callback, or *rows, said to stop.
 */
static bool
log_read_bulk(LogReader *reader, uint64 upto, int *rows, Snapshot snapshot, LogCallback callback,
			  void *arg)
{
	LogScan scan;
	uint64 stop = Min(reader->bulk_last, upto);
	int64 key = reader->bulk_key + (int64) (reader->after + 1 - reader->bulk_first);
	int64 last = reader->bulk_key + (int64) (stop - reader->bulk_first);
	bool go_on = true;

	if (key > reader->bulk_key)
		key = log_find_member(reader->bulk_segment, reader->bulk_key, key, snapshot);
	log_begin_scan(&scan, reader->bulk_segment, key, last, ForwardScanDirection, snapshot);
	while (go_on && log_next(&scan))
	{
		LogEvent event;

		log_event_from_slot(&event, scan.slot);
		event.id = reader->bulk_first + (uint64) ((int64) event.id - reader->bulk_key);
		if (event.op == LOG_CHUNK_OP)
			go_on = log_read_chunk(reader, &event, scan.slot, stop, rows, callback, arg);
		else
		{
			reader->after = event.id;
			go_on = callback(&event, arg) && --*rows > 0;
		}
	}
	log_end_scan(&scan);
	if (go_on)
		reader->after = stop;
	return go_on;
}

/* Whether reader->after lies inside a bulk transaction, whose marker is then before it. */
static void
log_position_reader(LogReader *reader, int segment, uint64 first, Snapshot snapshot)
{
	LogScan scan;

	if (reader->after >= first)
	{
		log_begin_scan(&scan, segment, (int64) first, (int64) reader->after, BackwardScanDirection,
					   snapshot);
		if (log_next(&scan))
			log_enter_bulk(reader, scan.slot);
		log_end_scan(&scan);
	}
	reader->positioned = true;
}

/* ---------------- reading in order ---------------- */

/* The block of the table from which on to look for ids behind reader->after. */
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

/* Give the callback the event, or the events, of a row. Returns false if reading is to stop. */
static bool
log_read_row(LogReader *reader, TupleTableSlot *slot, uint64 upto, int *rows, Snapshot snapshot,
			 LogCallback callback, void *arg)
{
	LogEvent event;

	slot_getallattrs(slot);
	if (DatumGetObjectId(slot->tts_values[LOG_FILE - 1]) == reader->near_file)
		reader->near_block =
			Max(reader->near_block, (BlockNumber) DatumGetInt32(slot->tts_values[LOG_BLOCK - 1]));
	if (DatumGetChar(slot->tts_values[LOG_OP - 1]) == LOG_BULK_OP)
	{
		log_enter_bulk(reader, slot);
		reader->after = reader->bulk_first - 1;
		return log_read_bulk(reader, upto, rows, snapshot, callback, arg);
	}
	log_event_from_slot(&event, slot);
	reader->after = event.id;
	return callback(&event, arg) && --*rows > 0;
}

/* Read what one segment has of reader->after < id <= upto. Returns false if reading is to stop. */
static bool
log_read_segment(LogReader *reader, int segment, uint64 upto, int *rows, Snapshot snapshot,
				 LogCallback callback, void *arg)
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
				go_on = log_read_row(reader, slot, upto, rows, snapshot, callback, arg);
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

void
log_read(LogReader *reader, const LogMap *map, uint64 upto, int max_rows, Snapshot snapshot,
		 LogCallback callback, void *arg)
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
		if (reader->after < reader->bulk_last &&
			!log_read_bulk(reader, upto, &rows, snapshot, callback, arg))
			return;
		if (!log_read_segment(reader, map->segments[i].segment, Min(end, upto), &rows, snapshot,
							  callback, arg))
			return;
		reader->after = Max(reader->after, Min(end, upto));
	}
	reader->after = Max(reader->after, upto);
	reader->positioned = true;
}

/* ---------------- single look-ups ---------------- */

void
log_extremes(uint64 *last_id, int *last_segment, uint64 *decided, int64 *smallest_key)
{
	*decided = 0;
	*last_id = 0;
	*last_segment = 0;
	*smallest_key = 0;
	for (int segment = 0; segment < LOG_SEGMENTS; segment++)
	{
		Relation table = log_open(segment, AccessShareLock);
		uint64 last = log_last_in(table, decided);
		LogScan scan;

		/* Dead rows count too: their ids may have been given out and must not be again. */
		if (last > *last_id)
		{
			*last_id = last;
			*last_segment = segment;
		}
		table_close(table, AccessShareLock);

		log_begin_scan(&scan, segment, PG_INT64_MIN, 0, ForwardScanDirection, SnapshotAny);
		if (log_next(&scan))
			*smallest_key = Min(*smallest_key, DatumGetInt64(scan.slot->tts_values[LOG_ID - 1]));
		log_end_scan(&scan);
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

	if (id == 0 || id > PG_INT64_MAX)
		return;
	log_load_map(&map);

	/* Until the first feed has come there is no map, and all rows are in the first table. */
	if (map.n == 0)
		map.segments[map.n++] = (LogSegment){.segment = 0, .first = 1};
	if (id > map.oldest)
		log_read(&reader, &map, id, 1, snapshot, callback, arg);
}
