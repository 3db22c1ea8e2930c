/*-------------------------------------------------------------------------
 *
 * watch_carry.c
 *	  Stores the definition of a watch in the arguments of its triggers.
 *
 * pg_dump dumps triggers with the definitions of their tables, but the rows of notifyd.watch with
 * the data. After a schema-only restore, or one by a role that may not write to our tables, there
 * are triggers without rows. So the arguments of a trigger are the id of its watch and a copy of
 * the row. If CREATE TRIGGER creates a trigger whose watch does not exist, watch_adopt_trigger()
 * creates the watch from the arguments, with a new id. If notify_watch() creates the watch, it
 * takes over the triggers. The rows of such watches need not be dumped, so they cannot conflict
 * with data restored later.
 *
 * The row takes precedence while it exists. The arguments are updated whenever the row or a
 * column's name changes. Triggers of version 1.0 contain only the id until ALTER EXTENSION UPDATE
 * or notify_watch() updates them.
 *
 * A restore parses the condition again, and the SQL text of IS DISTINCT FROM, NULLIF and CASE
 * cannot name an operator's schema: with pg_dump's search_path they may use another operator. So
 * an argument lists the operators that the condition uses. A watch whose trigger uses other
 * operators is broken.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "ext/base/extension.h"
#include "ext/channel/channel_name.h"
#include "ext/watch/watch.h"
#include "ext/watch/watch_shape.h"

PG_FUNCTION_INFO_V1(notifyd_carry_watches);
PG_FUNCTION_INFO_V1(notifyd_watch_carried);

/* The arguments of a trigger that contains its watch. */
enum CarryArgument
{
	CARRY_ID,
	CARRY_CHANNEL,
	CARRY_OPS,
	CARRY_COLS, /* an array of names; empty: not given */
	CARRY_KEY,
	CARRY_UPDATE_OF,
	CARRY_FLAGS,   /* "old_values", "notify", "notify_rows", each followed by a space */
	CARRY_USES,    /* operators of the condition, see watch_condition_uses() */
	CARRY_PAYLOAD, /* the payload function; empty: none */
	CARRY_NARGUMENTS
};

/* ---------------- writing ---------------- */

static char *
carry_columns(const Watch *watch, const WatchColumns *columns)
{
	Datum *names = palloc(Max(columns->n, 1) * sizeof(Datum));
	int n = 0;
	ArrayType *array;
	Oid output;
	bool varlena;

	if (!columns->given)
		return pstrdup("");
	for (int i = 0; i < columns->n; i++)
	{
		char *name = get_attname(watch->relation, columns->attnums[i], true);

		if (name != NULL)
			names[n++] = CStringGetTextDatum(name);
	}
	array = construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT);
	getTypeOutputInfo(TEXTARRAYOID, &output, &varlena);
	return OidOutputFunctionCall(output, PointerGetDatum(array));
}

/* Return a watch as a trigger's arguments are stored: one after the other, each with a NUL. */
static bytea *
carry_arguments(const Watch *watch, const char *uses)
{
	const char *values[CARRY_NARGUMENTS];
	StringInfoData text;
	bytea *result;

	values[CARRY_ID] = psprintf(INT64_FORMAT, watch->id);
	values[CARRY_CHANNEL] = watch->channel;
	values[CARRY_OPS] = watch_ops_text(watch->ops);
	values[CARRY_COLS] = carry_columns(watch, &watch->cols);
	values[CARRY_KEY] = carry_columns(watch, &watch->key);
	values[CARRY_UPDATE_OF] = carry_columns(watch, &watch->update_of);
	values[CARRY_FLAGS] =
		psprintf("%s%s%s", watch->old_values ? "old_values " : "", watch->notify ? "notify " : "",
				 watch->notify_rows ? "notify_rows " : "");
	values[CARRY_USES] = uses;
	values[CARRY_PAYLOAD] = watch->payload != NULL ? watch->payload : "";
	initStringInfo(&text);
	for (int i = 0; i < CARRY_NARGUMENTS; i++)
		appendBinaryStringInfo(&text, values[i], (int) strlen(values[i]) + 1);
	result = palloc(VARHDRSZ + text.len);
	SET_VARSIZE(result, VARHDRSZ + text.len);
	memcpy(VARDATA(result), text.data, text.len);
	return result;
}

/* Set a trigger's arguments, unless it has them already. */
static void
carry_set_arguments(Oid trigger, bytea *arguments)
{
	Relation table = table_open(TriggerRelationId, RowExclusiveLock);
	HeapTuple tuple = watch_trigger_tuple(table, trigger);
	bool isnull;
	Datum old = HeapTupleIsValid(tuple)
					? heap_getattr(tuple, Anum_pg_trigger_tgargs, RelationGetDescr(table), &isnull)
					: (Datum) 0;

	if (HeapTupleIsValid(tuple) &&
		(isnull || !DatumGetBool(DirectFunctionCall2(byteaeq, old, PointerGetDatum(arguments)))))
	{
		Datum values[Natts_pg_trigger] = {0};
		bool nulls[Natts_pg_trigger] = {false};
		bool replace[Natts_pg_trigger] = {false};

		values[Anum_pg_trigger_tgargs - 1] = PointerGetDatum(arguments);
		values[Anum_pg_trigger_tgnargs - 1] = Int16GetDatum(CARRY_NARGUMENTS);
		replace[Anum_pg_trigger_tgargs - 1] = replace[Anum_pg_trigger_tgnargs - 1] = true;
		watch_update_trigger(
			table, heap_modify_tuple(tuple, RelationGetDescr(table), values, nulls, replace));
	}
	table_close(table, NoLock);
}

/*
 * The same for a trigger of a partitioned table and for its partitions' triggers. If enable is
 * true, make them ENABLE ALWAYS too.
 */
static void
carry_set_all(Oid relation, Oid trigger, bytea *arguments, bool enable)
{
	ListCell *child;

	carry_set_arguments(trigger, arguments);
	if (enable)
		watch_enable_trigger(trigger);
	if (get_rel_relkind(relation) != RELKIND_PARTITIONED_TABLE)
		return;
	foreach (child, find_inheritance_children(relation, NoLock))
	{
		ListCell *cell;

		foreach (cell, watch_triggers_of(lfirst_oid(child)))
		{
			WatchTrigger *clone = lfirst(cell);

			if (clone->parent == trigger)
				carry_set_all(lfirst_oid(child), clone->oid, arguments, enable);
		}
	}
}

/* ---------------- reading ---------------- */

/* Return an argument of a trigger, which must have that many. */
static const char *
carry_argument(const WatchTrigger *trigger, int n)
{
	const char *at = trigger->args;

	while (n-- > 0)
		at += strlen(at) + 1;
	return at;
}

static void
carry_read_columns(WatchColumns *columns, const WatchTrigger *trigger, int argument, Oid relation)
{
	const char *list = carry_argument(trigger, argument);
	Oid input;
	Oid parameter;
	Datum *names;
	bool *nulls;
	int n;

	if (list[0] == '\0')
		return;
	getTypeInputInfo(TEXTARRAYOID, &input, &parameter);
	deconstruct_array(
		DatumGetArrayTypeP(OidInputFunctionCall(input, unconstify(char *, list), parameter, -1)),
		TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &n);
	columns->given = true;
	columns->attnums = palloc(Max(n, 1) * sizeof(AttrNumber));
	for (int i = 0; i < n; i++)
	{
		char *name = nulls[i] ? "" : TextDatumGetCString(names[i]);
		AttrNumber attnum = get_attnum(relation, name);

		if (attnum <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of relation \"%s\" does not exist", name,
							get_rel_name(relation)),
					 errdetail("A trigger of %s.%s() names it.", EXTENSION_SCHEMA, "capture")));
		columns->attnums[columns->n++] = attnum;
	}
}

/* Return the watch that a trigger of this table contains, with id 0. */
static Watch *
carry_read(const WatchTrigger *trigger, Oid relation)
{
	Watch *watch = palloc0(sizeof(Watch));
	const char *flags = carry_argument(trigger, CARRY_FLAGS);
	const char *payload = carry_argument(trigger, CARRY_PAYLOAD);

	watch->relation = relation;
	watch->channel = pstrdup(carry_argument(trigger, CARRY_CHANNEL));
	channel_check_name(watch->channel, NULL);
	watch->ops = watch_read_ops(carry_argument(trigger, CARRY_OPS));
	carry_read_columns(&watch->cols, trigger, CARRY_COLS, relation);
	carry_read_columns(&watch->key, trigger, CARRY_KEY, relation);
	carry_read_columns(&watch->update_of, trigger, CARRY_UPDATE_OF, relation);
	watch->old_values = strstr(flags, "old_values ") != NULL;
	watch->notify = strstr(flags, "notify ") != NULL;
	watch->notify_rows = strstr(flags, "notify_rows ") != NULL;
	watch->condition = watch_condition_text(relation, trigger->oid);
	if (payload[0] != '\0')
		watch->payload = watch_read_payload(payload, relation);
	return watch;
}

/*
 * Return true if a trigger's watch exists. The watch of a partition's trigger may be of an
 * ancestor.
 */
static bool
carry_has_watch(const WatchTrigger *trigger, Oid relation)
{
	Watch *watch = trigger->id > 0 ? watch_find(trigger->id) : NULL;

	return OidIsValid(trigger->parent) ||
		   (watch != NULL && watch->relation == relation && watch_trigger_is_of(trigger, watch));
}

bool
watch_trigger_is_of(const WatchTrigger *trigger, const Watch *watch)
{
	return trigger->id == watch->id &&
		   (trigger->nargs != CARRY_NARGUMENTS ||
			strcmp(carry_argument(trigger, CARRY_CHANNEL), watch->channel) == 0);
}

/* Return the arguments of a trigger with another id. */
static bytea *
carry_replace_id(const WatchTrigger *trigger, int64 id)
{
	const char *rest = carry_argument(trigger, 1);
	const char *end = carry_argument(trigger, trigger->nargs);
	char *number = psprintf(INT64_FORMAT, id);
	Size length = strlen(number) + 1;
	bytea *result = palloc(VARHDRSZ + length + (end - rest));

	SET_VARSIZE(result, VARHDRSZ + length + (end - rest));
	memcpy(VARDATA(result), number, length);
	memcpy(VARDATA(result) + length, rest, end - rest);
	return result;
}

void
watch_adopt_trigger(Oid relation, Oid oid)
{
	ListCell *cell;

	foreach (cell, watch_triggers_of(relation))
	{
		WatchTrigger *trigger = lfirst(cell);
		Watch *watch;
		WatchTriggers have;
		Oid mine;

		if (trigger->oid != oid || trigger->nargs != CARRY_NARGUMENTS)
			continue;
		watch = watch_find_channel(relation, carry_argument(trigger, CARRY_CHANNEL));

		/* Check what notify_watch() checks. */
		watch_check_relation(relation);
		if (watch == NULL)
		{
			watch_join_channel(carry_argument(trigger, CARRY_CHANNEL));
			watch = carry_read(trigger, relation);
			watch_insert(watch);
		}
		have = watch_find_triggers(watch);
		mine = trigger->row ? have.row : have.truncate;
		if (OidIsValid(mine) && mine != trigger->oid)
			ereport(
				ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("the watch of table \"%s\" on channel \"%s\" already has such a trigger",
						get_rel_name(relation), watch->channel)));

		/*
		 * Keep the arguments except the id, also the operators that the condition must use. Make
		 * the trigger ENABLE ALWAYS now: when the dump does so later, that must not look like the
		 * end of a time in which changes were missed.
		 */
		carry_set_all(relation, trigger->oid, carry_replace_id(trigger, watch->id), true);
		return;
	}
}

void
watch_adopt_orphans(const Watch *watch)
{
	WatchTriggers have = watch_find_triggers(watch);
	bytea *arguments = carry_arguments(watch, "");
	ListCell *cell;

	foreach (cell, watch_triggers_of(watch->relation))
	{
		WatchTrigger *trigger = lfirst(cell);
		Oid *mine = trigger->row ? &have.row : &have.truncate;

		if (OidIsValid(*mine) || carry_has_watch(trigger, watch->relation) ||
			(trigger->nargs == CARRY_NARGUMENTS &&
			 strcmp(carry_argument(trigger, CARRY_CHANNEL), watch->channel) != 0))
			continue;
		carry_set_all(watch->relation, trigger->oid, arguments, false);
		*mine = trigger->oid;
	}
}

/* ---------------- keeping ---------------- */

/*
 * Return the operators that a condition must use, from the watch's row trigger, or NULL if it does
 * not list them.
 */
static const char *
carry_uses(const Watch *watch)
{
	ListCell *cell;

	foreach (cell, watch_triggers_of(watch->relation))
	{
		WatchTrigger *trigger = lfirst(cell);

		if (watch_trigger_is_of(trigger, watch) && trigger->row &&
			trigger->nargs == CARRY_NARGUMENTS)
			return carry_argument(trigger, CARRY_USES);
	}
	return NULL;
}

bool
watch_condition_is_other(const Watch *watch)
{
	const char *uses = carry_uses(watch);

	return uses != NULL && strcmp(uses, watch_condition_uses(watch_find_triggers(watch).row)) != 0;
}

/*
 * A trigger that lists operators keeps its list; otherwise the use of other operators could no
 * longer be noticed.
 */
void
watch_carry(const Watch *watch)
{
	WatchTriggers triggers = watch_find_triggers(watch);
	const char *uses = carry_uses(watch);
	bytea *arguments =
		carry_arguments(watch, uses != NULL ? uses : watch_condition_uses(triggers.row));

	if (OidIsValid(triggers.row))
		carry_set_all(watch->relation, triggers.row, arguments, false);
	if (OidIsValid(triggers.truncate))
		carry_set_all(watch->relation, triggers.truncate, arguments, false);
}

bool
watch_is_carried(const Watch *watch)
{
	ListCell *cell;

	if (!watch_triggers_complete(watch, watch_find_triggers(watch)))
		return false;
	foreach (cell, watch_triggers_of(watch->relation))
	{
		WatchTrigger *trigger = lfirst(cell);

		if (watch_trigger_is_of(trigger, watch) && trigger->nargs != CARRY_NARGUMENTS)
			return false;
	}
	return true;
}

/*
 * notifyd.watch_carried(id bigint) -> boolean
 *
 * Returns true if the triggers of a watch contain it. pg_dump then need not dump the row.
 */
Datum
notifyd_watch_carried(PG_FUNCTION_ARGS)
{
	Watch *watch = watch_find(PG_GETARG_INT64(0));

	PG_RETURN_BOOL(watch != NULL && watch_is_carried(watch));
}

/*
 * notifyd.carry_watches() -> void
 *
 * For the update from version 1.0, whose triggers contain only the id: store all watches in their
 * triggers, and the shapes of their tables. The caller has locked the tables.
 */
Datum
notifyd_carry_watches(FunctionCallInfo fcinfo pg_attribute_unused())
{
	ListCell *cell;

	foreach (cell, watch_list_all())
	{
		Watch *watch = lfirst(cell);

		watch_carry(watch);
		watch_note_shape(watch->relation);
	}
	PG_RETURN_VOID();
}
