/*-------------------------------------------------------------------------
 *
 * jsonrpc.c
 *	  The protocol pg_notifyd.v1: builds JSON-RPC 2.0 messages.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/protocol/jsonrpc.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/base/memory.h"
#include "gateway/base/text.h"
#include "gateway/protocol/jsonrpc_internal.h"
#include "gateway/protocol/numbers.h"

/* ---------------- messages ---------------- */

/* Build an answer, with a body that is freed. */
static Frame *
jsonrpc_answer(const char *id, const char *member, json_t *body)
{
	char *text = notification_dump(body);
	WireBytes parts[] = {
		notification_bytes("{\"jsonrpc\":\"2.0\",\"id\":"),
		notification_bytes(id),
		notification_bytes(",\""),
		notification_bytes(member),
		notification_bytes("\":"),
		notification_bytes(text),
		notification_bytes("}"),
	};
	Frame *frame = frame_text(parts, JSONRPC_COUNT(parts));

	free(text);
	json_decref(body);
	return frame;
}

static Frame *
jsonrpc_notification(const Notification *notification)
{
	WireBytes parts[NOTIFICATION_PARTS + 4];
	size_t n = 0;

	parts[n++] = notification_bytes("{\"jsonrpc\":\"2.0\",\"method\":\"");
	parts[n++] = notification_bytes(notification->method);
	parts[n++] = notification_bytes("\",\"params\":");
	for (size_t i = 0; i < notification->count; i++)
		parts[n++] = notification->params[i];
	parts[n++] = notification_bytes("}");
	return frame_text(parts, n);
}

/* Build the answer to a failed request. Without an id, this is the notification "error". */
static Frame *
jsonrpc_failure(const char *id, json_t *error)
{
	return id != NULL ? jsonrpc_answer(id, "error", error)
					  : notification_json("error", error, jsonrpc_notification);
}

void
jsonrpc_set_error(JsonrpcError *error, int code, const char *message, size_t message_len,
				  const char *key, const char *value, size_t len)
{
	size_t size = text_utf8_cut(message, message_len, sizeof(error->message) - 1);

	error->code = code;
	memcpy(error->message, message, size);
	error->message[size] = '\0';
	error->key = value != NULL ? key : NULL;
	size = value != NULL ? text_utf8_cut(value, len, sizeof(error->value) - 1) : 0;
	if (size > 0)
		memcpy(error->value, value, size);
	error->value[size] = '\0';
}

static json_t *
jsonrpc_error(const JsonrpcError *error)
{
	WireBytes value = notification_bytes(error->value);

	return notification_error(error->code, notification_bytes(error->message), error->key, value,
							  (WireBytes){.data = NULL});
}

/* ---------------- the protocol ---------------- */

static bool
jsonrpc_parse(const char *text, size_t len, Request *request, Frame **answer)
{
	JsonrpcError error;

	*request =
		(Request){.ops = WIRE_OP_ALL, .window = 1, .id = memory_string("null", strlen("null"))};
	if (jsonrpc_read(text, len, request, &error))
		return true;
	*answer = jsonrpc_failure(request->id, jsonrpc_error(&error));
	request_free(request);
	return false;
}

json_t *
jsonrpc_subscribe(json_t *params, Request *request)
{
	JsonrpcError error;

	*request = (Request){.method = REQUEST_SUBSCRIBE, .ops = WIRE_OP_ALL};
	if (jsonrpc_read_subscribe(params, request, &error))
		return NULL;
	request_free(request);
	return jsonrpc_error(&error);
}

static Frame *
jsonrpc_event(const ProtocolEvent *event)
{
	return notification_event(event, jsonrpc_notification);
}

static Frame *
jsonrpc_result(RequestMethod method, const char *id, ProtocolName name, WirePosition position,
			   bool inside)
{
	json_t *result = json_object();

	if (method != REQUEST_PING)
		notification_put_name(result, name);
	if (method != REQUEST_UNSUBSCRIBE)
		notification_put_position(result, position, inside);
	return jsonrpc_answer(id, "result", result);
}

static Frame *
jsonrpc_identity(const char *id, const char *role, uint64_t expires_at)
{
	json_t *result = json_object();
	time_t seconds = (time_t) (expires_at / 1000000);
	struct tm utc;
	char text[64];

	notification_put_bytes(result, "role", notification_bytes(role));
	if (expires_at == 0 || gmtime_r(&seconds, &utc) == NULL ||
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S+00:00", &utc) == 0)
		json_object_set_new(result, "expires_at", json_null());
	else
		json_object_set_new(result, "expires_at", json_string(text));
	return jsonrpc_answer(id, "result", result);
}

static Frame *
jsonrpc_refusal(const char *id, ProtocolReason reason, WireBytes text, ProtocolName name)
{
	return jsonrpc_failure(id, notification_refusal(reason, text, name));
}

static Frame *
jsonrpc_query_result(const char *id, const WireResultMsg *result)
{
	WireBytes parts[] = {
		notification_bytes("{\"jsonrpc\":\"2.0\",\"id\":"),
		notification_bytes(id),
		notification_bytes(",\"result\":"),
		result->body.len > 0 ? result->body : notification_bytes("null"),
		notification_bytes("}"),
	};

	return frame_text(parts, JSONRPC_COUNT(parts));
}

static Frame *
jsonrpc_query_failure(const char *id, const WireFailed *failed, ProtocolName name)
{
	return jsonrpc_failure(id, notification_query_failure(failed, name));
}

static Frame *
jsonrpc_rows(ProtocolName name, const WireRows *rows, WirePosition position, bool inside)
{
	return notification_rows(name, rows, position, inside, jsonrpc_notification);
}

static Frame *
jsonrpc_consuming(const char *id, WireBytes group)
{
	json_t *result = json_object();

	notification_put_bytes(result, "group", group);
	return jsonrpc_answer(id, "result", result);
}

/* The delivery's own members follow the group's name. */
static Frame *
jsonrpc_delivery(WireBytes group, WireBytes delivery)
{
	json_t *name = json_stringn(group.data, group.len);
	char *text = notification_dump(name);
	WireBytes parts[] = {
		notification_bytes("{\"jsonrpc\":\"2.0\",\"method\":\"delivery\",\"params\":{\"group\":"),
		notification_bytes(text),
		notification_bytes(","),
		{.data = delivery.data + 1, .len = delivery.len - 1},
		notification_bytes("}"),
	};
	Frame *frame = frame_text(parts, JSONRPC_COUNT(parts));

	free(text);
	json_decref(name);
	return frame;
}

static Frame *
jsonrpc_reset(ProtocolName name, WireBytes reason, WirePosition position, bool inside)
{
	return notification_reset(name, reason, position, inside, jsonrpc_notification);
}

static Frame *
jsonrpc_position(WirePosition position)
{
	return notification_position(position, jsonrpc_notification);
}

const Protocol jsonrpc_protocol = {
	.number = PROTOCOL_JSONRPC,
	.parse = jsonrpc_parse,
	.event = jsonrpc_event,
	.result = jsonrpc_result,
	.identity = jsonrpc_identity,
	.refusal = jsonrpc_refusal,
	.query_result = jsonrpc_query_result,
	.query_failure = jsonrpc_query_failure,
	.rows = jsonrpc_rows,
	.consuming = jsonrpc_consuming,
	.delivery = jsonrpc_delivery,
	.reset = jsonrpc_reset,
	.position = jsonrpc_position,
};

/* ---------------- the variant with large numbers as strings ---------------- */

static Frame *
jsonrpc_bigint_event(const ProtocolEvent *event)
{
	return notification_bigint_event(event, jsonrpc_notification);
}

static Frame *
jsonrpc_bigint_query_result(const char *id, const WireResultMsg *result)
{
	WireResultMsg copy = *result;
	char *quoted = numbers_replace(&copy.body);
	Frame *frame = jsonrpc_query_result(id, &copy);

	free(quoted);
	return frame;
}

static Frame *
jsonrpc_bigint_delivery(WireBytes group, WireBytes delivery)
{
	char *quoted = numbers_replace(&delivery);
	Frame *frame = jsonrpc_delivery(group, delivery);

	free(quoted);
	return frame;
}

static Frame *
jsonrpc_bigint_rows(ProtocolName name, const WireRows *rows, WirePosition position, bool inside)
{
	return notification_bigint_rows(name, rows, position, inside, jsonrpc_notification);
}

const Protocol jsonrpc_bigint_protocol = {
	.number = PROTOCOL_JSONRPC_BIGINT,
	.parse = jsonrpc_parse,
	.event = jsonrpc_bigint_event,
	.result = jsonrpc_result,
	.identity = jsonrpc_identity,
	.refusal = jsonrpc_refusal,
	.query_result = jsonrpc_bigint_query_result,
	.query_failure = jsonrpc_query_failure,
	.rows = jsonrpc_bigint_rows,
	.consuming = jsonrpc_consuming,
	.delivery = jsonrpc_bigint_delivery,
	.reset = jsonrpc_reset,
	.position = jsonrpc_position,
};
