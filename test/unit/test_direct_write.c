/*
 * Events that are written at once instead of being queued, because they are the last in their
 * round.
 */
#include "play.h"

#define SUBSCRIBE_A "{\"method\":\"subscribe\",\"channel\":\"a\"}"
#define SUBSCRIBE_B "{\"method\":\"subscribe\",\"channel\":\"b\"}"
#define PING        "{\"id\":9,\"method\":\"ping\"}"

/* The last event of a round, as the link announces it. */
static void
last_event(Database *database, uint32_t stream, uint64_t id, const char *text)
{
	sessions_expect(&play_sessions, false);
	play_event(database, stream, id, text);
}

/* Only the last event of a round is written before the round ends. */
static void
test_rounds(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	play_subscribe(session, SUBSCRIBE_A, 1, false, 100);
	play_expect_nothing(&pipe);
	last_event(database, 1, 101, "101");
	assert_int_equal(pipe.len, 2 + 3);
	assert_int_equal(play_sessions.stats.bytes, 2 + 3);
	assert_int_equal(session->bytes, 2 + 3);
	assert_int_equal(session->messages, 1);
	play_expect(&pipe, 1, "101");
	play_event(database, 1, 102, "102");
	assert_int_equal(pipe.len, 0);
	sessions_expect(&play_sessions, true);
	play_event(database, 1, 103, "103");
	last_event(database, 1, 104, "104");
	assert_int_equal(pipe.len, 0);
	play_expect(&pipe, 1, "102");
	play_expect(&pipe, 1, "103");
	play_expect(&pipe, 1, "104");
	play_expect_nothing(&pipe);
	assert_int_equal(hub_client_position(play_client(session)).id, 104);
}

/* It does not overtake queued messages. */
static void
test_order(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	play_subscribe(session, SUBSCRIBE_A, 1, false, 100);
	play_expect_nothing(&pipe);
	play_receive(session, PING);
	last_event(database, 1, 101, "101");
	play_expect(&pipe, 1, "\"1-100\"}}");
	play_expect(&pipe, 1, "101");
	pipe.blocked = true;
	last_event(database, 1, 102, "102");
	sessions_flush(&play_sessions);
	assert_true(pipe.waking);
	pipe.blocked = false;
	last_event(database, 1, 103, "103");
	assert_int_equal(pipe.len, 0);
	session_writable(session);
	play_expect(&pipe, 1, "102");
	play_expect(&pipe, 1, "103");
	play_expect_nothing(&pipe);
}

/* Replay credit is returned when the event is written, which only the queue does. */
static void
test_replay(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	uint32_t sub = play_subscribe(play_open(database, &pipe), SUBSCRIBE_A, 1, true, 100);

	(void) state;
	play_expect_nothing(&pipe);
	sessions_expect(&play_sessions, false);
	play_replay_event(database, sub, 101, "101");
	assert_int_equal(pipe.len, 0);
	play_nsent = 0;
	play_expect(&pipe, 1, "101");
	assert_int_equal(play_nsent, 1);
	assert_int_equal(play_sent[0].type, WIRE_REPLAY_CREDIT);
}

/* A broken connection ends its own session, whichever of the stream's it is, and no other. */
static void
test_broken(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe[3];

	(void) state;
	for (size_t i = 0; i < 3; i++)
	{
		play_subscribe(play_open(database, &pipe[i]), SUBSCRIBE_A, 1, false, 100);
		play_subscribe(pipe[i].session, SUBSCRIBE_B, 2, false, 100);
		play_expect_nothing(&pipe[i]);
	}
	for (size_t broken = 0; broken < 3; broken++)
	{
		pipe[broken].broken = true;
		last_event(database, 1, 101 + broken, "event");
		assert_true(pipe[broken].dropped);
		assert_int_equal(pipe[broken].session->state, SESSION_LEAVING);
		for (size_t i = broken + 1; i < 3; i++)
			play_expect(&pipe[i], 1, "event");
		sessions_flush(&play_sessions);
	}
	assert_int_equal(play_sessions.stats.subscriptions, 0);
	assert_true(RB_EMPTY(&database->streams));
	last_event(database, 1, 110, "nobody's");
}

/* A large event is written in parts, as the socket accepts them. */
static void
test_large(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;

	(void) state;
	play_subscribe(play_open(database, &pipe), SUBSCRIBE_A, 1, false, 100);
	play_expect_nothing(&pipe);
	last_event(database, 1, 101, play_text(100000));
	assert_int_equal(pipe.len, 0);
	assert_true(play_sessions.stats.queued > FRAME_WRITE);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, play_setup, play_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rounds), TEST(test_order), TEST(test_replay), TEST(test_broken), TEST(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
