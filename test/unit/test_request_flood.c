/*
 * Clients that request more than they read or than the feed answers: whose turn it is, which
 * clients are read, and the memory used.
 */
#include "play.h"

#include "gateway/hub/hub_internal.h"

#define BAD    "{}"
#define ASK    "subscribe"
#define CANCEL "unsubscribe"

static void
ask(Session *session, const char *method, const char *channel)
{
	char text[200];

	snprintf(text, sizeof(text), "{\"method\":\"%s\",\"channel\":\"%s\"}", method, channel);
	play_receive(session, text);
}

/* Subscribe to this many channels whose names begin with prefix. */
static void
ask_many(Session *session, const char *prefix, int count)
{
	char channel[20];

	for (int i = 0; i < count; i++)
	{
		snprintf(channel, sizeof(channel), "%s%d", prefix, i);
		ask(session, ASK, channel);
	}
}

/* Let the feed answer the i-th SUBSCRIBE with a new stream. */
static void
answer(Database *database, size_t i)
{
	assert_int_equal(play_sent[i].type, WIRE_SUBSCRIBE);
	play_subscribed(database, play_sent[i].u.subscribe.sub, play_sent[i].u.subscribe.sub, false,
					100);
}

/* Count the frames of this type from here on. */
static size_t
count_sent(size_t from, WireType type)
{
	size_t count = 0;

	for (size_t i = from; i < play_nsent; i++)
		count += play_sent[i].type == type;
	return count;
}

/* Sessions take turns: one with few requests does not wait for all requests of one with many. */
static void
test_turns(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	static PlayPipe pipe[3];
	uint32_t last;

	(void) state;
	play_config.client_buffer = 100000;
	for (int i = 0; i < 3; i++)
		play_open(database, &pipe[i]);
	ask_many(pipe[0].session, "a", 100);
	ask_many(pipe[1].session, "b", 100);
	assert_int_equal(play_nsent, HUB_UNANSWERED);
	ask(pipe[2].session, ASK, "c");
	last = database->last_number;
	assert_int_equal(play_nsent, HUB_UNANSWERED);
	for (size_t i = 0; i < 2; i++)
		answer(database, i);
	assert_int_equal(play_nsent, HUB_UNANSWERED + 2);
	assert_int_equal(play_sent[play_nsent - 1].u.subscribe.sub, last);
	for (size_t i = 2; i < 201; i++)
		answer(database, i);
	assert_int_equal(play_nsent, 201);
	assert_int_equal(database->unanswered, 0);
	for (int i = 0; i < 3; i++)
	{
		sessions_flush(&play_sessions);
		assert_true(hub_client_live(play_client(pipe[i].session)));
		assert_false(pipe[i].paused);
	}
}

/* A subscription that is dropped before its turn never reaches the feed. */
static void
test_taken_back_in_time(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	static PlayPipe pipe[3];

	(void) state;
	play_config.client_buffer = 100000;
	for (int i = 0; i < 3; i++)
		play_open(database, &pipe[i]);
	ask_many(pipe[0].session, "a", 100);
	ask_many(pipe[1].session, "b", 28);
	assert_int_equal(play_nsent, HUB_UNANSWERED);
	for (int i = 0; i < 200; i++)
	{
		ask(pipe[2].session, ASK, "c");
		ask(pipe[2].session, CANCEL, "c");
	}
	assert_int_equal(pipe[2].session->unanswered, 0);
	ask(pipe[2].session, ASK, "c");
	session_closed(pipe[2].session);
	for (size_t i = 0; i < HUB_UNANSWERED; i++)
		answer(database, i);
	assert_int_equal(play_nsent, HUB_UNANSWERED);
	assert_int_equal(database->unanswered, 0);
}

/*
 * A subscription that is dropped later keeps its number until the feed has answered, and its client
 * is not read until then.
 */
static void
test_unanswered(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t numbers = database->last_number;

	(void) state;
	play_config.client_buffer = 100000;
	while (!pipe.paused)
	{
		assert_between(play_nsent, 0, 3 * SESSION_UNANSWERED);
		ask(session, ASK, "a");
		ask(session, CANCEL, "a");
	}
	assert_int_equal(count_sent(0, WIRE_SUBSCRIBE), SESSION_UNANSWERED);
	assert_int_equal(play_sessions.stats.subscriptions, 0);
	assert_int_equal(session->unanswered, SESSION_UNANSWERED);
	database->last_number = numbers; /* as if the numbers had wrapped around */
	ask(session, ASK, "b");
	play_expect_sent(play_nsent - 1, WIRE_SUBSCRIBE, numbers + SESSION_UNANSWERED + 1);
	for (size_t i = 0; pipe.paused; i++)
	{
		if (play_sent[i].type == WIRE_SUBSCRIBE)
			answer(database, i);
		sessions_flush(&play_sessions);
	}
	assert_int_equal(session->unanswered, SESSION_UNANSWERED / 2 - 1);
	assert_int_equal(play_sessions.stats.subscriptions, 1);
}

/* All of this is freed with the link, and with the database. */
static void
test_unanswered_and_lost(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	static PlayPipe pipe[3];

	(void) state;
	play_config.client_buffer = 100000;
	for (int i = 0; i < 3; i++)
	{
		play_open(database, &pipe[i]);
		while (!pipe[i].paused)
		{
			ask(pipe[i].session, ASK, "a");
			ask(pipe[i].session, CANCEL, "a");
		}
	}
	session_closed(pipe[2].session);
	assert_int_equal(database->unanswered, 3 * SESSION_UNANSWERED);
	hub_lost(database);
	sessions_flush(&play_sessions);
	assert_int_equal(database->unanswered, 0);
	for (int i = 0; i < 2; i++)
		assert_false(pipe[i].paused);
	assert_true(RB_EMPTY(&database->subscriptions));

	ask(pipe[0].session, ASK, "a");
	play_nsent = 0;
	play_hello(&play_link_b, 1, 100);
	assert_int_equal(play_nsent, 1);
	ask(pipe[0].session, CANCEL, "a");
	ask(pipe[1].session, ASK, "a");
	ask(pipe[1].session, CANCEL, "a");
	assert_int_equal(
		hub_message(&play_hub, database,
					&(WireMessage){.type = WIRE_GOODBYE, .u.goodbye = {play_bytes("over")}}),
		HUB_GOODBYE);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pipe[i].session->state, SESSION_CLOSING);
}

/* A feed that answers without a request violates the protocol. */
static void
test_answer_without_question(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	uint32_t sub = play_subscribe(play_open(database, &pipe), PLAY_SUBSCRIBE_A, 1, false, 100);
	WireMessage again = {.type = WIRE_SUBSCRIBED, .u.subscribed = {.sub = sub, .stream = 1}};
	WireMessage refused = {.type = WIRE_REFUSED, .u.refused = {.sub = sub, .text = {"", 0}}};

	(void) state;
	assert_int_equal(hub_message(&play_hub, database, &again), HUB_BAD);
	assert_int_equal(hub_message(&play_hub, database, &refused), HUB_BAD);
}

/*
 * A client that does not read the answers to its requests is soon not read, and is read again
 * later.
 */
static void
test_answers(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	size_t before = frame_memory();
	int asked = 0;

	(void) state;
	play_config.client_buffer = 8 * 1024 * 1024;
	play_config.keepalive_ms = 10000;
	pipe.blocked = true;
	for (; !pipe.paused; asked++)
	{
		play_receive(session, BAD);
		sessions_flush(&play_sessions);
	}
	assert_between(asked, 100, 400);
	assert_between(frame_memory() - before, SESSION_OWN / 2, SESSION_OWN);

	/*
	 * The answer to a ping would not be read. The hub can still notice that it is gone, and that it
	 * accepts nothing.
	 */
	play_tick(10000);
	play_tick(10000);
	assert_int_equal(session->state, SESSION_OPEN);
	assert_true(pipe.probed >= 2);
	play_unblock(&pipe);
	sessions_flush(&play_sessions);
	assert_false(pipe.paused);
	assert_int_equal(session->own, 0);

	pipe.blocked = true;
	pipe.len = 0;
	while (!pipe.paused)
		play_receive(session, BAD);
	sessions_flush(&play_sessions);
	play_tick(SESSION_STALL_MS);
	assert_int_equal(session->state, SESSION_CLOSING);
	assert_false(pipe.paused); /* its close frame must be read */
}

static Frame *
large_frame(void)
{
	WireBytes part = play_bytes(play_text(100000));

	return frame_text(&part, 1);
}

/* When memory is scarce, fewer answers are enough. */
static void
test_answers_scarce(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	Frame *large = large_frame();
	Frame *much[100];

	(void) state;
	play_config.client_buffer = 128 * 1024;
	for (size_t i = 0; i < UNIT_COUNT(much); i++)
		much[i] = large_frame();
	assert_true(frame_memory() > (size_t) SESSION_TOTAL * play_config.client_buffer);
	pipe.blocked = true;
	while (!pipe.paused)
		play_receive(session, BAD);
	assert_between(session->own, SESSION_OWN_SCARCE, SESSION_OWN_SCARCE + 1000);
	for (size_t i = 0; i < UNIT_COUNT(much); i++)
		frame_unref(much[i]);
	sessions_flush(&play_sessions);
	session_writable(session);
	assert_false(pipe.paused);
	frame_unref(large);
}

/* Numbers wrap around: 0 is not used, and those in use are skipped. */
static void
test_numbers(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	static PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	play_config.client_buffer = 100000;
	ask_many(session, "low", 3); /* 1, 2, 3 */
	database->last_number = UINT32_MAX - 2;
	ask_many(session, "high", 4);
	assert_int_equal(play_nsent, 7);
	play_expect_sent(3, WIRE_SUBSCRIBE, UINT32_MAX - 1);
	play_expect_sent(4, WIRE_SUBSCRIBE, UINT32_MAX);
	play_expect_sent(5, WIRE_SUBSCRIBE, 4);
	play_expect_sent(6, WIRE_SUBSCRIBE, 5);
	for (size_t i = 0; i < 7; i++)
		answer(database, i);
	sessions_flush(&play_sessions);
	pipe.len = 0;
	play_event(database, UINT32_MAX, 101, "of the last");
	play_event(database, 1, 102, "of the first");
	play_expect(&pipe, 1, "of the last");
	play_expect(&pipe, 1, "of the first");
	play_expect_nothing(&pipe);
}

/* A since that is null counts as missing. */
static void
test_since_null(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	play_receive(session, "{\"id\":1,\"method\":\"subscribe\",\"channel\":\"a\",\"since\":null}");
	assert_int_equal(play_nsent, 1);
	play_expect_subscribe(0, play_sent[0].u.subscribe.sub, WIRE_OP_ALL, 0);
	answer(database, 0);
	play_expect(&pipe, 1, "\"result\":{\"channel\":\"a\",\"position\":\"1-100\"}}");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, play_setup, play_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_turns),
		TEST(test_taken_back_in_time),
		TEST(test_unanswered),
		TEST(test_unanswered_and_lost),
		TEST(test_answer_without_question),
		TEST(test_answers),
		TEST(test_answers_scarce),
		TEST(test_numbers),
		TEST(test_since_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
