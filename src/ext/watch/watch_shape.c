/*-------------------------------------------------------------------------
 *
 * watch_shape.c
 *	  Shapes: the columns that a watched table had when an event was written.
 *
 * An event names its columns and says nothing of their types. A reader that needs typed values must
 * know the table as it was. So each event has the id of a shape, which is a hash of the columns'
 * numbers, names and types, and notifyd.shape has the shapes of all watched tables. notify_watch() and
 * commands that change columns store them. A shape is removed with the last watch of its table.
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
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"

#include "ext/base/extension.h"
#include "ext/watch/watch.h"
#include "ext/watch/watch_shape.h"

/* The columns of notifyd.shape. */
enum ShapeAttribute
{
	SHAPE_RELATION = 1,
	SHAPE_ID,
	SHAPE_ATTNUMS,
	SHAPE_NAMES,
	SHAPE_TYPES,
	SHAPE_TYPMODS,
};
#define SHAPE_NATTRIBUTES SHAPE_TYPMODS

static uint32
shape_hash(const WatchShape *shape)
{
	uint32 hash = 0;

	for (int i = 0; i < shape->ncolumns; i++)
	{
		const WatchShapeColumn *column = &shape->columns[i];
		const char *name = NameStr(column->name);

		hash = hash_combine(hash, hash_uint32((uint32) column->attnum));
		hash = hash_combine(hash, hash_uint32(column->type));
		hash = hash_combine(hash, hash_uint32((uint32) column->typmod));
		hash = hash_combine(hash, hash_bytes((const unsigned char *) name, (int) strlen(name)));
	}
	return hash != 0 ? hash : 1;
}

static WatchShape *
shape_allocate(int ncolumns)
{
	return palloc0(offsetof(WatchShape, columns) + ncolumns * sizeof(WatchShapeColumn));
}

WatchShape *
watch_shape_of(TupleDesc desc)
{
	WatchShape *shape = shape_allocate(desc->natts);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped)
			shape->columns[shape->ncolumns++] = (WatchShapeColumn){.attnum = attribute->attnum,
																   .type = attribute->atttypid,
																   .typmod = attribute->atttypmod,
																   .name = attribute->attname};
	}
	shape->id = shape_hash(shape);
	return shape;
}

/* ---------------- rows ---------------- */

/* The shapes of a relation, or one of them if id is not 0. */
static SysScanDesc
shape_begin_scan(Relation table, Oid relation, uint32 id, Snapshot snapshot)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], SHAPE_RELATION, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	ScanKeyInit(&keys[1], SHAPE_ID, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum((int32) id));
	return systable_beginscan(table, extension_relation("shape_pkey"), true, snapshot,
							  id != 0 ? 2 : 1, keys);
}

/* Return the elements of an array. Raises ERRCODE_DATA_CORRUPTED if there are not n of them. */
static Datum *
shape_elements(Datum array, Oid type, int16 length, bool by_value, char align, int n)
{
	Datum *elements;
	int found;

	deconstruct_array(DatumGetArrayTypeP(array), type, length, by_value, align, &elements, NULL,
					  &found);
	if (found != n)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("a row of table \"%s.%s\" has arrays of different lengths",
							   EXTENSION_SCHEMA, "shape")));
	return elements;
}

static WatchShape *
shape_from_tuple(HeapTuple tuple, TupleDesc desc)
{
	Datum values[SHAPE_NATTRIBUTES];
	bool nulls[SHAPE_NATTRIBUTES];
	WatchShape *shape;
	Datum *attnums;
	Datum *names;
	Datum *types;
	Datum *typmods;
	int n;

	heap_deform_tuple(tuple, desc, values, nulls);
	n = ArrayGetNItems(ARR_NDIM(DatumGetArrayTypeP(values[SHAPE_ATTNUMS - 1])),
					   ARR_DIMS(DatumGetArrayTypeP(values[SHAPE_ATTNUMS - 1])));
	attnums =
		shape_elements(values[SHAPE_ATTNUMS - 1], INT2OID, sizeof(int16), true, TYPALIGN_SHORT, n);
	names = shape_elements(values[SHAPE_NAMES - 1], NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, n);
	types = shape_elements(values[SHAPE_TYPES - 1], OIDOID, sizeof(Oid), true, TYPALIGN_INT, n);
	typmods =
		shape_elements(values[SHAPE_TYPMODS - 1], INT4OID, sizeof(int32), true, TYPALIGN_INT, n);
	shape = shape_allocate(n);
	shape->id = (uint32) DatumGetInt32(values[SHAPE_ID - 1]);
	shape->ncolumns = n;
	for (int i = 0; i < n; i++)
		shape->columns[i] = (WatchShapeColumn){.attnum = DatumGetInt16(attnums[i]),
											   .type = DatumGetObjectId(types[i]),
											   .typmod = DatumGetInt32(typmods[i]),
											   .name = *DatumGetName(names[i])};
	return shape;
}

WatchShape *
watch_find_shape(Oid relation, uint32 id)
{
	Oid oid = extension_find_relation("shape");
	WatchShape *shape = NULL;
	Relation table;
	Snapshot snapshot;
	SysScanDesc scan;
	HeapTuple tuple;

	if (!OidIsValid(oid) || id == 0)
		return NULL;
	table = table_open(oid, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = shape_begin_scan(table, relation, id, snapshot);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		shape = shape_from_tuple(tuple, RelationGetDescr(table));
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	return shape;
}

static void
shape_insert(Relation table, Oid relation, const WatchShape *shape)
{
	int n = shape->ncolumns;
	Datum *attnums = palloc(Max(n, 1) * sizeof(Datum));
	Datum *names = palloc(Max(n, 1) * sizeof(Datum));
	Datum *types = palloc(Max(n, 1) * sizeof(Datum));
	Datum *typmods = palloc(Max(n, 1) * sizeof(Datum));
	Datum values[SHAPE_NATTRIBUTES];
	bool nulls[SHAPE_NATTRIBUTES] = {false};

	for (int i = 0; i < n; i++)
	{
		attnums[i] = Int16GetDatum(shape->columns[i].attnum);
		names[i] = NameGetDatum(&shape->columns[i].name);
		types[i] = ObjectIdGetDatum(shape->columns[i].type);
		typmods[i] = Int32GetDatum(shape->columns[i].typmod);
	}
	values[SHAPE_RELATION - 1] = ObjectIdGetDatum(relation);
	values[SHAPE_ID - 1] = Int32GetDatum((int32) shape->id);
	values[SHAPE_ATTNUMS - 1] =
		PointerGetDatum(construct_array(attnums, n, INT2OID, sizeof(int16), true, TYPALIGN_SHORT));
	values[SHAPE_NAMES - 1] =
		PointerGetDatum(construct_array(names, n, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR));
	values[SHAPE_TYPES - 1] =
		PointerGetDatum(construct_array(types, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
	values[SHAPE_TYPMODS - 1] =
		PointerGetDatum(construct_array(typmods, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
	CatalogTupleInsert(table, heap_form_tuple(RelationGetDescr(table), values, nulls));
	CommandCounterIncrement();
}

void
watch_note_shape(Oid relation)
{
	Oid oid = extension_find_relation("shape");
	Relation watched;
	WatchShape *shape;
	Relation table;

	if (!OidIsValid(oid) || watch_list(relation) == NIL)
		return;
	watched = RelationIdGetRelation(relation);
	if (!RelationIsValid(watched))
		return;
	shape = watch_shape_of(RelationGetDescr(watched));
	RelationClose(watched);
	if (watch_find_shape(relation, shape->id) != NULL)
		return;
	table = table_open(oid, RowExclusiveLock);
	shape_insert(table, relation, shape);
	table_close(table, NoLock);
}

void
watch_forget_shapes(Oid relation)
{
	Oid oid = extension_find_relation("shape");
	Relation table;
	Snapshot snapshot;
	SysScanDesc scan;
	HeapTuple tuple;

	if (!OidIsValid(oid))
		return;
	table = table_open(oid, RowExclusiveLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = shape_begin_scan(table, relation, 0, snapshot);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(table, &tuple->t_self);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, NoLock);
}
