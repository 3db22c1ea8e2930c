/*-------------------------------------------------------------------------
 *
 * capture_moved.c
 *	  Makes one UPDATE of the DELETE and the INSERT of a row that moves between partitions.
 *
 * An UPDATE of the partition key deletes the row from one partition, marks the old version as
 * moved, and inserts the row into the other partition. PostgreSQL fires the triggers of the two
 * directly one after the other, unless other triggers of the row come between them. So the DELETE
 * is held back until the INSERT follows, by the same command of the same subtransaction and for the
 * same watch.
 *
 * If anything else comes first, the row is treated as deleted, and the DELETE is appended before
 * the other event. This happens if a BEFORE trigger cancels the INSERT, if the other partition does
 * not belong to the watched table, or if another trigger opens a savepoint.
 *
 * The DELETE's text is built when it is held back. So appending it runs no user-defined code, and
 * works while a subtransaction starts or ends. A payload function is called for this DELETE, and for
 * the UPDATE.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"
#include "utils/memutils.h"

#include "ext/base/operation.h"
#include "ext/capture/capture.h"
#include "ext/transaction/pending.h"
#include "ext/watch/watch.h"

/* One for each watch of the moving row, in capture_held_context. */
typedef struct CaptureHeld
{
	CapturePlan *plan;
	HeapTuple tuple;
	TransactionId xid; /* the transaction that deleted it */
	CommandId command;
	bool watched_delete; /* text has the DELETE to append; otherwise there is none */
	CaptureText text;
} CaptureHeld;

static List *capture_held = NIL;
static MemoryContext capture_held_context =
	NULL; /* child of TopTransactionContext; NULL: nothing is held back */

/* Never raises an error. */
static void
capture_forget_moved(void)
{
	MemoryContext context = capture_held_context;

	capture_held = NIL;
	capture_held_context = NULL;
	if (context != NULL)
		MemoryContextDelete(context);
}

/* Return true if the command that deleted the held row inserted this one. */
static bool
capture_is_other_half(const CaptureHeld *held, HeapTuple tuple)
{
	return held->xid == HeapTupleHeaderGetXmin(tuple->t_data) &&
		   held->command == HeapTupleHeaderGetCmin(tuple->t_data);
}

/* Clear the list first, because appending may raise an error or call this function again. */
void
capture_flush_moved(void)
{
	List *held = capture_held;
	MemoryContext context = capture_held_context;
	ListCell *cell;

	if (context == NULL)
		return;
	capture_held = NIL;
	capture_held_context = NULL;
	foreach (cell, held)
	{
		CaptureHeld *delete = lfirst(cell);

		if (delete->watched_delete)
			capture_append(delete->plan, OPERATION_DELETE, &delete->text);
	}
	MemoryContextDelete(context);
}

static const PendingHolder capture_holder = {.append = capture_flush_moved,
											 .forget = capture_forget_moved};

void
capture_flush_other(HeapTuple tuple, bool inserted)
{
	CaptureHeld *first = capture_held != NIL ? linitial(capture_held) : NULL;
	bool same;

	if (first == NULL)
		return;
	if (inserted)
		same = capture_is_other_half(first, tuple);
	else
		same = first->tuple->t_tableOid == tuple->t_tableOid &&
			   ItemPointerEquals(&first->tuple->t_self, &tuple->t_self);
	if (!same)
		capture_flush_moved();
}

static void
capture_held_row(CaptureHeld *held, CaptureRow *row)
{
	int natts = held->plan->tupdesc->natts;
	Datum *values = palloc(natts * sizeof(Datum));
	bool *isnull = palloc(natts * sizeof(bool));

	heap_deform_tuple(held->tuple, held->plan->tupdesc, values, isnull);
	*row = (CaptureRow){.plan = held->plan, .values = values, .isnull = isnull};
}

static void
capture_held_reset(void *arg pg_attribute_unused())
{
	capture_held = NIL;
	capture_held_context = NULL;
}

void
capture_hold(CapturePlan *plan, HeapTuple tuple)
{
	CaptureHeld *held;
	CaptureText text;
	MemoryContext oldcontext;
	bool watched_delete = (plan->ops & WIRE_OP_DELETE) != 0;
	CaptureHeld probe = {.plan = plan, .tuple = tuple};
	CaptureRow old;

	/*
	 * Build the text first: that may start a subtransaction, which appends the rows held back
	 * before.
	 */
	if (watched_delete)
	{
		capture_held_row(&probe, &old);
		watched_delete = capture_build(&text, OPERATION_DELETE, &old, NULL);
	}

	pending_set_holder(&capture_holder);
	if (capture_held_context == NULL)
	{
		MemoryContextCallback *reset;

		capture_held_context = AllocSetContextCreate(TopTransactionContext, "pg_notifyd moved row",
													 ALLOCSET_SMALL_SIZES);
		reset = MemoryContextAlloc(capture_held_context, sizeof(MemoryContextCallback));
		reset->func = capture_held_reset;
		reset->arg = NULL;
		MemoryContextRegisterResetCallback(capture_held_context, reset);
	}
	oldcontext = MemoryContextSwitchTo(capture_held_context);
	held = palloc0(sizeof(CaptureHeld));
	held->plan = plan;
	held->tuple = heap_copytuple(tuple);
	held->xid = HeapTupleHeaderGetUpdateXid(tuple->t_data);
	held->command = HeapTupleHeaderGetCmax(tuple->t_data);
	held->watched_delete = watched_delete;
	if (watched_delete)
	{
		held->text.head_length = text.head_length;
		initStringInfo(&held->text.buf);
		appendBinaryStringInfo(&held->text.buf, text.buf.data, text.buf.len);
		pfree(text.buf.data);
		initStringInfo(&held->text.hidden);
		appendBinaryStringInfo(&held->text.hidden, text.hidden.data, text.hidden.len);
		pfree(text.hidden.data);
	}
	capture_held = lappend(capture_held, held);
	MemoryContextSwitchTo(oldcontext);
}

bool
capture_join(CaptureRow *new, HeapTuple tuple)
{
	ListCell *cell;

	foreach (cell, capture_held)
	{
		CaptureHeld *held = lfirst(cell);
		CaptureHeld mine = *held;
		CaptureRow old;

		if (held->plan->watch_id != new->plan->watch_id)
			continue;
		if (!held->plan->valid || !new->plan->valid || !capture_is_other_half(held, tuple))
			return false;

		/* Copy the tuple, because writing it may append the other held rows and free them all. */
		mine.tuple = heap_copytuple(held->tuple);
		capture_held = foreach_delete_current(capture_held, cell);
		if (capture_held == NIL)
			capture_forget_moved();
		if (new->plan->ops & WIRE_OP_UPDATE)
		{
			capture_held_row(&mine, &old);
			capture_change(OPERATION_UPDATE, &old, new);
		}
		return true;
	}
	return false;
}
