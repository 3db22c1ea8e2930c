/*
 * Fuzz target for WAMP in CBOR and MessagePack: what serializer.h promises for any bytes. The first byte
 * chooses: 'c' CBOR and 'm' MessagePack from a client, 'C' and 'M' text for one.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "fuzz.h"
#include "gateway/base/text.h"
#include "gateway/wamp/serializer.h"

#define MAX_TEXT 100000

/* The message of a frame, which is freed, in memory of exactly its size, which the caller frees. */
static char *
fuzz_payload_of(Frame *frame, size_t *len)
{
	char *data = malloc(frame_payload(frame) + 1);
	size_t offset = 0;
	WireBytes part;

	assert(data != NULL && !frame_is_text(frame));
	*len = 0;
	while (frame_next(frame, &offset, &part))
	{
		memcpy(data + *len, part.data, part.len);
		*len += part.len;
	}
	frame_unref(frame);
	data = realloc(data, *len + (*len == 0));
	assert(data != NULL);
	return data;
}

static char *
fuzz_write(SerializerFormat format, const char *text, size_t text_len, size_t *len)
{
	WireBytes part = {.data = text, .len = (uint32_t) text_len};

	return fuzz_payload_of(serializer_frame(format, frame_text(&part, 1)), len);
}

/* A message is JSON, and becomes the same JSON when it has become binary again. */
static void
fuzz_read(SerializerFormat format, const char *data, size_t size)
{
	char *text;
	size_t text_len;
	char *again;
	size_t again_len;
	char *binary;
	size_t len;
	const char *problem = NULL;
	json_error_t error;
	json_t *json;

	switch (serializer_read(format, data, size, MAX_TEXT, &text, &text_len, &problem))
	{
		case SERIALIZER_DONE:
			break;
		case SERIALIZER_BAD:
		case SERIALIZER_TOO_BIG:
			assert(problem != NULL);
			return;
	}
	assert(problem == NULL && text_len <= MAX_TEXT && text_utf8_valid(text, text_len));
	json = json_loadb(text, text_len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	assert(json != NULL || json_error_code(&error) == json_error_numeric_overflow ||
		   json_error_code(&error) == json_error_null_byte_in_key);
	json_decref(json);
	binary = fuzz_write(format, text, text_len, &len);
	assert(serializer_read(format, binary, len, MAX_TEXT, &again, &again_len, &problem) ==
		   SERIALIZER_DONE);
	assert(again_len == text_len && memcmp(again, text, text_len) == 0);
	free(again);
	free(binary);
	free(text);
}

/* JSON becomes a message with the same values. Of what is no JSON, something is made all the same. */
static void
fuzz_encode(SerializerFormat format, const char *data, size_t size)
{
	char *text;
	size_t text_len;
	size_t len;
	char *binary = fuzz_write(format, data, size, &len);
	const char *problem;
	json_t *json = json_loadb(data, size, JSON_ALLOW_NUL, NULL);
	json_t *other;

	if (json != NULL && memchr(data, '\0', size) == NULL)
	{
		assert(serializer_read(format, binary, len, MAX_TEXT, &text, &text_len, &problem) ==
			   SERIALIZER_DONE);
		other = json_loadb(text, text_len, JSON_ALLOW_NUL, NULL);
		/* A double that is integral comes back as an integer. */
		assert(other != NULL);
		if (json_is_object(json))
			assert(json_object_size(json) == json_object_size(other));
		else
			assert(json_array_size(json) == json_array_size(other));
		json_decref(other);
		free(text);
	}
	json_decref(json);
	free(binary);
}

int
fuzz_serializer(const uint8_t *data, size_t size)
{
	const char *rest = (const char *) data + 1;

	if (size == 0)
		return 0;
	switch (data[0])
	{
		case 'c':
		case 'm':
			fuzz_read(data[0] == 'c' ? SERIALIZER_CBOR : SERIALIZER_MSGPACK, rest, size - 1);
			break;
		case 'C':
		case 'M':
			fuzz_encode(data[0] == 'C' ? SERIALIZER_CBOR : SERIALIZER_MSGPACK, rest, size - 1);
			break;
		default:
			break;
	}
	return 0;
}
