/* Slow clients: which ones lag, which ones are closed, and that none loses an event. */
#include "play.h"

#define PING "{\"id\":9,\"method\":\"ping\"}"
#define LOST "notifications were lost"
/* The part of client_buffer (1000) for events; two events of THIRD fit, three do not. */
#define EVENTS 750
#define THIRD  300

/* Subscribe to stream 1, channel a, live since 100; then the client stops reading. */
static uint32_t
start_blocked(Session *session, PlayPipe *pipe, const char *request)
{
	uint32_t sub = play_subscribe(session, request, 1, false, 100);

	play_expect(pipe, 1, "\"1-100\"}}");
	pipe->blocked = true;
	play_nsent = 0;
	return sub;
}

/* The same, and the subscription lags: 110 and 120 were queued, 130 was not. */
static uint32_t
start_lagging(Session *session, PlayPipe *pipe, const char *request)
{
	uint32_t sub = start_blocked(session, pipe, request);

	for (uint64_t id = 110; id <= 130; id += 10)
		play_event(play_client(session)->database, 1, id, play_text(THIRD));
	return sub;
}

/* Read what is queued: two events. */
static void
take_two(PlayPipe *pipe)
{
	play_unblock(pipe);
	play_expect(pipe, 1, play_text(THIRD));
	play_expect(pipe, 1, play_text(THIRD));
}

static void
test_burst(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = start_lagging(session, &pipe, PLAY_SUBSCRIBE_A_INSERTS);

	(void) state;
	assert_int_equal(play_nsent, 1);
	play_expect_sent(0, WIRE_UNSUBSCRIBE, sub);
	play_event(database, 1, 140, "140"); /* it crossed the UNSUBSCRIBE */
	play_position(database, 150);
	play_nsent = 0;
	take_two(&pipe);
	play_expect_nothing(&pipe);
	assert_int_equal(play_nsent, 1);
	play_expect_subscribe(0, sub, WIRE_OP_INSERT, 120);
	play_subscribed(database, sub, 1, true, 120);
	play_expect_nothing(&pipe); /* the client notices nothing */
	play_replay_event(database, sub, 130, "130");
	play_replay_event(database, sub, 140, "140");
	play_replay_done(database, sub, 150);
	play_event(database, 1, 160, "160");
	play_expect(&pipe, 1, "130");
	play_expect(&pipe, 1, "140");
	play_expect(&pipe, 1, "160");
	assert_int_equal(play_sessions.stats.closed_slow, 0);
	assert_int_equal(play_sessions.stats.queued, 0);
}

/* It resumes from the last complete position, which may be later than the last event. */
static void
test_position(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = start_blocked(session, &pipe, PLAY_SUBSCRIBE_A_INSERTS);

	(void) state;
	play_event(database, 1, 110, play_text(EVENTS));
	play_position(database, 115);
	play_event(database, 1, 120, "120");
	play_position(database, 125);
	assert_int_equal(hub_client_position(play_client(session)).id, 115);
	play_nsent = 0;
	play_unblock(&pipe);
	play_expect_subscribe(0, sub, WIRE_OP_INSERT, 115);
}

/* A position is never later than what was queued, and no bookmark is sent. */
static void
test_positions_told(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = start_lagging(session, &pipe, PLAY_SUBSCRIBE_A_INSERTS);

	(void) state;
	play_position(database, 150);
	play_receive(session, PING);
	take_two(&pipe);
	play_expect(&pipe, 1, "\"id\":9,\"result\":{\"position\":\"1-120\"}}");
	play_tick(HUB_BOOKMARK_MS + 1);
	play_expect_nothing(&pipe);
	play_subscribed(database, sub, 1, false, 150);
	play_receive(session, PING);
	play_expect(&pipe, 1, "\"1-150\"}}");
	play_position(database, 160);
	play_tick(HUB_BOOKMARK_MS + 1);
	play_expect(&pipe, 1, "\"params\":{\"position\":\"1-160\"}}");
}

/* A client that accepts nothing is closed, with the position of what it has accepted. */
static void
test_stalled(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub;

	(void) state;
	sub = play_subscribe(session, PLAY_SUBSCRIBE_A_INSERTS, 1, false, 100);
	play_event(database, 1, 105, "105");
	play_expect(&pipe, 1, "\"1-100\"}}");
	play_expect(&pipe, 1, "105");
	play_position(database, 107);
	pipe.blocked = true;
	play_tick(5000);
	play_event(database, 1, 110, play_text(THIRD));
	play_event(database, 1, 120, play_text(THIRD));
	sessions_flush(&play_sessions);
	play_tick(SESSION_STALL_MS - 1);
	play_receive(session, PING); /* it is alive, but that is not enough */
	assert_int_equal(session->state, SESSION_OPEN);
	play_tick(1);
	assert_int_equal(play_sessions.stats.closed_slow, 1);
	assert_int_equal(play_sessions.stats.subscriptions, 0);
	play_expect_sent(play_nsent - 1, WIRE_UNSUBSCRIBE, sub);
	play_unblock(&pipe);
	play_expect(&pipe, 8, "\x0f\xa8too slow; resume from 1-107");
	play_expect_nothing(&pipe);
	assert_int_equal(play_sessions.stats.queued, 0);
	assert_int_equal(session->own, 0);
}

/* A client that accepts a little from time to time is not closed. */
static void
test_slow_but_not_stalled(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	start_lagging(session, &pipe, PLAY_SUBSCRIBE_A_INSERTS);
	sessions_flush(&play_sessions);
	for (int i = 0; i < 5; i++)
	{
		play_tick(SESSION_STALL_MS - 1);
		session_writable(session);
	}
	assert_int_equal(session->state, SESSION_OPEN);
}

/* A ping may wait behind the queue: then the client is slow, and gets its position. */
static void
test_stalled_ping(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	play_config.keepalive_ms = 1000;
	start_blocked(session, &pipe, PLAY_SUBSCRIBE_A_INSERTS);
	play_event(database, 1, 110, "110");
	sessions_flush(&play_sessions);
	play_tick(1000);
	play_tick(1000);
	play_unblock(&pipe);
	play_expect(&pipe, 8, "\x0f\xa8too slow; resume from 1-100");
}

/* A reset that was not delivered is sent again. */
static void
test_stalled_behind_reset(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = play_subscribe(session, PLAY_SUBSCRIBE_B_SINCE, 2, true, 50);

	(void) state;
	play_expect(&pipe, 1, "\"1-50\"}}");
	pipe.blocked = true;
	play_reset(database, sub, 90, "gone");
	play_replay_event(database, sub, 95, "95");
	sessions_flush(&play_sessions);
	play_tick(SESSION_STALL_MS);
	play_unblock(&pipe);
	play_expect(&pipe, 8, "too slow; resume from 1-50");
}

/* A client that sends requests and does not read the answers is closed. */
static void
test_answers_not_taken(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	int i;

	(void) state;
	start_blocked(session, &pipe, PLAY_SUBSCRIBE_A_INSERTS);
	play_event(database, 1, 110, play_text(EVENTS));
	for (i = 0; session->state == SESSION_OPEN; i++)
		play_receive(session, PING);
	assert_between(i, 2, 5);
	play_unblock(&pipe);
	play_expect(&pipe, 8, "\x0f\xa8too slow; resume from 1-100");
}

/* Answers that are written make room for others. */
static void
test_answers_taken(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	for (int i = 0; i < 100; i++)
	{
		play_receive(session, PING);
		sessions_flush(&play_sessions);
	}
	assert_int_equal(session->state, SESSION_OPEN);
	assert_int_equal(session->own, 0);
}

/* With much queued for long, only half of the room is used until everything is delivered. */
static void
test_soft_limit(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = start_blocked(session, &pipe, PLAY_SUBSCRIBE_A_INSERTS);

	(void) state;
	play_event(database, 1, 110, play_text(EVENTS / 2));
	sessions_flush(&play_sessions);
	play_tick(SESSION_SOFT_MS - 1);
	session_writable(session);
	play_event(database, 1, 120, "120");
	assert_int_equal(play_nsent, 0);
	play_tick(1);
	play_event(database, 1, 130, "130");
	assert_int_equal(play_nsent, 1);
	play_expect_sent(0, WIRE_UNSUBSCRIBE, sub);
	play_unblock(&pipe);
	play_expect_subscribe(1, sub, WIRE_OP_INSERT, 120);
	assert_int_equal(session->over_at, 0);
}

#define CROWD 60

/* Start CROWD clients that accept nothing, with a stream each, or all with one. */
static void
start_crowd(Database *database, PlayPipe *pipes, bool one_stream)
{
	char request[100];

	play_config.client_buffer = 1024 * 1024;
	for (uint32_t i = 0; i < CROWD; i++)
	{
		snprintf(request, sizeof(request),
				 "{\"method\":\"subscribe\",\"channel\":\"c%u\",\"ops\":[\"INSERT\"]}",
				 one_stream ? 0 : i);
		play_subscribe(play_open(database, &pipes[i]), request, one_stream ? 1 : i + 1, false, 100);
		pipes[i].blocked = true;
	}
	play_nsent = 0;
}

/* A frame queued for many clients counts once. */
static void
test_memory_shared(void **state)
{
	static PlayPipe pipes[CROWD];
	Database *database = play_hello(&play_link_a, 1, 100);

	(void) state;
	start_crowd(database, pipes, true);
	for (uint64_t id = 101; id <= 108; id++)
		play_event(database, 1, id, play_text(90000));
	assert_int_equal(play_nsent, 0);
	assert_true(play_sessions.stats.queued >= CROWD * 8 * 90000);
	assert_between(frame_memory(), 8 * 90000, 8 * 90000 + 50000);
}

/* Frames queued for single clients add up, and the total is limited. */
static void
test_memory_total(void **state)
{
	static PlayPipe pipes[CROWD];
	size_t total = (size_t) SESSION_TOTAL * 1024 * 1024;
	Database *database = play_hello(&play_link_a, 1, 100);

	(void) state;
	start_crowd(database, pipes, false);
	for (uint64_t id = 101; id <= 100 + 8 * CROWD; id++)
		play_event(database, 1 + (uint32_t) (id - 101) / 8, id, play_text(90000));
	assert_between(frame_memory(), total, total + CROWD * (SESSION_SCARCE + 100000));
	assert_between(play_nsent, 10, CROWD / 2);
	play_expect_sent(play_nsent - 1, WIRE_UNSUBSCRIBE, database->last_number);

	/* The memory is free when the last of them has gone. */
	for (int i = 0; i < CROWD; i++)
		session_closed(pipes[i].session);
	assert_int_equal(frame_memory(), 0);
	start_crowd(database, pipes, true);
	for (uint64_t id = 1001; id <= 1008; id++)
		play_event(database, 1, id, play_text(90000));
	assert_int_equal(play_nsent, 0);
}

/* One message may be larger than the buffer, and so may a round for a client that reads it. */
static void
test_large(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub;

	(void) state;
	sub = play_subscribe(session, PLAY_SUBSCRIBE_A_INSERTS, 1, false, 100);
	play_expect(&pipe, 1, "\"1-100\"}}");
	for (uint64_t id = 101; id < 110; id++)
		play_event(database, 1, id, play_text(5000));
	sessions_flush(&play_sessions);
	assert_int_equal(pipe.len, 9 * 5004);
	pipe.blocked = true;
	pipe.len = 0;
	play_nsent = 0;
	play_receive(session, PING);
	play_event(database, 1, 110, play_text(5000));
	play_receive(session, PING);
	sessions_flush(&play_sessions);
	assert_int_equal(play_nsent, 0);
	play_event(database, 1, 111, play_text(5000));
	play_expect_sent(0, WIRE_UNSUBSCRIBE, sub);
	play_unblock(&pipe);
	play_expect_subscribe(1, sub, WIRE_OP_INSERT, 110);
	play_subscribed(database, sub, 1, true, 110);
	pipe.len = 0;
	play_replay_event(database, sub, 111, play_text(5000));
	sessions_flush(&play_sessions);
	assert_int_equal(pipe.len, 5004);
}

/* A replay that does not fit lags too; events that cross our UNSUBSCRIBE are ignored. */
static void
test_replay(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = play_subscribe(session, PLAY_SUBSCRIBE_B_SINCE, 2, true, 50);

	(void) state;
	play_expect(&pipe, 1, "\"1-50\"}}");
	pipe.blocked = true;
	for (uint64_t id = 60; id <= 80; id += 10)
		play_replay_event(database, sub, id, play_text(THIRD));
	play_replay_event(database, sub, 90, "90");
	play_nsent = 0;
	take_two(&pipe);
	play_expect_subscribe(0, sub, WIRE_OP_ALL, 70);
	play_replay_event(database, sub, 91, "91");
	play_replay_done(database, sub, 100);
	play_expect_nothing(&pipe);
	play_subscribed(database, sub, 2, true, 70);
	play_replay_event(database, sub, 80, "80");
	play_replay_event(database, sub, 90, "90");
	play_replay_event(database, sub, 91, "91");
	play_replay_done(database, sub, 100);
	play_event(database, 2, 101, "101");
	for (const char *const *id = (const char *[]){"80", "90", "91", "101", NULL}; *id != NULL; id++)
		play_expect(&pipe, 1, *id);
}

/* One subscription has many events, another has none: each resumes from its own position. */
static void
test_several(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t a;
	uint32_t b = play_subscribe(session, PLAY_SUBSCRIBE_B, 2, false, 100);
	PlayPipe other;
	Session *fast = play_open(database, &other);

	(void) state;
	play_expect(&pipe, 1, "\"1-100\"}}");
	play_subscribe(fast, PLAY_SUBSCRIBE_A, 1, false, 100);
	play_expect(&other, 1, "\"1-100\"}}");
	a = start_lagging(session, &pipe, PLAY_SUBSCRIBE_A_INSERTS);
	for (int i = 0; i < 3; i++)
		play_expect(&other, 1, play_text(THIRD));
	play_event(database, 2, 140, "140"); /* that fits */
	play_event(database, 2, 150, play_text(THIRD));
	assert_int_equal(hub_client_position(play_client(session)).id, 120);
	play_nsent = 0;
	take_two(&pipe);
	play_expect(&pipe, 1, "140");

	/* The buffer has room for one replay: first the one with the lower position, then the other. */
	assert_int_equal(play_nsent, 1);
	play_expect_subscribe(0, a, WIRE_OP_INSERT, 120);
	play_subscribed(database, a, 1, true, 120);
	play_replay_event(database, a, 130, "130");
	play_expect(&pipe, 1, "130");
	play_nsent = 0;
	play_replay_done(database, a, 160);
	sessions_flush(&play_sessions);
	assert_int_equal(play_nsent, 1);
	play_expect_subscribe(0, b, WIRE_OP_ALL, 140);
	play_subscribed(database, b, 2, true, 140);
	play_replay_event(database, b, 150, "150");
	play_expect(&pipe, 1, "150");
	play_replay_done(database, b, 160);
	play_event(database, 1, 170, "170");
	play_event(database, 2, 180, "180");
	play_expect(&pipe, 1, "170");
	play_expect(&pipe, 1, "180");
	play_expect(&other, 1, "170");
	play_expect_nothing(&other);
}

/* With more room all at once; one that ends makes room for the next. */
static void
test_replays_at_once(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	char request[100];
	uint32_t subs[3];

	(void) state;
	for (uint32_t i = 0; i < 3; i++)
	{
		snprintf(request, sizeof(request),
				 "{\"method\":\"subscribe\",\"channel\":\"c%u\",\"ops\":[\"INSERT\"]}", i);
		subs[i] = play_subscribe(session, request, i + 1, false, 100);
	}
	pipe.blocked = true;
	play_event(database, 1, 110, play_text(1000));
	for (uint32_t i = 0; i < 3; i++)
		play_event(database, i + 1, 111 + i, "x");
	play_config.client_buffer = 4 * WIRE_REPLAY_WINDOW;
	play_nsent = 0;
	play_unblock(&pipe);
	assert_int_equal(play_nsent, 2);
	play_expect_subscribe(0, subs[0], WIRE_OP_INSERT, 110);
	play_expect_subscribe(1, subs[1], WIRE_OP_INSERT, 111);
	sessions_flush(&play_sessions);
	play_receive(session, "{\"method\":\"unsubscribe\",\"channel\":\"c1\"}");
	sessions_flush(&play_sessions);
	assert_int_equal(play_nsent, 4);
	play_expect_sent(2, WIRE_UNSUBSCRIBE, subs[1]);
	play_expect_subscribe(3, subs[2], WIRE_OP_INSERT, 112);
}

/* Raw notifications continue; those that do not fit are lost, and a reset reports that. */
static void
test_notify(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = start_lagging(session, &pipe, PLAY_SUBSCRIBE_A);

	(void) state;
	assert_int_equal(play_nsent, 1);
	play_expect_lag(0, sub);
	play_notify(database, 1, "small");
	play_notify(database, 1, play_text(THIRD)); /* lost */
	play_notify(database, 1, "after"); /* later ones are dropped too, until the reset is sent */
	play_nsent = 0;
	take_two(&pipe);
	play_expect(&pipe, 1, "small");
	play_expect(&pipe, 1, "{\"channel\":\"a\",\"reason\":\"" LOST "\",\"position\":\"1-120\"}}");
	play_expect_subscribe(0, sub, WIRE_OP_ALL, 120);
	play_notify(database, 1, "before");
	play_subscribed(database, sub, 1, true, 120);
	play_notify(database, 1, "during");
	play_replay_event(database, sub, 130, "130");
	play_nsent = 0;
	play_replay_done(database, sub, 130);
	assert_int_equal(play_nsent, 0);
	play_notify(database, 1, "live");
	play_expect(&pipe, 1, "before");
	play_expect(&pipe, 1, "during");
	play_expect(&pipe, 1, "130");
	play_expect(&pipe, 1, "live");
	play_expect_nothing(&pipe);
}

/* Many notifications alone: nothing lags, and one reset reports what was lost. */
static void
test_notify_flood(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	start_blocked(session, &pipe, PLAY_SUBSCRIBE_A);
	for (int i = 0; i < 10; i++)
		play_notify(database, 1, play_text(THIRD));
	play_position(database, 140);
	assert_int_equal(play_nsent, 0);
	take_two(&pipe);
	play_expect(&pipe, 1, LOST "\",\"position\":\"1-140\"}}");
	play_expect_nothing(&pipe);
	play_event(database, 1, 141, "141");
	play_notify(database, 1, "again");
	play_expect(&pipe, 1, "141");
	play_expect(&pipe, 1, "again");
}

/* The feed itself has dropped some. */
static void
test_notify_lost_by_feed(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	WireMessage reset = {.type = WIRE_RESET,
						 .u.reset = {.position = {1, 140}, .reason = play_bytes("lost")}};
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = start_lagging(session, &pipe, PLAY_SUBSCRIBE_A);

	(void) state;
	reset.u.reset.sub = sub;
	reset.u.reset.kind = WIRE_KIND_NOTIFICATIONS;
	play_frame(database, reset);
	take_two(&pipe);
	play_expect(&pipe, 1, LOST "\",\"position\":\"1-120\"}}");
	play_subscribed(database, sub, 1, true, 120);
	play_frame(database, reset);
	play_expect(&pipe, 1, LOST "\",\"position\":\"1-120\"}}");
	play_replay_event(database, sub, 130, "130");
	play_replay_done(database, sub, 140);
	play_expect(&pipe, 1, "130");
	play_expect_nothing(&pipe);
}

/* A subscription that subscribes again gets one reset if events are gone. */
static void
test_reset_while_lagging(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = start_lagging(session, &pipe, PLAY_SUBSCRIBE_A);

	(void) state;
	play_reset(database, sub, 140, "gone"); /* crossed the UNSUBSCRIBE */
	take_two(&pipe);
	play_expect_nothing(&pipe);
	play_subscribed(database, sub, 1, true, 140);
	play_reset(database, sub, 140, "gone");
	play_expect(&pipe, 1, "\"reason\":\"gone\",\"position\":\"1-140\"}}");
	play_expect_nothing(&pipe);
}

/* A replay requests no more than fits, so that it does not start again and again. */
static void
test_window(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	play_config.client_buffer = 64 * 1024;
	play_subscribe(session, PLAY_SUBSCRIBE_A, 1, true, 50);
	assert_int_equal(play_sent[0].u.subscribe.window, 24 * 1024);
	play_config.client_buffer = 8 * 1024 * 1024;
	play_subscribe(session, PLAY_SUBSCRIBE_B_SINCE, 2, true, 50);
	assert_int_equal(play_sent[0].u.subscribe.window, WIRE_REPLAY_WINDOW);
}

static void
test_unsubscribe(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = start_lagging(session, &pipe, PLAY_SUBSCRIBE_A);

	(void) state;
	play_nsent = 0;
	play_receive(session, "{\"id\":2,\"method\":\"unsubscribe\",\"channel\":\"a\"}");
	assert_int_equal(play_nsent, 1);
	play_expect_end(0, sub);
	play_event(database, 1, 140, "140");
	play_notify(database, 1, "x");
	take_two(&pipe);
	play_expect(&pipe, 1, "\"id\":2,\"result\":{\"channel\":\"a\"}}");
	play_expect_nothing(&pipe);
	assert_int_equal(play_nsent, 1);

	/* The same while it waits for the feed's answer. */
	sub = start_lagging(session, &pipe, PLAY_SUBSCRIBE_A);
	take_two(&pipe);
	play_nsent = 0;
	play_receive(session, "{\"id\":2,\"method\":\"unsubscribe\",\"channel\":\"a\"}");
	assert_int_equal(play_nsent, 1);
	play_expect_end(0, sub);
	play_subscribed(database, sub, 1, true, 120);
	play_replay_event(database, sub, 130, "130");
	play_expect(&pipe, 1, "\"id\":2,\"result\":{\"channel\":\"a\"}}");
	play_expect_nothing(&pipe);
}

static void
test_link_lost(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe[2];
	Session *lagging = play_open(database, &pipe[0]);
	Session *drained = play_open(database, &pipe[1]);
	uint32_t sub = 0;

	(void) state;
	start_lagging(drained, &pipe[1], PLAY_SUBSCRIBE_A_INSERTS);
	play_position(database, 100);
	start_blocked(lagging, &pipe[0], PLAY_SUBSCRIBE_A);
	for (uint64_t id = 140; id <= 160; id += 10)
		play_event(database, 1, id, play_text(THIRD));
	hub_lost(database);
	take_two(&pipe[1]); /* while there is no link */
	play_nsent = 0;
	play_hello(&play_link_b, 2, 200);
	assert_int_equal(play_nsent, 2);
	for (size_t i = 0; i < 2; i++)
	{
		if (play_sent[i].u.subscribe.kinds == WIRE_KIND_NOTIFICATIONS)
		{
			sub = play_sent[i].u.subscribe.sub;
			play_expect_subscribe(1 - i, play_sent[1 - i].u.subscribe.sub, WIRE_OP_INSERT, 120);
		}
	}
	play_nsent = 0;
	take_two(&pipe[0]);
	assert_int_equal(play_nsent, 0); /* one answer at a time */
	play_subscribed(database, sub, 1, false, 200);
	sessions_flush(&play_sessions);
	assert_int_equal(play_nsent, 1);
	play_expect_subscribe(0, sub, WIRE_OP_ALL, 150);
	assert_int_equal(play_sent[0].u.subscribe.since.timeline, 1);
	play_subscribed(database, sub, 1, false, 150);
	play_event(database, 1, 201, "201");
	play_expect(&pipe[0], 1, "201");
}

/* A role may lose its privileges at any time. */
static void
test_ended(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	WireMessage ended = {.type = WIRE_STREAM_ENDED,
						 .u.ended = {1, WIRE_NOT_PERMITTED, play_bytes("no longer")}};
	WireMessage refused = {.type = WIRE_REFUSED,
						   .u.refused = {.reason = WIRE_NOT_PERMITTED, .text = play_bytes("no")}};
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub;

	(void) state;
	/* lagging */
	start_lagging(session, &pipe, PLAY_SUBSCRIBE_A);
	play_frame(database, ended);
	take_two(&pipe);
	play_expect(&pipe, 1, "\"message\":\"no longer\",\"data\":{\"channel\":\"a\"}}}");

	/* requested again: the feed ended the stream before it got the request */
	sub = start_lagging(session, &pipe, PLAY_SUBSCRIBE_A);
	take_two(&pipe);
	play_nsent = 0;
	play_frame(database, ended);
	play_expect_sent(0, WIRE_UNSUBSCRIBE, sub);
	play_expect(&pipe, 1, "\"data\":{\"channel\":\"a\"}}}");

	/* refused when it subscribes again */
	sub = start_lagging(session, &pipe, PLAY_SUBSCRIBE_A_INSERTS);
	take_two(&pipe);
	refused.u.refused.sub = sub;
	play_frame(database, refused);
	play_expect(&pipe, 1, "\"data\":{\"channel\":\"a\"}}}");

	/* the same, with raw notifications: the feed has ended these too */
	sub = start_lagging(session, &pipe, PLAY_SUBSCRIBE_A);
	take_two(&pipe);
	play_nsent = 0;
	refused.u.refused.sub = sub;
	play_frame(database, refused);
	assert_int_equal(play_nsent, 0);
	play_expect(&pipe, 1, "\"data\":{\"channel\":\"a\"}}}");

	/* only its raw notifications were requested when the link was lost */
	start_lagging(session, &pipe, PLAY_SUBSCRIBE_A);
	hub_lost(database);
	play_nsent = 0;
	play_hello(&play_link_b, 1, 130);
	assert_int_equal(play_nsent, 1);
	assert_int_equal(play_sent[0].u.subscribe.kinds, WIRE_KIND_NOTIFICATIONS);
	refused.u.refused.sub = play_sent[0].u.subscribe.sub;
	play_frame(database, refused);
	take_two(&pipe);
	play_expect(&pipe, 1, "\"data\":{\"channel\":\"a\"}}}");
	play_expect_nothing(&pipe);
	assert_int_equal(play_sessions.stats.subscriptions, 0);
}

/* The connection breaks in the write that was to make room. */
static void
test_broken(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	start_blocked(session, &pipe, PLAY_SUBSCRIBE_A);
	play_event(database, 1, 110, play_text(EVENTS));
	sessions_flush(&play_sessions);
	pipe.blocked = false;
	pipe.broken = true;
	play_event(database, 1, 120, "120");
	assert_int_equal(session->state, SESSION_LEAVING);
	assert_int_equal(play_sessions.stats.subscriptions, 0);

	session = play_open(database, &pipe);
	play_subscribe(session, PLAY_SUBSCRIBE_B_SINCE, 2, true, 50);
	sessions_flush(&play_sessions);
	pipe.blocked = true;
	play_replay_event(database, play_sent[0].u.subscribe.sub, 60, play_text(EVENTS));
	pipe.blocked = false;
	pipe.broken = true;
	play_replay_event(database, play_sent[0].u.subscribe.sub, 61, "61");
	assert_int_equal(session->state, SESSION_LEAVING);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, play_setup, play_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_burst),
		TEST(test_position),
		TEST(test_positions_told),
		TEST(test_stalled),
		TEST(test_slow_but_not_stalled),
		TEST(test_stalled_ping),
		TEST(test_stalled_behind_reset),
		TEST(test_answers_not_taken),
		TEST(test_answers_taken),
		TEST(test_soft_limit),
		TEST(test_memory_shared),
		TEST(test_memory_total),
		TEST(test_large),
		TEST(test_replay),
		TEST(test_several),
		TEST(test_replays_at_once),
		TEST(test_notify),
		TEST(test_notify_flood),
		TEST(test_notify_lost_by_feed),
		TEST(test_reset_while_lagging),
		TEST(test_window),
		TEST(test_unsubscribe),
		TEST(test_link_lost),
		TEST(test_ended),
		TEST(test_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
