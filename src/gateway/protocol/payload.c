/*-------------------------------------------------------------------------
 *
 * payload.c
 *	  The format "payload": messages are the payloads of events and nothing else. See payload.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/protocol/payload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/protocol/jsonrpc_internal.h"
#include "gateway/protocol/numbers.h"

#define PAYLOAD_MEMBER "\"payload\""

/*
 * Close codes: data that the endpoint cannot accept (RFC 6455, 7.4.1), and 4000 + the HTTP status of
 * an error. Events of a reset are missing: 410, "Gone".
 */
#define PAYLOAD_CLOSE_NO_JSON 1003
#define PAYLOAD_CLOSE_ERROR   4000
#define PAYLOAD_CLOSE_GONE    4410

/* ---------------- events ---------------- */

/*
 * Find the value of the member "payload" of an event, a JSON object that the capture has written,
 * with no space around its own members. Returns false if it has none.
 */
static bool
payload_find(WireBytes body, WireBytes *value)
{
	const char *name_end = NULL; /* of the member, at its colon */
	bool in_string = false;
	int depth = 0;

	for (uint32_t i = 0; i < body.len; i++)
	{
		const char *p = body.data + i;

		if (in_string)
		{
			if (*p == '\\')
				i++;
			in_string = *p != '"';
			continue;
		}
		in_string = *p == '"';
		depth += *p == '{' || *p == '[';
		depth -= *p == '}' || *p == ']';
		if (name_end != NULL && ((depth == 1 && *p == ',') || depth == 0))
		{
			*value = (WireBytes){.data = name_end + 1, .len = (uint32_t) (p - name_end - 1)};
			return true;
		}
		if (depth == 1 && *p == ':' && i > strlen(PAYLOAD_MEMBER) &&
			memcmp(p - strlen(PAYLOAD_MEMBER), PAYLOAD_MEMBER, strlen(PAYLOAD_MEMBER)) == 0 &&
			p[-1 - (int) strlen(PAYLOAD_MEMBER)] != '\\')
			name_end = p;
	}
	return false;
}

/* The text of a notification is a string in the event, and is sent as it was given to NOTIFY. */
static Frame *
payload_text(WireBytes value)
{
	json_t *json = json_loadb(value.data, value.len, JSON_DECODE_ANY, NULL);
	WireBytes text = {.data = json_string_value(json), .len = (uint32_t) json_string_length(json)};
	Frame *frame = frame_text(text.data != NULL ? &text : &value, 1);

	json_decref(json);
	return frame;
}

static Frame *
payload_object(const Notification *notification)
{
	return frame_text(notification->params, notification->count);
}

/* An event without a payload is sent as the object that JSON-RPC's notification has. */
static Frame *
payload_event(const ProtocolEvent *event)
{
	WireBytes value;

	if (!payload_find(event->body, &value))
		return notification_event(event, payload_object);
	return event->op == WIRE_OP_NOTIFY ? payload_text(value) : frame_text(&value, 1);
}

/* ---------------- requests and errors ---------------- */

/* subject (NULL: none) is what the message is about. */
static Frame *
payload_close(int code, const char *subject, const char *message)
{
	int close = code == JSONRPC_PARSE_ERROR ? PAYLOAD_CLOSE_NO_JSON
											: PAYLOAD_CLOSE_ERROR + notification_status(code);
	char reason[FRAME_CONTROL_MAX + 1];

	snprintf(reason, sizeof(reason), "%s%s%s", subject != NULL ? subject : "",
			 subject != NULL ? ": " : "", message);
	return frame_close((uint16_t) close, reason);
}

static bool
payload_parse(const char *text, size_t len, Request *request, Frame **answer)
{
	JsonrpcError error;
	bool valid;

	*request = (Request){.ops = WIRE_OP_ALL};
	valid = jsonrpc_read(text, len, request, &error);
	/* No request is answered. */
	free(request->id);
	request->id = NULL;
	if (valid)
		return true;
	*answer = payload_close(error.code, error.key != NULL ? error.value : NULL, error.message);
	request_free(request);
	return false;
}

Frame *
payload_error(json_t *error)
{
	json_t *data = json_object_get(error, "data");
	const char *parameter = json_string_value(json_object_get(data, "parameter"));
	const char *channel = json_string_value(json_object_get(data, "channel"));
	Frame *frame = payload_close((int) json_integer_value(json_object_get(error, "code")),
								 parameter != NULL ? parameter : channel,
								 json_string_value(json_object_get(error, "message")));

	json_decref(error);
	return frame;
}

static Frame *
payload_refusal(const char *id, ProtocolReason reason, WireBytes text, ProtocolName name)
{
	(void) id;
	return payload_error(notification_refusal(reason, text, name));
}

static Frame *
payload_query_failure(const char *id, const WireFailed *failed, ProtocolName name)
{
	(void) id;
	return payload_error(notification_query_failure(failed, name));
}

static Frame *
payload_reset(ProtocolName name, WireBytes reason, WirePosition position, bool inside)
{
	char text[FRAME_CONTROL_MAX + 1];

	(void) position;
	(void) inside;
	snprintf(text, sizeof(text), "%.*s: events are missing: %.*s", (int) name.channel.len,
			 name.channel.data, (int) reason.len, reason.data);
	return frame_close(PAYLOAD_CLOSE_GONE, text);
}

/* Requests have no ids, so there is nothing to answer. */
const Protocol payload_protocol = {
	.number = PROTOCOL_PAYLOAD,
	.refusals_end = true,
	.resets_end = true,
	.parse = payload_parse,
	.event = payload_event,
	.refusal = payload_refusal,
	.query_failure = payload_query_failure,
	.reset = payload_reset,
};

/* ---------------- the variant with large numbers as strings ---------------- */

static Frame *
payload_bigint_event(const ProtocolEvent *event)
{
	ProtocolEvent copy = *event;
	char *quoted = numbers_replace(&copy.body);
	Frame *frame = payload_event(&copy);

	free(quoted);
	return frame;
}

const Protocol payload_bigint_protocol = {
	.number = PROTOCOL_PAYLOAD_BIGINT,
	.refusals_end = true,
	.resets_end = true,
	.parse = payload_parse,
	.event = payload_bigint_event,
	.refusal = payload_refusal,
	.query_failure = payload_query_failure,
	.reset = payload_reset,
};
