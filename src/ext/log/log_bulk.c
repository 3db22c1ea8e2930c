/*-------------------------------------------------------------------------
 *
 * log_bulk.c
 *	  The members of large transactions, in tables of their own.
 *
 * A transaction with many events inserts them before it takes its ids, so that it does not hold up
 * the watermark meanwhile (pending.c). They go to the segment's bulk table, notifyd.bulk_N, under
 * negative keys from a counter of their own, with an index on the key. When the ids are known, a
 * marker row in the log stands for all of them. It says which segment and which keys the members
 * have, about how many bytes, and, unless they are many, which channels. A copy of the marker is in the bulk table of the marker's segment, where a reader that begins
 * inside of the transaction finds it by the index.
 *
 * Small members share a row, which costs a tenth of a row for each. Such a chunk has the key and seq
 * of its first member, in "head" how many they are, in "columns" a BulkMember with the attribute
 * numbers behind it for each, in "event" the channel and text of each, and in "hidden" the hidden values
 * of all of them. Chunks of version 1.0 have no hidden values.
 *
 * The bulk tables have the columns of a log table, and reuse some of them for chunks and markers.
 * Tables of another layout would need a second reader and writer here as long as a database may have
 * those of version 1.0.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "storage/itemptr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ext/base/extension.h"
#include "ext/base/buffer.h"
#include "ext/base/compat.h"
#include "ext/log/log_bulk.h"
#include "ext/log/log_check.h"
#include "ext/log/log_event.h"
#include "ext/log/log_tail.h"
#include "ext/log/log_row.h"
#include "ext/log/log_write.h"

#define BULK_BATCH_ROWS  64          /* rows in one multi-insert */
#define BULK_BATCH_BYTES (64 * 1024) /* or this much of them */

/* Members in one chunk: with its own fields it fills a page, see toast_tuple_target. */
#define BULK_CHUNK_BYTES 8000

/* About how many bytes a client gets of an event besides its text. */
#define BULK_EVENT_BYTES 128

/* What a chunk has of each member in "columns". */
typedef struct BulkMember
{
	uint32 text_length;
	int32 head_length;
	Oid relation;
	int16 ncolumns; /* -1: the whole row */
	uint16 channel_length;
	char op;
	char unused;
	uint16 hidden_length; /* version 1.0 wrote 0 here */
} BulkMember;

/* ---------------- scans ---------------- */

/* A scan of a segment's bulk table by key. */
typedef struct BulkScan
{
	Relation table;
	Relation index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	ScanDirection direction;
} BulkScan;

static void
bulk_begin_scan(BulkScan *scan, int segment, int64 low, int64 high, ScanDirection direction,
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
bulk_next(BulkScan *scan)
{
	if (!index_getnext_slot(scan->scan, scan->direction, scan->slot))
		return false;
	log_check_slot(scan->table, scan->slot);
	slot_getallattrs(scan->slot);
	return true;
}

static void
bulk_end_scan(BulkScan *scan)
{
	index_endscan(scan->scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	index_close(scan->index, AccessShareLock);
	table_close(scan->table, AccessShareLock);
}

/* ---------------- markers ---------------- */

/*
 * The text that a marker row has as its event: the segment, the key of the first member, and the
 * bytes of a LogSummary. The channels are in "columns". Version 1.0 wrote neither these nor the
 * bytes, and the log may have markers of then.
 */
#define BULK_MARKER_FORMAT "%d " INT64_FORMAT " " UINT64_FORMAT

static bool
bulk_parse_marker(const char *text, LogBulk *members, uint64 *bytes)
{
	*bytes = 0;
	return sscanf(text, BULK_MARKER_FORMAT, &members->segment, &members->first_key, bytes) >= 2 &&
		   members->segment >= 0 && members->segment < LOG_SEGMENTS;
}

static void
bulk_read_channels(TupleTableSlot *slot, LogSummary *summary)
{
	struct varlena *channels = PG_DETOAST_DATUM_PACKED(slot->tts_values[LOG_COLUMNS - 1]);
	Size size = VARSIZE_ANY_EXHDR(channels);

	summary->nchannels = (int) (size / NAMEDATALEN);
	if (size == 0 || size > sizeof(summary->channels))
		summary->nchannels = LOG_SUMMARY_CHANNELS + 1;
	else
		memcpy(summary->channels, VARDATA_ANY(channels), size);
}

LogMarker
log_read_marker(TupleTableSlot *slot, LogSummary *summary)
{
	LogMarker marker;
	uint64 bytes;
	char *said = TextDatumGetCString(slot->tts_values[LOG_EVENT - 1]);

	marker.first = (uint64) DatumGetInt64(slot->tts_values[LOG_ID - 1]);
	marker.last = marker.first + DatumGetInt32(slot->tts_values[LOG_OF - 1]) - 1;
	if (!bulk_parse_marker(said, &marker.members, &bytes))
		log_report_damage(slot->tts_tableOid, ItemPointerGetBlockNumber(&slot->tts_tid),
						  "a marker of a large transaction that names no segment");
	pfree(said);
	if (summary != NULL)
	{
		summary->bytes = bytes;
		bulk_read_channels(slot, summary);
	}
	return marker;
}

bool
log_find_marker(int segment, uint64 first, uint64 last, Snapshot snapshot, LogMarker *marker)
{
	BulkScan scan;
	bool found;

	bulk_begin_scan(&scan, segment, (int64) first, (int64) last, BackwardScanDirection, snapshot);
	found = bulk_next(&scan);
	if (found)
		*marker = log_read_marker(scan.slot, NULL);
	bulk_end_scan(&scan);
	return found;
}

int64
log_smallest_key(int segment)
{
	BulkScan scan;
	int64 key = 0;

	bulk_begin_scan(&scan, segment, PG_INT64_MIN, -1, ForwardScanDirection, SnapshotAny);
	if (bulk_next(&scan))
		key = DatumGetInt64(scan.slot->tts_values[LOG_ID - 1]);
	bulk_end_scan(&scan);
	return key;
}

/* ---------------- reading ---------------- */

/*
 * Visit the members of a chunk with reader->after < id <= stop. event has the fields that they
 * share, and the id of the first. Returns false if reading is to stop.
 */
static bool
bulk_read_chunk(LogReader *reader, LogEvent *event, TupleTableSlot *slot, uint64 stop, int *rows,
				const LogVisitor *visitor)
{
	struct varlena *headers = PG_DETOAST_DATUM_PACKED(slot->tts_values[LOG_COLUMNS - 1]);
	struct varlena *texts = PG_DETOAST_DATUM_PACKED(slot->tts_values[LOG_EVENT - 1]);
	const char *at = VARDATA_ANY(headers);
	const char *end = at + VARSIZE_ANY_EXHDR(headers);
	Size offset = 0;
	Size hidden_end = event->hidden_length; /* 0: no member has its hidden values */

	event->event = PointerGetDatum(texts);
	event->hidden_length = 0;
	if (hidden_end > 0)
		event->hidden = PointerGetDatum(PG_DETOAST_DATUM_PACKED(event->hidden));
	while (end - at >= (ptrdiff_t) sizeof(BulkMember) && event->id <= stop)
	{
		BulkMember member;

		memcpy(&member, at, sizeof(member));
		at += sizeof(member);
		if (end - at < Max(member.ncolumns, 0) * (ptrdiff_t) sizeof(int16) ||
			VARSIZE_ANY_EXHDR(texts) < offset + member.channel_length + member.text_length ||
			(hidden_end > 0 &&
			 hidden_end < event->hidden_offset + event->hidden_length + member.hidden_length))
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
		if (hidden_end > 0)
		{
			event->hidden_offset += event->hidden_length;
			event->hidden_length = member.hidden_length;
		}
		offset = event->event_offset + event->event_length;
		if (event->id > reader->after)
		{
			reader->after = event->id;
			if (!visitor->event(event, visitor->arg) || --*rows <= 0)
				return false;
		}
		event->id++;
		event->seq++;
		event->address.member++;
	}
	return true;
}

/* The key of the row that has a member: its own key, or that of its chunk's first member. */
static int64
bulk_find_member(int segment, int64 first_key, int64 key, Snapshot snapshot)
{
	BulkScan scan;

	bulk_begin_scan(&scan, segment, first_key, key, BackwardScanDirection, snapshot);
	if (bulk_next(&scan))
		key = DatumGetInt64(scan.slot->tts_values[LOG_ID - 1]);
	bulk_end_scan(&scan);
	return key;
}

bool
log_read_member(TupleTableSlot *slot, uint64 id, const LogAddress *address,
				const LogVisitor *visitor)
{
	LogReader reader = {.after = id - 1};
	LogEvent event;
	int rows = 1;

	log_event_from_slot(&event, slot, address->file);
	event.id = id - address->member;
	if (event.op != LOG_CHUNK_OP)
		(void) visitor->event(&event, visitor->arg);
	else
		(void) bulk_read_chunk(&reader, &event, slot, id, &rows, visitor);
	return event.op != LOG_CHUNK_OP || reader.after == id;
}

bool
log_read_bulk(LogReader *reader, uint64 upto, int *rows, Snapshot snapshot,
			  const LogVisitor *visitor)
{
	BulkScan scan;
	uint64 stop = Min(reader->bulk.last, upto);
	int64 key = reader->bulk.members.first_key + (int64) (reader->after + 1 - reader->bulk.first);
	int64 last = reader->bulk.members.first_key + (int64) (stop - reader->bulk.first);
	bool go_on = true;

	if (key > reader->bulk.members.first_key)
		key = bulk_find_member(reader->bulk.members.segment, reader->bulk.members.first_key, key,
							   snapshot);
	bulk_begin_scan(&scan, reader->bulk.members.segment, key, last, ForwardScanDirection, snapshot);
	while (go_on && bulk_next(&scan))
	{
		LogEvent event;

		log_event_from_slot(&event, scan.slot, COMPAT_RELATION_FILE(scan.table));
		event.id =
			reader->bulk.first + (uint64) ((int64) event.id - reader->bulk.members.first_key);
		if (event.op == LOG_CHUNK_OP)
			go_on = bulk_read_chunk(reader, &event, scan.slot, stop, rows, visitor);
		else
		{
			reader->after = event.id;
			go_on = visitor->event(&event, visitor->arg) && --*rows > 0;
		}
	}
	bulk_end_scan(&scan);
	if (go_on)
		reader->after = stop;
	return go_on;
}

/* ---------------- writing ---------------- */

/* Members that will share one row. */
typedef struct BulkChunk
{
	LogRow first;
	int members;
	StringInfoData headers;
	StringInfoData texts;
	StringInfoData hidden;
} BulkChunk;

struct LogBulkWriter
{
	Relation table;
	Relation index;
	CommandId cid;
	BulkInsertState state;
	BulkChunk chunk;
	LogSummary summary;
	int channel;        /* of summary.channels, that of the last member */
	MemoryContext rows; /* the rows of the batch; reset when they have been inserted */
	HeapTuple tuples[BULK_BATCH_ROWS];
	int waiting;
	Size bytes;
};

/*
 * A B-tree of plain columns reads no more of an IndexInfo. BuildIndexInfo() would look for
 * expressions and predicates.
 */
static IndexInfo bulk_index_info = {.type = T_IndexInfo,
									.ii_NumIndexAttrs = 1,
									.ii_NumIndexKeyAttrs = 1,
									.ii_IndexAttrNumbers = {LOG_ID}};

static void
bulk_clear_chunk(BulkChunk *chunk)
{
	chunk->members = 0;
	resetStringInfo(&chunk->headers);
	resetStringInfo(&chunk->texts);
	resetStringInfo(&chunk->hidden);
}

LogBulkWriter *
log_open_bulk_writer(int segment)
{
	LogBulkWriter *writer = palloc0(sizeof(LogBulkWriter));

	writer->table = log_open_bulk(segment, RowExclusiveLock);
	writer->index = index_open(log_bulk_index(segment), RowExclusiveLock);
	writer->cid = GetCurrentCommandId(true);
	writer->state = GetBulkInsertState();
	initStringInfo(&writer->chunk.headers);
	initStringInfo(&writer->chunk.texts);
	initStringInfo(&writer->chunk.hidden);
	writer->rows =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd log rows", ALLOCSET_DEFAULT_SIZES);
	return writer;
}

static void
bulk_insert_index_entry(LogBulkWriter *writer, HeapTuple tuple)
{
	Datum id = Int64GetDatum(log_row_fixed((char *) tuple->t_data)->id);
	bool isnull = false;

	index_insert(writer->index, &id, &isnull, &tuple->t_self, writer->table, UNIQUE_CHECK_NO, false,
				 &bulk_index_info);
}

static void
bulk_flush_rows(LogBulkWriter *writer)
{
	if (writer->waiting == 0)
		return;
	log_insert(writer->table, writer->tuples, writer->waiting, writer->cid, 0, writer->state);
	for (int i = 0; i < writer->waiting; i++)
		bulk_insert_index_entry(writer, writer->tuples[i]);
	writer->waiting = 0;
	writer->bytes = 0;
	MemoryContextReset(writer->rows);
}

/* Form a whole row with columns_size bytes of attribute numbers. */
static HeapTuple
bulk_form_tuple(const LogRow *row, Size columns_size)
{
	Size most = LOG_HOFF + sizeof(LogFixed) + 4 * (ALIGNOF_INT + VARHDRSZ) + columns_size +
				row->channel_length + row->event_length + row->hidden_length;
	StringInfoData buf = {.data = palloc(most + 1), .maxlen = (int) most + 1};
	HeapTuple tuple = palloc0(HEAPTUPLESIZE);
	int text_at;

	log_begin_row(&buf, row, columns_size);
	text_at = buf.len;
	buffer_put(&buf, row->event, (int) row->event_length);
	log_append_hidden(&buf, buf.len, row->hidden, row->hidden_length);
	log_end_row(buf.data, buf.data + text_at, row->head_length, row->event_length);
	tuple->t_data = (HeapTupleHeader) buf.data;
	tuple->t_len = buf.len;
	ItemPointerSetInvalid(&tuple->t_self);
	return tuple;
}

/* Add a row to the batch that is inserted next. */
static void
bulk_add_row(LogBulkWriter *writer, const LogRow *row, Size columns_size)
{
	static const LogTailHint nowhere = {0}; /* the index finds these rows */

	MemoryContext context = MemoryContextSwitchTo(writer->rows);
	HeapTuple tuple = bulk_form_tuple(row, columns_size);

	MemoryContextSwitchTo(context);
	log_stamp_row(tuple, row, &nowhere);
	writer->tuples[writer->waiting++] = tuple;
	writer->bytes += tuple->t_len;
	if (writer->waiting == BULK_BATCH_ROWS || writer->bytes >= BULK_BATCH_BYTES)
		bulk_flush_rows(writer);
}

static Size
bulk_columns_size(const LogRow *row)
{
	return row->ncolumns > 0 ? row->ncolumns * sizeof(int16) : 0;
}

static void
bulk_flush_chunk(LogBulkWriter *writer)
{
	BulkChunk *chunk = &writer->chunk;
	LogRow row = chunk->first;

	if (chunk->members == 0)
		return;
	row.op = LOG_CHUNK_OP;
	row.relation = InvalidOid;
	row.head_length = chunk->members;
	row.channel = "";
	row.channel_length = 0;
	row.columns = chunk->headers.data;
	row.event = chunk->texts.data;
	row.event_length = chunk->texts.len;
	row.hidden = chunk->hidden.data;
	row.hidden_length = chunk->hidden.len;
	bulk_add_row(writer, &row, chunk->headers.len);
	bulk_clear_chunk(chunk);
}

/* Add a member to the chunk. Returns false if it is too large for a chunk. */
static bool
bulk_add_to_chunk(LogBulkWriter *writer, const LogRow *row)
{
	BulkChunk *chunk = &writer->chunk;
	BulkMember member = {.text_length = (uint32) row->event_length,
						 .head_length = row->head_length,
						 .relation = row->relation,
						 .ncolumns = (int16) row->ncolumns,
						 .channel_length = (uint16) row->channel_length,
						 .op = row->op,
						 .hidden_length = (uint16) row->hidden_length};
	Size size = sizeof(member) + bulk_columns_size(row) + row->channel_length + row->event_length +
				row->hidden_length;

	if (chunk->headers.len + chunk->texts.len + chunk->hidden.len + size > BULK_CHUNK_BYTES)
		bulk_flush_chunk(writer);
	if (size > BULK_CHUNK_BYTES / 2)
	{
		bulk_flush_chunk(writer);
		return false;
	}
	if (chunk->members == 0)
		chunk->first = *row;
	appendBinaryStringInfo(&chunk->headers, (char *) &member, sizeof(member));
	if (row->ncolumns > 0)
		appendBinaryStringInfo(&chunk->headers, row->columns, (int) bulk_columns_size(row));
	appendBinaryStringInfo(&chunk->texts, row->channel, row->channel_length);
	appendBinaryStringInfo(&chunk->texts, row->event, (int) row->event_length);
	appendBinaryStringInfo(&chunk->hidden, row->hidden, (int) row->hidden_length);
	chunk->members++;
	return true;
}

static bool
bulk_is_channel(const char *name, const LogRow *row)
{
	return memcmp(name, row->channel, row->channel_length) == 0 &&
		   name[row->channel_length] == '\0';
}

/* Note the channel of a member that is not the last one's. */
static void
bulk_add_channel(LogBulkWriter *writer, const LogRow *row)
{
	LogSummary *summary = &writer->summary;

	for (int i = 0; i < summary->nchannels; i++)
	{
		writer->channel = i;
		if (bulk_is_channel(summary->channels[i], row))
			return;
	}
	if (summary->nchannels < LOG_SUMMARY_CHANNELS)
	{
		writer->channel = summary->nchannels;
		memcpy(summary->channels[writer->channel], row->channel, row->channel_length);
	}
	summary->nchannels++;
}

void
log_write_member(LogBulkWriter *writer, const LogRow *row)
{
	writer->summary.bytes += row->event_length + BULK_EVENT_BYTES;
	if (writer->summary.nchannels <= LOG_SUMMARY_CHANNELS &&
		(writer->summary.nchannels == 0 ||
		 !bulk_is_channel(writer->summary.channels[writer->channel], row)))
		bulk_add_channel(writer, row);
	if (!bulk_add_to_chunk(writer, row))
		bulk_add_row(writer, row, bulk_columns_size(row));
}

void
log_close_bulk_writer(LogBulkWriter *writer, LogSummary *summary)
{
	bulk_flush_chunk(writer);
	bulk_flush_rows(writer);
	*summary = writer->summary;
	pfree(writer->chunk.headers.data);
	pfree(writer->chunk.texts.data);
	pfree(writer->chunk.hidden.data);
	FreeBulkInsertState(writer->state);
	table_finish_bulk_insert(writer->table, 0);
	MemoryContextDelete(writer->rows);

	/* The locks stay until the end of the transaction, as for any insert. */
	index_close(writer->index, NoLock);
	table_close(writer->table, NoLock);
	pfree(writer);
}

/*
 * Note that members of ids up to last are in an earlier segment than their marker, so that
 * retention keeps that segment until it removes the marker.
 */
static void
bulk_write_pin(int segment, uint64 last)
{
	Relation table = table_open(extension_relation("log_pin"), RowExclusiveLock);
	Datum values[2] = {Int32GetDatum(segment), Int64GetDatum((int64) last)};
	bool isnull[2] = {false, false};

	simple_heap_insert(table, heap_form_tuple(RelationGetDescr(table), values, isnull));
	table_close(table, NoLock);
}

LogReservation
log_write_marker(NotifydDatabase *database, const LogBulk *bulk, const LogSummary *summary, int32 n,
				 uint64 tx, TimestampTz at)
{
	char *text = psprintf(BULK_MARKER_FORMAT, bulk->segment, bulk->first_key, summary->bytes);
	Size channels_size =
		summary->nchannels <= LOG_SUMMARY_CHANNELS ? (Size) summary->nchannels * NAMEDATALEN : 0;
	LogSummary ignored;
	LogRow row = {.tx = tx,
				  .at = at,
				  .seq = 1,
				  .of = n,
				  .op = LOG_BULK_OP,
				  .ncolumns = -1,
				  .columns = summary->channels[0],
				  .channel = "",
				  .event = text,
				  .event_length = strlen(text)};
	HeapTuple marker = bulk_form_tuple(&row, channels_size);
	LogReservation reservation = log_write(database, &marker, 1, n, n, tx, at);
	LogBulkWriter *copy = log_open_bulk_writer(reservation.segment);

	row.id = (int64) reservation.first;
	bulk_add_row(copy, &row, channels_size);
	log_close_bulk_writer(copy, &ignored);
	if (bulk->segment != reservation.segment)
		bulk_write_pin(bulk->segment, reservation.first + n - 1);
	return reservation;
}
