/*-------------------------------------------------------------------------
 *
 * capture_moved.c
 *	  A row that moves between partitions: a DELETE and an INSERT that are one UPDATE.
 *
 * An UPDATE of the partition key deletes the row in the one partition, leaving a mark in
 * the old version that it moved, and inserts it into the other. The triggers for both
 * are fired one after the other, if only triggers of the same row come in between. So
 * such a DELETE is held back until the INSERT comes, by the same command of the same
 * subtransaction, for the same watch. Should anything else come first (the INSERT may
 * have been cancelled by a BEFORE trigger, the other partition may belong to another
 * parent of the watched one, another trigger may open a savepoint), it is the DELETE that
 * it looks like, and is appended before whatever comes.
 *
 * The DELETE's text is built when it is held back, so that appending it runs no user's code
 * and needs nothing that a subtransaction which is just beginning or ending cannot do.
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

/* One per watch of the row that is moving. In capture_held_context. */
typedef struct CaptureHeld
{
	CapturePlan *plan;
	HeapTuple tuple;
	TransactionId xid; /* who deleted it */
	CommandId command;
	bool
		watched_delete; /* text is what to append if it is a DELETE; else it is nothing to the watch */
	CaptureText text;
} CaptureHeld;

static List *capture_held = NIL;
static MemoryContext capture_held_context =
	NULL; /* child of TopTransactionContext; NULL: nothing is held */

/* Never fails. */
static void
capture_forget_moved(void)
{
	MemoryContext context = capture_held_context;

	capture_held = NIL;
	capture_held_context = NULL;
	if (context != NULL)
		MemoryContextDelete(context);
}

/* Whether this row was inserted by the command that deleted the one that is held. */
static bool
capture_is_other_half(const CaptureHeld *held, HeapTuple tuple)
{
	return held->xid == HeapTupleHeaderGetXmin(tuple->t_data) &&
		   held->command == HeapTupleHeaderGetCmin(tuple->t_data);
}

/* Forgets what is held first: appending may fail, or come back here. */
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

	/* Built first: it may open a subtransaction, before which what is held is appended. */
	if (watched_delete)
	{
		capture_held_row(&probe, &old);
		capture_build(&text, OPERATION_DELETE, &old, NULL);
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

		/* A copy of our own: writing it may append what else is held, and free it all. */
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
