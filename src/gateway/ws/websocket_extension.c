/*-------------------------------------------------------------------------
 *
 * websocket_extension.c
 *	  Which extension of WebSocket a client offers.
 *
 * An offer with a parameter that is unknown, has an invalid value or comes twice is declined
 * (RFC 7692, 7.1). The answer may have the parameters *_no_context_takeover even if the offer has
 * not (7.1.1). It has server_max_window_bits only if the offer has.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/ws/websocket_extension.h"

#include <string.h>

#include "gateway/base/text.h"
#include "gateway/ws/deflate.h"

#define EXTENSION_ANSWER                                                                           \
	"permessage-deflate; server_no_context_takeover; client_no_context_takeover"
#define EXTENSION_TEXT(number)  EXTENSION_DIGITS(number)
#define EXTENSION_DIGITS(digit) #digit

/* The parameters, as bits. */
#define EXTENSION_SERVER_WINDOW 0x1

static const struct
{
	const char *name;
	bool has_window; /* has a value: the number of bits of a window */
	bool required;   /* which may not be left out */
} extension_params[] = {
	{"server_max_window_bits", true, true},
	{"client_max_window_bits", true, false},
	{"server_no_context_takeover", false, false},
	{"client_no_context_takeover", false, false},
};

/* A header that is being read. */
typedef struct ExtensionReader
{
	const char *p;
	const char *end;
} ExtensionReader;

static void
extension_skip_space(ExtensionReader *reader)
{
	while (reader->p < reader->end && (*reader->p == ' ' || *reader->p == '\t'))
		reader->p++;
}

/* Read this character, and spaces around it, if it is next. */
static bool
extension_char(ExtensionReader *reader, char c)
{
	extension_skip_space(reader);
	if (reader->p == reader->end || *reader->p != c)
		return false;
	reader->p++;
	extension_skip_space(reader);
	return true;
}

/* Read a token; empty: there is none. */
static HttpSlice
extension_token(ExtensionReader *reader)
{
	HttpSlice token = {.data = reader->p};

	while (reader->p < reader->end && http_token_char(*reader->p))
		reader->p++;
	token.len = (size_t) (reader->p - token.data);
	return token;
}

/* Read the value of a parameter, a token that may be in quotes. Returns false if it is neither. */
static bool
extension_value(ExtensionReader *reader, HttpSlice *value)
{
	bool quoted = extension_char(reader, '"');

	*value = extension_token(reader);
	return value->len > 0 && (!quoted || extension_char(reader, '"'));
}

/* The number of bits of a window, 8 to 15, or 0 if it is not valid (RFC 7692, 7.1.2). */
static int
extension_window(HttpSlice value)
{
	if (value.len == 1 && (value.data[0] == '8' || value.data[0] == '9'))
		return value.data[0] - '0';
	if (value.len == 2 && value.data[0] == '1' && value.data[1] >= '0' && value.data[1] <= '5')
		return 10 + value.data[1] - '0';
	return 0;
}

/* Note a parameter in seen. Returns false if the offer cannot be accepted with it. */
static bool
extension_param(HttpSlice name, HttpSlice value, unsigned int *seen)
{
	for (unsigned int i = 0; i < sizeof(extension_params) / sizeof(extension_params[0]); i++)
	{
		unsigned int bit = 1u << i;
		int window = extension_window(value);

		if (!http_slice_is(name, extension_params[i].name))
			continue;
		if ((*seen & bit) != 0)
			return false;
		*seen |= bit;
		if (!extension_params[i].has_window)
			return value.len == 0;
		if (value.len == 0)
			return !extension_params[i].required;
		return window >= (bit == EXTENSION_SERVER_WINDOW ? DEFLATE_WINDOW : 8);
	}
	return false;
}

/*
 * Read an offer: the name of an extension and its parameters. Returns false if the header is malformed. *good is
 * true if the offer can be accepted, with the parameters that are in *seen.
 */
static bool
extension_offer(ExtensionReader *reader, bool *good, unsigned int *seen)
{
	HttpSlice name = extension_token(reader);

	*good = http_slice_is(name, "permessage-deflate");
	*seen = 0;
	while (extension_char(reader, ';'))
	{
		HttpSlice param = extension_token(reader);
		HttpSlice value = {.data = NULL};

		if (param.len == 0 || (extension_char(reader, '=') && !extension_value(reader, &value)))
			return false;
		if (!extension_param(param, value, seen))
			*good = false;
	}
	return name.len > 0;
}

/* Return the answer to the first good offer of a header, or NULL. */
static const char *
extension_accept(HttpSlice header)
{
	ExtensionReader reader = {.p = header.data, .end = header.data + header.len};
	const char *answer = NULL;

	extension_skip_space(&reader);
	do
	{
		bool good;
		unsigned int seen;

		if (!extension_offer(&reader, &good, &seen))
			return NULL;
		if (good && answer == NULL)
			answer = (seen & EXTENSION_SERVER_WINDOW) == 0 ? EXTENSION_ANSWER
														   : EXTENSION_ANSWER
						 "; server_max_window_bits=" EXTENSION_TEXT(DEFLATE_WINDOW);
	} while (extension_char(&reader, ','));
	return reader.p == reader.end ? answer : NULL;
}

const char *
websocket_extension_accept(const HttpRequest *request)
{
	for (size_t i = 0; i < request->nheaders; i++)
	{
		const HttpHeader *header = &request->headers[i];
		const char *answer;

		if (!text_equal_nocase(header->name.data, header->name.len, "sec-websocket-extensions"))
			continue;
		answer = extension_accept(header->value);
		if (answer != NULL)
			return answer;
	}
	return NULL;
}
