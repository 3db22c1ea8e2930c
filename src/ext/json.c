/*-------------------------------------------------------------------------
 *
 * json.c
 *	  Values as JSON, by the rules of row_to_json.
 *
 * The rules are those of datum_to_json() in utils/adt/json.c, which is not to be had from
 * outside except through to_json(), whose every call looks up the type anew and copies
 * the result. So the scalar kinds are written here, straight into the buffer, and to_json()
 * is called for what is nested.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "json.h"

/* Whether a type that is not built in has a cast to json. */
static bool
json_has_cast(Oid type)
{
	Oid function;

	return type >= FirstNormalObjectId &&
		   find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT, &function) == COERCION_PATH_FUNC &&
		   OidIsValid(function);
}

/* Whether writing a value of the type may run a cast, at any depth. */
static bool
json_runs_cast(Oid type, List **relations)
{
	Oid element;
	TupleDesc tupdesc;
	bool found = false;

	check_stack_depth();
	type = getBaseType(type);
	if (type == RECORDOID || type == RECORDARRAYOID)
		return true; /* anything may be in it */
	if (OidIsValid(element = get_element_type(type)))
		return json_runs_cast(element, relations);
	if (!type_is_rowtype(type))
		return json_has_cast(type);

	*relations = list_append_unique_oid(*relations, get_typ_typrelid(type));
	tupdesc = lookup_rowtype_tupdesc_copy(type, -1);
	for (int i = 0; i < tupdesc->natts && !found; i++)
	{
		if (!TupleDescAttr(tupdesc, i)->attisdropped)
			found = json_runs_cast(TupleDescAttr(tupdesc, i)->atttypid, relations);
	}
	return found;
}

static JsonKind
json_kind(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return JSON_BOOL;
		case INT2OID:
			return JSON_INT2;
		case INT4OID:
			return JSON_INT4;
		case INT8OID:
			return JSON_INT8;
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			return JSON_NUMBER;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return JSON_DATETIME;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return JSON_TEXT;
		case JSONOID:
			return JSON_VERBATIM;
		case JSONBOID:
			return JSON_JSONB;
		default:
			if (OidIsValid(get_element_type(type)) || type == RECORDARRAYOID || type_is_rowtype(type) ||
				json_has_cast(type))
				return JSON_NESTED;
			return JSON_OTHER;
	}
}

void
json_prepare(JsonType *json, Oid type, MemoryContext context, List **relations)
{
	Oid output;

	json->type = getBaseType(type);
	json->kind = json_kind(json->type);
	json->careful = json->kind == JSON_NESTED && json_runs_cast(json->type, relations);
	json->structured = json->kind == JSON_NESTED || json->kind == JSON_OTHER || json->kind == JSON_NUMBER ||
					   json->kind == JSON_JSONB;
	getTypeOutputInfo(json->type, &output, &json->varlena);
	fmgr_info_cxt(output, &json->output, context);
	if (json->kind == JSON_NESTED)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(context);
		List *args = list_make1(makeNullConst(json->type, -1, InvalidOid));

		/* to_json() asks the call's expression for the type of its argument. */
		fmgr_info_cxt(F_TO_JSON, &json->to_json, context);
		fmgr_info_set_expr(
			(Node *) makeFuncExpr(F_TO_JSON, JSONOID, args, InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL),
			&json->to_json);
		MemoryContextSwitchTo(oldcontext);
	}
}

/* The characters that cannot stand for themselves in a string (RFC 8259 section 7). */
static const bool json_escaped[UCHAR_MAX + 1] = {[0 ... ' ' - 1] = true, ['"'] = true, ['\\'] = true};

static void
json_append_escape(StringInfo buf, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char escape[] = "\\u0000";

	switch (c)
	{
		case '\b':
			escape[1] = 'b';
			break;
		case '\f':
			escape[1] = 'f';
			break;
		case '\n':
			escape[1] = 'n';
			break;
		case '\r':
			escape[1] = 'r';
			break;
		case '\t':
			escape[1] = 't';
			break;
		case '"':
		case '\\':
			escape[1] = (char) c;
			break;
		default:
			escape[4] = hex[c >> 4];
			escape[5] = hex[c & 15];
			break;
	}
	appendBinaryStringInfo(buf, escape, escape[1] == 'u' ? 6 : 2);
}

void
json_append_string(StringInfo buf, const char *string, Size length)
{
	const char *end = string + length;

	appendStringInfoCharMacro(buf, '"');
	while (string < end)
	{
		const char *run = string;

		while (string < end && !json_escaped[(unsigned char) *string])
			string++;
		if (string > run)
			appendBinaryStringInfo(buf, run, (int) (string - run));
		if (string < end)
			json_append_escape(buf, (unsigned char) *string++);
	}
	appendStringInfoCharMacro(buf, '"');
}

/* text and json values: straight from where they are stored, if they are not toasted. */
static void
json_append_text(StringInfo buf, Datum value, bool verbatim)
{
	text *plain = DatumGetTextPP(value);

	if (verbatim)
		appendBinaryStringInfo(buf, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
	else
		json_append_string(buf, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
	if ((Pointer) plain != DatumGetPointer(value))
		pfree(plain);
}

static void
json_append_output(StringInfo buf, JsonType *json, Datum value)
{
	char *output = OutputFunctionCall(&json->output, value);
	Size length = strlen(output);

	if (json->kind == JSON_NUMBER && IsValidJsonNumber(output, (int) length))
		appendBinaryStringInfo(buf, output, (int) length);
	else
		json_append_string(buf, output, length);
	pfree(output);
}

static void
json_append_jsonb(StringInfo buf, Datum value)
{
	Jsonb *jsonb = DatumGetJsonbP(value);

	(void) JsonbToCString(buf, &jsonb->root, VARSIZE(jsonb));
	if ((Pointer) jsonb != DatumGetPointer(value))
		pfree(jsonb);
}

void
json_append(StringInfo buf, JsonType *json, Datum value, bool as_text)
{
	char small[MAXDATELEN + 1];

	switch (json->kind)
	{
		case JSON_BOOL:
			appendStringInfoString(buf, DatumGetBool(value) ? "true" : "false");
			break;
		case JSON_INT2:
			appendBinaryStringInfo(buf, small, pg_itoa(DatumGetInt16(value), small));
			break;
		case JSON_INT4:
			appendBinaryStringInfo(buf, small, pg_ltoa(DatumGetInt32(value), small));
			break;
		case JSON_INT8:
			appendBinaryStringInfo(buf, small, pg_lltoa(DatumGetInt64(value), small));
			break;
		case JSON_DATETIME:
			/* nothing in it to be escaped */
			appendStringInfoCharMacro(buf, '"');
			appendStringInfoString(buf, JsonEncodeDateTime(small, value, json->type, NULL));
			appendStringInfoCharMacro(buf, '"');
			break;
		case JSON_TEXT:
			json_append_text(buf, value, false);
			break;
		case JSON_VERBATIM:
			json_append_text(buf, value, true);
			break;
		case JSON_JSONB:
			json_append_jsonb(buf, value);
			break;
		case JSON_NESTED:
			if (json->careful && as_text)
				json_append_output(buf, json, value);
			else
			{
				Datum nested = FunctionCall1(&json->to_json, value);

				json_append_text(buf, nested, true);
				pfree(DatumGetPointer(nested));
			}
			break;
		case JSON_NUMBER:
		case JSON_OTHER:
			json_append_output(buf, json, value);
			break;
	}
}

Size
json_value_size(const JsonType *json, Datum value)
{
	if (!json->varlena)
		return 0;
	if (VARATT_IS_EXTENDED(DatumGetPointer(value)))
		return toast_raw_datum_size(value);
	return VARSIZE(DatumGetPointer(value));
}
