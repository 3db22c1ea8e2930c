/*-------------------------------------------------------------------------
 *
 * capture.h
 *	  The trigger function that makes events of changes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_CAPTURE_H
#define PG_NOTIFYD_CAPTURE_H

#include "postgres.h"

#include "access/attnum.h"
#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/reltrigger.h"

#include "ext/base/compat.h"
#include "ext/json/json.h"
#include "ext/transaction/pending.h"

/*
 * How long an event's text may be: what a text value can hold, less what is put before it
 * when it is delivered.
 */
#define CAPTURE_MAX_TEXT (MaxAllocSize - 64 * 1024)

/* A column that events carry. */
typedef struct CaptureColumn
{
	AttrNumber attnum;         /* in the relation that the trigger fires for, */
	AttrNumber watched_attnum; /* and in the watched one */
	int16 typlen;
	bool typbyval;
	bool in_cols;
	int label_length;
	char *label; /* "name": */

	/* Where the value is, and how long, in the text that was written_in-th to be begun. */
	int written_at;
	int written_length;
	uint64 written_in;
	JsonType json;
} CaptureColumn;

/*
 * What there is to know to capture the changes of one relation, a table or a partition,
 * for one watch. Stays where it is until the transaction ends, even when it is not valid
 * any more. What each event needs comes first, and together.
 */
typedef struct CapturePlan
{
	bool orphan; /* there is no such watch of this relation: nothing is captured */
	bool valid;
	bool old_values;
	bool track_moves; /* a row that moves between partitions is one UPDATE */
	int ops;          /* WIRE_OP_ bits */
	int pins;         /* JSON_PIN_ bits: settings that the columns' texts depend on */
	int natts;        /* highest attribute number that is needed */
	int ncolumns;     /* those of the key first, in its order, then the others */
	int nkey;
	int norder;
	int nupdate_of; /* -1: every UPDATE counts */
	CaptureColumn *columns;
	int *order; /* columns of new and old, in their order, as indexes of columns */
	CaptureColumn *update_of;
	PendingHead insert_head; /* with "op":...,"schema":...,"table":...,"channel":... */
	PendingHead update_head;
	PendingHead delete_head;
	PendingHead truncate_head;

	int64 watch_id;
	Oid relation; /* that the trigger fires for */
	Oid watched;  /* that the watch is of: the same or, of a partition, its parent */
	List *types;  /* relations of composite types that columns' texts depend on */
	TupleDesc tupdesc;
	MemoryContext context;
} CapturePlan;

/* A row to be written: attributes 1 to plan->natts. */
typedef struct CaptureRow
{
	CapturePlan *plan;
	const Datum *values;
	const bool *isnull;
} CaptureRow;

/* ---------------- capture.c ---------------- */

/*
 * A trigger that notify_watch() has not made like that: raises
 * ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED.
 */
COMPAT_NORETURN extern void
capture_protocol_error(const Trigger *trigger, Relation relation, const char *problem);

/*
 * Make an event of a change and append it to the transaction's. old and new are NULL where
 * the operation has none; for an UPDATE both may be of different partitions. Applies
 * update_of, but not the watch's operations.
 */
extern void capture_change(char op, CaptureRow *old, CaptureRow *new);

/* ---------------- capture_event.c ---------------- */

typedef struct CaptureText
{
	StringInfoData buf;
	Size head_length;
} CaptureText;

/*
 * Append an event to the transaction's. Never fails because of a value: a cast to json that fails
 * is replaced by the type's text, and what is too large is left out.
 */
extern void capture_event(char op, CaptureRow *old, CaptureRow *new);

/*
 * The same in two steps: build the event's text, see pending.h, in the current context; append it,
 * which frees it.
 */
extern void capture_build(CaptureText *text, char op, CaptureRow *old, CaptureRow *new);
extern void capture_append(CapturePlan *plan, char op, CaptureText *text);

/* Whether a column has the same value in both rows. */
extern bool capture_same(const CaptureColumn *a, const CaptureRow *old, const CaptureColumn *b,
						 const CaptureRow *new);

/* ---------------- capture_plan.c ---------------- */

/*
 * The plan for a trigger, whose argument is a watch's id, and the relation that it fires for. Never
 * NULL.
 */
extern CapturePlan *capture_plan(const Trigger *trigger, Relation relation);

/* ---------------- capture_moved.c ---------------- */

/*
 * A row that was deleted to be inserted into another partition: hold it back until that
 * INSERT comes, or anything else.
 */
extern void capture_hold(CapturePlan *plan, HeapTuple tuple);

/* If this INSERT is the other half of what is held back, make an UPDATE of both and return true. */
extern bool capture_join(CaptureRow *new, HeapTuple tuple);

/*
 * A change of this row comes, which was deleted or inserted: what is held back was a DELETE
 * after all, unless it is the same row that moves.
 */
extern void capture_flush_other(HeapTuple tuple, bool inserted);

/*
 * What is held back was a DELETE after all: append it. To be called before the trigger appends
 * any other event. Runs no user's code. pending.h calls it in other cases.
 */
extern void capture_flush_moved(void);

#endif /* PG_NOTIFYD_CAPTURE_H */
