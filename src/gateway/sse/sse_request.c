/*-------------------------------------------------------------------------
 *
 * sse_request.c
 *	  The parameters of GET /events: what a client subscribes to.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/sse/sse_request.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/base/text.h"
#include "gateway/protocol/jsonrpc.h"
#include "gateway/protocol/notification.h"
#include "gateway/protocol/sse.h"

#define SSE_HEADER "Last-Event-ID"

/* What was read so far. */
typedef struct SseReader
{
	const char *also; /* a parameter that is not ours; NULL: none */
	json_t *common;   /* for all channels */
	json_t *channels; /* an array of the params of each */
	json_t *since;    /* NULL: none */
	const char *since_name;
	const char *bigint; /* NULL: not given */
} SseReader;

static json_t *
sse_bad(const char *message, const char *name)
{
	return notification_error(JSONRPC_INVALID_PARAMS, notification_bytes(message), "parameter",
							  notification_bytes(name), (WireBytes){.data = NULL});
}

/* ---------------- values ---------------- */

/*
 * Split a list at its commas. A name in double quotes may contain commas, and quotes and backslashes
 * after a backslash. NULL: malformed.
 */
static json_t *
sse_list(const char *text)
{
	json_t *list = json_array();
	char *item = memory_new(strlen(text) + 1);
	const char *p = text;
	bool valid = true;

	do
	{
		bool quoted = *p == '"';
		size_t len = 0;

		p += quoted;
		for (; *p != '\0' && *p != (quoted ? '"' : ','); p++)
		{
			if (quoted && *p == '\\' && p[1] != '\0')
				p++;
			item[len++] = *p;
		}
		if (quoted)
			valid &= *p++ == '"' && (*p == ',' || *p == '\0');
		json_array_append_new(list, json_stringn(item, len));
	} while (valid && *p++ == ',');
	free(item);
	if (valid)
		return list;
	json_decref(list);
	return NULL;
}

static json_t *
sse_boolean(const char *text)
{
	if (strcmp(text, "true") == 0)
		return json_true();
	return strcmp(text, "false") == 0 ? json_false() : json_string(text);
}

/* A number, or else the text, which is then refused. */
static json_t *
sse_number(const char *text)
{
	size_t len = strspn(text, "0123456789");

	return len > 0 && len <= 15 && text[len] == '\0' ? json_integer(strtoll(text, NULL, 10))
													 : json_string(text);
}

static json_t *
sse_text(const char *text)
{
	return json_string(text);
}

/* The parameters of a channel, and how their values become JSON. */
static const struct
{
	const char *name;
	json_t *(*read)(const char *text);
} sse_parameters[] = {
	{"filter", sse_text},      {"columns", sse_list}, {"ops", sse_list},
	{"snapshot", sse_boolean}, {"order", sse_text},   {"limit", sse_number},
};

/* ---------------- parameters ---------------- */

static json_t *
sse_take_since(SseReader *reader, const char *name, const char *value)
{
	if (reader->since != NULL)
		return sse_bad("since is given twice", name);
	reader->since = json_string(value);
	reader->since_name = name;
	return NULL;
}

static json_t *
sse_take_bigint(SseReader *reader, const char *value)
{
	if (reader->bigint != NULL)
		return sse_bad("a parameter is given twice", "bigint");
	reader->bigint = strcmp(value, "string") == 0 ? "string" : "number";
	return strcmp(value, reader->bigint) == 0
			   ? NULL
			   : sse_bad("bigint must be \"string\" or \"number\"", "bigint");
}

static json_t *
sse_take_channel(SseReader *reader, const char *value)
{
	size_t i;
	json_t *channel;

	json_array_foreach(reader->channels, i, channel)
	{
		if (strcmp(json_string_value(json_object_get(channel, "channel")), value) == 0)
			return sse_bad("a channel is given twice", "channel");
	}
	if (i >= WIRE_MAX_SUBSCRIPTIONS)
		return sse_bad("there are too many channels", "channel");
	json_array_append_new(reader->channels, json_pack("{s:s}", "channel", value));
	return NULL;
}

static json_t *
sse_take(SseReader *reader, const char *name, const char *value)
{
	size_t n = json_array_size(reader->channels);
	json_t *params = n > 0 ? json_array_get(reader->channels, n - 1) : reader->common;
	json_t *json;

	if (strcmp(name, "database") == 0 || strcmp(name, "access_token") == 0 ||
		(reader->also != NULL && strcmp(name, reader->also) == 0))
		return NULL;
	if (strcmp(name, "channel") == 0)
		return sse_take_channel(reader, value);
	if (strcmp(name, "since") == 0)
		return sse_take_since(reader, "since", value);
	if (strcmp(name, "bigint") == 0)
		return sse_take_bigint(reader, value);
	for (size_t i = 0; i < sizeof(sse_parameters) / sizeof(sse_parameters[0]); i++)
	{
		if (strcmp(name, sse_parameters[i].name) != 0)
			continue;
		if (json_object_get(params, name) != NULL)
			return sse_bad("a parameter is given twice", name);
		json = sse_parameters[i].read(value);
		if (json == NULL)
			return sse_bad("a list of names is malformed", name);
		json_object_set_new(params, sse_parameters[i].name, json);
		return NULL;
	}
	return sse_bad("unknown parameter", name);
}

/* Decode a name or value. NULL: malformed. The caller frees it. */
static char *
sse_decode(HttpSlice part)
{
	char *text = memory_new(part.len + 1);
	HttpSlice decoded;

	if (http_query_decode(part, text, &decoded))
	{
		text[decoded.len] = '\0';
		return text;
	}
	free(text);
	return NULL;
}

static json_t *
sse_read_parameter(SseReader *reader, HttpSlice part)
{
	HttpSlice raw_name;
	HttpSlice raw_value;
	char *name;
	char *value;
	json_t *error = NULL;

	http_query_split(part, &raw_name, &raw_value);
	name = sse_decode(raw_name);
	value = sse_decode(raw_value);
	if (name == NULL)
		error = sse_bad("a parameter's name is malformed", "");
	else if (value == NULL)
		error = sse_bad("a parameter is malformed", name);
	else if (part.len > 0)
		error = sse_take(reader, name, value);
	free(name);
	free(value);
	return error;
}

static json_t *
sse_read_query(SseReader *reader, HttpSlice query)
{
	HttpSlice part;
	json_t *error = NULL;

	while (error == NULL && http_query_next(&query, &part))
		error = sse_read_parameter(reader, part);
	return error;
}

/* ---------------- requests ---------------- */

/* Put order and limit where JSON-RPC has them. */
static json_t *
sse_gather_snapshot(json_t *params)
{
	static const char *const members[] = {"order", "limit"};
	json_t *snapshot = json_object();

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
	{
		json_t *value = json_object_get(params, members[i]);

		if (value == NULL)
			continue;
		if (!json_is_true(json_object_get(params, "snapshot")))
		{
			json_decref(snapshot);
			return sse_bad("order and limit need snapshot=true", members[i]);
		}
		json_object_set(snapshot, members[i], value);
		json_object_del(params, members[i]);
	}
	if (json_object_size(snapshot) > 0)
		json_object_set(params, "snapshot", snapshot);
	json_decref(snapshot);
	return NULL;
}

/* The channel's own place in the text from which the client resumes. */
static json_t *
sse_place_since(const SseReader *reader, json_t *params)
{
	const char *name = json_string_value(json_object_get(params, "channel"));
	WireBytes position;

	if (reader->since == NULL)
		return NULL;
	if (!sse_id_find(json_string_value(reader->since), json_string_length(reader->since),
					 notification_bytes(name), &position))
		return sse_bad("malformed id", reader->since_name);
	json_object_set_new(params, "since", json_stringn(position.data, position.len));
	return NULL;
}

static json_t *
sse_make_request(const SseReader *reader, const json_t *own, Request *request)
{
	json_t *params = json_copy(reader->common);
	json_t *error;

	json_object_update(params, (json_t *) own);
	if (strlen(json_string_value(json_object_get(params, "channel"))) > PROTOCOL_MAX_CHANNEL)
		error = sse_bad("channel must be a string of 1 to 63 bytes", "channel");
	else if ((error = sse_gather_snapshot(params)) == NULL &&
			 (error = sse_place_since(reader, params)) == NULL)
		error = jsonrpc_subscribe(params, request);
	json_decref(params);
	return error;
}

static json_t *
sse_make_requests(const SseReader *reader, SseRequest *request)
{
	size_t n = json_array_size(reader->channels);
	json_t *error = NULL;

	if (n == 0)
		return sse_bad("channel is missing", "channel");
	request->requests = memory_zeroed(n * sizeof(Request));
	while (error == NULL && request->count < n)
	{
		error = sse_make_request(reader, json_array_get(reader->channels, request->count),
								 &request->requests[request->count]);
		request->count += error == NULL;
	}
	if (error != NULL)
		sse_request_free(request);
	return error;
}

json_t *
sse_request_read(HttpSlice query, HttpSlice since, const char *also, SseRequest *request)
{
	SseReader reader = {.also = also, .common = json_object(), .channels = json_array()};
	json_t *error;

	*request = (SseRequest){0};
	error = sse_read_query(&reader, query);
	request->bigint = reader.bigint != NULL && strcmp(reader.bigint, "string") == 0;
	if (error == NULL && since.len > 0)
	{
		json_decref(reader.since);
		reader.since = json_stringn(since.data, since.len);
		reader.since_name = SSE_HEADER;
		if (reader.since == NULL)
			error = sse_bad("malformed id", SSE_HEADER);
	}
	if (error == NULL && also == NULL && reader.since != NULL &&
		strcmp(json_string_value(reader.since), SSE_ID_END) == 0)
		request->ended = true;
	else if (error == NULL)
		error = sse_make_requests(&reader, request);
	json_decref(reader.common);
	json_decref(reader.channels);
	json_decref(reader.since);
	return error;
}

void
sse_request_free(SseRequest *request)
{
	for (size_t i = 0; i < request->count; i++)
		request_free(&request->requests[i]);
	free(request->requests);
	*request = (SseRequest){0};
}
