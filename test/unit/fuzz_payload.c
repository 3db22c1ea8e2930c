/*
 * Fuzz target for the format "payload": which part of an event raw clients get.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "fuzz.h"
#include "gateway/base/text.h"
#include "gateway/protocol/payload.h"

/* Compare the payload of a frame, which is freed. */
static void
fuzz_expect(Frame *frame, const char *text, size_t len)
{
	size_t offset = 0;
	WireBytes part;

	assert(frame_payload(frame) == len);
	while (frame_next(frame, &offset, &part))
	{
		assert(part.len <= len && memcmp(part.data, text, part.len) == 0);
		text += part.len;
		len -= part.len;
	}
	assert(len == 0);
	frame_unref(frame);
}

/* The event as the capture writes it: without spaces around its members. */
static void
fuzz_event(const json_t *json, uint8_t op)
{
	const json_t *payload = json_object_get(json, "payload");
	char *body = json_dumps(json, JSON_COMPACT);
	char *text =
		payload != NULL ? json_dumps(payload, JSON_COMPACT | JSON_ENCODE_ANY) : strdup(body);
	ProtocolEvent event = {.op = op, .body = {.data = body, .len = (uint32_t) strlen(body)}};

	if (op == WIRE_OP_NOTIFY && json_is_string(payload))
		fuzz_expect(payload_protocol.event(&event), json_string_value(payload),
					json_string_length(payload));
	else
		fuzz_expect(payload_protocol.event(&event), text, strlen(text));
	free(body);
	free(text);
}

int
fuzz_payload(const uint8_t *data, size_t size)
{
	ProtocolEvent event = {.op = WIRE_OP_NOTIFY};
	json_t *json;

	if (size < 3 || data[1] != '{' || !text_utf8_valid((const char *) data, size))
		return 0;
	event.body = (WireBytes){.data = (const char *) data + 1, .len = (uint32_t) size - 1};
	frame_unref(payload_protocol.event(&event));
	json = json_loadb(event.body.data, event.body.len, 0, NULL);
	if (json != NULL)
		fuzz_event(json, data[0] == 'n' ? WIRE_OP_NOTIFY : WIRE_OP_INSERT);
	json_decref(json);
	return 0;
}
