/*-------------------------------------------------------------------------
 *
 * sqlcall_answer.c
 *	  The answers that notify_call() gets: results, and errors with their SQLSTATEs.
 *
 * The feed does not look into payloads. PostgreSQL's own functions for json check and split them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "ext/base/utf8.h"
#include "ext/json/json.h"
#include "ext/sqlcall/sqlcall_internal.h"
#include "wire/wire_route.h"

/* What callees send along with an error is a part of the DETAIL up to this many bytes. */
#define SQLCALL_MAX_DETAIL 8192

/* An answer in the server's encoding. */
typedef struct SqlCallParts
{
	char *error;        /* a URI */
	const char *args;   /* a JSON array */
	const char *kwargs; /* a JSON object */
	int nargs;
	bool named;  /* kwargs is not empty */
	char *first; /* the first one of args; NULL: none */
} SqlCallParts;

/* ---------------- taking it apart ---------------- */

/* Characters that the database's encoding lacks are an error in a result, and are replaced in an error. */
static char *
sqlcall_server_text(const SqlCallAnswer *answer, const char *text, Size length)
{
	StringInfoData replaced;

	if (answer->kind != ROUTE_ERROR)
		return pg_any_to_server(pnstrdup(text, length), (int) length, PG_UTF8);
	initStringInfo(&replaced);
	utf8_append_server(&replaced, text, (int) length);
	return replaced.data;
}

static char *
sqlcall_element(Datum array, int number)
{
	return TextDatumGetCString(
		DirectFunctionCall2(json_array_element, array, Int32GetDatum(number)));
}

static int
sqlcall_length(Datum array)
{
	return DatumGetInt32(DirectFunctionCall1(json_array_length, array));
}

static bool
sqlcall_is_empty(const char *object)
{
	return object[1 + strspn(object + 1, " \t\r\n")] == '}';
}

/* Split a payload. Raises an error if it is none: gateways send what clients have sent only if it is JSON. */
static void
sqlcall_split(SqlCallParts *parts, const char *payload)
{
	Datum both = DirectFunctionCall1(json_in, CStringGetDatum(psprintf("[%s]", payload)));
	int n = sqlcall_length(both);
	Datum args;

	parts->args = n > 0 ? sqlcall_element(both, 0) : "[]";
	parts->kwargs = n > 1 ? sqlcall_element(both, 1) : "{}";
	parts->named = !sqlcall_is_empty(parts->kwargs);
	args = CStringGetTextDatum(parts->args);
	parts->nargs = sqlcall_length(args);
	parts->first = parts->nargs > 0 ? sqlcall_element(args, 0) : NULL;
}

static void
sqlcall_read_parts(SqlCallParts *parts, const SqlCallAnswer *answer, Size length)
{
	Size text = length - offsetof(SqlCallAnswer, text);

	if (answer->name_length > text)
		elog(ERROR, "invalid answer of the feed");
	parts->error = sqlcall_server_text(answer, answer->text, answer->name_length);
	sqlcall_split(parts, sqlcall_server_text(answer, answer->text + answer->name_length,
											 text - answer->name_length));
}

/* ---------------- errors ---------------- */

void
sqlcall_raise_unknown(const char *procedure)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
					errmsg("procedure \"%s\" does not exist", procedure),
					errdetail("No client has registered a procedure with this name."),
					errhint("Functions that are exposed to clients are called directly in SQL.")));
	pg_unreachable();
}

/*
 * The message of an error is its first argument, if that is a string; otherwise NULL. json allows escapes that
 * text does not.
 */
static char *
sqlcall_message(const SqlCallParts *parts)
{
	if (parts->first == NULL || *parts->first != '"' || strstr(parts->first, "\\u") != NULL)
		return NULL;
	return TextDatumGetCString(DirectFunctionCall2(
		json_array_element_text, CStringGetTextDatum(parts->args), Int32GetDatum(0)));
}

/* The whole error as a JSON object, for programs that read the DETAIL. */
static char *
sqlcall_detail(const SqlCallParts *parts)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"error\":");
	json_append_string(&detail, parts->error, strlen(parts->error));
	if (strlen(parts->args) + strlen(parts->kwargs) <= SQLCALL_MAX_DETAIL)
		appendStringInfo(&detail, ",\"args\":%s,\"kwargs\":%s", parts->args, parts->kwargs);
	appendStringInfoChar(&detail, '}');
	return detail.data;
}

/* Whether the call has ended without an answer of the procedure. */
static bool
sqlcall_has_no_answer(const char *error)
{
	static const char *const names[] = {"wamp.error.canceled", "wamp.error.unavailable",
										"wamp.error.timeout"};

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		if (strcmp(error, names[i]) == 0)
			return true;
	}
	return false;
}

COMPAT_NORETURN static void
sqlcall_raise(const char *procedure, const SqlCallParts *parts)
{
	const char *message = sqlcall_message(parts);
	int code = sqlcall_has_no_answer(parts->error) ? ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION
												   : ERRCODE_EXTERNAL_ROUTINE_EXCEPTION;

	ereport(ERROR,
			(errcode(code),
			 message != NULL ? errmsg("procedure \"%s\" failed: %s", procedure, message)
							 : errmsg("procedure \"%s\" failed: %s", procedure, parts->error),
			 errdetail_internal("%s", sqlcall_detail(parts))));
	pg_unreachable();
}

/* ---------------- results ---------------- */

Datum
sqlcall_result(const char *procedure, const SqlCallAnswer *answer, Size length)
{
	SqlCallParts parts;

	if (answer->kind == ROUTE_ERROR && (answer->flags & ROUTE_UNKNOWN) != 0)
		sqlcall_raise_unknown(procedure);
	sqlcall_read_parts(&parts, answer, length);
	if (answer->kind == ROUTE_ERROR)
		sqlcall_raise(procedure, &parts);
	if (parts.nargs == 1 && !parts.named)
		return CStringGetTextDatum(parts.first);
	return CStringGetTextDatum(psprintf("{\"args\":%s,\"kwargs\":%s}", parts.args, parts.kwargs));
}
