/* Sessions and the hub, with a connection, a feed and a clock that the test plays. */
#include "unit.h"

#include "gateway/config.h"
#include "gateway/hub.h"
#include "gateway/session.h"

typedef struct Pipe
{
	Session *session;
	bool blocked;
	bool broken;
	bool waking;
	bool dropped;
	int probed;
	char out[65536]; /* what was written and not yet looked at */
	size_t len;
} Pipe;

static uint64_t clock_ms;
static Config config;
static Sessions sessions;
static Hub hub;
static WireMessage sent[256]; /* what went to the feed; strings are not kept */
static size_t nsent;
static int link_a;
static int link_b;

static uint64_t
pipe_now(void)
{
	return clock_ms;
}

static bool
pipe_ready(void *io)
{
	return !((Pipe *) io)->blocked;
}

static bool
pipe_write(void *io, const uint8_t *data, size_t len)
{
	Pipe *pipe = io;

	assert_false(pipe->blocked);
	assert_false(pipe->dropped);
	if (pipe->broken)
		return false;
	assert_true(pipe->len + len < sizeof(pipe->out));
	memcpy(pipe->out + pipe->len, data, len);
	pipe->len += len;
	return true;
}

static void
pipe_wake(void *io)
{
	((Pipe *) io)->waking = true;
}

static void
pipe_drop(void *io)
{
	((Pipe *) io)->dropped = true;
}

static void
pipe_probe(void *io)
{
	((Pipe *) io)->probed++;
}

static const SessionIo pipe_io = {
	.now = pipe_now,
	.ready = pipe_ready,
	.write = pipe_write,
	.wake = pipe_wake,
	.drop = pipe_drop,
	.probe = pipe_probe,
};

static void
feed_send(void *link, const WireMessage *message)
{
	(void) link;
	assert_true(nsent < UNIT_COUNT(sent));
	sent[nsent++] = *message;
}

static WireBytes
bytes(const char *text)
{
	return (WireBytes){.data = text, .len = (uint32_t) strlen(text)};
}

static Database *
hello(int *link, uint32_t timeline, uint64_t id)
{
	WireHello message = {.version = WIRE_VERSION, .position = {timeline, id}, .database = bytes("db")};
	void *replaced;

	return hub_hello(&hub, &message, link, &replaced);
}

static void
from_feed(Database *database, WireMessage message)
{
	assert_int_equal(hub_message(&hub, database, &message), HUB_OK);
}

static void
event(Database *database, uint32_t stream, uint64_t id, const char *text)
{
	uint8_t number[4];

	wire_store_u32(number, stream);
	from_feed(
		database,
		(WireMessage){
			.type = WIRE_EVENT,
			.u.event = {
				.id = id, .op = WIRE_OP_INSERT, .nstreams = 1, .streams = number, .text = bytes(text)}});
}

static void
subscribed(Database *database, uint32_t sub, uint32_t stream, bool replay, uint64_t id)
{
	from_feed(
		database,
		(WireMessage){.type = WIRE_SUBSCRIBED,
					  .u.subscribed = {.sub = sub, .stream = stream, .replay = replay, .position = {1, id}}});
}

static void
position(Database *database, uint64_t id)
{
	from_feed(database, (WireMessage){.type = WIRE_POSITION, .u.position = {.id = id}});
}

static Session *
open_session(Database *database, Pipe *pipe)
{
	*pipe = (Pipe){0};
	pipe->session = session_open(&sessions, database, "test", true, pipe);
	return pipe->session;
}

static void
receive(Session *session, const char *text)
{
	session_received(session, text, strlen(text), 0, true, false);
}

/* Subscribe and let the feed answer; returns the subscription's number. */
static uint32_t
subscribe(Session *session, const char *request, uint32_t stream, bool replay, uint64_t id)
{
	Database *database = session->database;
	uint32_t sub;

	nsent = 0;
	receive(session, request);
	assert_int_equal(nsent, 1);
	sub = sent[0].u.subscribe.sub;
	subscribed(database, sub, stream, replay, id);
	return sub;
}

/* Settle, and compare what was written with these short frames, one after the other. */
static void
expect(Pipe *pipe, int opcode, const char *text)
{
	size_t size;

	sessions_settle(&sessions);
	assert_true(pipe->len >= 2);
	assert_int_equal((uint8_t) pipe->out[0], 0x80 | opcode);
	size = (uint8_t) pipe->out[1] == 126 ? 4 + ((size_t) (uint8_t) pipe->out[2] << 8 | (uint8_t) pipe->out[3])
										 : 2 + (size_t) (uint8_t) pipe->out[1];
	assert_true(pipe->len >= size);
	if (strlen(text) > size || memcmp(pipe->out + size - strlen(text), text, strlen(text)) != 0)
		fail_msg("expected %s, got %.*s", text, (int) size, pipe->out);
	memmove(pipe->out, pipe->out + size, pipe->len - size);
	pipe->len -= size;
}

static void
expect_nothing(Pipe *pipe)
{
	sessions_settle(&sessions);
	assert_int_equal(pipe->len, 0);
}

static void
tick(uint64_t ms)
{
	clock_ms += ms;
	sessions_tick(&sessions);
}

static int
setup(void **state)
{
	(void) state;
	clock_ms = 1000000;
	nsent = 0;
	config = (Config){.max_clients = 10, .max_message = 1000, .client_buffer = 1000, .keepalive_ms = 0};
	sessions_init(&sessions, &pipe_io, &config, &hub);
	hub_init(&hub, feed_send, &sessions);
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	sessions_free(&sessions);
	hub_free(&hub);
	return 0;
}

#define SUBSCRIBE_A       "{\"id\":1,\"method\":\"subscribe\",\"channel\":\"a\"}"
#define SUBSCRIBE_B_SINCE "{\"id\":2,\"method\":\"subscribe\",\"channel\":\"b\",\"since\":\"1-50\"}"

static void
test_bookmark(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	Pipe pipe;
	Session *session = open_session(database, &pipe);
	uint32_t replaying;

	(void) state;
	position(database, 150);
	tick(SESSION_BOOKMARK_MS + 1);
	expect_nothing(&pipe); /* nothing is subscribed */
	subscribe(session, SUBSCRIBE_A, 1, false, 150);
	expect(&pipe, 1, "\"1-150\"}}");
	tick(SESSION_BOOKMARK_MS + 1);
	expect_nothing(&pipe); /* it has not moved */
	position(database, 160);
	tick(1000);
	expect(&pipe, 1, "{\"jsonrpc\":\"2.0\",\"method\":\"position\",\"params\":{\"position\":\"1-160\"}}");
	position(database, 170);
	tick(SESSION_BOOKMARK_MS - 1);
	expect_nothing(&pipe); /* too early */
	event(database, 1, 171, "171");
	expect(&pipe, 1, "171");
	tick(SESSION_BOOKMARK_MS + 1);
	expect_nothing(&pipe); /* the event told it */

	replaying = subscribe(session, SUBSCRIBE_B_SINCE, 2, true, 50);
	expect(&pipe, 1, "\"1-50\"}}");
	position(database, 180);
	tick(SESSION_BOOKMARK_MS + 1);
	expect_nothing(&pipe); /* a replay is under way */
	from_feed(database, (WireMessage){.type = WIRE_REPLAY_DONE, .u.replay_done = {replaying, 180}});
	position(database, 181);
	hub_lost(database);
	tick(SESSION_BOOKMARK_MS + 1);
	expect_nothing(&pipe); /* the link is lost */
}

static void
test_keepalive(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	Pipe quiet;
	Pipe alive;
	Session *session;

	(void) state;
	config.keepalive_ms = 10000;
	open_session(database, &quiet);
	session = open_session(database, &alive);
	tick(9999);
	expect_nothing(&quiet);
	receive(session, "{\"method\":\"ping\"}");
	tick(1);
	expect(&quiet, 9, "pg_notifyd");
	expect_nothing(&alive);
	tick(9999);
	expect_nothing(&quiet);
	expect(&alive, 9, "pg_notifyd");
	session_alive(session);
	tick(1);
	expect(&quiet, 8, "\x03\xf0no answer to a ping");
	assert_int_equal(quiet.session->state, SESSION_CLOSING);
	assert_false(quiet.dropped);
	tick(SESSION_CLOSE_MS);
	assert_true(quiet.dropped);
	assert_int_equal(session->state, SESSION_OPEN);
}

/* A client that takes what is queued is alive, though its pong stands behind it all. */
static void
test_taking_is_alive(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	Pipe pipe;
	Session *session = open_session(database, &pipe);

	(void) state;
	config.keepalive_ms = 10000;
	subscribe(session, SUBSCRIBE_A, 1, false, 100);
	expect(&pipe, 1, "\"1-100\"}}");
	pipe.blocked = true;
	event(database, 1, 101, "101");
	sessions_settle(&sessions);
	assert_true(pipe.waking);
	tick(10000);
	assert_int_equal(pipe.probed, 1);
	tick(9999);
	session_writable(session); /* took something, and is full again */
	tick(1);
	assert_int_equal(session->state, SESSION_OPEN);
	tick(9999);
	tick(10000);
	assert_int_equal(session->state, SESSION_CLOSING);
}

/* The position in the close reason is before everything that was not delivered. */
static void
test_too_slow(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	char text[301];
	Pipe pipe;
	Session *session = open_session(database, &pipe);

	(void) state;
	memset(text, 'x', 300);
	text[300] = '\0';
	subscribe(session, SUBSCRIBE_A, 1, false, 100);
	event(database, 1, 110, "110");
	expect(&pipe, 1, "\"1-100\"}}");
	expect(&pipe, 1, "110");
	pipe.blocked = true;
	position(database, 115);
	for (uint64_t id = 120; session->state == SESSION_OPEN; id += 10)
		event(database, 1, id, text);
	assert_int_equal(sessions.stats.closed_slow, 1);
	assert_int_equal(nsent, 2);
	assert_int_equal(sent[1].type, WIRE_UNSUBSCRIBE);
	expect_nothing(&pipe);
	pipe.blocked = false;
	session_writable(session);
	expect(&pipe, 8, "\x0f\xa8too slow; resume from 1-115");
	expect_nothing(&pipe);
	assert_int_equal(sessions.stats.queued, 0);
}

static void
test_too_slow_behind_reset(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	char text[2001];
	Pipe pipe;
	Session *session = open_session(database, &pipe);
	uint32_t sub = subscribe(session, SUBSCRIBE_B_SINCE, 2, true, 50);

	(void) state;
	memset(text, 'x', 2000);
	text[2000] = '\0';
	expect(&pipe, 1, "\"1-50\"}}");
	pipe.blocked = true;
	from_feed(database, (WireMessage){.type = WIRE_RESET, .u.reset = {sub, {1, 90}, bytes("gone")}});
	from_feed(database, (WireMessage){.type = WIRE_REPLAY_EVENT, .u.replay_event = {sub, 95, bytes(text)}});
	assert_int_equal(session->state, SESSION_CLOSING);
	pipe.blocked = false;
	session_writable(session);
	expect(&pipe, 8, "too slow; resume from 1-50");
}

/* One message may be larger than the buffer, and a round may be, for a client that takes it. */
static void
test_large_is_not_slow(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	static char text[5001];
	Pipe pipe;
	Session *session = open_session(database, &pipe);

	(void) state;
	memset(text, 'x', 5000);
	subscribe(session, SUBSCRIBE_A, 1, false, 100);
	expect(&pipe, 1, "\"1-100\"}}");
	for (uint64_t id = 101; id < 110; id++)
		event(database, 1, id, text);
	sessions_settle(&sessions);
	assert_int_equal(pipe.len, 9 * 5004);
	pipe.blocked = true;
	pipe.len = 0;
	event(database, 1, 110, text);
	sessions_settle(&sessions);
	assert_int_equal(session->state, SESSION_OPEN);
	event(database, 1, 111, "one more");
	assert_int_equal(session->state, SESSION_CLOSING);
}

static void
test_credit(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	static char text[20001];
	Pipe pipe;
	Session *session = open_session(database, &pipe);
	uint32_t sub = subscribe(session, SUBSCRIBE_B_SINCE, 2, true, 50);

	(void) state;
	config.client_buffer = 1000000;
	memset(text, 'x', 20000);
	sessions_settle(&sessions);
	nsent = 0;
	pipe.blocked = true;
	for (uint64_t id = 51; id < 54; id++)
		from_feed(database,
				  (WireMessage){.type = WIRE_REPLAY_EVENT, .u.replay_event = {sub, id, bytes(text)}});
	sessions_settle(&sessions);
	assert_int_equal(nsent, 0); /* nothing was written, so nothing is given */
	pipe.blocked = false;
	pipe.len = 0;
	session_writable(session);
	assert_int_equal(nsent, 2);
	assert_int_equal(sent[0].type, WIRE_REPLAY_CREDIT);
	assert_int_equal(sent[0].u.credit.sub, sub);
	assert_int_equal(sent[0].u.credit.bytes + sent[1].u.credit.bytes, 60000);
}

static void
test_detached(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	Pipe pipe;
	Session *session = open_session(database, &pipe);

	(void) state;
	subscribe(session, SUBSCRIBE_A, 1, false, 100);
	subscribe(session, SUBSCRIBE_B_SINCE, 2, true, 50);
	event(database, 1, 105, "105");
	position(database, 120);
	hub_lost(database);
	assert_int_equal(hub_session_position(session).id, 50);
	nsent = 0;
	receive(session, "{\"id\":3,\"method\":\"subscribe\",\"channel\":\"c\"}");
	receive(session, "{\"id\":4,\"method\":\"unsubscribe\",\"channel\":\"b\"}");
	assert_int_equal(nsent, 0);
	assert_ptr_equal(hello(&link_b, 2, 200), database);
	assert_int_equal(nsent, 2);
	assert_int_equal(sent[0].u.subscribe.has_since, 1);
	assert_int_equal(sent[0].u.subscribe.since.timeline, 1);
	assert_int_equal(sent[0].u.subscribe.since.id, 120);
	assert_int_equal(sent[1].u.subscribe.has_since, 0);
	expect(&pipe, 1, "\"1-100\"}}");
	expect(&pipe, 1, "\"1-50\"}}");
	expect(&pipe, 1, "105");
	expect(&pipe, 1, "\"id\":4,\"result\":{\"channel\":\"b\"}}");
	subscribed(database, sent[0].u.subscribe.sub, 7, false, 200);
	expect_nothing(&pipe); /* the client asked once only */
	subscribed(database, sent[1].u.subscribe.sub, 8, false, 200);
	expect(&pipe, 1, "\"id\":3,\"result\":{\"channel\":\"c\",\"position\":\"1-200\"}}");
}

/* A feed that breaks the rules is given up, whatever it does. */
static void
test_bad_feed(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	Pipe pipe;
	Session *session = open_session(database, &pipe);
	uint32_t live = subscribe(session, SUBSCRIBE_A, 1, false, 100);
	uint32_t replaying = subscribe(session, SUBSCRIBE_B_SINCE, 2, true, 50);
	uint32_t waiting;
	WireMessage bad[] = {
		{.type = WIRE_SUBSCRIBED, .u.subscribed = {.sub = live, .stream = 1}},
		{.type = WIRE_REPLAY_DONE, .u.replay_done = {live, 100}},
		{.type = WIRE_REPLAY_EVENT, .u.replay_event = {live, 101, bytes("x")}},
		{.type = WIRE_REPLAY_EVENT, .u.replay_event = {replaying, 50, bytes("x")}},
		{.type = WIRE_SUBSCRIBE},
		{.type = WIRE_CONFIG},
		{.type = WIRE_SUBSCRIBED, .u.subscribed = {.stream = 1}}, /* of another channel's stream */
	};

	(void) state;
	nsent = 0;
	receive(session, "{\"id\":3,\"method\":\"subscribe\",\"channel\":\"c\"}");
	waiting = sent[0].u.subscribe.sub;
	bad[UNIT_COUNT(bad) - 1].u.subscribed.sub = waiting;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
		assert_int_equal(hub_message(&hub, database, &bad[i]), HUB_BAD);
	/* What concerns nobody is no fault: it crossed an UNSUBSCRIBE. */
	subscribed(database, 12345, 1, false, 100);
	event(database, 54321, 101, "x");
	from_feed(database, (WireMessage){.type = WIRE_REPLAY_DONE, .u.replay_done = {12345, 1}});
	from_feed(database, (WireMessage){.type = WIRE_STREAM_ENDED, .u.ended = {54321, -32003, bytes("x")}});
}

static void
test_broken(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	Pipe pipe;
	Session *session = open_session(database, &pipe);

	(void) state;
	subscribe(session, SUBSCRIBE_A, 1, false, 100);
	pipe.broken = true;
	sessions_settle(&sessions);
	assert_true(pipe.dropped);
	assert_int_equal(session->state, SESSION_LEAVING);
	assert_int_equal(sessions.stats.subscriptions, 0);
	event(database, 1, 101, "101");
	session_closed(session);
	sessions_settle(&sessions);
	assert_int_equal(sessions.count, 0);
	assert_int_equal(sessions.stats.queued, 0);
}

static void
test_messages(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	Pipe pipe;
	Session *session = open_session(database, &pipe);

	(void) state;
	session_received(session, "{\"id\":1,", 8, 5, false, false);
	session_received(session, "     ", 5, 0, false, false);
	tick(SESSION_MESSAGE_MS);
	session_received(session, "\"method\":\"ping\"}", 16, 0, true, false);
	expect(&pipe, 1, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"position\":\"1-100\"}}");
	assert_null(session->partial);

	session_received(session, "{", 1, 0, false, false);
	tick(SESSION_MESSAGE_MS + 1);
	expect(&pipe, 8, "message not complete in time");
	receive(session, "{\"id\":1,\"method\":\"ping\"}");
	expect_nothing(&pipe);
	assert_false(session_answer_close(session));
}

static void
test_goodbye(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	WireMessage message = {.type = WIRE_GOODBYE, .u.goodbye.reason = bytes("dropped")};
	Pipe pipe[2];

	(void) state;
	subscribe(open_session(database, &pipe[0]), SUBSCRIBE_A, 1, false, 100);
	open_session(database, &pipe[1]);
	nsent = 0;
	assert_int_equal(hub_message(&hub, database, &message), HUB_GOODBYE);
	assert_int_equal(nsent, 0);
	assert_null(hub_find(&hub, "db", 2));
	expect(&pipe[0], 1, "\"1-100\"}}");
	expect(&pipe[0], 8,
		   "\x03\xe9"
		   "dropped");
	expect(&pipe[1], 8,
		   "\x03\xe9"
		   "dropped");
	assert_true(session_answer_close(pipe[0].session) == false);
}

/* The launcher knows better than a feed that has left the database to be dropped. */
static void
test_gone(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	Pipe pipe;

	(void) state;
	open_session(database, &pipe);
	assert_null(hub_gone(&hub, bytes("other")));
	hub_lost(database);
	assert_null(hub_gone(&hub, bytes("db")));
	assert_null(hub_find(&hub, "db", 2));
	expect(&pipe, 8,
		   "\x03\xe9"
		   "the database is gone");

	hello(&link_a, 1, 100);
	assert_ptr_equal(hub_gone(&hub, bytes("db")), &link_a);
}

static void
test_current(void **state)
{
	Database *database = hello(&link_a, 1, 100);
	const char *why;

	(void) state;
	assert_false(hub_database_current(database, clock_ms, &why));
	assert_string_equal(why, "its feed is silent");
	position(database, 100);
	assert_true(hub_database_current(database, clock_ms + HUB_CURRENT_MS, &why));
	assert_false(hub_database_current(database, clock_ms + HUB_CURRENT_MS + 1, &why));
	from_feed(database, (WireMessage){.type = WIRE_POSITION, .u.position = {100, HUB_BEHIND_MS + 1}});
	assert_false(hub_database_current(database, clock_ms, &why));
	assert_string_equal(why, "its feed is behind");
	hub_lost(database);
	assert_false(hub_database_current(database, clock_ms, NULL));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bookmark),
		TEST(test_keepalive),
		TEST(test_taking_is_alive),
		TEST(test_too_slow),
		TEST(test_too_slow_behind_reset),
		TEST(test_large_is_not_slow),
		TEST(test_credit),
		TEST(test_detached),
		TEST(test_bad_feed),
		TEST(test_broken),
		TEST(test_messages),
		TEST(test_goodbye),
		TEST(test_gone),
		TEST(test_current),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
