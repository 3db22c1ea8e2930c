/*
 * Clients of different protocols on one hub: each gets frames of its own protocol, and the frame of
 * an event is built once for each protocol.
 */
#include "play.h"

#include "gateway/protocol/jsonrpc.h"
#include "gateway/protocol/payload.h"

/* A protocol of single letters: "s" subscribes to channel a, "u" unsubscribes, anything else fails. */
static int tiny_built;

static Frame *
tiny_frame(const char *letter, WireBytes bytes)
{
	WireBytes parts[] = {play_bytes(letter), bytes};

	return frame_text(parts, UNIT_COUNT(parts));
}

static bool
tiny_parse(const char *text, size_t len, Request *request, Frame **answer)
{
	*request = (Request){.ops = WIRE_OP_ALL, .channel = "a", .channel_len = 1};
	if (len == 1 && (*text == 's' || *text == 'u'))
	{
		request->method = *text == 's' ? REQUEST_SUBSCRIBE : REQUEST_UNSUBSCRIBE;
		request->id = strdup("1");
		return true;
	}
	*answer = tiny_frame("?", (WireBytes){.data = text, .len = (uint32_t) len});
	return false;
}

static Frame *
tiny_event(const ProtocolEvent *event)
{
	char head[64];

	tiny_built++;
	snprintf(head, sizeof(head), "%s %.*s %llu ", wire_op_name(event->op),
			 (int) event->name.channel.len, event->name.channel.data,
			 (unsigned long long) event->position.id);
	return tiny_frame(head, event->body);
}

static Frame *
tiny_result(RequestMethod method, const char *id, ProtocolName name, WirePosition position,
			bool inside)
{
	(void) position;
	(void) inside;
	assert_string_equal(id, "1");
	return tiny_frame(method == REQUEST_SUBSCRIBE ? "S" : "U", name.channel);
}

static Frame *
tiny_refusal(const char *id, ProtocolReason reason, WireBytes text, ProtocolName name)
{
	(void) id;
	(void) name;
	return tiny_frame(reason == PROTOCOL_NOT_PERMITTED ? "permission:" : "other:", text);
}

static Frame *
tiny_reset(ProtocolName name, WireBytes reason, WirePosition position, bool inside)
{
	(void) name;
	(void) position;
	(void) inside;
	return tiny_frame("R", reason);
}

static Frame *
tiny_position(WirePosition position)
{
	assert_int_equal(position.id, 150);
	return tiny_frame("P", play_bytes(""));
}

static const Protocol tiny = {
	.number = 2,
	.parse = tiny_parse,
	.event = tiny_event,
	.result = tiny_result,
	.refusal = tiny_refusal,
	.reset = tiny_reset,
	.position = tiny_position,
};

/* The same, binary: a tilde stands before each message. */
static int tiny_encoded;

static Frame *
tiny_encode(Frame *frame)
{
	size_t offset = 0;
	WireBytes parts[2] = {{.data = "~", .len = 1}};
	Frame *encoded;

	tiny_encoded++;
	assert_true(frame_next(frame, &offset, &parts[1]));
	assert_int_equal(offset, frame->len);
	encoded = frame_binary(parts, 2);
	frame_unref(frame);
	return encoded;
}

static Session *
open_tiny(Database *database, PlayPipe *pipe, uint32_t stream)
{
	Session *session = play_connect(database, &tiny, "test", pipe);

	play_subscribe(session, "s", stream, false, 100);
	play_expect(pipe, 1, "Sa");
	return session;
}

static Session *
open_plain(Database *database, PlayPipe *pipe, uint32_t stream)
{
	Session *session = play_open(database, pipe);

	play_subscribe(session, PLAY_SUBSCRIBE_A, stream, false, 100);
	play_expect(pipe, 1, "\"1-100\"}}");
	return session;
}

/* An event goes to clients of both protocols, in two streams, in a mixed order. */
static void
test_one_frame_each(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe plain[3];
	PlayPipe tinies[3];
	uint8_t streams[8];
	WireMessage event = {
		.type = WIRE_EVENT,
		.u.event = {
			.op = WIRE_OP_UPDATE, .nstreams = 2, .streams = streams, .body = play_bytes("x")}};

	(void) state;
	for (size_t i = 0; i < 3; i++)
	{
		open_plain(database, &plain[i], i < 2 ? 1 : 2);
		open_tiny(database, &tinies[i], i < 2 ? 1 : 2);
	}
	wire_store_u32(streams, 1);
	wire_store_u32(streams + 4, 2);
	tiny_built = 0;
	for (int id = 101; id <= 103; id++)
	{
		char text[32];

		event.u.event.id = (uint64_t) id;
		play_frame(database, event);
		assert_int_equal(play_built, id - 100);
		assert_int_equal(tiny_built, id - 100);
		snprintf(text, sizeof(text), "UPDATE a %d x", id);
		for (size_t i = 0; i < 3; i++)
		{
			play_expect(&plain[i], 1, "x");
			play_expect(&tinies[i], 1, text);
		}
	}
}

/*
 * They share the frame: the queues of many clients need no more memory than one, except for their
 * entries.
 */
static void
test_shared(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipes[10];
	size_t before;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(pipes); i++)
	{
		open_tiny(database, &pipes[i], 1);
		pipes[i].blocked = true;
	}
	before = frame_memory();
	play_event(database, 1, 101, play_text(50000));
	assert_between(frame_memory() - before, 50000, 60000);
}

/* If no client of a protocol wants an event, no frame is built for it. */
static void
test_none_wanted(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe plain;
	PlayPipe tinies;
	Session *session = play_open(database, &plain);

	(void) state;
	open_tiny(database, &tinies, 1);
	tiny_built = 0;
	play_subscribe(session, "{\"method\":\"subscribe\",\"channel\":\"a\",\"ops\":[\"DELETE\"]}", 1,
				   false, 100);
	play_event(database, 1, 101, "x");
	play_expect(&tinies, 1, "INSERT a 101 x");
	play_expect_nothing(&plain);
	assert_int_equal(tiny_built, 1);
	assert_int_equal(play_built, 0);
}

/* Its protocol also builds everything else that a client gets. */
static void
test_messages(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = open_tiny(database, &pipe, 1);
	WireMessage ended = {.type = WIRE_STREAM_ENDED,
						 .u.ended = {1, WIRE_NOT_PERMITTED, play_bytes("no longer")}};
	uint32_t sub;

	(void) state;
	play_receive(session, "what");
	play_expect(&pipe, 1, "?what");
	play_receive(session, "s");
	play_expect(&pipe, 1, "other:already subscribed");
	play_position(database, 150);
	play_tick(HUB_BOOKMARK_MS + 1);
	play_expect(&pipe, 1, "P");
	play_receive(session, "u");
	play_expect(&pipe, 1, "Ua");
	sub = play_subscribe(session, "s", 1, true, 50);
	play_expect(&pipe, 1, "Sa");
	play_replay_event(database, sub, 60, "60");
	play_expect(&pipe, 1, "INSERT a 60 60");
	play_reset(database, sub, 70, "gone");
	play_expect(&pipe, 1, "Rgone");
	play_frame(database, ended);
	play_expect(&pipe, 1, "permission:no longer");
}

/* A protocol whose messages are binary: each is encoded, and an event once for all clients. */
static void
test_binary(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	Protocol binary = tiny;
	PlayPipe pipes[3];
	Session *sessions[3];
	PlayPipe other;

	(void) state;
	binary.number = 3;
	binary.encode = tiny_encode;
	open_tiny(database, &other, 1);
	for (size_t i = 0; i < UNIT_COUNT(pipes); i++)
	{
		sessions[i] = play_connect(database, &binary, "test", &pipes[i]);
		play_nsent = 0;
		session_received(sessions[i], "s", 1, 0, true, true, false);
		assert_int_equal(play_nsent, 1);
		play_subscribed(database, play_sent[0].u.subscribe.sub, 1, false, 100);
		play_expect(&pipes[i], 2, "~Sa");
	}
	tiny_built = tiny_encoded = 0;
	play_event(database, 1, 101, "x");
	assert_int_equal(tiny_built, 2);
	assert_int_equal(tiny_encoded, 1);
	play_expect(&other, 1, "INSERT a 101 x");
	for (size_t i = 0; i < UNIT_COUNT(pipes); i++)
		play_expect(&pipes[i], 2, "~INSERT a 101 x");

	/* Any bytes may come, but no text. */
	session_received(sessions[0], "\xff", 1, 0, true, true, false);
	play_expect(&pipes[0], 2, "~?\xff");
	session_received(sessions[0], "s", 1, 0, true, false, false);
	play_expect(&pipes[0], 8, "text messages are not supported");
}

/*
 * A raw client gets no bookmark. If it is slow, it gets the rest from the log, and a position only
 * in the reason of its end.
 */
static void
test_raw(void **state)
{
	static const char raw[] = "{\"method\":\"subscribe\",\"channel\":\"a\",\"ops\":[\"INSERT\"]}";
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_connect(database, &payload_protocol, "test", &pipe);
	uint32_t sub = play_subscribe(session, raw, 1, false, 100);
	char text[500];

	(void) state;
	play_event(database, 1, 101, "{\"payload\":[1]}");
	play_expect(&pipe, 1, "[1]");
	play_position(database, 150);
	play_tick(HUB_BOOKMARK_MS + 1);
	play_expect_nothing(&pipe);
	pipe.blocked = true;
	snprintf(text, sizeof(text), "{\"payload\":\"%s\"}", play_text(450));
	play_nsent = 0;
	play_event(database, 1, 151, text);
	play_event(database, 1, 152, text);
	assert_int_equal(play_nsent, 1);
	play_expect_lag(0, sub);
	play_unblock(&pipe);
	play_expect(&pipe, 1, "x\"");
	play_expect_subscribe(1, sub, WIRE_OP_INSERT, 151);
	play_subscribed(database, sub, 1, true, 151);
	play_replay_event(database, sub, 152, "{\"payload\":2}");
	play_expect(&pipe, 1, "2");
	play_reset(database, sub, 160, "gone");
	play_event(database, 1, 161, "{\"payload\":3}");
	play_expect(&pipe, 8,
				"\x11\x3a"
				"a: events are missing: gone");
	play_expect_nothing(&pipe);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, play_setup, play_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_frame_each), TEST(test_shared), TEST(test_none_wanted),
		TEST(test_messages),       TEST(test_raw),    TEST(test_binary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
