/*
 * A WebSocket connection over a transport that the test controls: what it writes when the transport
 * accepts little, and during a pause.
 */
#include "fake.h"

#include "gateway/ws/frame.h"
#include "gateway/ws/websocket_connection.h"

static char text[64];
static int alive;
static int writable;
static int closed;
static int pause_at; /* pause at this message; 0: never */
static bool answer;
static WebsocketConnection *connection;

static void
on_received(void *session, const char *data, size_t len, size_t remaining, bool final, bool binary,
			bool compressed)
{
	assert_ptr_equal(session, text);
	assert_true(remaining == 0 && final && !binary && !compressed);
	strncat(text, data, len);
	if (--pause_at == 0)
		websocket_pause(connection, true);
}

static void
on_alive(void *session)
{
	(void) session;
	alive++;
}

static void
on_writable(void *session)
{
	(void) session;
	writable++;
}

static void
on_closed(void *session)
{
	(void) session;
	closed++;
}

static bool
on_answer_close(void *session)
{
	(void) session;
	return answer;
}

static const WebsocketEvents events = {
	.received = on_received,
	.alive = on_alive,
	.writable = on_writable,
	.closed = on_closed,
	.answer_close = on_answer_close,
};

static Fake fake;

static int
setup(void **state)
{
	(void) state;
	fake_init(&fake, 1);
	text[0] = '\0';
	alive = writable = closed = pause_at = 0;
	answer = true;
	connection = websocket_new(&fake.base, &events, false);
	websocket_start(connection, text, "101", 3, NULL, 0);
	assert_memory_equal(fake.sent, "101", 3);
	fake.sent_len = 0;
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	fake_lose(&fake);
	assert_int_equal(closed, 1);
	assert_int_equal(frame_memory(), 0);
	return 0;
}

/* Frames with a mask of zeros. */
#define TEXT(c) "\x81\x81\0\0\0\0" c
#define PING(c) "\x89\x81\0\0\0\0" c
#define CLOSE   "\x88\x82\0\0\0\0\x03\xe8"

#define RECEIVE(data) fake_receive(&fake, data, sizeof(data) - 1)

static void
test_control(void **state)
{
	(void) state;
	RECEIVE(PING("a"));
	assert_memory_equal(fake.sent,
						"\x8a\x01"
						"a",
						3);
	assert_int_equal(alive, 1);

	/* The last of several goes after the unsent rest. */
	fake.sent_len = 0;
	fake.room = 1;
	assert_true(websocket_write(connection, (const uint8_t *) "wxyz", 4));
	assert_false(websocket_ready(connection));
	RECEIVE(PING("b") PING("c"));
	fake_take(&fake, 2);
	assert_int_equal(fake.sent_len, 3);
	assert_int_equal(writable, 0);
	fake_take(&fake, 100);
	assert_int_equal(fake.sent_len, 7);
	assert_memory_equal(fake.sent,
						"wxyz\x8a\x01"
						"c",
						7);
	assert_true(websocket_ready(connection));
	assert_int_equal(writable, 1);
}

static void
test_close(void **state)
{
	(void) state;
	fake.room = 1;
	assert_true(websocket_write(connection, (const uint8_t *) "xy", 2));
	RECEIVE(CLOSE);
	assert_false(fake.finished);
	fake_take(&fake, 100);
	assert_memory_equal(fake.sent, "xy\x88\x02\x03\xe8", 6);
	assert_true(fake.finished);
	assert_false(fake.dropped);
	assert_int_equal(writable, 0);
}

/* The client's answer to our own close frame is the end. */
static void
test_answered(void **state)
{
	(void) state;
	answer = false;
	RECEIVE(CLOSE);
	assert_true(fake.dropped);
	assert_int_equal(fake.sent_len, 0);
}

/* Data that came before the pause is read after it, and only then the transport. */
static void
test_pause(void **state)
{
	(void) state;
	pause_at = 1;
	RECEIVE(TEXT("a") TEXT("b") TEXT("c"));
	assert_string_equal(text, "a");
	assert_true(fake.paused);
	pause_at = 1;
	websocket_pause(connection, false);
	assert_string_equal(text, "a");
	assert_true(fake.woken);
	fake_take(&fake, 100);
	assert_string_equal(text, "ab");
	assert_true(fake.paused);
	websocket_pause(connection, false);
	fake_take(&fake, 100);
	assert_string_equal(text, "abc");
	assert_false(fake.paused);
}

static void
test_broken(void **state)
{
	(void) state;
	pause_at = 1;
	RECEIVE(TEXT("a") TEXT("b"));
	fake.broken = true;
	assert_false(websocket_write(connection, (const uint8_t *) "xy", 2));
	websocket_drop(connection);
	assert_true(fake.dropped);
	assert_string_equal(text, "a");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_control), TEST(test_close),  TEST(test_answered),
		TEST(test_pause),   TEST(test_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
