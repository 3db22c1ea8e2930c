/*-------------------------------------------------------------------------
 *
 * query_send.c
 *	  A message from a client: notify_send() as the client's role.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "ext/capture/capture.h"
#include "ext/query/query.h"

void
query_send(ClientQuery *query)
{
	char *channel = query_text(query->wire.name);
	char *payload = query_text(query->wire.body);
	volatile Datum json = 0;

	PG_TRY();
	{
		json = DirectFunctionCall1(json_in, CStringGetDatum(payload));
	}
	PG_CATCH();
	{
		if (query_value_is_wrong(geterrcode()))
			query_blame(WIRE_QUERY_BAD_PARAMETER, "payload");
		PG_RE_THROW();
	}
	PG_END_TRY();
	(void) DirectFunctionCall2(notify_send, CStringGetTextDatum(channel), json);
	appendStringInfoString(&query->body, "{}");
}
