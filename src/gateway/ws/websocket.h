/*-------------------------------------------------------------------------
 *
 * websocket.h
 *	  Reads what a client sends, frame by frame, and refuses what RFC 6455 forbids.
 *
 * A reader has neither socket nor memory of its own: it is given bytes as they come, in
 * pieces of any size, and says what stands next in them. Whoever reads goes on until all
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

#define WEBSOCKET_HEAD_MAX 14 /* RFC 6455, 5.2: two bytes, a length of 64 bits, the mask */

/* Close codes that the reader gives (RFC 6455, 7.4.1). */
#define WEBSOCKET_CLOSE_PROTOCOL 1002
#define WEBSOCKET_CLOSE_BAD_TEXT 1007

typedef enum WebsocketKind
{
	WEBSOCKET_MORE,  /* nothing yet: more bytes are needed */
	WEBSOCKET_DATA,  /* a part of a message */
	WEBSOCKET_PING,  /* with its payload in data and len */
	WEBSOCKET_PONG,  /* likewise */
	WEBSOCKET_CLOSE, /* code is what it says, 0 if it says none */
	WEBSOCKET_ERROR, /* the client must be told code, and nothing more may be read: reason says why */
} WebsocketKind;

/*
 * What was read. data points into the bytes that were given, or into the reader, until the next
 * call.
 */
typedef struct WebsocketPiece
{
	WebsocketKind kind;
	const char *data;
	size_t len;
	uint64_t remaining; /* DATA: bytes of this frame that are still to come */
	bool final;         /* DATA: no other frame of this message follows */
	bool binary;        /* DATA: of a binary message, else a text */
	uint16_t code;
	const char *reason;
} WebsocketPiece;

/* A reader that is all zero is at the beginning of a connection. */
typedef struct WebsocketReader
{
	uint64_t remaining; /* bytes of the frame's payload that are still to come */
	uint8_t head
		[WEBSOCKET_HEAD_MAX]; /* of the current frame, as far as it has come; at its end, the mask */
	uint8_t head_len;
	uint8_t turn;    /* which byte of the mask is next, 0 to 3 */
	bool in_payload; /* the head is complete */
	bool in_message; /* a message has begun, and another of its frames has to follow */
	bool binary;     /* it is a binary one */
	bool ended;      /* after CLOSE and ERROR: whatever comes is thrown away */
	uint8_t control_len;
	uint8_t control[FRAME_CONTROL_MAX]; /* the payload of a control frame, as far as it has come */
} WebsocketReader;

/*
 * Read the next piece from len bytes (at least one), which are unmasked in place. Returns how many
 * of them are used, at least one. After CLOSE and ERROR all bytes are used and nothing is found in
 * them.
 */
extern size_t
websocket_read(WebsocketReader *reader, char *data, size_t len, WebsocketPiece *piece);

#endif /* GATEWAY_WEBSOCKET_H */
