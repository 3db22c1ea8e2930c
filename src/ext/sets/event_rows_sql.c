/*-------------------------------------------------------------------------
 *
 * event_rows_sql.c
 *	  A function for tests: what event_rows.c reads from an event.
 *
 * The extension's script does not declare it, so only a superuser can make it callable:
 *
 *	  CREATE FUNCTION event_rows(id bigint, columns name[], OUT old text, OUT new text, OUT context jsonb,
 *		OUT payload jsonb, OUT reason text) LANGUAGE c STRICT AS 'pg_notifyd', 'notifyd_event_rows';
 *
 * A row is the list of its columns' values in their types' own text. No columns are all columns.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ext/sets/event_rows.h"

PG_FUNCTION_INFO_V1(notifyd_event_rows);

typedef struct RowsQuery
{
	ArrayType *columns;
	Datum values[5];
	bool nulls[5];
} RowsQuery;

static Bitmapset *
query_columns(const RowsQuery *query, Relation relation)
{
	Bitmapset *columns = NULL;
	Datum *names;
	int n;

	deconstruct_array(query->columns, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &names, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		AttrNumber attnum =
			get_attnum(RelationGetRelid(relation), NameStr(*DatumGetName(names[i])));

		columns = bms_add_member(columns, attnum - FirstLowInvalidHeapAttributeNumber);
	}
	if (n == 0)
		columns = bms_add_member(columns, 0 - FirstLowInvalidHeapAttributeNumber);
	return columns;
}

static void
query_set_row(RowsQuery *query, int result, TupleTableSlot *slot, const Bitmapset *columns)
{
	bool whole = bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, columns);
	StringInfoData text;

	if (slot == NULL)
		return;
	initStringInfo(&text);
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(slot->tts_tupleDescriptor, i);
		Oid output;
		bool varlena;

		if (attribute->attisdropped ||
			!(whole || bms_is_member(i + 1 - FirstLowInvalidHeapAttributeNumber, columns)))
			continue;
		getTypeOutputInfo(attribute->atttypid, &output, &varlena);
		appendStringInfo(&text, "%s%s=%s", text.len > 0 ? ", " : "", NameStr(attribute->attname),
						 slot->tts_isnull[i] ? "NULL"
											 : OidOutputFunctionCall(output, slot->tts_values[i]));
	}
	query->values[result] = CStringGetTextDatum(text.data);
	query->nulls[result] = false;
}

static bool
query_read(const LogEvent *event, void *arg)
{
	RowsQuery *query = arg;
	EventRows *rows = event_rows_create(CurrentMemoryContext);
	const char *reason = NULL;

	event_rows_set(rows, event);
	query->nulls[2] = !event_rows_context(rows, &query->values[2]);
	query->nulls[3] = !event_rows_payload(rows, &query->values[3]);
	if (OidIsValid(event->relation))
	{
		Relation relation = table_open(event->relation, AccessShareLock);
		Bitmapset *columns = query_columns(query, relation);

		if (event_rows_read(rows, relation, columns, &reason))
		{
			query_set_row(query, 0, event_rows_old(rows), columns);
			query_set_row(query, 1, event_rows_new(rows), columns);
		}
		else
		{
			query->values[4] = CStringGetTextDatum(reason);
			query->nulls[4] = false;
		}
		table_close(relation, AccessShareLock);
	}
	return false;
}

Datum
notifyd_event_rows(PG_FUNCTION_ARGS)
{
	RowsQuery query = {.columns = PG_GETARG_ARRAYTYPE_P(1),
					   .nulls = {true, true, true, true, true}};
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	log_find((uint64) PG_GETARG_INT64(0), GetActiveSnapshot(), query_read, &query);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, query.values, query.nulls)));
}
