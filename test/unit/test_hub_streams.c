/* The hub with events of several frames, subscriptions that move between streams, and their ends. */
#include "play.h"

#include "gateway/protocol/jsonrpc.h"

#define SUBSCRIBE_TO_A "{\"id\":9,\"method\":\"subscribe\",\"channel\":\"a\"}"

/* One of the frames of an event, for one stream. */
static void
part(Database *database, uint32_t stream, uint64_t id, uint8_t more, const char *text)
{
	uint8_t number[4];

	wire_store_u32(number, stream);
	play_frame(database, (WireMessage){.type = WIRE_EVENT,
									   .u.event = {.id = id,
												   .op = WIRE_OP_UPDATE,
												   .more = more,
												   .nstreams = 1,
												   .streams = number,
												   .body = play_bytes(text)}});
}

static void
moved(Database *database, uint32_t sub, uint32_t stream)
{
	play_frame(database,
			   (WireMessage){.type = WIRE_MOVED, .u.moved = {.sub = sub, .stream = stream}});
}

static void
ended(Database *database, uint32_t sub)
{
	play_frame(database, (WireMessage){.type = WIRE_SUBSCRIPTION_ENDED,
									   .u.subscription_ended = {.sub = sub,
																.reason = WIRE_POLICY_FAILED,
																.text = play_bytes("failed")}});
}

/* Subscribe to channel a in this stream, and take the answer. */
static uint32_t
subscribe(Session *session, PlayPipe *pipe, uint32_t stream)
{
	uint32_t sub = play_subscribe(session, SUBSCRIBE_TO_A, stream, false, 100);

	play_expect(pipe, 1, "\"1-100\"}}");
	return sub;
}

/* The link reaches an event only with its last frame, so a client that missed it resumes before. */
static void
test_more(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe one;
	PlayPipe two;
	Session *first = play_open(database, &one);
	Session *second = play_open(database, &two);

	(void) state;
	subscribe(first, &one, 1);
	subscribe(second, &two, 2);
	part(database, 1, 101, 1, "for 1");
	play_expect(&one, 1, "for 1");
	play_expect_nothing(&two);
	assert_int_equal(database->position.id, 100);
	assert_int_equal(hub_client_position(play_client(first)).id, 101);
	assert_int_equal(hub_client_position(play_client(second)).id, 100);
	part(database, 2, 101, 0, "for 2");
	play_expect(&two, 1, "for 2");
	play_expect_nothing(&one);
	assert_int_equal(database->position.id, 101);

	/* The link is lost between the frames: both resume after what they got. */
	part(database, 2, 102, 1, "for 2");
	hub_lost(database);
	play_nsent = 0;
	play_hello(&play_link_b, 1, 105);
	assert_int_equal(play_nsent, 2);
	play_expect_subscribe(0, play_sent[0].u.subscribe.sub, WIRE_OP_ALL, 101);
	play_expect_subscribe(1, play_sent[1].u.subscribe.sub, WIRE_OP_ALL, 102);
}

static void
test_moved(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	WireMessage bad = {.type = WIRE_MOVED};
	PlayPipe one;
	PlayPipe two;
	Session *first = play_open(database, &one);
	Session *second = play_open(database, &two);
	uint32_t sub = subscribe(first, &one, 1);

	(void) state;
	subscribe(second, &two, 1);
	moved(database, sub, 2);
	part(database, 1, 101, 1, "for 1");
	part(database, 2, 101, 0, "for 2");
	play_expect(&one, 1, "for 2");
	play_expect_nothing(&one);
	play_expect(&two, 1, "for 1");
	play_expect_nothing(&two);

	/* Back to a stream that has others, and to one that has ended. */
	moved(database, sub, 1);
	part(database, 2, 102, 1, "for 2");
	part(database, 1, 102, 0, "for 1");
	play_expect(&one, 1, "for 1");
	play_expect(&two, 1, "for 1");

	/* It crossed an UNSUBSCRIBE, or the stream is of another channel. */
	moved(database, 12345, 2);
	play_subscribe(second, PLAY_SUBSCRIBE_B, 5, false, 102);
	bad.u.moved.sub = sub;
	bad.u.moved.stream = 5;
	assert_int_equal(hub_message(&play_hub, database, &bad), HUB_BAD);
}

/* A subscription that lags has no stream to move from. */
static void
test_moved_lagging(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = play_subscribe(session, PLAY_SUBSCRIBE_A_INSERTS, 1, false, 100);

	(void) state;
	play_expect(&pipe, 1, "\"1-100\"}}");
	pipe.blocked = true;
	play_event(database, 1, 101, play_text(600));
	play_nsent = 0;
	play_event(database, 1, 102, play_text(600));
	play_expect_lag(0, sub);
	moved(database, sub, 2);
	play_event(database, 2, 103, "103");
	play_unblock(&pipe);
	play_expect(&pipe, 1, play_text(600));
	play_expect_nothing(&pipe);
}

static void
test_subscription_ended(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe one;
	PlayPipe two;
	Session *first = play_open(database, &one);
	Session *second = play_open(database, &two);
	uint32_t sub = subscribe(first, &one, 1);

	(void) state;
	subscribe(second, &two, 1);
	ended(database, sub);
	ended(database, 12345);
	play_expect(&one, 1, "\"message\":\"failed\",\"data\":{\"channel\":\"a\"}}}");
	play_event(database, 1, 101, "101");
	play_expect_nothing(&one);
	play_expect(&two, 1, "101");
	assert_int_equal(play_sessions.stats.subscriptions, 1);

	/* It was requested again: the feed ended it before it got the request. */
	sub = subscribe(first, &one, 1);
	hub_lost(database);
	play_nsent = 0;
	play_hello(&play_link_b, 1, 105);
	sub = play_sent[play_sent[0].u.subscribe.session == first->number ? 0 : 1].u.subscribe.sub;
	play_nsent = 0;
	ended(database, sub);
	play_expect_end(0, sub);
	play_expect(&one, 1, "\"message\":\"failed\",\"data\":{\"channel\":\"a\"}}}");
}

/* A subscription takes its filter and columns along, also when it subscribes again. */
static void
test_selection(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	const WireSubscribe *sent = &play_sent[0].u.subscribe;

	(void) state;
	subscribe(session, &pipe, 1);
	assert_int_equal(sent->filter.len, 0);
	assert_int_equal(sent->has_columns, 0);
	play_receive(session, "{\"method\":\"unsubscribe\",\"channel\":\"a\"}");
	play_subscribe(session,
				   "{\"method\":\"subscribe\",\"channel\":\"a\",\"filter\":\"id=eq.7\","
				   "\"columns\":[\"id\",\"b\"]}",
				   1, false, 100);
	for (int i = 0; i < 2; i++)
	{
		assert_int_equal(sent->filter.len, 7);
		assert_memory_equal(sent->filter.data, "id=eq.7", 7);
		assert_int_equal(sent->has_columns, 1);
		assert_int_equal(sent->columns.len, 11);
		assert_memory_equal(sent->columns.data, "\2\0\0\0id\1\0\0\0b", 11);
		hub_lost(database);
		play_nsent = 0;
		play_hello(&play_link_b, 1, 100);
		assert_int_equal(play_nsent, 1);
	}
}

#define SUBSCRIBE_TAGGED(tag, filter)                                                              \
	"{\"id\":9,\"method\":\"subscribe\",\"channel\":\"a\",\"tag\":\"" tag                          \
	"\",\"filter\":\"" filter "\"}"

/* A client has several subscriptions to a channel, and their tags in what it gets. */
static void
test_tags(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_connect(database, &jsonrpc_protocol, "test", &pipe);
	uint32_t first;

	(void) state;
	subscribe(session, &pipe, 1);
	first = play_subscribe(session, SUBSCRIBE_TAGGED("x", "a=eq.1"), 2, false, 100);
	play_expect(&pipe, 1, "\"result\":{\"channel\":\"a\",\"tag\":\"x\",\"position\":\"1-100\"}}");
	play_subscribe(session, SUBSCRIBE_TAGGED("y", "a=eq.2"), 2, false, 100);
	play_expect(&pipe, 1, "\"tag\":\"y\",\"position\":\"1-100\"}}");
	play_receive(session, SUBSCRIBE_TAGGED("x", "a=eq.1"));
	play_expect(&pipe, 1, "\"already subscribed\",\"data\":{\"channel\":\"a\",\"tag\":\"x\"}}}");

	part(database, 1, 101, 1, "{\"n\":1}");
	part(database, 2, 101, 0, "{\"n\":2}");
	play_expect(&pipe, 1, "\"params\":{\"n\":1}}");
	play_expect(&pipe, 1, "\"params\":{\"tag\":\"y\",\"n\":2}}");
	play_expect(&pipe, 1, "\"params\":{\"tag\":\"x\",\"n\":2}}");
	play_reset(database, first, 102, "why");
	play_expect(
		&pipe, 1,
		"\"params\":{\"channel\":\"a\",\"tag\":\"x\",\"reason\":\"why\",\"position\":\"1-102\"}}");

	/* By tag or filter; the channel alone stands for all of them. */
	play_nsent = 0;
	play_receive(session, "{\"id\":1,\"method\":\"unsubscribe\",\"channel\":\"a\",\"tag\":\"z\"}");
	play_expect(&pipe, 1, "\"not subscribed\",\"data\":{\"channel\":\"a\",\"tag\":\"z\"}}}");
	play_receive(session,
				 "{\"id\":1,\"method\":\"unsubscribe\",\"channel\":\"a\",\"filter\":\"a=eq.1\"}");
	play_expect(&pipe, 1, "\"result\":{\"channel\":\"a\"}}");
	play_expect_end(0, first);
	assert_int_equal(play_nsent, 1);
	play_receive(session, "{\"id\":1,\"method\":\"unsubscribe\",\"channel\":\"a\"}");
	play_expect(&pipe, 1, "\"result\":{\"channel\":\"a\"}}");
	assert_int_equal(play_nsent, 3);
	assert_int_equal(play_sessions.stats.subscriptions, 0);
}

/* A client that is closed in the middle of an event has a second subscription in the stream. */
static void
test_closed_between(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	PlayPipe other;
	Session *session = play_open(database, &pipe);
	char body[500];

	(void) state;
	subscribe(play_open(database, &other), &other, 1);
	play_subscribe(session, SUBSCRIBE_TAGGED("x", "a=eq.1"), 1, false, 100);
	play_subscribe(session, SUBSCRIBE_TAGGED("y", "a=eq.01"), 1, false, 100);
	play_expect(&pipe, 1, "\"tag\":\"x\",\"position\":\"1-100\"}}");
	play_expect(&pipe, 1, "\"tag\":\"y\",\"position\":\"1-100\"}}");
	snprintf(body, sizeof(body), "{\"t\":\"%s\"}", play_text(300));
	pipe.blocked = true;
	part(database, 1, 101, 0, body);
	pipe.broken = true;
	pipe.blocked = false;
	part(database, 1, 102, 0, body);
	assert_int_equal(play_sessions.stats.subscriptions, 1);
	play_expect(&other, 1, body);
	play_expect(&other, 1, body);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, play_setup, play_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_more),           TEST(test_moved),
		TEST(test_moved_lagging),  TEST(test_subscription_ended),
		TEST(test_selection),      TEST(test_tags),
		TEST(test_closed_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
