/*-------------------------------------------------------------------------
 *
 * websocket.c
 *	  Reads a client's frames, and rejects what RFC 6455 forbids.
 *
 * Each part of a frame is checked as early as possible: its first byte when it arrives, its length
 * before any of the payload.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/ws/websocket.h"

#include <string.h>

#include "gateway/base/text.h"

/* RFC 6455, 5.2 */
#define WEBSOCKET_FIN      0x80
#define WEBSOCKET_RESERVED 0x70
#define WEBSOCKET_DEFLATED 0x40
#define WEBSOCKET_OPCODE   0x0f
#define WEBSOCKET_MASKED   0x80
#define WEBSOCKET_LENGTH   0x7f

#define WEBSOCKET_LENGTH_16 126
#define WEBSOCKET_LENGTH_64 127
#define WEBSOCKET_MASK_SIZE 4

enum
{
	WEBSOCKET_OPCODE_CONTINUATION = 0x0,
	WEBSOCKET_OPCODE_TEXT = 0x1,
	WEBSOCKET_OPCODE_BINARY = 0x2,
	WEBSOCKET_OPCODE_CLOSE = FRAME_OPCODE_CLOSE,
	WEBSOCKET_OPCODE_PING = FRAME_OPCODE_PING,
	WEBSOCKET_OPCODE_PONG = FRAME_OPCODE_PONG,
};

static void
websocket_fail(WebsocketReader *reader, WebsocketPiece *piece, uint16_t code, const char *reason)
{
	reader->ended = true;
	piece->kind = WEBSOCKET_ERROR;
	piece->code = code;
	piece->reason = reason;
}

static bool
websocket_is_control(const WebsocketReader *reader)
{
	return (reader->head[0] & 0x08) != 0;
}

/* Return what is wrong with the first byte of a frame (RFC 6455, 5.2, 5.4, 5.5), or NULL. */
static const char *
websocket_check_first(const WebsocketReader *reader)
{
	bool final = (reader->head[0] & WEBSOCKET_FIN) != 0;
	uint8_t opcode = reader->head[0] & WEBSOCKET_OPCODE;
	uint8_t allowed = 0;

	/* Only the first frame of a message says that it is compressed (RFC 7692, 6.1). */
	if (reader->deflates && (opcode == WEBSOCKET_OPCODE_TEXT || opcode == WEBSOCKET_OPCODE_BINARY))
		allowed = WEBSOCKET_DEFLATED;
	if ((reader->head[0] & WEBSOCKET_RESERVED & ~allowed) != 0)
		return "a reserved bit is set";
	switch (opcode)
	{
		case WEBSOCKET_OPCODE_CONTINUATION:
			return reader->in_message ? NULL : "a continuation without a message";
		case WEBSOCKET_OPCODE_TEXT:
		case WEBSOCKET_OPCODE_BINARY:
			return reader->in_message ? "a message within a message" : NULL;
		case WEBSOCKET_OPCODE_CLOSE:
		case WEBSOCKET_OPCODE_PING:
		case WEBSOCKET_OPCODE_PONG:
			return final ? NULL : "a control frame in fragments";
		default:
			return "a reserved opcode";
	}
}

/* Return what is wrong with the second byte of a frame (RFC 6455, 5.1, 5.5), or NULL. */
static const char *
websocket_check_second(const WebsocketReader *reader)
{
	if ((reader->head[1] & WEBSOCKET_MASKED) == 0)
		return "a frame without a mask";
	if (websocket_is_control(reader) && (reader->head[1] & WEBSOCKET_LENGTH) > FRAME_CONTROL_MAX)
		return "a control frame of more than 125 bytes";
	return NULL;
}

/* Return how many bytes the length takes after the second byte. */
static size_t
websocket_length_size(const WebsocketReader *reader)
{
	switch (reader->head[1] & WEBSOCKET_LENGTH)
	{
		case WEBSOCKET_LENGTH_16:
			return 2;
		case WEBSOCKET_LENGTH_64:
			return 8;
		default:
			return 0;
	}
}

/* Read the length from a complete head. Returns what is wrong with it (RFC 6455, 5.2), or NULL. */
static const char *
websocket_take_length(WebsocketReader *reader)
{
	size_t size = websocket_length_size(reader);
	uint64_t length = 0;

	for (size_t i = 0; i < size; i++)
		length = length << 8 | reader->head[2 + i];
	if (size == 0)
		length = reader->head[1] & WEBSOCKET_LENGTH;
	else if (length >> 63 != 0)
		return "a length of more than 63 bits";
	else if (length < WEBSOCKET_LENGTH_16 || (size == 8 && length <= UINT16_MAX))
		return "a length in more bytes than it needs";
	reader->remaining = length;
	return NULL;
}

/* Start to read the payload. */
static void
websocket_begin_payload(WebsocketReader *reader)
{
	bool final = (reader->head[0] & WEBSOCKET_FIN) != 0;
	uint8_t opcode = reader->head[0] & WEBSOCKET_OPCODE;

	memmove(reader->head + WEBSOCKET_HEAD_MAX - WEBSOCKET_MASK_SIZE,
			reader->head + reader->head_len - WEBSOCKET_MASK_SIZE, WEBSOCKET_MASK_SIZE);
	reader->turn = 0;
	reader->in_payload = true;
	reader->control_len = 0;
	if (websocket_is_control(reader))
		return;
	if (opcode != WEBSOCKET_OPCODE_CONTINUATION)
	{
		reader->binary = opcode == WEBSOCKET_OPCODE_BINARY;
		reader->compressed = (reader->head[0] & WEBSOCKET_DEFLATED) != 0;
	}
	reader->in_message = !final;
}

/*
 * Read bytes of a frame's head until it is complete or invalid, and check each as soon as it
 * arrives.
 */
static size_t
websocket_read_head(WebsocketReader *reader, const char *data, size_t len, WebsocketPiece *piece)
{
	const char *problem = NULL;
	size_t used = 0;

	while (used < len && !reader->in_payload && problem == NULL)
	{
		reader->head[reader->head_len++] = (uint8_t) data[used++];
		if (reader->head_len == 1)
			problem = websocket_check_first(reader);
		else if (reader->head_len == 2)
			problem = websocket_check_second(reader);
		else if (reader->head_len == 2 + websocket_length_size(reader) + WEBSOCKET_MASK_SIZE)
		{
			problem = websocket_take_length(reader);
			if (problem == NULL)
				websocket_begin_payload(reader);
		}
	}
	if (problem != NULL)
		websocket_fail(reader, piece, WEBSOCKET_CLOSE_PROTOCOL, problem);
	return used;
}

/*
 * Return true for a code that is allowed in a close frame (RFC 6455, 7.4, and the IANA registry for
 * 1012 to 1014).
 */
static bool
websocket_close_code_valid(uint16_t code)
{
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
		   (code >= 3000 && code <= 4999);
}

/* RFC 6455, 5.5.1 */
static void
websocket_end_close(WebsocketReader *reader, WebsocketPiece *piece)
{
	const char *payload = (const char *) reader->control;
	size_t len = reader->control_len;
	uint16_t code = len < 2 ? 0 : (uint16_t) (reader->control[0] << 8 | reader->control[1]);

	if (len == 1)
		websocket_fail(reader, piece, WEBSOCKET_CLOSE_PROTOCOL, "a close with half a code");
	else if (len > 0 && !websocket_close_code_valid(code))
		websocket_fail(reader, piece, WEBSOCKET_CLOSE_PROTOCOL,
					   "a close with a code that no client may send");
	else if (len > 2 && !text_utf8_valid(payload + 2, len - 2))
		websocket_fail(reader, piece, WEBSOCKET_CLOSE_BAD_TEXT, "a reason that is not UTF-8");
	else
	{
		reader->ended = true;
		piece->kind = WEBSOCKET_CLOSE;
		piece->code = code;
	}
}

/* Process a complete control frame. */
static void
websocket_end_control(WebsocketReader *reader, WebsocketPiece *piece)
{
	uint8_t opcode = reader->head[0] & WEBSOCKET_OPCODE;

	piece->data = (const char *) reader->control;
	piece->len = reader->control_len;
	if (opcode == WEBSOCKET_OPCODE_CLOSE)
		websocket_end_close(reader, piece);
	else
		piece->kind = opcode == WEBSOCKET_OPCODE_PING ? WEBSOCKET_PING : WEBSOCKET_PONG;
}

static void
websocket_unmask(WebsocketReader *reader, char *data, size_t len)
{
	const uint8_t *mask = reader->head + WEBSOCKET_HEAD_MAX - WEBSOCKET_MASK_SIZE;
	uint8_t turned[WEBSOCKET_MASK_SIZE];

	for (size_t i = 0; i < WEBSOCKET_MASK_SIZE; i++)
		turned[i] = mask[(reader->turn + i) % WEBSOCKET_MASK_SIZE];
	for (size_t i = 0; i < len; i++)
		data[i] = (char) (data[i] ^ turned[i % WEBSOCKET_MASK_SIZE]);
	reader->turn = (uint8_t) ((reader->turn + len) % WEBSOCKET_MASK_SIZE);
}

/* Read bytes of a frame's payload. There may be none. */
static size_t
websocket_read_payload(WebsocketReader *reader, char *data, size_t len, WebsocketPiece *piece)
{
	size_t used = len < reader->remaining ? len : (size_t) reader->remaining;

	websocket_unmask(reader, data, used);
	reader->remaining -= used;
	if (reader->remaining == 0)
	{
		reader->in_payload = false;
		reader->head_len = 0;
	}
	if (!websocket_is_control(reader))
	{
		piece->kind = WEBSOCKET_DATA;
		piece->data = data;
		piece->len = used;
		piece->remaining = reader->remaining;
		piece->final = !reader->in_message;
		piece->binary = reader->binary;
		piece->compressed = reader->compressed;
		return used;
	}
	memcpy(reader->control + reader->control_len, data, used);
	reader->control_len = (uint8_t) (reader->control_len + used);
	if (reader->remaining == 0)
		websocket_end_control(reader, piece);
	return used;
}

size_t
websocket_read(WebsocketReader *reader, char *data, size_t len, WebsocketPiece *piece)
{
	size_t used = 0;

	*piece = (WebsocketPiece){.kind = WEBSOCKET_MORE};
	if (reader->ended)
		return len;
	if (!reader->in_payload)
		used = websocket_read_head(reader, data, len, piece);
	/* An empty payload is read at once; any other needs at least one byte. */
	if (reader->in_payload && (used < len || reader->remaining == 0))
		used += websocket_read_payload(reader, data + used, len - used, piece);
	return used;
}
