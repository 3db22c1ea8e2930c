/*-------------------------------------------------------------------------
 *
 * rest_table.c
 *	  An exposed table: its columns and key, and what the client's role may read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "ext/rest/rest_internal.h"
#include "ext/watch/watch.h"

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
rest_describe_column(RestColumn *column, Form_pg_attribute attribute, bool readable)
{
	column->name = pstrdup(NameStr(attribute->attname));
	column->type = attribute->atttypid;
	column->typmod = attribute->atttypmod;
	column->not_null = attribute->attnotnull;
	column->has_default = attribute->atthasdef || attribute->attidentity != '\0';
	column->generated = attribute->attgenerated != '\0';
	column->readable = readable || pg_attribute_aclcheck(attribute->attrelid, attribute->attnum,
														 GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

static void
rest_describe_key(RestTable *table, Oid relation)
{
	List *attnums = watch_table_key(relation, false);
	ListCell *cell;

	table->key = palloc(sizeof(int) * (list_length(attnums) + 1));
	foreach (cell, attnums)
	{
		int i = rest_column(table, get_attname(relation, (AttrNumber) lfirst_int(cell), false));

		table->columns[i].key = true;
		table->key[table->nkey++] = i;
	}
}

RestTable *
rest_table(const Exposure *exposure)
{
	Relation relation = try_relation_open(exposure->object, AccessShareLock);
	RestTable *table;
	TupleDesc columns;
	bool readable;

	if (relation == NULL)
		return NULL;
	table = palloc0(sizeof(RestTable));
	table->exposure = exposure;
	table->name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
											 RelationGetRelationName(relation));
	columns = RelationGetDescr(relation);
	table->columns = palloc0(sizeof(RestColumn) * (columns->natts + 1));
	readable = pg_class_aclcheck(exposure->object, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
	for (int i = 0; i < columns->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(columns, i);

		if (attribute->attisdropped)
			continue;
		rest_describe_column(&table->columns[table->ncolumns++], attribute, readable);
		table->attributes = bms_add_member(table->attributes,
										   attribute->attnum - FirstLowInvalidHeapAttributeNumber);
	}
	rest_describe_key(table, exposure->object);
	relation_close(relation, NoLock);
	return table;
}
