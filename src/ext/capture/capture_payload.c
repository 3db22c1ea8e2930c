/*-------------------------------------------------------------------------
 *
 * capture_payload.c
 *	  Calls the payload function of a watch.
 *
 * The function runs as a trigger function does: as the writer, in the statement's transaction,
 * without a check of the privilege EXECUTE, and its error fails the statement. It may change rows of
 * watched tables itself, also those of this watch. So it runs before anything of the event is
 * written, and no two calls at the same time share an FmgrInfo, as the executor sees to it for
 * trigger functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "ext/base/operation.h"
#include "ext/capture/capture.h"
#include "ext/watch/watch.h"

struct CapturePayload
{
	Oid function;
	char *name;
	FmgrInfo info; /* allocates in the plan's context; fn_oid is 0 if it must be looked up */
	bool busy;     /* a call uses it */
	JsonType result;
	TupleDesc desc;      /* of the watched relation */
	AttrNumber *attnums; /* for each of its columns that of the firing relation; 0: dropped */
};

CapturePayload *
capture_prepare_payload(const Watch *watch, Relation relation, List **types)
{
	CapturePayload *payload = palloc0(sizeof(CapturePayload));
	Relation watched = RelationIdGetRelation(watch->relation);

	payload->function = watch_payload_function(watch);
	if (!OidIsValid(payload->function) || !RelationIsValid(watched))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s, which makes payloads, does not exist", watch->payload),
				 errdetail("The watch of table \"%s\" on channel \"%s\" uses it.",
						   get_rel_name(watch->relation), watch->channel),
				 errhint("Create the function, or call notify_watch() to change the watch.")));
	payload->name = pstrdup(watch->payload);
	json_prepare(&payload->result, get_func_rettype(payload->function), types);
	payload->desc = CreateTupleDescCopy(RelationGetDescr(watched));
	RelationClose(watched);
	payload->attnums = palloc0(Max(payload->desc->natts, 1) * sizeof(AttrNumber));
	for (int i = 0; i < payload->desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(payload->desc, i);

		if (attribute->attisdropped)
			continue;
		payload->attnums[i] =
			RelationGetRelid(relation) == watch->relation
				? attribute->attnum
				: get_attnum(RelationGetRelid(relation), NameStr(attribute->attname));
	}
	return payload;
}

/* Return a row as a value of the watched table's row type. */
static NullableDatum
payload_row(const CaptureRow *row)
{
	const CapturePayload *payload;
	Datum *values;
	bool *isnull;

	if (row == NULL)
		return (NullableDatum){.isnull = true};
	payload = row->plan->payload;
	values = palloc0(Max(payload->desc->natts, 1) * sizeof(Datum));
	isnull = palloc(Max(payload->desc->natts, 1) * sizeof(bool));
	for (int i = 0; i < payload->desc->natts; i++)
	{
		AttrNumber attnum = payload->attnums[i];

		isnull[i] = attnum <= 0 || row->isnull[attnum - 1];
		if (!isnull[i])
			values[i] = row->values[attnum - 1];
	}

	/* This copies values that are out of line into the row. */
	return (NullableDatum){.value =
							   HeapTupleGetDatum(heap_form_tuple(payload->desc, values, isnull))};
}

static void
payload_context(void *arg)
{
	errcontext("function %s, which makes the payloads of a watch", (const char *) arg);
}

static Datum
payload_invoke(FmgrInfo *info, FunctionCallInfo fcinfo)
{
	PgStat_FunctionCallUsage usage;
	Datum result;

	fcinfo->flinfo = info;
	pgstat_init_function_usage(fcinfo, &usage);
	result = FunctionCallInvoke(fcinfo);
	pgstat_end_function_usage(&usage, true);
	return result;
}

/* Call with the plan's FmgrInfo. An error leaves it in an unknown state. */
static Datum
payload_call_shared(CapturePlan *plan, FunctionCallInfo fcinfo)
{
	CapturePayload *payload = plan->payload;
	volatile Datum result = 0;

	if (!OidIsValid(payload->info.fn_oid))
		fmgr_info_cxt(payload->function, &payload->info, plan->context);
	payload->busy = true;
	PG_TRY();
	{
		result = payload_invoke(&payload->info, fcinfo);
	}
	PG_CATCH();
	{
		payload->info.fn_oid = InvalidOid;
		payload->busy = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	payload->busy = false;
	return result;
}

static Datum
payload_call(CapturePlan *plan, FunctionCallInfo fcinfo)
{
	FmgrInfo own;

	if (!plan->payload->busy)
		return payload_call_shared(plan, fcinfo);
	fmgr_info(plan->payload->function, &own);
	return payload_invoke(&own, fcinfo);
}

bool
capture_payload(char op, const CaptureRow *old, const CaptureRow *new, StringInfo text)
{
	CapturePlan *plan = new ? new->plan : old->plan;
	LOCAL_FCINFO(fcinfo, 3);
	ErrorContextCallback context = {
		.previous = error_context_stack, .callback = payload_context, .arg = plan->payload->name};
	Datum result;

	if (op == OPERATION_TRUNCATE)
		new = NULL;
	InitFunctionCallInfoData(*fcinfo, NULL, 3, DEFAULT_COLLATION_OID, NULL, NULL);
	fcinfo->args[0].value = CStringGetTextDatum(operation_name(op));
	fcinfo->args[0].isnull = false;
	fcinfo->args[1] = payload_row(old);
	fcinfo->args[2] = payload_row(new);
	error_context_stack = &context;
	result = payload_call(plan, fcinfo);
	error_context_stack = context.previous;

	if (fcinfo->isnull)
		return false;
	initStringInfo(text);
	json_append(text, &plan->payload->result, result, false);
	return true;
}
