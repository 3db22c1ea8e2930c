/*-------------------------------------------------------------------------
 *
 * watch_trigger.c
 *	  The triggers of a watch.
 *
 * A watch has a row trigger if it has any of INSERT, UPDATE and DELETE, and a statement trigger if
 * it has TRUNCATE. They are ordinary triggers, so pg_dump dumps them and partitions get them; their
 * first argument is the id of the watch. They are ENABLE ALWAYS, because changes by a logical
 * replication worker are committed changes too. They depend on the extension (like after ALTER
 * TRIGGER ... DEPENDS ON EXTENSION), so DROP EXTENSION drops them.
 *
 * They do not depend on the columns that the watch names, because such a dependency would also
 * forbid changing a column's type. watch_drop.c handles dropped columns.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "ext/base/operation.h"
#include "ext/base/extension.h"
#include "ext/base/compat.h"
#include "ext/watch/watch.h"

HeapTuple
watch_trigger_tuple(Relation table, Oid trigger)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(trigger));
	scan = systable_beginscan(table, TriggerOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);

	/* Copy the row while the scan has a snapshot, which reading toasted values may need. */
	if (HeapTupleIsValid(tuple))
		tuple = HeapTupleHasExternal(tuple) ? toast_flatten_tuple(tuple, RelationGetDescr(table))
											: heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

void
watch_update_trigger(Relation table, HeapTuple tuple)
{
	CatalogTupleUpdate(table, &tuple->t_self, tuple);
	CacheInvalidateRelcacheByRelid(((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid);
	CommandCounterIncrement();
}

WatchTriggers
watch_find_triggers(const Watch *watch)
{
	WatchTriggers found = {InvalidOid, InvalidOid};
	ListCell *cell;

	foreach (cell, watch_triggers_of(watch->relation))
	{
		WatchTrigger *trigger = lfirst(cell);

		if (!watch_trigger_is_of(trigger, watch))
			continue;
		if (trigger->row)
			found.row = trigger->oid;
		else
			found.truncate = trigger->oid;
	}
	return found;
}

bool
watch_triggers_complete(const Watch *watch, WatchTriggers triggers)
{
	return OidIsValid(triggers.row) == ((watch->ops & OPERATION_ROW_BITS) != 0) &&
		   OidIsValid(triggers.truncate) == ((watch->ops & WIRE_OP_TRUNCATE) != 0);
}

/*
 * Return the events for the row trigger. A row that moves between partitions is deleted from one
 * and inserted into another; capture makes one UPDATE of them, so on a partitioned table it must
 * see both. With a condition it cannot, because the condition of a trigger for INSERT and DELETE
 * can use neither OLD nor NEW.
 */
static int16
watch_row_events(const Watch *watch)
{
	int16 events = 0;
	int ops = watch->ops & OPERATION_ROW_BITS;

	if (ops != 0 && watch->condition == NULL &&
		get_rel_relkind(watch->relation) == RELKIND_PARTITIONED_TABLE)
		ops |= WIRE_OP_INSERT | WIRE_OP_DELETE;
	if (ops & WIRE_OP_INSERT)
		events |= TRIGGER_TYPE_INSERT;
	if (ops & WIRE_OP_UPDATE)
		events |= TRIGGER_TYPE_UPDATE;
	if (ops & WIRE_OP_DELETE)
		events |= TRIGGER_TYPE_DELETE;
	return events;
}

/* Create a trigger, or replace the one with this name. */
static void
watch_create_trigger(const Watch *watch, const char *name, bool row, int16 events)
{
	CreateTrigStmt *stmt = makeNode(CreateTrigStmt);
	ErrorContextCallback context;
	ObjectAddress trigger;
	ObjectAddress extension;

	stmt->replace = true;
	stmt->trigname = pstrdup(name);
	stmt->funcname =
		list_make2(makeString(pstrdup(EXTENSION_SCHEMA)), makeString(pstrdup("capture")));
	stmt->args = list_make1(makeString(psprintf(INT64_FORMAT, watch->id)));
	stmt->row = row;
	stmt->timing = TRIGGER_TYPE_AFTER;
	stmt->events = events;
	if (row && watch->condition != NULL)
	{
		watch_condition_push(&context, watch->condition);
		stmt->whenClause = watch_parse_condition(watch->condition);
	}
	trigger = compat_create_trigger(stmt, watch->condition, watch->relation,
									watch_capture_function(false));
	if (stmt->whenClause != NULL)
		error_context_stack = context.previous;

	ObjectAddressSet(extension, ExtensionRelationId, extension_oid(false));
	recordDependencyOn(&trigger, &extension, DEPENDENCY_AUTO_EXTENSION);
	CommandCounterIncrement();
}

/*
 * Choose a name for a new trigger. A restored trigger of another watch may have the first choice.
 */
static char *
watch_free_name(const Watch *watch, const char *suffix)
{
	char *name = psprintf("notifyd_" INT64_FORMAT "_%s", watch->id, suffix);

	for (int i = 1; OidIsValid(get_trigger_oid(watch->relation, name, true)); i++)
		name = psprintf("notifyd_" INT64_FORMAT "_%s_%d", watch->id, suffix, i);
	return name;
}

/* Return the present name of a trigger, or a name for a new one. */
static char *
watch_trigger_name(const Watch *watch, Oid trigger, const char *suffix)
{
	Relation table = table_open(TriggerRelationId, AccessShareLock);
	HeapTuple tuple = watch_trigger_tuple(table, trigger);
	char *name = HeapTupleIsValid(tuple)
					 ? pstrdup(NameStr(((Form_pg_trigger) GETSTRUCT(tuple))->tgname))
					 : watch_free_name(watch, suffix);

	table_close(table, AccessShareLock);
	return name;
}

void
watch_create_triggers(const Watch *watch)
{
	WatchTriggers have = watch_find_triggers(watch);
	WatchTriggers superfluous = {InvalidOid, InvalidOid};
	int16 events = watch_row_events(watch);

	if (events != 0)
		watch_create_trigger(watch, watch_trigger_name(watch, have.row, "row"), true, events);
	else
		superfluous.row = have.row;
	if (watch->ops & WIRE_OP_TRUNCATE)
		watch_create_trigger(watch, watch_trigger_name(watch, have.truncate, "truncate"), false,
							 TRIGGER_TYPE_TRUNCATE);
	else
		superfluous.truncate = have.truncate;
	watch_drop_triggers(superfluous);
}

static void
watch_drop_trigger(Oid trigger)
{
	ObjectAddress address;

	if (!OidIsValid(trigger))
		return;
	ObjectAddressSet(address, TriggerRelationId, trigger);

	/*
	 * Internal, so that event triggers do not see it: ours would treat it as DROP TRIGGER by a
	 * user.
	 */
	performDeletion(&address, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	CommandCounterIncrement();
}

void
watch_drop_triggers(WatchTriggers triggers)
{
	watch_drop_trigger(triggers.row);
	watch_drop_trigger(triggers.truncate);
}
