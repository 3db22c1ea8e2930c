/*-------------------------------------------------------------------------
 *
 * log_write.c
 *	  Inserting rows into a log table, past SQL and the executor.
 *
 * Rows are inserted like those of a system catalog, without triggers, rules and constraints, so the
 * user of the session needs no privileges on the log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/tuptable.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "ext/base/failpoint.h"
#include "ext/log/log_check.h"
#include "ext/log/log_tail.h"
#include "ext/log/log_row.h"
#include "ext/log/log_write.h"

void
log_stamp_row(HeapTuple tuple, const LogRow *row, const LogTailHint *hint)
{
	LogFixed *fixed = log_row_fixed((char *) tuple->t_data);

	fixed->id = row->id;
	fixed->tx = (int64) row->tx;
	fixed->at = row->at;
	fixed->relfilenumber = hint->relfilenumber;
	fixed->start_block = (int32) hint->start_block;
	fixed->watermark_delta = log_tail_delta(hint, (uint64) row->id);
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
 * Insert without what logical decoding needs of a row, since log rows are part of no publication.
 * table_multi_insert() cannot leave that out (heap_multi_insert() in heapam.c), so it is used only
 * where nobody decodes WAL. A table of version 1.0 gets the columns that it has: what follows the last
 * attribute of a tuple is ignored.
 */
void
log_insert(Relation table, HeapTuple *tuples, int n, CommandId cid, int options,
		   BulkInsertState bulk)
{
	FAIL_POINT("log-insert");
	for (int i = 0; i < n; i++)
		HeapTupleHeaderSetNatts(tuples[i]->t_data, RelationGetNumberOfAttributes(table));

	/* Most transactions have one row. heap_insert() needs no slot, and prepares less. */
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
log_write(NotifydDatabase *database, HeapTuple *tuples, int n, int64 ids, int32 of, uint64 tx,
		  TimestampTz at)
{
	/*
	 * Open the table before taking ids, because that may take long. The feed may move on to another
	 * segment meanwhile, which is rare.
	 */
	Relation table = log_open(database->segment, RowExclusiveLock);
	LogReservation reservation = log_reserve(database, ids, tuples, n);
	LogTailHint hint;

	FAIL_POINT("pending-reserved");
	if (RelationGetRelid(table) != log_table(reservation.segment))
	{
		table_close(table, NoLock);
		table = log_open(reservation.segment, RowExclusiveLock);
	}
	FAIL_POINT("log-prepare");
	hint = log_tail_prepare(database, &reservation, table);
	for (int i = 0; i < n; i++)
	{
		LogRow row = {
			.id = (int64) reservation.first + i, .tx = tx, .at = at, .seq = i + 1, .of = of};

		log_stamp_row(tuples[i], &row, &hint);
	}
	while (n > 0)
	{
		int here = log_tail_target(table, &hint, tuples, n);

		log_insert(table, tuples, here, GetCurrentCommandId(true), HEAP_INSERT_SKIP_FSM, NULL);
		FAIL_POINT("log-advance");
		log_tail_advance(database, reservation.segment, table,
						 ItemPointerGetBlockNumber(&tuples[here - 1]->t_self));
		tuples += here;
		n -= here;
	}

	/* The lock stays until the end of the transaction, as for any insert. */
	table_close(table, NoLock);
	return reservation;
}
