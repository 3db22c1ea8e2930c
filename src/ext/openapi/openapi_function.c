/*-------------------------------------------------------------------------
 *
 * openapi_function.c
 *	  The exposed functions that the client's role may call, as query_call.c calls them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "ext/base/compat.h"
#include "ext/base/utf8.h"
#include "ext/openapi/openapi_internal.h"

List *
openapi_functions(void)
{
	List *functions = NIL;
	ListCell *cell;

	foreach (cell, expose_list_functions())
	{
		const Exposure *exposure = lfirst(cell);
		CallFunction *function;

		/* Clients cannot call a function whose name is longer than a call's. */
		if (strlen(exposure->name) >= sizeof(function->name) ||
			!SearchSysCacheExists1(PROCOID, ObjectIdGetDatum(exposure->object)) ||
			!COMPAT_SCHEMA_USABLE(get_func_namespace(exposure->object), GetUserId()) ||
			!COMPAT_FUNCTION_EXECUTABLE(exposure->object, GetUserId()))
			continue;
		function = palloc0(sizeof(CallFunction));
		function->oid = exposure->object;
		strlcpy(function->name, exposure->name, sizeof(function->name));
		call_describe(function);
		functions = lappend(functions, function);
	}
	return functions;
}

/* ---------------- arguments ---------------- */

/* VARIADIC may be left out. */
static bool
function_requires(const CallFunction *function, int i)
{
	return i < function->nrequired && !(function->variadic && i == function->narguments - 1);
}

static bool
function_has_names(const CallFunction *function)
{
	for (int i = 0; i < function->narguments; i++)
	{
		if (function->names[i][0] == '\0')
			return false;
	}
	return true;
}

static void
function_argument(Openapi *api, const CallFunction *function, int i, bool text)
{
	OpenapiValue value = {
		.type = function->types[i], .typmod = -1, .nullable = !text, .text = text};

	openapi_schema(api, &value);
}

/* Arguments by name. */
static void
function_object(Openapi *api, const CallFunction *function)
{
	StringInfo out = api->out;

	openapi_json(out, "{\"type\":\"object\",\"properties\":{");
	for (int i = 0; i < function->narguments; i++)
	{
		openapi_name(out, function->names[i]);
		function_argument(api, function, i, false);
	}
	openapi_end(out, "},\"required\":[");
	for (int i = 0; i < function->narguments; i++)
	{
		if (function_requires(function, i))
			openapi_text(out, function->names[i]);
	}
	openapi_end(out, "],\"additionalProperties\":false}");
}

/* Arguments by position, as some have no name. */
static void
function_array(Openapi *api, const CallFunction *function)
{
	StringInfo out = api->out;
	int required = 0;

	openapi_json(out, "{\"type\":\"array\",\"prefixItems\":[");
	for (int i = 0; i < function->narguments; i++)
	{
		function_argument(api, function, i, false);
		required += function_requires(function, i) ? 1 : 0;
	}
	openapi_end(out, "],\"items\":false");
	openapi_member(out, "minItems", psprintf("%d", required));
	openapi_end(out, "}");
}

static void
function_body(Openapi *api, const CallFunction *function)
{
	if (function->narguments == 0)
		return;
	openapi_member(api->out, "requestBody", "{");
	openapi_member(api->out, "required", function_requires(function, 0) ? "true" : "false");
	openapi_member(api->out, "content", "{\"application/json\":{\"schema\":");
	if (function->whole)
		openapi_json(api->out, "{}");
	else if (function_has_names(function))
		function_object(api, function);
	else
		function_array(api, function);
	openapi_end(api->out, "}}}");
}

/* ---------------- arguments of GET ---------------- */

/* The query string has these parameters for other things. */
static bool
function_reserves(const char *name)
{
	return strcmp(name, "database") == 0 || strcmp(name, "access_token") == 0;
}

/* Return true if GET can call the function. It has arguments by name only. */
static bool
function_takes_get(const CallFunction *function)
{
	for (int i = 0; i < function->narguments; i++)
	{
		if (!function->whole && function_requires(function, i) &&
			(function->names[i][0] == '\0' || function_reserves(function->names[i])))
			return false;
	}
	return !function->is_volatile;
}

static void
function_parameters(Openapi *api, const CallFunction *function)
{
	StringInfo out = api->out;

	openapi_member(out, "parameters", "[");
	if (function->whole)
	{
		openapi_begin_parameter(out, "parameters", "query", false,
								"The function gets all parameters as a JSON object.");
		openapi_json(out, "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}},"
						  "\"style\":\"form\",\"explode\":true}");
	}
	for (int i = 0; !function->whole && i < function->narguments; i++)
	{
		if (function->names[i][0] == '\0' || function_reserves(function->names[i]))
			continue;
		openapi_begin_parameter(out, function->names[i], "query", function_requires(function, i),
								NULL);
		function_argument(api, function, i, true);
		openapi_end(out, "}");
	}
	openapi_end(out, "]");
}

/* ---------------- results ---------------- */

/* The columns of a result that has no type of its own: OUT parameters, or TABLE. */
static void
function_columns(Openapi *api, TupleDesc columns)
{
	StringInfo out = api->out;

	openapi_json(out, "{\"type\":\"object\",\"properties\":{");
	for (int i = 0; i < columns->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(columns, i);
		OpenapiValue value = {
			.type = column->atttypid, .typmod = column->atttypmod, .nullable = true};

		openapi_name(out, NameStr(column->attname));
		openapi_schema(api, &value);
	}
	openapi_end(out, "},\"required\":[");
	for (int i = 0; i < columns->natts; i++)
		openapi_text(out, NameStr(TupleDescAttr(columns, i)->attname));
	openapi_end(out, "]}");
}

/* One row of the result, or the result. */
static void
function_value(Openapi *api, const CallFunction *function)
{
	TupleDesc columns;
	Oid type;
	OpenapiValue value = {.typmod = -1, .nullable = function->scalar};
	TypeFuncClass class = get_func_result_type(function->oid, &type, &columns);

	if (class == TYPEFUNC_SCALAR && !function->scalar)
	{
		columns = CreateTemplateTupleDesc(1);
		TupleDescInitEntry(columns, 1, get_func_result_name(function->oid), type, -1, 0);
		type = RECORDOID;
	}
	value.type = type;
	if (type == RECORDOID)
		function_columns(api, columns);
	else
		openapi_schema(api, &value);
}

static void
function_responses(Openapi *api, const CallFunction *function)
{
	StringInfo out = api->out;

	openapi_member(out, "responses", "{");
	if (function->is_void)
		openapi_empty_response(out, "204", "The function was called.");
	else
	{
		openapi_begin_response(out, "200", "The result.", NULL);
		if (function->set)
		{
			openapi_json(out, "{\"type\":\"array\",\"items\":");
			function_value(api, function);
			openapi_end(out, "}");
		}
		else
			function_value(api, function);
		openapi_end(out, "}}}");
	}
	openapi_errors(out, "400 401 403");
	openapi_end(out, "}");
}

/* ---------------- paths ---------------- */

void
openapi_function_path(Openapi *api, const CallFunction *function)
{
	StringInfo out = api->out;
	char *comment = GetComment(function->oid, ProcedureRelationId, 0);

	openapi_begin_path(api, openapi_path("/rpc/", function->name));
	openapi_end(out, "]");
	if (function_takes_get(function))
	{
		openapi_begin_operation(out, "get", "read", function->name, "rpc",
								"Call the function, which changes nothing");
		openapi_member_text(out, "description", comment);
		function_parameters(api, function);
		function_responses(api, function);
		openapi_end(out, "}");
	}
	openapi_begin_operation(out, "post", "call", function->name, "rpc", "Call the function");
	openapi_member_text(out, "description", comment);
	function_body(api, function);
	function_responses(api, function);
	openapi_end(out, "}}");
}
