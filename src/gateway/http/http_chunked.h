/*-------------------------------------------------------------------------
 *
 * http_chunked.h
 *	  A strict parser for bodies in chunks (RFC 9112, 7.1).
 *
 * Line ends are CR LF, a size has at most HTTP_CHUNK_DIGITS hexadecimal digits, and nothing but
 * extensions follows it. Extensions and trailers are discarded; together they have at most
 * HTTP_CHUNKED_EXTRA bytes. Trailers have the form of headers.
 *
 * This module has no socket and allocates no memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HTTP_CHUNKED_H
#define GATEWAY_HTTP_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/http/http_request.h"

#define HTTP_CHUNK_DIGITS  8
#define HTTP_CHUNKED_EXTRA 4096 /* bytes */

/* The place in a body. All zero: its start. */
typedef struct HttpChunked
{
	int state;
	unsigned digits; /* of the size */
	uint64_t left;   /* bytes of the chunk */
	size_t extra;    /* bytes of extensions and trailers */
} HttpChunked;

typedef enum HttpChunkedResult
{
	HTTP_CHUNKED_DATA, /* *data is a part of the body; call again */
	HTTP_CHUNKED_MORE, /* everything is consumed, and the body is incomplete */
	HTTP_CHUNKED_DONE, /* the body is complete; what is left follows it */
	HTTP_CHUNKED_BAD,  /* malformed, or more than HTTP_CHUNKED_EXTRA */
} HttpChunkedResult;

/*
 * Continue with the input, which begins where the last call has stopped, and advance it over what is
 * consumed.
 */
extern HttpChunkedResult http_chunked_next(HttpChunked *chunked, HttpSlice *input, HttpSlice *data);

/* Return how many bytes of a chunk are still to come; 0 while its size is not complete. */
extern uint64_t http_chunked_left(const HttpChunked *chunked);

#endif /* GATEWAY_HTTP_CHUNKED_H */
