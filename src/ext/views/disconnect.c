/*-------------------------------------------------------------------------
 *
 * disconnect.c
 *	  notify_disconnect(): closes clients by the claims of their tokens.
 *
 * The feed closes the clients when the transaction commits, and refuses their tokens from then on.
 * This function counts them, by what the gateways say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "ext/access/disconnected.h"
#include "ext/access/token.h"
#include "ext/base/extension.h"
#include "ext/base/shared.h"
#include "ext/base/utf8.h"
#include "ext/views/clients.h"

PG_FUNCTION_INFO_V1(notify_disconnect);

typedef struct DisconnectCount
{
	Disconnected row;
	const char *database;
	int32 n;
} DisconnectCount;

static void
disconnect_count(void *arg, int gateway, const WireClient *client)
{
	DisconnectCount *count = arg;
	StringInfoData database;
	TimestampTz issued_at;
	Jsonb *claims;

	initStringInfo(&database);
	utf8_append_server(&database, client->database.data, (int) client->database.len);
	if (client->claims.len == 0 || strcmp(database.data, count->database) != 0)
		return;
	claims = token_claims(client->claims.data, client->claims.len, &issued_at);
	if (claims == NULL)
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						errmsg("gateway %d sent malformed claims", gateway)));
	count->n += disconnected_matches(&count->row, claims, issued_at);
}

/* notify_disconnect(claims jsonb, issued_before timestamptz) returns integer */
Datum
notify_disconnect(PG_FUNCTION_ARGS)
{
	DisconnectCount count = {.n = 0};

	PreventCommandIfReadOnly("notify_disconnect()");
	extension_require_version();
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", PG_ARGISNULL(0) ? "claims" : "issued_before")));
	if (!extension_is_admin(GetUserId()))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for %s", "notify_disconnect()"),
						errhint("Only a superuser or a member of the role that owns extension %s "
								"can disconnect clients.",
								EXTENSION_NAME)));
	count.row.claims = PG_GETARG_JSONB_P(0);
	count.row.issued_before = PG_GETARG_TIMESTAMPTZ(1);
	if (!JB_ROOT_IS_OBJECT(count.row.claims))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("claims must be a JSON object"),
				 errhint("Use a value such as '{\"sub\": \"7\"}'.")));
	disconnected_add(&count.row);
	count.database = get_database_name(MyDatabaseId);
	if (notifyd_shared != NULL)
		clients_read(disconnect_count, &count);
	PG_RETURN_INT32(count.n);
}
