/*-------------------------------------------------------------------------
 *
 * log_write.c
 *	  Inserting rows into a log table, past SQL and the executor.
 *
 * The writer's user has no privileges on the log and needs none: the rows are written as the
 * system's own, with no trigger, no rule and no constraint to consult.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "ext/base/buffer.h"
#include "ext/base/failpoint.h"
#include "ext/log/log_check.h"
#include "ext/log/log_place.h"
#include "ext/log/log_row.h"

#define LOG_BATCH_ROWS  64          /* of a bulk write, in one multi-insert */
#define LOG_BATCH_BYTES (64 * 1024) /* or this much of them */
#define LOG_CHUNK_BYTES                                                                            \
	8000 /* members in one chunk: with its own fields it fills a page, see toast_tuple_target */

/* Make a formed row whole with what is known at the commit. */
static void
log_stamp_row(HeapTuple tuple, const LogRow *row, const LogSign *sign)
{
	LogFixed *fixed = log_row_fixed((char *) tuple->t_data);

	fixed->id = row->id;
	fixed->tx = (int64) row->tx;
	fixed->at = row->at;
	fixed->file = sign->file;
	fixed->block = (int32) sign->block;
	fixed->behind = log_behind(sign, (uint64) row->id);
	fixed->seq = row->seq;
	fixed->of = row->of;
}

static void
log_insert_several(Relation table, HeapTuple *tuples, int n, CommandId cid, int options,
				   BulkInsertState bulk)
{
	TupleTableSlot **slots = palloc(n * sizeof(TupleTableSlot *));

	for (int i = 0; i < n; i++)
	{
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsHeapTuple);
		ExecStoreHeapTuple(tuples[i], slots[i], false);
	}
	table_multi_insert(table, slots, n, cid, options, bulk);
	for (int i = 0; i < n; i++)
	{
		tuples[i]->t_self = slots[i]->tts_tid;
		ExecDropSingleTupleTableSlot(slots[i]);
	}
	pfree(slots);
}

/*
 * Past SQL and the executor, and without what logical decoding would need of the row: it is no part
 * of any publication. table_multi_insert() cannot leave that out (heap_multi_insert() in heapam.c),
 * so it is for where there is none.
 */
static void
log_insert(Relation table, HeapTuple *tuples, int n, CommandId cid, int options,
		   BulkInsertState bulk)
{
	FAIL_POINT("log-insert");

	/*
	 * One row, as most transactions have, needs no slot and none of what several are prepared with.
	 */
	if (n > 1 && !XLogLogicalInfoActive())
		log_insert_several(table, tuples, n, cid, options, bulk);
	else
	{
		for (int i = 0; i < n; i++)
			heap_insert(table, tuples[i], cid, options | HEAP_INSERT_NO_LOGICAL, bulk);
	}
}

/* ---------------- rows of ids that were reserved ---------------- */

void
log_lock(NotifydDatabase *database)
{
	LockRelationOid(log_table(database->segment), RowExclusiveLock);
}

LogReservation
log_write(NotifydDatabase *database, HeapTuple *tuples, int n, int32 of, uint64 tx, TimestampTz at)
{
	/*
	 * Before ids are taken, which the feed rarely makes be of another segment meanwhile: opening it
	 * may take long.
	 */
	Relation table = log_open(database->segment, RowExclusiveLock);
	LogReservation reservation = log_reserve(database, of, tuples, n);
	LogSign sign;

	FAIL_POINT("pending-reserved");
	if (RelationGetRelid(table) != log_table(reservation.segment))
	{
		table_close(table, NoLock);
		table = log_open(reservation.segment, RowExclusiveLock);
	}
	FAIL_POINT("log-aim");
	sign = log_aim(database, &reservation, table);
	for (int i = 0; i < n; i++)
	{
		LogRow row = {
			.id = (int64) reservation.first + i, .tx = tx, .at = at, .seq = i + 1, .of = of};

		log_stamp_row(tuples[i], &row, &sign);
	}
	while (n > 0)
	{
		int here = log_point(table, &sign, tuples, n);

		log_insert(table, tuples, here, GetCurrentCommandId(true), HEAP_INSERT_SKIP_FSM, NULL);
		FAIL_POINT("log-landed");
		log_landed(database, reservation.segment, table,
				   ItemPointerGetBlockNumber(&tuples[here - 1]->t_self));
		tuples += here;
		n -= here;
	}

	/* The lock stays until the end of the transaction, as for any insert. */
	table_close(table, NoLock);
	return reservation;
}

/* ---------------- members of a bulk write ---------------- */

/* Members of a bulk write that are gathered for one row. */
typedef struct LogChunk
{
	LogRow first;
	int members;
	StringInfoData headers;
	StringInfoData texts;
} LogChunk;

struct LogBulkWriter
{
	Relation table;
	Relation index;
	CommandId cid;
	BulkInsertState state;
	LogChunk chunk;
	MemoryContext rows; /* what is waiting to be inserted; reset when it was */
	HeapTuple tuples[LOG_BATCH_ROWS];
	int waiting;
	Size bytes;
};

/*
 * All that a B-tree of plain columns is told by it. BuildIndexInfo() looks for expressions and
 * predicates.
 */
static IndexInfo log_index_info = {.type = T_IndexInfo,
								   .ii_NumIndexAttrs = 1,
								   .ii_NumIndexKeyAttrs = 1,
								   .ii_IndexAttrNumbers = {LOG_ID}};

static void
log_clear_chunk(LogChunk *chunk)
{
	chunk->members = 0;
	resetStringInfo(&chunk->headers);
	resetStringInfo(&chunk->texts);
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
	writer->rows =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd log rows", ALLOCSET_DEFAULT_SIZES);
	return writer;
}

static void
log_insert_index_entry(LogBulkWriter *writer, HeapTuple tuple)
{
	Datum id = Int64GetDatum(log_row_fixed((char *) tuple->t_data)->id);
	bool isnull = false;

	index_insert(writer->index, &id, &isnull, &tuple->t_self, writer->table, UNIQUE_CHECK_NO, false,
				 &log_index_info);
}

static void
log_flush_rows(LogBulkWriter *writer)
{
	if (writer->waiting == 0)
		return;
	log_insert(writer->table, writer->tuples, writer->waiting, writer->cid, 0, writer->state);
	for (int i = 0; i < writer->waiting; i++)
		log_insert_index_entry(writer, writer->tuples[i]);
	writer->waiting = 0;
	writer->bytes = 0;
	MemoryContextReset(writer->rows);
}

/* Form a row whole, with this much in its columns. */
static HeapTuple
log_form_tuple(const LogRow *row, Size columns_size)
{
	Size most = LOG_HOFF + sizeof(LogFixed) + 3 * (ALIGNOF_INT + VARHDRSZ) + columns_size +
				row->channel_length + row->event_length;
	StringInfoData buf = {.data = palloc(most + 1), .maxlen = (int) most + 1};
	HeapTuple tuple = palloc0(HEAPTUPLESIZE);
	int text_at;

	log_begin_row(&buf, row, columns_size);
	text_at = buf.len;
	buffer_put(&buf, row->event, (int) row->event_length);
	log_end_row(buf.data, buf.data + text_at, row->head_length, row->event_length);
	tuple->t_data = (HeapTupleHeader) buf.data;
	tuple->t_len = buf.len;
	ItemPointerSetInvalid(&tuple->t_self);
	return tuple;
}

/* Insert a row soon. */
static void
log_add_row(LogBulkWriter *writer, const LogRow *row, Size columns_size)
{
	static const LogSign nowhere = {0}; /* these are found by the index */

	MemoryContext context = MemoryContextSwitchTo(writer->rows);
	HeapTuple tuple = log_form_tuple(row, columns_size);

	MemoryContextSwitchTo(context);
	log_stamp_row(tuple, row, &nowhere);
	writer->tuples[writer->waiting++] = tuple;
	writer->bytes += tuple->t_len;
	if (writer->waiting == LOG_BATCH_ROWS || writer->bytes >= LOG_BATCH_BYTES)
		log_flush_rows(writer);
}

static Size
log_columns_size(const LogRow *row)
{
	return row->ncolumns > 0 ? row->ncolumns * sizeof(int16) : 0;
}

static void
log_flush_chunk(LogBulkWriter *writer)
{
	LogChunk *chunk = &writer->chunk;
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
	log_add_row(writer, &row, chunk->headers.len);
	log_clear_chunk(chunk);
}

/* Add to the chunk; false if that is not for a member of this size. */
static bool
log_add_to_chunk(LogBulkWriter *writer, const LogRow *row)
{
	LogChunk *chunk = &writer->chunk;
	LogMember member = {.text_length = (uint32) row->event_length,
						.head_length = row->head_length,
						.relation = row->relation,
						.ncolumns = (int16) row->ncolumns,
						.channel_length = (uint16) row->channel_length,
						.op = row->op};
	Size size = sizeof(member) + log_columns_size(row) + row->channel_length + row->event_length;

	if (chunk->headers.len + chunk->texts.len + size > LOG_CHUNK_BYTES)
		log_flush_chunk(writer);
	if (size > LOG_CHUNK_BYTES / 2)
	{
		log_flush_chunk(writer);
		return false;
	}
	if (chunk->members == 0)
		chunk->first = *row;
	appendBinaryStringInfo(&chunk->headers, (char *) &member, sizeof(member));
	if (row->ncolumns > 0)
		appendBinaryStringInfo(&chunk->headers, row->columns, (int) log_columns_size(row));
	appendBinaryStringInfo(&chunk->texts, row->channel, row->channel_length);
	appendBinaryStringInfo(&chunk->texts, row->event, (int) row->event_length);
	chunk->members++;
	return true;
}

void
log_write_member(LogBulkWriter *writer, const LogRow *row)
{
	if (!log_add_to_chunk(writer, row))
		log_add_row(writer, row, log_columns_size(row));
}

void
log_close_bulk_writer(LogBulkWriter *writer)
{
	log_flush_chunk(writer);
	log_flush_rows(writer);
	pfree(writer->chunk.headers.data);
	pfree(writer->chunk.texts.data);
	FreeBulkInsertState(writer->state);
	table_finish_bulk_insert(writer->table, 0);
	MemoryContextDelete(writer->rows);

	/* The locks stay until the end of the transaction, as for any insert. */
	index_close(writer->index, NoLock);
	table_close(writer->table, NoLock);
	pfree(writer);
}

/*
 * Note that rows of ids up to last are in an earlier segment than their ids say: it must outlive
 * its turn.
 */
static void
log_write_pin(int segment, uint64 last)
{
	Relation table = table_open(log_relation("log_pin"), RowExclusiveLock);
	Datum values[2] = {Int32GetDatum(segment), Int64GetDatum((int64) last)};
	bool isnull[2] = {false, false};

	simple_heap_insert(table, heap_form_tuple(RelationGetDescr(table), values, isnull));
	table_close(table, NoLock);
}

LogReservation
log_write_marker(NotifydDatabase *database, const LogBulk *bulk, int32 n, uint64 tx, TimestampTz at)
{
	char *place = psprintf("%d " INT64_FORMAT, bulk->segment, bulk->first_key);
	LogRow row = {.tx = tx,
				  .at = at,
				  .seq = 1,
				  .of = n,
				  .op = LOG_BULK_OP,
				  .ncolumns = -1,
				  .channel = "",
				  .event = place,
				  .event_length = strlen(place)};
	HeapTuple marker = log_form_tuple(&row, 0);
	LogReservation reservation = log_write(database, &marker, 1, n, tx, at);
	LogBulkWriter *copy = log_open_bulk_writer(reservation.segment);

	row.id = (int64) reservation.first;
	log_add_row(copy, &row, 0);
	log_close_bulk_writer(copy);
	if (bulk->segment != reservation.segment)
		log_write_pin(bulk->segment, reservation.first + n - 1);
	return reservation;
}
