/*-------------------------------------------------------------------------
 *
 * event_rows.c
 *	  The old and the new row of an event as typed values.
 *
 * A value comes from the event's hidden values (log_hidden.h) or from its text. The text names the
 * columns as they were called then; the event's shape (watch_shape.h) says which columns of today these
 * names mean, and whether the types are still the same.
 *
 * What depends on the relation only is kept until the relation changes, a "form". What depends on
 * the shape too is a "layout" of a form. Everything about an event is in a memory context of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "lib/ilist.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "ext/base/buffer.h"
#include "ext/base/operation.h"
#include "ext/base/relation_change.h"
#include "ext/json/json_read.h"
#include "ext/log/log_hidden.h"
#include "ext/sets/event_rows.h"
#include "ext/watch/watch_shape.h"

/* A column of a shape, as the text names it. */
typedef struct RowsLabel
{
	AttrNumber attnum;
	Oid type;
	int length;
	char *text; /* "name": */
} RowsLabel;

/* What a shape means for a form. */
typedef struct RowsLayout
{
	uint32 shape;
	int nlabels;
	RowsLabel *labels;
	Oid *types; /* of attributes 1 to natts of the form; InvalidOid: the shape has no such column */
	struct RowsLayout *next;
} RowsLayout;

/* A relation, for as long as it does not change. */
typedef struct RowsForm
{
	dlist_node node; /* in rows_forms */
	bool valid;
	Oid relation;
	List *types; /* relations of composite types that readers depend on */
	MemoryContext context;
	TupleDesc desc;
	uint32 shape; /* that the relation has now */
	RowsLayout *layouts;
	JsonReader **readers; /* of attributes 1 to natts; NULL: not prepared */
	TupleTableSlot *old;
	TupleTableSlot *new;
} RowsForm;

typedef struct RowsEntry
{
	Oid relation;
	RowsForm *form; /* NULL: there is none */
} RowsEntry;

/* Part of the event's text or of its hidden values; text is NULL if it is not there. */
typedef struct RowsPart
{
	const char *text;
	Size length;
} RowsPart;

/* A value as the event has it. */
typedef struct RowsValue
{
	char form; /* LOG_HIDDEN_NULL, _JSON, _TEXT; 0: the event does not have it */
	RowsPart part;
} RowsValue;

/* Members of the event's object. */
enum RowsMember
{
	ROWS_KEY,
	ROWS_NEW,
	ROWS_OLD,
	ROWS_CONTEXT,
	ROWS_PAYLOAD,
	ROWS_NMEMBERS
};

static const char *const rows_members[ROWS_NMEMBERS] = {
	"\"key\":", "\"new\":", "\"old\":", "\"context\":", "\"payload\":"};

struct EventRows
{
	MemoryContext context;
	MemoryContext each; /* what belongs to the event */
	HTAB *forms;        /* RowsEntry */
	const LogEvent *event;
	bool split; /* members are known */
	RowsPart members[ROWS_NMEMBERS];

	/* from the first event_rows_read() on */
	RowsForm *form;
	RowsLayout *layout; /* NULL: the shape is unknown */
	bool has_old;
	bool has_new;
	RowsValue *old; /* of attributes 1 to natts */
	RowsValue *new;
	bool *read; /* values are in the slots */
};

/* All forms, so that they can be invalidated. */
static dlist_head rows_forms = DLIST_STATIC_INIT(rows_forms);

static void
rows_relation_changed(Datum arg pg_attribute_unused(), Oid relation)
{
	dlist_iter iter;

	dlist_foreach (iter, &rows_forms)
	{
		RowsForm *form = dlist_container(RowsForm, node, iter.cur);

		if (!OidIsValid(relation) || form->relation == relation ||
			list_member_oid(form->types, relation))
			form->valid = false;
	}
}

EventRows *
event_rows_create(MemoryContext context)
{
	static bool registered = false;

	EventRows *rows = MemoryContextAllocZero(context, sizeof(EventRows));
	HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(RowsEntry), .hcxt = context};

	if (!registered)
		relation_change_register(rows_relation_changed);
	registered = true;
	rows->context = context;
	rows->each =
		AllocSetContextCreate(context, "pg_notifyd rows of an event", ALLOCSET_DEFAULT_SIZES);
	rows->forms = hash_create("pg_notifyd rows of events", 16, &control,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return rows;
}

void
event_rows_set(EventRows *rows, const LogEvent *event)
{
	MemoryContextReset(rows->each);
	rows->event = event;
	rows->split = false;
	rows->form = NULL;
	rows->layout = NULL;
}

/* ---------------- forms and layouts ---------------- */

static void
rows_forget_form(void *arg)
{
	dlist_delete(&((RowsForm *) arg)->node);
}

static RowsForm *
rows_make_form(EventRows *rows, Relation relation)
{
	MemoryContext context =
		AllocSetContextCreate(rows->context, "pg_notifyd rows of a relation", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	MemoryContextCallback *forget = palloc(sizeof(MemoryContextCallback));
	RowsForm *form = palloc0(sizeof(RowsForm));

	form->valid = true;
	form->relation = RelationGetRelid(relation);
	form->context = context;
	form->desc = CreateTupleDescCopy(RelationGetDescr(relation));
	form->shape = watch_shape_of(form->desc)->id;
	form->readers = palloc0(Max(form->desc->natts, 1) * sizeof(JsonReader *));
	form->old = MakeSingleTupleTableSlot(form->desc, &TTSOpsVirtual);
	form->new = MakeSingleTupleTableSlot(form->desc, &TTSOpsVirtual);
	MemoryContextSwitchTo(caller);
	dlist_push_tail(&rows_forms, &form->node);
	forget->func = rows_forget_form;
	forget->arg = form;
	MemoryContextRegisterResetCallback(context, forget);
	return form;
}

static RowsForm *
rows_find_form(EventRows *rows, Relation relation)
{
	Oid oid = RelationGetRelid(relation);
	bool found;
	RowsEntry *entry = hash_search(rows->forms, &oid, HASH_ENTER, &found);

	if (!found)
		entry->form = NULL;
	if (entry->form != NULL && !entry->form->valid)
	{
		MemoryContextDelete(entry->form->context);
		entry->form = NULL;
	}
	if (entry->form == NULL)
		entry->form = rows_make_form(rows, relation);
	return entry->form;
}

static RowsLayout *
rows_make_layout(RowsForm *form, const WatchShape *shape)
{
	RowsLayout *layout = palloc0(sizeof(RowsLayout));

	layout->shape = shape->id;
	layout->nlabels = shape->ncolumns;
	layout->labels = palloc(Max(shape->ncolumns, 1) * sizeof(RowsLabel));
	layout->types = palloc0(Max(form->desc->natts, 1) * sizeof(Oid));
	for (int i = 0; i < shape->ncolumns; i++)
	{
		const WatchShapeColumn *column = &shape->columns[i];
		StringInfoData label;

		initStringInfo(&label);
		json_append_string(&label, NameStr(column->name), strlen(NameStr(column->name)));
		buffer_put_literal(&label, ":");
		layout->labels[i] = (RowsLabel){.attnum = column->attnum,
										.type = column->type,
										.length = label.len,
										.text = label.data};
		if (column->attnum <= form->desc->natts)
			layout->types[column->attnum - 1] = column->type;
	}
	return layout;
}

/* Return the layout of a shape, or NULL if the relation has not had this shape. */
static RowsLayout *
rows_find_layout(RowsForm *form, uint32 id)
{
	RowsLayout *layout;
	WatchShape *shape;
	MemoryContext caller;

	for (layout = form->layouts; layout != NULL; layout = layout->next)
	{
		if (layout->shape == id)
			return layout;
	}
	shape = id == form->shape ? watch_shape_of(form->desc) : watch_find_shape(form->relation, id);
	if (shape == NULL)
		return NULL;
	caller = MemoryContextSwitchTo(form->context);
	layout = rows_make_layout(form, shape);
	MemoryContextSwitchTo(caller);
	layout->next = form->layouts;
	form->layouts = layout;
	return layout;
}

/* NULL: another session has locked the column's type. */
static JsonReader *
rows_reader(RowsForm *form, AttrNumber attnum)
{
	MemoryContext caller;

	if (form->readers[attnum - 1] == NULL)
	{
		JsonReader *reader = MemoryContextAlloc(form->context, sizeof(JsonReader));
		Oid type = TupleDescAttr(form->desc, attnum - 1)->atttypid;
		bool prepared;

		caller = MemoryContextSwitchTo(form->context);
		prepared = json_prepare_reader(reader, type, &form->types);
		MemoryContextSwitchTo(caller);
		if (!prepared)
			return NULL;
		form->readers[attnum - 1] = reader;
	}
	return form->readers[attnum - 1];
}

/* ---------------- the event's text and hidden values ---------------- */

/* Move behind a name and the colon. Returns NULL at the end of the members. */
static const char *
rows_skip_name(const char *at, const char *end)
{
	at++;
	while (at < end && *at != '"')
		at += *at == '\\' ? 2 : 1;
	return end - at > 2 ? at + 2 : NULL;
}

/* Find the members of the event's object, whose braces the text lacks. */
static void
rows_split(EventRows *rows)
{
	MemoryContext caller;
	const char *at;
	const char *end;

	if (rows->split)
		return;
	caller = MemoryContextSwitchTo(rows->each);
	at = log_text(rows->event);
	end = at + rows->event->event_length;
	MemoryContextSwitchTo(caller);
	memset(rows->members, 0, sizeof(rows->members));
	rows->split = true;
	while (at < end && *at == '"')
	{
		const char *name = at;
		const char *value = rows_skip_name(at, end);

		if (value == NULL)
			return;
		at = json_value_end(value, end);
		for (int i = 0; i < ROWS_NMEMBERS; i++)
		{
			if ((Size) (value - name) == strlen(rows_members[i]) &&
				memcmp(name, rows_members[i], value - name) == 0)
				rows->members[i] = (RowsPart){.text = value, .length = at - value};
		}
		at++;
	}
}

/*
 * Return the label of the member that begins here, or NULL if it is none. Members mostly are in the
 * order of the columns, so the search begins behind the label of the member before.
 */
static const RowsLabel *
rows_find_label(const RowsLayout *layout, const char *at, const char *end, int *near)
{
	for (int i = 0; i < layout->nlabels; i++)
	{
		int n = *near + i < layout->nlabels ? *near + i : *near + i - layout->nlabels;
		const RowsLabel *label = &layout->labels[n];

		if (end - at > label->length && memcmp(at, label->text, label->length) == 0)
		{
			*near = n + 1 < layout->nlabels ? n + 1 : 0;
			return label;
		}
	}
	return NULL;
}

/* Note the values that a member of the event's object has of a row. */
static void
rows_note_visible(EventRows *rows, enum RowsMember member, RowsValue *values)
{
	const char *at = rows->members[member].text;
	const char *end = at + rows->members[member].length;
	int near = 0;

	if (at == NULL)
		return;
	at++;
	while (at < end && *at == '"')
	{
		const RowsLabel *label = rows_find_label(rows->layout, at, end, &near);
		const char *value = label != NULL ? at + label->length : rows_skip_name(at, end);

		if (value == NULL)
			return;
		at = json_value_end(value, end);
		if (label != NULL && label->attnum <= rows->form->desc->natts)
		{
			RowsValue *noted = &values[label->attnum - 1];

			noted->part = (RowsPart){.text = value, .length = at - value};
			noted->form = json_is_null(value, at - value) ? LOG_HIDDEN_NULL : LOG_HIDDEN_JSON;
		}
		at++;
	}
}

/* Note the hidden values, which take precedence. */
static void
rows_note_hidden(EventRows *rows, const char *hidden)
{
	const char *end = hidden + rows->event->hidden_length;
	const char *at = hidden + sizeof(uint32);

	while (end - at >= (ptrdiff_t) sizeof(LogHidden))
	{
		LogHidden entry;

		memcpy(&entry, at, sizeof(entry));
		at += sizeof(entry);
		if (entry.length > (Size) (end - at))
			return;
		if (entry.attnum > 0 && entry.attnum <= rows->form->desc->natts)
		{
			RowsValue *values = entry.row == LOG_HIDDEN_OLD ? rows->old : rows->new;

			values[entry.attnum - 1].form = entry.form;
			values[entry.attnum - 1].part = (RowsPart){.text = at, .length = entry.length};
		}
		at += entry.length;
	}
}

/* ---------------- reading ---------------- */

static TupleTableSlot *
rows_empty_slot(TupleTableSlot *slot)
{
	ExecClearTuple(slot);
	memset(slot->tts_values, 0, slot->tts_tupleDescriptor->natts * sizeof(Datum));
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	return ExecStoreVirtualTuple(slot);
}

/* Prepare for the values of the event. */
static void
rows_begin(EventRows *rows, Relation relation)
{
	MemoryContext caller = MemoryContextSwitchTo(rows->each);
	char op = rows->event->op;
	const char *hidden = log_hidden(rows->event);
	uint32 shape = 0;
	int natts;

	rows->form = rows_find_form(rows, relation);
	natts = rows->form->desc->natts;
	rows->has_old = op == OPERATION_UPDATE || op == OPERATION_DELETE;
	rows->has_new = op == OPERATION_INSERT || op == OPERATION_UPDATE;
	rows->old = palloc0(Max(natts, 1) * sizeof(RowsValue));
	rows->new = palloc0(Max(natts, 1) * sizeof(RowsValue));
	rows->read = palloc0(Max(natts, 1) * sizeof(bool));
	(void) rows_empty_slot(rows->form->old);
	(void) rows_empty_slot(rows->form->new);
	if (rows->event->hidden_length >= sizeof(shape))
		memcpy(&shape, hidden, sizeof(shape));
	if (shape != 0)
		rows->layout = rows_find_layout(rows->form, shape);
	if (rows->layout != NULL)
	{
		rows_split(rows);
		rows_note_visible(rows, ROWS_KEY, rows->has_new ? rows->new : rows->old);
		rows_note_visible(rows, ROWS_NEW, rows->new);
		rows_note_visible(rows, ROWS_OLD, rows->old);
		rows_note_hidden(rows, hidden);
	}
	MemoryContextSwitchTo(caller);
}

/* Set a slot's column to a value. Returns false if the value cannot be known. */
static bool
rows_read_value(EventRows *rows, TupleTableSlot *slot, AttrNumber attnum, const RowsValue *value)
{
	JsonReader *reader = rows_reader(rows->form, attnum);
	Datum *datum = &slot->tts_values[attnum - 1];

	if (reader == NULL)
		return false;
	switch (value->form)
	{
		case LOG_HIDDEN_NULL:
			return true;
		case LOG_HIDDEN_JSON:
			if (!json_read(reader, value->part.text, value->part.length, datum))
				return false;
			break;
		case LOG_HIDDEN_TEXT:
			if (!json_read_exact(reader, value->part.text, value->part.length, datum))
				return false;
			break;
		default:
			return false;
	}
	slot->tts_isnull[attnum - 1] = false;
	return true;
}

static bool
rows_equal(const RowsValue *a, const RowsValue *b)
{
	return a->form == b->form && a->part.length == b->part.length &&
		   (a->part.length == 0 || memcmp(a->part.text, b->part.text, a->part.length) == 0);
}

/* Whether a value of the first type has the same text as the same value of the second one. */
static bool
rows_text_serves(Oid was, Oid type)
{
	static const Oid integers[] = {INT2OID, INT4OID, INT8OID, NUMERICOID};
	int from = 0;
	int to = 0;

	if (was == TEXTOID || was == VARCHAROID)
		return type == TEXTOID || type == VARCHAROID;
	while (from < (int) lengthof(integers) && integers[from] != was)
		from++;
	while (to < (int) lengthof(integers) && integers[to] != type)
		to++;
	return from < to && to < (int) lengthof(integers);
}

/* Read a column of both rows. */
static bool
rows_read_column(EventRows *rows, AttrNumber attnum, const char **reason)
{
	RowsForm *form = rows->form;
	RowsValue *old = &rows->old[attnum - 1];
	RowsValue *new = &rows->new[attnum - 1];
	Form_pg_attribute attribute = TupleDescAttr(form->desc, attnum - 1);
	Oid type = rows->layout->types[attnum - 1];

	if (attribute->attisdropped)
		*reason = "a column that is needed has been dropped";
	else if (!OidIsValid(type))
		*reason = "a column that is needed was added later";
	else if (type != attribute->atttypid && !rows_text_serves(type, attribute->atttypid))
		*reason = "a column that is needed has another type now";
	else if ((rows->has_new && new->form == 0) ||
			 (rows->has_old && !rows->has_new && old->form == 0))
		*reason = "a column that is needed was not captured";
	else
		*reason = NULL;
	if (*reason != NULL)
		return false;

	*reason = "a value that is needed cannot be read";
	if (rows->has_new && !rows_read_value(rows, form->new, attnum, new))
		return false;
	if (rows->has_old && rows->has_new && (old->form == 0 || rows_equal(old, new)))
	{
		/* An UPDATE has not changed it. */
		form->old->tts_values[attnum - 1] = form->new->tts_values[attnum - 1];
		form->old->tts_isnull[attnum - 1] = form->new->tts_isnull[attnum - 1];
	}
	else if (rows->has_old && !rows_read_value(rows, form->old, attnum, old))
		return false;
	rows->read[attnum - 1] = true;
	return true;
}

/* Read columns from first to last. Dropped ones are left out if there are several. */
static bool
rows_read_columns(EventRows *rows, AttrNumber first, AttrNumber last, const char **reason)
{
	for (AttrNumber attnum = first; attnum <= last; attnum++)
	{
		if (rows->read[attnum - 1] ||
			(last > first && TupleDescAttr(rows->form->desc, attnum - 1)->attisdropped))
			continue;
		if (!rows_read_column(rows, attnum, reason))
			return false;
	}
	return true;
}

bool
event_rows_read(EventRows *rows, Relation relation, const Bitmapset *columns, const char **reason)
{
	MemoryContext caller;
	int member = -1;
	bool read = true;

	if (rows->form == NULL)
		rows_begin(rows, relation);
	Assert(rows->form->relation == RelationGetRelid(relation));
	if (!rows->has_old && !rows->has_new)
		return true;
	caller = MemoryContextSwitchTo(rows->each);
	while (read && (member = bms_next_member(columns, member)) >= 0)
	{
		AttrNumber attnum = (AttrNumber) (member + FirstLowInvalidHeapAttributeNumber);

		if (rows->layout == NULL)
		{
			*reason = "the columns that the table had at that time are not known";
			read = false;
		}
		else if (attnum < 0 || attnum > rows->form->desc->natts)
		{
			*reason = "a system column is needed";
			read = false;
		}
		else if (attnum == 0)
			read = rows_read_columns(rows, 1, (AttrNumber) rows->form->desc->natts, reason);
		else
			read = rows_read_columns(rows, attnum, attnum, reason);
	}
	MemoryContextSwitchTo(caller);
	return read;
}

TupleTableSlot *
event_rows_old(EventRows *rows)
{
	return rows->form != NULL && rows->has_old ? rows->form->old : NULL;
}

TupleTableSlot *
event_rows_new(EventRows *rows)
{
	return rows->form != NULL && rows->has_new ? rows->form->new : NULL;
}

/* ---------------- context and payload ---------------- */

static bool
rows_read_member(EventRows *rows, enum RowsMember member, Datum *value)
{
	MemoryContext caller = MemoryContextSwitchTo(rows->each);
	bool read;

	rows_split(rows);
	read = rows->members[member].text != NULL &&
		   json_read_jsonb(rows->members[member].text, rows->members[member].length, value);
	MemoryContextSwitchTo(caller);
	return read;
}

bool
event_rows_context(EventRows *rows, Datum *context)
{
	return rows_read_member(rows, ROWS_CONTEXT, context);
}

bool
event_rows_payload(EventRows *rows, Datum *payload)
{
	return rows_read_member(rows, ROWS_PAYLOAD, payload);
}
