/*-------------------------------------------------------------------------
 *
 * watch.c
 *	  notify_watch() and notify_unwatch().
 *
 * Concurrent calls for one table wait for each other with a lock on the watched table, held to the
 * end of the transaction:
 *
 *	- ShareRowExclusiveLock, like CREATE TRIGGER, to create or change triggers;
 *	- ShareUpdateExclusiveLock, which blocks no reader or writer, to change only the row in
 *	  notifyd.watch;
 *	- AccessExclusiveLock, like DROP TRIGGER, to remove triggers.
 *
 * Each of them conflicts with itself and with the others. A call that has nothing to change takes
 * no lock, except AccessShareLock for a moment to read a condition. After it has got a lock, a call
 * reads again what it read before.
 *
 * A call that creates a new watch also takes the channel's lock (watch_join.c). While another
 * session holds that lock, the call does not hold the table's lock, because writers would wait for
 * it. And it does not hold the channel's lock while it waits for the table's, because the session
 * that holds the table's lock may be about to watch the table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/policy.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "ext/base/operation.h"
#include "ext/base/extension.h"
#include "ext/log/log.h"
#include "ext/launcher/launcher_slots.h"
#include "ext/base/shared.h"
#include "ext/watch/watch.h"

PG_FUNCTION_INFO_V1(notify_watch);
PG_FUNCTION_INFO_V1(notify_unwatch);

static bool
watch_columns_equal(const WatchColumns *a, const WatchColumns *b)
{
	return a->given == b->given && a->n == b->n &&
		   (a->n == 0 || memcmp(a->attnums, b->attnums, a->n * sizeof(AttrNumber)) == 0);
}

/* Return true if two watches of one table and channel are equal, apart from the condition. */
static bool
watch_equal(const Watch *a, const Watch *b)
{
	return a->ops == b->ops && watch_columns_equal(&a->cols, &b->cols) &&
		   watch_columns_equal(&a->key, &b->key) &&
		   watch_columns_equal(&a->update_of, &b->update_of) && a->old_values == b->old_values &&
		   a->notify == b->notify && a->notify_rows == b->notify_rows &&
		   strcmp(a->payload ? a->payload : "", b->payload ? b->payload : "") == 0;
}

static bool
watch_captures_all(const Watch *watch)
{
	return watch_state(watch) <= WATCH_NO_KEY;
}

/*
 * Return the table lock needed to change the existing watch (NULL: none) into the wanted one, or
 * NoLock if they are equal.
 */
static LOCKMODE
watch_lock_needed(const Watch *have, const Watch *want)
{
	WatchTriggers triggers;

	if (have == NULL)
		return ShareRowExclusiveLock;
	triggers = watch_find_triggers(have);
	if ((OidIsValid(triggers.row) && !(want->ops & OPERATION_ROW_BITS)) ||
		(OidIsValid(triggers.truncate) && !(want->ops & WIRE_OP_TRUNCATE)))
		return AccessExclusiveLock;
	if (have->ops != want->ops ||
		!watch_condition_is(want->relation, triggers.row, want->condition) ||
		!watch_captures_all(have))
		return ShareRowExclusiveLock;
	return watch_equal(have, want) && watch_is_carried(have) ? NoLock : ShareUpdateExclusiveLock;
}

/*
 * Get the locks: look up the existing watch until the table lock that the change needs is held and,
 * for a new watch, the channel's lock. Sets *have, and returns the table lock that is needed.
 * Raises the error of watch_check_join().
 */
static LOCKMODE
watch_lock(const Watch *want, Watch **have)
{
	LOCKMODE held = NoLock;
	LOCKMODE needed;

	for (;;)
	{
		*have = watch_find_channel(want->relation, want->channel);
		needed = watch_lock_needed(*have, want);
		if (needed <= held)
		{
			if (*have != NULL || watch_try_channel(want->channel))
				break;
			UnlockRelationOid(want->relation, held);
			held = NoLock;
			watch_await_channel(want->channel);
			continue;
		}
		LockRelationOid(want->relation, needed);
		held = needed;

		/* The table may have been dropped, or have a new owner. */
		watch_check_relation(want->relation);
	}
	if (*have == NULL)
		watch_check_join(want->channel);
	return needed;
}

static void
watch_warn_of_children(const Watch *watch)
{
	if (get_rel_relkind(watch->relation) == RELKIND_RELATION && has_subclass(watch->relation) &&
		find_inheritance_children(watch->relation, NoLock) != NIL)
		ereport(NOTICE, (errmsg("rows of the tables that inherit from \"%s\" are not watched",
								get_rel_name(watch->relation)),
						 errhint("Watch each of these tables. They can share a channel.")));
}

/* Report what the owner of a table with policies may not expect. */
static void
watch_warn_of_policies(const Watch *watch)
{
	Relation relation = table_open(watch->relation, AccessShareLock);

	if (!relation->rd_rel->relrowsecurity && relation_has_policies(relation))
		ereport(NOTICE,
				(errmsg("table \"%s\" has policies, but row-level security is not enabled",
						RelationGetRelationName(relation)),
				 errhint("Subscribers get all rows until you use ALTER TABLE ... ENABLE ROW "
						 "LEVEL SECURITY.")));
	if (relation->rd_rel->relrowsecurity && watch->notify_rows)
		ereport(
			WARNING,
			(errmsg("row-level security of table \"%s\" does not apply to NOTIFY",
					RelationGetRelationName(relation)),
			 errdetail("With notify_rows, every role that can connect to the database can LISTEN "
					   "to all rows.")));
	table_close(relation, AccessShareLock);
}

/*
 * Create the triggers of a watch, or change the triggers of the existing watch (NULL: none). If
 * these did not capture everything, the subscribers get a reset.
 */
static void
watch_make_triggers(const Watch *want, const Watch *have)
{
	bool captured = have == NULL || watch_captures_all(have);

	if (have == NULL)
		watch_adopt_orphans(want);
	watch_create_triggers(want);
	watch_enable_triggers(want);
	if (!captured)
		watch_reset(want, WATCH_RESET_CAPTURED_AGAIN);
}

Datum
notify_watch(PG_FUNCTION_ARGS)
{
	Watch *want;
	Watch *have;
	LOCKMODE needed;

	PreventCommandIfReadOnly("notify_watch()");
	shared_require();
	slots_warn_missing();
	extension_require_version();
	want = watch_from_arguments(fcinfo);
	needed = watch_lock(want, &have);
	if (have != NULL)
		want->id = have->id;
	if (needed == NoLock)
		PG_RETURN_INT64(want->id);

	if (have == NULL)
	{
		watch_insert(want);
		watch_warn_of_children(want);
	}
	else
		watch_update(want);
	watch_warn_of_policies(want);
	if (needed > ShareUpdateExclusiveLock)
		watch_make_triggers(want, have);
	watch_carry(want);
	PG_RETURN_INT64(want->id);
}

/* Return the watches to remove: all of the table, or only the one on the channel. */
static List *
watch_to_remove(Oid relation, const char *channel)
{
	Watch *watch;

	if (channel == NULL)
		return watch_list(relation);
	watch = watch_find_channel(relation, channel);
	return watch != NULL ? list_make1(watch) : NIL;
}

/* Works without shared_preload_libraries too, so that one can always unwatch a table. */
Datum
notify_unwatch(PG_FUNCTION_ARGS)
{
	char *channel = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	Oid relation;
	List *watches;
	ListCell *cell;

	PreventCommandIfReadOnly("notify_unwatch()");
	extension_require_version();
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("relation must not be null")));
	relation = PG_GETARG_OID(0);
	watch_check_relation(relation);
	if (watch_to_remove(relation, channel) == NIL)
		PG_RETURN_INT32(0);

	LockRelationOid(relation, AccessExclusiveLock);
	watch_check_relation(relation);
	watches = watch_to_remove(relation, channel);
	foreach (cell, watches)
	{
		Watch *watch = lfirst(cell);

		watch_drop_triggers(watch_find_triggers(watch));
		watch_delete(watch);

		/* The channel continues to exist if other tables are watched on it. */
		if (notifyd_shared != NULL && watch_list_channel(watch->channel) != NIL)
			watch_reset(watch, "a table is no longer watched on the channel");
	}
	PG_RETURN_INT32(list_length(watches));
}
