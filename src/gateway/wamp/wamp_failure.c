/*-------------------------------------------------------------------------
 *
 * wamp_failure.c
 *	  What a worker could not do, as ERROR of WAMP. See wamp_failure.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/wamp_failure.h"

#include <stdlib.h>

#include "gateway/protocol/notification.h"
#include "gateway/wamp/wamp_build.h"

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
wamp_worker_failure(WampType type, uint64_t request, const WireFailed *failed)
{
	json_t *kwargs = json_object();
	Frame *frame;

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
