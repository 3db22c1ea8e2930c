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

/*
 * Size of everything except the added headers and the body, with the longest phrase, type and
 * length.
 */
#define HTTP_RESPONSE_FIXED 512

static const struct
{
	int status;
	const char *phrase;
} http_phrases[] = {
	{200, "OK"},
	{202, "Accepted"},
	{204, "No Content"},
	{304, "Not Modified"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{408, "Request Timeout"},
	{411, "Length Required"},
	{413, "Content Too Large"},
	{415, "Unsupported Media Type"},
	{426, "Upgrade Required"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
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

/*
 * Write the head and return its length. buf has HTTP_RESPONSE_FIXED + HTTP_RESPONSE_HEADERS bytes.
 */
static size_t
http_response_head(const HttpResponse *response, char *buf, size_t size)
{
	char length[64] = "";

	if (!response->stream && response->status != 204 && response->status != 304)
		snprintf(length, sizeof(length), "Content-Length: %zu\r\n", response->body_len);
	return (size_t) snprintf(buf, size,
							 "HTTP/1.1 %d %s\r\n"
							 "Content-Type: %s\r\n"
							 "%s"
							 "Cache-Control: %s\r\n"
							 "X-Content-Type-Options: nosniff\r\n"
							 "%.*s"
							 "Connection: close\r\n"
							 "\r\n",
							 response->status, http_phrase(response->status),
							 response->content_type, length, response->cache_control,
							 (int) response->headers_len, response->headers);
}

size_t
http_response_write(const HttpResponse *response, bool head_only, char *buf, size_t size)
{
	char head[HTTP_RESPONSE_FIXED + HTTP_RESPONSE_HEADERS];
	size_t head_len = http_response_head(response, head, sizeof(head));
	size_t body_len = head_only ? 0 : response->body_len;

	if (size < head_len + body_len)
		return head_len + body_len;
	memcpy(buf, head, head_len);
	if (body_len > 0)
		memcpy(buf + head_len, response->body, body_len);
	return head_len + body_len;
}

void
http_response_release(HttpResponse *response)
{
	free(response->owned);
	response->owned = NULL;
}
