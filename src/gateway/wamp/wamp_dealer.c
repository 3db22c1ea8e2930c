/*-------------------------------------------------------------------------
 *
 * wamp_dealer.c
 *	  Procedures: CALL and RESULT. See wamp_dealer.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/wamp_dealer.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/protocol/notification.h"
#include "gateway/wamp/wamp_build.h"
#include "gateway/wamp/wamp_history.h"
#include "gateway/wamp/wamp_testament.h"
#include "gateway/wamp/wamp_failure.h"
#include "gateway/wamp/wamp_route.h"
#include "wire/uri.h"

/* ---------------- CALL ---------------- */

void
wamp_call(WampSession *session, const WampMessage *message)
{
	HubClient *client = session->client;

	if (wamp_history_call(session, message) || wamp_testament_call(session, message))
		return;
	if (!uri_is_valid(URI_EXACT, message->uri, message->uri_len))
	{
		wamp_refuse(client, WAMP_CALL, message->request, "wamp.error.invalid_uri",
					"the procedure is no valid URI");
		return;
	}
	if (message->uri_len > PROTOCOL_MAX_NAME)
	{
		wamp_refuse(client, WAMP_CALL, message->request, "wamp.error.no_such_procedure",
					"there is no such function");
		return;
	}
	wamp_route_call(session, message);
}

/* ---------------- answers ---------------- */

Frame *
wamp_query_result(const char *id, WireBytes body, bool bigint)
{
	WampType type;
	uint64_t request;

	if (wamp_history_asked(id))
		return wamp_history_result(id, body, bigint);
	wamp_request_read(id, &type, &request);
	/* The rows came before. */
	if (body.len == 0)
		return wamp_result(request, body, &WAMP_NO_PAYLOAD);
	return wamp_result_value(request, body, false, bigint);
}

Frame *
wamp_query_progress(const char *id, WireBytes row, bool bigint)
{
	WampType type;
	uint64_t request;

	wamp_request_read(id, &type, &request);
	return wamp_result_value(request, row, true, bigint);
}

Frame *
wamp_query_failure(const char *id, const WireFailed *failed, ProtocolName name)
{
	WampType type;
	uint64_t request;

	(void) name;
	wamp_request_read(id, &type, &request);
	return wamp_worker_failure(type, request, failed);
}
