/*-------------------------------------------------------------------------
 *
 * json_read.c
 *	  Values from the JSON that json.h writes.
 *
 * Most values go through their type's input function. Two things need care. An input function must
 * not run code of users, because the caller may have the rights of a superuser: domain_in() checks
 * constraints, and composites, ranges and arrays call it for their parts. A value of a domain itself is
 * read as its base type; its constraints held when it was written. And an input function may fail,
 * because what the text names exists no more. It then runs in a subtransaction, unless the type is one
 * whose texts always can be read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "ext/base/subtransaction.h"
#include "ext/json/json_read.h"

/* ---------------- preparing ---------------- */

/*
 * Find out whether input functions of the type's parts might run code of a user, or take names of
 * objects. Composites are refused if they might be anything.
 */
static bool
json_part_is_refused(Oid type)
{
	Oid inner;
	bool refused = false;

	check_stack_depth();
	if (get_typtype(type) == TYPTYPE_DOMAIN || json_is_oid_name(type) || type == RECORDOID ||
		type == RECORDARRAYOID)
		return true;
	if (OidIsValid(inner = get_element_type(type)))
		return json_part_is_refused(inner);
	if (type_is_multirange(type))
		return json_part_is_refused(get_multirange_range(type));
	if (OidIsValid(inner = get_range_subtype(type)))
		return json_part_is_refused(inner);
	if (type_is_rowtype(type))
	{
		TupleDesc tupdesc = lookup_rowtype_tupdesc_copy(type, -1);

		for (int i = 0; i < tupdesc->natts && !refused; i++)
			refused = !TupleDescAttr(tupdesc, i)->attisdropped &&
					  json_part_is_refused(TupleDescAttr(tupdesc, i)->atttypid);
	}
	return refused;
}

/* Whether the input function of a type may fail for a text that the output function has written. */
static bool
json_input_may_fail(Oid type, const FmgrInfo *input)
{
	Oid inner;

	if (OidIsValid(inner = get_element_type(type)))
	{
		Oid function;
		Oid argument;
		FmgrInfo element;

		getTypeInputInfo(inner, &function, &argument);
		fmgr_info(function, &element);
		return json_input_may_fail(inner, &element);
	}
	if (type == XMLOID || type == ACLITEMOID || type_is_rowtype(type))
		return true;
	return type >= FirstNormalObjectId && input->fn_addr != textin;
}

/*
 * Lock the composite types that a type consists of, so that nothing else waits for these locks.
 * Returns false if a lock is not free.
 */
static bool
json_lock_rows(Oid type)
{
	Oid inner;
	TupleDesc tupdesc;
	bool locked = true;

	check_stack_depth();
	type = getBaseType(type);
	if (OidIsValid(inner = get_element_type(type)))
		return json_lock_rows(inner);
	if (type_is_multirange(type))
		return json_lock_rows(get_multirange_range(type));
	if (OidIsValid(inner = get_range_subtype(type)))
		return json_lock_rows(inner);
	if (!OidIsValid(inner = get_typ_typrelid(type)))
		return true;
	if (!ConditionalLockRelationOid(inner, AccessShareLock))
		return false;
	tupdesc = lookup_rowtype_tupdesc_copy(type, -1);
	for (int i = 0; i < tupdesc->natts && locked; i++)
		locked = TupleDescAttr(tupdesc, i)->attisdropped ||
				 json_lock_rows(TupleDescAttr(tupdesc, i)->atttypid);
	return locked;
}

bool
json_prepare_reader(JsonReader *reader, Oid type, List **relations)
{
	Oid input;
	Oid element;

	if (!json_lock_rows(type))
		return false;
	memset(reader, 0, sizeof(*reader));
	json_prepare(&reader->json, type, relations);
	type = reader->json.type;
	getTypeInputInfo(type, &input, &reader->input_argument);
	fmgr_info(input, &reader->input);
	reader->is_enum = type_is_enum(type);
	if (reader->json.kind == JSON_OTHER || reader->json.kind == JSON_NESTED)
	{
		/* An OID is read from its number. */
		reader->refused = !json_is_oid_name(type) && json_part_is_refused(type);
		reader->careful = json_input_may_fail(type, &reader->input);
	}
	if (reader->json.exact == JSON_EXACT_IF_PLAIN)
	{
		element = get_element_type(type);
		reader->element = palloc(sizeof(JsonReader));
		if (!json_prepare_reader(reader->element, element, relations))
			return false;
		reader->element_type = element;
		get_typlenbyvalalign(element, &reader->element_length, &reader->element_by_value,
							 &reader->element_align);
	}
	return true;
}

/* ---------------- input functions ---------------- */

typedef struct JsonInput
{
	JsonReader *reader;
	char *text;
	Datum *value;
} JsonInput;

static void
json_call_input(void *arg)
{
	JsonInput *input = arg;
	JsonReader *reader = input->reader;

	*input->value = InputFunctionCall(&reader->input, input->text, reader->input_argument, -1);
}

static bool
json_input_in_subtransaction(JsonReader *reader, char *text, Datum *value)
{
	JsonInput input = {.reader = reader, .text = text, .value = value};
	ErrorData *error = subtransaction_try(json_call_input, &input);

	if (error == NULL)
		return true;
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES)
		ReThrowError(error);
	FreeErrorData(error);
	return false;
}

/* The value with this label; it may have been renamed. */
static bool
json_input_enum(Oid type, const char *label, Datum *value)
{
	HeapTuple tuple = NULL;

	if (strlen(label) < NAMEDATALEN)
		tuple = SearchSysCache2(ENUMTYPOIDNAME, ObjectIdGetDatum(type), CStringGetDatum(label));
	if (!HeapTupleIsValid(tuple))
		return false;
	*value = ObjectIdGetDatum(((Form_pg_enum) GETSTRUCT(tuple))->oid);
	ReleaseSysCache(tuple);
	return true;
}

static bool
json_input(JsonReader *reader, char *text, Datum *value)
{
	int pinned;
	bool read = true;

	if (reader->refused)
		return false;
	if (reader->is_enum)
		return json_input_enum(reader->json.type, text, value);

	/* Some input functions obey the settings that their output functions obey. */
	pinned = reader->json.pins != 0 ? json_pin(reader->json.pins) : 0;
	if (reader->careful)
		read = json_input_in_subtransaction(reader, text, value);
	else
		*value = InputFunctionCall(&reader->input, text, reader->input_argument, -1);
	json_unpin(pinned);
	return read;
}

/* ---------------- parts of JSON ---------------- */

/* Return the end of the string that begins here, behind its closing quotation mark. */
static const char *
json_string_end(const char *text, const char *end)
{
	for (text++; text < end && *text != '"'; text++)
	{
		if (*text == '\\')
			text++;
	}
	return Min(text + 1, end);
}

const char *
json_value_end(const char *text, const char *end)
{
	int depth = 0;

	while (text < end)
	{
		switch (*text)
		{
			case '"':
				text = json_string_end(text, end);
				continue;
			case '[':
			case '{':
				depth++;
				break;
			case ']':
			case '}':
				if (depth-- == 0)
					return text;
				break;
			case ',':
				if (depth == 0)
					return text;
				break;
			default:
				break;
		}
		text++;
	}
	return end;
}

/* Return the character of an escape sequence \uXXXX, p at its first digit; 0: not one of ASCII. */
static char
json_unescape_code(const char *p, const char *end)
{
	unsigned int code = 0;

	if (end - p < 4)
		return '\0';
	for (int i = 0; i < 4; i++)
	{
		char c = p[i];

		code = code * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return code < 0x80 ? (char) code : '\0';
}

/*
 * Return the characters of a string, given without its quotation marks, allocated in the current
 * memory context, or NULL for an escape sequence that json_append_string() does not write.
 */
static char *
json_unescape(const char *text, Size length, Size *result_length)
{
	const char *end = text + length;
	char *result = palloc(length + 1);
	char *to = result;

	while (text < end)
	{
		const char *escape = memchr(text, '\\', end - text);
		const char *stop = escape != NULL ? escape : end;

		memcpy(to, text, stop - text);
		to += stop - text;
		text = stop;
		if (end - text < 2)
			break;
		switch (text[1])
		{
			case 'b':
				*to = '\b';
				break;
			case 'f':
				*to = '\f';
				break;
			case 'n':
				*to = '\n';
				break;
			case 'r':
				*to = '\r';
				break;
			case 't':
				*to = '\t';
				break;
			case 'u':
				*to = json_unescape_code(text + 2, end);
				if (*to == '\0')
					return NULL;
				text += 4;
				break;
			default:
				*to = text[1];
				break;
		}
		to++;
		text += 2;
	}
	*to = '\0';
	*result_length = to - result;
	return result;
}

/* ---------------- reading ---------------- */

static int64
json_read_integer(const char *text, Size length)
{
	bool negative = length > 0 && *text == '-';
	uint64 number = 0;

	for (Size i = negative ? 1 : 0; i < length; i++)
		number = number * 10 + (uint64) (text[i] - '0');
	return (int64) (negative ? -number : number);
}

/* An array under construction. The first array of each depth tells the length of all of that depth. */
typedef struct JsonArray
{
	Datum *values;
	bool *nulls;
	int n;
	int size;
	int ndims;
	int dims[MAXDIM];
} JsonArray;

static bool
json_add_element(JsonReader *reader, JsonArray *array, const char *text, Size length)
{
	if (array->n == array->size)
	{
		array->size = Max(16, array->size * 2);
		array->values = array->values == NULL
							? palloc(array->size * sizeof(Datum))
							: repalloc_huge(array->values, array->size * sizeof(Datum));
		array->nulls = array->nulls == NULL
						   ? palloc(array->size * sizeof(bool))
						   : repalloc_huge(array->nulls, array->size * sizeof(bool));
	}
	array->values[array->n] = (Datum) 0;
	array->nulls[array->n] = json_is_null(text, length);
	if (!array->nulls[array->n] &&
		!json_read(reader->element, text, length, &array->values[array->n]))
		return false;
	array->n++;
	return true;
}

/* Elements are no arrays themselves, so every bracket belongs to a dimension. */
static bool
json_read_elements(JsonReader *reader, JsonArray *array, const char *text, const char *end)
{
	int counts[MAXDIM + 1] = {0};
	int depth = 0;

	while (text < end)
	{
		if (*text == '[')
		{
			counts[depth]++;
			if (depth == MAXDIM)
				return false;
			counts[++depth] = 0;
			text++;
		}
		else if (*text == ']')
		{
			if (depth == 0)
				return false;
			array->ndims = Max(array->ndims, depth);
			array->dims[depth - 1] = counts[depth];
			depth--;
			text++;
		}
		else if (*text == ',' || isspace((unsigned char) *text))
			text++;
		else
		{
			const char *element_end = json_value_end(text, end);

			counts[depth]++;
			if (!json_add_element(reader, array, text, element_end - text))
				return false;
			text = element_end;
		}
	}
	return true;
}

static bool
json_read_array(JsonReader *reader, const char *text, Size length, Datum *value)
{
	JsonArray array = {0};
	int lower_bounds[MAXDIM] = {1, 1, 1, 1, 1, 1};
	int64 expected = 1;

	StaticAssertStmt(MAXDIM == 6, "each dimension has a lower bound");
	if (!json_read_elements(reader, &array, text, text + length))
		return false;
	if (array.n == 0)
	{
		*value = PointerGetDatum(construct_empty_array(reader->element_type));
		return true;
	}
	for (int i = 0; i < array.ndims; i++)
		expected *= array.dims[i];
	if (expected != array.n)
		return false;
	*value = PointerGetDatum(construct_md_array(
		array.values, array.nulls, array.ndims, array.dims, lower_bounds, reader->element_type,
		reader->element_length, reader->element_by_value, reader->element_align));
	return true;
}

/* A value whose JSON is a string, or the same characters without quotation marks. */
static bool
json_read_characters(JsonReader *reader, const char *text, Size length, Datum *value)
{
	char *characters;

	if (length >= 2 && text[0] == '"')
		characters = json_unescape(text + 1, length - 2, &length);
	else
		characters = pnstrdup(text, length);
	if (characters == NULL)
		return false;
	if (reader->json.kind == JSON_TEXT)
	{
		*value = PointerGetDatum(cstring_to_text_with_len(characters, (int) length));
		return true;
	}
	return json_input(reader, characters, value);
}

bool
json_read(JsonReader *reader, const char *text, Size length, Datum *value)
{
	switch (reader->json.kind)
	{
		case JSON_BOOL:
			*value = BoolGetDatum(length == strlen("true"));
			return true;
		case JSON_INT2:
			*value = Int16GetDatum((int16) json_read_integer(text, length));
			return true;
		case JSON_INT4:
			*value = Int32GetDatum((int32) json_read_integer(text, length));
			return true;
		case JSON_INT8:
			*value = Int64GetDatum(json_read_integer(text, length));
			return true;
		case JSON_VERBATIM:
			*value = PointerGetDatum(cstring_to_text_with_len(text, (int) length));
			return true;
		case JSON_JSONB:
			return json_read_jsonb(text, length, value);
		case JSON_NESTED:
			if (reader->json.exact != JSON_EXACT_IF_PLAIN)
				return false;
			return json_read_array(reader, text, length, value);
		default:
			if (reader->json.exact != JSON_EXACT)
				return false;
			return json_read_characters(reader, text, length, value);
	}
}

bool
json_read_exact(JsonReader *reader, const char *text, Size length, Datum *value)
{
	return json_input(reader, pnstrdup(text, length), value);
}

bool
json_read_jsonb(const char *text, Size length, Datum *value)
{
	MemoryContext context = CurrentMemoryContext;
	char *copy = pnstrdup(text, length);
	volatile bool read = true;

	/* jsonb_in() has nothing but memory, so no subtransaction is needed to clean up. */
	PG_TRY();
	{
		*value = DirectFunctionCall1(jsonb_in, CStringGetDatum(copy));
	}
	PG_CATCH();
	{
		int category = ERRCODE_TO_CATEGORY(geterrcode());

		if (category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_INSUFFICIENT_RESOURCES)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		read = false;
	}
	PG_END_TRY();
	return read;
}
