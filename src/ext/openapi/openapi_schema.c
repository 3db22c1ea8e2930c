/*-------------------------------------------------------------------------
 *
 * openapi_schema.c
 *	  Types as JSON Schema (draft 2020-12): the JSON that ext/json writes for their values.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "catalog/pg_class.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "miscadmin.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "ext/json/json.h"
#include "ext/openapi/openapi_internal.h"

typedef struct OpenapiComposite
{
	Oid type;
	char *name; /* of its schema */
} OpenapiComposite;

/* ---------------- types ---------------- */

/* Numbers that JSON does not have are strings. */
#define SCHEMA_NAN "\"pattern\":\"^(NaN|-?Infinity)$\""

/* Those types whose values are not only strings. */
static const struct
{
	Oid type;
	const char *names; /* of types in JSON Schema */
	const char *more;  /* members; NULL: none */
} schema_types[] = {
	{BOOLOID, "\"boolean\"", NULL},
	{INT2OID, "\"integer\"", "\"format\":\"int32\",\"minimum\":-32768,\"maximum\":32767"},
	{INT4OID, "\"integer\"", "\"format\":\"int32\""},
	{INT8OID, "\"integer\"", "\"format\":\"int64\""},
	{FLOAT4OID, "\"number\",\"string\"", "\"format\":\"float\"," SCHEMA_NAN},
	{FLOAT8OID, "\"number\",\"string\"", "\"format\":\"double\"," SCHEMA_NAN},
	{NUMERICOID, "\"number\",\"string\"", SCHEMA_NAN},
	{DATEOID, "\"string\"", "\"format\":\"date\""},
	{TIMEOID, "\"string\"", "\"format\":\"time-local\""},
	{TIMESTAMPOID, "\"string\"", "\"format\":\"date-time-local\""},
	{TIMESTAMPTZOID, "\"string\"", "\"format\":\"date-time\""},
	{UUIDOID, "\"string\"", "\"format\":\"uuid\""},
	{BYTEAOID, "\"string\"", "\"pattern\":\"^\\\\\\\\x([0-9a-f]{2})*$\""},
};

/* Write the member "type". */
static void
schema_names(StringInfo out, const char *names, bool nullable)
{
	bool several = nullable || strchr(names, ',') != NULL;

	openapi_member(out, "type",
				   psprintf("%s%s%s%s", several ? "[" : "", names, nullable ? ",\"null\"" : "",
							several ? "]" : ""));
}

static int
schema_compare_labels(const ListCell *a, const ListCell *b)
{
	float4 x = ((Form_pg_enum) GETSTRUCT((HeapTuple) lfirst(a)))->enumsortorder;
	float4 y = ((Form_pg_enum) GETSTRUCT((HeapTuple) lfirst(b)))->enumsortorder;

	return x < y ? -1 : x > y;
}

static void
schema_enum(StringInfo out, Oid type, bool nullable)
{
	CatCList *members = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(type));
	List *labels = NIL;
	ListCell *cell;

	for (int i = 0; i < members->n_members; i++)
		labels = lappend(labels, &members->members[i]->tuple);
	list_sort(labels, schema_compare_labels);
	openapi_member(out, "enum", "[");
	foreach (cell, labels)
		openapi_text(out, NameStr(((Form_pg_enum) GETSTRUCT((HeapTuple) lfirst(cell)))->enumlabel));
	if (nullable)
		openapi_json(out, "null");
	openapi_end(out, "]");
	ReleaseSysCacheList(members);
}

/* A type whose values are strings, numbers or booleans. */
static void
schema_scalar(Openapi *api, const OpenapiValue *value)
{
	const char *names = "\"string\"";
	const char *more = NULL;

	for (int i = 0; i < (int) lengthof(schema_types); i++)
	{
		if (schema_types[i].type != value->type)
			continue;
		names = schema_types[i].names;
		more = schema_types[i].more;
	}
	schema_names(api->out, names, value->nullable);
	if (more != NULL)
		openapi_json(api->out, more);
	if ((value->type == VARCHAROID || value->type == BPCHAROID) && value->typmod >= VARHDRSZ)
		openapi_member(api->out, "maxLength", psprintf("%d", value->typmod - VARHDRSZ));
	if (type_is_enum(value->type))
		schema_enum(api->out, value->type, value->nullable);
}

static void
schema_array(Openapi *api, const OpenapiValue *value)
{
	OpenapiValue element = {.type = get_element_type(value->type),
							.typmod = value->typmod,
							.nullable = !value->text,
							.text = value->text};

	if (value->dimensions > 1)
	{
		element.type = value->type;
		element.dimensions = value->dimensions - 1;
		element.nullable = false;
	}
	schema_names(api->out, "\"array\"", value->nullable);
	openapi_name(api->out, "items");
	openapi_schema(api, &element);
}

/* ---------------- composite types ---------------- */

static bool
schema_name_taken(const Openapi *api, const char *name)
{
	ListCell *cell;

	foreach (cell, api->names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

/* Return a name for the type's schema that none has, of the characters that it may have. */
static char *
schema_new_name(Openapi *api, Oid type)
{
	HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	char *wanted;
	char *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	wanted = pstrdup(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname));
	ReleaseSysCache(tuple);
	for (char *c = wanted; *c != '\0'; c++)
	{
		if (IS_HIGHBIT_SET(*c) || !(isalnum((unsigned char) *c) || strchr("._-", *c) != NULL))
			*c = '_';
	}
	name = wanted;
	for (int i = 2; schema_name_taken(api, name); i++)
		name = psprintf("%s_%d", wanted, i);
	api->names = lappend(api->names, name);
	return name;
}

/* Return the name of the type's schema, which will be written. */
static char *
schema_composite_name(Openapi *api, Oid type)
{
	OpenapiComposite *composite;
	ListCell *cell;

	foreach (cell, api->composites)
	{
		composite = lfirst(cell);
		if (composite->type == type)
			return composite->name;
	}
	composite = palloc(sizeof(OpenapiComposite));
	composite->type = type;
	composite->name = schema_new_name(api, type);
	api->composites = lappend(api->composites, composite);
	return composite->name;
}

static void
schema_composite(Openapi *api, const OpenapiValue *value)
{
	char *reference =
		psprintf("\"#/components/schemas/%s\"", schema_composite_name(api, value->type));

	if (value->nullable)
		openapi_member(api->out, "anyOf",
					   psprintf("[{\"$ref\":%s},{\"type\":\"null\"}]", reference));
	else
		openapi_member(api->out, "$ref", reference);
}

/* Comments on a table are for those who may use the table. */
static void
schema_write_composite(Openapi *api, const OpenapiComposite *composite)
{
	TupleDesc columns = lookup_rowtype_tupdesc_copy(composite->type, -1);
	Oid relation = get_typ_typrelid(composite->type);
	bool commented = get_rel_relkind(relation) == RELKIND_COMPOSITE_TYPE;

	openapi_member(api->out, composite->name, "{\"type\":\"object\"");
	if (commented)
		openapi_member_text(api->out, "description",
							GetComment(composite->type, TypeRelationId, 0));
	openapi_member(api->out, "properties", "{");
	for (int i = 0; i < columns->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(columns, i);
		OpenapiValue value = {.type = column->atttypid,
							  .typmod = column->atttypmod,
							  .dimensions = column->attndims,
							  .nullable = true};

		if (column->attisdropped)
			continue;
		if (commented)
			value.description = GetComment(relation, RelationRelationId, column->attnum);
		openapi_name(api->out, NameStr(column->attname));
		openapi_schema(api, &value);
	}
	openapi_end(api->out, "}}");
}

void
openapi_message_schema(Openapi *api, Oid type)
{
	TupleDesc fields = lookup_rowtype_tupdesc_copy(type, -1);
	OpenapiValue value = {.type = type};

	openapi_json(api->out, "{");
	schema_composite(api, &value);
	openapi_member(api->out, "required", "[");
	for (int i = 0; i < fields->natts; i++)
	{
		if (!TupleDescAttr(fields, i)->attisdropped)
			openapi_text(api->out, NameStr(TupleDescAttr(fields, i)->attname));
	}
	openapi_end(api->out, "]");
	openapi_member(api->out, "unevaluatedProperties", "false");
	openapi_end(api->out, "}");
}

void
openapi_composites(Openapi *api)
{
	/* Those that are written refer to others, perhaps. */
	for (int i = 0; i < list_length(api->composites); i++)
		schema_write_composite(api, list_nth(api->composites, i));
}

/* ---------------- schemas ---------------- */

/* In a path or query string, values that are no JSON have PostgreSQL's own text. */
static void
schema_nested(Openapi *api, const OpenapiValue *value)
{
	if (OidIsValid(get_element_type(value->type)))
		schema_array(api, value);
	else if (value->text)
		schema_names(api->out, "\"string\"", false);
	else if (value->type == RECORDOID)
		schema_names(api->out, "\"object\"", value->nullable);
	else if (type_is_rowtype(value->type))
		schema_composite(api, value);
}

void
openapi_schema(Openapi *api, const OpenapiValue *value)
{
	OpenapiValue base = *value;
	JsonType json = {0};
	List *relations = NIL;

	check_stack_depth();
	base.type = getBaseTypeAndTypmod(value->type, &base.typmod);
	json_prepare(&json, base.type, &relations);
	openapi_json(api->out, "{");
	switch (json.kind)
	{
		case JSON_VERBATIM:
		case JSON_JSONB:
			/* Without a type, a schema describes any JSON. */
			if (value->text)
				schema_names(api->out, "\"string\"", false);
			break;
		case JSON_NESTED:
			schema_nested(api, &base);
			break;
		default:
			schema_scalar(api, &base);
			break;
	}
	openapi_member(api->out, "readOnly", value->read_only ? "true" : NULL);
	openapi_member_text(api->out, "description", value->description);
	openapi_member(api->out, "default", value->default_json);
	openapi_end(api->out, "}");
}
