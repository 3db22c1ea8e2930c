/*-------------------------------------------------------------------------
 *
 * http_head.h
 *	  The head of an HTTP/1 request, read strictly (RFC 9112).
 *
 * What is ambiguous is refused: bare CR or LF, line folding, white space before a
 * colon, a request body, a repeated header where one value is meant. So there is
 * nothing that we and a proxy before us could read differently.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HTTP_HEAD_H
#define GATEWAY_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_HEAD_MAX     8192 /* bytes, the empty line included */
#define HTTP_HEAD_HEADERS 100

/* The name of the subprotocol that we speak. */
#define HTTP_HEAD_SUBPROTOCOL "pg_notifyd.v1"

/* A part of the buffer that was parsed. data is NULL where the header is absent. */
typedef struct HttpSlice
{
	const char *data;
	size_t len;
} HttpSlice;

typedef struct HttpHead
{
	HttpSlice method;
	HttpSlice path;  /* undecoded, from the slash on */
	HttpSlice query; /* undecoded, behind the question mark */
	bool http11;     /* HTTP/1.1, else 1.0 */
	HttpSlice host;
	HttpSlice origin;
	HttpSlice upgrade;
	HttpSlice key;           /* Sec-WebSocket-Key */
	HttpSlice version;       /* Sec-WebSocket-Version */
	bool connection_upgrade; /* a Connection header names "upgrade" */
	bool subprotocol;        /* HTTP_HEAD_SUBPROTOCOL is among the subprotocols offered */
} HttpHead;

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
extern HttpScan http_head_scan(const char *buf, size_t len, size_t *scanned, size_t *size);

/* Parse a complete head of size bytes. NULL if it is well-formed, else what is wrong with it. */
extern const char *
http_head_parse(const char *buf, size_t size, HttpHead *head) __attribute__((warn_unused_result));

/* Is the slice exactly this text? */
extern bool http_slice_is(HttpSlice slice, const char *text);

/*
 * The first parameter of a query with this name, undecoded: one with data NULL if there
 * is none.
 */
extern HttpSlice http_query_parameter(HttpSlice query, const char *name);

/* Sec-WebSocket-Key: base64 of 16 bytes (RFC 6455, 4.2.1). */
extern bool http_websocket_key_valid(HttpSlice key);

#endif /* GATEWAY_HTTP_HEAD_H */
