/*-------------------------------------------------------------------------
 *
 * watch_uninstall.c
 *	  Takes the locks of DROP EXTENSION in an order that avoids deadlocks.
 *
 * A writer locks the watched tables first and, at its commit, a table of the log. DROP EXTENSION
 * locks both kinds in any order, so while others write, one of them would fail with a deadlock.
 * Therefore the following locks are taken first:
 *
 *	  1. the tables that have triggers of ours. After that no transaction is going to write to the log;
 *	  2. notifyd.log_0, which stands for the log. The feed requests a lock on it in each round, without
 *		 waiting, and if it cannot get it, it touches nothing else of ours (feed.c).
 *
 * Writers may lock the watched tables in any order. So no lock is held while waiting for another:
 * all are tried, and if one is not free, the others are released until it is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_trigger.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "ext/base/extension.h"
#include "ext/log/log.h"
#include "ext/watch/watch.h"

/* After so many attempts the tables are locked one by one, at the risk of a deadlock. */
#define WATCH_LOCK_ATTEMPTS 1000

/* Return all tables and partitions with a trigger of ours, in the order of their OIDs. */
static List *
watch_tables_with_triggers(void)
{
	Oid function = watch_capture_function(false);
	Relation table = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	List *relations = NIL;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);

		if (trigger->tgfoid == function)
			relations = list_append_unique_oid(relations, trigger->tgrelid);
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	list_sort(relations, list_oid_cmp);
	return relations;
}

/*
 * Lock all tables except the one that is already locked, or none. Returns the table that is not
 * free, or InvalidOid.
 */
static Oid
watch_try_lock(List *relations, Oid held)
{
	ListCell *cell;

	foreach (cell, relations)
	{
		int failed = foreach_current_index(cell);

		if (lfirst_oid(cell) == held ||
			ConditionalLockRelationOid(lfirst_oid(cell), AccessExclusiveLock))
			continue;
		for (int i = 0; i < failed; i++)
		{
			if (list_nth_oid(relations, i) != held)
				UnlockRelationOid(list_nth_oid(relations, i), AccessExclusiveLock);
		}
		return lfirst_oid(cell);
	}
	return InvalidOid;
}

static void
watch_lock_tables(List *relations)
{
	Oid held = InvalidOid;
	ListCell *cell;

	for (int i = 0; i < WATCH_LOCK_ATTEMPTS; i++)
	{
		Oid busy = watch_try_lock(relations, held);

		if (!OidIsValid(busy))
			return;
		if (OidIsValid(held))
			UnlockRelationOid(held, AccessExclusiveLock);
		LockRelationOid(busy, AccessExclusiveLock);
		held = busy;
	}
	foreach (cell, relations)
		LockRelationOid(lfirst_oid(cell), AccessExclusiveLock);
}

bool
watch_is_uninstall(Node *statement)
{
	DropStmt *drop = (DropStmt *) statement;
	ListCell *cell;

	if (!IsA(statement, DropStmt) || drop->removeType != OBJECT_EXTENSION)
		return false;
	foreach (cell, drop->objects)
	{
		if (strcmp(strVal(lfirst(cell)), EXTENSION_NAME) == 0)
			return true;
	}
	return false;
}

void
watch_lock_for_uninstall(void)
{
	if (!OidIsValid(extension_oid(true)) || !OidIsValid(watch_capture_function(true)) ||
		!extension_is_admin(GetUserId()))
		return;
	watch_lock_tables(watch_tables_with_triggers());
	LockRelationOid(log_table(0), AccessExclusiveLock);
}
