/*
 * Fuzz target for JSON-RPC requests: what jsonrpc.h promises for any UTF-8.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "fuzz.h"
#include "gateway/base/text.h"
#include "gateway/protocol/jsonrpc.h"

/* Parse the message in a frame, which may have several fragments, and free the frame. */
static json_t *
fuzz_message(Frame *frame)
{
	char *text = malloc(frame->len);
	size_t len = 0;
	json_t *json;

	assert(text != NULL);
	for (size_t at = 0; at < frame->len;)
	{
		const uint8_t *head = frame->data + at;
		size_t size = head[1] == 126 ? (size_t) head[2] * 256 + head[3] : head[1];

		assert((head[0] & 0x0f) == (at == 0 ? 1 : 0));
		at += head[1] == 126 ? 4 : 2;
		assert(at + size <= frame->len && (head[0] >= 0x80) == (at + size == frame->len));
		memcpy(text + len, frame->data + at, size);
		len += size;
		at += size;
	}
	assert(text_utf8_valid(text, len));
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	free(text);
	frame_unref(frame);
	assert(json_is_object(json));
	assert(strcmp(json_string_value(json_object_get(json, "jsonrpc")), "2.0") == 0);
	return json;
}

/* A refused request gets a code and a message, and its own id, or null where that cannot be read. */
static void
fuzz_check_refusal(Frame *answer, const json_t *request)
{
	json_t *json = fuzz_message(answer);
	const json_t *id = json_object_get(json, "id");
	const json_t *error = json_object_get(json, id != NULL ? "error" : "params");

	assert(json_integer_value(json_object_get(error, "code")) < 0);
	assert(json_is_string(json_object_get(error, "message")));
	if (id == NULL)
		assert(strcmp(json_string_value(json_object_get(json, "method")), "error") == 0);
	else if (!json_is_null(id))
		assert(json_equal(id, json_object_get(request, "id")));
	json_decref(json);
}

/* An accepted request has what its method needs, and can be answered. */
static void
fuzz_check_request(const Request *request)
{
	ProtocolName name = {.channel = {.data = request->channel, .len = request->channel_len}};

	assert(request->channel_len <= PROTOCOL_MAX_CHANNEL && request->ops != 0);
	assert((request->method == REQUEST_AUTH) == (request->token != NULL));
	assert((request->method == REQUEST_CALL) == (request->name != NULL));
	assert((request->method == REQUEST_CALL || request->method == REQUEST_SEND) ==
		   (request->body != NULL));
	assert((request->channel_len > 0) ==
		   (request->method == REQUEST_SUBSCRIBE || request->method == REQUEST_UNSUBSCRIBE ||
			request->method == REQUEST_SEND));
	if (request->selection != NULL)
		name.tag = request->selection->tag;
	if (request->body != NULL)
	{
		json_t *body = json_loads(request->body, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);

		assert(body != NULL);
		json_decref(body);
	}
	if (request->id == NULL)
		return;
	json_decref(fuzz_message(
		jsonrpc_protocol.result(request->method, request->id, name, (WirePosition){1, 2}, false)));
	json_decref(fuzz_message(jsonrpc_protocol.refusal(request->id, PROTOCOL_NOT_PERMITTED,
													  (WireBytes){.data = "no", .len = 2}, name)));
}

static bool
fuzz_same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
fuzz_check_same(const Request *a, const Request *b)
{
	assert(a->method == b->method && a->ops == b->ops && fuzz_same_text(a->id, b->id));
	assert(a->channel_len == b->channel_len && memcmp(a->channel, b->channel, a->channel_len) == 0);
	assert(a->has_since == b->has_since && a->since_inside == b->since_inside &&
		   a->since.timeline == b->since.timeline && a->since.id == b->since.id);
	assert(a->snapshot == b->snapshot && a->limit == b->limit &&
		   fuzz_same_text(a->order, b->order));
	assert(selection_same(a->selection, b->selection));
	assert(fuzz_same_text(a->token, b->token) && fuzz_same_text(a->name, b->name) &&
		   fuzz_same_text(a->body, b->body));
}

/* The same request in other words: everything beyond ASCII escaped, and with other spaces. */
static void
fuzz_reword(const json_t *json, const Request *request)
{
	char *text = json_dumps(json, JSON_ENSURE_ASCII | JSON_INDENT(1));
	Request other;
	Frame *answer;

	assert(text != NULL);
	assert(jsonrpc_protocol.parse(text, strlen(text), &other, &answer));
	fuzz_check_same(request, &other);
	request_free(&other);
	free(text);
}

int
fuzz_jsonrpc(const uint8_t *data, size_t size)
{
	const char *text = (const char *) data;
	Request request;
	Frame *answer;
	json_t *json;

	/* The session refuses other messages. */
	if (!text_utf8_valid(text, size))
		return 0;
	if (!jsonrpc_protocol.parse(text, size, &request, &answer))
	{
		assert(request.id == NULL);
		json = json_loadb(text, size, JSON_DECODE_ANY, NULL);
		fuzz_check_refusal(answer, json);
		json_decref(json);
		return 0;
	}
	json = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	assert(json != NULL);
	fuzz_check_request(&request);
	fuzz_reword(json, &request);
	json_decref(json);
	request_free(&request);
	return 0;
}
