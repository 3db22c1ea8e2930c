/*-------------------------------------------------------------------------
 *
 * protocol.c
 *	  The clients' protocol: JSON-RPC 2.0, its requests read and its answers built.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/protocol/protocol.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/text.h"

#define PROTOCOL_MAX_INTEGER ((json_int_t) 1 << 53)

/* Parameters, as bits of what a method takes. */
#define PARAM_CHANNEL 0x1
#define PARAM_OPS     0x2
#define PARAM_SINCE   0x4

static const struct
{
	const char *name;
	RequestMethod method;
	unsigned int params;
} protocol_methods[] = {
	{"subscribe", REQUEST_SUBSCRIBE, PARAM_CHANNEL | PARAM_OPS | PARAM_SINCE},
	{"unsubscribe", REQUEST_UNSUBSCRIBE, PARAM_CHANNEL},
	{"ping", REQUEST_PING, 0},
};

static const struct
{
	const char *name;
	unsigned int bit;
} protocol_params[] = {
	{"channel", PARAM_CHANNEL},
	{"ops", PARAM_OPS},
	{"since", PARAM_SINCE},
};

#define PROTOCOL_COUNT(array) (sizeof(array) / sizeof((array)[0]))

void
protocol_set_error(ProtocolError *error, int code, const char *message, size_t message_len,
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

/* The same for messages of ours; always false, to be returned. */
static bool
protocol_reject(ProtocolError *error, int code, const char *message, const char *key,
				const char *value)
{
	protocol_set_error(error, code, message, strlen(message), key, value,
					   value != NULL ? strlen(value) : 0);
	return false;
}

static bool
protocol_bad_param(ProtocolError *error, const char *message, const char *name)
{
	return protocol_reject(error, PROTOCOL_INVALID_PARAMS, message, "parameter", name);
}

/* jansson parses recursively, so the depth is looked at before. */
static bool
protocol_too_deep(const char *text, size_t len)
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
		else if ((c == '{' || c == '[') && ++depth > PROTOCOL_MAX_DEPTH)
			return true;
		else if (c == '}' || c == ']')
			depth--;
	}
	return false;
}

static bool
protocol_parse_id(const json_t *json, RequestId *id, ProtocolError *error)
{
	json_t *value = json_object_get(json, "id");

	id->absent = value == NULL;
	if (value == NULL || json_is_null(value))
		return true;
	if (json_is_string(value)
			? json_string_length(value) <= PROTOCOL_MAX_ID
			: json_is_integer(value) && json_integer_value(value) <= PROTOCOL_MAX_INTEGER &&
				  json_integer_value(value) >= -PROTOCOL_MAX_INTEGER)
	{
		id->json = json_incref(value);
		return true;
	}
	return protocol_reject(
		error, PROTOCOL_INVALID_REQUEST,
		"id must be a string of at most 256 bytes, an integer of at most 2^53, or null", "member",
		"id");
}

static bool
protocol_parse_channel(const json_t *value, Request *request, ProtocolError *error)
{
	if (!json_is_string(value) || json_string_length(value) == 0 ||
		json_string_length(value) > PROTOCOL_MAX_CHANNEL)
		return protocol_bad_param(error, "channel must be a string of 1 to 63 bytes", "channel");
	request->channel_len = (uint8_t) json_string_length(value);
	memcpy(request->channel, json_string_value(value), request->channel_len);
	return true;
}

static bool
protocol_parse_ops(const json_t *value, Request *request, ProtocolError *error)
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
		return protocol_bad_param(
			error,
			"ops must be a non-empty array of INSERT, UPDATE, DELETE, TRUNCATE, MESSAGE or NOTIFY",
			"ops");
	return true;
}

static bool
protocol_parse_since(const json_t *value, Request *request, ProtocolError *error)
{
	/* null is as if it were not there. */
	request->has_since = !json_is_null(value);
	if (!request->has_since)
		return true;
	if (json_is_string(value) &&
		wire_position_parse(json_string_value(value), json_string_length(value), &request->since))
		return true;
	return protocol_bad_param(error, "since must be a position as the server sent it", "since");
}

static bool
protocol_parse_param(const char *name, const json_t *value, unsigned int allowed, Request *request,
					 ProtocolError *error)
{
	for (size_t i = 0; i < PROTOCOL_COUNT(protocol_params); i++)
	{
		if (strcmp(protocol_params[i].name, name) != 0 || (protocol_params[i].bit & allowed) == 0)
			continue;
		switch (protocol_params[i].bit)
		{
			case PARAM_CHANNEL:
				return protocol_parse_channel(value, request, error);
			case PARAM_OPS:
				return protocol_parse_ops(value, request, error);
			default:
				return protocol_parse_since(value, request, error);
		}
	}
	return protocol_bad_param(error, "unknown parameter", name);
}

static bool
protocol_is_envelope(const char *name)
{
	return strcmp(name, "jsonrpc") == 0 || strcmp(name, "method") == 0 || strcmp(name, "id") == 0 ||
		   strcmp(name, "params") == 0;
}

/* Parameters stand in "params" or, without it, beside "method". */
static bool
protocol_parse_params(json_t *json, unsigned int allowed, Request *request, ProtocolError *error)
{
	json_t *params = json_object_get(json, "params");
	const char *name;
	json_t *value;

	if (params != NULL && !json_is_object(params))
		return protocol_bad_param(error, "params must be an object", "params");
	json_object_foreach(json, name, value)
	{
		if (protocol_is_envelope(name))
			continue;
		if (params != NULL)
			return protocol_bad_param(error, "unknown member beside params", name);
		if (!protocol_parse_param(name, value, allowed, request, error))
			return false;
	}
	json_object_foreach(params, name, value)
	{
		if (!protocol_parse_param(name, value, allowed, request, error))
			return false;
	}
	if ((allowed & PARAM_CHANNEL) != 0 && request->channel_len == 0)
		return protocol_bad_param(error, "channel is missing", "channel");
	return true;
}

static bool
protocol_parse_object(json_t *json, Request *request, ProtocolError *error)
{
	json_t *version = json_object_get(json, "jsonrpc");
	json_t *method = json_object_get(json, "method");

	if (!protocol_parse_id(json, &request->id, error))
		return false;
	if (version != NULL &&
		(!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0))
		return protocol_reject(error, PROTOCOL_INVALID_REQUEST, "jsonrpc must be \"2.0\"", "member",
							   "jsonrpc");
	if (!json_is_string(method))
		return protocol_reject(error, PROTOCOL_INVALID_REQUEST, "method must be a string", "member",
							   "method");
	for (size_t i = 0; i < PROTOCOL_COUNT(protocol_methods); i++)
		if (strcmp(protocol_methods[i].name, json_string_value(method)) == 0)
		{
			request->method = protocol_methods[i].method;
			return protocol_parse_params(json, protocol_methods[i].params, request, error);
		}
	return protocol_reject(error, PROTOCOL_METHOD_NOT_FOUND, "method not found", "method",
						   json_string_value(method));
}

bool
protocol_parse(const char *text, size_t len, Request *request, ProtocolError *error)
{
	json_error_t problem;
	json_t *json;
	bool ok;

	*request = (Request){.ops = WIRE_OP_ALL};
	if (protocol_too_deep(text, len))
		return protocol_reject(error, PROTOCOL_INVALID_REQUEST, "nested too deeply", NULL, NULL);
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &problem);
	if (json == NULL)
		return protocol_reject(error, PROTOCOL_PARSE_ERROR, "parse error", "detail", problem.text);
	if (json_is_object(json))
		ok = protocol_parse_object(json, request, error);
	else
		ok = protocol_reject(error, PROTOCOL_INVALID_REQUEST,
							 json_is_array(json) ? "batches are not supported"
												 : "a request must be an object",
							 NULL, NULL);
	json_decref(json);
	return ok;
}

void
protocol_release(RequestId *id)
{
	json_decref(id->json);
	id->json = NULL;
}

/* Frame a message and free it. */
static Frame *
protocol_frame(json_t *message)
{
	char *text = json_dumps(message, JSON_COMPACT);
	Frame *frame;

	/* Out of memory alone: everything in it came out of jansson or was checked to be UTF-8. */
	if (text == NULL)
		abort();
	frame = frame_text(text, strlen(text));
	free(text);
	json_decref(message);
	return frame;
}

Frame *
protocol_result(const RequestId *id, json_t *result)
{
	return protocol_frame(
		json_pack("{s:s, s:O?, s:o}", "jsonrpc", "2.0", "id", id->json, "result", result));
}

Frame *
protocol_failure(const RequestId *id, const ProtocolError *error)
{
	json_t *body = json_pack("{s:i, s:s}", "code", error->code, "message", error->message);

	if (error->key != NULL)
		json_object_set_new(body, "data", json_pack("{s:s}", error->key, error->value));
	if (id->absent)
		return protocol_notification("error", body);
	return protocol_frame(
		json_pack("{s:s, s:O?, s:o}", "jsonrpc", "2.0", "id", id->json, "error", body));
}

Frame *
protocol_notification(const char *method, json_t *params)
{
	return protocol_frame(
		json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", method, "params", params));
}

json_t *
protocol_position(WirePosition position)
{
	char text[WIRE_POSITION_SIZE];

	wire_position_format(position, text);
	return json_string(text);
}
