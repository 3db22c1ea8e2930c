/* Sessions and the hub. */
#include "play.h"

static void
test_bookmark(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t replaying;

	(void) state;
	play_position(database, 150);
	play_tick(HUB_BOOKMARK_MS + 1);
	play_expect_nothing(&pipe); /* nothing is subscribed */
	play_subscribe(session, PLAY_SUBSCRIBE_A, 1, false, 150);
	play_expect(&pipe, 1, "\"1-150\"}}");
	play_tick(HUB_BOOKMARK_MS + 1);
	play_expect_nothing(&pipe); /* the position has not changed */
	play_position(database, 160);
	play_tick(1000);
	play_expect(
		&pipe, 1,
		"{\"jsonrpc\":\"2.0\",\"method\":\"position\",\"params\":{\"position\":\"1-160\"}}");
	play_position(database, 170);
	play_tick(HUB_BOOKMARK_MS - 1);
	play_expect_nothing(&pipe); /* too early */
	play_event(database, 1, 171, "171");
	play_expect(&pipe, 1, "171");
	play_tick(HUB_BOOKMARK_MS + 1);
	play_expect_nothing(&pipe); /* the event contained the position */

	/* Half of what is retained was written since. */
	play_event(database, 1, 172, "172");
	play_expect(&pipe, 1, "172");
	play_frame(database,
			   (WireMessage){.type = WIRE_POSITION, .u.position = {.id = 174, .renew = 172}});
	play_tick(1000);
	play_expect_nothing(&pipe); /* not yet due */
	play_frame(database,
			   (WireMessage){.type = WIRE_POSITION, .u.position = {.id = 175, .renew = 173}});
	play_tick(1000);
	play_expect(&pipe, 1, "\"1-175\"}}");
	play_tick(1000);
	play_expect_nothing(&pipe); /* only one bookmark */

	replaying = play_subscribe(session, PLAY_SUBSCRIBE_B_SINCE, 2, true, 50);
	play_expect(&pipe, 1, "\"1-50\"}}");
	play_position(database, 180);
	play_tick(HUB_BOOKMARK_MS + 1);
	play_expect_nothing(&pipe); /* during a replay */
	play_replay_done(database, replaying, 180);
	play_position(database, 181);
	hub_lost(database);
	play_tick(HUB_BOOKMARK_MS + 1);
	play_expect_nothing(&pipe); /* the link is lost */
}

static void
test_keepalive(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe quiet;
	PlayPipe alive;
	Session *session;

	(void) state;
	play_config.keepalive_ms = 10000;
	play_open(database, &quiet);
	session = play_open(database, &alive);
	play_tick(9999);
	play_expect_nothing(&quiet);
	/* The first ping of the second session is early, see test_spread(). */
	play_expect(&alive, 9, "pg_notifyd");
	play_receive(session, "{\"method\":\"ping\"}");
	play_tick(1);
	play_expect(&quiet, 9, "pg_notifyd");
	play_expect_nothing(&alive);
	play_tick(9999);
	play_expect_nothing(&quiet);
	play_expect(&alive, 9, "pg_notifyd");
	session_alive(session);
	play_tick(1);
	play_expect(&quiet, 8, "\x03\xf0no answer to a ping");
	assert_int_equal(quiet.session->state, SESSION_CLOSING);
	assert_false(quiet.dropped);
	play_tick(SESSION_CLOSE_MS);
	assert_true(quiet.dropped);
	assert_int_equal(session->state, SESSION_OPEN);
}

/* Of sessions that connect at the same time, few are pinged together, and none is pinged late. */
static void
test_spread(void **state)
{
	enum
	{
		CLIENTS = 200,
		SECONDS = 300
	};
	static PlayPipe pipes[CLIENTS];
	static bool pinged[CLIENTS];
	Database *database = play_hello(&play_link_a, 1, 100);
	int all = 0;

	(void) state;
	memset(pinged, 0, sizeof(pinged));
	play_config.keepalive_ms = SECONDS * 1000;
	for (int i = 0; i < CLIENTS; i++)
		play_open(database, &pipes[i]);
	for (int second = 1; second <= SECONDS; second++)
	{
		int now = 0;

		play_tick(1000);
		for (int i = 0; i < CLIENTS; i++)
		{
			if (pipes[i].len == 0)
				continue;
			play_expect(&pipes[i], 9, "pg_notifyd");
			play_expect_nothing(&pipes[i]);
			assert_false(pinged[i]);
			pinged[i] = true;
			session_alive(pipes[i].session);
			now++;
		}
		assert_between(now, 0, 2 * CLIENTS / SECONDS + 1);
		all += now;
	}
	assert_int_equal(all, CLIENTS);
	/* From then on, pings follow keepalive after each sign of life. */
	play_tick(SECONDS * 1000 - 1);
	play_tick(1);
	for (int i = 0; i < CLIENTS; i++)
		play_expect(&pipes[i], 9, "pg_notifyd");
}

/* However long it was quiet, and whatever else it waits for. */
static void
test_long_quiet(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t replaying;

	(void) state;
	play_subscribe(session, PLAY_SUBSCRIBE_A, 1, false, 150);
	play_expect(&pipe, 1, "\"1-150\"}}");
	for (int i = 0; i < 3 * SESSION_SECONDS; i++)
		play_tick(1000);
	play_tick(10 * SESSION_SECONDS * 1000);
	play_expect_nothing(&pipe);
	play_position(database, 160);
	play_tick(1000);
	play_expect(&pipe, 1, "\"1-160\"}}");

	play_config.keepalive_ms = 2 * SESSION_SECONDS * 1000;
	session_alive(session);
	play_tick(play_config.keepalive_ms - 1);
	play_expect_nothing(&pipe);
	play_tick(1);
	play_expect(&pipe, 9, "pg_notifyd");
	session_alive(session);
	play_config.keepalive_ms = 5000; /* a reload takes effect at once */
	play_tick(5000);
	play_expect(&pipe, 9, "pg_notifyd");
	play_config.keepalive_ms = 0;

	/* While no bookmark could be sent, half of what is retained was written. */
	replaying = play_subscribe(session, PLAY_SUBSCRIBE_B_SINCE, 2, true, 50);
	play_expect(&pipe, 1, "\"1-50\"}}");
	play_frame(database,
			   (WireMessage){.type = WIRE_POSITION, .u.position = {.id = 180, .renew = 170}});
	play_tick(1000);
	play_tick(1000);
	play_expect_nothing(&pipe);
	play_replay_done(database, replaying, 180);
	play_tick(1000);
	play_expect(&pipe, 1, "\"1-180\"}}");
}

/*
 * A session that was quiet for long, and would not be visited for long, is visited as soon as
 * something happens.
 */
static void
test_quiet_no_more(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe blocked;
	PlayPipe partial;
	Session *session[2] = {play_open(database, &blocked), play_open(database, &partial)};

	(void) state;
	for (int i = 0; i < 2; i++)
		play_subscribe(session[i], PLAY_SUBSCRIBE_A, 1, false, 100);
	play_expect(&blocked, 1, "\"1-100\"}}");
	play_expect(&partial, 1, "\"1-100\"}}");
	for (int i = 0; i < 40; i++)
		play_tick(1000);

	/* All are visited when the position changes; from then on they are not quiet for long. */
	play_event(database, 1, 101, "101");
	play_expect(&blocked, 1, "101");
	play_expect(&partial, 1, "101");
	play_tick(1000);
	blocked.blocked = true;
	play_event(database, 1, 102, "102");
	play_expect(&partial, 1, "102");
	assert_int_equal(blocked.probed, 0);
	play_tick(1000);
	assert_int_equal(blocked.probed, 1);
	play_tick(1000);
	assert_int_equal(blocked.probed, 2);
	blocked.blocked = false;
	session_writable(session[0]);
	play_expect(&blocked, 1, "102");
	for (int i = 0; i < 40; i++)
		play_tick(1000);

	session_received(session[1], "{", 1, 0, false, false, false);
	play_tick(SESSION_MESSAGE_MS);
	assert_int_equal(session[1]->state, SESSION_OPEN);
	play_tick(1);
	play_expect(&partial, 8, "\x03\xf0message not complete in time");
	for (int i = 0; i < 40; i++)
		play_tick(1000);
	assert_true(partial.dropped);

	session_close(session[0], SESSION_CLOSE_POLICY, "enough");
	play_tick(SESSION_CLOSE_MS);
	assert_true(blocked.dropped);
}

/* A client that reads its queue is alive, though its pong is behind the queue. */
static void
test_taking_is_alive(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	play_config.keepalive_ms = 10000;
	play_subscribe(session, PLAY_SUBSCRIBE_A, 1, false, 100);
	play_expect(&pipe, 1, "\"1-100\"}}");
	pipe.blocked = true;
	play_event(database, 1, 101, "101");
	sessions_flush(&play_sessions);
	assert_true(pipe.waking);
	play_tick(10000);
	assert_int_equal(pipe.probed, 1);
	play_tick(9999);
	session_writable(session); /* accepted something, and is full again */
	play_tick(1);
	assert_int_equal(session->state, SESSION_OPEN);
	play_tick(9999);
	play_tick(10000);
	assert_int_equal(session->state, SESSION_CLOSING);
}

static void
test_credit(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	static char text[20001];
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = play_subscribe(session, PLAY_SUBSCRIBE_B_SINCE, 2, true, 50);

	(void) state;
	play_config.client_buffer = 1000000;
	memset(text, 'x', 20000);
	sessions_flush(&play_sessions);
	play_nsent = 0;
	pipe.blocked = true;
	for (uint64_t id = 51; id < 54; id++)
		play_replay_event(database, sub, id, text);
	sessions_flush(&play_sessions);
	assert_int_equal(play_nsent, 0); /* nothing was written, so no credit is returned */
	pipe.len = 0;
	play_unblock(&pipe);
	assert_int_equal(play_nsent, 2);
	assert_int_equal(play_sent[0].type, WIRE_REPLAY_CREDIT);
	assert_int_equal(play_sent[0].u.credit.sub, sub);
	assert_int_equal(play_sent[0].u.credit.bytes + play_sent[1].u.credit.bytes, 60000);
}

static void
test_detached(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	play_subscribe(session, PLAY_SUBSCRIBE_A, 1, false, 100);
	play_subscribe(session, PLAY_SUBSCRIBE_B_SINCE, 2, true, 50);
	play_event(database, 1, 105, "105");
	play_position(database, 120);
	hub_lost(database);
	assert_int_equal(hub_client_position(play_client(session)).id, 50);
	play_nsent = 0;
	play_receive(session, "{\"id\":3,\"method\":\"subscribe\",\"channel\":\"c\"}");
	play_receive(session, "{\"id\":4,\"method\":\"unsubscribe\",\"channel\":\"b\"}");
	assert_int_equal(play_nsent, 0);
	assert_ptr_equal(play_hello(&play_link_b, 2, 200), database);
	assert_int_equal(play_nsent, 2);
	assert_int_equal(play_sent[0].u.subscribe.has_since, 1);
	assert_int_equal(play_sent[0].u.subscribe.since.timeline, 1);
	assert_int_equal(play_sent[0].u.subscribe.since.id, 120);
	assert_int_equal(play_sent[1].u.subscribe.has_since, 0);
	play_expect(&pipe, 1, "\"1-100\"}}");
	play_expect(&pipe, 1, "\"1-50\"}}");
	play_expect(&pipe, 1, "105");
	play_expect(&pipe, 1, "\"id\":4,\"result\":{\"channel\":\"b\"}}");
	play_subscribed(database, play_sent[0].u.subscribe.sub, 7, false, 200);
	play_expect_nothing(&pipe); /* the client sent one request */
	play_subscribed(database, play_sent[1].u.subscribe.sub, 8, false, 200);
	play_expect(&pipe, 1, "\"id\":3,\"result\":{\"channel\":\"c\",\"position\":\"1-200\"}}");
}

/* The link of a feed that violates the protocol is closed. */
static void
test_bad_feed(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t live = play_subscribe(session, PLAY_SUBSCRIBE_A, 1, false, 100);
	uint32_t replaying = play_subscribe(session, PLAY_SUBSCRIBE_B_SINCE, 2, true, 50);
	uint32_t waiting;
	uint8_t numbers[8];
	WireMessage bad[] = {
		{.type = WIRE_SUBSCRIBED, .u.subscribed = {.sub = live, .stream = 1}},
		{.type = WIRE_REFUSED, .u.refused = {.sub = live}},
		{.type = WIRE_REPLAY_DONE, .u.replay_done = {live, 100}},
		{.type = WIRE_REPLAY_EVENT, .u.replay_event = {.nsubs = 1, .subs = numbers, .id = 101}},
		{.type = WIRE_REPLAY_EVENT, .u.replay_event = {.nsubs = 1, .subs = numbers + 4, .id = 50}},
		{.type = WIRE_SUBSCRIBE},
		{.type = WIRE_CONFIG},
		{.type = WIRE_SUBSCRIBED, .u.subscribed = {.stream = 1}}, /* a stream of another channel */
	};

	(void) state;
	wire_store_u32(numbers, live);
	wire_store_u32(numbers + 4, replaying);
	play_nsent = 0;
	play_receive(session, "{\"id\":3,\"method\":\"subscribe\",\"channel\":\"c\"}");
	waiting = play_sent[0].u.subscribe.sub;
	bad[UNIT_COUNT(bad) - 1].u.subscribed.sub = waiting;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
		assert_int_equal(hub_message(&play_hub, database, &bad[i]), HUB_BAD);
	/* A frame for an unknown subscription is not an error: it crossed an UNSUBSCRIBE. */
	play_subscribed(database, 12345, 1, false, 100);
	play_event(database, 54321, 101, "x");
	play_replay_done(database, 12345, 1);
	play_frame(database, (WireMessage){.type = WIRE_STREAM_ENDED,
									   .u.ended = {54321, WIRE_NOT_PERMITTED, play_bytes("x")}});
}

static void
test_broken(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	play_subscribe(session, PLAY_SUBSCRIBE_A, 1, false, 100);
	pipe.broken = true;
	sessions_flush(&play_sessions);
	assert_true(pipe.dropped);
	assert_int_equal(session->state, SESSION_LEAVING);
	assert_int_equal(play_sessions.stats.subscriptions, 0);
	play_event(database, 1, 101, "101");
	session_closed(session);
	sessions_flush(&play_sessions);
	assert_int_equal(play_sessions.count, 0);
	assert_int_equal(play_sessions.stats.queued, 0);
}

static void
test_messages(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	session_received(session, "{\"id\":1,", 8, 5, false, false, false);
	session_received(session, "     ", 5, 0, false, false, false);
	play_tick(SESSION_MESSAGE_MS);
	session_received(session, "\"method\":\"ping\"}", 16, 0, true, false, false);
	play_expect(&pipe, 1, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"position\":\"1-100\"}}");
	assert_null(session->partial);

	session_received(session, "{", 1, 0, false, false, false);
	play_tick(SESSION_MESSAGE_MS + 1);
	play_expect(&pipe, 8, "message not complete in time");
	play_receive(session, "{\"id\":1,\"method\":\"ping\"}");
	play_expect_nothing(&pipe);
	assert_false(session_answer_close(session));
}

static void
test_goodbye(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	WireMessage message = {.type = WIRE_GOODBYE, .u.goodbye.reason = play_bytes("dropped")};
	PlayPipe pipe[2];

	(void) state;
	play_subscribe(play_open(database, &pipe[0]), PLAY_SUBSCRIBE_A, 1, false, 100);
	play_open(database, &pipe[1]);
	play_nsent = 0;
	assert_int_equal(hub_message(&play_hub, database, &message), HUB_GOODBYE);
	assert_int_equal(play_nsent, 0);
	assert_null(hub_find(&play_hub, "db", 2));
	play_expect(&pipe[0], 1, "\"1-100\"}}");
	play_expect(&pipe[0], 8,
				"\x03\xe9"
				"dropped");
	play_expect(&pipe[1], 8,
				"\x03\xe9"
				"dropped");
	assert_true(session_answer_close(pipe[0].session) == false);
}

/* GONE overrides a feed that has left the database because it will be dropped. */
static void
test_gone(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;

	(void) state;
	play_open(database, &pipe);
	assert_null(hub_gone(&play_hub, play_bytes("other")));
	hub_lost(database);
	assert_null(hub_gone(&play_hub, play_bytes("db")));
	assert_null(hub_find(&play_hub, "db", 2));
	play_expect(&pipe, 8,
				"\x03\xe9"
				"the database is gone");

	play_hello(&play_link_a, 1, 100);
	assert_ptr_equal(hub_gone(&play_hub, play_bytes("db")), &play_link_a);
}

static void
test_current(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	const char *why;

	(void) state;
	assert_false(hub_database_current(database, play_clock, &why));
	assert_string_equal(why, "its feed is silent");
	play_position(database, 100);
	assert_true(hub_database_current(database, play_clock + HUB_CURRENT_MS, &why));
	assert_false(hub_database_current(database, play_clock + HUB_CURRENT_MS + 1, &why));
	play_frame(database, (WireMessage){.type = WIRE_POSITION,
									   .u.position = {.id = 100, .behind_ms = HUB_BEHIND_MS + 1}});
	assert_false(hub_database_current(database, play_clock, &why));
	assert_string_equal(why, "its events are late");
	hub_lost(database);
	assert_false(hub_database_current(database, play_clock, NULL));
}

static int woken;

static void
wake(WireBytes database)
{
	assert_int_equal(database.len, 2);
	assert_memory_equal(database.data, "db", 2);
	woken++;
}

/* An asleep database accepts clients, and its feed is started when one of them subscribes. */
static void
test_asleep(void **state)
{
	WireAsleep asleep = {.position = {1, 100}, .database = play_bytes("db")};
	Database *database;
	PlayPipe pipe[2];
	Session *session;
	const char *why;

	(void) state;
	woken = 0;
	play_hub.wake = wake;
	hub_asleep(&play_hub, &asleep);
	database = hub_find(&play_hub, "db", 2);
	assert_non_null(database);
	assert_true(hub_database_current(database, play_clock, &why));
	session = play_open(database, &pipe[0]);
	play_receive(session, "{\"id\":3,\"method\":\"ping\"}");
	play_expect(&pipe[0], 1, "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{\"position\":\"1-100\"}}");
	assert_int_equal(woken, 0);
	play_receive(session, PLAY_SUBSCRIBE_A);
	assert_int_equal(woken, 1);
	play_receive(session, PLAY_SUBSCRIBE_B_SINCE);
	assert_int_equal(woken, 1); /* already requested */

	/* The feed connects: the waiting subscriptions are sent to it. It ends later. */
	play_nsent = 0;
	database = play_hello(&play_link_a, 1, 120);
	assert_int_equal(play_nsent, 2);
	play_subscribed(database, play_sent[0].u.subscribe.sub, 1, false, 120);
	play_expect(&pipe[0], 1, "\"1-120\"}}");
	hub_lost(database);
	assert_false(hub_database_current(database, play_clock, &why));

	/* ASLEEP arrives while there is a subscription: the feed ended at the same time. */
	asleep.position.id = 110;
	hub_asleep(&play_hub, &asleep);
	assert_int_equal(woken, 2);
	assert_int_equal(database->position.id, 120);

	/* It does not start: it is requested again, and then given up. */
	play_open(database, &pipe[1]);
	play_clock += HUB_ASK_MS;
	hub_tick(&play_hub);
	assert_int_equal(woken, 3);
	play_clock += HUB_WAKE_MS;
	hub_tick(&play_hub);
	play_expect(&pipe[0], 8,
				"\x03\xe9"
				"the database is not served at present");
	play_expect(&pipe[1], 8,
				"\x03\xe9"
				"the database is not served at present");
	assert_false(hub_database_current(database, play_clock, &why));
	hub_asleep(&play_hub, &asleep);
	assert_true(hub_database_current(database, play_clock, &why));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, play_setup, play_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bookmark),   TEST(test_keepalive),     TEST(test_spread),
		TEST(test_long_quiet), TEST(test_quiet_no_more), TEST(test_taking_is_alive),
		TEST(test_credit),     TEST(test_detached),      TEST(test_bad_feed),
		TEST(test_broken),     TEST(test_messages),      TEST(test_goodbye),
		TEST(test_gone),       TEST(test_current),       TEST(test_asleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
