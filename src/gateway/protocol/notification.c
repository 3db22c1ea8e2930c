/*-------------------------------------------------------------------------
 *
 * notification.c
 *	  What several protocols send to clients without having been asked: its JSON.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/protocol/notification.h"

#include <stdlib.h>

#include "gateway/base/text.h"
#include "gateway/protocol/numbers.h"

/* Strings in errors that are longer are cut. */
#define NOTIFICATION_MESSAGE 255
#define NOTIFICATION_VALUE   127

#define NOTIFICATION_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---------------- positions and values ---------------- */

size_t
position_format(WirePosition position, bool inside, char *text)
{
	size_t len = wire_position_format(position, text);

	if (inside)
		text[len++] = POSITION_INSIDE;
	text[len] = '\0';
	return len;
}

bool
position_parse(const char *text, size_t len, WirePosition *position, bool *inside)
{
	*inside = len > 0 && text[len - 1] == POSITION_INSIDE;
	return wire_position_parse(text, *inside ? len - 1 : len, position);
}

char *
notification_dump(const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

	/* This fails only without memory: all strings are from jansson or were checked to be UTF-8. */
	if (text == NULL)
		abort();
	return text;
}

void
notification_put_bytes(json_t *object, const char *key, WireBytes bytes)
{
	json_object_set_new(object, key,
						json_stringn(bytes.data, text_utf8_cut(bytes.data, bytes.len, bytes.len)));
}

void
notification_put_name(json_t *object, ProtocolName name)
{
	notification_put_bytes(object, "channel", name.channel);
	if (name.tag.len > 0)
		notification_put_bytes(object, "tag", name.tag);
}

void
notification_put_position(json_t *object, WirePosition position, bool inside)
{
	char text[POSITION_TEXT];

	(void) position_format(position, inside, text);
	json_object_set_new(object, "position", json_string(text));
}

/* ---------------- notifications ---------------- */

Frame *
notification_json(const char *method, json_t *params, NotificationFrame frame)
{
	char *text = notification_dump(params);
	WireBytes part = notification_bytes(text);
	Notification notification = {
		.method = method,
		.params = &part,
		.count = 1,
		.position = json_string_value(json_object_get(params, "position")),
	};
	Frame *result = frame(&notification);

	free(text);
	json_decref(params);
	return result;
}

/*
 * The params of an event are its body. A tag becomes the first member, and a position that replaces
 * the body's own one comes next.
 */
Frame *
notification_event(const ProtocolEvent *event, NotificationFrame frame)
{
	json_t *tag = json_stringn(event->name.tag.data, event->name.tag.len);
	char *tag_text = event->name.tag.len > 0 ? notification_dump(tag) : NULL;
	char own[WIRE_POSITION_SIZE];
	char position[POSITION_TEXT];
	size_t skip = 1;
	WireBytes parts[NOTIFICATION_PARTS];
	Notification notification = {.method = "event", .params = parts};
	Frame *result;

	if (event->position.id != 0)
	{
		(void) position_format(event->position, event->inside, position);
		notification.position = position;
	}
	parts[notification.count++] = notification_bytes("{");
	if (tag_text != NULL)
	{
		parts[notification.count++] = notification_bytes("\"tag\":");
		parts[notification.count++] = notification_bytes(tag_text);
		parts[notification.count++] = notification_bytes(",");
	}
	if (event->own_position.id != 0)
	{
		skip = strlen("{\"position\":\"") + wire_position_format(event->own_position, own);
		parts[notification.count++] = notification_bytes("\"position\":\"");
		parts[notification.count++] = notification_bytes(position);
	}
	parts[notification.count++] =
		(WireBytes){.data = event->body.data + skip, .len = event->body.len - (uint32_t) skip};
	result = frame(&notification);
	free(tag_text);
	json_decref(tag);
	return result;
}

/* The rows are JSON already, so the message is put together from pieces. */
Frame *
notification_rows(ProtocolName name, const WireRows *rows, WirePosition position, bool inside,
				  NotificationFrame frame)
{
	json_t *params = json_object();
	json_t *key = json_array();
	WireBytes list = rows != NULL ? rows->key : (WireBytes){0};
	WireBytes column;
	char *text;
	Frame *result;

	notification_put_name(params, name);
	if (rows != NULL)
	{
		notification_put_bytes(params, "schema", rows->schema);
		notification_put_bytes(params, "table", rows->table);
		while (wire_list_next(&list, &column))
			json_array_append_new(key, json_stringn(column.data, column.len));
		json_object_set(params, "key", key);
	}
	else
	{
		json_object_set_new(params, "done", json_true());
		notification_put_position(params, position, inside);
	}
	text = notification_dump(params);
	/* Without its last brace. */
	WireBytes parts[] = {
		{.data = text, .len = (uint32_t) strlen(text) - 1},
		notification_bytes(",\"rows\":["),
		rows != NULL ? rows->rows : notification_bytes(""),
		notification_bytes("]}"),
	};
	Notification notification = {
		.method = "rows",
		.params = parts,
		.count = NOTIFICATION_COUNT(parts),
		.position = json_string_value(json_object_get(params, "position")),
	};

	result = frame(&notification);
	free(text);
	json_decref(key);
	json_decref(params);
	return result;
}

/* ---------------- with large numbers as strings ---------------- */

Frame *
notification_bigint_event(const ProtocolEvent *event, NotificationFrame frame)
{
	ProtocolEvent copy = *event;
	char *quoted = numbers_replace(&copy.body);
	Frame *result = notification_event(&copy, frame);

	free(quoted);
	return result;
}

Frame *
notification_bigint_rows(ProtocolName name, const WireRows *rows, WirePosition position,
						 bool inside, NotificationFrame frame)
{
	WireRows copy = rows != NULL ? *rows : (WireRows){0};
	char *quoted = numbers_replace(&copy.rows);
	Frame *result = notification_rows(name, rows != NULL ? &copy : NULL, position, inside, frame);

	free(quoted);
	return result;
}

/* ---------------- resets and bookmarks ---------------- */

Frame *
notification_reset(ProtocolName name, WireBytes reason, WirePosition position, bool inside,
				   NotificationFrame frame)
{
	json_t *params = json_object();

	notification_put_name(params, name);
	notification_put_bytes(params, "reason", reason);
	notification_put_position(params, position, inside);
	return notification_json("reset", params, frame);
}

Frame *
notification_position(WirePosition position, NotificationFrame frame)
{
	json_t *params = json_object();

	notification_put_position(params, position, false);
	return notification_json("position", params, frame);
}

/* ---------------- errors ---------------- */

/* A string of an error, cut at a character. */
static json_t *
notification_cut(WireBytes text, size_t max)
{
	return json_stringn(text.data != NULL ? text.data : "",
						text_utf8_cut(text.data, text.len, max));
}

json_t *
notification_error(int code, WireBytes message, const char *key, WireBytes value, WireBytes tag)
{
	json_t *error = json_object();
	json_t *data;

	json_object_set_new(error, "code", json_integer(code));
	json_object_set_new(error, "message", notification_cut(message, NOTIFICATION_MESSAGE));
	if (key == NULL)
		return error;
	data = json_object();
	json_object_set_new(data, key, notification_cut(value, NOTIFICATION_VALUE));
	if (tag.len > 0)
		notification_put_bytes(data, "tag", tag);
	json_object_set_new(error, "data", data);
	return error;
}

static int
notification_code(ProtocolReason reason)
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
		case PROTOCOL_NO_SNAPSHOTS:
			return JSONRPC_INVALID_PARAMS;
		case PROTOCOL_TOO_MANY_SUBSCRIPTIONS:
			return JSONRPC_LIMIT_EXCEEDED;
		case PROTOCOL_TOO_MANY_TOKENS:
			return JSONRPC_BUSY;
		case PROTOCOL_CANCELLED:
			break;
	}
	return JSONRPC_INTERNAL_ERROR;
}

int
notification_status(int code)
{
	switch (code)
	{
		case JSONRPC_PARSE_ERROR:
		case JSONRPC_INVALID_REQUEST:
		case JSONRPC_METHOD_NOT_FOUND:
		case JSONRPC_INVALID_PARAMS:
		case JSONRPC_LIMIT_EXCEEDED:
			return 400;
		case JSONRPC_NOT_AUTHENTICATED:
			return 401;
		case JSONRPC_NOT_PERMITTED:
			return 403;
		case JSONRPC_NO_SUCH_CHANNEL:
			return 404;
		case JSONRPC_BUSY:
			return 503;
		case JSONRPC_TIMEOUT:
			return 504;
		default:
			return 500;
	}
}

json_t *
notification_refusal(ProtocolReason reason, WireBytes text, ProtocolName name)
{
	return notification_error(notification_code(reason), text,
							  name.channel.data != NULL ? "channel" : NULL, name.channel, name.tag);
}

/* The code of a failed query, and which member of "data" has the name of what was wrong. */
static int
notification_query_code(const WireFailed *failed, const char **key)
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

json_t *
notification_query_failure(const WireFailed *failed, ProtocolName name)
{
	json_t *body = json_object();
	json_t *data = json_object();
	const char *key;

	json_object_set_new(body, "code", json_integer(notification_query_code(failed, &key)));
	notification_put_bytes(body, "message", failed->message);
	if (name.channel.data != NULL)
		notification_put_name(data, name);
	if (failed->name.len > 0)
		notification_put_bytes(data, key, failed->name);
	if (failed->sqlstate.len > 0)
		notification_put_bytes(data, "sqlstate", failed->sqlstate);
	if (failed->detail.len > 0)
		notification_put_bytes(data, "detail", failed->detail);
	if (failed->hint.len > 0)
		notification_put_bytes(data, "hint", failed->hint);
	if (json_object_size(data) > 0)
		json_object_set(body, "data", data);
	json_decref(data);
	return body;
}
