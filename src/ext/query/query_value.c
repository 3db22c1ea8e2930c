/*-------------------------------------------------------------------------
 *
 * query_value.c
 *	  Values that clients send as JSON.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "ext/json/json_strict.h"
#include "ext/query/query.h"

Jsonb *
query_json(const char *text)
{
	if (json_has_large_exponent(text))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("a number is out of range"),
				 errdetail("Exponents in JSON may be at most %d.", JSON_MAX_EXPONENT)));
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(unconstify(char *, text))));
}

bool
query_value_is_wrong(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION: /* of a domain */
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:         /* nested too deeply, too many dimensions */
			return true;
		default:
			return false;
	}
}

Datum
query_value(const char *json, Oid type, int32 typmod, bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 1);
	FmgrInfo function;
	ReturnSetInfo result = {.type = T_ReturnSetInfo, .allowedModes = SFRM_ValuePerCall};
	TupleDesc desc = CreateTemplateTupleDesc(1);
	HeapTupleData tuple = {.t_len = 0};

	TupleDescInitEntry(desc, 1, "v", type, typmod, 0);
	result.expectedDesc = BlessTupleDesc(desc);
	fmgr_info(F_JSON_TO_RECORD, &function);
	InitFunctionCallInfoData(*fcinfo, &function, 1, InvalidOid, NULL, (Node *) &result);
	fcinfo->args[0].value = CStringGetTextDatum(psprintf("{\"v\":%s}", json));
	fcinfo->args[0].isnull = false;
	tuple.t_data = DatumGetHeapTupleHeader(FunctionCallInvoke(fcinfo));
	tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
	return heap_getattr(&tuple, 1, desc, isnull);
}
