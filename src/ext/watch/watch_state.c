/*-------------------------------------------------------------------------
 *
 * watch_state.c
 *	  Finds out from its triggers whether a watch captures all changes.
 *
 * The triggers are created as ENABLE ALWAYS. ALTER TABLE ... DISABLE TRIGGER USER disables them
 * too, and after ENABLE TRIGGER USER they do not fire for changes that a logical subscription
 * applies. Each partition has triggers of its own, and ALTER TABLE can change each of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "ext/watch/watch.h"

PG_FUNCTION_INFO_V1(notifyd_watch_state);

/* Read a trigger's arguments. The first one is the id of its watch. */
static void
watch_read_trigger_arguments(WatchTrigger *trigger, HeapTuple tuple, TupleDesc desc)
{
	bool isnull;
	Datum args = heap_getattr(tuple, Anum_pg_trigger_tgargs, desc, &isnull);
	char *end;

	trigger->nargs = isnull ? 0 : ((Form_pg_trigger) GETSTRUCT(tuple))->tgnargs;
	if (trigger->nargs < 1)
		return;
	trigger->args = VARDATA(DatumGetByteaPCopy(args));
	trigger->id = strtoi64(trigger->args, &end, 10);
	if (*end != '\0')
		trigger->id = 0;
}

List *
watch_triggers_of(Oid relation)
{
	Oid function = watch_capture_function(true);
	List *triggers = NIL;
	Relation table;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	if (!OidIsValid(function))
		return NIL;
	table = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	scan = systable_beginscan(table, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);
		WatchTrigger *trigger;

		if (form->tgfoid != function)
			continue;
		trigger = palloc0(sizeof(WatchTrigger));
		trigger->oid = form->oid;
		trigger->parent = form->tgparentid;
		watch_read_trigger_arguments(trigger, tuple, RelationGetDescr(table));
		trigger->enabled = form->tgenabled;
		trigger->row = TRIGGER_FOR_ROW(form->tgtype);
		triggers = lappend(triggers, trigger);
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return triggers;
}

void
watch_enable_trigger(Oid trigger)
{
	Relation table = table_open(TriggerRelationId, RowExclusiveLock);
	HeapTuple tuple = watch_trigger_tuple(table, trigger);

	if (HeapTupleIsValid(tuple))
	{
		((Form_pg_trigger) GETSTRUCT(tuple))->tgenabled = TRIGGER_FIRES_ALWAYS;
		watch_update_trigger(table, tuple);
	}
	table_close(table, NoLock);
}

/* Return the watched table and, if it is partitioned, its partitions of all levels. */
static List *
watch_tables(const Watch *watch, LOCKMODE lockmode)
{
	if (get_rel_relkind(watch->relation) != RELKIND_PARTITIONED_TABLE)
		return list_make1_oid(watch->relation);
	return find_all_inheritors(watch->relation, lockmode, NULL);
}

void
watch_enable_triggers(const Watch *watch)
{
	ListCell *table;

	foreach (table, watch_tables(watch, ShareRowExclusiveLock))
	{
		ListCell *cell;

		foreach (cell, watch_triggers_of(lfirst_oid(table)))
		{
			WatchTrigger *trigger = lfirst(cell);

			if (watch_trigger_is_of(trigger, watch) && trigger->enabled != TRIGGER_FIRES_ALWAYS)
				watch_enable_trigger(trigger->oid);
		}
	}
}

static WatchState
watch_state_of_enabled(char enabled)
{
	switch (enabled)
	{
		case TRIGGER_FIRES_ALWAYS:
			return WATCH_ACTIVE;
		case TRIGGER_FIRES_ON_ORIGIN:
			return WATCH_ORIGIN_ONLY;
		case TRIGGER_FIRES_ON_REPLICA:
			return WATCH_REPLICA_ONLY;
		default:
			return WATCH_DISABLED;
	}
}

WatchState
watch_state(const Watch *watch)
{
	WatchState state = watch_has_key(watch) ? WATCH_ACTIVE : WATCH_NO_KEY;
	ListCell *table;

	if (!watch_triggers_complete(watch, watch_find_triggers(watch)))
		return WATCH_MISSING;
	if (watch_condition_is_other(watch))
		return WATCH_BROKEN;
	foreach (table, watch_tables(watch, NoLock))
	{
		ListCell *cell;

		foreach (cell, watch_triggers_of(lfirst_oid(table)))
		{
			WatchTrigger *trigger = lfirst(cell);

			if (watch_trigger_is_of(trigger, watch))
				state = Max(state, watch_state_of_enabled(trigger->enabled));
		}
	}
	return state;
}

const char *
watch_state_name(WatchState state)
{
	switch (state)
	{
		case WATCH_ACTIVE:
			return "active";
		case WATCH_NO_KEY:
			return "no key";
		case WATCH_ORIGIN_ONLY:
			return "origin only";
		case WATCH_REPLICA_ONLY:
			return "replica only";
		case WATCH_DISABLED:
			return "disabled";
		case WATCH_BROKEN:
			return "broken condition";
		case WATCH_MISSING:
			return "missing trigger";
	}
	return "unknown";
}

/*
 * notifyd.watch_state(id bigint) -> text
 *
 * For the view notifyd.watches. Shows no more than pg_trigger, which everybody may read. Returns
 * NULL if the watch does not exist.
 */
Datum
notifyd_watch_state(PG_FUNCTION_ARGS)
{
	Watch *watch = watch_find(PG_GETARG_INT64(0));

	if (watch == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(watch_state_name(watch_state(watch))));
}
