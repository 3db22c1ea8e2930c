/*-------------------------------------------------------------------------
 *
 * jsonrpc.c
 *	  The protocol pg_notifyd.v1: reads JSON-RPC 2.0 requests and builds messages.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/protocol/jsonrpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "gateway/base/memory.h"
#include "gateway/base/text.h"

#define JSONRPC_MAX_INTEGER ((json_int_t) 1 << 53)

/* The parameters that a method accepts, as bits. */
#define PARAM_CHANNEL  0x1
#define PARAM_OPS      0x2
#define PARAM_SINCE    0x4
#define PARAM_TOKEN    0x8
#define PARAM_FILTER   0x10
#define PARAM_COLUMNS  0x20
#define PARAM_TAG      0x40
#define PARAM_NAME     0x80
#define PARAM_ARGS     0x100
#define PARAM_PAYLOAD  0x200
#define PARAM_SNAPSHOT 0x400

/* Those that say which of a channel's subscriptions a request is about. */
#define PARAM_SELECTION (PARAM_FILTER | PARAM_COLUMNS | PARAM_TAG)

static const struct
{
	const char *name;
	RequestMethod method;
	unsigned int params;
} jsonrpc_methods[] = {
	{"subscribe", REQUEST_SUBSCRIBE,
	 PARAM_CHANNEL | PARAM_OPS | PARAM_SINCE | PARAM_SELECTION | PARAM_SNAPSHOT},
	{"unsubscribe", REQUEST_UNSUBSCRIBE, PARAM_CHANNEL | PARAM_SELECTION},
	{"ping", REQUEST_PING, 0},
	{"auth", REQUEST_AUTH, PARAM_TOKEN},
	{"call", REQUEST_CALL, PARAM_NAME | PARAM_ARGS},
	{"send", REQUEST_SEND, PARAM_CHANNEL | PARAM_PAYLOAD},
};

static const struct
{
	const char *name;
	unsigned int bit;
} jsonrpc_params[] = {
	{"channel", PARAM_CHANNEL}, {"ops", PARAM_OPS},           {"since", PARAM_SINCE},
	{"token", PARAM_TOKEN},     {"filter", PARAM_FILTER},     {"columns", PARAM_COLUMNS},
	{"tag", PARAM_TAG},         {"name", PARAM_NAME},         {"args", PARAM_ARGS},
	{"payload", PARAM_PAYLOAD}, {"snapshot", PARAM_SNAPSHOT},
};

/* Behind a position inside a snapshot. */
#define JSONRPC_INSIDE 's'

#define JSONRPC_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Error codes, see doc/protocol.md. */
typedef enum JsonrpcCode
{
	JSONRPC_PARSE_ERROR = -32700,
	JSONRPC_INVALID_REQUEST = -32600,
	JSONRPC_METHOD_NOT_FOUND = -32601,
	JSONRPC_INVALID_PARAMS = -32602,
	JSONRPC_INTERNAL_ERROR = -32603,
	JSONRPC_NOT_AUTHENTICATED = -32001,
	JSONRPC_NOT_PERMITTED = -32003,
	JSONRPC_NO_SUCH_CHANNEL = -32004,
	JSONRPC_LIMIT_EXCEEDED = -32010,
	JSONRPC_BUSY = -32011,
	JSONRPC_SQL_ERROR = -32012,
	JSONRPC_TIMEOUT = -32013,
} JsonrpcCode;

/*
 * An error. Its "data" names what was wrong, and the tag of the subscription. Strings that are too
 * long are truncated.
 */
typedef struct JsonrpcError
{
	int code;
	char message[256];
	const char *key; /* NULL: no "data" */
	char value[128];
	WireBytes tag; /* of the subscription; empty: none */
} JsonrpcError;

/* ---------------- messages ---------------- */

static WireBytes
jsonrpc_bytes(const char *text)
{
	return (WireBytes){.data = text, .len = (uint32_t) strlen(text)};
}

static char *
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

/* ---------------- requests ---------------- */

/* Fill in an error. key and value (len bytes of UTF-8) may be NULL. */
static void
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

/* The same with a constant message. Always returns false, for use in a return statement. */
static bool
jsonrpc_reject(JsonrpcError *error, int code, const char *message, const char *key,
			   const char *value)
{
	jsonrpc_set_error(error, code, message, strlen(message), key, value,
					  value != NULL ? strlen(value) : 0);
	return false;
}

static bool
jsonrpc_bad_param(JsonrpcError *error, const char *message, const char *name)
{
	return jsonrpc_reject(error, JSONRPC_INVALID_PARAMS, message, "parameter", name);
}

/* Check the depth first, because jansson parses recursively. */
static bool
jsonrpc_too_deep(const char *text, size_t len)
{
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; i < len; i++)
	{
		char c = text[i];

		if (in_string)
		{
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		}
		else if (c == '"')
			in_string = true;
		else if ((c == '{' || c == '[') && ++depth > JSONRPC_MAX_DEPTH)
			return true;
		else if (c == '}' || c == ']')
			depth--;
	}
	return false;
}

static bool
jsonrpc_id_valid(const json_t *value)
{
	if (json_is_string(value))
		return json_string_length(value) <= JSONRPC_MAX_ID;
	return json_is_null(value) ||
		   (json_is_integer(value) && json_integer_value(value) <= JSONRPC_MAX_INTEGER &&
			json_integer_value(value) >= -JSONRPC_MAX_INTEGER);
}

/* The id is null until it is parsed. */
static bool
jsonrpc_parse_id(const json_t *json, Request *request, JsonrpcError *error)
{
	const json_t *value = json_object_get(json, "id");

	if (value != NULL && !jsonrpc_id_valid(value))
		return jsonrpc_reject(
			error, JSONRPC_INVALID_REQUEST,
			"id must be a string of at most 256 bytes, an integer of at most 2^53, or null",
			"member", "id");
	free(request->id);
	request->id = value != NULL ? jsonrpc_dump(value) : NULL;
	return true;
}

static bool
jsonrpc_parse_channel(const json_t *value, Request *request, JsonrpcError *error)
{
	if (!json_is_string(value) || json_string_length(value) == 0 ||
		json_string_length(value) > PROTOCOL_MAX_CHANNEL)
		return jsonrpc_bad_param(error, "channel must be a string of 1 to 63 bytes", "channel");
	request->channel_len = (uint8_t) json_string_length(value);
	memcpy(request->channel, json_string_value(value), request->channel_len);
	return true;
}

static bool
jsonrpc_parse_ops(const json_t *value, Request *request, JsonrpcError *error)
{
	size_t i;
	json_t *item;

	request->ops = 0;
	json_array_foreach(value, i, item)
	{
		char name[16];
		size_t len = json_is_string(item) ? json_string_length(item) : 0;
		uint8_t op;

		if (len >= sizeof(name))
			len = 0;
		for (size_t j = 0; j < len; j++)
		{
			char c = json_string_value(item)[j];

			name[j] = c >= 'a' && c <= 'z' ? (char) (c - 'a' + 'A') : c;
		}
		op = wire_op_parse(name, len);
		if (op == 0)
			break;
		request->ops |= op;
	}
	if (!json_is_array(value) || json_array_size(value) == 0 || i < json_array_size(value))
		return jsonrpc_bad_param(
			error,
			"ops must be a non-empty array of INSERT, UPDATE, DELETE, TRUNCATE, MESSAGE or NOTIFY",
			"ops");
	return true;
}

static bool
jsonrpc_parse_since(const json_t *value, Request *request, JsonrpcError *error)
{
	/* null means that the member is missing. */
	const char *text = json_string_value(value);
	size_t len = json_string_length(value);

	request->has_since = !json_is_null(value);
	if (!request->has_since)
		return true;
	request->since_inside = text != NULL && len > 0 && text[len - 1] == JSONRPC_INSIDE;
	if (request->since_inside)
		len--;
	if (text != NULL && wire_position_parse(text, len, &request->since))
		return true;
	return jsonrpc_bad_param(error, "since must be a position as the server sent it", "since");
}

/* true, or {"order": "name.desc", "limit": 100}. */
static bool
jsonrpc_parse_snapshot(const json_t *value, Request *request, JsonrpcError *error)
{
	const char *name;
	json_t *member;

	request->snapshot = json_is_true(value) || json_is_object(value);
	if (!request->snapshot && !json_is_false(value) && !json_is_null(value))
		return jsonrpc_bad_param(error, "snapshot must be true, false or an object", "snapshot");
	json_object_foreach((json_t *) value, name, member)
	{
		if (strcmp(name, "order") == 0 && json_is_string(member) &&
			json_string_length(member) > 0 && json_string_length(member) <= WIRE_MAX_FILTER)
		{
			free(request->order);
			request->order = memory_string(json_string_value(member), json_string_length(member));
		}
		else if (strcmp(name, "limit") == 0 && json_is_integer(member) &&
				 json_integer_value(member) > 0)
			request->limit = (uint64_t) json_integer_value(member);
		else if (!json_is_null(member) ||
				 (strcmp(name, "order") != 0 && strcmp(name, "limit") != 0))
			return jsonrpc_bad_param(
				error, "snapshot may have order, a string, and limit, a positive integer", name);
	}
	return true;
}

static bool
jsonrpc_parse_token(const json_t *value, Request *request, JsonrpcError *error)
{
	if (!json_is_string(value) || json_string_length(value) == 0 ||
		json_string_length(value) > WIRE_MAX_TOKEN)
		return jsonrpc_bad_param(error, "token must be a string of 1 to 8192 bytes", "token");
	free(request->token);
	request->token = memory_string(json_string_value(value), json_string_length(value));
	return true;
}

static bool
jsonrpc_check_filter(const json_t *value, JsonrpcError *error)
{
	if (json_is_null(value) || (json_is_string(value) && json_string_length(value) > 0 &&
								json_string_length(value) <= WIRE_MAX_FILTER))
		return true;
	return jsonrpc_bad_param(error, "filter must be a string of 1 to 8192 bytes", "filter");
}

static bool
jsonrpc_check_columns(const json_t *value, JsonrpcError *error)
{
	size_t size = 0;
	size_t i;
	json_t *item;

	if (json_is_null(value))
		return true;
	json_array_foreach(value, i, item)
	{
		if (!json_is_string(item) || json_string_length(item) == 0)
			break;
		size += sizeof(uint32_t) + json_string_length(item);
	}
	if (json_is_array(value) && i == json_array_size(value) && size <= WIRE_MAX_COLUMNS)
		return true;
	return jsonrpc_bad_param(error, "columns must be an array of names, of at most 8192 bytes",
							 "columns");
}

static bool
jsonrpc_check_tag(const json_t *value, JsonrpcError *error)
{
	if (json_is_null(value) || (json_is_string(value) && json_string_length(value) > 0 &&
								json_string_length(value) <= SELECTION_MAX_TAG))
		return true;
	return jsonrpc_bad_param(error, "tag must be a string of 1 to 63 bytes", "tag");
}

static bool
jsonrpc_parse_name(const json_t *value, Request *request, JsonrpcError *error)
{
	if (!json_is_string(value) || json_string_length(value) == 0 ||
		json_string_length(value) > PROTOCOL_MAX_NAME)
		return jsonrpc_bad_param(error, "name must be a string of 1 to 255 bytes", "name");
	free(request->name);
	request->name = memory_string(json_string_value(value), json_string_length(value));
	return true;
}

static bool
jsonrpc_parse_body(const char *name, const json_t *value, Request *request, JsonrpcError *error)
{
	if (strcmp(name, "args") == 0 && !json_is_object(value) && !json_is_array(value))
		return jsonrpc_bad_param(error, "args must be an object or an array", "args");
	free(request->body);
	request->body = jsonrpc_dump(value);
	return true;
}

static WireBytes
jsonrpc_string(const json_t *value)
{
	if (!json_is_string(value))
		return (WireBytes){.data = NULL};
	return (WireBytes){.data = json_string_value(value),
					   .len = (uint32_t) json_string_length(value)};
}

/* Make the selection from parameters that have been checked. */
static Selection *
jsonrpc_selection(const json_t *params)
{
	const json_t *columns = json_object_get(params, "columns");
	char list[WIRE_MAX_COLUMNS];
	size_t size = 0;
	size_t i;
	json_t *item;
	Selection selection = {
		.filter = jsonrpc_string(json_object_get(params, "filter")),
		.has_columns = json_is_array(columns),
		.tag = jsonrpc_string(json_object_get(params, "tag")),
	};

	json_array_foreach(columns, i, item)
	{
		if (!wire_list_append(list, sizeof(list), &size, jsonrpc_string(item)))
			abort();
	}
	selection.columns = (WireBytes){.data = list, .len = (uint32_t) size};
	return selection_copy(&selection);
}

static bool
jsonrpc_parse_param(const char *name, const json_t *value, unsigned int allowed, Request *request,
					JsonrpcError *error)
{
	for (size_t i = 0; i < JSONRPC_COUNT(jsonrpc_params); i++)
	{
		if (strcmp(jsonrpc_params[i].name, name) != 0 || (jsonrpc_params[i].bit & allowed) == 0)
			continue;
		switch (jsonrpc_params[i].bit)
		{
			case PARAM_CHANNEL:
				return jsonrpc_parse_channel(value, request, error);
			case PARAM_OPS:
				return jsonrpc_parse_ops(value, request, error);
			case PARAM_TOKEN:
				return jsonrpc_parse_token(value, request, error);
			case PARAM_FILTER:
				return jsonrpc_check_filter(value, error);
			case PARAM_COLUMNS:
				return jsonrpc_check_columns(value, error);
			case PARAM_TAG:
				return jsonrpc_check_tag(value, error);
			case PARAM_SNAPSHOT:
				return jsonrpc_parse_snapshot(value, request, error);
			case PARAM_NAME:
				return jsonrpc_parse_name(value, request, error);
			case PARAM_ARGS:
			case PARAM_PAYLOAD:
				return jsonrpc_parse_body(name, value, request, error);
			default:
				return jsonrpc_parse_since(value, request, error);
		}
	}
	return jsonrpc_bad_param(error, "unknown parameter", name);
}

static bool
jsonrpc_is_envelope(const char *name)
{
	return strcmp(name, "jsonrpc") == 0 || strcmp(name, "method") == 0 || strcmp(name, "id") == 0 ||
		   strcmp(name, "params") == 0;
}

/* Parameters are in "params" or, if there is none, beside "method". */
static bool
jsonrpc_parse_params(json_t *json, unsigned int allowed, Request *request, JsonrpcError *error)
{
	json_t *params = json_object_get(json, "params");
	const char *name;
	json_t *value;

	if (params != NULL && !json_is_object(params))
		return jsonrpc_bad_param(error, "params must be an object", "params");
	json_object_foreach(json, name, value)
	{
		if (jsonrpc_is_envelope(name))
			continue;
		if (params != NULL)
			return jsonrpc_bad_param(error, "unknown member beside params", name);
		if (!jsonrpc_parse_param(name, value, allowed, request, error))
			return false;
	}
	json_object_foreach(params, name, value)
	{
		if (!jsonrpc_parse_param(name, value, allowed, request, error))
			return false;
	}
	if ((allowed & PARAM_CHANNEL) != 0 && request->channel_len == 0)
		return jsonrpc_bad_param(error, "channel is missing", "channel");
	if ((allowed & PARAM_TOKEN) != 0 && request->token == NULL)
		return jsonrpc_bad_param(error, "token is missing", "token");
	if ((allowed & PARAM_NAME) != 0 && request->name == NULL)
		return jsonrpc_bad_param(error, "name is missing", "name");
	if ((allowed & PARAM_PAYLOAD) != 0 && request->body == NULL)
		return jsonrpc_bad_param(error, "payload is missing", "payload");
	if ((allowed & PARAM_ARGS) != 0 && request->body == NULL)
		request->body = memory_string("{}", strlen("{}"));
	if ((allowed & PARAM_SELECTION) != 0)
		request->selection = jsonrpc_selection(params != NULL ? params : json);
	return true;
}

static bool
jsonrpc_parse_object(json_t *json, Request *request, JsonrpcError *error)
{
	json_t *version = json_object_get(json, "jsonrpc");
	json_t *method = json_object_get(json, "method");

	if (!jsonrpc_parse_id(json, request, error))
		return false;
	if (version != NULL &&
		(!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0))
		return jsonrpc_reject(error, JSONRPC_INVALID_REQUEST, "jsonrpc must be \"2.0\"", "member",
							  "jsonrpc");
	if (!json_is_string(method))
		return jsonrpc_reject(error, JSONRPC_INVALID_REQUEST, "method must be a string", "member",
							  "method");
	for (size_t i = 0; i < JSONRPC_COUNT(jsonrpc_methods); i++)
		if (strcmp(jsonrpc_methods[i].name, json_string_value(method)) == 0)
		{
			request->method = jsonrpc_methods[i].method;
			return jsonrpc_parse_params(json, jsonrpc_methods[i].params, request, error);
		}
	return jsonrpc_reject(error, JSONRPC_METHOD_NOT_FOUND, "method not found", "method",
						  json_string_value(method));
}

static bool
jsonrpc_read(const char *text, size_t len, Request *request, JsonrpcError *error)
{
	json_error_t problem;
	json_t *json;
	bool ok;

	if (jsonrpc_too_deep(text, len))
		return jsonrpc_reject(error, JSONRPC_INVALID_REQUEST, "nested too deeply", NULL, NULL);
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &problem);
	if (json == NULL)
		return jsonrpc_reject(error, JSONRPC_PARSE_ERROR, "parse error", "detail", problem.text);
	if (json_is_object(json))
		ok = jsonrpc_parse_object(json, request, error);
	else
		ok = jsonrpc_reject(error, JSONRPC_INVALID_REQUEST,
							json_is_array(json) ? "batches are not supported"
												: "a request must be an object",
							NULL, NULL);
	json_decref(json);
	return ok;
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
