/*-------------------------------------------------------------------------
 *
 * wamp_message.c
 *	  Reads the messages of WAMP that a client sends (wamp.2.json).
 *
 * A message is first cut at the commas of its outermost array, without regard to what the elements
 * are. Then each element is read by itself. The whole is JSON if and only if all elements are.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/wamp_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/wamp/wamp_options.h"

#define WAMP_MAX_ELEMENTS 7 /* ERROR has so many */

/* jansson reads all numbers that have fewer characters and no exponent. */
#define WAMP_SHORT_NUMBER 16

#define WAMP_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * The elements behind the type, a character each:
 *	r Request|id, i Subscription|id or Registration|id, t REQUEST.Type|int, d Details|dict, u a URI,
 *	s Signature|string; * at the end: Arguments|list, ArgumentsKw|dict, both optional.
 * Types without them are sent by routers only.
 */
static const struct
{
	WampType type;
	const char *name;
	const char *elements;
} wamp_forms[] = {
	{WAMP_HELLO, "HELLO", "ud"},
	{WAMP_WELCOME, "WELCOME", NULL},
	{WAMP_ABORT, "ABORT", "du*"},
	{WAMP_CHALLENGE, "CHALLENGE", NULL},
	{WAMP_AUTHENTICATE, "AUTHENTICATE", "sd"},
	{WAMP_GOODBYE, "GOODBYE", "du"},
	{WAMP_ERROR, "ERROR", "trdu*"},
	{WAMP_PUBLISH, "PUBLISH", "rdu*"},
	{WAMP_PUBLISHED, "PUBLISHED", NULL},
	{WAMP_SUBSCRIBE, "SUBSCRIBE", "rdu"},
	{WAMP_SUBSCRIBED, "SUBSCRIBED", NULL},
	{WAMP_UNSUBSCRIBE, "UNSUBSCRIBE", "ri"},
	{WAMP_UNSUBSCRIBED, "UNSUBSCRIBED", NULL},
	{WAMP_EVENT, "EVENT", NULL},
	{WAMP_CALL, "CALL", "rdu*"},
	{WAMP_CANCEL, "CANCEL", "rd"},
	{WAMP_RESULT, "RESULT", NULL},
	{WAMP_REGISTER, "REGISTER", "rdu"},
	{WAMP_REGISTERED, "REGISTERED", NULL},
	{WAMP_UNREGISTER, "UNREGISTER", "ri"},
	{WAMP_UNREGISTERED, "UNREGISTERED", NULL},
	{WAMP_INVOCATION, "INVOCATION", NULL},
	{WAMP_INTERRUPT, "INTERRUPT", NULL},
	{WAMP_YIELD, "YIELD", "rd*"},
};

/* Where the reader is. */
typedef struct WampReader
{
	WampMessage *message;
	WireBytes elements[WAMP_MAX_ELEMENTS];
	size_t count;
	char *error;
	size_t size;
} WampReader;

const char *
wamp_type_name(WampType type)
{
	for (size_t i = 0; i < WAMP_COUNT(wamp_forms); i++)
	{
		if (wamp_forms[i].type == type)
			return wamp_forms[i].name;
	}
	return "UNKNOWN";
}

/* Both always return false, for use in a return statement. */
static bool
wamp_reject(const WampReader *reader, const char *problem)
{
	snprintf(reader->error, reader->size, "%s", problem);
	return false;
}

static bool
wamp_reject_element(const WampReader *reader, const char *problem)
{
	snprintf(reader->error, reader->size, "%s: %s", wamp_type_name(reader->message->type), problem);
	return false;
}

/* ---------------- elements ---------------- */

static bool
wamp_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static WireBytes
wamp_trim(const char *from, const char *to)
{
	while (from < to && wamp_is_space(*from))
		from++;
	while (from < to && wamp_is_space(to[-1]))
		to--;
	return (WireBytes){.data = from, .len = (uint32_t) (to - from)};
}

/* Return the end of the value that begins at text, which is the next comma or bracket outside of it. */
static const char *
wamp_value_end(const char *text, const char *end)
{
	bool string = false;
	size_t depth = 0;

	for (; text < end; text++)
	{
		if (*text == '"')
			string = !string;
		else if (string)
			text += *text == '\\';
		else if (*text == '[' || *text == '{')
			depth++;
		else if (depth > 0)
			depth -= *text == ']' || *text == '}';
		else if (*text == ',' || *text == ']' || *text == '}')
			break;
	}
	return text < end ? text : end;
}

/* Cut the text into its elements, which may still be anything but empty. */
static bool
wamp_split(WampReader *reader, const char *text, size_t len)
{
	WireBytes all = wamp_trim(text, text + len);
	const char *end = all.data + all.len;
	const char *from;
	const char *to;

	/* jansson (2.14, stream_unget() in load.c) skips a NUL behind a number. */
	if (all.len < 2 || all.data[0] != '[' || memchr(all.data, '\0', all.len) != NULL)
		return wamp_reject(reader, "a message must be a JSON array");
	for (from = all.data + 1;; from = to + 1)
	{
		if (reader->count == WAMP_MAX_ELEMENTS)
			return wamp_reject(reader, "the message has too many elements");
		to = wamp_value_end(from, end);
		reader->elements[reader->count++] = wamp_trim(from, to);
		if (to == end || *to != ',')
			break;
	}
	if (to + 1 != end || *to != ']')
		return wamp_reject(reader, "a message must be a JSON array and nothing else");
	return true;
}

/* An integer from 0 to WAMP_MAX_ID, without sign, fraction and exponent. */
static bool
wamp_integer(WireBytes text, uint64_t *value)
{
	if (text.len == 0 || text.len > 16 || (text.data[0] == '0' && text.len > 1))
		return false;
	*value = 0;
	for (uint32_t i = 0; i < text.len; i++)
	{
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
		*value = *value * 10 + (uint64_t) (text.data[i] - '0');
	}
	return *value <= WAMP_MAX_ID;
}

static bool
wamp_id(WireBytes text, uint64_t *id)
{
	return wamp_integer(text, id) && *id > 0;
}

/* Read a string or an object, which root owns. */
static json_t *
wamp_value(WampReader *reader, WireBytes text)
{
	json_t *value = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);

	if (value != NULL)
		json_array_append_new(reader->message->root, value);
	return value;
}

/* Details must be an object, in which the options that are known have values of their types. */
static bool
wamp_read_details(WampReader *reader, WireBytes text)
{
	WampMessage *message = reader->message;
	const char *expected;
	const char *name;
	json_t *value;
	void *next;

	message->details = wamp_value(reader, text);
	if (!json_is_object(message->details))
		return wamp_reject_element(reader, "details or options must be an object");
	json_object_foreach_safe(message->details, next, name, value)
	{
		if (json_is_null(value))
			json_object_del(message->details, name);
	}
	name = wamp_options_wrong(message->type, message->details, &expected);
	if (name == NULL)
		return true;
	snprintf(reader->error, reader->size, "%s: %s must be %s", wamp_type_name(message->type), name,
			 expected);
	return false;
}

static bool
wamp_read_element(WampReader *reader, char kind, WireBytes text)
{
	WampMessage *message = reader->message;
	const json_t *string;
	uint64_t number;

	switch (kind)
	{
		case 'r':
			return wamp_id(text, &message->request) ||
				   wamp_reject_element(reader,
									   "the request's id must be an integer from 1 to 2^53");
		case 'i':
			return wamp_id(text, &message->id) ||
				   wamp_reject_element(reader, "the id must be an integer from 1 to 2^53");
		case 't':
			if (!wamp_integer(text, &number) || number != WAMP_INVOCATION)
				return wamp_reject_element(reader, "a client may send it for INVOCATION only");
			message->failed = WAMP_INVOCATION;
			return true;
		case 'd':
			return wamp_read_details(reader, text);
		case 'u':
			string = wamp_value(reader, text);
			message->uri = json_string_value(string);
			message->uri_len = json_string_length(string);
			return json_is_string(string) ||
				   wamp_reject_element(reader, message->type == WAMP_HELLO
												   ? "the realm must be a string"
												   : "the URI must be a string");
		default:
			string = wamp_value(reader, text);
			message->signature = json_string_value(string);
			return json_is_string(string) ||
				   wamp_reject_element(reader, "the signature must be a string");
	}
}

/* ---------------- arguments ---------------- */

static bool
wamp_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *
wamp_digits(const char *text, const char *end)
{
	while (text < end && wamp_is_digit(*text))
		text++;
	return text;
}

/* Return the end of the number (RFC 8259, 6) that begins at text; text itself if there is none. */
static const char *
wamp_number_end(const char *text, const char *end)
{
	const char *from = text + (text < end && *text == '-');
	const char *to = wamp_digits(from, end);
	const char *more;

	if (to == from || (*from == '0' && to > from + 1))
		return text;
	if (to < end && *to == '.')
	{
		more = wamp_digits(to + 1, end);
		if (more == to + 1)
			return text;
		to = more;
	}
	if (to < end && (*to == 'e' || *to == 'E'))
	{
		from = to + 1;
		from += from < end && (*from == '-' || *from == '+');
		more = wamp_digits(from, end);
		if (more == from)
			return text;
		to = more;
	}
	return to;
}

/*
 * jansson refuses numbers that do not fit into its types. Return a copy of the text in which these,
 * and some that do fit, are zeros. Other errors in it stay errors.
 */
static char *
wamp_without_numbers(WireBytes text)
{
	char *copy = memory_string(text.data, text.len);
	char *end = copy + text.len;
	bool string = false;

	for (char *at = copy; at < end; at++)
	{
		size_t len;

		if (*at == '"')
			string = !string;
		else if (string)
			at += *at == '\\';
		else if (*at == '-' || wamp_is_digit(*at))
		{
			/* Something like 1e400e1 must not become 0e1. */
			len = (size_t) (wamp_number_end(at, end) - at);
			if (len == 0 || (at + len < end && strchr("+-.eE", at[len]) != NULL))
				break;
			if (len >= WAMP_SHORT_NUMBER || memchr(at, 'e', len) != NULL ||
				memchr(at, 'E', len) != NULL)
			{
				memset(at, ' ', len);
				at[len - 1] = '0';
			}
			at += len - 1;
		}
	}
	return copy;
}

/* Check that a text is a JSON value that begins with this character. */
static bool
wamp_is_json(WireBytes text, char first)
{
	/* NUL is how binary data begins (WAMP, "Binary conversion of JSON Strings"). */
	const size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
	json_t *value;
	bool ok;

	if (text.len == 0 || text.data[0] != first)
		return false;
	value = json_loadb(text.data, text.len, flags, NULL);
	if (value == NULL)
	{
		char *copy = wamp_without_numbers(text);

		value = json_loadb(copy, text.len, flags, NULL);
		free(copy);
	}
	ok = value != NULL;
	json_decref(value);
	return ok;
}

static bool
wamp_read_arguments(WampReader *reader, size_t from)
{
	WampMessage *message = reader->message;

	if (from < reader->count)
	{
		message->args = reader->elements[from];
		if (!wamp_is_json(message->args, '['))
			return wamp_reject_element(reader, "the arguments must be an array");
	}
	if (from + 1 < reader->count)
	{
		message->kwargs = reader->elements[from + 1];
		if (!wamp_is_json(message->kwargs, '{'))
			return wamp_reject_element(reader, "the keyword arguments must be an object");
	}
	return true;
}

/* ---------------- messages ---------------- */

static bool
wamp_read_form(WampReader *reader, const char *elements)
{
	bool arguments = strchr(elements, '*') != NULL;
	size_t count = strlen(elements) - arguments;

	if (reader->count < count + 1 || reader->count > count + 1 + (arguments ? 2 : 0))
		return wamp_reject_element(reader, "the number of elements is wrong");
	for (size_t i = 0; i < count; i++)
	{
		if (!wamp_read_element(reader, elements[i], reader->elements[i + 1]))
			return false;
	}
	return wamp_read_arguments(reader, count + 1);
}

static bool
wamp_read_message(WampReader *reader, const char *text, size_t len)
{
	uint64_t type;

	if (!wamp_split(reader, text, len))
		return false;
	if (!wamp_integer(reader->elements[0], &type))
		return wamp_reject(reader, "the type of a message must be an integer");
	for (size_t i = 0; i < WAMP_COUNT(wamp_forms); i++)
	{
		if (wamp_forms[i].type != type)
			continue;
		reader->message->type = wamp_forms[i].type;
		if (wamp_forms[i].elements == NULL)
			return wamp_reject_element(reader, "clients do not send it");
		return wamp_read_form(reader, wamp_forms[i].elements);
	}
	return wamp_reject(reader, "there is no such type of message");
}

bool
wamp_read(const char *text, size_t len, WampMessage *message, char *error, size_t size)
{
	WampReader reader = {.message = message, .error = error, .size = size};

	*message = (WampMessage){.root = json_array()};
	if (wamp_read_message(&reader, text, len))
		return true;
	wamp_message_free(message);
	return false;
}

void
wamp_message_free(WampMessage *message)
{
	json_decref(message->root);
	*message = (WampMessage){.root = NULL};
}
