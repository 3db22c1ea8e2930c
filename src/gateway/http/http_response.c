/*-------------------------------------------------------------------------
 *
 * http_response.c
 *	  An HTTP response: status, headers, and a body of text, JSON or bytes.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/http/http_response.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"

static const struct
{
	int status;
	const char *phrase;
} http_phrases[] = {
	{200, "OK"},
	{201, "Created"},
	{202, "Accepted"},
	{204, "No Content"},
	{206, "Partial Content"},
	{304, "Not Modified"},
	{307, "Temporary Redirect"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{402, "Payment Required"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{412, "Precondition Failed"},
	{413, "Content Too Large"},
	{414, "URI Too Long"},
	{415, "Unsupported Media Type"},
	{416, "Range Not Satisfiable"},
	{417, "Expectation Failed"},
	{422, "Unprocessable Content"},
	{426, "Upgrade Required"},
	{428, "Precondition Required"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
};

static const char *
http_phrase(int status)
{
	for (size_t i = 0; i < sizeof(http_phrases) / sizeof(http_phrases[0]); i++)
		if (http_phrases[i].status == status)
			return http_phrases[i].phrase;
	return "";
}

void
http_response_stream(HttpResponse *response, int status, const char *content_type)
{
	memset(response, 0, offsetof(HttpResponse, headers));
	response->status = status;
	response->content_type = content_type;
	response->cache_control = "no-store";
	response->stream = true;
}

void
http_response_bytes(HttpResponse *response, int status, const char *content_type, const char *data,
					size_t len)
{
	http_response_stream(response, status, content_type);
	response->stream = false;
	response->body = data;
	response->body_len = len;
}

void
http_response_text(HttpResponse *response, int status, const char *format, ...)
{
	char text[512];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text) - 1, format, args);
	va_end(args);
	if ((size_t) len > sizeof(text) - 2)
		len = sizeof(text) - 2;
	text[len++] = '\n';
	http_response_bytes(response, status, "text/plain; charset=utf-8", NULL, (size_t) len);
	response->body = response->owned = memory_string(text, (size_t) len);
	response->text = true;
}

void
http_response_json(HttpResponse *response, int status, json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

	json_decref(json);
	if (text == NULL)
	{
		http_response_text(response, 500, "the response is no JSON");
		return;
	}
	http_response_bytes(response, status, "application/json", text, strlen(text));
	response->owned = text;
}

void
http_response_message(HttpResponse *response)
{
	HttpResponse json;

	if (!response->text)
		return;
	http_response_json(&json, response->status,
					   json_pack("{s:s%}", "message", response->body, response->body_len - 1));
	free(response->owned);
	response->status = json.status;
	response->content_type = json.content_type;
	response->body = response->owned = json.owned;
	response->body_len = json.body_len;
	response->text = json.text;
}

bool
http_response_header(HttpResponse *response, const char *name, const char *value)
{
	size_t room = sizeof(response->headers) - response->headers_len;
	int len;

	for (const char *p = value; *p != '\0'; p++)
		if (((unsigned char) *p < ' ' && *p != '\t') || *p == 0x7f)
			return false;
	len = snprintf(response->headers + response->headers_len, room, "%s: %s\r\n", name, value);
	if ((size_t) len >= room)
		return false;
	response->headers_len += (size_t) len;
	return true;
}

static bool
http_response_has_body(const HttpResponse *response)
{
	return response->status != 204 && response->status != 304;
}

/* Write one header, if it has a value, and return its length. */
static size_t
http_response_line(char *buf, size_t size, const char *name, const char *value)
{
	if (value == NULL)
		return 0;
	return (size_t) snprintf(buf, size, "%s: %.*s\r\n", name, HTTP_RESPONSE_VALUE, value);
}

/* Write the headers that tell how long the body is and whether the connection stays. */
static size_t
http_response_framing(const HttpResponse *response, HttpFraming framing, char *buf, size_t size)
{
	size_t len = 0;

	if (!http_response_has_body(response))
		;
	else if (!response->stream)
		len = (size_t) snprintf(buf, size, "Content-Length: %zu\r\n", response->body_len);
	else if (framing.chunked)
		len = (size_t) snprintf(buf, size, "Transfer-Encoding: chunked\r\n");
	if (framing.keep_alive)
		return len + (size_t) snprintf(buf + len, size - len,
									   "Connection: keep-alive\r\nKeep-Alive: timeout=%d\r\n",
									   HTTP_IDLE_MS / 1000);
	return len + (size_t) snprintf(buf + len, size - len, "Connection: close\r\n");
}

size_t
http_response_head(const HttpResponse *response, HttpFraming framing, char *buf, size_t *body_len)
{
	const size_t size = HTTP_RESPONSE_HEAD;
	bool has_body = http_response_has_body(response);
	size_t len = (size_t) snprintf(buf, size, "HTTP/1.1 %d %s\r\n", response->status,
								   http_phrase(response->status));

	len += http_response_line(buf + len, size - len, "Content-Type",
							  has_body ? response->content_type : NULL);
	len += http_response_framing(response, framing, buf + len, size - len);
	len += http_response_line(buf + len, size - len, "Cache-Control", response->cache_control);
	len += http_response_line(buf + len, size - len, "X-Content-Type-Options", "nosniff");
	memcpy(buf + len, response->headers, response->headers_len);
	len += response->headers_len;
	memcpy(buf + len, "\r\n", 2);
	*body_len = has_body && !framing.head_only ? response->body_len : 0;
	return len + 2;
}

void
http_response_release(HttpResponse *response)
{
	free(response->owned);
	response->owned = NULL;
}
