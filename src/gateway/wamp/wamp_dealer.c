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
#include "wire/uri.h"

/* ---------------- CALL ---------------- */

/* Return true if arguments are none, or []. */
static bool
wamp_is_empty(WireBytes args)
{
	for (uint32_t i = 0; i < args.len; i++)
	{
		if (strchr("[] \t\r\n", args.data[i]) == NULL || args.data[i] == '\0')
			return false;
	}
	return true;
}

void
wamp_call(WampSession *session, const WampMessage *message)
{
	HubClient *client = session->client;
	WireBytes body = message->args;
	WireBytes named = message->kwargs;
	Request request = {.method = REQUEST_CALL};

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
	if (wamp_is_empty(body) && named.len > 0)
	{
		body = named;
		named.len = 0;
	}
	if (body.len == 0)
		body = notification_bytes("[]");
	request.id = wamp_request_id(WAMP_CALL, message->request);
	request.name = memory_string(message->uri, message->uri_len);
	request.body = memory_string(body.data, body.len);
	if (named.len > 0)
		request.named = memory_string(named.data, named.len);
	request.progressive = json_is_true(json_object_get(message->details, "receive_progress"));
	hub_request(client, &request);
	request_free(&request);
}

/* ---------------- answers ---------------- */

Frame *
wamp_query_result(const char *id, WireBytes body, bool bigint)
{
	WampType type;
	uint64_t request;

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

static const char *
wamp_failure_uri(WireQueryReason reason)
{
	switch (reason)
	{
		case WIRE_QUERY_NOT_AUTHENTICATED:
		case WIRE_QUERY_NOT_PERMITTED:
			return "wamp.error.not_authorized";
		case WIRE_QUERY_UNKNOWN:
			return "wamp.error.no_such_procedure";
		case WIRE_QUERY_BAD_PARAMETER:
			return "wamp.error.invalid_argument";
		case WIRE_QUERY_TIMEOUT:
			return "wamp.error.timeout";
		case WIRE_QUERY_CANCELLED:
			return "wamp.error.canceled";
		case WIRE_QUERY_BUSY:
			return "wamp.error.unavailable";
		case WIRE_QUERY_TOO_LARGE:
			return "wamp.error.payload_size_exceeded";
		case WIRE_QUERY_SQL_ERROR:
		case WIRE_QUERY_INTERNAL:
			break;
	}
	return "wamp.error.runtime_error";
}

static void
wamp_put(json_t *kwargs, const char *name, WireBytes text)
{
	if (text.len > 0)
		notification_put_bytes(kwargs, name, text);
}

Frame *
wamp_query_failure(const char *id, const WireFailed *failed, ProtocolName name)
{
	json_t *kwargs;
	WampType type;
	uint64_t request;
	Frame *frame;

	(void) name;
	/* Nobody waits for the answer. */
	if (id == NULL)
		return NULL;
	wamp_request_read(id, &type, &request);
	kwargs = json_object();
	wamp_put(kwargs, "sqlstate", failed->sqlstate);
	wamp_put(kwargs, "detail", failed->detail);
	wamp_put(kwargs, "hint", failed->hint);
	if (failed->reason == WIRE_QUERY_BAD_PARAMETER)
		wamp_put(kwargs, "parameter", failed->name);
	frame = wamp_failure(type, request, wamp_failure_uri(failed->reason), failed->message,
						 json_object_size(kwargs) > 0 ? kwargs : NULL);
	json_decref(kwargs);
	return frame;
}
