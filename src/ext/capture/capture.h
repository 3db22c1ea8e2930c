/*-------------------------------------------------------------------------
 *
 * capture.h
 *	  The trigger function that turns changes into events.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_CAPTURE_H
#define PG_NOTIFYD_CAPTURE_H

#include "postgres.h"

#include "fmgr.h"

#include "access/attnum.h"
#include "access/htup.h"
#include "access/tupdesc.h"
#include "nodes/bitmapset.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/reltrigger.h"

#include "ext/base/compat.h"
#include "ext/json/json.h"
#include "ext/transaction/pending.h"
#include "ext/watch/watch.h"

/*
 * The maximum length of an event's text: that of a text value, less the bytes that are put before
 * it on delivery.
 */
#define CAPTURE_MAX_TEXT (MaxAllocSize - 64 * 1024)

/* A column of the events. */
typedef struct CaptureColumn
{
	AttrNumber attnum;         /* in the relation that fires the trigger */
	AttrNumber watched_attnum; /* in the watched relation */
	int16 typlen;
	bool typbyval;
	bool in_cols;
	bool new_missing; /* the events' texts do not have its new values */
	bool old_missing; /* ... its old values */
	int label_length;
	char *label; /* "name": */

	/*
	 * The position and length of the value in the last text that contains it, and that text's
	 * number.
	 */
	int written_at;
	int written_length;
	uint64 written_in;
	JsonType json;
} CaptureColumn;

/* What calling the payload function of a watch needs. */
typedef struct CapturePayload CapturePayload;

/*
 * Everything needed to capture the changes of one relation, a table or a partition, for one watch.
 * The plan's memory stays valid until the transaction ends, even if the plan is invalidated before.
 * The members that each event needs come first.
 */
typedef struct CapturePlan
{
	bool orphan; /* the watch does not exist: nothing is captured */
	bool valid;
	bool old_values;
	bool track_moves; /* a row that moves between partitions gives one UPDATE */
	int ops;          /* WIRE_OP_ bits */
	int pins;         /* JSON_PIN_ bits: settings that the columns' texts depend on */
	int natts;        /* highest attribute number that events need */
	int ncolumns;     /* first those of the key, in its order, then the others */
	int ncaptured;    /* how many of them subscribers must be able to read */
	int nvisible;     /* how many of these are in the events' texts; the rest is hidden */
	int nkey;
	int norder;
	int nupdate_of; /* -1: every UPDATE gives an event */
	CaptureColumn *columns;
	int *order; /* columns of new and old in their order, as indexes into columns */
	CaptureColumn *update_of;
	CapturePayload *payload; /* NULL: events carry rows */
	uint32 shape;            /* of the watched relation, see watch_shape.h; 0: nothing is hidden */
	int nhidden;
	int *hidden;             /* columns that may have hidden values, as indexes into columns */
	PendingHead insert_head; /* with "op":...,"schema":...,"table":...,"channel":... */
	PendingHead update_head;
	PendingHead delete_head;
	PendingHead truncate_head;

	int64 watch_id;
	Oid relation; /* that fires the trigger */
	Oid watched;  /* of the watch: the same relation or a partition's ancestor */
	List *types;  /* relations of composite types that columns' texts depend on */
	TupleDesc tupdesc;
	MemoryContext context;
} CapturePlan;

/* A row to be written. The arrays have attributes 1 to plan->natts. */
typedef struct CaptureRow
{
	CapturePlan *plan;
	const Datum *values;
	const bool *isnull;
} CaptureRow;

/* ---------------- capture.c ---------------- */

/*
 * Raise ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED for a trigger that notify_watch() did not create
 * in this form.
 */
COMPAT_NORETURN extern void
capture_protocol_error(const Trigger *trigger, Relation relation, const char *problem);

/*
 * Build the event of a change and append it to the transaction's events. old and new are NULL if
 * the operation has none. In an UPDATE they may be of different partitions. Applies the watch's
 * update_of, but not its operations.
 */
extern void capture_change(char op, CaptureRow *old, CaptureRow *new);

/* ---------------- capture_event.c ---------------- */

typedef struct CaptureText
{
	StringInfoData buf;
	StringInfoData hidden; /* hidden values: log_hidden.h */
	Size head_length;
} CaptureText;

/*
 * Append an event to the transaction's events. No value makes this fail: if a cast to json fails,
 * the type's text is used instead, and values that are too large are left out. Only a payload
 * function may raise an error, or leave the event out.
 */
extern void capture_event(char op, CaptureRow *old, CaptureRow *new);

/*
 * The same in two steps. capture_build() builds the event's text in the current memory context (see
 * pending.h), and returns false if there is no event. capture_append() appends it and frees it.
 */
extern bool capture_build(CaptureText *text, char op, CaptureRow *old, CaptureRow *new);
extern void capture_append(CapturePlan *plan, char op, CaptureText *text);

/* Return true if a column has the same value in both rows. */
extern bool capture_same(const CaptureColumn *a, const CaptureRow *old, const CaptureColumn *b,
						 const CaptureRow *new);

/* ---------------- capture_hidden.c ---------------- */

/* Return the numbers of the columns of a relation that its policies for SELECT read. */
extern Bitmapset *capture_policy_columns(Relation relation);

/* Find out which of a plan's columns may have hidden values. */
extern void capture_add_hidden(CapturePlan *plan);

/* Append the hidden values of a change, or nothing if they are too large. */
extern void
capture_write_hidden(StringInfo buf, char op, const CaptureRow *old, const CaptureRow *new);

/* ---------------- capture_payload.c ---------------- */

/*
 * Prepare calls of a watch's payload function for rows of this relation, in the current memory
 * context. Adds to *types as json_prepare() does. Raises ERRCODE_UNDEFINED_FUNCTION.
 */
extern CapturePayload *capture_prepare_payload(const Watch *watch, Relation relation, List **types);

/*
 * Call the payload function, and set *text to its result. Returns false if that is NULL. Raises what
 * the function raises. No event must be in the middle of being written.
 */
extern bool capture_payload(char op, const CaptureRow *old, const CaptureRow *new, StringInfo text);

/* ---------------- capture_plan.c ---------------- */

/*
 * Return the plan for a trigger, whose argument is the id of a watch, and the relation that it is
 * fired for. Never NULL.
 */
extern CapturePlan *capture_plan(const Trigger *trigger, Relation relation);

/* ---------------- capture_moved.c ---------------- */

/*
 * Hold back the DELETE of a row that moves to another partition, until the INSERT or another event
 * follows.
 */
extern void capture_hold(CapturePlan *plan, HeapTuple tuple);

/*
 * If this INSERT belongs to the DELETE that is held back, append an UPDATE of both and return true.
 */
extern bool capture_join(CaptureRow *new, HeapTuple tuple);

/*
 * Append the DELETE that is held back, if any, because this row is deleted or inserted. Does
 * nothing if it is the row that moves.
 */
extern void capture_flush_other(HeapTuple tuple, bool inserted);

/*
 * Append the DELETE that is held back, if any. Call this before the trigger appends any other
 * event. Runs no user-defined code. pending.c calls it in all other cases.
 */
extern void capture_flush_moved(void);

/* ---------------- messages (send.c, send_type.c) ---------------- */

/*
 * Return a message as values of the channel's type are written, or the message itself if the channel
 * has no type. Raises the errors of json_strict_read().
 */
extern text *send_typed(const char *channel, text *json);

/*
 * notify_send(channel, payload) as the current user. publisher is the event's member "publisher", a JSON object of
 * trusted form in the server's encoding, or NULL. Returns the number of the message among the transaction's events.
 * If tables are watched on the channel, the event has the member "watched".
 */
extern int64 send_message(const char *channel, text *payload, const char *publisher);

#endif /* PG_NOTIFYD_CAPTURE_H */
