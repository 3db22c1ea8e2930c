/*-------------------------------------------------------------------------
 *
 * http_response.h
 *	  An HTTP response: status, headers, and a body of text, JSON or bytes.
 *
 * Each response tells the client that the connection is closed behind it. One without a body of
 * known length, as server-sent events are, ends where the connection does (RFC 9112, 6.3).
 *
 * This module has neither socket nor clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HTTP_RESPONSE_H
#define GATEWAY_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#define HTTP_RESPONSE_HEADERS 512 /* bytes of all headers that are added */

typedef struct HttpResponse
{
	int status;
	const char *content_type;
	const char *cache_control;
	bool stream; /* the body follows in parts, and its length is not known */
	const char *body;
	size_t body_len;
	char *owned; /* the body, where the response has to free it */
	size_t headers_len;
	char headers[HTTP_RESPONSE_HEADERS]; /* those that were added, each with its line end */
} HttpResponse;

/*
 * Fill in a response: a line of text; JSON, whose reference is given away; bytes that outlive it;
 * the head of a stream.
 */
extern void http_response_text(HttpResponse *response, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
extern void http_response_json(HttpResponse *response, int status, json_t *json);
extern void http_response_bytes(HttpResponse *response, int status, const char *content_type,
								const char *data, size_t len);
extern void http_response_stream(HttpResponse *response, int status, const char *content_type);

/*
 * Add a header to a response that is filled in. False, and nothing is added, if the value has a
 * control character, such as those that would begin another header, or if there is no room for it.
 */
extern bool http_response_header(HttpResponse *response, const char *name, const char *value);

/*
 * Write the head, and the body unless the request was a HEAD. Returns how long that is; with a
 * smaller size nothing is written.
 */
extern size_t
http_response_write(const HttpResponse *response, bool head_only, char *buf, size_t size);

/* Free what it owns. */
extern void http_response_release(HttpResponse *response);

#endif /* GATEWAY_HTTP_RESPONSE_H */
