/*-------------------------------------------------------------------------
 *
 * http_response.h
 *	  An HTTP response: status, headers, and a body of text, JSON or bytes.
 *
 * Each response tells the client that the connection will be closed after it. A response without a
 * known length, as for server-sent events, ends with the connection (RFC 9112, 6.3).
 *
 * This module has no socket and no clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HTTP_RESPONSE_H
#define GATEWAY_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#define HTTP_RESPONSE_HEADERS 512 /* maximum bytes of all added headers */

typedef struct HttpResponse
{
	int status;
	const char *content_type;
	const char *cache_control;
	bool stream; /* the body is sent in parts, and its length is unknown */
	const char *body;
	size_t body_len;
	char *owned; /* the body, if the response must free it */
	size_t headers_len;
	char headers[HTTP_RESPONSE_HEADERS]; /* added headers, each with its line end */
} HttpResponse;

/*
 * Fill in a response: a line of text; JSON, whose reference is passed on; bytes that must outlive
 * the response; the head of a stream.
 */
extern void http_response_text(HttpResponse *response, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
extern void http_response_json(HttpResponse *response, int status, json_t *json);
extern void http_response_bytes(HttpResponse *response, int status, const char *content_type,
								const char *data, size_t len);
extern void http_response_stream(HttpResponse *response, int status, const char *content_type);

/*
 * Add a header to a response that is filled in. Returns false and adds nothing if the value has a
 * control character, which could begin another header, or if there is no room.
 */
extern bool http_response_header(HttpResponse *response, const char *name, const char *value);

/*
 * Write the head, and also the body unless the request was a HEAD. Returns the length; if size is
 * smaller, nothing is written.
 */
extern size_t
http_response_write(const HttpResponse *response, bool head_only, char *buf, size_t size);

/* Free the body if the response owns it. */
extern void http_response_release(HttpResponse *response);

#endif /* GATEWAY_HTTP_RESPONSE_H */
