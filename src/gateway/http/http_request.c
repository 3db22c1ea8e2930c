/*-------------------------------------------------------------------------
 *
 * http_request.c
 *	  A strict parser for HTTP/1 requests.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/http/http_request.h"

#include <string.h>

#include "gateway/base/text.h"

/* Maximum digits of a Content-Length; a longer one exceeds any memory. */
#define HTTP_LENGTH_DIGITS 15

const char *const http_method_names[HTTP_METHODS] = {
	"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS",
};

/* Headers that may be given only once. */
static const char *const http_single[] = {
	"host",
	"origin",
	"upgrade",
	"sec-websocket-key",
	"sec-websocket-version",
	"content-length",
	"transfer-encoding",
	"content-type",
	"expect",
};

bool
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
http_request_scan(const char *buf, size_t len, size_t *scanned, size_t *size)
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

/* Get the next item of a comma-separated list, and advance the list over it. */
static bool
http_list_next(HttpSlice *list, HttpSlice *item)
{
	const char *end = list->data + list->len;
	const char *comma = list->len > 0 ? memchr(list->data, ',', list->len) : NULL;
	const char *next = comma != NULL ? comma + 1 : end;

	if (list->len == 0)
		return false;
	*item = http_trim(list->data, comma != NULL ? comma : end);
	*list = (HttpSlice){.data = next, .len = (size_t) (end - next)};
	return true;
}

/*
 * Return true if a comma-separated list contains the token. Subprotocols are case-sensitive,
 * connection options are not.
 */
static bool
http_list_has(HttpSlice value, const char *token, bool nocase)
{
	HttpSlice item;

	while (http_list_next(&value, &item))
	{
		if (nocase ? text_equal_nocase(item.data, item.len, token) : http_slice_is(item, token))
			return true;
	}
	return false;
}

/* Decode a part of the query to *room, and advance that. */
static bool
http_decode(HttpSlice *part, char **room)
{
	size_t len;

	if (!text_percent_decode(part->data, part->len, *room, &len))
		return false;
	*part = (HttpSlice){.data = *room, .len = len};
	*room += len;
	return true;
}

bool
http_query_next(HttpSlice *query, HttpSlice *part)
{
	const char *stop;

	if (query->len == 0)
		return false;
	stop = memchr(query->data, '&', query->len);
	*part = *query;
	*query = (HttpSlice){0};
	if (stop != NULL)
	{
		const char *end = part->data + part->len;

		part->len = (size_t) (stop - part->data);
		*query = (HttpSlice){.data = stop + 1, .len = (size_t) (end - stop - 1)};
	}
	return true;
}

void
http_query_split(HttpSlice part, HttpSlice *name, HttpSlice *value)
{
	const char *end = part.data + part.len;
	const char *equals = memchr(part.data, '=', part.len);
	const char *start = equals != NULL ? equals + 1 : end;

	*name = (HttpSlice){.data = part.data, .len = (size_t) ((equals ? equals : end) - part.data)};
	*value = (HttpSlice){.data = start, .len = (size_t) (end - start)};
}

bool
http_query_decode(HttpSlice text, char *room, HttpSlice *decoded)
{
	for (size_t i = 0; i < text.len; i++)
		room[i] = text.data[i] == '+' ? ' ' : text.data[i];
	decoded->data = room;
	return text_percent_decode(room, text.len, room, &decoded->len) &&
		   text_utf8_valid(room, decoded->len) && memchr(room, '\0', decoded->len) == NULL;
}

/* Split the query into parameters, decoded at room. Returns false if there are too many. */
static bool
http_query(HttpRequest *request, char *room)
{
	HttpSlice rest = request->query;
	HttpSlice part;

	while (http_query_next(&rest, &part))
	{
		HttpParameter *parameter = &request->parameters[request->nparameters];

		if (request->nparameters++ == HTTP_MAX_PARAMETERS)
			return false;
		http_query_split(part, &parameter->name, &parameter->value);
		parameter->malformed =
			!http_decode(&parameter->name, &room) || !http_decode(&parameter->value, &room);
	}
	return true;
}

static unsigned
http_method(HttpSlice name)
{
	for (unsigned i = 0; i < HTTP_METHODS; i++)
		if (http_slice_is(name, http_method_names[i]))
			return 1u << i;
	return 0;
}

/* METHOD SP origin-form SP HTTP/1.x */
static const char *
http_request_line(const char *p, const char *end, HttpRequest *request)
{
	HttpSlice method = {.data = p, .len = http_token_length(p, end)};
	const char *target;
	const char *question;
	const char *target_end;

	request->method = http_method(method);
	p += method.len;
	if (method.len == 0 || p == end || *p++ != ' ')
		return "malformed request line";
	target = p;
	while (p<end && * p> ' ' && *p < 0x7f && *p != '#')
		p++;
	if (p == target || *target != '/' || p == end || *p != ' ')
		return "malformed request target";
	target_end = p++;
	if ((size_t) (end - p) != strlen("HTTP/1.x") || memcmp(p, "HTTP/1.", 7) != 0 ||
		(p[7] != '0' && p[7] != '1'))
		return "unsupported protocol version";
	request->http11 = p[7] == '1';

	question = memchr(target, '?', (size_t) (target_end - target));
	request->path =
		(HttpSlice){.data = target, .len = (size_t) ((question ? question : target_end) - target)};
	if (question != NULL)
		request->query =
			(HttpSlice){.data = question + 1, .len = (size_t) (target_end - (question + 1))};
	return NULL;
}

/*
 * Accept only digits without leading zeros, because other forms are read differently by different
 * programs.
 */
static bool
http_content_length(HttpSlice value, uint64_t *length)
{
	*length = 0;
	if (value.len == 0 || value.len > HTTP_LENGTH_DIGITS || (value.len > 1 && *value.data == '0'))
		return false;
	for (size_t i = 0; i < value.len; i++)
	{
		if (value.data[i] < '0' || value.data[i] > '9')
			return false;
		*length = *length * 10 + (uint64_t) (value.data[i] - '0');
	}
	return true;
}

static const char *
http_header_value(const HttpHeader *header, HttpRequest *request)
{
	for (size_t i = 0; i < sizeof(http_single) / sizeof(http_single[0]); i++)
		if (text_equal_nocase(header->name.data, header->name.len, http_single[i]) &&
			http_request_header(request, http_single[i]).data != NULL)
			return "repeated header";
	if (text_equal_nocase(header->name.data, header->name.len, "transfer-encoding"))
	{
		request->chunked = true;
		if (!text_equal_nocase(header->value.data, header->value.len, "chunked"))
			return "Transfer-Encoding must be \"chunked\"";
	}
	else if (text_equal_nocase(header->name.data, header->name.len, "content-length") &&
			 !http_content_length(header->value, &request->content_length))
		return "malformed Content-Length";
	return NULL;
}

static const char *
http_header_line(const char *p, const char *end, HttpRequest *request)
{
	HttpHeader header = {.name = {.data = p, .len = http_token_length(p, end)}};
	const char *error;

	if (header.name.len == 0 || p + header.name.len == end || p[header.name.len] != ':')
		return "malformed header";
	for (p += header.name.len + 1; p < end; p++)
		if (((unsigned char) *p < ' ' && *p != '\t') || *p == 0x7f)
			return "malformed header";
	if (request->nheaders == HTTP_MAX_HEADERS)
		return "too many headers";
	header.value = http_trim(header.name.data + header.name.len + 1, end);
	error = http_header_value(&header, request);
	request->headers[request->nheaders++] = header;
	return error;
}

const char *
http_request_parse(char *buf, size_t size, HttpRequest *request)
{
	const char *end = buf + size - 2; /* the start of the empty line */
	const char *eol = memchr(buf, '\r', size);
	const char *error;

	memset(request, 0, offsetof(HttpRequest, parameters));
	error = http_request_line(buf, eol, request);
	if (error == NULL && !http_query(request, buf + size))
		return "too many parameters";
	for (const char *p = eol + 2; error == NULL && p < end; p = eol + 2)
	{
		eol = memchr(p, '\r', (size_t) (end - p));
		error = http_header_line(p, eol, request);
	}
	if (error == NULL && request->chunked &&
		(!request->http11 || http_request_header(request, "content-length").data != NULL))
		return "Transfer-Encoding is not possible here";
	return error;
}

bool
http_request_has_body(const HttpRequest *request)
{
	return request->chunked || request->content_length > 0;
}

bool
http_request_keep_alive(const HttpRequest *request)
{
	if (http_request_header_has(request, "connection", "close", true))
		return false;
	return request->http11 || http_request_header_has(request, "connection", "keep-alive", true);
}

bool
http_slice_is(HttpSlice slice, const char *text)
{
	return slice.data != NULL && slice.len == strlen(text) &&
		   memcmp(slice.data, text, slice.len) == 0;
}

HttpSlice
http_request_header(const HttpRequest *request, const char *name)
{
	for (size_t i = 0; i < request->nheaders; i++)
		if (text_equal_nocase(request->headers[i].name.data, request->headers[i].name.len, name))
			return request->headers[i].value;
	return (HttpSlice){0};
}

bool
http_request_header_has(const HttpRequest *request, const char *name, const char *token,
						bool nocase)
{
	for (size_t i = 0; i < request->nheaders; i++)
	{
		const HttpHeader *header = &request->headers[i];

		if (text_equal_nocase(header->name.data, header->name.len, name) &&
			http_list_has(header->value, token, nocase))
			return true;
	}
	return false;
}

const char *
http_request_header_first(const HttpRequest *request, const char *name, const char *const *tokens)
{
	for (size_t i = 0; i < request->nheaders; i++)
	{
		HttpSlice list = request->headers[i].value;
		HttpSlice item;

		if (!text_equal_nocase(request->headers[i].name.data, request->headers[i].name.len, name))
			continue;
		while (http_list_next(&list, &item))
		{
			for (const char *const *token = tokens; *token != NULL; token++)
			{
				if (http_slice_is(item, *token))
					return *token;
			}
		}
	}
	return NULL;
}

const HttpParameter *
http_request_parameter(const HttpRequest *request, const char *name, const HttpParameter *after)
{
	const HttpParameter *end = request->parameters + request->nparameters;

	for (const HttpParameter *p = after != NULL ? after + 1 : request->parameters; p < end; p++)
		if (http_slice_is(p->name, name))
			return p;
	return NULL;
}
