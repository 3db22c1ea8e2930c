/*-------------------------------------------------------------------------
 *
 * rest_table.c
 *	  Exposed tables: their paths, columns and keys.
 *
 * The worker keeps what it has read about a table until the table, a schema or what is exposed changes. None of it depends
 * on the client's role. A request locks its table before it uses that, so nothing changes until it ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "ext/base/relation_change.h"
#include "ext/rest/rest_internal.h"
#include "ext/watch/watch.h"

typedef struct RestPath
{
	char name[EXPOSE_NAME_SIZE]; /* the key */
	const Exposure *exposure;
	const RestTable *table; /* NULL: it was not read yet */
} RestPath;

static HTAB *rest_paths;           /* of all exposed tables; NULL: they were not read yet */
static MemoryContext rest_context; /* of all that is known */
static List *rest_relations;       /* OIDs of these tables */
static Oid rest_exposures;
static bool rest_stale;

int
rest_column(const RestTable *table, const char *name)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (strcmp(table->columns[i].name, name) == 0)
			return i;
	}
	return -1;
}

static void
rest_describe_column(RestColumn *column, Form_pg_attribute attribute)
{
	column->name = pstrdup(NameStr(attribute->attname));
	column->number = attribute->attnum;
	column->type = attribute->atttypid;
	column->typmod = attribute->atttypmod;
	column->not_null = attribute->attnotnull;
	column->has_default = attribute->atthasdef || attribute->attidentity != '\0';
	column->generated = attribute->attgenerated != '\0';
}

static void
rest_describe_key(RestTable *table)
{
	List *attnums = watch_table_key(table->relation, false);
	ListCell *cell;

	table->key = palloc(sizeof(int) * (list_length(attnums) + 1));
	foreach (cell, attnums)
	{
		int i =
			rest_column(table, get_attname(table->relation, (AttrNumber) lfirst_int(cell), false));

		table->columns[i].key = true;
		table->key[table->nkey++] = i;
	}
}

/* Describe the table of a path. Returns NULL if it does not exist any more. */
static const RestTable *
rest_describe(const RestPath *path)
{
	Relation relation = try_relation_open(path->exposure->object, AccessShareLock);
	RestTable *table;
	TupleDesc columns;

	if (relation == NULL)
		return NULL;
	table = palloc0(sizeof(RestTable));
	table->relation = path->exposure->object;
	table->label = path->exposure->label;
	table->name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
											 RelationGetRelationName(relation));
	columns = RelationGetDescr(relation);
	table->columns = palloc0(sizeof(RestColumn) * (columns->natts + 1));
	for (int i = 0; i < columns->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(columns, i);

		if (attribute->attisdropped)
			continue;
		rest_describe_column(&table->columns[table->ncolumns++], attribute);
		table->attributes = bms_add_member(table->attributes,
										   attribute->attnum - FirstLowInvalidHeapAttributeNumber);
	}
	rest_describe_key(table);
	relation_close(relation, NoLock);
	return table;
}

/* ---------------- tables that are known ---------------- */

static void
rest_relation_changed(Datum arg pg_attribute_unused(), Oid relation)
{
	rest_stale |= !OidIsValid(relation) || relation == rest_exposures ||
				  list_member_oid(rest_relations, relation);
}

static void
rest_schema_changed(Datum arg pg_attribute_unused(), int cache pg_attribute_unused(),
					uint32 hash pg_attribute_unused())
{
	rest_stale = true;
}

static void
rest_add_path(HTAB *paths, const Exposure *exposure)
{
	RestPath *path = hash_search(paths, exposure->name, HASH_ENTER, NULL);

	path->exposure = exposure;
	path->table = NULL;
	rest_relations = lappend_oid(rest_relations, exposure->object);
}

/* If a table, or what is exposed, has changed, forget all, and read again what is exposed. Needs a transaction. */
static void
rest_refresh(void)
{
	HASHCTL control = {.keysize = EXPOSE_NAME_SIZE, .entrysize = sizeof(RestPath)};
	MemoryContext before;
	ListCell *cell;
	HTAB *paths;

	if (rest_context == NULL)
	{
		rest_context = AllocSetContextCreate(TopMemoryContext, "pg_notifyd REST tables",
											 ALLOCSET_DEFAULT_SIZES);
		relation_change_register(rest_relation_changed);
		CacheRegisterSyscacheCallback(NAMESPACEOID, rest_schema_changed, (Datum) 0);
	}
	if (rest_paths != NULL && !rest_stale)
		return;
	rest_paths = NULL;
	rest_relations = NIL;
	MemoryContextReset(rest_context);
	before = MemoryContextSwitchTo(rest_context);
	rest_exposures = expose_relation_table();
	rest_stale = false;
	control.hcxt = rest_context;
	paths =
		hash_create("pg_notifyd REST paths", 64, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	foreach (cell, expose_list_relations())
		rest_add_path(paths, lfirst(cell));
	MemoryContextSwitchTo(before);
	rest_paths = paths;
}

static RestPath *
rest_find_path(const char *name)
{
	RestPath *path;

	rest_refresh();
	path = hash_search(rest_paths, name, HASH_FIND, NULL);
	/* Keys are cut off. */
	return path != NULL && strcmp(path->exposure->name, name) == 0 ? path : NULL;
}

const RestTable *
rest_table(const char *name)
{
	RestPath *path = rest_find_path(name);
	MemoryContext before;

	/* Wait for those who are changing the table. Taking the lock processes the invalidations that they have sent. */
	if (path != NULL)
		LockRelationOid(path->exposure->object, AccessShareLock);
	if (rest_stale)
		path = rest_find_path(name);
	if (path == NULL)
		return NULL;
	before = MemoryContextSwitchTo(rest_context);
	if (path->table == NULL)
		path->table = rest_describe(path);
	MemoryContextSwitchTo(before);
	return path->table;
}
