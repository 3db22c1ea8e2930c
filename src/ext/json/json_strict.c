/*-------------------------------------------------------------------------
 *
 * json_strict.c
 *	  Values from JSON of users that must have exactly the fields of a type.
 *
 * json_populate_record() leaves out what it does not know and fills in nulls. Here that is an error,
 * and each error names the field, such as address.zip or lines[2].sku. Scalar values are read by
 * their types' input functions, from the kind of JSON that json.h writes for the type. Numbers may
 * also be strings, as JavaScript sends those that it cannot represent.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "ext/json/json.h"
#include "ext/json/json_strict.h"

struct JsonStrict
{
	Oid type; /* of a domain: its base type */
	int32 typmod;
	Oid domain; /* InvalidOid: none */
	void *domain_checks;
	MemoryContext context;
	JsonKind kind;
	FmgrInfo input; /* of scalar types */
	Oid input_argument;
	TupleDesc desc;      /* of composite types */
	JsonStrict **fields; /* NULL: dropped */
	Oid element_type;    /* of arrays */
	JsonStrict *element;
};

/* A value that is being read. */
typedef struct StrictReading
{
	const char *subject;
	StringInfoData path; /* of the field */
	const JsonStrict *reader;
	bool reported; /* the error says all */
} StrictReading;

/* ---------------- preparing ---------------- */

static void
strict_prepare_record(JsonStrict *reader)
{
	reader->desc = lookup_rowtype_tupdesc_copy(reader->type, -1);
	reader->fields = palloc0(Max(reader->desc->natts, 1) * sizeof(JsonStrict *));
	for (int i = 0; i < reader->desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(reader->desc, i);

		if (!attribute->attisdropped)
			reader->fields[i] = json_strict_prepare(attribute->atttypid, attribute->atttypmod);
	}
}

JsonStrict *
json_strict_prepare(Oid type, int32 typmod)
{
	JsonStrict *reader = palloc0(sizeof(JsonStrict));
	JsonType json = {0};
	List *relations = NIL;
	Oid input;

	check_stack_depth();
	reader->context = CurrentMemoryContext;
	reader->typmod = typmod;
	reader->type = getBaseTypeAndTypmod(type, &reader->typmod);
	reader->domain = reader->type != type ? type : InvalidOid;
	reader->element_type = get_element_type(reader->type);
	json_prepare(&json, reader->type, &relations);
	reader->kind = json.kind;
	if (OidIsValid(reader->element_type))
		reader->element = json_strict_prepare(reader->element_type, reader->typmod);
	else if (type_is_rowtype(reader->type))
		strict_prepare_record(reader);
	else
	{
		getTypeInputInfo(reader->type, &input, &reader->input_argument);
		fmgr_info(input, &reader->input);
	}
	return reader;
}

/* ---------------- errors ---------------- */

/* Return the fields of the record that is being read, as "id integer, at date". */
static char *
strict_fields(const JsonStrict *record)
{
	StringInfoData fields;

	initStringInfo(&fields);
	for (int i = 0; i < record->desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(record->desc, i);

		if (!attribute->attisdropped)
			appendStringInfo(&fields, "%s%s %s", fields.len > 0 ? ", " : "",
							 quote_identifier(NameStr(attribute->attname)),
							 format_type_with_typemod(attribute->atttypid, attribute->atttypmod));
	}
	return fields.data;
}

/* Return what the path names, for a message. */
static char *
strict_place(const StrictReading *reading)
{
	return reading->path.len == 0
			   ? psprintf("the %s", reading->subject)
			   : psprintf("field \"%s\" of the %s", reading->path.data, reading->subject);
}

static char *
strict_type_name(const JsonStrict *reader)
{
	return OidIsValid(reader->domain) ? format_type_be(reader->domain)
									  : format_type_with_typemod(reader->type, reader->typmod);
}

/* The value that is being read is wrong. */
static void
strict_wrong(StrictReading *reading, int sqlstate, const char *detail)
{
	char *place = strict_place(reading);

	reading->reported = true;
	ereport(ERROR,
			(errcode(sqlstate), errmsg("%s is invalid", place), errdetail_internal("%s", detail),
			 errhint("Give a value of type %s.", strict_type_name(reading->reader))));
}

static void
strict_push(StrictReading *reading, const char *name)
{
	appendStringInfo(&reading->path, "%s%s", reading->path.len > 0 ? "." : "", name);
}

static void
strict_pop(StrictReading *reading, int length)
{
	reading->path.len = length;
	reading->path.data[length] = '\0';
}

static void
strict_missing(StrictReading *reading, const JsonStrict *record, const char *name)
{
	strict_push(reading, name);
	reading->reported = true;
	ereport(ERROR, (errcode(ERRCODE_SQL_JSON_MEMBER_NOT_FOUND),
					errmsg("%s is missing", strict_place(reading)),
					errdetail("Type %s has the fields %s.", format_type_be(record->type),
							  strict_fields(record)),
					errhint("Give null for a field without a value.")));
}

static void
strict_extra(StrictReading *reading, const JsonStrict *record, const char *name)
{
	strict_push(reading, name);
	reading->reported = true;
	ereport(ERROR, (errcode(ERRCODE_TOO_MANY_JSON_OBJECT_MEMBERS),
					errmsg("%s is unknown", strict_place(reading)),
					errdetail("Type %s has the fields %s.", format_type_be(record->type),
							  strict_fields(record)),
					errhint("Leave the field out, or add it to the type.")));
}

/* Return true if an error says that a value is wrong. */
static bool
strict_is_of_value(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION: /* of a domain */
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
		case ERRCODE_PLPGSQL_ERROR: /* of a function that a domain uses */
			return true;
		default:
			return false;
	}
}

/* ---------------- reading ---------------- */

static const char *
strict_kind_of(const JsonbValue *json)
{
	switch (json->type)
	{
		case jbvString:
			return "string";
		case jbvNumeric:
			return "number";
		case jbvBool:
			return "boolean";
		default:
			return JsonContainerIsObject(json->val.binary.data) ? "object" : "array";
	}
}

static Datum
strict_read_json(const JsonStrict *reader, const JsonbValue *json)
{
	Jsonb *jsonb = JsonbValueToJsonb(unconstify(JsonbValue *, json));

	if (reader->kind == JSON_JSONB)
		return JsonbPGetDatum(jsonb);
	return CStringGetTextDatum(JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb)));
}

/* Return the text for the input function, or NULL if the value has another kind of JSON. */
static char *
strict_scalar_text(const JsonStrict *reader, const JsonbValue *json)
{
	if (json->type == jbvBool && reader->kind == JSON_BOOL)
		return json->val.boolean ? "true" : "false";
	if (reader->kind == JSON_BOOL)
		return NULL;
	if (json->type == jbvString)
		return pnstrdup(json->val.string.val, json->val.string.len);
	if (json->type == jbvNumeric && reader->kind != JSON_TEXT)
		return DatumGetCString(
			DirectFunctionCall1(numeric_out, NumericGetDatum(json->val.numeric)));
	return NULL;
}

static Datum
strict_read_scalar(StrictReading *reading, JsonStrict *reader, const JsonbValue *json)
{
	char *text = strict_scalar_text(reader, json);

	if (text == NULL)
		strict_wrong(reading,
					 json->type == jbvBinary ? ERRCODE_SQL_JSON_SCALAR_REQUIRED
											 : ERRCODE_INVALID_TEXT_REPRESENTATION,
					 psprintf("A JSON %s is no value of this type.", strict_kind_of(json)));
	return InputFunctionCall(&reader->input, text, reader->input_argument, reader->typmod);
}

static Datum
strict_read_value(StrictReading *reading, JsonStrict *reader, const JsonbValue *json, bool *isnull);

static int
strict_find_field(const JsonStrict *record, const JsonbValue *key)
{
	for (int i = 0; i < record->desc->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(record->desc, i)->attname);

		if (record->fields[i] != NULL && strlen(name) == (size_t) key->val.string.len &&
			memcmp(name, key->val.string.val, key->val.string.len) == 0)
			return i;
	}
	return -1;
}

static Datum
strict_read_record(StrictReading *reading, JsonStrict *record, const JsonbValue *json)
{
	int natts = record->desc->natts;
	Datum *values = palloc0(Max(natts, 1) * sizeof(Datum));
	bool *nulls = palloc(Max(natts, 1) * sizeof(bool));
	bool *given = palloc0(Max(natts, 1) * sizeof(bool));
	int length = reading->path.len;
	int field = -1;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue value;

	if (json->type != jbvBinary || !JsonContainerIsObject(json->val.binary.data))
		strict_wrong(
			reading, ERRCODE_SQL_JSON_OBJECT_NOT_FOUND,
			psprintf("It is not a JSON object with the fields %s.", strict_fields(record)));
	memset(nulls, true, natts * sizeof(bool));
	iterator = JsonbIteratorInit(json->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			field = strict_find_field(record, &value);
			if (field < 0)
				strict_extra(reading, record, pnstrdup(value.val.string.val, value.val.string.len));
		}
		else if (token == WJB_VALUE)
		{
			strict_push(reading, NameStr(TupleDescAttr(record->desc, field)->attname));
			values[field] =
				strict_read_value(reading, record->fields[field], &value, &nulls[field]);
			strict_pop(reading, length);
			given[field] = true;
		}
	}
	for (int i = 0; i < natts; i++)
	{
		if (record->fields[i] != NULL && !given[i])
			strict_missing(reading, record, NameStr(TupleDescAttr(record->desc, i)->attname));
	}
	return HeapTupleGetDatum(heap_form_tuple(record->desc, values, nulls));
}

static bool
strict_is_array(const JsonbValue *json)
{
	return json->type == jbvBinary && JsonContainerIsArray(json->val.binary.data);
}

/* Arrays in an array are further dimensions, unless they are values of its elements. */
static bool
strict_has_dimensions(const JsonStrict *array, const JsonbValue *first)
{
	return strict_is_array(first) && !OidIsValid(array->element->element_type) &&
		   array->element->kind != JSON_JSONB && array->element->kind != JSON_VERBATIM;
}

static Datum
strict_read_array(StrictReading *reading, JsonStrict *array, const JsonbValue *json)
{
	ArrayBuildState *elements = NULL;
	ArrayBuildStateArr *arrays = NULL;
	int length = reading->path.len;
	int n = 0;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue value;

	check_stack_depth();
	reading->reader = array;
	if (!strict_is_array(json))
		strict_wrong(reading, ERRCODE_SQL_JSON_ARRAY_NOT_FOUND, "It is not a JSON array.");
	iterator = JsonbIteratorInit(json->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		bool isnull = false;

		if (token != WJB_ELEM)
			continue;
		appendStringInfo(&reading->path, "[%d]", n);
		if (n++ == 0 && strict_has_dimensions(array, &value))
			arrays =
				initArrayResultArr(array->type, array->element_type, CurrentMemoryContext, false);
		if (arrays != NULL)
		{
			Datum inner = strict_read_array(reading, array, &value);

			reading->reader = array;
			arrays = accumArrayResultArr(arrays, inner, false, array->type, CurrentMemoryContext);
		}
		else
		{
			Datum element = strict_read_value(reading, array->element, &value, &isnull);

			elements = accumArrayResult(elements, element, isnull, array->element_type,
										CurrentMemoryContext);
		}
		strict_pop(reading, length);
	}
	if (arrays != NULL)
		return makeArrayResultArr(arrays, CurrentMemoryContext, false);
	return elements != NULL ? makeArrayResult(elements, CurrentMemoryContext)
							: PointerGetDatum(construct_empty_array(array->element_type));
}

static Datum
strict_read_value(StrictReading *reading, JsonStrict *reader, const JsonbValue *json, bool *isnull)
{
	Datum value = 0;

	reading->reader = reader;
	*isnull = json->type == jbvNull;
	if (*isnull)
		value = 0;
	else if (reader->element != NULL)
		value = strict_read_array(reading, reader, json);
	else if (reader->desc != NULL)
		value = strict_read_record(reading, reader, json);
	else if (reader->kind == JSON_JSONB || reader->kind == JSON_VERBATIM)
		value = strict_read_json(reader, json);
	else
		value = strict_read_scalar(reading, reader, json);
	if (OidIsValid(reader->domain))
	{
		reading->reader = reader;
		domain_check(value, *isnull, reader->domain, &reader->domain_checks, reader->context);
	}
	return value;
}

bool
json_has_large_exponent(const char *json)
{
	bool quoted = false;

	for (const char *p = json; *p != '\0'; p++)
	{
		if (quoted && *p == '\\' && p[1] != '\0')
			p++;
		else if (*p == '"')
			quoted = !quoted;
		else if (!quoted && (*p == 'e' || *p == 'E') && p > json &&
				 isdigit((unsigned char) p[-1]) && strtol(p + 1, NULL, 10) > JSON_MAX_EXPONENT)
			return true;
	}
	return false;
}

/* Read the value from JSON, whose root is a scalar or a container. */
static Datum
strict_read_root(StrictReading *reading, JsonStrict *reader, const char *json, bool *isnull)
{
	Jsonb *jsonb;
	JsonbValue root = {.type = jbvBinary};

	if (json_has_large_exponent(json))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("a number has an exponent larger than %d", JSON_MAX_EXPONENT)));
	jsonb =
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(unconstify(char *, json))));
	if (JB_ROOT_IS_SCALAR(jsonb))
		(void) JsonbExtractScalar(&jsonb->root, &root);
	else
	{
		root.val.binary.data = &jsonb->root;
		root.val.binary.len = (int) VARSIZE(jsonb) - VARHDRSZ;
	}
	return strict_read_value(reading, reader, &root, isnull);
}

Datum
json_strict_read(JsonStrict *reader, const char *json, const char *subject, bool *isnull)
{
	StrictReading reading = {.subject = subject, .reader = reader};
	MemoryContext caller = CurrentMemoryContext;
	volatile Datum value = 0;

	initStringInfo(&reading.path);
	PG_TRY();
	{
		value = strict_read_root(&reading, reader, json, isnull);
	}
	PG_CATCH();
	{
		ErrorData *error;

		if (reading.reported || !strict_is_of_value(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		strict_wrong(&reading, error->sqlerrcode, psprintf("%s.", error->message));
	}
	PG_END_TRY();
	return value;
}
