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
	Datum json;

	json = DirectFunctionCall1(json_in, CStringGetDatum(payload));
	(void) DirectFunctionCall2(notify_send, CStringGetTextDatum(channel), json);
	appendStringInfoString(&query->body, "{}");
}
