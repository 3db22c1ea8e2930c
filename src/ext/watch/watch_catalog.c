/*-------------------------------------------------------------------------
 *
 * watch_catalog.c
 *	  The rows of notifyd.watch.
 *
 * This file reads and writes them like rows of a system catalog, without SQL and privileges. A
 * table's owner who calls notify_watch(), or a role that drops a table, has no privileges on schema
 * notifyd and needs none, and neither search_path nor row security can interfere.
 *
 * Every change invalidates the relation cache entries of the watched table and of notifyd.watch.
 * Capture plans depend on the first, caches of all watches on the second.
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
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/formatting.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "ext/base/operation.h"
#include "ext/watch/column_ref.h"
#include "ext/base/extension.h"
#include "ext/watch/watch.h"
#include "ext/watch/watch_shape.h"

/*
 * The columns of notifyd.watch that every version has, in their order. Columns of later versions
 * are found by name (watch_later_column()), because a database keeps the table of an earlier
 * version until ALTER EXTENSION UPDATE.
 */
enum WatchAttribute
{
	WATCH_ID = 1,
	WATCH_RELATION,
	WATCH_CHANNEL,
	WATCH_OPS,
	WATCH_COLS,
	WATCH_KEY,
	WATCH_UPDATE_OF,
	WATCH_CONDITION,
	WATCH_OLD_VALUES,
	WATCH_NOTIFY,
	WATCH_FIRST_LATER
};

static const char *const watch_attributes[] = {"id",         "relation", "channel",   "ops",
											   "cols",       "key",      "update_of", "condition",
											   "old_values", "notify"};

StaticAssertDecl(lengthof(watch_attributes) == WATCH_FIRST_LATER - 1,
				 "each attribute has its name");

/* Open notifyd.watch, and check that it has these columns. */
static Relation
watch_open(LOCKMODE lockmode)
{
	Relation table = table_open(extension_relation("watch"), lockmode);
	TupleDesc desc = RelationGetDescr(table);

	for (int i = 0; i < (int) lengthof(watch_attributes); i++)
	{
		if (i >= desc->natts ||
			strcmp(NameStr(TupleDescAttr(desc, i)->attname), watch_attributes[i]) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
					 errmsg("column %d of table \"%s.%s\" is not \"%s\"", i + 1, EXTENSION_SCHEMA,
							RelationGetRelationName(table), watch_attributes[i]),
					 errdetail("The table is not as the extension %s has made it.", EXTENSION_NAME),
					 errhint("Drop the extension and create it again.")));
	}
	return table;
}

/* Return the stored name of an operation, in lower case. */
static char *
watch_op_name(uint8 op)
{
	const char *name = wire_op_name(op);

	return asc_tolower(name, strlen(name));
}

char *
watch_ops_text(int ops)
{
	StringInfoData text;

	initStringInfo(&text);
	for (uint8 op = 1; op & OPERATION_TABLE_BITS; op <<= 1)
	{
		if (ops & op)
			appendStringInfo(&text, "%s%s", text.len > 0 ? "," : "", watch_op_name(op));
	}
	return text.data;
}

/* Read the stored operations. Ignores unknown names, which only a superuser can have written. */
static int
watch_ops_parse(const char *text)
{
	int ops = 0;

	for (uint8 op = 1; op & OPERATION_TABLE_BITS; op <<= 1)
	{
		if (strstr(text, watch_op_name(op)) != NULL)
			ops |= op;
	}
	return ops;
}

/* Return the number of a column that version 1.0 does not have, or InvalidAttrNumber. */
static AttrNumber
watch_later_column(TupleDesc desc, const char *name)
{
	for (int attnum = WATCH_FIRST_LATER; attnum <= desc->natts; attnum++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, attnum - 1);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
			return (AttrNumber) attnum;
	}
	return InvalidAttrNumber;
}

static void
watch_read_columns(WatchColumns *columns, Datum value, bool isnull)
{
	columns->given = !isnull;
	columns->n = 0;
	columns->attnums = NULL;
	if (!isnull)
		columns->attnums = column_ref_attnums(value, &columns->n);
}

static Watch *
watch_from_tuple(HeapTuple tuple, TupleDesc desc)
{
	Watch *watch = palloc0(sizeof(Watch));
	Datum *values = palloc(desc->natts * sizeof(Datum));
	bool *nulls = palloc(desc->natts * sizeof(bool));
	AttrNumber notify_rows = watch_later_column(desc, "notify_rows");
	AttrNumber payload = watch_later_column(desc, "payload");

	heap_deform_tuple(tuple, desc, values, nulls);
	watch->id = DatumGetInt64(values[WATCH_ID - 1]);
	watch->relation = DatumGetObjectId(values[WATCH_RELATION - 1]);
	watch->channel = TextDatumGetCString(values[WATCH_CHANNEL - 1]);
	watch->ops = watch_ops_parse(TextDatumGetCString(values[WATCH_OPS - 1]));
	watch_read_columns(&watch->cols, values[WATCH_COLS - 1], nulls[WATCH_COLS - 1]);
	watch_read_columns(&watch->key, values[WATCH_KEY - 1], nulls[WATCH_KEY - 1]);
	watch_read_columns(&watch->update_of, values[WATCH_UPDATE_OF - 1], nulls[WATCH_UPDATE_OF - 1]);
	if (!nulls[WATCH_CONDITION - 1])
		watch->condition = TextDatumGetCString(values[WATCH_CONDITION - 1]);
	watch->old_values = DatumGetBool(values[WATCH_OLD_VALUES - 1]);
	watch->notify = DatumGetBool(values[WATCH_NOTIFY - 1]);

	/* Version 1.0 sends whole events. Continue to do so until the extension is updated. */
	watch->notify_rows =
		notify_rows == InvalidAttrNumber ? watch->notify : DatumGetBool(values[notify_rows - 1]);
	if (payload != InvalidAttrNumber && !nulls[payload - 1])
		watch->payload = TextDatumGetCString(values[payload - 1]);
	return watch;
}

/*
 * Return the watches that match the keys, using the index if it exists. Sets *tid to the location
 * of the last one.
 */
static List *
watch_scan(Oid index, ScanKey keys, int nkeys, ItemPointer tid)
{
	Relation table = watch_open(AccessShareLock);
	/* Not GetLatestSnapshot(), which fixes the transaction's snapshot (query_snapshot_lock()). */
	SysScanDesc scan = systable_beginscan(table, index, OidIsValid(index), NULL, nkeys, keys);
	List *watches = NIL;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		watches = lappend(watches, watch_from_tuple(tuple, RelationGetDescr(table)));
		if (tid != NULL)
			*tid = tuple->t_self;
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return watches;
}

static Watch *
watch_find_tid(int64 id, ItemPointer tid)
{
	ScanKeyData key;
	List *watches;

	ScanKeyInit(&key, WATCH_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	watches = watch_scan(extension_relation("watch_pkey"), &key, 1, tid);
	return watches != NIL ? linitial(watches) : NULL;
}

Watch *
watch_find(int64 id)
{
	return watch_find_tid(id, NULL);
}

Watch *
watch_find_channel(Oid relation, const char *channel)
{
	ListCell *cell;

	foreach (cell, watch_list(relation))
	{
		Watch *watch = lfirst(cell);

		if (strcmp(watch->channel, channel) == 0)
			return watch;
	}
	return NULL;
}

List *
watch_list(Oid relation)
{
	ScanKeyData key;

	ScanKeyInit(&key, WATCH_RELATION, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
	return watch_scan(extension_relation("watch_relation_channel_key"), &key, 1, NULL);
}

List *
watch_list_channel(const char *channel)
{
	Oid index = extension_find_relation("watch_channel_idx");
	ScanKeyData key;

	/* Version 1.0 has no such index. */
	ScanKeyEntryInitialize(&key, 0, WATCH_CHANNEL, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(channel));
	return watch_scan(index, &key, 1, NULL);
}

List *
watch_list_all(void)
{
	return watch_scan(InvalidOid, NULL, 0, NULL);
}

static Datum
watch_columns_datum(TupleDesc desc, int attribute, const Watch *watch, const WatchColumns *columns,
					bool *isnull)
{
	*isnull = !columns->given;
	if (*isnull)
		return (Datum) 0;
	return column_ref_array(get_element_type(TupleDescAttr(desc, attribute - 1)->atttypid),
							watch->relation, columns->attnums, columns->n);
}

static HeapTuple
watch_to_tuple(const Watch *watch, TupleDesc desc)
{
	Datum *values = palloc0(desc->natts * sizeof(Datum));
	bool *nulls = palloc(desc->natts * sizeof(bool));
	AttrNumber notify_rows = watch_later_column(desc, "notify_rows");
	AttrNumber payload = watch_later_column(desc, "payload");

	memset(nulls, false, WATCH_FIRST_LATER - 1);
	memset(nulls + WATCH_FIRST_LATER - 1, true, desc->natts - (WATCH_FIRST_LATER - 1));
	values[WATCH_ID - 1] = Int64GetDatum(watch->id);
	values[WATCH_RELATION - 1] = ObjectIdGetDatum(watch->relation);
	values[WATCH_CHANNEL - 1] = CStringGetTextDatum(watch->channel);
	values[WATCH_OPS - 1] = CStringGetTextDatum(watch_ops_text(watch->ops));
	values[WATCH_COLS - 1] =
		watch_columns_datum(desc, WATCH_COLS, watch, &watch->cols, &nulls[WATCH_COLS - 1]);
	values[WATCH_KEY - 1] =
		watch_columns_datum(desc, WATCH_KEY, watch, &watch->key, &nulls[WATCH_KEY - 1]);
	values[WATCH_UPDATE_OF - 1] = watch_columns_datum(
		desc, WATCH_UPDATE_OF, watch, &watch->update_of, &nulls[WATCH_UPDATE_OF - 1]);
	nulls[WATCH_CONDITION - 1] = watch->condition == NULL;
	values[WATCH_CONDITION - 1] =
		watch->condition ? CStringGetTextDatum(watch->condition) : (Datum) 0;
	values[WATCH_OLD_VALUES - 1] = BoolGetDatum(watch->old_values);
	values[WATCH_NOTIFY - 1] = BoolGetDatum(watch->notify);
	if (notify_rows != InvalidAttrNumber)
	{
		values[notify_rows - 1] = BoolGetDatum(watch->notify_rows);
		nulls[notify_rows - 1] = false;
	}
	if (payload != InvalidAttrNumber && watch->payload != NULL)
	{
		values[payload - 1] = CStringGetTextDatum(watch->payload);
		nulls[payload - 1] = false;
	}
	return heap_form_tuple(desc, values, nulls);
}

/* Make the change visible to the rest of the command, and invalidate the caches of the watch. */
static void
watch_changed(const Watch *watch, Relation table)
{
	CacheInvalidateRelcache(table);
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(watch->relation)))
		CacheInvalidateRelcacheByRelid(watch->relation);
	CommandCounterIncrement();
}

void
watch_insert(Watch *watch)
{
	Relation table = watch_open(RowExclusiveLock);

	/* Skip ids in use, because a restore may have set the sequence back. */
	do
		watch->id = nextval_internal(extension_relation("watch_id_seq"), false);
	while (watch_find(watch->id) != NULL);
	CatalogTupleInsert(table, watch_to_tuple(watch, RelationGetDescr(table)));
	watch_changed(watch, table);
	table_close(table, NoLock);
	watch_note_shape(watch->relation);
}

void
watch_update(const Watch *watch)
{
	Relation table = watch_open(RowExclusiveLock);
	ItemPointerData tid;

	if (watch_find_tid(watch->id, &tid) == NULL)
		elog(ERROR, "watch " INT64_FORMAT " is gone", watch->id);
	CatalogTupleUpdate(table, &tid, watch_to_tuple(watch, RelationGetDescr(table)));
	watch_changed(watch, table);
	table_close(table, NoLock);
}

void
watch_delete(const Watch *watch)
{
	Relation table = watch_open(RowExclusiveLock);
	ItemPointerData tid;

	if (watch_find_tid(watch->id, &tid) != NULL)
	{
		CatalogTupleDelete(table, &tid);
		watch_changed(watch, table);
		if (watch_list(watch->relation) == NIL)
			watch_forget_shapes(watch->relation);
	}
	table_close(table, NoLock);
}

Oid
watch_capture_function(bool missing_ok)
{
	Oid schema = get_namespace_oid(EXTENSION_SCHEMA, true);
	oidvector *no_arguments = buildoidvector(NULL, 0);
	Oid function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("capture"),
								   PointerGetDatum(no_arguments), ObjectIdGetDatum(schema));

	if (!OidIsValid(function) && !missing_ok)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("function %s.capture() does not exist", EXTENSION_SCHEMA),
						errhint("Use CREATE EXTENSION %s to create it.", EXTENSION_NAME)));
	return function;
}
