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

#include "ext/rest/rest_internal.h"
#include "ext/watch/watch.h"

typedef struct RestPath
{
	char path[EXPOSE_NAME_SIZE]; /* the key */
	const RestTable *table;
} RestPath;

static HTAB *rest_paths;           /* NULL: none is known */
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

/* Describe a relation, which is locked. */
static RestTable *
rest_describe(const Exposure *exposure, Relation relation)
{
	RestTable *table = palloc0(sizeof(RestTable));
	TupleDesc columns = RelationGetDescr(relation);

	table->relation = exposure->object;
	table->label = pstrdup(exposure->label);
	table->name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
											 RelationGetRelationName(relation));
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

/* Forget all tables if one of them, or what is exposed, has changed. Needs a transaction. */
static void
rest_refresh(void)
{
	HASHCTL tables = {.keysize = EXPOSE_NAME_SIZE, .entrysize = sizeof(RestPath)};

	if (rest_context == NULL)
	{
		rest_context = AllocSetContextCreate(TopMemoryContext, "pg_notifyd REST tables",
											 ALLOCSET_DEFAULT_SIZES);
		CacheRegisterRelcacheCallback(rest_relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, rest_schema_changed, (Datum) 0);
	}
	if (rest_paths != NULL && !rest_stale)
		return;
	rest_paths = NULL;
	rest_relations = NIL;
	MemoryContextReset(rest_context);
	rest_exposures = expose_relation_table();
	rest_stale = false;
	tables.hcxt = rest_context;
	rest_paths =
		hash_create("pg_notifyd REST tables", 64, &tables, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* Read from the catalogs what is exposed by this path, and keep it. */
static const RestTable *
rest_read_table(const char *path)
{
	Exposure *exposure = expose_find_relation(path);
	MemoryContext before;
	Relation relation;
	RestTable *table;
	RestPath *known;

	if (exposure == NULL)
		return NULL;
	before = MemoryContextSwitchTo(rest_context);
	/* What changes from now on makes it stale. */
	rest_relations = lappend_oid(rest_relations, exposure->object);
	relation = try_relation_open(exposure->object, AccessShareLock);
	table = relation != NULL ? rest_describe(exposure, relation) : NULL;
	MemoryContextSwitchTo(before);
	if (table == NULL)
		return NULL;
	relation_close(relation, NoLock);
	known = hash_search(rest_paths, path, HASH_ENTER, NULL);
	known->table = table;
	return table;
}

const RestTable *
rest_table(const char *path)
{
	RestPath *known;

	if (strlen(path) >= EXPOSE_NAME_SIZE)
		return NULL;
	rest_refresh();
	known = hash_search(rest_paths, path, HASH_FIND, NULL);
	if (known != NULL)
	{
		/* Wait for those who are changing it. The lock processes the invalidations that they have sent. */
		LockRelationOid(known->table->relation, AccessShareLock);
		if (!rest_stale)
			return known->table;
		rest_refresh();
	}
	return rest_read_table(path);
}
