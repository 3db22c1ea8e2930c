/*-------------------------------------------------------------------------
 *
 * rest_value.c
 *	  Values from the path and the body of a request, and what is wrong with them.
 *
 * PostgreSQL itself reads the values, by the types' input functions. What is wrong with all of them is reported at
 * once, with the texts that FastAPI has for the types that both know. Input that cannot fail needs no subtransaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "ext/base/subtransaction.h"
#include "ext/base/utf8.h"
#include "ext/rest/rest_internal.h"

/* ---------------- problems ---------------- */

static void
rest_append_json(StringInfo problems, const char *text)
{
	utf8_append_json_string(problems, text, (int) strlen(text));
}

void
rest_problem(StringInfo problems, const char *where, const char *name, const char *message,
			 const char *type)
{
	appendStringInfo(problems, "%s{\"loc\":[\"%s\"", problems->len > 0 ? "," : "", where);
	if (name != NULL)
	{
		appendStringInfoChar(problems, ',');
		rest_append_json(problems, name);
	}
	appendStringInfoString(problems, "],\"msg\":");
	rest_append_json(problems, message);
	appendStringInfoString(problems, ",\"type\":");
	rest_append_json(problems, type);
	appendStringInfoChar(problems, '}');
}

/* What FastAPI says about a text that is no value of a type. */
static const struct
{
	Oid type;
	const char *message;
	const char *kind;
} rest_types[] = {
	{INT2OID, "value is not a valid integer", "type_error.integer"},
	{INT4OID, "value is not a valid integer", "type_error.integer"},
	{INT8OID, "value is not a valid integer", "type_error.integer"},
	{FLOAT4OID, "value is not a valid float", "type_error.float"},
	{FLOAT8OID, "value is not a valid float", "type_error.float"},
	{NUMERICOID, "value is not a valid float", "type_error.float"},
	{BOOLOID, "value could not be parsed to a boolean", "type_error.bool"},
	{DATEOID, "invalid date format", "value_error.date"},
	{TIMEOID, "invalid time format", "value_error.time"},
	{TIMESTAMPOID, "invalid datetime format", "value_error.datetime"},
	{TIMESTAMPTZOID, "invalid datetime format", "value_error.datetime"},
	{UUIDOID, "value is not a valid uuid", "type_error.uuid"},
};

/* Report a value that is none of the column's type. Returns false if FastAPI has no text for the type. */
static bool
rest_wrong_type(const RestColumn *column, const char *where, StringInfo problems)
{
	Oid type = getBaseType(column->type);

	for (int i = 0; i < (int) lengthof(rest_types); i++)
	{
		if (rest_types[i].type != type)
			continue;
		rest_problem(problems, where, column->name, rest_types[i].message, rest_types[i].kind);
		return true;
	}
	return false;
}

static void
rest_wrong_text(const RestColumn *column, const char *where, const ErrorData *error,
				StringInfo problems)
{
	if ((error->sqlerrcode != ERRCODE_INVALID_TEXT_REPRESENTATION &&
		 error->sqlerrcode != ERRCODE_INVALID_DATETIME_FORMAT &&
		 error->sqlerrcode != ERRCODE_DATETIME_FIELD_OVERFLOW) ||
		!rest_wrong_type(column, where, problems))
		rest_problem(problems, where, column->name, error->message, "value_error");
}

void
rest_problem_limit(StringInfo problems, const char *where, const char *name, const char *message,
				   const char *type, int limit)
{
	rest_problem(problems, where, name, message, type);
	problems->len--; /* the brace */
	appendStringInfo(problems, ",\"ctx\":{\"limit_value\":%d}}", limit);
}

static void
rest_too_long(const RestColumn *column, const char *where, int limit, StringInfo problems)
{
	rest_problem_limit(problems, where, column->name,
					   psprintf("ensure this value has at most %d characters", limit),
					   "value_error.any_str.max_length", limit);
}

/* ---------------- values ---------------- */

typedef struct RestInput
{
	const RestColumn *column;
	char *text;
	bool json; /* text is JSON, from which PostgreSQL makes an array or composite value */
	Datum value;
	bool isnull;
} RestInput;

static void
rest_input(void *arg)
{
	RestInput *input = arg;
	Oid function;
	Oid argument;

	if (input->json)
	{
		input->value =
			query_value(input->text, input->column->type, input->column->typmod, &input->isnull);
		return;
	}
	getTypeInputInfo(input->column->type, &function, &argument);
	input->value = OidInputFunctionCall(function, input->text, argument, input->column->typmod);
}

/* Return true if the text surely is a value of the column's type. */
static bool
rest_is_plain(const RestColumn *column, const char *text)
{
	switch (column->type)
	{
		case INT4OID:
			return text[0] != '\0' && strspn(text, "0123456789") == strlen(text) &&
				   strlen(text) < 10;
		case INT8OID:
			return text[0] != '\0' && strspn(text, "0123456789") == strlen(text) &&
				   strlen(text) < 19;
		case BOOLOID:
			return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
		case TEXTOID:
		case VARCHAROID:
			return true;
		default:
			return false;
	}
}

/* Read what may be no value of the column's type. */
static void
rest_try(RestInput *input, const char *where, StringInfo problems)
{
	ErrorData *error = subtransaction_try(rest_input, input);

	if (error == NULL)
		return;
	if (!query_value_is_wrong(error->sqlerrcode))
		ReThrowError(error);
	rest_wrong_text(input->column, where, error, problems);
}

static void
rest_read_text(const RestColumn *column, const char *where, char *text, RestValue *value,
			   StringInfo problems)
{
	RestInput input = {.column = column, .text = text};

	if (column->type == VARCHAROID && column->typmod >= VARHDRSZ &&
		pg_mbstrlen(text) > column->typmod - VARHDRSZ)
	{
		rest_too_long(column, where, column->typmod - VARHDRSZ, problems);
		return;
	}
	if (rest_is_plain(column, text))
		rest_input(&input);
	else
		rest_try(&input, where, problems);
	value->value = input.value;
}

void
rest_read_key(const RestColumn *column, char *text, RestValue *value, StringInfo problems)
{
	rest_read_text(column, "path", text, value, problems);
}

/* ---------------- the body ---------------- */

static char *
rest_json_text(JsonbValue *value)
{
	Jsonb *json = JsonbValueToJsonb(value);

	return JsonbToCString(NULL, &json->root, VARSIZE(json));
}

/* Return true if PostgreSQL makes such a value of JSON in another way than by its input function. */
static bool
rest_is_structured(Oid type)
{
	return type_is_array_domain(type) || type_is_rowtype(type);
}

static void
rest_read_structured(const RestColumn *column, char *json, RestValue *value, StringInfo problems)
{
	RestInput input = {.column = column, .text = json, .json = true};

	rest_try(&input, "body", problems);
	value->value = input.value;
	value->isnull = input.isnull;
}

static void
rest_read_member(const RestColumn *column, JsonbValue *json, RestValue *value, StringInfo problems)
{
	Oid type = getBaseType(column->type);

	if (column->generated)
		return;
	value->given = true;
	if (json->type == jbvNull)
	{
		value->isnull = true;
		if (column->not_null)
			rest_problem(problems, "body", column->name, "none is not an allowed value",
						 "type_error.none.not_allowed");
	}
	else if (type == JSONOID || type == JSONBOID)
		rest_read_text(column, "body", rest_json_text(json), value, problems);
	else if (rest_is_structured(column->type))
		rest_read_structured(column, rest_json_text(json), value, problems);
	else if (json->type == jbvString)
		rest_read_text(column, "body", pnstrdup(json->val.string.val, json->val.string.len), value,
					   problems);
	else if (json->type == jbvBinary)
	{
		if (!rest_wrong_type(column, "body", problems))
			rest_problem(problems, "body", column->name, "str type expected", "type_error.str");
	}
	else
		rest_read_text(column, "body", rest_json_text(json), value, problems);
}

static void
rest_read_members(const RestTable *table, Jsonb *json, RestValue *values, StringInfo problems)
{
	JsonbIterator *iterator = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue value;
	char *name = NULL;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
		{
			int i = rest_column(table, name);

			if (i < 0)
				rest_problem(problems, "body", name, "extra fields not permitted",
							 "value_error.extra");
			else
				rest_read_member(&table->columns[i], &value, &values[i], problems);
		}
	}
}

typedef struct RestBody
{
	char *text;
	Jsonb *json;
} RestBody;

static void
rest_parse_body(void *arg)
{
	RestBody *body = arg;

	body->json = query_json(body->text);
}

void
rest_read_body(const RestTable *table, WireBytes body, RestMethod method, RestValue *values,
			   StringInfo problems)
{
	RestBody parsed = {.text = query_text(body)};
	ErrorData *error;

	if (body.len == 0)
	{
		rest_problem(problems, "body", NULL, "field required", "value_error.missing");
		return;
	}
	error = subtransaction_try(rest_parse_body, &parsed);
	if (error != NULL)
	{
		if (!query_value_is_wrong(error->sqlerrcode))
			ReThrowError(error);
		rest_problem(problems, "body", NULL, error->message, "value_error.jsondecode");
		return;
	}
	if (!JB_ROOT_IS_OBJECT(parsed.json))
	{
		rest_problem(problems, "body", NULL, "value is not a valid dict", "type_error.dict");
		return;
	}
	rest_read_members(table, parsed.json, values, problems);
	for (int i = 0; method != REST_PATCH && i < table->ncolumns; i++)
	{
		const RestColumn *column = &table->columns[i];

		/* The path of PUT has the key. */
		if (!values[i].given && column->not_null && !column->has_default &&
			!(column->key && method == REST_PUT))
			rest_problem(problems, "body", column->name, "field required", "value_error.missing");
	}
}
