/*-------------------------------------------------------------------------
 *
 * websocket.h
 *	  Reads a client's frames, and rejects what RFC 6455 forbids.
 *
 * A reader has no socket and allocates no memory. The caller passes bytes as they arrive, in pieces
 * of any size, and the reader returns what it finds next in them. The caller repeats this until all
 * bytes are used:
 *
 *	  while (len > 0)
 *	  {
 *		  size_t used = websocket_read(&reader, data, len, &piece);
 *		  ... what piece.kind says ...
 *		  data += used;
 *		  len -= used;
 *	  }
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WEBSOCKET_H
#define GATEWAY_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/ws/frame.h"

#define WEBSOCKET_HEAD_MAX 14 /* RFC 6455, 5.2: two bytes, a 64-bit length, and the mask */

/* Close codes of protocol errors (RFC 6455, 7.4.1). */
#define WEBSOCKET_CLOSE_PROTOCOL 1002
#define WEBSOCKET_CLOSE_BAD_TEXT 1007

typedef enum WebsocketKind
{
	WEBSOCKET_MORE,  /* more bytes are needed */
	WEBSOCKET_DATA,  /* part of a message */
	WEBSOCKET_PING,  /* with its payload in data and len */
	WEBSOCKET_PONG,  /* with its payload in data and len */
	WEBSOCKET_CLOSE, /* code is the client's, or 0 if it sent none */
	WEBSOCKET_ERROR, /* close the connection with code and reason, and read nothing more */
} WebsocketKind;

/*
 * The result of a call. data points into the caller's bytes or into the reader, and is valid until
 * the next call.
 */
typedef struct WebsocketPiece
{
	WebsocketKind kind;
	const char *data;
	size_t len;
	uint64_t remaining; /* DATA: bytes of this frame that are still to come */
	bool final;         /* DATA: last frame of the message */
	bool binary;        /* DATA: of a binary message; otherwise text */
	bool compressed;    /* DATA: of a compressed message */
	uint16_t code;
	const char *reason;
} WebsocketPiece;

/* A reader that is all zero is at the start of a connection. */
typedef struct WebsocketReader
{
	uint64_t remaining; /* bytes of the frame's payload that are still to come */
	uint8_t head
		[WEBSOCKET_HEAD_MAX]; /* the bytes of the present frame's head so far; at its end, the mask */
	uint8_t head_len;
	uint8_t turn;    /* index of the next byte of the mask, 0 to 3 */
	bool in_payload; /* the head is complete */
	bool in_message; /* a message has started, and more of its frames must follow */
	bool binary;     /* the message is binary */
	bool compressed; /* the message is compressed */
	bool deflates;   /* set by the caller: permessage-deflate was negotiated */
	bool ended;      /* after CLOSE and ERROR: discard everything */
	uint8_t control_len;
	uint8_t control[FRAME_CONTROL_MAX]; /* the payload of a control frame so far */
} WebsocketReader;

/*
 * Read the next piece from len bytes (at least one), and unmask them in place. Returns how many of
 * them were used, at least one. After CLOSE and ERROR all bytes are used and the result is always
 * WEBSOCKET_MORE.
 */
extern size_t
websocket_read(WebsocketReader *reader, char *data, size_t len, WebsocketPiece *piece);

#endif /* GATEWAY_WEBSOCKET_H */
