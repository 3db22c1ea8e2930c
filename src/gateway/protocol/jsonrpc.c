/*-------------------------------------------------------------------------
 *
 * jsonrpc.c
 *	  The protocol pg_notifyd.v1: builds JSON-RPC 2.0 messages.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/protocol/jsonrpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gateway/base/memory.h"
#include "gateway/base/text.h"
#include "gateway/protocol/jsonrpc_internal.h"

/* ---------------- messages ---------------- */

char *
jsonrpc_dump(const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

	/* This fails only without memory: all strings are from jansson or were checked to be UTF-8. */
	if (text == NULL)
		abort();
	return text;
}

/*
 * Build a message: the version, a member with a value, and a member with the body, which is freed.
 */
static Frame *
jsonrpc_frame(const char *member, const char *value, const char *body_member, json_t *body)
{
	char *text = jsonrpc_dump(body);
	WireBytes parts[] = {
		jsonrpc_bytes("{\"jsonrpc\":\"2.0\",\""),
		jsonrpc_bytes(member),
		jsonrpc_bytes("\":"),
		jsonrpc_bytes(value),
		jsonrpc_bytes(",\""),
		jsonrpc_bytes(body_member),
		jsonrpc_bytes("\":"),
		jsonrpc_bytes(text),
		jsonrpc_bytes("}"),
	};
	Frame *frame = frame_text(parts, JSONRPC_COUNT(parts));

	free(text);
	json_decref(body);
	return frame;
}

static Frame *
jsonrpc_answer(const char *id, const char *member, json_t *body)
{
	return jsonrpc_frame("id", id, member, body);
}

static Frame *
jsonrpc_notification(const char *method, json_t *params)
{
	char value[32];

	snprintf(value, sizeof(value), "\"%s\"", method);
	return jsonrpc_frame("method", value, "params", params);
}

/* Build the answer to a failed request. Without an id, this is the notification "error". */
static Frame *
jsonrpc_failure(const char *id, const JsonrpcError *error)
{
	json_t *body = json_pack("{s:i, s:s}", "code", error->code, "message", error->message);

	if (error->key != NULL)
	{
		json_t *data = json_pack("{s:s}", error->key, error->value);

		if (error->tag.len > 0)
			json_object_set_new(data, "tag", json_stringn(error->tag.data, error->tag.len));
		json_object_set_new(body, "data", data);
	}
	return id != NULL ? jsonrpc_answer(id, "error", body) : jsonrpc_notification("error", body);
}

void
jsonrpc_set_error(JsonrpcError *error, int code, const char *message, size_t message_len,
				  const char *key, const char *value, size_t len)
{
	size_t size = text_utf8_cut(message, message_len, sizeof(error->message) - 1);

	error->code = code;
	error->tag = (WireBytes){.data = NULL};
	memcpy(error->message, message, size);
	error->message[size] = '\0';
	error->key = value != NULL ? key : NULL;
	size = value != NULL ? text_utf8_cut(value, len, sizeof(error->value) - 1) : 0;
	if (size > 0)
		memcpy(error->value, value, size);
	error->value[size] = '\0';
}

/* ---------------- the protocol ---------------- */

static bool
jsonrpc_parse(const char *text, size_t len, Request *request, Frame **answer)
{
	JsonrpcError error;

	*request = (Request){.ops = WIRE_OP_ALL, .id = memory_string("null", strlen("null"))};
	if (jsonrpc_read(text, len, request, &error))
		return true;
	*answer = jsonrpc_failure(request->id, &error);
	request_free(request);
	return false;
}

/*
 * The text of a position. Inside of a snapshot it has a mark. Returns its length.
 */
static size_t
jsonrpc_format_position(WirePosition position, bool inside, char *text)
{
	size_t len = wire_position_format(position, text);

	if (inside)
		text[len++] = JSONRPC_INSIDE;
	text[len] = '\0';
	return len;
}

/* An event whose body has another position than the client is to get. */
static Frame *
jsonrpc_moved_event(const ProtocolEvent *event)
{
	json_t *tag = json_stringn(event->name.tag.data, event->name.tag.len);
	char *tag_text = event->name.tag.len > 0 ? jsonrpc_dump(tag) : NULL;
	char own[WIRE_POSITION_SIZE];
	char position[WIRE_POSITION_SIZE];
	size_t skip = strlen("{\"position\":\"") + wire_position_format(event->own_position, own);
	WireBytes parts[] = {
		jsonrpc_bytes("{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{"),
		jsonrpc_bytes(tag_text != NULL ? "\"tag\":" : ""),
		jsonrpc_bytes(tag_text != NULL ? tag_text : ""),
		jsonrpc_bytes(tag_text != NULL ? ",\"position\":\"" : "\"position\":\""),
		{.data = position,
		 .len = (uint32_t) jsonrpc_format_position(event->position, event->inside, position)},
		{.data = event->body.data + skip, .len = event->body.len - (uint32_t) skip},
		jsonrpc_bytes("}"),
	};
	Frame *frame = frame_text(parts, JSONRPC_COUNT(parts));

	free(tag_text);
	json_decref(tag);
	return frame;
}

/* An event of a subscription with a tag, which becomes the first member of its params. */
static Frame *
jsonrpc_tagged_event(const ProtocolEvent *event)
{
	json_t *tag = json_stringn(event->name.tag.data, event->name.tag.len);
	char *text = jsonrpc_dump(tag);
	WireBytes parts[] = {
		jsonrpc_bytes("{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"tag\":"),
		jsonrpc_bytes(text),
		jsonrpc_bytes(","),
		{.data = event->body.data + 1, .len = event->body.len - 1},
		jsonrpc_bytes("}"),
	};
	Frame *frame = frame_text(parts, JSONRPC_COUNT(parts));

	free(text);
	json_decref(tag);
	return frame;
}

static Frame *
jsonrpc_event(const ProtocolEvent *event)
{
	WireBytes parts[] = {
		jsonrpc_bytes("{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":"),
		event->body,
		jsonrpc_bytes("}"),
	};

	if (event->own_position.id != 0)
		return jsonrpc_moved_event(event);
	if (event->name.tag.len > 0)
		return jsonrpc_tagged_event(event);
	return frame_text(parts, JSONRPC_COUNT(parts));
}

static void
jsonrpc_put_bytes(json_t *object, const char *key, WireBytes bytes)
{
	json_object_set_new(object, key,
						json_stringn(bytes.data, text_utf8_cut(bytes.data, bytes.len, bytes.len)));
}

static void
jsonrpc_put_name(json_t *object, ProtocolName name)
{
	jsonrpc_put_bytes(object, "channel", name.channel);
	if (name.tag.len > 0)
		jsonrpc_put_bytes(object, "tag", name.tag);
}

static void
jsonrpc_put_position(json_t *object, WirePosition position, bool inside)
{
	char text[WIRE_POSITION_SIZE];

	(void) jsonrpc_format_position(position, inside, text);
	json_object_set_new(object, "position", json_string(text));
}

static Frame *
jsonrpc_result(RequestMethod method, const char *id, ProtocolName name, WirePosition position,
			   bool inside)
{
	json_t *result = json_object();

	if (method != REQUEST_PING)
		jsonrpc_put_name(result, name);
	if (method != REQUEST_UNSUBSCRIBE)
		jsonrpc_put_position(result, position, inside);
	return jsonrpc_answer(id, "result", result);
}

static Frame *
jsonrpc_identity(const char *id, const char *role, uint64_t expires_at)
{
	json_t *result = json_object();
	time_t seconds = (time_t) (expires_at / 1000000);
	struct tm utc;
	char text[64];

	jsonrpc_put_bytes(result, "role", jsonrpc_bytes(role));
	if (expires_at == 0 || gmtime_r(&seconds, &utc) == NULL ||
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S+00:00", &utc) == 0)
		json_object_set_new(result, "expires_at", json_null());
	else
		json_object_set_new(result, "expires_at", json_string(text));
	return jsonrpc_answer(id, "result", result);
}

static int
jsonrpc_code(ProtocolReason reason)
{
	switch (reason)
	{
		case PROTOCOL_NOT_PERMITTED:
		case PROTOCOL_POLICY_FAILED:
			return JSONRPC_NOT_PERMITTED;
		case PROTOCOL_NO_SUCH_CHANNEL:
			return JSONRPC_NO_SUCH_CHANNEL;
		case PROTOCOL_NOT_AUTHENTICATED:
		case PROTOCOL_EXPIRED:
		case PROTOCOL_REVOKED:
		case PROTOCOL_DISCONNECTED:
			return JSONRPC_NOT_AUTHENTICATED;
		case PROTOCOL_SUBSCRIBED_ALREADY:
		case PROTOCOL_BAD_FILTER:
		case PROTOCOL_NOT_SUBSCRIBED:
			return JSONRPC_INVALID_PARAMS;
		case PROTOCOL_TOO_MANY_SUBSCRIPTIONS:
			return JSONRPC_LIMIT_EXCEEDED;
		case PROTOCOL_CANCELLED:
			break;
	}
	return JSONRPC_INTERNAL_ERROR;
}

static Frame *
jsonrpc_refusal(const char *id, ProtocolReason reason, WireBytes text, ProtocolName name)
{
	JsonrpcError error;

	jsonrpc_set_error(&error, jsonrpc_code(reason), text.data, text.len, "channel",
					  name.channel.data, name.channel.len);
	error.tag = name.tag;
	return jsonrpc_failure(id, &error);
}

static Frame *
jsonrpc_query_result(const char *id, WireBytes body)
{
	WireBytes parts[] = {
		jsonrpc_bytes("{\"jsonrpc\":\"2.0\",\"id\":"),
		jsonrpc_bytes(id),
		jsonrpc_bytes(",\"result\":"),
		body.len > 0 ? body : jsonrpc_bytes("null"),
		jsonrpc_bytes("}"),
	};

	return frame_text(parts, JSONRPC_COUNT(parts));
}

/* The code of a failed query, and which member of "data" has the name of what was wrong. */
static int
jsonrpc_query_code(const WireFailed *failed, const char **key)
{
	*key = "name";
	switch ((WireQueryReason) failed->reason)
	{
		case WIRE_QUERY_NOT_AUTHENTICATED:
			return JSONRPC_NOT_AUTHENTICATED;
		case WIRE_QUERY_NOT_PERMITTED:
			return JSONRPC_NOT_PERMITTED;
		case WIRE_QUERY_UNKNOWN:
			return JSONRPC_NO_SUCH_CHANNEL;
		case WIRE_QUERY_BAD_PARAMETER:
			*key = "parameter";
			return JSONRPC_INVALID_PARAMS;
		case WIRE_QUERY_SQL_ERROR:
		case WIRE_QUERY_TOO_LARGE:
			return JSONRPC_SQL_ERROR;
		case WIRE_QUERY_TIMEOUT:
			return JSONRPC_TIMEOUT;
		case WIRE_QUERY_BUSY:
			return JSONRPC_BUSY;
		case WIRE_QUERY_CANCELLED:
		case WIRE_QUERY_INTERNAL:
			break;
	}
	return JSONRPC_INTERNAL_ERROR;
}

static Frame *
jsonrpc_query_failure(const char *id, const WireFailed *failed, ProtocolName name)
{
	json_t *body = json_object();
	json_t *data = json_object();
	const char *key;

	json_object_set_new(body, "code", json_integer(jsonrpc_query_code(failed, &key)));
	jsonrpc_put_bytes(body, "message", failed->message);
	if (name.channel.data != NULL)
		jsonrpc_put_name(data, name);
	if (failed->name.len > 0)
		jsonrpc_put_bytes(data, key, failed->name);
	if (failed->sqlstate.len > 0)
		jsonrpc_put_bytes(data, "sqlstate", failed->sqlstate);
	if (failed->detail.len > 0)
		jsonrpc_put_bytes(data, "detail", failed->detail);
	if (failed->hint.len > 0)
		jsonrpc_put_bytes(data, "hint", failed->hint);
	if (json_object_size(data) > 0)
		json_object_set(body, "data", data);
	json_decref(data);
	return id != NULL ? jsonrpc_answer(id, "error", body) : jsonrpc_notification("error", body);
}

/* The rows are JSON already, so the message is put together from pieces. */
static Frame *
jsonrpc_rows(ProtocolName name, const WireRows *rows, WirePosition position, bool inside)
{
	json_t *params = json_object();
	json_t *key = json_array();
	WireBytes list = rows != NULL ? rows->key : (WireBytes){0};
	WireBytes column;
	char *text;
	Frame *frame;

	jsonrpc_put_name(params, name);
	if (rows != NULL)
	{
		jsonrpc_put_bytes(params, "schema", rows->schema);
		jsonrpc_put_bytes(params, "table", rows->table);
		while (wire_list_next(&list, &column))
			json_array_append_new(key, json_stringn(column.data, column.len));
		json_object_set(params, "key", key);
	}
	else
	{
		json_object_set_new(params, "done", json_true());
		jsonrpc_put_position(params, position, inside);
	}
	text = jsonrpc_dump(params);
	/* Without its last brace. */
	WireBytes parts[] = {
		jsonrpc_bytes("{\"jsonrpc\":\"2.0\",\"method\":\"rows\",\"params\":"),
		{.data = text, .len = (uint32_t) strlen(text) - 1},
		jsonrpc_bytes(",\"rows\":["),
		rows != NULL ? rows->rows : jsonrpc_bytes(""),
		jsonrpc_bytes("]}}"),
	};

	frame = frame_text(parts, JSONRPC_COUNT(parts));
	free(text);
	json_decref(key);
	json_decref(params);
	return frame;
}

static Frame *
jsonrpc_reset(ProtocolName name, WireBytes reason, WirePosition position, bool inside)
{
	json_t *params = json_object();

	jsonrpc_put_name(params, name);
	jsonrpc_put_bytes(params, "reason", reason);
	jsonrpc_put_position(params, position, inside);
	return jsonrpc_notification("reset", params);
}

static Frame *
jsonrpc_position(WirePosition position)
{
	json_t *params = json_object();

	jsonrpc_put_position(params, position, false);
	return jsonrpc_notification("position", params);
}

const Protocol jsonrpc_protocol = {
	.number = 0,
	.parse = jsonrpc_parse,
	.event = jsonrpc_event,
	.result = jsonrpc_result,
	.identity = jsonrpc_identity,
	.refusal = jsonrpc_refusal,
	.query_result = jsonrpc_query_result,
	.query_failure = jsonrpc_query_failure,
	.rows = jsonrpc_rows,
	.reset = jsonrpc_reset,
	.position = jsonrpc_position,
};
