/*-------------------------------------------------------------------------
 *
 * log_write.c
 *	  Inserting rows into a log table, past SQL and the executor.
 *
 * The writer's user has no privileges on the log and needs none: the rows are written as the system's
 * own, with no trigger, no rule and no constraint to consult.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "access/transam.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "failpoint.h"
#include "log_place.h"

#define LOG_BATCH_ROWS  64          /* rows in one multi-insert */
#define LOG_BATCH_BYTES (64 * 1024) /* or this much of them */
#define LOG_CHUNK_BYTES                                                                                      \
	8000 /* members in one chunk: with its own fields it fills a page, see toast_tuple_target */

/* Members of a bulk write that are gathered for one row. */
typedef struct LogChunk
{
	LogRow first;
	int members;
	StringInfoData headers;
	StringInfoData texts;
} LogChunk;

struct LogWriter
{
	Relation table;
	CommandId cid;

	/* for rows under their own ids */
	NotifydDatabase *database;
	int segment;
	LogSign sign;
	BlockNumber block; /* where the last row was added */

	/* for members of a bulk write */
	BulkInsertState bulk; /* NULL: this is none */
	Relation index;
	LogChunk chunk;

	MemoryContext context; /* the writer's own */
	MemoryContext rows;    /* what is waiting to be inserted; of a bulk write, one that is reset */
	HeapTuple *tuples;     /* room for LOG_BATCH_ROWS, but at first for one: most transactions have one */
	HeapTuple first;
	TupleTableSlot **slots;
	int nslots; /* made so far: none, where rows are inserted one by one */
	int waiting;
	Size bytes;
};

/* All that a B-tree of plain columns is told by it. BuildIndexInfo() looks for expressions and predicates. */
static IndexInfo log_index_info = {
	.type = T_IndexInfo, .ii_NumIndexAttrs = 1, .ii_NumIndexKeyAttrs = 1, .ii_IndexAttrNumbers = {LOG_ID}};

static void
log_clear_chunk(LogChunk *chunk)
{
	chunk->members = 0;
	resetStringInfo(&chunk->headers);
	resetStringInfo(&chunk->texts);
}

static LogWriter *
log_make_writer(Oid table)
{
	LogWriter *writer = palloc0(sizeof(LogWriter));

	writer->table = table_open(table, RowExclusiveLock);
	writer->cid = GetCurrentCommandId(true);
	writer->context = CurrentMemoryContext;
	writer->rows = CurrentMemoryContext;
	writer->tuples = &writer->first;
	return writer;
}

LogWriter *
log_open_writer(NotifydDatabase *database, const LogReservation *reservation)
{
	LogWriter *writer = log_make_writer(log_table(reservation->segment));

	writer->database = database;
	writer->segment = reservation->segment;
	writer->sign = log_aim(database, reservation, writer->table);
	return writer;
}

/* A writer for the table of a segment that has an index. */
static LogWriter *
log_open_indexed_writer(int segment)
{
	LogWriter *writer = log_make_writer(log_bulk_table(segment));

	writer->index = index_open(log_bulk_index(segment), RowExclusiveLock);
	return writer;
}

LogWriter *
log_open_bulk_writer(const LogBulk *bulk)
{
	LogWriter *writer = log_open_indexed_writer(bulk->segment);

	writer->bulk = GetBulkInsertState();
	initStringInfo(&writer->chunk.headers);
	initStringInfo(&writer->chunk.texts);
	log_clear_chunk(&writer->chunk);
	writer->rows = AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd log rows", ALLOCSET_DEFAULT_SIZES);
	return writer;
}

/* The slot for the i-th of the rows that are inserted at once. */
static TupleTableSlot *
log_slot(LogWriter *writer, int i)
{
	if (i == writer->nslots)
	{
		MemoryContext context = MemoryContextSwitchTo(writer->context);

		if (writer->slots == NULL)
			writer->slots = palloc(LOG_BATCH_ROWS * sizeof(TupleTableSlot *));
		writer->slots[writer->nslots++] =
			MakeSingleTupleTableSlot(RelationGetDescr(writer->table), &TTSOpsHeapTuple);
		MemoryContextSwitchTo(context);
	}
	return writer->slots[i];
}

static void
log_insert_several(LogWriter *writer, int options)
{
	for (int i = 0; i < writer->waiting; i++)
		ExecStoreHeapTuple(writer->tuples[i], log_slot(writer, i), false);
	table_multi_insert(writer->table, writer->slots, writer->waiting, writer->cid, options, writer->bulk);
	for (int i = 0; i < writer->waiting; i++)
	{
		writer->tuples[i]->t_self = writer->slots[i]->tts_tid;
		ExecClearTuple(writer->slots[i]);
	}
}

static void
log_insert_index_entry(LogWriter *writer, HeapTuple tuple)
{
	bool isnull = false;
	Datum id = heap_getattr(tuple, LOG_ID, RelationGetDescr(writer->table), &isnull);

	index_insert(writer->index, &id, &isnull, &tuple->t_self, writer->table, UNIQUE_CHECK_NO, false,
				 &log_index_info);
}

static void
log_flush_writer(LogWriter *writer)
{
	int options = writer->index == NULL ? HEAP_INSERT_SKIP_FSM : 0; /* see log_aim() */

	if (writer->waiting == 0)
		return;
	FAIL_POINT("log-insert");

	/* One row, as most transactions have, needs no slot and none of what several are prepared with. */
	if (writer->waiting == 1)
		heap_insert(writer->table, writer->tuples[0], writer->cid, options, writer->bulk);
	else
		log_insert_several(writer, options);
	writer->block = ItemPointerGetBlockNumber(&writer->tuples[writer->waiting - 1]->t_self);
	if (writer->index != NULL)
	{
		for (int i = 0; i < writer->waiting; i++)
			log_insert_index_entry(writer, writer->tuples[i]);
	}
	writer->waiting = 0;
	writer->bytes = 0;
	if (writer->rows != writer->context)
		MemoryContextReset(writer->rows);
}

/* Where a value of this length begins in a row whose data ends at offset, and where it ends; see att_align_pointer(). */
static Size
log_begin_value(Size offset, Size length)
{
	return length + VARHDRSZ_SHORT <= VARATT_SHORT_MAX ? offset : INTALIGN(offset);
}

static Size
log_end_value(Size offset, Size length)
{
	return log_begin_value(offset, length) + length +
		   (length + VARHDRSZ_SHORT <= VARATT_SHORT_MAX ? VARHDRSZ_SHORT : VARHDRSZ);
}

/* Put a value there; what is skipped is zero. Returns where it ends. */
static Size
log_put_value(char *data, Size offset, const char *value, Size length)
{
	char *at = data + log_begin_value(offset, length);

	if (length + VARHDRSZ_SHORT <= VARATT_SHORT_MAX)
		SET_VARSIZE_SHORT(at, length + VARHDRSZ_SHORT);
	else
	{
		memset(data + offset, 0, at - (data + offset));
		SET_VARSIZE(at, length + VARHDRSZ);
	}
	if (length > 0)
		memcpy(VARDATA_ANY(at), value, length);
	return log_end_value(offset, length);
}

/*
 * Form a row as heap_form_tuple() does, which takes four times as long, though the places of most columns are known, and needs
 * the text copied once more.
 */
static HeapTuple
log_form_tuple(const LogFixed *fixed, Size columns_length, const LogRow *row)
{
	Size hoff = MAXALIGN(SizeofHeapTupleHeader);
	Size size = offsetof(LogFixed, op) + sizeof(fixed->op);
	HeapTuple tuple;
	char *data;

	size = log_end_value(size, columns_length);
	size = log_end_value(size, row->channel_length);
	size = log_end_value(size, row->event_length);
	tuple = palloc(HEAPTUPLESIZE + hoff + size);
	memset(tuple, 0, HEAPTUPLESIZE + hoff);
	tuple->t_len = (uint32) (hoff + size);
	tuple->t_data = (HeapTupleHeader) ((char *) tuple + HEAPTUPLESIZE);
	ItemPointerSetInvalid(&tuple->t_self);
	ItemPointerSetInvalid(&tuple->t_data->t_ctid);
	HeapTupleHeaderSetNatts(tuple->t_data, LOG_NCOLUMNS);
	tuple->t_data->t_infomask |= HEAP_HASVARWIDTH;
	tuple->t_data->t_hoff = (uint8) hoff;

	data = (char *) tuple->t_data + hoff;
	size = offsetof(LogFixed, op) + sizeof(fixed->op);
	memcpy(data, fixed, size);
	size = log_put_value(data, size, row->columns, columns_length);
	size = log_put_value(data, size, row->channel, row->channel_length);
	log_put_value(data, size, row->event, row->event_length);
	return tuple;
}

/* Insert a row soon, with this much in its columns. */
static void
log_add_row(LogWriter *writer, const LogRow *row, Size columns_length)
{
	MemoryContext context = MemoryContextSwitchTo(writer->rows);
	LogFixed fixed = {.id = row->id,
					  .tx = (int64) row->tx,
					  .at = row->at,
					  .file = writer->sign.file,
					  .block = (int32) writer->sign.block,
					  .behind = log_behind(&writer->sign, (uint64) row->id),
					  .seq = row->seq,
					  .of = row->of,
					  .head = row->head_length,
					  .rel = row->relation,
					  .op = row->op};
	HeapTuple tuple = log_form_tuple(&fixed, columns_length, row);

	MemoryContextSwitchTo(context);
	if (writer->waiting == 1 && writer->tuples == &writer->first)
	{
		writer->tuples = MemoryContextAlloc(writer->context, LOG_BATCH_ROWS * sizeof(HeapTuple));
		writer->tuples[0] = writer->first;
	}
	writer->tuples[writer->waiting++] = tuple;
	writer->bytes += tuple->t_len;
	if (writer->waiting == LOG_BATCH_ROWS || writer->bytes >= LOG_BATCH_BYTES)
		log_flush_writer(writer);
}

static Size
log_columns_size(const LogRow *row)
{
	return row->ncolumns > 0 ? row->ncolumns * sizeof(int16) : 0;
}

static void
log_flush_chunk(LogWriter *writer)
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
log_write_member(LogWriter *writer, const LogRow *row)
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
log_write(LogWriter *writer, const LogRow *row)
{
	if (writer->bulk == NULL || !log_write_member(writer, row))
		log_add_row(writer, row, log_columns_size(row));
}

void
log_close_writer(LogWriter *writer)
{
	log_flush_chunk(writer);
	log_flush_writer(writer);
	for (int i = 0; i < writer->nslots; i++)
		ExecDropSingleTupleTableSlot(writer->slots[i]);
	if (writer->bulk != NULL)
	{
		pfree(writer->chunk.headers.data);
		pfree(writer->chunk.texts.data);
		FreeBulkInsertState(writer->bulk);
		table_finish_bulk_insert(writer->table, 0);
	}
	if (writer->rows != writer->context)
		MemoryContextDelete(writer->rows);

	/* The locks stay until the end of the transaction, as for any insert. */
	if (writer->index != NULL)
		index_close(writer->index, NoLock);
	else
		log_landed(writer->database, writer->segment, writer->table, &writer->sign, writer->block);
	table_close(writer->table, NoLock);
	pfree(writer);
}

/* Note that rows of ids up to last are in an earlier segment than their ids say: it must outlive its turn. */
static void
log_write_pin(int segment, uint64 last)
{
	Relation table = table_open(log_relation("log_pin"), RowExclusiveLock);
	Datum values[2] = {Int32GetDatum(segment), Int64GetDatum((int64) last)};
	bool isnull[2] = {false, false};

	simple_heap_insert(table, heap_form_tuple(RelationGetDescr(table), values, isnull));
	table_close(table, NoLock);
}

static void
log_write_one(LogWriter *writer, const LogRow *row)
{
	log_write(writer, row);
	log_close_writer(writer);
}

void
log_write_marker(NotifydDatabase *database, const LogBulk *bulk, const LogReservation *reservation, int64 n,
				 TimestampTz at)
{
	char *place = psprintf("%d " INT64_FORMAT, bulk->segment, bulk->first_key);
	LogRow row = {.id = (int64) reservation->first,
				  .tx = U64FromFullTransactionId(GetCurrentFullTransactionId()),
				  .at = at,
				  .seq = 1,
				  .of = (int32) n,
				  .op = LOG_BULK_OP,
				  .ncolumns = -1,
				  .channel = "",
				  .event = place,
				  .event_length = strlen(place)};

	log_write_one(log_open_writer(database, reservation), &row);
	log_write_one(log_open_indexed_writer(reservation->segment), &row);
	if (bulk->segment != reservation->segment)
		log_write_pin(bulk->segment, reservation->first + n - 1);
}
