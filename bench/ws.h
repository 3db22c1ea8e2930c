/*-------------------------------------------------------------------------
 *
 * ws.h
 *	  The client's side of WebSocket (RFC 6455), as far as the benchmarks need it.
 *
 * It is made to cost very little, so that the server is measured: all connections read into one
 * buffer, frames are processed in place, and only incomplete ones are copied. Of the server's
 * handshake only the status 101 is checked. A message must be one frame; of a longer one only the
 * first frame counts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BENCH_WS_H
#define BENCH_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WS_MAX_MESSAGE (1024u * 1024)

typedef enum WsState
{
	WS_CONNECTING,
	WS_HANDSHAKE, /* the request is sent */
	WS_OPEN,
	WS_CLOSED,
} WsState;

typedef struct Ws
{
	int fd;
	WsState state;
	uint32_t number;   /* for the caller */
	bool greeted;      /* for the caller */
	bool answered;     /* for the caller */
	uint32_t answers;  /* for the caller */
	uint64_t asked_at; /* for the caller */
	uint32_t kept_len;
	uint8_t *kept; /* the start of an incomplete frame */
	uint64_t messages;
	uint64_t pings; /* number answered */
	uint64_t reads; /* number of reads with data */
} Ws;

/* Called with each text message; text is valid until it returns. */
typedef void (*WsMessage)(Ws *ws, const char *text, size_t len, void *arg);

/*
 * Start to connect to a port of 127.0.0.1; then wait until the socket is writable. On failure
 * returns false with errno set.
 */
extern bool ws_connect(Ws *ws, int port) __attribute__((warn_unused_result));

/* The socket has become writable: send the request, which offers this subprotocol unless it is NULL. */
extern bool ws_request(Ws *ws, int port, const char *path, const char *subprotocol)
	__attribute__((warn_unused_result));

/* The socket is readable: read a limited amount. Returns false if the connection has ended. */
extern bool ws_read(Ws *ws, WsMessage message, void *arg) __attribute__((warn_unused_result));

/* Send a short text message. */
extern bool ws_send(Ws *ws, const char *text) __attribute__((warn_unused_result));

extern void ws_close(Ws *ws);

#endif /* BENCH_WS_H */
