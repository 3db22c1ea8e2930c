/*-------------------------------------------------------------------------
 *
 * watch_drop.c
 *	  The event trigger for sql_drop, which adjusts watches to dropped objects.
 *
 *	  a table			removes its watches
 *	  a column			that a watch names: an error unless CASCADE is given; then removes it from the
 *						watch. The last column of the key, named or primary, removes the watch
 *	  a function		that makes payloads: an error unless CASCADE is given; then removes the watch
 *	  a type			of a channel's messages: an error unless CASCADE is given; then takes the
 *						declaration back
 *	  a trigger			of a watch, dropped by hand or with a column in the condition: removes the watch
 *
 * It runs with the privileges of the role that drops something, in commands that may not concern
 * watches. So it only looks through the list of dropped objects unless one concerns a watch.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "ext/channel/channel_type.h"
#include "ext/watch/watch.h"

PG_FUNCTION_INFO_V1(notifyd_on_drop);

/* A table, column, constraint, trigger, function or type that was dropped. */
typedef struct DroppedObject
{
	Oid class_id;
	Oid object_id;
	int32 column; /* 0: not a column */
	int nnames;
	Datum *names; /* text: schema, table, and column, constraint or trigger */
} DroppedObject;

/* Return the dropped objects that may concern a watch, allocated in the current memory context. */
static List *
watch_dropped_objects(void)
{
	MemoryContext context = CurrentMemoryContext;
	List *dropped = NIL;

	SPI_connect();
	if (SPI_execute("SELECT classid, objid, objsubid, address_names "
					"FROM pg_catalog.pg_event_trigger_dropped_objects() "
					"WHERE object_type OPERATOR(pg_catalog.=) ANY "
					"(ARRAY['table', 'table column', 'table constraint', 'trigger', "
					"'function', 'type']::pg_catalog.text[])",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the dropped objects");
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		HeapTuple tuple = SPI_tuptable->vals[row];
		TupleDesc desc = SPI_tuptable->tupdesc;
		MemoryContext spi_context = MemoryContextSwitchTo(context);
		DroppedObject *object = palloc0(sizeof(DroppedObject));
		bool isnull;
		Datum names;

		object->class_id = DatumGetObjectId(SPI_getbinval(tuple, desc, 1, &isnull));
		object->object_id = DatumGetObjectId(SPI_getbinval(tuple, desc, 2, &isnull));
		object->column = DatumGetInt32(SPI_getbinval(tuple, desc, 3, &isnull));
		names = SPI_getbinval(tuple, desc, 4, &isnull);
		if (!isnull)
			deconstruct_array(DatumGetArrayTypePCopy(names), TEXTOID, -1, false, TYPALIGN_INT,
							  &object->names, NULL, &object->nnames);
		dropped = lappend(dropped, object);
		MemoryContextSwitchTo(spi_context);
	}
	SPI_finish();
	return dropped;
}

/* Return true if the command drops a column of this name without CASCADE. */
static bool
watch_drop_is_restricted(Node *command, const char *column)
{
	ListCell *cell;

	if (command == NULL || !IsA(command, AlterTableStmt))
		return false;
	foreach (cell, ((AlterTableStmt *) command)->cmds)
	{
		AlterTableCmd *subcommand = lfirst_node(AlterTableCmd, cell);

		if (subcommand->subtype == AT_DropColumn && subcommand->name != NULL &&
			strcmp(subcommand->name, column) == 0)
			return subcommand->behavior == DROP_RESTRICT;
	}
	return false;
}

/* Remove a column from a list. Returns true if the list contained it. */
static bool
watch_remove_column(WatchColumns *columns, AttrNumber attnum)
{
	int kept = 0;

	for (int i = 0; i < columns->n; i++)
	{
		if (columns->attnums[i] != attnum)
			columns->attnums[kept++] = columns->attnums[i];
	}
	if (kept == columns->n)
		return false;
	columns->n = kept;
	return true;
}

/*
 * Return the relation of a dropped column, constraint or trigger, or InvalidOid if it was dropped
 * too.
 */
static Oid
watch_dropped_from(const DroppedObject *object)
{
	Oid schema = object->nnames == 3
					 ? get_namespace_oid(TextDatumGetCString(object->names[0]), true)
					 : InvalidOid;

	return OidIsValid(schema) ? get_relname_relid(TextDatumGetCString(object->names[1]), schema)
							  : InvalidOid;
}

/* Return true if a constraint of this table was dropped. A primary key is one. */
static bool
watch_constraint_dropped(List *dropped, Oid relation)
{
	ListCell *cell;

	foreach (cell, dropped)
	{
		DroppedObject *object = lfirst(cell);

		if (object->class_id == ConstraintRelationId && watch_dropped_from(object) == relation)
			return true;
	}
	return false;
}

/*
 * Remove a dropped column from a watch, and return true if the watch named it. An incomplete key is
 * removed, and the primary key takes its place if there is one. If no column of update_of is left,
 * every UPDATE gives an event: too many events are better than too few. If no column of cols is
 * left, events contain only the key.
 */
static bool
watch_forget_column(Watch *watch, AttrNumber attnum)
{
	bool named = watch_remove_column(&watch->cols, attnum);

	if (watch_remove_column(&watch->key, attnum))
	{
		named = true;
		watch->key.given = watch->key.n > 0 && watch_table_key(watch->relation, true) == NIL;
		if (!watch->key.given)
			watch->key.n = 0;
	}
	if (watch_remove_column(&watch->update_of, attnum))
	{
		named = true;
		watch->update_of.given = watch->update_of.n > 0;
	}
	return named;
}

/* Remove a watch, and report why. */
static void
watch_end(Watch *watch, const char *format)
{
	watch_drop_triggers(watch_find_triggers(watch));
	watch_delete(watch);
	ereport(NOTICE, (errmsg(format, get_rel_name(watch->relation), watch->channel)));
}

static void
watch_column_dropped(Watch *watch, AttrNumber attnum, const char *column, List *dropped,
					 Node *command)
{
	bool had_key = watch->key.given || watch_constraint_dropped(dropped, watch->relation);
	bool named = watch_forget_column(watch, attnum);
	bool keyless = had_key && !watch->key.given && watch_table_key(watch->relation, false) == NIL;

	if (named && watch_drop_is_restricted(command, column))
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop column %s of table %s because a watch uses it", column,
						get_rel_name(watch->relation)),
				 errdetail("The watch on channel \"%s\" depends on the column.", watch->channel),
				 errhint("Use DROP ... CASCADE to remove the column from the watch too, or change "
						 "the watch with notify_watch() first.")));
	if (keyless)
		watch_end(
			watch,
			"the watch of table %s on channel \"%s\" was dropped with the last column of its key");
	else if (named)
	{
		watch_update(watch);
		watch_carry(watch);
		ereport(NOTICE,
				(errmsg("column %s of table %s was removed from the watch on channel \"%s\"",
						column, get_rel_name(watch->relation), watch->channel)));
	}
}

/* A table was dropped with its triggers. */
static void
watch_table_dropped(Watch *watch, const DroppedObject *object)
{
	watch_delete(watch);
	ereport(
		NOTICE,
		(errmsg("the watch of table %s on channel \"%s\" was dropped with the table",
				object->nnames > 0 ? TextDatumGetCString(object->names[object->nnames - 1]) : "",
				watch->channel)));
}

/* A trigger of this table was dropped: remove a watch that lacks one of its triggers now. */
static void
watch_trigger_dropped(Oid relation)
{
	ListCell *cell;

	foreach (cell, watch_list(relation))
	{
		Watch *watch = lfirst(cell);
		WatchTriggers triggers = watch_find_triggers(watch);

		if (!watch_triggers_complete(watch, triggers))
			watch_end(watch,
					  "the watch of table %s on channel \"%s\" was dropped with its trigger");
	}
}

static void
watch_relation_dropped(const DroppedObject *object, List *dropped, Node *command)
{
	ListCell *cell;

	foreach (cell, watch_list(object->object_id))
	{
		Watch *watch = lfirst(cell);

		if (object->column == 0)
			watch_table_dropped(watch, object);
		else if (object->nnames == 3)
			watch_column_dropped(watch, (AttrNumber) object->column,
								 TextDatumGetCString(object->names[2]), dropped, command);
	}
}

/* Return true if the command drops objects, and only those that nothing depends on. */
static bool
watch_is_restricted(Node *command)
{
	if (command == NULL)
		return false;
	if (IsA(command, DropStmt))
		return ((DropStmt *) command)->behavior == DROP_RESTRICT;
	return IsA(command, DropOwnedStmt) && ((DropOwnedStmt *) command)->behavior == DROP_RESTRICT;
}

/* Functions were dropped: remove the watches whose payloads one of them made. */
static void
watch_functions_dropped(Node *command)
{
	ListCell *cell;

	foreach (cell, watch_list_all())
	{
		Watch *watch = lfirst(cell);

		if (watch->payload == NULL || OidIsValid(watch_payload_function(watch)))
			continue;
		if (watch_is_restricted(command))
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("cannot drop function %s because a watch uses it", watch->payload),
					 errdetail("It makes the payloads of the watch of table \"%s\" on channel "
							   "\"%s\".",
							   get_rel_name(watch->relation), watch->channel),
					 errhint("Use DROP ... CASCADE to drop the watch too, or change the watch with "
							 "notify_watch() first.")));
		watch_end(watch, "the watch of table %s on channel \"%s\" was dropped with its payload "
						 "function");
	}
}

/* A type was dropped: take back the declarations of channels with this type. */
static void
watch_type_dropped(const DroppedObject *object, Node *command)
{
	const char *name = object->nnames > 0 ? TextDatumGetCString(object->names[0]) : "";
	ListCell *cell;

	foreach (cell, channel_type_channels(object->object_id))
	{
		const char *channel = lfirst(cell);

		if (watch_is_restricted(command))
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("cannot drop type %s because a channel uses it", name),
					 errdetail("The messages of channel \"%s\" have this type.", channel),
					 errhint("Use DROP ... CASCADE to take the declaration of the channel back "
							 "too, or call notify_channel(%s, NULL) first.",
							 quote_literal_cstr(channel))));
		(void) channel_type_set(channel, InvalidOid);
		ereport(NOTICE,
				(errmsg("the declaration of channel \"%s\" was dropped with its type", channel)));
	}
}

Datum
notifyd_on_drop(PG_FUNCTION_ARGS)
{
	Node *command;
	List *dropped;
	bool functions = false;
	ListCell *cell;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function was not called by the event trigger manager")));
	command = ((EventTriggerData *) fcinfo->context)->parsetree;

	/* Process columns before triggers, because a trigger may have been dropped with a column. */
	dropped = watch_dropped_objects();
	foreach (cell, dropped)
	{
		if (((DroppedObject *) lfirst(cell))->class_id == RelationRelationId)
			watch_relation_dropped(lfirst(cell), dropped, command);
		if (((DroppedObject *) lfirst(cell))->class_id == TypeRelationId)
			watch_type_dropped(lfirst(cell), command);
		functions |= ((DroppedObject *) lfirst(cell))->class_id == ProcedureRelationId;
	}
	if (functions)
		watch_functions_dropped(command);
	foreach (cell, dropped)
	{
		DroppedObject *object = lfirst(cell);
		Oid relation =
			object->class_id == TriggerRelationId ? watch_dropped_from(object) : InvalidOid;

		if (OidIsValid(relation))
			watch_trigger_dropped(relation);
	}
	PG_RETURN_NULL();
}
