/*-------------------------------------------------------------------------
 *
 * token_sql.c
 *	  notify_verify(): what pg_notifyd makes of a token.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "ext/access/disconnected.h"
#include "ext/access/token.h"
#include "ext/base/extension.h"

PG_FUNCTION_INFO_V1(notify_verify);

static void
token_append_text(StringInfo json, const char *name, const char *text)
{
	appendStringInfo(json, "\"%s\": ", name);
	if (text == NULL)
		appendStringInfoString(json, "null");
	else
		escape_json(json, text);
	appendStringInfoString(json, ", ");
}

/*
 * notify_verify(token text) returns jsonb. The statement stays out of the log, since it has the
 * token.
 */
Datum
notify_verify(PG_FUNCTION_ARGS)
{
	text *token = PG_GETARG_TEXT_PP(0);
	Identity identity;
	StringInfoData json;
	char expires[MAXDATELEN + 1];
	int utc = 0;
	char *invalid;
	const char *refusal;

	extension_require_version();
	if (token_verify(VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token), GetCurrentTimestamp(), &identity,
					 &invalid))
		refusal = disconnected_refusal(disconnected_read(), identity.claims, identity.issued_at);
	else
		refusal = invalid;
	if (refusal != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
						errmsg("token is refused: %s", refusal), errhidestmt(true)));

	if (identity.expires_at != DT_NOEND)
		JsonEncodeDateTime(expires, TimestampTzGetDatum(identity.expires_at), TIMESTAMPTZOID, &utc);
	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	token_append_text(&json, "role", identity.role_name);
	token_append_text(&json, "subject", identity.subject);
	token_append_text(&json, "expires_at", identity.expires_at != DT_NOEND ? expires : NULL);
	appendStringInfoString(&json, "\"claims\": ");
	JsonbToCString(&json, &identity.claims->root, VARSIZE(identity.claims));
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}
