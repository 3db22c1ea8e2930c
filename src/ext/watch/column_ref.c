/*-------------------------------------------------------------------------
 *
 * column_ref.c
 *	  The type notifyd.column_ref: a reference to a column, like regclass is one to a relation.
 *
 * A value stores the relation's OID and the column's number, so it follows a column that is
 * renamed. Its text is the column's qualified name, schema.table.column, so a restored dump is
 * right even if the numbers differ. A column that does not exist (any more) is written as its two
 * numbers, "16384.3", and the input function reads these back. Such a name would have to be quoted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "ext/watch/column_ref.h"
#include "ext/base/compat.h"

PG_FUNCTION_INFO_V1(column_ref_in);
PG_FUNCTION_INFO_V1(column_ref_out);
PG_FUNCTION_INFO_V1(column_ref_names);

/* Read "16384.3". Returns false if the text does not have this form. */
static bool
column_ref_parse_numbers(const char *text, ColumnReference *ref)
{
	size_t first = strspn(text, "0123456789");
	size_t second = text[first] == '.' ? strspn(text + first + 1, "0123456789") : 0;
	unsigned long relation;
	unsigned long attnum;

	if (first == 0 || first > 10 || second == 0 || second > 5 || text[first + 1 + second] != '\0')
		return false;
	relation = strtoul(text, NULL, 10);
	attnum = strtoul(text + first + 1, NULL, 10);
	if (relation > PG_UINT32_MAX || attnum > MaxAttrNumber)
		return false;
	ref->relation = (Oid) relation;
	ref->attnum = (int32) attnum;
	return true;
}

/* The input function. Raises an error if the table or column does not exist. */
Datum
column_ref_in(PG_FUNCTION_ARGS)
{
	const char *text = PG_GETARG_CSTRING(0);
	ColumnReference *ref = palloc(sizeof(ColumnReference));
	List *names;
	const char *column;

	if (column_ref_parse_numbers(text, ref))
		PG_RETURN_POINTER(ref);

	names = compat_parse_qualified_name(text);
	if (list_length(names) < 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%s\"", "notifyd.column_ref", text),
				 errdetail("The format is schema.table.column.")));
	column = strVal(llast(names));
	names = list_truncate(names, list_length(names) - 1);

	/*
	 * Like regclass: without a lock, because the relation may be dropped right after this function
	 * returns anyway.
	 */
	ref->relation = RangeVarGetRelid(makeRangeVarFromNameList(names), NoLock, false);
	ref->attnum = get_attnum(ref->relation, column);
	if (ref->attnum == InvalidAttrNumber)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of relation \"%s\" does not exist", column,
							   get_rel_name(ref->relation))));
	PG_RETURN_POINTER(ref);
}

Datum
column_ref_out(PG_FUNCTION_ARGS)
{
	const ColumnReference *ref = (const ColumnReference *) PG_GETARG_POINTER(0);
	const char *table = get_rel_name(ref->relation);
	const char *column = table ? get_attname(ref->relation, (AttrNumber) ref->attnum, true) : NULL;
	const char *schema = column ? get_namespace_name(get_rel_namespace(ref->relation)) : NULL;

	if (schema == NULL)
		PG_RETURN_CSTRING(psprintf("%u.%d", ref->relation, ref->attnum));
	PG_RETURN_CSTRING(
		psprintf("%s.%s", quote_qualified_identifier(schema, table), quote_identifier(column)));
}

Datum
column_ref_array(Oid type_oid, Oid relation, const AttrNumber *attnums, int n)
{
	ColumnReference *refs = palloc(Max(n, 1) * sizeof(ColumnReference));
	Datum *datums = palloc(Max(n, 1) * sizeof(Datum));

	for (int i = 0; i < n; i++)
	{
		refs[i].relation = relation;
		refs[i].attnum = attnums[i];
		datums[i] = PointerGetDatum(&refs[i]);
	}
	return PointerGetDatum(
		construct_array(datums, n, type_oid, sizeof(ColumnReference), false, TYPALIGN_INT));
}

/* The elements of an array of notifyd.column_ref. */
static ColumnReference **
column_ref_elements(ArrayType *array, int *n)
{
	Datum *datums;
	bool *nulls;

	deconstruct_array(array, ARR_ELEMTYPE(array), sizeof(ColumnReference), false, TYPALIGN_INT,
					  &datums, &nulls, n);
	for (int i = 0; i < *n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_ARRAY_ELEMENT_ERROR), errmsg("column must not be null")));
	}
	StaticAssertStmt(sizeof(Datum) == sizeof(ColumnReference *), "datums are read as pointers");
	return (ColumnReference **) datums;
}

AttrNumber *
column_ref_attnums(Datum array, int *n)
{
	ColumnReference **refs = column_ref_elements(DatumGetArrayTypeP(array), n);
	AttrNumber *attnums = palloc(Max(*n, 1) * sizeof(AttrNumber));

	for (int i = 0; i < *n; i++)
		attnums[i] = (AttrNumber) refs[i]->attnum;
	return attnums;
}

/*
 * The names of columns without schema and table, for notifyd.watches. Columns that do not exist are
 * left out.
 */
Datum
column_ref_names(PG_FUNCTION_ARGS)
{
	int n;
	ColumnReference **refs = column_ref_elements(PG_GETARG_ARRAYTYPE_P(0), &n);
	Datum *names = palloc(Max(n, 1) * sizeof(Datum));
	int found = 0;

	for (int i = 0; i < n; i++)
	{
		char *column = get_attname(refs[i]->relation, (AttrNumber) refs[i]->attnum, true);

		if (column != NULL)
			names[found++] = DirectFunctionCall1(namein, CStringGetDatum(column));
	}
	PG_RETURN_ARRAYTYPE_P(
		construct_array(names, found, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR));
}
