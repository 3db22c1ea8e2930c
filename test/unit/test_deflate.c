/* Permessage-deflate (RFC 7692): which offers are accepted, compressed messages in both directions. */
#include "play.h"

#include "gateway/ws/deflate.h"
#include "gateway/ws/websocket.h"
#include "gateway/ws/websocket_extension.h"

#define ANSWER "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

/* Return the answer to a request with these headers. */
static const char *
offer(const char *headers)
{
	static char text[2 * 2048];
	HttpRequest request;
	int len = snprintf(text, 2048, "GET /ws HTTP/1.1\r\nHost: x\r\n%s\r\n", headers);

	assert_between(len, 0, 2047);
	assert_null(http_request_parse(text, (size_t) len, &request));
	return websocket_extension_accept(&request);
}

static void
test_offers(void **state)
{
	static const char *const good[] = {
		"permessage-deflate",
		"permessage-deflate; client_max_window_bits",
		"permessage-deflate;client_max_window_bits=8 ; server_no_context_takeover",
		"permessage-deflate; client_no_context_takeover; client_max_window_bits=\"15\"",
		"x-other; a=\"b\"; c, permessage-deflate",
		"permessage-deflate; server_max_window_bits=11, permessage-deflate",
		"permessage-deflate; unknown, permessage-deflate",
	};
	static const char *const window[] = {
		"permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
		"permessage-deflate; client_max_window_bits; server_max_window_bits=\"15\"",
		("permessage-deflate; server_max_window_bits=9, permessage-deflate; "
		 "server_max_window_bits=13"),
	};
	static const char *const bad[] = {
		"",
		"permessage-deflat",
		"Permessage-Deflate",
		"x-webkit-deflate-frame",
		"permessage-deflate; unknown",
		"permessage-deflate; server_max_window_bits",
		"permessage-deflate; server_max_window_bits=",
		"permessage-deflate; server_max_window_bits=11",
		"permessage-deflate; server_max_window_bits=16",
		"permessage-deflate; server_max_window_bits=012",
		"permessage-deflate; server_max_window_bits=12; server_max_window_bits=12",
		"permessage-deflate; client_max_window_bits=7",
		"permessage-deflate; client_max_window_bits=16",
		"permessage-deflate; client_max_window_bits=1x",
		"permessage-deflate; server_no_context_takeover=1",
		"permessage-deflate; client_no_context_takeover=\"\"",
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover",
		"permessage-deflate;",
		"permessage-deflate; ;",
		"permessage-deflate; client_max_window_bits=\"15",
		"permessage-deflate,",
		"permessage-deflate client_max_window_bits",
		"permessage-deflate, \"x\"",
	};
	char headers[300];

	(void) state;
	assert_null(offer(""));
	for (size_t i = 0; i < UNIT_COUNT(good); i++)
	{
		snprintf(headers, sizeof(headers), "Sec-WebSocket-Extensions: %s\r\n", good[i]);
		assert_string_equal(offer(headers), ANSWER);
	}
	for (size_t i = 0; i < UNIT_COUNT(window); i++)
	{
		snprintf(headers, sizeof(headers), "Sec-WebSocket-Extensions: %s\r\n", window[i]);
		assert_string_equal(offer(headers), ANSWER "; server_max_window_bits=12");
	}
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
	{
		snprintf(headers, sizeof(headers), "Sec-WebSocket-Extensions: %s\r\n", bad[i]);
		assert_null(offer(headers));
	}
	/* Several headers are one list. */
	assert_string_equal(offer("Sec-WebSocket-Extensions: x\r\n"
							  "sec-websocket-extensions: permessage-deflate\r\n"),
						ANSWER);
}

static void
expect_inflated(const char *data, size_t len, const char *expected)
{
	char *text;
	size_t text_len;

	assert_int_equal(inflate_message(data, len, 1000, &text, &text_len), INFLATE_DONE);
	assert_int_equal(text_len, strlen(expected));
	assert_memory_equal(text, expected, text_len);
	free(text);
}

#define EXPECT_INFLATED(data, expected) expect_inflated(data, sizeof(data) - 1, expected)

/* The examples of RFC 7692, 7.2.3, without the heads of their frames. */
static void
test_examples(void **state)
{
	(void) state;
	/* 7.2.3.1: one block; 7.2.3.2: with a reference to the message before, which we forbid */
	EXPECT_INFLATED("\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello");
	/* 7.2.3.3: a block without compression */
	EXPECT_INFLATED("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello");
	/* 7.2.3.4: a block that says that it is the last one */
	EXPECT_INFLATED("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello");
	/* 7.2.3.5: two blocks in one message */
	EXPECT_INFLATED("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello");
	/* 7.2.3.6: nothing */
	EXPECT_INFLATED("\x00", "");
	/* Each message stands for itself. */
	EXPECT_INFLATED("\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello");
}

static void
test_bad_data(void **state)
{
	static const struct
	{
		const char *data;
		size_t len;
	} bad[] = {
		{"", 0},
		{"\xff", 1},
		{"Hello", 5},
		{"\xf2\x00\x11\x00\x00", 5},                 /* refers to the message before (7.2.3.2) */
		{"\xf2\x48\xcd\xc9", 4},                     /* cut off */
		{"\x00\x05\x00\xfa\xff\x48\x65", 7},         /* a block without its end */
		{"\x00\x05\x00\xfb\xff\x48\x65\x6c\x6c", 9}, /* a length that contradicts itself */
		{"\xf3\x48\xcd\xc9\xc9\x07\x00", 7},         /* a last block, and no end of the message */
	};
	char *text;
	size_t len;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
		assert_int_equal(inflate_message(bad[i].data, bad[i].len, 100, &text, &len), INFLATE_BAD);
}

/* Compress a text of these bytes, and return the bytes of the message. */
static size_t
compress_text(const char *text, size_t len, char *packed)
{
	WireBytes bytes = {.data = text, .len = (uint32_t) len};
	Frame *frame = deflate_frame(frame_text(&bytes, 1));
	size_t offset = 0;
	size_t packed_len = 0;
	uint8_t head = 0xc1;
	WireBytes part;

	/* Only the first fragment has the bit, only the last one is final, all others are full. */
	while (frame_next(frame, &offset, &part))
	{
		head = (uint8_t) (packed_len == 0 ? 0x41 : 0) | (offset == frame->len ? 0x80 : 0);
		assert_int_equal(((const uint8_t *) part.data)[part.len > 125 ? -4 : -2], head);
		if (offset < frame->len)
			assert_int_equal(part.len, FRAME_FRAGMENT);
		memcpy(packed + packed_len, part.data, part.len);
		packed_len += part.len;
	}
	frame_unref(frame);
	return packed_len;
}

/* A binary message stays one. */
static void
test_compress_binary(void **state)
{
	static char data[1000];
	WireBytes bytes = {.data = data, .len = sizeof(data)};
	Frame *frame = deflate_frame(frame_binary(&bytes, 1));

	(void) state;
	assert_int_equal(frame->data[0], 0xc2);
	assert_true(frame->len < 100);
	frame_unref(frame);
}

/* A small message that would become large. */
static void
test_bomb(void **state)
{
	static char zeros[4 * 1024 * 1024];
	static char packed[sizeof(zeros)];
	size_t len = compress_text(zeros, sizeof(zeros), packed);
	char *text;
	size_t text_len;

	(void) state;
	assert_between(len, 1000, 20000);
	assert_int_equal(inflate_message(packed, len, 100000, &text, &text_len), INFLATE_TOO_BIG);
	assert_int_equal(inflate_message(packed, len, sizeof(zeros) - 1, &text, &text_len),
					 INFLATE_TOO_BIG);
	assert_int_equal(inflate_message(packed, len, sizeof(zeros), &text, &text_len), INFLATE_DONE);
	assert_int_equal(text_len, sizeof(zeros));
	assert_memory_equal(text, zeros, text_len);
	free(text);
}

/* Texts of all lengths, some of them in several fragments. */
static void
test_frames(void **state)
{
	static char text[400000];
	static char packed[sizeof(text)];
	unsigned int seed = 1;

	(void) state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = "0123456789abcdef"[rand_r(&seed) % 16];
	for (size_t len = DEFLATE_MIN; len < sizeof(text); len = len * 5 / 4)
	{
		size_t packed_len = compress_text(text, len, packed);
		char *back;
		size_t back_len;

		assert_between(packed_len, 1, len - 1);
		assert_int_equal(inflate_message(packed, packed_len, len, &back, &back_len), INFLATE_DONE);
		assert_int_equal(back_len, len);
		assert_memory_equal(back, text, len);
		free(back);
	}
}

/* Frames that stay as they are: short ones, and those that would become longer. */
static void
test_not_compressed(void **state)
{
	char noise[1000];
	unsigned int seed = 1;
	WireBytes bytes = {.data = noise, .len = DEFLATE_MIN - 1};
	Frame *frame;

	(void) state;
	memset(noise, 'x', sizeof(noise));
	frame = frame_text(&bytes, 1);
	assert_ptr_equal(deflate_frame(frame), frame);
	frame_unref(frame);
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (char) rand_r(&seed);
	bytes.len = sizeof(noise);
	frame = frame_text(&bytes, 1);
	assert_ptr_equal(deflate_frame(frame), frame);
	frame_unref(frame);
	assert_int_equal(frame_memory(), 0);
}

/* Read one frame, and return what it is. */
static WebsocketPiece
read_frame(const char *bytes, size_t len, bool deflates, bool in_message)
{
	WebsocketReader reader = {.deflates = deflates, .in_message = in_message};
	WebsocketPiece piece;
	char data[100];

	memcpy(data, bytes, len);
	(void) websocket_read(&reader, data, len, &piece);
	return piece;
}

/* RSV1 is allowed only in the first frame of a message, and only if it was negotiated. */
static void
test_reserved_bit(void **state)
{
	static const char *const heads[] = {"\xc1\x80\0\0\0\0", "\xc2\x80\0\0\0\0", "\x41\x80\0\0\0\0"};
	static const char *const bad[] = {"\xa1", "\x91", "\xe1", "\xd1", "\xc8", "\xc9", "\xca"};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(heads); i++)
	{
		WebsocketPiece piece = read_frame(heads[i], 6, true, false);

		assert_int_equal(piece.kind, WEBSOCKET_DATA);
		assert_true(piece.compressed);
		assert_int_equal(read_frame(heads[i], 6, false, false).kind, WEBSOCKET_ERROR);
	}
	assert_false(read_frame("\x81\x80\0\0\0\0", 6, true, false).compressed);
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
	{
		assert_int_equal(read_frame(bad[i], 1, true, false).kind, WEBSOCKET_ERROR);
		assert_int_equal(read_frame(bad[i], 1, true, false).code, 1002);
	}
	assert_int_equal(read_frame("\x40", 1, true, true).kind, WEBSOCKET_ERROR);
	assert_int_equal(read_frame("\xc0", 1, true, true).kind, WEBSOCKET_ERROR);
}

/* A compressed request in a session, also in fragments. */
static void
test_requests(void **state)
{
	static const char text[] = "{\"id\":1,\"method\":\"ping\",     \"jsonrpc\"  :         \"2.0\"}"
							   "                                                            "
							   "                                                            "
							   "                                                            ";
	static char zeros[100000];
	static char packed[sizeof(zeros)];
	static PlayPipe pipe;
	int link;
	Database *database = play_hello(&link, 1, 100);
	Session *session = play_open_compressed(database, &pipe);
	size_t len = compress_text(text, sizeof(text) - 1, packed);

	(void) state;
	session_received(session, packed, len, 0, true, false, true);
	play_expect(&pipe, 1, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"position\":\"1-100\"}}");
	session_received(session, packed, 10, 0, false, false, true);
	session_received(session, packed + 10, len - 10, 0, true, false, true);
	play_expect(&pipe, 1, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"position\":\"1-100\"}}");
	assert_int_equal(session->state, SESSION_OPEN);

	session_received(session, packed, len - 1, 0, true, false, true);
	play_expect(&pipe, 8,
				"\x03\xef"
				"compressed data that is not valid");

	session = play_open_compressed(database, &pipe);
	play_config.max_message = 5000;
	len = compress_text(zeros, sizeof(zeros), packed);
	session_received(session, packed, len, 0, true, false, true);
	play_expect(&pipe, 8,
				"\x03\xf1"
				"message too big");

	session = play_open_compressed(database, &pipe);
	session_received(session, "\x62\x00", 2, 0, true, true, true);
	assert_int_equal(session->state, SESSION_CLOSING);
}

/* Requests that become long take a client's turn as much as if it had sent them so. */
static void
test_turn(void **state)
{
	static const char ping[] = "{\"id\":1,\"method\":\"ping\"}";
	static char text[60000];
	static char packed[1000];
	int link;
	Database *database = play_hello(&link, 1, 100);
	PlayPipe pipe;
	Session *session = play_open_compressed(database, &pipe);
	size_t len;

	(void) state;
	play_config.max_message = sizeof(text);
	play_config.client_buffer = 1000000;
	memset(text, ' ', sizeof(text));
	memcpy(text, ping, strlen(ping));
	len = compress_text(text, 300, packed);
	session_received(session, packed, len, 0, true, false, true);
	assert_false(pipe.paused);
	len = compress_text(text, sizeof(text), packed);
	session_received(session, packed, len, 0, true, false, true);
	assert_true(pipe.paused);
	sessions_flush(&play_sessions);
	assert_false(pipe.paused);
}

/* An event is compressed once, and shared by the clients that get it so. */
static void
test_shared(void **state)
{
	static PlayPipe plain[2];
	static PlayPipe compressed[2];
	static char event[400];
	int link;
	Database *database = play_hello(&link, 1, 100);

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		play_subscribe(play_open(database, &plain[i]), PLAY_SUBSCRIBE_A, 1, false, 100);
		play_subscribe(play_open_compressed(database, &compressed[i]), PLAY_SUBSCRIBE_A, 1, false,
					   100);
	}
	sessions_flush(&play_sessions);
	for (int i = 0; i < 2; i++)
		plain[i].len = compressed[i].len = 0;
	memset(event, 'x', sizeof(event) - 1);
	play_built = 0;
	play_event(database, 1, 101, event);
	assert_int_equal(play_built, 2);
	sessions_flush(&play_sessions);
	for (int i = 0; i < 2; i++)
	{
		assert_int_equal(plain[i].len, 4 + strlen(event));
		assert_int_equal(plain[i].out[0], (char) 0x81);
		assert_between(compressed[i].len, 5, 40);
		assert_int_equal(compressed[i].out[0], (char) 0xc1);
		expect_inflated(compressed[i].out + 2, compressed[i].len - 2, event);
		plain[i].len = compressed[i].len = 0;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offers),
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_bad_data),
		cmocka_unit_test(test_bomb),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_not_compressed),
		cmocka_unit_test(test_compress_binary),
		cmocka_unit_test(test_reserved_bit),
		cmocka_unit_test_setup_teardown(test_requests, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_turn, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_shared, play_setup, play_teardown),
	};

	return cmocka_run_group_tests_name("deflate", tests, NULL, NULL);
}
