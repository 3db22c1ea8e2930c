/*
 * Fuzz target for frames from a WebSocket client.
 *
 * A second decoder, which has all of the input at once, checks the reader of websocket.c; and a
 * connection that gets the input in pieces, and pauses, must deliver and answer the same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "gateway/base/text.h"
#include "gateway/ws/frame.h"
#include "gateway/ws/websocket.h"
#include "gateway/ws/websocket_connection.h"
#include "sink.h"

#define FUZZ_MAX_INPUT 131072
#define FUZZ_MAX_LOG   (8 * FUZZ_MAX_INPUT)

/* What was read, as text that two ways of reading can be compared by. */
typedef struct FuzzLog
{
	char text[FUZZ_MAX_LOG];
	size_t len;
} FuzzLog;

static void
fuzz_log(FuzzLog *log, const void *data, size_t len)
{
	assert(log->len + len <= sizeof(log->text));
	if (len > 0)
		memcpy(log->text + log->len, data, len);
	log->len += len;
}

static void
fuzz_log_mark(FuzzLog *log, char kind, uint32_t detail)
{
	fuzz_log(log, &kind, 1);
	fuzz_log(log, &detail, sizeof(detail));
}

static void
fuzz_log_frame(FuzzLog *log, bool binary, bool compressed, bool final)
{
	fuzz_log_mark(log, binary ? 'B' : 'T', (uint32_t) compressed * 2 + final);
}

static bool
fuzz_log_same(const FuzzLog *a, const FuzzLog *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* ---------------- the second decoder (RFC 6455, 5.2) ---------------- */

typedef struct FuzzDecoder
{
	const uint8_t *data;
	size_t size;
	bool in_message;
	bool binary;
	bool compressed;
	bool deflates;
	FuzzLog *log;
} FuzzDecoder;

/* Log the end by an error. Always returns false, for use in a return statement. */
static bool
fuzz_decode_error(FuzzDecoder *decoder, uint16_t code)
{
	fuzz_log_mark(decoder->log, 'E', code);
	return false;
}

static bool
fuzz_decode_close(FuzzDecoder *decoder, const uint8_t *payload, size_t len)
{
	uint32_t code = len < 2 ? 0 : (uint32_t) payload[0] * 256 + payload[1];

	if (len == 1 || (len > 1 && (code < 1000 || (code > 1003 && code < 1007) ||
								 (code > 1014 && code < 3000) || code > 4999)))
		return fuzz_decode_error(decoder, 1002);
	if (len > 2 && !text_utf8_valid((const char *) payload + 2, len - 2))
		return fuzz_decode_error(decoder, 1007);
	fuzz_log_mark(decoder->log, 'C', code);
	return false;
}

static bool
fuzz_decode_payload(FuzzDecoder *decoder, uint8_t first, const uint8_t *payload, size_t len,
					bool complete)
{
	switch (first & 0x0f)
	{
		case 8:
			return !complete || fuzz_decode_close(decoder, payload, len);
		case 9:
		case 10:
			if (complete)
			{
				fuzz_log_mark(decoder->log, first == 0x89 ? 'P' : 'p', (uint32_t) len);
				if (first == 0x89)
					fuzz_log(decoder->log, payload, len);
			}
			return true;
		default:
			if ((first & 0x0f) != 0)
			{
				decoder->binary = (first & 0x0f) == 2;
				decoder->compressed = (first & 0x40) != 0;
			}
			decoder->in_message = (first & 0x80) == 0;
			fuzz_log(decoder->log, payload, len);
			if (complete)
				fuzz_log_frame(decoder->log, decoder->binary, decoder->compressed,
							   !decoder->in_message);
			return true;
	}
}

/* Decode a frame. Returns false at the end of what can be read. */
static bool
fuzz_decode_frame(FuzzDecoder *decoder)
{
	const uint8_t *data = decoder->data;
	uint8_t opcode = data[0] & 0x0f;
	bool control = opcode >= 8;
	uint64_t length = 0;
	size_t head = 2;
	size_t len;
	uint8_t *payload;
	bool more;

	if ((data[0] & 0x30) != 0 ||
		((data[0] & 0x40) != 0 && !(decoder->deflates && (opcode == 1 || opcode == 2))) ||
		opcode > 10 || (opcode > 2 && opcode < 8) ||
		(control ? data[0] < 0x80 : (opcode == 0) != decoder->in_message))
		return fuzz_decode_error(decoder, 1002);
	if (decoder->size < 2)
		return false;
	if (data[1] < 0x80 || (control && data[1] > 0x80 + 125))
		return fuzz_decode_error(decoder, 1002);
	if (data[1] == 0x80 + 126)
		head = 4;
	else if (data[1] == 0x80 + 127)
		head = 10;
	if (decoder->size < head + 4)
		return false;
	for (size_t i = 2; i < head; i++)
		length = length * 256 + data[i];
	if (head == 2)
		length = data[1] - 0x80;
	else if (length < 126 || length > INT64_MAX || (head == 10 && length < 65536))
		return fuzz_decode_error(decoder, 1002);
	len = decoder->size - head - 4;
	if (len > length)
		len = (size_t) length;
	/* A frame with a payload is noticed when the first byte of it has arrived. */
	if (len == 0 && length > 0)
		return false;
	payload = malloc(len + 1);
	assert(payload != NULL);
	for (size_t i = 0; i < len; i++)
		payload[i] = data[head + 4 + i] ^ data[head + i % 4];
	more = fuzz_decode_payload(decoder, data[0], payload, len, len == length);
	free(payload);
	decoder->data += head + 4 + len;
	decoder->size -= head + 4 + len;
	return more;
}

static void
fuzz_decode(const uint8_t *data, size_t size, bool deflates, FuzzLog *log)
{
	FuzzDecoder decoder = {.data = data, .size = size, .deflates = deflates, .log = log};

	log->len = 0;
	while (decoder.size > 0 && fuzz_decode_frame(&decoder))
		;
}

/* ---------------- a connection ---------------- */

static Sink fuzz_sink;
static WebsocketConnection *fuzz_connection;
static FuzzLog fuzz_delivered;
static unsigned int fuzz_pauses; /* pause before each message whose bit is set */
static unsigned int fuzz_count;

static void
fuzz_received(void *session, const char *data, size_t len, size_t remaining, bool final,
			  bool binary, bool compressed)
{
	(void) session;
	fuzz_log(&fuzz_delivered, data, len);
	if (remaining == 0)
		fuzz_log_frame(&fuzz_delivered, binary, compressed, final);
	if ((fuzz_pauses >> fuzz_count++ % 8 & 1) != 0)
		websocket_pause(fuzz_connection, true);
}

static void
fuzz_alive(void *session)
{
	(void) session;
}

static void
fuzz_closed(void *session)
{
	(void) session;
	fuzz_connection = NULL;
}

static bool
fuzz_answer_close(void *session)
{
	(void) session;
	return true;
}

static const WebsocketEvents fuzz_events = {
	.received = fuzz_received,
	.alive = fuzz_alive,
	.writable = fuzz_alive,
	.closed = fuzz_closed,
	.answer_close = fuzz_answer_close,
};

/* End all pauses, as the session does later. */
static void
fuzz_settle(void)
{
	while (fuzz_sink.woken || fuzz_sink.paused)
	{
		fuzz_sink.woken = false;
		if (fuzz_sink.paused)
			websocket_pause(fuzz_connection, false);
		fuzz_sink.base.events->writable(fuzz_sink.base.owner);
	}
}

/*
 * Deliver input to a connection, in pieces. Messages are in fuzz_delivered, the answers in
 * fuzz_sink.
 */
static void
fuzz_connect(const uint8_t *data, size_t size, bool deflates, size_t piece, unsigned int pauses)
{
	sink_init(&fuzz_sink);
	fuzz_delivered.len = 0;
	fuzz_pauses = pauses;
	fuzz_count = 0;
	fuzz_connection = websocket_new(&fuzz_sink.base, &fuzz_events, deflates);
	websocket_start(fuzz_connection, &fuzz_sink, "", 0, NULL, 0);
	while (size > 0 && !fuzz_sink.dropped)
	{
		size_t len = piece < size ? piece : size;

		sink_receive(&fuzz_sink, data, len);
		data += len;
		size -= len;
		fuzz_settle();
	}
	fuzz_sink.base.events->closed(fuzz_sink.base.owner);
	assert(fuzz_connection == NULL && frame_memory() == 0);
}

/* ---------------- the target ---------------- */

/* Read input with the reader alone. */
static void
fuzz_read(const uint8_t *data, size_t size, bool deflates, FuzzLog *log)
{
	WebsocketReader reader = {.deflates = deflates};
	char *copy = malloc(size);
	char *at = copy;

	assert(copy != NULL);
	memcpy(copy, data, size);
	log->len = 0;
	while (size > 0)
	{
		WebsocketPiece piece;
		size_t used = websocket_read(&reader, at, size, &piece);

		assert(used > 0 && used <= size);
		if (piece.kind == WEBSOCKET_DATA)
		{
			fuzz_log(log, piece.data, piece.len);
			if (piece.remaining == 0)
				fuzz_log_frame(log, piece.binary, piece.compressed, piece.final);
		}
		else if (piece.kind == WEBSOCKET_PING)
		{
			fuzz_log_mark(log, 'P', (uint32_t) piece.len);
			fuzz_log(log, piece.data, piece.len);
		}
		else if (piece.kind == WEBSOCKET_PONG)
			fuzz_log_mark(log, 'p', (uint32_t) piece.len);
		else if (piece.kind == WEBSOCKET_CLOSE || piece.kind == WEBSOCKET_ERROR)
			fuzz_log_mark(log, piece.kind == WEBSOCKET_CLOSE ? 'C' : 'E', piece.code);
		at += used;
		size -= used;
	}
	free(copy);
}

int
fuzz_frames(const uint8_t *data, size_t size)
{
	static FuzzLog expected;
	static FuzzLog whole;
	static char sent[SINK_MAX];
	size_t sent_len;
	bool deflates;
	size_t piece;

	if (size < 3 || size > FUZZ_MAX_INPUT)
		return 0;
	deflates = data[0] >= 0x80;
	piece = 1 + (size_t) (data[0] & 0x7f);
	fuzz_decode(data + 2, size - 2, deflates, &expected);
	fuzz_read(data + 2, size - 2, deflates, &whole);
	assert(fuzz_log_same(&expected, &whole));

	fuzz_connect(data + 2, size - 2, deflates, size, 0);
	whole.len = 0;
	fuzz_log(&whole, fuzz_delivered.text, fuzz_delivered.len);
	sent_len = fuzz_sink.sent_len;
	memcpy(sent, fuzz_sink.sent, sent_len);
	fuzz_connect(data + 2, size - 2, deflates, piece, 0);
	assert(fuzz_log_same(&fuzz_delivered, &whole));
	fuzz_connect(data + 2, size - 2, deflates, piece, data[1]);
	assert(fuzz_log_same(&fuzz_delivered, &whole));
	assert(fuzz_sink.sent_len == sent_len && memcmp(fuzz_sink.sent, sent, sent_len) == 0);
	return 0;
}
