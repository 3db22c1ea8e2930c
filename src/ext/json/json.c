/*-------------------------------------------------------------------------
 *
 * json.c
 *	  Values as JSON, by the rules of row_to_json.
 *
 * The rules are those of datum_to_json() in utils/adt/json.c. Other files can call it only through
 * to_json(), which looks up the type and copies the result in each call. So this file writes scalar
 * values straight into the buffer, and calls to_json() for nested ones. A value has one text, whatever
 * the session's settings are: values that depend on them are written here, or while the settings are
 * pinned (json_pin.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "ext/base/buffer.h"
#include "ext/json/json.h"

/* Whether a type that is not built in has a cast to json. */
static bool
json_has_cast(Oid type)
{
	Oid function;

	return type >= FirstNormalObjectId &&
		   find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT, &function) ==
			   COERCION_PATH_FUNC &&
		   OidIsValid(function);
}

static void json_explore(JsonType *json, Oid type, List **relations);

static void
json_explore_row(JsonType *json, Oid type, List **relations)
{
	TupleDesc tupdesc = lookup_rowtype_tupdesc_copy(type, -1);

	*relations = list_append_unique_oid(*relations, get_typ_typrelid(type));
	for (int i = 0; i < tupdesc->natts; i++)
	{
		if (!TupleDescAttr(tupdesc, i)->attisdropped)
			json_explore(json, TupleDescAttr(tupdesc, i)->atttypid, relations);
	}
}

/* Find out whether writing a value of the type, at any depth, may run a cast, and which settings matter. */
static void
json_explore(JsonType *json, Oid type, List **relations)
{
	Oid inner;

	check_stack_depth();
	type = getBaseType(type);
	if (type == RECORDOID || type == RECORDARRAYOID)
	{
		/* Anything may be in it. */
		json->careful = true;
		json->pins |= JSON_PIN_UNKNOWN | JSON_PIN_MONEY | JSON_PIN_SEARCH_PATH;
	}
	else if (OidIsValid(inner = get_element_type(type)))
		json_explore(json, inner, relations);
	else if (type_is_multirange(type))
		json_explore(json, get_multirange_range(type), relations);
	else if (OidIsValid(inner = get_range_subtype(type)))
		json_explore(json, inner, relations);
	else if (type_is_rowtype(type))
		json_explore_row(json, type, relations);
	else
	{
		json->careful = json->careful || json_has_cast(type);
		json->pins |= json_pins_of(type);
	}
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
			return JSON_FLOAT4;
		case FLOAT8OID:
			return JSON_FLOAT8;
		case NUMERICOID:
			return JSON_NUMERIC;
		case DATEOID:
			return JSON_DATE;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return JSON_TIMESTAMP;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return JSON_TEXT;
		case JSONOID:
			return JSON_VERBATIM;
		case JSONBOID:
			return JSON_JSONB;
		default:
			if (OidIsValid(get_element_type(type)) || type == RECORDARRAYOID ||
				type_is_rowtype(type) || json_has_cast(type))
				return JSON_NESTED;
			return JSON_OTHER;
	}
}

bool
json_is_oid_name(Oid type)
{
	return type < FirstNormalObjectId && (json_pins_of(type) & JSON_PIN_SEARCH_PATH) != 0;
}

static JsonExact
json_exact(Oid type, JsonKind kind)
{
	Oid element;

	switch (kind)
	{
		case JSON_VERBATIM:
		case JSON_JSONB:
			return JSON_EXACT_UNLESS_NULL;
		case JSON_NESTED:
			element = get_element_type(type);
			if (!OidIsValid(element))
				return JSON_INEXACT;
			element = getBaseType(element);
			return json_exact(element, json_kind(element)) == JSON_EXACT ? JSON_EXACT_IF_PLAIN
																		 : JSON_INEXACT;
		case JSON_OTHER:
			return json_is_oid_name(type) ? JSON_INEXACT : JSON_EXACT;
		default:
			return JSON_EXACT;
	}
}

void
json_prepare(JsonType *json, Oid type, List **relations)
{
	Oid output;

	json->type = getBaseType(type);
	json->kind = json_kind(json->type);
	json->exact = json_exact(json->type, json->kind);
	if (json->kind == JSON_NESTED || json->kind == JSON_OTHER)
		json_explore(json, json->type, relations);
	json->careful = json->careful && json->kind == JSON_NESTED;
	json->structured = json->kind == JSON_NESTED || json->kind == JSON_OTHER ||
					   json->kind == JSON_NUMERIC || json->kind == JSON_JSONB;
	getTypeOutputInfo(json->type, &output, &json->varlena);
	if (json->kind == JSON_NUMERIC || json->kind == JSON_OTHER || json->kind == JSON_NESTED)
	{
		json->output = palloc(sizeof(FmgrInfo));
		fmgr_info(output, json->output);
	}
	if (json->kind == JSON_TIMESTAMP)
		json->second = palloc0(sizeof(JsonSecond));
	if (json->kind == JSON_NESTED)
	{
		List *args = list_make1(makeNullConst(json->type, -1, InvalidOid));

		/* to_json() asks the call's expression for the type of its argument. */
		json->to_json = palloc(sizeof(FmgrInfo));
		fmgr_info(F_TO_JSON, json->to_json);
		fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSON, JSONOID, args, InvalidOid, InvalidOid,
												 COERCE_EXPLICIT_CALL),
						   json->to_json);
	}
}

/* The characters that a JSON string must escape (RFC 8259 section 7). */
static const bool json_escaped[UCHAR_MAX + 1] = {
	[0 ... ' ' - 1] = true, ['"'] = true, ['\\'] = true};

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
	buffer_put(buf, escape, escape[1] == 'u' ? 6 : 2);
}

void
json_append_string(StringInfo buf, const char *string, Size length)
{
	const char *end = string + length;

	buffer_put_literal(buf, "\"");
	while (string < end)
	{
		const char *run = string;

		while (string < end && !json_escaped[(unsigned char) *string])
			string++;
		if (string > run)
			buffer_put(buf, run, (int) (string - run));
		if (string < end)
			json_append_escape(buf, (unsigned char) *string++);
	}
	buffer_put_literal(buf, "\"");
}

/* Append a text or json value without a copy, if it is not toasted. */
static void
json_append_text(StringInfo buf, Datum value, bool verbatim)
{
	text *plain = DatumGetTextPP(value);

	if (verbatim)
		buffer_put(buf, VARDATA_ANY(plain), (int) VARSIZE_ANY_EXHDR(plain));
	else
		json_append_string(buf, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
	if ((Pointer) plain != DatumGetPointer(value))
		pfree(plain);
}

/* A numeric's text is a JSON number, unless it is NaN or an infinity. */
static void
json_append_output(StringInfo buf, const JsonType *json, Datum value)
{
	char *output = OutputFunctionCall(json->output, value);
	Size length = strlen(output);

	if (json->kind == JSON_NUMERIC && output[length - 1] >= '0' && output[length - 1] <= '9')
		buffer_put(buf, output, (int) length);
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

static void
json_append_number(StringInfo buf, int64 number)
{
	buffer_reserve(buf, MAXINT8LEN);
	buf->len += pg_lltoa(number, buf->data + buf->len);
}

/* The shortest text that gives the same value back, as output functions write it with extra_float_digits = 1. */
static void
json_append_float(StringInfo buf, double number, bool single)
{
	char small[DOUBLE_SHORTEST_DECIMAL_LEN];
	int length = single ? float_to_shortest_decimal_bufn((float) number, small)
						: double_to_shortest_decimal_bufn(number, small);

	if (isfinite(number))
		buffer_put(buf, small, length);
	else
		json_append_string(buf, small, length);
}

/* JsonEncodeDateTime() for UTC, whatever the session's time zone is. */
static void
json_encode_datetime(char *text, const JsonType *json, Datum value)
{
	static const int utc = 0;

	JsonEncodeDateTime(text, value, json->type, json->type == TIMESTAMPTZOID ? &utc : NULL);
}

/* The text has no characters to escape. */
static void
json_append_datetime(StringInfo buf, const JsonType *json, Datum value)
{
	char small[MAXDATELEN + 1];

	json_encode_datetime(small, json, value);
	buffer_put_literal(buf, "\"");
	buffer_put(buf, small, (int) strlen(small));
	buffer_put_literal(buf, "\"");
}

/* Keep the text of a second in two parts: a fraction comes between them, behind hh:mm:ss. */
static void
json_learn_second(JsonSecond *known, const JsonType *json, int64 second)
{
	char small[MAXDATELEN + 1];
	const char *after;

	json_encode_datetime(small, json, TimestampGetDatum(second * USECS_PER_SEC));
	after = strchr(small, 'T') + strlen("Thh:mm:ss");
	known->second = second;
	known->before_length = (int) (after - small);
	known->after_length = (int) strlen(after);
	Assert(known->before_length <= (int) sizeof(known->before) &&
		   known->after_length <= (int) sizeof(known->after));
	memcpy(known->before, small, known->before_length);
	memcpy(known->after, after, known->after_length);
}

/* Append a fraction without trailing zeros, as AppendSeconds() of utils/adt/datetime.c does. */
static void
json_append_fraction(StringInfo buf, uint32 fraction)
{
	char text[] = ".000000";
	int length = 7;

	pg_ultostr_zeropad(text + 1, fraction, 6);
	while (text[length - 1] == '0')
		length--;
	buffer_put(buf, text, length);
}

static void
json_append_timestamp(StringInfo buf, const JsonType *json, Datum value)
{
	JsonSecond *known = json->second;
	Timestamp timestamp = DatumGetTimestamp(value);
	int64 second = timestamp / USECS_PER_SEC;
	int64 fraction = timestamp % USECS_PER_SEC;

	if (TIMESTAMP_NOT_FINITE(timestamp))
	{
		json_append_datetime(buf, json, value);
		return;
	}
	if (fraction < 0)
	{
		second--;
		fraction += USECS_PER_SEC;
	}
	if (second != known->second || known->before_length == 0)
		json_learn_second(known, json, second);
	buffer_put_literal(buf, "\"");
	buffer_put(buf, known->before, known->before_length);
	if (fraction != 0)
		json_append_fraction(buf, (uint32) fraction);
	buffer_put(buf, known->after, known->after_length);
	buffer_put_literal(buf, "\"");
}

void
json_append(StringInfo buf, const JsonType *json, Datum value, bool as_text)
{
	switch (json->kind)
	{
		case JSON_BOOL:
			if (DatumGetBool(value))
				buffer_put_literal(buf, "true");
			else
				buffer_put_literal(buf, "false");
			break;
		case JSON_INT2:
			json_append_number(buf, DatumGetInt16(value));
			break;
		case JSON_INT4:
			json_append_number(buf, DatumGetInt32(value));
			break;
		case JSON_INT8:
			json_append_number(buf, DatumGetInt64(value));
			break;
		case JSON_DATE:
			json_append_datetime(buf, json, value);
			break;
		case JSON_TIMESTAMP:
			json_append_timestamp(buf, json, value);
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
				Datum nested = FunctionCall1(json->to_json, value);

				json_append_text(buf, nested, true);
				pfree(DatumGetPointer(nested));
			}
			break;
		case JSON_FLOAT4:
			json_append_float(buf, DatumGetFloat4(value), true);
			break;
		case JSON_FLOAT8:
			json_append_float(buf, DatumGetFloat8(value), false);
			break;
		case JSON_NUMERIC:
		case JSON_OTHER:
			json_append_output(buf, json, value);
			break;
	}
}

/* A text whose JSON is null is no longer than its characters. */
static bool
json_text_is_null(Datum value)
{
	struct varlena *text = (struct varlena *) DatumGetPointer(value);

	return !VARATT_IS_EXTERNAL(text) && !VARATT_IS_COMPRESSED(text) &&
		   VARSIZE_ANY_EXHDR(text) == strlen("null") && memcmp(VARDATA_ANY(text), "null", 4) == 0;
}

/* A jsonb of a null consists of the headers of an array and of its only element (utils/jsonb.h). */
static bool
json_jsonb_is_null(Datum value)
{
	struct varlena *jsonb = (struct varlena *) DatumGetPointer(value);
	uint32 headers[2];

	if (VARATT_IS_EXTERNAL(jsonb) || VARATT_IS_COMPRESSED(jsonb) ||
		VARSIZE_ANY_EXHDR(jsonb) != sizeof(headers))
		return false;
	memcpy(headers, VARDATA_ANY(jsonb), sizeof(headers));
	return (headers[0] & JB_FSCALAR) && JBE_ISNULL(headers[1]);
}

static bool
json_array_is_plain(Datum value)
{
	ArrayType *array =
		(ArrayType *) PG_DETOAST_DATUM_SLICE(value, 0, ARR_OVERHEAD_NONULLS(MAXDIM) - VARHDRSZ);
	bool plain = true;

	for (int i = 0; i < ARR_NDIM(array); i++)
		plain = plain && ARR_LBOUND(array)[i] == 1;
	pfree(array);
	return plain;
}

bool
json_is_exact(const JsonType *json, Datum value)
{
	switch (json->exact)
	{
		case JSON_EXACT:
			return true;
		case JSON_EXACT_UNLESS_NULL:
			return json->kind == JSON_JSONB ? !json_jsonb_is_null(value)
											: !json_text_is_null(value);
		case JSON_EXACT_IF_PLAIN:
			return json_array_is_plain(value);
		case JSON_INEXACT:
			return false;
	}
	return false;
}

void
json_append_exact(StringInfo buf, const JsonType *json, Datum value)
{
	char *output;

	if (json_is_oid_name(json->type))
	{
		json_append_number(buf, DatumGetObjectId(value));
		return;
	}
	output = OutputFunctionCall(json->output, value);
	buffer_put(buf, output, (int) strlen(output));
	pfree(output);
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
