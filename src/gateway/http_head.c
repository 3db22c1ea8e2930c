/*-------------------------------------------------------------------------
 *
 * http_head.c
 *	  The head of an HTTP/1 request, read strictly.
 *
 *-------------------------------------------------------------------------
 */
#include "http_head.h"

#include <string.h>

#include "text.h"

#define HTTP_KEY_LENGTH 24 /* base64 of 16 bytes */

/* Headers that may stand once at most; where they go in an HttpHead. */
static const struct
{
	const char *name;
	size_t offset;
} http_single[] = {
	{"host", offsetof(HttpHead, host)},
	{"origin", offsetof(HttpHead, origin)},
	{"upgrade", offsetof(HttpHead, upgrade)},
	{"sec-websocket-key", offsetof(HttpHead, key)},
	{"sec-websocket-version", offsetof(HttpHead, version)},
};

/* A character of a token (RFC 9110, 5.6.2). */
static bool
http_token_char(char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static size_t
http_token_length(const char *p, const char *end)
{
	const char *start = p;

	while (p < end && http_token_char(*p))
		p++;
	return (size_t) (p - start);
}

HttpScan
http_head_scan(const char *buf, size_t len, size_t *scanned, size_t *size)
{
	for (size_t i = *scanned; i < len; i++)
	{
		if (i >= HTTP_HEAD_MAX)
			return HTTP_SCAN_LARGE;
		if (buf[i] == '\0')
			return HTTP_SCAN_BAD;
		if (buf[i] == '\n' && (i == 0 || buf[i - 1] != '\r'))
			return HTTP_SCAN_BAD;
		if (i > 0 && buf[i - 1] == '\r' && buf[i] != '\n')
			return HTTP_SCAN_BAD;
		if (buf[i] == '\n' && i >= 3 && buf[i - 2] == '\n')
		{
			*size = i + 1;
			return HTTP_SCAN_DONE;
		}
		*scanned = i + 1;
	}
	return len >= HTTP_HEAD_MAX ? HTTP_SCAN_LARGE : HTTP_SCAN_MORE;
}

static HttpSlice
http_trim(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	return (HttpSlice){.data = p, .len = (size_t) (end - p)};
}

/* Is token among the comma-separated ones of a value? Subprotocols differ by case, connection options do not. */
static bool
http_list_has(HttpSlice value, const char *token, bool nocase)
{
	const char *p = value.data;
	const char *end = p + value.len;

	while (p < end)
	{
		const char *comma = memchr(p, ',', (size_t) (end - p));
		HttpSlice item = http_trim(p, comma != NULL ? comma : end);

		if (nocase ? text_equal_nocase(item.data, item.len, token) : http_slice_is(item, token))
			return true;
		if (comma == NULL)
			return false;
		p = comma + 1;
	}
	return false;
}

/* METHOD SP origin-form SP HTTP/1.x */
static const char *
http_request_line(const char *p, const char *end, HttpHead *head)
{
	const char *target;
	const char *question;

	head->method = (HttpSlice){.data = p, .len = http_token_length(p, end)};
	p += head->method.len;
	if (head->method.len == 0 || p == end || *p++ != ' ')
		return "malformed request line";
	target = p;
	while (p<end && * p> ' ' && *p < 0x7f && *p != '#')
		p++;
	if (p == target || *target != '/' || p == end || *p != ' ')
		return "malformed request target";

	question = memchr(target, '?', (size_t) (p - target));
	head->path = (HttpSlice){.data = target, .len = (size_t) ((question ? question : p) - target)};
	if (question != NULL)
		head->query = (HttpSlice){.data = question + 1, .len = (size_t) (p - question - 1)};

	p++;
	if ((size_t) (end - p) != strlen("HTTP/1.x") || memcmp(p, "HTTP/1.", 7) != 0 ||
		(p[7] != '0' && p[7] != '1'))
		return "unsupported protocol version";
	head->http11 = p[7] == '1';
	return NULL;
}

static const char *
http_header_value(HttpSlice name, HttpSlice value, HttpHead *head)
{
	for (size_t i = 0; i < sizeof(http_single) / sizeof(http_single[0]); i++)
	{
		HttpSlice *slot = (HttpSlice *) ((char *) head + http_single[i].offset);

		if (!text_equal_nocase(name.data, name.len, http_single[i].name))
			continue;
		if (slot->data != NULL)
			return "repeated header";
		*slot = value;
		return NULL;
	}
	if (text_equal_nocase(name.data, name.len, "connection"))
		head->connection_upgrade |= http_list_has(value, "upgrade", true);
	else if (text_equal_nocase(name.data, name.len, "sec-websocket-protocol"))
		head->subprotocol |= http_list_has(value, HTTP_HEAD_SUBPROTOCOL, false);
	else if (text_equal_nocase(name.data, name.len, "transfer-encoding") ||
			 (text_equal_nocase(name.data, name.len, "content-length") && !http_slice_is(value, "0")))
		return "a request body is not accepted";
	return NULL;
}

static const char *
http_header_line(const char *p, const char *end, HttpHead *head)
{
	HttpSlice name = {.data = p, .len = http_token_length(p, end)};

	if (name.len == 0 || p + name.len == end || p[name.len] != ':')
		return "malformed header";
	for (p += name.len + 1; p < end; p++)
		if (((unsigned char) *p < ' ' && *p != '\t') || *p == 0x7f)
			return "malformed header";
	return http_header_value(name, http_trim(name.data + name.len + 1, end), head);
}

const char *
http_head_parse(const char *buf, size_t size, HttpHead *head)
{
	const char *end = buf + size - 2; /* where the empty line begins */
	const char *eol = memchr(buf, '\r', size);
	const char *error;
	int headers = 0;

	*head = (HttpHead){0};
	error = http_request_line(buf, eol, head);
	for (const char *p = eol + 2; error == NULL && p < end; p = eol + 2)
	{
		eol = memchr(p, '\r', (size_t) (end - p));
		if (++headers > HTTP_HEAD_HEADERS)
			return "too many headers";
		error = http_header_line(p, eol, head);
	}
	return error;
}

bool
http_slice_is(HttpSlice slice, const char *text)
{
	return slice.data != NULL && slice.len == strlen(text) && memcmp(slice.data, text, slice.len) == 0;
}

HttpSlice
http_query_parameter(HttpSlice query, const char *name)
{
	const char *p = query.data;
	const char *end = p + query.len;

	while (p < end)
	{
		const char *next = memchr(p, '&', (size_t) (end - p));
		const char *stop = next != NULL ? next : end;
		const char *equals = memchr(p, '=', (size_t) (stop - p));
		HttpSlice key = {.data = p, .len = (size_t) ((equals ? equals : stop) - p)};

		if (http_slice_is(key, name))
		{
			const char *value = equals != NULL ? equals + 1 : stop;

			return (HttpSlice){.data = value, .len = (size_t) (stop - value)};
		}
		if (next == NULL)
			break;
		p = next + 1;
	}
	return (HttpSlice){0};
}

bool
http_websocket_key_valid(HttpSlice key)
{
	/* 16 bytes are 21 whole characters, one that carries two bits, and the padding. */
	if (key.data == NULL || key.len != HTTP_KEY_LENGTH || memcmp(key.data + 22, "==", 2) != 0)
		return false;
	for (size_t i = 0; i < 22; i++)
	{
		char c = key.data[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '+' &&
			c != '/')
			return false;
	}
	return strchr("AQgw", key.data[21]) != NULL;
}
