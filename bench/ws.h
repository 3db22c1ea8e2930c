/*-------------------------------------------------------------------------
 *
 * ws.h
 *	  The client's side of WebSocket (RFC 6455), as far as load needs it.
 *
 * Made to cost next to nothing, so that what is measured is the server: one buffer that all
 * connections read into, frames looked at where they lie, and a copy only of one that is not
 * complete yet. What a server says in its handshake beyond 101 is not checked, and a message is one
 * frame: of a longer one only the first counts.
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
	WS_HANDSHAKE, /* our request is sent */
	WS_OPEN,
	WS_CLOSED,
} WsState;

typedef struct Ws
{
	int fd;
	WsState state;
	uint32_t number; /* the caller's */
	bool answered;   /* the caller's */
	uint32_t kept_len;
	uint8_t *kept; /* the beginning of a frame of which more is to come */
	uint64_t messages;
	uint64_t pings; /* that were answered */
	uint64_t reads; /* that have brought something */
} Ws;

/* Given each text message; text is good until it returns. */
typedef void (*WsMessage)(Ws *ws, const char *text, size_t len, void *arg);

/*
 * Begin to connect to a port of 127.0.0.1; then wait until the socket is writable. False: errno
 * says why.
 */
extern bool ws_connect(Ws *ws, int port) __attribute__((warn_unused_result));

/* The connecting socket has become writable: send the request. */
extern bool ws_request(Ws *ws, int port, const char *path) __attribute__((warn_unused_result));

/* The socket is readable: read what is there, but not for ever. False: the connection is over. */
extern bool ws_read(Ws *ws, WsMessage message, void *arg) __attribute__((warn_unused_result));

/* Send a short text message. */
extern bool ws_send(Ws *ws, const char *text) __attribute__((warn_unused_result));

extern void ws_close(Ws *ws);

#endif /* BENCH_WS_H */
