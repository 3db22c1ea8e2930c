/*-------------------------------------------------------------------------
 *
 * capture_event.c
 *	  Builds the text of an event.
 *
 * No row may make this fail, because that would fail the user's statement. (A payload function may,
 * but it has run before.) Two things can go wrong:
 * a user-defined cast to json may raise an error, and a text may exceed 1 GB, because the values
 * are large or because a small array has a large text. If the plan or the size of the row makes one
 * of them possible, the text is built in a subtransaction. The first attempt writes the whole
 * event, the second uses the type's own text instead of a cast, and the third writes only the key
 * and marks the event as truncated.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "ext/base/operation.h"
#include "ext/base/buffer.h"
#include "ext/base/subtransaction.h"
#include "ext/capture/capture.h"
#include "ext/capture/context.h"
#include "ext/base/failpoint.h"
#include "ext/log/log_hidden.h"
#include "ext/transaction/pending.h"
#include "ext/watch/watch.h"

#define CAPTURE_SAFE_ROW (1024 * 1024) /* values of less than this in total, and */
#define CAPTURE_SAFE_STRUCTURED                                                                    \
	(8 * 1024) /* structured values of less than this, have texts far below 1 GB */

/* Texts of values smaller than this fit between other events. */
#define CAPTURE_DIRECT_ROW        (16 * 1024)
#define CAPTURE_DIRECT_STRUCTURED 512

typedef enum CaptureDetail
{
	CAPTURE_WHOLE,
	CAPTURE_AS_TEXT, /* without casts to json */
	CAPTURE_KEY_ONLY,
	CAPTURE_NOTHING /* without the key too, because it is too large */
} CaptureDetail;

bool
capture_same(const CaptureColumn *a, const CaptureRow *old, const CaptureColumn *b,
			 const CaptureRow *new)
{
	Datum x = old->values[a->attnum - 1];
	Datum y = new->values[b->attnum - 1];
	bool null = old->isnull[a->attnum - 1];

	if (null || new->isnull[b->attnum - 1])
		return null == new->isnull[b->attnum - 1];

	/*
	 * An UPDATE leaves a value that it does not change where it is out of line: compare the
	 * pointers only.
	 */
	if (a->typlen == -1 && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(x)) &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(y)) &&
		memcmp(DatumGetPointer(x), DatumGetPointer(y), TOAST_POINTER_SIZE) == 0)
		return true;
	return datum_image_eq(x, y, a->typbyval, a->typlen);
}

/* ---------------- writing ---------------- */

/* What an event is about. */
typedef struct CaptureChange
{
	char op;
	CaptureRow *old;    /* NULL: none */
	CaptureRow *new;    /* NULL: none; of TRUNCATE, only its plan */
	StringInfo payload; /* instead of the rows; NULL: none */
} CaptureChange;

/* The state of writing a text. */
typedef struct CaptureWriting
{
	StringInfo buf;
	bool as_text; /* without casts to json */
	bool key_changed;

	/*
	 * A number of its own for each text, because a user-defined cast may start another text of the
	 * same plan in between.
	 */
	uint64 number;
} CaptureWriting;

static void
capture_append_column(CaptureWriting *writing, CaptureColumn *column, const CaptureRow *row)
{
	StringInfo buf = writing->buf;
	int at;

	buffer_put(buf, column->label, column->label_length);
	at = buf->len;
	if (row->isnull[column->attnum - 1])
		buffer_put_literal(buf, "null");
	else
		json_append(buf, &column->json, row->values[column->attnum - 1], writing->as_text);
	column->written_at = at;
	column->written_length = buf->len - at;
	column->written_in = writing->number;
	buffer_put_literal(buf, ",");
}

/* Append a value again. If this text already contains it, copy it from there. */
static void
capture_repeat_column(CaptureWriting *writing, CaptureColumn *column, const CaptureRow *row)
{
	StringInfo buf = writing->buf;

	if (column->written_in != writing->number)
	{
		capture_append_column(writing, column, row);
		return;
	}

	/* Reserve the space first, because that may move the buffer. */
	buffer_reserve(buf, column->label_length + column->written_length + 1);
	buffer_put(buf, column->label, column->label_length);
	buffer_put(buf, buf->data + column->written_at, column->written_length);
	buffer_put_literal(buf, ",");
}

/* Append a column of the old row. Most of its values are also those of the new row. */
static void
capture_append_old_column(CaptureWriting *writing, CaptureColumn *column, const CaptureRow *old,
						  const CaptureRow *new)
{
	if (new == NULL || new->plan != old->plan || !capture_same(column, old, column, new))
		capture_append_column(writing, column, old);
	else
		capture_repeat_column(writing, column, old);
}

/* Replace the comma after the last member, if there is one, with the closing brace. */
static void
capture_close_object(StringInfo buf)
{
	if (buf->data[buf->len - 1] == ',')
		buf->data[buf->len - 1] = '}';
	else
		buffer_put_literal(buf, "}");
}

static void
capture_append_key(CaptureWriting *writing, const CaptureRow *row)
{
	buffer_put_literal(writing->buf, "{");
	for (int i = 0; i < row->plan->nkey; i++)
		capture_append_column(writing, &row->plan->columns[i], row);
	capture_close_object(writing->buf);
}

static void
capture_append_new(CaptureWriting *writing, const CaptureRow *new)
{
	CapturePlan *plan = new->plan;

	buffer_put_literal(writing->buf, ",\"new\":{");
	for (int i = 0; i < plan->norder; i++)
		capture_repeat_column(writing, &plan->columns[plan->order[i]], new);
	capture_close_object(writing->buf);
}

static bool
capture_key_changed(const CaptureRow *old, const CaptureRow *new)
{
	if (old == NULL || new == NULL)
		return false;
	for (int i = 0; i < new->plan->nkey; i++)
	{
		if (!capture_same(&old->plan->columns[i], old, &new->plan->columns[i], new))
			return true;
	}
	return false;
}

/*
 * Append the member "old". An UPDATE that changes the key always contains the old key, because
 * clients could not know otherwise which row has changed.
 */
static void
capture_append_old(CaptureWriting *writing, const CaptureRow *old, const CaptureRow *new)
{
	CapturePlan *plan = old->plan;
	bool cols = plan->old_values && plan->norder > 0;
	bool key = writing->key_changed;

	if (!cols && !key)
		return;
	buffer_put_literal(writing->buf, ",\"old\":{");
	for (int i = 0; key && i < plan->nkey; i++)
	{
		if (!cols || !plan->columns[i].in_cols)
			capture_append_old_column(writing, &plan->columns[i], old, new);
	}
	for (int i = 0; cols && i < plan->norder; i++)
		capture_append_old_column(writing, &plan->columns[plan->order[i]], old, new);
	capture_close_object(writing->buf);
}

static const PendingHead *
capture_head(const CapturePlan *plan, char op)
{
	switch (op)
	{
		case OPERATION_INSERT:
			return &plan->insert_head;
		case OPERATION_UPDATE:
			return &plan->update_head;
		case OPERATION_DELETE:
			return &plan->delete_head;
		default:
			return &plan->truncate_head;
	}
}

static void
capture_append_payload(CaptureWriting *writing, const CaptureChange *change)
{
	if (change->payload == NULL)
		return;
	buffer_put_literal(writing->buf, ",\"payload\":");
	buffer_put(writing->buf, change->payload->data, change->payload->len);
}

/*
 * Append key, new and old, or fewer of them. Returns the length of the text's head, see pending.h.
 */
static int
capture_write_members(CaptureWriting *writing, const CaptureChange *change, CaptureDetail detail)
{
	StringInfo buf = writing->buf;
	CaptureRow *old = change->old;
	CaptureRow *new = change->new;
	int head_end;

	writing->key_changed = capture_key_changed(old, new);
	buffer_put_literal(buf, ",\"key\":");
	if (detail == CAPTURE_NOTHING)
		buffer_put_literal(buf, "{}");
	else
		capture_append_key(writing, new ? new : old);
	if (detail == CAPTURE_KEY_ONLY && writing->key_changed)
	{
		buffer_put_literal(buf, ",\"old\":");
		capture_append_key(writing, old);
	}
	if (detail >= CAPTURE_KEY_ONLY)
	{
		buffer_put_literal(buf, ",\"truncated\":true");
		return buf->len;
	}
	head_end = buf->len;
	if (new != NULL &&new->plan->norder > 0)
		capture_append_new(writing, new);
	if (old != NULL)
		capture_append_old(writing, old, new);
	capture_append_payload(writing, change);
	return head_end;
}

/* TRUNCATE has no rows. */
static int
capture_write_truncate(CaptureWriting *writing, const CaptureChange *change, CaptureDetail detail)
{
	int head_end = writing->buf->len;

	if (detail < CAPTURE_KEY_ONLY)
		capture_append_payload(writing, change);
	else
	{
		buffer_put_literal(writing->buf, ",\"truncated\":true");
		head_end = writing->buf->len;
	}
	return head_end;
}

/* Append the old key to the hidden values. */
static void
capture_hide_old_key(CaptureWriting *writing, const CaptureRow *old)
{
	LogHidden entry = {.row = LOG_HIDDEN_OLD_KEY, .form = LOG_HIDDEN_JSON};
	StringInfo buf = writing->buf;
	int at = buf->len;

	buffer_put(buf, &entry, sizeof(entry));
	capture_append_key(writing, old);
	entry.length = (uint32) (buf->len - at - sizeof(entry));
	memcpy(buf->data + at, &entry, sizeof(entry));
}

/*
 * Append the part of the text that follows the plan's head, and to the empty buffer hidden the hidden
 * values. Returns the length of the text's head.
 */
static int
capture_write(StringInfo buf, StringInfo hidden, const CaptureChange *change, CaptureDetail detail)
{
	static uint64 writings = 0;

	CaptureRow *old = change->old;
	CaptureRow *new = change->new;
	CaptureWriting writing = {.buf = buf, .as_text = detail != CAPTURE_WHOLE, .number = ++writings};
	int pins = (old ? old->plan->pins : 0) | (new ? new->plan->pins : 0);
	int pinned = 0;
	int head_end;

	context_append(buf);
	if (change->op == OPERATION_TRUNCATE)
		return capture_write_truncate(&writing, change, detail);
	if (pins != 0)
		pinned = json_pin(pins);
	head_end = capture_write_members(&writing, change, detail);
	if (detail < CAPTURE_KEY_ONLY)
		capture_write_hidden(hidden, change->op, old, new);
	if (writing.key_changed && hidden->len > 0)
	{
		writing.buf = hidden;
		writing.number = ++writings;
		capture_hide_old_key(&writing, old);
	}
	json_unpin(pinned);
	return head_end;
}

/* ---------------- writing with care ---------------- */

/*
 * What may make building the text of this row fail: casts, or size. The functions below add to it.
 */
typedef struct CaptureRisk
{
	bool cast;
	bool nested;     /* some values are written by to_json() */
	Size structured; /* size of the structured values, in bytes */
	Size size;       /* size of all values */
} CaptureRisk;

static void
capture_add_risk(CaptureRisk *risk, const CaptureRow *row)
{
	for (int i = 0; i < row->plan->ncolumns; i++)
	{
		const CaptureColumn *column = &row->plan->columns[i];
		Size value_size;

		if (row->isnull[column->attnum - 1])
			continue;
		risk->cast = risk->cast || column->json.careful;
		risk->nested = risk->nested || column->json.kind == JSON_NESTED;
		if (!column->json.varlena)
			continue;
		value_size = json_value_size(&column->json, row->values[column->attnum - 1]);
		if (column->json.structured)
			risk->structured += value_size;
		risk->size += value_size;
	}
}

static void
capture_init_text(CaptureText *text)
{
	initStringInfo(&text->buf);
	initStringInfo(&text->hidden);
}

static void
capture_reset_text(CaptureText *text)
{
	resetStringInfo(&text->buf);
	resetStringInfo(&text->hidden);
}

static void
capture_free_text(CaptureText *text)
{
	pfree(text->buf.data);
	pfree(text->hidden.data);
}

typedef struct CaptureAttempt
{
	CaptureText *text;
	const CaptureChange *change;
	CaptureDetail detail;
} CaptureAttempt;

static void
capture_write_text(void *arg)
{
	CaptureAttempt *attempt = arg;
	CaptureText *text = attempt->text;

	text->head_length = capture_write(&text->buf, &text->hidden, attempt->change, attempt->detail);
}

/*
 * Write the text in a subtransaction. Returns false if that raised an error. Errors that must not
 * be caught are raised again: a cancelled statement, a shutdown, and a serialization failure or
 * deadlock of a user-defined cast.
 */
static bool
capture_try_write(CaptureText *text, const CaptureChange *change, CaptureDetail detail)
{
	CaptureAttempt attempt = {.text = text, .change = change, .detail = detail};
	ErrorData *error = subtransaction_try(capture_write_text, &attempt);

	if (error != NULL)
	{
		int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

		if (category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_TRANSACTION_ROLLBACK)
			ReThrowError(error);
		FreeErrorData(error);

		/* The buffers may have grown to 1 GB. */
		capture_free_text(text);
		capture_init_text(text);
		return false;
	}
	if ((Size) text->buf.len + text->hidden.len > CAPTURE_MAX_TEXT)
		text->hidden.len = 0;
	return text->buf.len <= (int) CAPTURE_MAX_TEXT;
}

static void
capture_write_carefully(CaptureText *text, const CaptureChange *change, bool cast)
{
	for (CaptureDetail detail = CAPTURE_WHOLE; detail < CAPTURE_NOTHING; detail++)
	{
		if (detail == CAPTURE_AS_TEXT && !cast)
			continue;
		capture_reset_text(text);
		if (capture_try_write(text, change, detail))
			return;
	}
	capture_reset_text(text);
	text->head_length = capture_write(&text->buf, &text->hidden, change, CAPTURE_NOTHING);
}

static CaptureRisk
capture_risk(const CaptureChange *change)
{
	CaptureRisk risk = {0};

	if (change->new != NULL && change->op != OPERATION_TRUNCATE)
		capture_add_risk(&risk, change->new);
	if (change->old != NULL)
		capture_add_risk(&risk, change->old);
	if (change->payload != NULL)
		risk.size += change->payload->len;
	return risk;
}

/* Build the text in a buffer of its own. */
static void
capture_build_knowing(CaptureText *text, const CaptureChange *change, const CaptureRisk *risk)
{
	capture_init_text(text);
	if (!risk->cast && risk->structured <= CAPTURE_SAFE_STRUCTURED &&
		risk->size <= CAPTURE_SAFE_ROW)
		text->head_length = capture_write(&text->buf, &text->hidden, change, CAPTURE_WHOLE);
	else
		capture_write_carefully(text, change, risk->cast);
}

/*
 * Get the payload of a change, if the watch has a payload function. buf is an uninitialized buffer
 * for it. Returns false if there is no event.
 */
static bool
capture_complete(CaptureChange *change, StringInfo buf)
{
	const CapturePlan *plan = change->new ? change->new->plan : change->old->plan;

	if (likely(plan->payload == NULL))
		return true;
	change->payload = buf;
	return capture_payload(change->op, change->old, change->new, buf);
}

bool
capture_build(CaptureText *text, char op, CaptureRow *old, CaptureRow *new)
{
	CaptureChange change = {.op = op, .old = old, .new = new};
	StringInfoData payload;
	CaptureRisk risk;

	if (!capture_complete(&change, &payload))
		return false;
	risk = capture_risk(&change);
	capture_build_knowing(text, &change, &risk);
	return true;
}

void
capture_append(CapturePlan *plan, char op, CaptureText *text)
{
	(void) pending_append(capture_head(plan, op), text->buf.data, text->head_length, text->buf.len,
						  text->hidden.data, text->hidden.len);
	capture_free_text(text);
}

/* Return an empty buffer for the hidden values of a small row. */
static StringInfo
capture_hidden_buffer(void)
{
	static StringInfoData buf = {0};

	if (buf.data == NULL)
	{
		MemoryContext context = MemoryContextSwitchTo(TopMemoryContext);

		initStringInfo(&buf);
		MemoryContextSwitchTo(context);
	}
	buf.len = 0;
	return &buf;
}

void
capture_event(char op, CaptureRow *old, CaptureRow *new)
{
	CapturePlan *plan = new ? new->plan : old->plan;
	CaptureChange change = {.op = op, .old = old, .new = new};
	StringInfoData payload;
	CaptureRisk risk;

	if (!capture_complete(&change, &payload))
		return;
	risk = capture_risk(&change);

	/*
	 * Most texts are written directly into the transaction's buffer. Texts that need to_json() are
	 * not, because it looks for casts itself, and a cast that was created just now may append
	 * another event.
	 */
	if (!risk.nested && risk.structured <= CAPTURE_DIRECT_STRUCTURED &&
		risk.size <= CAPTURE_DIRECT_ROW)
	{
		StringInfo hidden = capture_hidden_buffer();
		StringInfo buf = pending_begin(capture_head(plan, op));
		int head_end = capture_write(buf, hidden, &change, CAPTURE_WHOLE);

		FAIL_POINT("event-written");
		pending_end(head_end, hidden->data, hidden->len);
	}
	else
	{
		CaptureText text;

		capture_build_knowing(&text, &change, &risk);
		capture_append(plan, op, &text);
	}
}
