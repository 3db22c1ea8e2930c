/*-------------------------------------------------------------------------
 *
 * http_response.h
 *	  An HTTP response: status, headers, and a body of text, JSON or bytes.
 *
 * A response to HTTP/1.1 whose length is unknown is sent in chunks (RFC 9112, 7.1); one to HTTP/1.0
 * ends with the connection. A response with status 204 or 304 has no body.
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

#include "wire/wire.h"

#define HTTP_RESPONSE_VALUE   128
#define HTTP_RESPONSE_HEADERS 4096 /* maximum bytes of all added headers */
#define HTTP_RESPONSE_HEAD    (HTTP_RESPONSE_HEADERS + 2 * HTTP_RESPONSE_VALUE + 512)

typedef struct HttpResponse
{
	int status;
	const char *content_type;  /* at most HTTP_RESPONSE_VALUE bytes; NULL: none */
	const char *cache_control; /* the same; "no-store" unless the caller changes it */
	bool text;                 /* the body is a line of text */
	bool stream;               /* the body is sent in parts, and its length is unknown */
	WireRefusal refusal;       /* what a status of 400 or more is counted as */
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

/* If the body is a line of text, replace it by JSON: {"message": the text}. */
extern void http_response_message(HttpResponse *response);

/* How a response is sent on its connection. */
typedef struct HttpFraming
{
	bool head_only;  /* it answers a HEAD */
	bool keep_alive; /* the connection is used for further requests */
	bool chunked;    /* a stream is sent in chunks */
} HttpFraming;

#define HTTP_IDLE_MS 60000 /* that a connection may be kept alive without a request */

/*
 * Write the head to buf, which has HTTP_RESPONSE_HEAD bytes, and return its length. *body_len is the
 * number of bytes of response->body that follow it.
 */
extern size_t
http_response_head(const HttpResponse *response, HttpFraming framing, char *buf, size_t *body_len);

/* Free the body if the response owns it. */
extern void http_response_release(HttpResponse *response);

#endif /* GATEWAY_HTTP_RESPONSE_H */
