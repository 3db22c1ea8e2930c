/*
 * Fuzz target for messages of WAMP: what wamp_message.h and wamp_build.h promise for any UTF-8.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "gateway/base/text.h"
#include "gateway/wamp/wamp_build.h"
#include "gateway/wamp/wamp_options.h"

/* A value that jansson has of the same text must be this one. */
static void
fuzz_check_slice(const json_t *value, WireBytes text)
{
	json_t *slice;

	assert((value != NULL) == (text.len > 0));
	if (value == NULL)
		return;
	slice = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	assert(json_equal(slice, value));
	json_decref(slice);
}

static bool
fuzz_id(const json_t *value)
{
	return json_is_integer(value) && json_integer_value(value) >= 1 &&
		   json_integer_value(value) <= INT64_C(9007199254740992);
}

/* The elements behind the type; the number of the first one of the arguments, or 0. */
static bool
fuzz_elements(const json_t *json, const char *kinds, size_t *arguments)
{
	size_t count = json_array_size(json);
	size_t i;

	*arguments = 0;
	for (i = 1; *kinds != '\0'; kinds++, i++)
	{
		const json_t *value = json_array_get(json, i);

		switch (*kinds)
		{
			case 'i':
				if (!fuzz_id(value))
					return false;
				break;
			case 's':
				if (!json_is_string(value))
					return false;
				break;
			case 'o':
				if (!json_is_object(value))
					return false;
				break;
			case '8':
				if (!json_is_integer(value) || json_integer_value(value) != 68)
					return false;
				break;
			default:
				*arguments = i;
				return (count <= i || json_is_array(json_array_get(json, i))) &&
					   (count <= i + 1 || json_is_object(json_array_get(json, i + 1))) &&
					   count <= i + 2;
		}
	}
	return count == i;
}

/* What the specification says about the form of messages from clients, once more. */
static bool
fuzz_is_message(const json_t *json, size_t *arguments)
{
	const json_t *type = json_array_get(json, 0);

	if (!json_is_integer(type))
		return false;
	switch (json_integer_value(type))
	{
		case 1:
		case 5:
			return fuzz_elements(json, "so", arguments);
		case 3:
			return fuzz_elements(json, "os*", arguments);
		case 6:
			return fuzz_elements(json, "os", arguments);
		case 8:
			return fuzz_elements(json, "8ios*", arguments);
		case 16:
		case 48:
			return fuzz_elements(json, "ios*", arguments);
		case 32:
		case 64:
			return fuzz_elements(json, "ios", arguments);
		case 34:
		case 66:
			return fuzz_elements(json, "ii", arguments);
		case 49:
			return fuzz_elements(json, "io", arguments);
		case 70:
			return fuzz_elements(json, "io*", arguments);
		default:
			return false;
	}
}

static bool
fuzz_has_wrong_option(const json_t *json)
{
	const char *expected;
	json_t *value;
	size_t i;

	json_array_foreach(json, i, value)
	{
		if (json_is_object(value))
			return wamp_options_wrong((WampType) json_integer_value(json_array_get(json, 0)), value,
									  &expected) != NULL;
	}
	return false;
}

/* An accepted message has the values that jansson reads. */
static void
fuzz_check_values(const json_t *json, const WampMessage *message)
{
	size_t arguments;
	size_t i;
	json_t *value;

	assert(fuzz_is_message(json, &arguments));
	assert((int) message->type == json_integer_value(json_array_get(json, 0)));
	json_array_foreach(json, i, value)
	{
		if (json_is_string(value))
		{
			const char *text = message->signature != NULL ? message->signature : message->uri;

			assert(strcmp(text, json_string_value(value)) == 0);
			assert(message->signature != NULL || message->uri_len == json_string_length(value));
		}
		if (json_is_object(value) && (arguments == 0 || i < arguments))
			assert(json_equal(value, message->details));
	}
	if (message->request != 0)
		assert((uint64_t) json_integer_value(
				   json_array_get(json, message->type == WAMP_ERROR ? 2 : 1)) == message->request);
	if (message->id != 0)
		assert((uint64_t) json_integer_value(json_array_get(json, 2)) == message->id);
	assert((message->failed == WAMP_INVOCATION) == (message->type == WAMP_ERROR));
	fuzz_check_slice(arguments > 0 ? json_array_get(json, arguments) : NULL, message->args);
	fuzz_check_slice(arguments > 0 ? json_array_get(json, arguments + 1) : NULL, message->kwargs);
}

/* The text of a frame's message, which the caller frees; frees the frame. */
static char *
fuzz_text(Frame *frame)
{
	char *text = malloc(frame_payload(frame) + 1);
	size_t len = 0;
	size_t offset = 0;
	WireBytes part;

	assert(text != NULL);
	while (frame_next(frame, &offset, &part))
	{
		memcpy(text + len, part.data, part.len);
		len += part.len;
	}
	text[len] = '\0';
	frame_unref(frame);
	return text;
}

/*
 * What a router makes of the arguments is a message with the same ones: an ERROR that goes on to the
 * caller differs from that of the callee in the two numbers only.
 */
static void
fuzz_check_passed(const WampMessage *message)
{
	WampPayload payload = {.args = message->args, .kwargs = message->kwargs};
	WireBytes uri = {.data = message->uri, .len = (uint32_t) message->uri_len};
	char error[100];
	WampMessage other;
	char *text;

	if (message->uri == NULL || message->type == WAMP_HELLO)
		return;
	text = fuzz_text(wamp_error(WAMP_INVOCATION, 7, (WireBytes){.len = 0}, uri, &payload));
	assert(wamp_read(text, strlen(text), &other, error, sizeof(error)));
	assert(other.uri_len == message->uri_len && strcmp(other.uri, message->uri) == 0);
	assert(other.args.len == message->args.len && other.kwargs.len == message->kwargs.len);
	assert(other.args.len == 0 || memcmp(other.args.data, message->args.data, other.args.len) == 0);
	assert(other.kwargs.len == 0 ||
		   memcmp(other.kwargs.data, message->kwargs.data, other.kwargs.len) == 0);
	wamp_message_free(&other);
	free(text);

	/* With large numbers as strings, jansson reads it whatever the numbers are. */
	payload = (WampPayload){.args = wamp_tail(message), .bigint = true};
	text = fuzz_text(wamp_result(1, (WireBytes){.len = 0}, &payload));
	json_decref(json_loads(text, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL));
	free(text);
}

/* The same message in other words: everything beyond ASCII escaped, and with other spaces. */
static void
fuzz_check_reworded(const json_t *json)
{
	char *text = json_dumps(json, JSON_ENSURE_ASCII | JSON_INDENT(1));
	char error[100];
	WampMessage message;

	assert(text != NULL);
	assert(wamp_read(text, strlen(text), &message, error, sizeof(error)));
	fuzz_check_values(json, &message);
	wamp_message_free(&message);
	free(text);
}

int
fuzz_wamp(const uint8_t *data, size_t size)
{
	const char *text = (const char *) data;
	char error[100] = "";
	WampMessage message;
	json_error_t problem;
	json_t *json;
	size_t arguments;

	/* The session refuses other messages. */
	if (!text_utf8_valid(text, size))
		return 0;
	if (!wamp_read(text, size, &message, error, sizeof(error)))
	{
		assert(error[0] != '\0' && message.root == NULL);
		/* jansson overlooks a NUL behind a number. */
		json = memchr(text, '\0', size) == NULL
				   ? json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL)
				   : NULL;
		assert(json == NULL || !fuzz_is_message(json, &arguments) || fuzz_has_wrong_option(json));
		json_decref(json);
		return 0;
	}
	json = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
	if (json != NULL)
	{
		fuzz_check_values(json, &message);
		fuzz_check_reworded(json);
	}
	else
		assert(json_error_code(&problem) == json_error_numeric_overflow);
	fuzz_check_passed(&message);
	json_decref(json);
	wamp_message_free(&message);
	return 0;
}
