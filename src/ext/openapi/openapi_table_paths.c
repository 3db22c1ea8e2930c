/*-------------------------------------------------------------------------
 *
 * openapi_table_paths.c
 *	  The paths of an exposed table, as ext/rest serves them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/openapi/openapi_internal.h"

/* Where a schema of the table's columns is used. */
typedef enum TableSchema
{
	TABLE_ROW,     /* the answer */
	TABLE_INSERT,  /* the body of POST */
	TABLE_REPLACE, /* of PUT */
	TABLE_CHANGE,  /* of PATCH */
} TableSchema;

/* ---------------- schemas ---------------- */

/* Generated columns are ignored in bodies, and a key there must be that of the path. */
static bool
table_has(const OpenapiColumn *column, TableSchema schema)
{
	if (schema == TABLE_ROW || column->generated)
		return column->readable;
	if (schema == TABLE_INSERT)
		return column->insertable;
	return column->key || column->assignable;
}

static bool
table_requires(const OpenapiColumn *column, TableSchema schema)
{
	if (schema == TABLE_ROW)
		return column->readable && column->not_null;
	return schema != TABLE_CHANGE && column->not_null && !column->has_default &&
		   !(column->key && schema == TABLE_REPLACE);
}

static void
table_properties(Openapi *api, const OpenapiTable *table, TableSchema schema)
{
	openapi_member(api->out, "properties", "{");
	for (int i = 0; i < table->ncolumns; i++)
	{
		OpenapiValue value = table->columns[i].value;

		if (!table_has(&table->columns[i], schema))
			continue;
		/* PATCH keeps what is not there. */
		if (schema == TABLE_CHANGE)
			value.default_json = NULL;
		openapi_name(api->out, table->columns[i].name);
		openapi_schema(api, &value);
	}
	openapi_end(api->out, "}");
}

static void
table_required(StringInfo out, const OpenapiTable *table, TableSchema schema)
{
	bool any = false;

	for (int i = 0; i < table->ncolumns; i++)
	{
		if (!table_requires(&table->columns[i], schema))
			continue;
		if (!any)
			openapi_member(out, "required", "[");
		openapi_text(out, table->columns[i].name);
		any = true;
	}
	if (any)
		openapi_end(out, "]");
}

void
openapi_table_schema(Openapi *api, const OpenapiTable *table)
{
	if (!table->may_read)
		return;
	openapi_member(api->out, table->exposure->name, "{\"type\":\"object\"");
	openapi_member_text(api->out, "description", table->description);
	table_properties(api, table, TABLE_ROW);
	table_required(api->out, table, TABLE_ROW);
	openapi_end(api->out, "}");
}

static void
table_body(Openapi *api, const OpenapiTable *table, TableSchema schema)
{
	openapi_member(api->out, "requestBody",
				   "{\"required\":true,\"content\":{\"application/json\":{\"schema\":{"
				   "\"type\":\"object\",\"additionalProperties\":false");
	table_properties(api, table, schema);
	table_required(api->out, table, schema);
	openapi_end(api->out, "}}}}");
}

/* ---------------- parameters ---------------- */

#define TABLE_CONDITION                                                                            \
	"{\"type\":\"string\",\"pattern\":\"^(not\\\\.)*[a-z]+(\\\\((any|all)\\\\))?\\\\.\"}"

static void
table_refer(StringInfo out, const char *parameter)
{
	openapi_json(out, psprintf("{\"$ref\":\"#/components/parameters/%s\"}", parameter));
}

/* The columns of the answer. The list cannot have names with commas. */
static void
table_select(StringInfo out, const OpenapiTable *table)
{
	openapi_begin_parameter(out, "select", "query", false,
							"The columns of the answer. The others are missing then.");
	openapi_json(out, "{\"type\":\"array\",\"items\":{\"enum\":[");
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].readable && strchr(table->columns[i].name, ',') == NULL)
			openapi_text(out, table->columns[i].name);
	}
	openapi_end(out, "]}},\"style\":\"form\",\"explode\":false}");
}

/* Return the column's name as the filter has it: in quotes if it would be taken for something else. */
static char *
table_condition_name(const char *column)
{
	static const char *const words[] = {"select", "order", "limit", "offset",   "take",
										"skip",   "and",   "or",    "database", "access_token"};
	bool plain = true;
	StringInfoData name;

	for (int i = 0; i < (int) lengthof(words); i++)
		plain = plain && strcmp(column, words[i]) != 0;
	if (plain && strpbrk(column, "=.,()\"") == NULL && strstr(column, "->") == NULL)
		return pstrdup(column);
	initStringInfo(&name);
	appendStringInfoChar(&name, '"');
	for (const char *c = column; *c != '\0'; c++)
	{
		if (*c == '"' || *c == '\\')
			appendStringInfoChar(&name, '\\');
		appendStringInfoChar(&name, *c);
	}
	appendStringInfoChar(&name, '"');
	return name.data;
}

static void
table_conditions(StringInfo out, const OpenapiTable *table)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (!table->columns[i].readable)
			continue;
		openapi_begin_parameter(out, table_condition_name(table->columns[i].name), "query", false,
								"A condition: an operator, a dot and a value, such as `eq.VALUE`.");
		openapi_json(out, TABLE_CONDITION);
		openapi_end(out, "}");
	}
	table_refer(out, "and");
	table_refer(out, "or");
}

/* Rows are in the order of the key, so a role that may not read the key must give another. */
static void
table_order(StringInfo out, const OpenapiTable *table)
{
	if (table->nkey == 0 || table->may_find)
	{
		table_refer(out, "order");
		return;
	}
	openapi_begin_parameter(out, "order", "query", true, "The order of the rows.");
	openapi_json(out, "{\"type\":\"string\"}}");
}

/* ---------------- operations ---------------- */

static void
table_begin(StringInfo out, const OpenapiTable *table, const char *method, const char *verb,
			const char *summary)
{
	openapi_begin_operation(out, method, verb, table->exposure->name, table->exposure->name,
							summary);
	openapi_member(out, "parameters", "[");
}

/* A response with rows, or a row. */
static void
table_response(StringInfo out, const OpenapiTable *table, const char *status,
			   const char *description, bool list, const char *header)
{
	openapi_begin_response(out, status, description, header);
	appendStringInfo(out, "%s{\"$ref\":\"#/components/schemas/%s\"}%s",
					 list ? "{\"type\":\"array\",\"items\":" : "", table->exposure->name,
					 list ? "}" : "");
	openapi_end(out, "}}}");
}

static void
table_failures(StringInfo out, const char *statuses, bool row)
{
	openapi_errors(out, statuses);
	openapi_member(out, "404", row ? "{\"$ref\":\"#/components/responses/NotFound\"}" : NULL);
	openapi_member(out, "422", "{\"$ref\":\"#/components/responses/Problems\"}");
}

/* End a GET, which has rows, or one row that may not be there. */
static void
table_end_get(StringInfo out, const OpenapiTable *table, bool rows)
{
	table_refer(out, "IfNoneMatch");
	openapi_end(out, "]");
	openapi_member(out, "responses", "{");
	table_response(out, table, "200", rows ? "The rows." : "The row.", rows, "ETag");
	openapi_empty_response(out, "304", "The client has this content already.");
	table_failures(out, "400 401 403", !rows);
	openapi_end(out, "}}");
}

static void
table_list(Openapi *api, const OpenapiTable *table)
{
	StringInfo out = api->out;

	table_begin(out, table, "get", "list", "Return rows");
	table_select(out, table);
	table_conditions(out, table);
	table_order(out, table);
	table_refer(out, "skip");
	table_refer(out, "take");
	table_refer(out, "offset");
	table_refer(out, "limit");
	table_end_get(out, table, true);
}

static void
table_find(Openapi *api, const OpenapiTable *table)
{
	StringInfo out = api->out;

	table_begin(out, table, "get", "get", "Return a row");
	table_select(out, table);
	table_end_get(out, table, false);
}

/* A role that may not read the row cannot get it as the answer. */
static void
table_insert(Openapi *api, const OpenapiTable *table)
{
	StringInfo out = api->out;

	table_begin(out, table, "post", "create", "Insert a row");
	if (table->may_read)
	{
		table_select(out, table);
		table_refer(out, "Prefer");
	}
	else
	{
		openapi_begin_parameter(out, "Prefer", "header", true, "The answer has no row.");
		openapi_json(out, "{\"const\":\"return=minimal\"}}");
	}
	openapi_end(out, "]");
	table_body(api, table, TABLE_INSERT);
	openapi_member(out, "responses", "{");
	if (table->may_read)
		table_response(out, table, "201", "The row was inserted.", false,
					   table->may_find ? "Location" : NULL);
	else
		openapi_empty_response(out, "201", "The row was inserted.");
	if (table->triggered)
	{
		openapi_begin_response(out, "200", "A trigger has kept the row out.", NULL);
		openapi_json(out, "{\"type\":\"null\"}");
		openapi_end(out, "}}}");
	}
	table_failures(out, "400 401 403 409", false);
	openapi_end(out, "}}");
}

static void
table_update(Openapi *api, const OpenapiTable *table, const char *method, const char *verb,
			 const char *summary, TableSchema schema)
{
	StringInfo out = api->out;

	table_begin(out, table, method, verb, summary);
	table_select(out, table);
	table_refer(out, "Prefer");
	openapi_end(out, "]");
	table_body(api, table, schema);
	openapi_member(out, "responses", "{");
	table_response(out, table, "200", "The new row.", false, NULL);
	openapi_empty_response(out, "204", "The row was changed. With `Prefer: return=minimal`.");
	table_failures(out, "400 401 403 409", true);
	openapi_end(out, "}}");
}

static void
table_delete(Openapi *api, const OpenapiTable *table)
{
	StringInfo out = api->out;

	table_begin(out, table, "delete", "delete", "Delete a row");
	table_refer(out, "Prefer");
	openapi_end(out, "]");
	openapi_member(out, "responses", "{");
	openapi_begin_response(out, "200", "The row was deleted.", NULL);
	openapi_json(out, "{\"type\":\"object\",\"properties\":{\"message\":{\"type\":\"string\"}},"
					  "\"required\":[\"message\"]}");
	openapi_end(out, "}}}");
	openapi_empty_response(out, "204", "The row was deleted. With `Prefer: return=minimal`.");
	table_failures(out, "401 403 409", true);
	openapi_end(out, "}}");
}

/* ---------------- paths ---------------- */

/*
 * Return the name of a part of the key in the path's template: that of its column, or a number if a template cannot have
 * the columns' names.
 */
static char *
table_key_name(const OpenapiTable *table, int n)
{
	for (int i = 0; i < table->nkey; i++)
	{
		const char *name = table->key[i]->name;

		if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
			strlen(name))
			return psprintf("key%d", n + 1);
	}
	return pstrdup(table->key[n]->name);
}

/* Begin the path of a row. */
static void
table_begin_row(Openapi *api, const OpenapiTable *table)
{
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfo(&path, "/%s/", table->exposure->name);
	for (int i = 0; i < table->nkey; i++)
		appendStringInfo(&path, "{%s}/", table_key_name(table, i));
	openapi_begin_path(api, path.data);
	for (int i = 0; i < table->nkey; i++)
	{
		OpenapiValue value = table->key[i]->value;

		value.nullable = value.read_only = false;
		value.text = true;
		value.default_json = NULL;
		openapi_begin_parameter(api->out, table_key_name(table, i), "path", true,
								value.description);
		value.description = NULL;
		openapi_schema(api, &value);
		openapi_end(api->out, "}");
	}
	openapi_end(api->out, "]");
}

void
openapi_table_paths(Openapi *api, const OpenapiTable *table)
{
	openapi_begin_path(api, psprintf("/%s/", table->exposure->name));
	openapi_end(api->out, "]");
	if (table->may_read)
		table_list(api, table);
	if (table->may_insert)
		table_insert(api, table);
	openapi_end(api->out, "}");
	if (!table->may_find)
		return;
	table_begin_row(api, table);
	table_find(api, table);
	if (table->may_replace)
		table_update(api, table, "put", "replace", "Replace a row", TABLE_REPLACE);
	if (table->may_change)
		table_update(api, table, "patch", "change", "Change columns of a row", TABLE_CHANGE);
	if (table->may_delete)
		table_delete(api, table);
	openapi_end(api->out, "}");
}
