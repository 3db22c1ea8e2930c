/*-------------------------------------------------------------------------
 *
 * watch_key.c
 *	  Finds a table's own key.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/pg_index.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "ext/watch/watch.h"

/* Return the columns of an index if it is the primary key's or the replica identity's, or NIL. */
static List *
watch_index_columns(Oid index, bool *primary, bool *identity)
{
	HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	List *columns = NIL;
	Form_pg_index form;

	*primary = *identity = false;
	if (!HeapTupleIsValid(tuple))
		return NIL;
	form = (Form_pg_index) GETSTRUCT(tuple);
	*primary = form->indisprimary;
	*identity = form->indisreplident;
	for (int i = 0; (*primary || *identity) && i < form->indnkeyatts; i++)
		columns = lappend_int(columns, form->indkey.values[i]);
	ReleaseSysCache(tuple);
	return columns;
}

/*
 * Takes no lock. It is also called for the parent while a row is written to a partition; a lock on
 * the parent after that on the partition could cause a deadlock, because ALTER TABLE locks parents
 * first. The relation cache entry is consistent, and a change of the key invalidates everything
 * that depends on the result.
 *
 * Does not use RelationGetPrimaryKeyIndex(), because a deferrable primary key is a key too.
 */
List *
watch_table_key(Oid relation, bool primary_only)
{
	Relation rel = RelationIdGetRelation(relation);
	List *identity_columns = NIL;
	List *indexes;
	ListCell *cell;

	if (!RelationIsValid(rel))
		return NIL;
	indexes = RelationGetIndexList(rel);
	RelationClose(rel);
	foreach (cell, indexes)
	{
		bool primary;
		bool identity;
		List *columns = watch_index_columns(lfirst_oid(cell), &primary, &identity);

		if (primary)
			return columns;
		if (identity)
			identity_columns = columns;
	}
	return primary_only ? NIL : identity_columns;
}

bool
watch_has_key(const Watch *watch)
{
	return watch->key.given || watch->cols.n > 0 || watch_table_key(watch->relation, false) != NIL;
}

int
watch_event_columns(const Watch *watch, int16 **columns)
{
	List *key;
	ListCell *cell;
	int n = 0;

	if (!watch->cols.given)
		return -1;
	key = watch->key.given ? NIL : watch_table_key(watch->relation, false);
	*columns = palloc((watch->cols.n + watch->key.n + list_length(key) + 1) * sizeof(int16));
	for (int i = 0; i < watch->cols.n; i++)
		(*columns)[n++] = watch->cols.attnums[i];
	for (int i = 0; i < watch->key.n; i++)
		(*columns)[n++] = watch->key.attnums[i];
	foreach (cell, key)
		(*columns)[n++] = (int16) lfirst_int(cell);
	return n;
}

Bitmapset *
watch_captured_columns(Oid relation, const char *channel)
{
	const Watch *watch = OidIsValid(relation) ? watch_find_channel(relation, channel) : NULL;
	Bitmapset *captured = NULL;
	int16 *columns = NULL;
	int n = watch != NULL ? watch_event_columns(watch, &columns) : -1;

	for (int i = 0; i < n; i++)
		captured = bms_add_member(captured, columns[i] - FirstLowInvalidHeapAttributeNumber);
	return captured;
}
