/*-------------------------------------------------------------------------
 *
 * openapi_table.c
 *	  The exposed tables, and what the client's role may do with them.
 *
 * What a request needs is what its statement needs, see rest_sql.c: a path with a key needs to read the key, PUT sets
 * all columns outside of the key, and POST and PUT must give those columns values that need one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "access/tupdesc.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "commands/comment.h"
#include "miscadmin.h"
#include "rewrite/rewriteHandler.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "ext/base/compat.h"
#include "ext/openapi/openapi_internal.h"
#include "ext/watch/watch.h"

static bool
table_column_permits(Oid relation, AttrNumber attnum, AclMode mode)
{
	return pg_class_aclcheck(relation, GetUserId(), mode) == ACLCHECK_OK ||
		   pg_attribute_aclcheck(relation, attnum, GetUserId(), mode) == ACLCHECK_OK;
}

/* Return true if the role has one of these privileges, for the table or some of its columns. */
static bool
table_permits(Oid relation, AclMode modes)
{
	return pg_class_aclmask(relation, GetUserId(), modes, ACLMASK_ANY) != 0 ||
		   pg_attribute_aclcheck_all(relation, GetUserId(), modes, ACLMASK_ANY) == ACLCHECK_OK;
}

/* Return true if the relation takes such statements: it is a table, or a view that can be written. columns: NULL for any. */
static bool
table_takes(Oid relation, CmdType command, Bitmapset *columns)
{
	return (relation_is_updatable(relation, NIL, true, columns) & (1 << command)) != 0;
}

/* ---------------- columns ---------------- */

static char *
table_column_default(Form_pg_attribute attribute, TupleDesc columns)
{
	if (!attribute->atthasdef || attribute->attgenerated != '\0')
		return NULL;
	for (int i = 0; i < columns->constr->num_defval; i++)
	{
		if (columns->constr->defval[i].adnum == attribute->attnum)
			return openapi_default(stringToNode(columns->constr->defval[i].adbin));
	}
	return NULL;
}

static char *
table_column_description(const OpenapiTable *table, const OpenapiColumn *column, bool primary)
{
	char *comment = GetComment(table->exposure->object, RelationRelationId, column->attnum);
	char *note;

	if (!column->key)
		return comment;
	note = psprintf("%s %s key.", table->nkey == 1 ? "The" : "Part of the",
					primary ? "primary" : "replica identity");
	return comment != NULL ? psprintf("%s\n\n%s", comment, note) : note;
}

static void
table_describe_column(OpenapiColumn *column, Form_pg_attribute attribute, TupleDesc columns)
{
	Oid relation = attribute->attrelid;
	AttrNumber attnum = attribute->attnum;
	Bitmapset *itself = bms_make_singleton(attnum - FirstLowInvalidHeapAttributeNumber);
	bool always = attribute->attidentity == ATTRIBUTE_IDENTITY_ALWAYS;

	column->name = pstrdup(NameStr(attribute->attname));
	column->attnum = attnum;
	column->value = (OpenapiValue){.type = attribute->atttypid,
								   .typmod = attribute->atttypmod,
								   .dimensions = attribute->attndims,
								   .nullable = !attribute->attnotnull,
								   .read_only = attribute->attgenerated != '\0' || always,
								   .default_json = table_column_default(attribute, columns)};
	column->not_null = attribute->attnotnull;
	column->has_default = attribute->atthasdef || attribute->attidentity != '\0';
	column->generated = attribute->attgenerated != '\0';
	column->readable = table_column_permits(relation, attnum, ACL_SELECT);
	column->insertable = !column->value.read_only && table_takes(relation, CMD_INSERT, itself) &&
						 table_column_permits(relation, attnum, ACL_INSERT);
	column->updatable = !column->generated && table_takes(relation, CMD_UPDATE, itself) &&
						table_column_permits(relation, attnum, ACL_UPDATE);
	column->assignable = column->updatable && !always;
}

/* ---------------- tables ---------------- */

static void
table_describe_key(OpenapiTable *table)
{
	List *attnums = watch_table_key(table->exposure->object, false);
	ListCell *cell;

	table->key = palloc(sizeof(OpenapiColumn *) * (list_length(attnums) + 1));
	table->may_find = attnums != NIL;
	foreach (cell, attnums)
	{
		for (int i = 0; i < table->ncolumns; i++)
		{
			if (table->columns[i].attnum != lfirst_int(cell))
				continue;
			table->columns[i].key = true;
			table->key[table->nkey++] = &table->columns[i];
			table->may_find = table->may_find && table->columns[i].readable;
		}
	}
}

/* Find out which statements the role may execute. */
static void
table_judge(OpenapiTable *table)
{
	Oid relation = table->exposure->object;
	bool others = false;

	table->may_insert =
		table_takes(relation, CMD_INSERT, NULL) && table_permits(relation, ACL_INSERT);
	table->may_replace = table->may_find;
	for (int i = 0; i < table->ncolumns; i++)
	{
		const OpenapiColumn *column = &table->columns[i];

		table->may_read = table->may_read || column->readable;
		if (column->not_null && !column->has_default && !column->insertable)
			table->may_insert = false;
		if (column->key || column->generated)
			continue;
		others = true;
		table->may_replace = table->may_replace && column->updatable;
		table->may_change = table->may_change || (table->may_find && column->assignable);
	}
	table->may_replace = table->may_replace && others;
	table->may_delete = table->may_find && table_takes(relation, CMD_DELETE, NULL) &&
						pg_class_aclcheck(relation, GetUserId(), ACL_DELETE) == ACLCHECK_OK;
}

static void
table_describe(OpenapiTable *table, TupleDesc columns)
{
	Oid relation = table->exposure->object;
	bool primary = watch_table_key(relation, true) != NIL;

	table->description = GetComment(relation, RelationRelationId, 0);
	table->columns = palloc0(sizeof(OpenapiColumn) * (columns->natts + 1));
	for (int i = 0; i < columns->natts; i++)
	{
		if (!TupleDescAttr(columns, i)->attisdropped)
			table_describe_column(&table->columns[table->ncolumns++], TupleDescAttr(columns, i),
								  columns);
	}
	table_describe_key(table);
	for (int i = 0; i < table->ncolumns; i++)
		table->columns[i].value.description =
			table_column_description(table, &table->columns[i], primary);
	table_judge(table);
}

/* Describe the table. Returns NULL if the role may not use it, or if it does not exist any more. */
static OpenapiTable *
table_open_and_describe(const Exposure *exposure)
{
	OpenapiTable *table;
	Relation relation;

	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(exposure->object)) ||
		!COMPAT_SCHEMA_USABLE(get_rel_namespace(exposure->object), GetUserId()) ||
		!table_permits(exposure->object, ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE) ||
		(relation = try_relation_open(exposure->object, AccessShareLock)) == NULL)
		return NULL;
	table = palloc0(sizeof(OpenapiTable));
	table->exposure = exposure;
	table->triggered = relation->trigdesc != NULL && (relation->trigdesc->trig_insert_before_row ||
													  relation->trigdesc->trig_insert_instead_row);
	table_describe(table, RelationGetDescr(relation));

	/* A lock that is waited for must not make others wait for this table. */
	relation_close(relation, AccessShareLock);
	return table->may_read || table->may_insert ? table : NULL;
}

List *
openapi_tables(void)
{
	List *tables = NIL;
	ListCell *cell;

	foreach (cell, expose_list_relations())
	{
		OpenapiTable *table;

		CHECK_FOR_INTERRUPTS();
		table = table_open_and_describe(lfirst(cell));
		if (table != NULL)
			tables = lappend(tables, table);
	}
	return tables;
}
