/*-------------------------------------------------------------------------
 *
 * http_request.h
 *	  An HTTP/1 request, read strictly (RFC 9112).
 *
 * What is ambiguous is refused: bare CR or LF, line folding, white space before a
 * colon, two ways to tell a body's length, a repeated header where one value is meant. So
 * there is nothing that we and a proxy before us could read differently.
 *
 * This module has neither socket nor memory of its own. A request points into the buffer that was
 * parsed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HTTP_REQUEST_H
#define GATEWAY_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_MAX       8192 /* bytes, the empty line included */
#define HTTP_MAX_HEADERS    100
#define HTTP_MAX_PARAMETERS 100
#define HTTP_MAX_CAPTURES   2

/* A part of a buffer. data is NULL where there is none. */
typedef struct HttpSlice
{
	const char *data;
	size_t len;
} HttpSlice;

/* Bits, so that a route can have several. */
typedef enum HttpMethod
{
	HTTP_GET = 1 << 0,
	HTTP_HEAD = 1 << 1,
	HTTP_POST = 1 << 2,
	HTTP_PUT = 1 << 3,
	HTTP_PATCH = 1 << 4,
	HTTP_DELETE = 1 << 5,
	HTTP_OPTIONS = 1 << 6,
} HttpMethod;

#define HTTP_METHODS 7

/* Their names, by the number of the bit. */
extern const char *const http_method_names[HTTP_METHODS];

typedef struct HttpHeader
{
	HttpSlice name; /* to be compared without regard to case */
	HttpSlice value;
} HttpHeader;

/* Of a query. A plus is a plus. */
typedef struct HttpParameter
{
	HttpSlice name; /* decoded */
	HttpSlice value;
	bool malformed; /* a % that two hexadecimal digits do not follow: the value is not decoded */
} HttpParameter;

typedef struct HttpRequest
{
	unsigned method; /* HttpMethod, 0: another one */
	bool http11;     /* HTTP/1.1, else 1.0 */
	bool chunked;    /* it has a Transfer-Encoding, so the length of its body is not known */
	HttpSlice path;  /* not decoded, from the slash on */
	HttpSlice captures[HTTP_MAX_CAPTURES]; /* decoded: what stands for the *s of the route's path */
	uint64_t content_length;
	HttpSlice body; /* once it is complete */
	size_t nparameters;
	size_t nheaders;
	HttpParameter parameters[HTTP_MAX_PARAMETERS];
	HttpHeader headers[HTTP_MAX_HEADERS];
} HttpRequest;

typedef enum HttpScan
{
	HTTP_SCAN_MORE,  /* the head is not complete yet */
	HTTP_SCAN_DONE,  /* *size is its length */
	HTTP_SCAN_BAD,   /* it can no longer become one */
	HTTP_SCAN_LARGE, /* it is longer than HTTP_HEAD_MAX */
} HttpScan;

/*
 * Look for the end of a head in the first len bytes of buf. *scanned is 0 at first and
 * is how far earlier calls have looked, so that one byte at a time costs no more than all at once.
 */
extern HttpScan http_request_scan(const char *buf, size_t len, size_t *scanned, size_t *size);

/*
 * Parse a complete head of size bytes. The query is decoded in place. NULL if the head is
 * well-formed, else what is wrong with it.
 */
extern const char *http_request_parse(char *buf, size_t size, HttpRequest *request)
	__attribute__((warn_unused_result));

/* Is the slice exactly this text? */
extern bool http_slice_is(HttpSlice slice, const char *text);

/* The value of the first header with this name (in lower case). */
extern HttpSlice http_request_header(const HttpRequest *request, const char *name);

/* Is the token among the comma-separated ones of all headers with this name? */
extern bool http_request_header_has(const HttpRequest *request, const char *name, const char *token,
									bool nocase);

/*
 * The first parameter with this name from the one behind after on (NULL: from the first), or NULL.
 */
extern const HttpParameter *
http_request_parameter(const HttpRequest *request, const char *name, const HttpParameter *after);

#endif /* GATEWAY_HTTP_REQUEST_H */
