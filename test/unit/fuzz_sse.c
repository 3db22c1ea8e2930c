#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "fuzz.h"
#include "gateway/base/text.h"
#include "gateway/protocol/sse.h"
#include "gateway/sse/sse_request.h"

#define FUZZ_MAX_INPUT 16384

/* An error is a JSON object that names what was wrong. */
static void
fuzz_check_error(json_t *error)
{
	assert(json_is_integer(json_object_get(error, "code")));
	assert(json_string_length(json_object_get(error, "message")) > 0);
	json_decref(error);
}

static void
fuzz_check_requests(const SseRequest *sse)
{
	assert(sse->count > 0 && sse->count <= WIRE_MAX_SUBSCRIPTIONS);
	for (size_t i = 0; i < sse->count; i++)
	{
		const Request *request = &sse->requests[i];

		assert(request->method == REQUEST_SUBSCRIBE && request->id == NULL);
		assert(request->channel_len > 0 && request->channel_len <= PROTOCOL_MAX_CHANNEL);
		assert(text_utf8_valid(request->channel, request->channel_len));
		assert(request->ops != 0);
		for (size_t j = 0; j < i; j++)
			assert(sse->requests[j].channel_len != request->channel_len ||
				   memcmp(sse->requests[j].channel, request->channel, request->channel_len) != 0);
	}
}

/* The id of a stream that has just begun where its client was has the places that the client had. */
static void
fuzz_check_id(const SseRequest *sse)
{
	static ProtocolPlaces places;
	WirePosition base = {.timeline = 7, .id = 9};
	Frame *plain = sse_protocol.result(REQUEST_SUBSCRIBE, NULL,
									   (ProtocolName){{NULL, 0}, {NULL, 0}}, base, false);
	Frame *frame;
	const char *id;
	size_t len;

	places.base = base;
	places.count = sse->count;
	for (size_t i = 0; i < sse->count; i++)
	{
		const Request *request = &sse->requests[i];

		places.elsewhere[i] = (ProtocolPlace){
			.name = {.channel = {.data = request->channel, .len = request->channel_len}},
			.position = request->since,
			.inside = request->since_inside,
		};
	}
	frame = sse_protocol.resume(plain, &places);
	id = memmem(frame->data, frame->len, "id: ", 4);
	assert(id != NULL);
	id += 4;
	len = frame->len - (size_t) (id - (const char *) frame->data) - 2;
	assert(len <= sse_id_max(sse->requests, sse->count));
	assert(memchr(id, '\n', len) == NULL && memchr(id, '\r', len) == NULL);
	for (size_t i = 0; i < sse->count; i++)
	{
		WireBytes text;
		WireBytes channel = {.data = sse->requests[i].channel, .len = sse->requests[i].channel_len};
		WirePosition position;
		bool inside = text_utf8_valid(id, len);

		assert(inside && sse_id_find(id, len, channel, &text) && text.len > 0);
		inside = text.data[text.len - 1] == 's';
		assert(inside == sse->requests[i].since_inside);
		assert(wire_position_parse(text.data, text.len - inside, &position));
		assert(position.timeline == sse->requests[i].since.timeline &&
			   position.id == sse->requests[i].since.id);
	}
	frame_unref(plain);
	frame_unref(frame);
}

int
fuzz_sse(const uint8_t *data, size_t size)
{
	const char *line;
	HttpSlice query = {.data = (const char *) data, .len = size};
	HttpSlice since = {0};
	SseRequest sse;
	json_t *error;

	if (size == 0 || size > FUZZ_MAX_INPUT)
		return 0;
	line = memchr(data, '\n', size);
	if (line != NULL)
	{
		query.len = (size_t) (line - query.data);
		since = (HttpSlice){.data = line + 1, .len = size - query.len - 1};
		/* The HTTP server lets no header through that has one. */
		if (memchr(since.data, '\0', since.len) != NULL)
			return 0;
	}
	error = sse_request_read(query, since, NULL, &sse);
	if (error != NULL)
	{
		fuzz_check_error(error);
		return 0;
	}
	if (!sse.ended)
	{
		fuzz_check_requests(&sse);
		if (sse.requests[0].has_since)
			fuzz_check_id(&sse);
	}
	sse_request_free(&sse);
	return 0;
}
