/*-------------------------------------------------------------------------
 *
 * http_request.h
 *	  A strict parser for HTTP/1 requests (RFC 9112).
 *
 * It rejects everything ambiguous: a single CR or LF, line folding, white space before a colon, two
 * ways to tell the length of a body, and a repeated header that must have one value. So a proxy in
 * front of the gateway cannot read a request differently.
 *
 * This module has no socket and allocates no memory. A request points into the parsed buffer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HTTP_REQUEST_H
#define GATEWAY_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_MAX       8192 /* bytes, including the empty line */
#define HTTP_MAX_HEADERS    100
#define HTTP_MAX_PARAMETERS 512 /* 100 channels of /events have some each */
#define HTTP_MAX_CAPTURES   2
#define HTTP_MAX_CAPTURED   512 /* bytes of all captures before they are decoded */

/* A part of a buffer. data is NULL if there is none. */
typedef struct HttpSlice
{
	const char *data;
	size_t len;
} HttpSlice;

/* Bits, because a route can have several. */
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

/* Their names, indexed by the number of the bit. */
extern const char *const http_method_names[HTTP_METHODS];

typedef struct HttpHeader
{
	HttpSlice name; /* case-insensitive */
	HttpSlice value;
} HttpHeader;

/* A parameter of the query. A plus sign is not decoded to a space. */
typedef struct HttpParameter
{
	HttpSlice name; /* decoded */
	HttpSlice value;
	bool malformed; /* has a % without two hexadecimal digits; the value is not decoded */
} HttpParameter;

typedef struct HttpRequest
{
	unsigned method; /* HttpMethod; 0: another method */
	bool http11;     /* HTTP/1.1; otherwise 1.0 */
	bool chunked;    /* has a Transfer-Encoding, so the length of the body is unknown */
	HttpSlice path;  /* the whole path, not decoded, with the leading slash */
	HttpSlice query; /* not decoded, without the question mark; data is NULL if there is none */
	HttpSlice captures[HTTP_MAX_CAPTURES]; /* the segments that match the *s of the route's path */
	uint64_t content_length;
	HttpSlice body; /* set when it is complete */
	size_t nparameters;
	size_t nheaders;
	HttpParameter parameters[HTTP_MAX_PARAMETERS];
	HttpHeader headers[HTTP_MAX_HEADERS];
	char captured[HTTP_MAX_CAPTURED]; /* the captures, decoded */
} HttpRequest;

typedef enum HttpScan
{
	HTTP_SCAN_MORE,  /* the head is incomplete */
	HTTP_SCAN_DONE,  /* *size is its length */
	HTTP_SCAN_BAD,   /* it cannot become a valid head */
	HTTP_SCAN_LARGE, /* it is longer than HTTP_HEAD_MAX */
} HttpScan;

/*
 * Look for the end of a head in the first len bytes of buf. *scanned is 0 at first, and then how
 * many bytes earlier calls have examined, so that reading byte by byte costs no more.
 */
extern HttpScan http_request_scan(const char *buf, size_t len, size_t *scanned, size_t *size);

/*
 * Parse a complete head of size bytes. After it buf has room for as many bytes again, where the
 * query is decoded. Returns NULL, or what is wrong with the head.
 */
extern const char *http_request_parse(char *buf, size_t size, HttpRequest *request)
	__attribute__((warn_unused_result));

/* Return true if a body follows the head. */
extern bool http_request_has_body(const HttpRequest *request);

/*
 * Return true if the client wants to use the connection for further requests (RFC 9112, 9.3): by
 * default with HTTP/1.1, and with "Connection: keep-alive" with HTTP/1.0.
 */
extern bool http_request_keep_alive(const HttpRequest *request);

/* Return true for a character of a token (RFC 9110, 5.6.2). */
extern bool http_token_char(char c);

/* Return true if the slice equals the text. */
extern bool http_slice_is(HttpSlice slice, const char *text);

/* Return the value of the first header with this name, which is in lower case. */
extern HttpSlice http_request_header(const HttpRequest *request, const char *name);

/* Return true if the comma-separated values of all headers with this name contain the token. */
extern bool http_request_header_has(const HttpRequest *request, const char *name, const char *token,
									bool nocase);

/*
 * Return the first item of the comma-separated values of all headers with this name that is one of the
 * tokens, which end with NULL. Returns the token, or NULL if there is none.
 */
extern const char *
http_request_header_first(const HttpRequest *request, const char *name, const char *const *tokens);

/*
 * Take the next part, which has one parameter, from a query string that is not decoded. Returns false
 * at the end.
 */
extern bool http_query_next(HttpSlice *query, HttpSlice *part);

/* Split a part at its first equals sign. Without one, the value is empty. */
extern void http_query_split(HttpSlice part, HttpSlice *name, HttpSlice *value);

/*
 * Decode a name or value as forms write it, with plus signs for spaces, to room, which has text.len
 * bytes. Returns false if it is malformed, not UTF-8, or contains a NUL.
 */
extern bool http_query_decode(HttpSlice text, char *room, HttpSlice *decoded)
	__attribute__((warn_unused_result));

/* Return the first parameter with this name after the given one (NULL: from the start), or NULL. */
extern const HttpParameter *
http_request_parameter(const HttpRequest *request, const char *name, const HttpParameter *after);

#endif /* GATEWAY_HTTP_REQUEST_H */
