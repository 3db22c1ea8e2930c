/*-------------------------------------------------------------------------
 *
 * query_call.c
 *	  Calls of the functions that notify_expose() has exposed.
 *
 * The query is
 *
 *	  SELECT f.* FROM s.f(x => $1, z => $2) AS f
 *
 * or, for one composite value, SELECT s.f(x => $1, z => $2) AS f,
 * with the arguments that the client gives, so that the others have their defaults. They are converted from JSON
 * before, one by one: then an error can name the argument that is wrong, and is not one of the function. A function
 * whose only parameter is json or jsonb and has no name gets all of what the client sends, as in PostgREST. A client
 * of WAMP may give arguments by position and by name at once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "ext/base/compat.h"
#include "ext/base/relation_change.h"
#include "ext/base/settings.h"
#include "ext/expose/expose.h"
#include "ext/query/query.h"

/* Plans of a function that are kept. */
#define CALL_MAX_PLANS 16

/* How to call a function with some of its arguments. */
typedef struct CallPlan
{
	Bitmapset *given; /* numbers of the arguments, from 0 on */
	SPIPlanPtr plan;
} CallPlan;

static HTAB *call_functions; /* NULL: none is known */
static MemoryContext call_context;
static bool call_stale;
static Oid call_table;

/* ---------------- functions ---------------- */

static void
call_relation_changed(Datum arg pg_attribute_unused(), Oid relation)
{
	call_stale |= !OidIsValid(relation) || relation == call_table;
}

static void
call_object_changed(Datum arg pg_attribute_unused(), int cache pg_attribute_unused(),
					uint32 hash pg_attribute_unused())
{
	call_stale = true;
}

static void
call_forget_all(void)
{
	HASH_SEQ_STATUS status;
	CallFunction *function;

	if (call_functions == NULL)
		return;
	hash_seq_init(&status, call_functions);
	while ((function = hash_seq_search(&status)) != NULL)
	{
		ListCell *cell;

		foreach (cell, function->plans)
			SPI_freeplan(((CallPlan *) lfirst(cell))->plan);
	}
	call_functions = NULL;
	MemoryContextReset(call_context);
}

static void
call_refresh(void)
{
	HASHCTL functions = {.keysize = sizeof(((CallFunction *) NULL)->name),
						 .entrysize = sizeof(CallFunction)};

	if (call_context == NULL)
	{
		call_context =
			AllocSetContextCreate(TopMemoryContext, "pg_notifyd calls", ALLOCSET_DEFAULT_SIZES);
		relation_change_register(call_relation_changed);
		CacheRegisterSyscacheCallback(PROCOID, call_object_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(TYPEOID, call_object_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, call_object_changed, (Datum) 0);
	}
	if (call_functions != NULL && !call_stale)
		return;
	call_forget_all();
	call_table = expose_function_table();
	call_stale = false;
	functions.hcxt = call_context;
	call_functions =
		hash_create("pg_notifyd calls", 64, &functions, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

void
call_describe(CallFunction *function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function->oid));
	Form_pg_proc proc;
	char *modes;
	Oid *all_types;
	char **all_names;
	bool named = false;
	int nall;
	int n = 0;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function->oid);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	nall = get_func_arg_info(tuple, &all_types, &all_names, &modes);
	function->names = palloc0(sizeof(char *) * Max(nall, 1));
	function->types = palloc0(sizeof(Oid) * Max(nall, 1));
	for (int i = 0; i < nall; i++)
	{
		named |= modes != NULL && all_names != NULL && all_names[i][0] != '\0' &&
				 strchr("obt", modes[i]) != NULL;
		if (modes != NULL && (modes[i] == PROARGMODE_OUT || modes[i] == PROARGMODE_TABLE))
			continue;
		function->names[n] = all_names != NULL ? all_names[i] : "";
		function->types[n++] = all_types[i];
	}
	function->narguments = n;
	function->nrequired = n - proc->pronargdefaults;
	function->variadic = OidIsValid(proc->provariadic);
	function->whole = n == 1 && function->names[0][0] == '\0' &&
					  (function->types[0] == JSONOID || function->types[0] == JSONBOID);
	function->set = proc->proretset;
	function->is_void = proc->prorettype == VOIDOID;
	/* A result whose only column has a name is a row all the same, as in PostgREST. */
	function->scalar = get_func_result_type(function->oid, NULL, NULL) == TYPEFUNC_SCALAR && !named;
	function->composite = !function->set && proc->prorettype != RECORDOID &&
						  get_func_result_type(function->oid, NULL, NULL) == TYPEFUNC_COMPOSITE;
	function->is_volatile = proc->provolatile == PROVOLATILE_VOLATILE;
	ReleaseSysCache(tuple);
}

static CallFunction *
call_find(const char *name)
{
	CallFunction described = {0};
	CallFunction *function;
	Exposure *exposure;
	MemoryContext before;

	call_refresh();
	if (strlen(name) < sizeof(described.name))
	{
		function = hash_search(call_functions, name, HASH_FIND, NULL);
		if (function != NULL)
			return function;
	}
	exposure = strlen(name) < sizeof(described.name) ? expose_find_function(name) : NULL;
	if (exposure == NULL)
		query_refuse(WIRE_QUERY_UNKNOWN, ERRCODE_UNDEFINED_FUNCTION, name,
					 "there is no function \"%s\"", name);
	described.oid = exposure->object;
	before = MemoryContextSwitchTo(call_context);
	call_describe(&described);
	MemoryContextSwitchTo(before);
	strlcpy(described.name, name, sizeof(described.name));
	function = hash_search(call_functions, name, HASH_ENTER, NULL);
	*function = described;
	return function;
}

/* ---------------- arguments ---------------- */

typedef struct CallArguments
{
	Bitmapset *given; /* numbers of the arguments, from 0 on */
	NullableDatum *values;
	bool texts; /* they come from a query string, so all of them are texts */
} CallArguments;

/* A parameter's name for clients: its number if it has none. */
static const char *
call_argument_name(const CallFunction *function, int i)
{
	return function->names[i][0] != '\0' ? function->names[i] : psprintf("%d", i + 1);
}

/* Return an argument as JSON. A parameter of a query string that is not repeated is an array with one element, too. */
static char *
call_argument_json(const CallArguments *arguments, Oid type, JsonbValue *value)
{
	Jsonb *json = JsonbValueToJsonb(value);
	char *text = JsonbToCString(NULL, &json->root, VARSIZE(json));

	if (!arguments->texts || value->type != jbvString || !type_is_array_domain(type) ||
		strchr("{[", text[1]) != NULL)
		return text;
	return psprintf("[%s]", text);
}

static void
call_add_argument(const CallFunction *function, CallArguments *arguments, int i, JsonbValue *value)
{
	NullableDatum *argument = &arguments->values[i];

	if (bms_is_member(i, arguments->given))
		query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_INVALID_PARAMETER_VALUE,
					 call_argument_name(function, i),
					 "parameter \"%s\" of function \"%s\" was given by position and by name",
					 call_argument_name(function, i), function->name);
	PG_TRY();
	{
		argument->value = query_value(call_argument_json(arguments, function->types[i], value),
									  function->types[i], -1, &argument->isnull);
	}
	PG_CATCH();
	{
		if (query_value_is_wrong(geterrcode()))
			query_blame(WIRE_QUERY_BAD_PARAMETER, call_argument_name(function, i));
		PG_RE_THROW();
	}
	PG_END_TRY();
	arguments->given = bms_add_member(arguments->given, i);
}

static int
call_argument_number(const CallFunction *function, const char *name, int length)
{
	for (int i = 0; i < function->narguments; i++)
	{
		if ((int) strlen(function->names[i]) == length &&
			memcmp(function->names[i], name, (size_t) length) == 0 && length > 0)
			return i;
	}
	return -1;
}

static void
call_read_arguments(const CallFunction *function, Jsonb *json, CallArguments *arguments)
{
	JsonbIterator *iterator = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue value;
	int place = 0;
	int number = -1;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			char *name = pnstrdup(value.val.string.val, value.val.string.len);

			number = call_argument_number(function, name, value.val.string.len);
			if (number < 0)
				query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_UNDEFINED_PARAMETER, name,
							 "function \"%s\" has no parameter \"%s\"", function->name, name);
		}
		else if (token == WJB_VALUE)
			call_add_argument(function, arguments, number, &value);
		else if (token == WJB_ELEM)
		{
			if (place == function->narguments)
				query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_UNDEFINED_PARAMETER, "args",
							 "function \"%s\" has only %d parameters", function->name,
							 function->narguments);
			call_add_argument(function, arguments, place++, &value);
		}
	}
}

/* Check that every argument without a default is there. Those of VARIADIC may be none. */
static void
call_check_arguments(const CallFunction *function, CallArguments *arguments)
{
	int last = function->narguments - 1;

	if (function->variadic && !bms_is_member(last, arguments->given))
	{
		arguments->values[last].value =
			PointerGetDatum(construct_empty_array(get_element_type(function->types[last])));
		arguments->given = bms_add_member(arguments->given, last);
	}
	for (int i = 0; i < function->nrequired; i++)
	{
		const char *name;

		if (bms_is_member(i, arguments->given))
			continue;
		name = call_argument_name(function, i);
		query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_UNDEFINED_PARAMETER, name,
					 "function \"%s\" needs the parameter \"%s\"", function->name, name);
	}
}

/* Read JSON of the request. name is what is wrong if it is none. */
static Datum
call_read_json(const char *text, const char *name, PGFunction read)
{
	volatile Datum json = 0;

	PG_TRY();
	{
		json = read != NULL ? DirectFunctionCall1(read, CStringGetDatum(text))
							: PointerGetDatum(query_json(text));
	}
	PG_CATCH();
	{
		if (query_value_is_wrong(geterrcode()))
			query_blame(WIRE_QUERY_BAD_PARAMETER, name);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return json;
}

/* The only argument of a function that gets all of what the client sends, which has this shape if it has two parts. */
static Datum
call_read_whole(const ClientQuery *query, const CallFunction *function)
{
	char *text = query_text(query->wire.body);

	if (query->wire.named.len > 0)
		text = psprintf("{\"args\":%s,\"kwargs\":%s}", text, query_text(query->wire.named));
	return call_read_json(text[0] != '\0' ? text : "null", "args",
						  function->types[0] == JSONOID ? json_in : jsonb_in);
}

static void
call_parse_arguments(ClientQuery *query, const CallFunction *function, CallArguments *arguments)
{
	char *text;
	Jsonb *json;

	arguments->given = NULL;
	arguments->texts = query->wire.read_only;
	arguments->values = palloc0(sizeof(NullableDatum) * Max(function->narguments, 1));
	if (function->whole)
	{
		arguments->values[0].value = call_read_whole(query, function);
		arguments->given = bms_make_singleton(0);
		return;
	}
	text = query_text(query->wire.body);
	json = DatumGetJsonbP(call_read_json(text[0] != '\0' ? text : "{}", "args", NULL));
	if (JB_ROOT_IS_SCALAR(json) || (!JB_ROOT_IS_OBJECT(json) && !JB_ROOT_IS_ARRAY(json)))
		query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_INVALID_PARAMETER_VALUE, "args",
					 "args must be an object or an array");
	call_read_arguments(function, json, arguments);
	if (query->wire.named.len > 0)
	{
		json = DatumGetJsonbP(call_read_json(query_text(query->wire.named), "kwargs", NULL));
		if (!JB_ROOT_IS_OBJECT(json))
			query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_INVALID_PARAMETER_VALUE, "kwargs",
						 "kwargs must be an object");
		call_read_arguments(function, json, arguments);
	}
	call_check_arguments(function, arguments);
}

/* ---------------- plans ---------------- */

static void
call_append_name(StringInfo sql, Oid function)
{
	appendStringInfo(sql, "%s.%s",
					 quote_identifier(get_namespace_name(get_func_namespace(function))),
					 quote_identifier(get_func_name(function)));
}

/* The number of the last argument without a name, or -1. Those before it cannot be named either. */
static int
call_last_nameless(const CallFunction *function, const Bitmapset *given)
{
	int last = -1;
	int i = -1;

	while ((i = bms_next_member(given, i)) >= 0)
	{
		if (function->names[i][0] == '\0')
			last = i;
	}
	return last;
}

/* The query for these arguments. */
static char *
call_sql(const CallFunction *function, const Bitmapset *given)
{
	StringInfoData sql;
	int nameless = call_last_nameless(function, given);
	const char *separator = "";
	int n = 0;
	int i = -1;

	initStringInfo(&sql);
	/* As a row of a FROM clause, NULL would be a row of nulls. */
	appendStringInfoString(&sql, function->composite ? "SELECT " : "SELECT f.* FROM ");
	call_append_name(&sql, function->oid);
	appendStringInfoChar(&sql, '(');
	while ((i = bms_next_member(given, i)) >= 0)
	{
		appendStringInfo(&sql, "%s%s", separator,
						 function->variadic && i == function->narguments - 1 ? "VARIADIC " : "");
		if (i > nameless)
			appendStringInfo(&sql, "%s => ", quote_identifier(function->names[i]));
		appendStringInfo(&sql, "$%d", ++n);
		separator = ", ";
	}
	appendStringInfoString(&sql, ") AS f");
	return sql.data;
}

/* Return the plan for these arguments. Between SPI_connect() and SPI_finish(). */
static SPIPlanPtr
call_plan(CallFunction *function, const Bitmapset *given, Oid *types)
{
	MemoryContext before;
	CallPlan *made;
	ListCell *cell;
	SPIPlanPtr plan;

	foreach (cell, function->plans)
	{
		CallPlan *known = lfirst(cell);

		if (bms_equal(known->given, given))
			return known->plan;
	}
	plan = SPI_prepare(call_sql(function, given), bms_num_members(given), types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	/*
	 * What was just described may have changed while the plan was made; then it is not kept. Clients choose
	 * which arguments they give, so the number of plans is limited.
	 */
	if (call_stale || list_length(function->plans) >= CALL_MAX_PLANS || SPI_keepplan(plan) != 0)
		return plan;
	before = MemoryContextSwitchTo(call_context);
	made = palloc(sizeof(CallPlan));
	made->given = bms_copy(given);
	made->plan = plan;
	function->plans = lappend(function->plans, made);
	MemoryContextSwitchTo(before);
	return plan;
}

/* ---------------- calls ---------------- */

/* The arguments that are given, as parameters of the plan. */
static ParamListInfo
call_parameters(const CallFunction *function, const CallArguments *arguments, Oid *types)
{
	ParamListInfo params = makeParamList(bms_num_members(arguments->given));
	int n = 0;
	int i = -1;

	while ((i = bms_next_member(arguments->given, i)) >= 0)
	{
		types[n] = function->types[i];
		params->params[n++] = (ParamExternData){.value = arguments->values[i].value,
												.isnull = arguments->values[i].isnull,
												.ptype = function->types[i]};
	}
	return params;
}

static void
call_run(CallFunction *function, const CallArguments *arguments, DestReceiver *receiver)
{
	SPIExecuteOptions options = {.dest = receiver};
	Oid types[FUNC_MAX_ARGS];
	int result;

	options.params = call_parameters(function, arguments, types);
	SPI_connect();
	result = SPI_execute_plan_extended(call_plan(function, arguments->given, types), &options);
	if (result < 0)
		elog(ERROR, "SPI_execute_plan_extended failed: %s", SPI_result_code_string(result));
	SPI_finish();
}

static RowsForm
call_form(const CallFunction *function)
{
	return function->scalar || function->composite || function->is_void ? ROWS_VALUES
																		: ROWS_OBJECTS;
}

static void
call_send_rows(void *arg)
{
	ClientQuery *query = arg;
	WireMessage message = {.type = WIRE_ROWS};

	message.u.rows.request = query->wire.request;
	message.u.rows.rows = (WireBytes){.data = query->body.data, .len = (uint32_t) query->body.len};
	spool_send(query, &message, (uint32) query->body.len);
	resetStringInfo(&query->body);
	spool_attend(query);
}

/* Send the rows of a set one by one. The answer behind them has no body. */
static void
call_execute_progressively(ClientQuery *query, CallFunction *function,
						   const CallArguments *arguments)
{
	uint64 count;

	spool_begin(query);
	call_run(function, arguments,
			 rows_receiver_list(call_form(function), &query->body, (Size) notifyd_max_response_size,
								&count, call_send_rows, query));
	if (query->body.len > 0)
		call_send_rows(query);
}

static void
call_execute(ClientQuery *query, CallFunction *function, const CallArguments *arguments)
{
	uint64 count;

	if (function->set)
		appendStringInfoChar(&query->body, '[');
	call_run(
		function, arguments,
		rows_receiver(call_form(function), &query->body, (Size) notifyd_max_response_size, &count));
	if (function->set)
		appendStringInfoChar(&query->body, ']');
	else if (function->is_void || count == 0)
	{
		resetStringInfo(&query->body);
		appendStringInfoString(&query->body, "null");
		/* HTTP has a status for an answer without a body. */
		if (function->is_void)
			query->status = 204;
	}
}

/* Check the role's privileges, whatever the plan has checked when it was made. */
static void
call_check_privileges(const CallFunction *function)
{
	Oid schema = get_func_namespace(function->oid);

	if (!COMPAT_SCHEMA_USABLE(schema, GetUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, get_namespace_name(schema));
	if (!COMPAT_FUNCTION_EXECUTABLE(function->oid, GetUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(function->oid));
}

void
query_call(ClientQuery *query)
{
	CallFunction *function = call_find(query_text(query->wire.name));
	CallArguments arguments;

	call_check_privileges(function);
	if (query->wire.read_only && function->is_volatile)
		query_refuse(WIRE_QUERY_NOT_PERMITTED, ERRCODE_READ_ONLY_SQL_TRANSACTION, function->name,
					 "function \"%s\" is volatile, and GET must not change anything; use POST",
					 function->name);
	call_parse_arguments(query, function, &arguments);
	if (query->wire.progressive && function->set)
		call_execute_progressively(query, function, &arguments);
	else
		call_execute(query, function, &arguments);
	if (query->wire.method.len > 0)
		query_response(query);
}
