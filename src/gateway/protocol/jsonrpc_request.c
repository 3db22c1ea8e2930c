/*-------------------------------------------------------------------------
 *
 * jsonrpc_request.c
 *	  The protocol pg_notifyd.v1: reads JSON-RPC 2.0 requests.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/protocol/jsonrpc_internal.h"

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
#define PARAM_GROUP    0x800
#define PARAM_WINDOW   0x1000
#define PARAM_IDS      0x2000
#define PARAM_DELAY    0x4000
#define PARAM_ERROR    0x8000

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
	{"consume", REQUEST_CONSUME, PARAM_GROUP | PARAM_WINDOW},
	{"ack", REQUEST_ACK, PARAM_GROUP | PARAM_IDS},
	{"nack", REQUEST_NACK, PARAM_GROUP | PARAM_IDS | PARAM_DELAY | PARAM_ERROR},
};

static const struct
{
	const char *name;
	unsigned int bit;
} jsonrpc_params[] = {
	{"channel", PARAM_CHANNEL}, {"ops", PARAM_OPS},           {"since", PARAM_SINCE},
	{"token", PARAM_TOKEN},     {"filter", PARAM_FILTER},     {"columns", PARAM_COLUMNS},
	{"tag", PARAM_TAG},         {"name", PARAM_NAME},         {"args", PARAM_ARGS},
	{"payload", PARAM_PAYLOAD}, {"snapshot", PARAM_SNAPSHOT}, {"group", PARAM_GROUP},
	{"window", PARAM_WINDOW},   {"ids", PARAM_IDS},           {"delay", PARAM_DELAY},
	{"error", PARAM_ERROR},
};

/* Fill in an error with a constant message. Always returns false, for use in a return statement. */
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
	request->id = value != NULL ? notification_dump(value) : NULL;
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
	if (text != NULL && position_parse(text, len, &request->since, &request->since_inside))
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
jsonrpc_parse_group(const json_t *value, Request *request, JsonrpcError *error)
{
	if (!json_is_string(value) || json_string_length(value) == 0 ||
		json_string_length(value) > PROTOCOL_MAX_GROUP)
		return jsonrpc_bad_param(error, "group must be a string of 1 to 63 bytes", "group");
	free(request->name);
	request->name = memory_string(json_string_value(value), json_string_length(value));
	return true;
}

static bool
jsonrpc_parse_window(const json_t *value, Request *request, JsonrpcError *error)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		json_integer_value(value) > PROTOCOL_MAX_WINDOW)
		return jsonrpc_bad_param(error, "window must be an integer from 0 to 1000", "window");
	request->window = (uint32_t) json_integer_value(value);
	return true;
}

static bool
jsonrpc_parse_ids(const json_t *value, Request *request, JsonrpcError *error)
{
	size_t i;
	json_t *item;

	free(request->ids);
	request->ids = memory_new((json_array_size(value) + 1) * sizeof(uint64_t));
	request->nids = json_array_size(value);
	json_array_foreach(value, i, item)
	{
		if (!json_is_integer(item) || json_integer_value(item) < 0)
			break;
		request->ids[i] = (uint64_t) json_integer_value(item);
	}
	if (json_is_array(value) && i == json_array_size(value))
		return true;
	return jsonrpc_bad_param(error, "ids must be an array of the numbers of deliveries", "ids");
}

/* What the worker gets of ACK and NACK. It checks delay and error. */
static char *
jsonrpc_settlement(const json_t *params)
{
	static const char *const names[] = {"ids", "delay", "error"};
	json_t *body = json_object();
	char *text;

	for (size_t i = 0; i < JSONRPC_COUNT(names); i++)
	{
		if (json_object_get(params, names[i]) != NULL)
			json_object_set(body, names[i], json_object_get(params, names[i]));
	}
	text = notification_dump(body);
	json_decref(body);
	return text;
}

static bool
jsonrpc_parse_body(const char *name, const json_t *value, Request *request, JsonrpcError *error)
{
	if (strcmp(name, "args") == 0 && !json_is_object(value) && !json_is_array(value))
		return jsonrpc_bad_param(error, "args must be an object or an array", "args");
	free(request->body);
	request->body = notification_dump(value);
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
			case PARAM_GROUP:
				return jsonrpc_parse_group(value, request, error);
			case PARAM_WINDOW:
				return jsonrpc_parse_window(value, request, error);
			case PARAM_IDS:
				return jsonrpc_parse_ids(value, request, error);
			case PARAM_DELAY:
			case PARAM_ERROR:
				return true;
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
	if ((allowed & PARAM_GROUP) != 0 && request->name == NULL)
		return jsonrpc_bad_param(error, "group is missing", "group");
	if ((allowed & PARAM_IDS) != 0 && request->ids == NULL)
		return jsonrpc_bad_param(error, "ids is missing", "ids");
	if ((allowed & PARAM_IDS) != 0)
		request->body = jsonrpc_settlement(params != NULL ? params : json);
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

bool
jsonrpc_read_subscribe(json_t *params, Request *request, JsonrpcError *error)
{
	return jsonrpc_parse_params(params, jsonrpc_methods[0].params, request, error);
}

bool
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
