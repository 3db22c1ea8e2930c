/* The hub with subscriptions of patterns, and messages for some clients only. */
#include "play.h"

#include <time.h>

#include "gateway/protocol/audience.h"
#include "gateway/protocol/jsonrpc.h"
#include "wire/uri.h"

/* The client subscribes to a pattern, or ends that. */
static void
request(Session *session, RequestMethod method, UriMatch match, const char *pattern)
{
	Request request = {.method = method,
					   .id = strdup("7"),
					   .match = (uint8_t) match,
					   .ops = WIRE_OP_ALL,
					   .channel_len = (uint8_t) strlen(pattern)};

	memcpy(request.channel, pattern, strlen(pattern));
	hub_request(play_client(session), &request);
	request_free(&request);
}

/* The same, and the feed accepts it in this stream. */
static uint32_t
subscribe(Session *session, PlayPipe *pipe, const char *prefix, uint32_t stream)
{
	uint32_t sub;

	play_nsent = 0;
	request(session, REQUEST_SUBSCRIBE, URI_PREFIX, prefix);
	assert_int_equal(play_nsent, 1);
	sub = play_sent[0].u.subscribe.sub;
	play_subscribed(play_client(session)->database, sub, stream, false, 100);
	play_expect(pipe, 1, "\"position\":\"1-100\"}}");
	play_nsent = 0;
	return sub;
}

static WireMessage
channel(uint32_t sub, const char *name, uint64_t before)
{
	return (WireMessage){.type = WIRE_ROUTE_DOWN,
						 .u.route = {.kind = ROUTE_CHANNEL,
									 .session = sub,
									 .position = {1, before},
									 .name = play_bytes(name)}};
}

/* The feed names a channel, and begins the child in this stream. Returns the child's number. */
static uint32_t
child(Database *database, uint32_t sub, const char *name, uint32_t stream, uint64_t before)
{
	uint32_t number;

	play_nsent = 0;
	play_frame(database, channel(sub, name, before));
	assert_int_equal(play_nsent, 1);
	number = play_sent[0].u.subscribe.sub;
	play_expect_subscribe(0, number, WIRE_OP_ALL & ~WIRE_OP_NOTIFY, before);
	assert_int_equal(play_sent[0].u.subscribe.has_since, WIRE_SINCE_NEW);
	play_subscribed(database, number, stream, true, before);
	play_nsent = 0;
	return number;
}

/* A message for a stream, and who gets it. */
static void
message(Database *database, uint32_t stream, const char *audience, const char *body)
{
	uint8_t number[4];

	wire_store_u32(number, stream);
	play_frame(database, (WireMessage){.type = WIRE_EVENT,
									   .u.event = {.op = WIRE_OP_NOTIFY,
												   .nstreams = 1,
												   .streams = number,
												   .audience = play_bytes(audience),
												   .body = play_bytes(body)}});
}

#define BODY_B "{\"op\":\"NOTIFY\",\"channel\":\"a.b\",\"payload\":1}"

static void
test_subscribe(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	const WireSubscribe *sent = &play_sent[0].u.subscribe;

	(void) state;
	play_client(session)->number = 77;
	request(session, REQUEST_SUBSCRIBE, URI_WILDCARD, "a..c");
	assert_int_equal(play_nsent, 1);
	assert_int_equal(sent->match, URI_WILDCARD);
	assert_int_equal(sent->kinds, WIRE_KIND_NOTIFICATIONS);
	assert_int_equal(sent->ops, 0);
	assert_int_equal(sent->subscriber, 77);
	play_subscribed(database, sent->sub, 1, false, 100);
	play_expect(&pipe, 1,
				"\"channel\":\"a..c\",\"tag\":\"wildcard:a..c\",\"position\":\"1-100\"}}");

	/* A prefix with the same text, and a channel, are others. */
	request(session, REQUEST_SUBSCRIBE, URI_PREFIX, "a..c");
	request(session, REQUEST_SUBSCRIBE, URI_EXACT, "a..c");
	assert_int_equal(play_nsent, 3);
	request(session, REQUEST_SUBSCRIBE, URI_WILDCARD, "a..c");
	assert_int_equal(play_nsent, 3);
	play_expect(&pipe, 1, "\"message\":\"already subscribed\",\"data\":{\"channel\":\"a..c\"}}}");
}

/* Events of a channel that matches come from a child, and have the pattern as tag. */
static void
test_child(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_connect(database, &jsonrpc_protocol, "test", &pipe);
	uint32_t sub = subscribe(session, &pipe, "a.", 1);
	uint32_t number;

	(void) state;
	number = child(database, sub, "a.b", 2, 104);
	assert_int_equal(play_client(session)->nsubscriptions, 1);
	play_expect_nothing(&pipe);
	play_replay_event(database, number, 105, "{\"channel\":\"a.b\"}");
	play_expect(&pipe, 1, "\"params\":{\"tag\":\"prefix:a.\",\"channel\":\"a.b\"}}");
	play_replay_done(database, number, 105);
	play_event(database, 2, 106, "{\"channel\":\"a.b\",\"n\":6}");
	play_expect(&pipe, 1, "\"params\":{\"tag\":\"prefix:a.\",\"channel\":\"a.b\",\"n\":6}}");

	/* It is named again when privileges may have changed. */
	play_nsent = 0;
	play_frame(database, channel(sub, "a.b", 106));
	assert_int_equal(play_nsent, 0);

	/* Messages come to the pattern, not to its child as well. */
	message(database, 1, "", BODY_B);
	play_expect(&pipe, 1,
				"\"tag\":\"prefix:a.\",\"op\":\"NOTIFY\",\"channel\":\"a.b\",\"payload\":1}}");
	message(database, 2, "", BODY_B);
	play_expect_nothing(&pipe);
}

/* A message whose topic has escapes; one without a topic goes to nobody. */
static void
test_topic(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_connect(database, &jsonrpc_protocol, "test", &pipe);

	(void) state;
	subscribe(session, &pipe, "a.", 1);
	message(database, 1, "", "{\"op\":\"NOTIFY\",\"channel\":\"a.\\\"\\u00e4\",\"payload\":1}");
	play_expect(&pipe, 1, "\"channel\":\"a.\\\"\\u00e4\",\"payload\":1}}");
	message(database, 1, "", "{\"op\":\"NOTIFY\",\"payload\":1}");
	message(database, 1, "", "{\"op\":\"NOTIFY\",\"channel\":\"\"}");
	message(database, 1, "", "{\"op\":\"NOTIFY\",\"channel\":7}");
	message(database, 1, "", "{\"op\":\"NOTIFY\",\"channel\":");
	play_expect_nothing(&pipe);
}

/* The client did not ask for its children, and cannot end one. */
static void
test_unsubscribe(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = subscribe(session, &pipe, "a.", 1);
	uint32_t number = child(database, sub, "a.b", 2, 104);

	(void) state;
	request(session, REQUEST_UNSUBSCRIBE, URI_EXACT, "a.b");
	play_expect(&pipe, 1, "\"message\":\"not subscribed\",\"data\":{\"channel\":\"a.b\"}}}");
	request(session, REQUEST_UNSUBSCRIBE, URI_EXACT, "a.");
	play_expect(&pipe, 1, "\"message\":\"not subscribed\",\"data\":{\"channel\":\"a.\"}}}");
	assert_int_equal(play_nsent, 0);
	request(session, REQUEST_UNSUBSCRIBE, URI_PREFIX, "a.");
	play_expect(&pipe, 1, "\"channel\":\"a.\"}}");
	assert_int_equal(play_nsent, 2);
	play_expect_end(0, sub);
	play_expect_end(1, number);
	assert_int_equal(play_sessions.stats.subscriptions, 0);

	/* What was on its way is ignored. */
	play_frame(database, channel(sub, "a.c", 105));
	play_event(database, 2, 105, "105");
	play_expect_nothing(&pipe);
	assert_int_equal(play_nsent, 2);

	/* The same at the end of the session, with a child that was not answered yet. */
	sub = subscribe(session, &pipe, "a.", 3);
	play_frame(database, channel(sub, "a.b", 105));
	play_frame(database, channel(sub, "a.c", 105));
	session_close(session, SESSION_CLOSE_GOING_AWAY, "test");
	assert_int_equal(play_sessions.stats.subscriptions, 0);
}

/* Refusals are silent, and so is the end of a child, unless rows are missing. */
static void
test_end_of_child(void **state)
{
	static const uint8_t reasons[] = {WIRE_NOT_PERMITTED, WIRE_NO_SUCH_CHANNEL, WIRE_POLICY_FAILED};
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = subscribe(session, &pipe, "a.", 1);

	(void) state;
	play_frame(database, channel(sub, "a.b", 104));
	play_frame(database, (WireMessage){.type = WIRE_REFUSED,
									   .u.refused = {.sub = play_sent[0].u.subscribe.sub,
													 .reason = WIRE_NOT_PERMITTED,
													 .text = play_bytes("no")}});
	play_expect_nothing(&pipe);
	for (size_t i = 0; i < UNIT_COUNT(reasons); i++)
	{
		(void) child(database, sub, "a.b", 2, 104);
		play_frame(database, (WireMessage){.type = WIRE_STREAM_ENDED,
										   .u.ended = {.stream = 2,
													   .reason = reasons[i],
													   .text = play_bytes("it failed")}});
		assert_int_equal(play_client(session)->nchildren, 0);
	}
	play_expect(&pipe, 1,
				"{\"channel\":\"a.b\",\"tag\":\"prefix:a.\",\"reason\":\"it failed\","
				"\"position\":\"1-104\"}}");
	play_expect_nothing(&pipe);
}

/* On a new link pattern and child go on, and messages may have been lost. */
static void
test_lost(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = subscribe(session, &pipe, "a.", 1);
	uint32_t number = child(database, sub, "a.b", 2, 104);

	(void) state;
	play_replay_done(database, number, 105);
	play_event(database, 2, 106, "106");
	play_expect(&pipe, 1, "106");
	hub_lost(database);
	play_nsent = 0;
	play_hello(&play_link_b, 1, 110);
	assert_int_equal(play_nsent, 2);
	assert_int_equal(play_sent[0].u.subscribe.match, URI_PREFIX);
	play_expect_subscribe(1, play_sent[1].u.subscribe.sub, WIRE_OP_ALL & ~WIRE_OP_NOTIFY, 106);
	assert_int_equal(play_sent[1].u.subscribe.has_since, 1);
	play_notifies = true;
	play_subscribed(database, play_sent[0].u.subscribe.sub, 1, false, 110);
	play_subscribed(database, play_sent[1].u.subscribe.sub, 2, true, 106);
	play_expect(&pipe, 1,
				"{\"channel\":\"a.\",\"tag\":\"prefix:a.\",\"reason\":\"notifications were lost\","
				"\"position\":\"1-110\"}}");
	play_expect_nothing(&pipe);
}

/* A client that is slow loses messages, and is told. */
static void
test_slow(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_connect(database, &jsonrpc_protocol, "test", &pipe);
	char body[1000];

	(void) state;
	subscribe(session, &pipe, "a.", 1);
	snprintf(body, sizeof(body), "{\"op\":\"NOTIFY\",\"channel\":\"a.b\",\"payload\":\"%s\"}",
			 play_text(600));
	pipe.blocked = true;
	message(database, 1, "", body);
	message(database, 1, "", body);
	message(database, 1, "", BODY_B);
	play_unblock(&pipe);
	play_expect(&pipe, 1, "xxxx\"}}");
	play_expect(&pipe, 1, "\"reason\":\"notifications were lost\",\"position\":\"1-100\"}}");
	message(database, 1, "", BODY_B);
	play_expect(&pipe, 1, "\"payload\":1}}");
}

/* As many children as a client may have, and one more. */
static void
test_many(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t sub = subscribe(session, &pipe, "a.", 1);
	uint32_t other = subscribe(session, &pipe, "b.", 2);
	char name[20];

	(void) state;
	child(database, other, "b.x", 9, 100);
	for (int i = 0; i < HUB_MAX_CHILDREN - 1; i++)
	{
		snprintf(name, sizeof(name), "a.%d", i);
		child(database, sub, name, (uint32_t) (10 + i), 100);
	}
	play_expect_nothing(&pipe);
	/* Without a link, because the test cannot note so many frames. */
	database->link = NULL;
	play_frame(database, channel(sub, "a.more", 100));
	database->link = &play_link_a;
	play_expect(&pipe, 1,
				"\"message\":\"too many channels "
				"match\",\"data\":{\"channel\":\"a.\",\"tag\":\"prefix:a.\"}}}");
	assert_int_equal(play_client(session)->nchildren, 1);
	assert_int_equal(play_client(session)->nsubscriptions, 1);
	assert_int_equal(play_client(session)->npatterns, 1);

	/* And as many patterns. */
	for (int i = 1; i < HUB_MAX_PATTERNS; i++)
	{
		snprintf(name, sizeof(name), "p%d.", i);
		subscribe(session, &pipe, name, (uint32_t) (2000 + i));
	}
	request(session, REQUEST_SUBSCRIBE, URI_PREFIX, "q.");
	play_expect(
		&pipe, 1,
		"\"message\":\"too many patterns on one connection\",\"data\":{\"channel\":\"q.\"}}}");
}

/* What a feed does not send. */
static void
test_bad(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);
	uint32_t pattern = subscribe(session, &pipe, "a.", 1);
	uint32_t exact = play_subscribe(session, PLAY_SUBSCRIBE_A, 2, false, 100);
	WireMessage bad;

	(void) state;
	bad = channel(exact, "a", 100);
	assert_int_equal(hub_message(&play_hub, database, &bad), HUB_BAD);
	bad = channel(pattern, "", 100);
	assert_int_equal(hub_message(&play_hub, database, &bad), HUB_BAD);
	bad = channel(pattern, play_text(64), 100);
	assert_int_equal(hub_message(&play_hub, database, &bad), HUB_BAD);
	bad = channel(pattern, "a.b", 100);
	bad.u.route.kind = ROUTE_PUBLISH;
	assert_int_equal(hub_message(&play_hub, database, &bad), HUB_BAD);

	/* The stream of a pattern has no subscriptions of a channel with this name. */
	request(session, REQUEST_SUBSCRIBE, URI_EXACT, "a.");
	bad = (WireMessage){.type = WIRE_SUBSCRIBED,
						.u.subscribed = {.sub = play_sent[play_nsent - 1].u.subscribe.sub,
										 .stream = 1,
										 .position = {1, 100}}};
	assert_int_equal(hub_message(&play_hub, database, &bad), HUB_BAD);
}

/* ---------------- who gets a message ---------------- */

static bool
hears(const char *options, uint64_t session, const char *authid, const char *authrole)
{
	Audience *audience = audience_read(play_bytes(options));
	bool heard = audience_has(audience, session, authid, authrole);

	audience_free(audience);
	return heard;
}

static void
test_audience(void **state)
{
	(void) state;
	assert_true(hears("", 0, NULL, NULL));
	assert_true(hears("{}", 0, NULL, NULL));
	assert_false(hears("[]", 1, "a", "r"));
	assert_false(hears("{", 1, "a", "r"));
	assert_false(hears("{\"exclude\":[1,2]}", 2, "a", "r"));
	assert_true(hears("{\"exclude\":[1,2]}", 3, "a", "r"));
	assert_true(hears("{\"exclude\":[1,0]}", 0, NULL, NULL));
	assert_false(hears("{\"exclude\":[9007199254740992]}", UINT64_C(9007199254740992), NULL, NULL));
	assert_true(hears("{\"eligible\":[1,2]}", 1, NULL, NULL));
	assert_false(hears("{\"eligible\":[1,2]}", 3, NULL, NULL));
	assert_false(hears("{\"eligible\":[0]}", 0, NULL, NULL));
	assert_false(hears("{\"eligible\":[]}", 1, "a", "r"));
	assert_false(hears("{\"exclude\":[1],\"eligible\":[1]}", 1, NULL, NULL));
	assert_false(hears("{\"exclude_authid\":[\"a\"]}", 1, "a", "r"));
	assert_true(hears("{\"exclude_authid\":[\"r\"]}", 1, "a", "r"));
	assert_true(hears("{\"exclude_authid\":[\"a\"]}", 1, NULL, NULL));
	assert_false(hears("{\"eligible_authid\":[\"a\"]}", 1, NULL, "a"));
	assert_true(hears("{\"eligible_authid\":[\"b\",\"a\"]}", 1, "a", NULL));
	assert_false(hears("{\"exclude_authrole\":[\"r\"]}", 1, "a", "r"));
	assert_true(hears("{\"eligible_authrole\":[\"r\"],\"eligible\":[1]}", 1, "a", "r"));
	assert_false(hears("{\"eligible_authrole\":[\"r\"],\"eligible\":[2]}", 1, "a", "r"));
	assert_false(hears("{\"exclude\":[\"a\"],\"exclude_authid\":[1]}", 0, "a", "r") &&
				 !hears("{\"exclude\":[\"a\"],\"exclude_authid\":[1]}", 1, "a", "r"));
}

/* Long lists, in no order: each of their members is found, and nobody else. */
#define LONG 20000

static char *
long_lists(void)
{
	char *text = malloc(2 * LONG * 24);
	size_t len = (size_t) sprintf(text, "{\"exclude\":[0");

	for (unsigned i = 0; i < LONG; i++)
		len += (size_t) sprintf(text + len, ",%u", (i * 7919U) % LONG * 2 + 2);
	len += (size_t) sprintf(text + len, "],\"eligible_authid\":[\"n\"");
	for (unsigned i = 0; i < LONG; i++)
		len += (size_t) sprintf(text + len, ",\"n%u\"", (i * 7919U) % LONG * 2);
	memcpy(text + len, "]}", sizeof("]}"));
	return text;
}

/*
 * A client can make lists as long as a message, and each subscriber is looked up in them. So looking
 * up as many as the list has takes about as long as reading it, and not thousands of times longer.
 */
static void
test_long_audience(void **state)
{
	char *text = long_lists();
	clock_t begin = clock();
	Audience *audience = audience_read(play_bytes(text));
	clock_t read = clock() - begin;

	(void) state;
	begin = clock();
	for (unsigned i = 0; i < 2 * LONG; i++)
	{
		char name[16];

		sprintf(name, "n%u", i);
		assert_int_equal(audience_has(audience, i + 1, name, NULL), i % 2 == 0);
	}
	assert_true(clock() - begin < 50 * (read + CLOCKS_PER_SEC / 1000));
	audience_free(audience);
	free(text);
}

/* Clients of every protocol are left out, by what they are. */
static void
test_left_out(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe one;
	PlayPipe two;
	Session *first = play_open(database, &one);
	Session *second = play_open(database, &two);

	(void) state;
	play_subscribe(first, PLAY_SUBSCRIBE_A, 1, false, 100);
	play_expect(&one, 1, "\"1-100\"}}");
	play_subscribe(second, PLAY_SUBSCRIBE_A, 1, false, 100);
	play_expect(&two, 1, "\"1-100\"}}");
	play_client(first)->number = 11;
	play_client(first)->authrole = "r";
	play_client(second)->identity.subject = strdup("sub");
	message(database, 1, "{\"exclude\":[11]}", "1");
	message(database, 1, "{\"exclude_authid\":[\"sub\"]}", "2");
	message(database, 1, "{\"eligible_authrole\":[\"r\"]}", "3");
	message(database, 1, "", "4");
	message(database, 1, "{\"exclude_authrole\":[\"anonymous\"]}", "5");
	play_expect(&one, 1, "2");
	play_expect(&one, 1, "3");
	play_expect(&one, 1, "4");
	play_expect(&one, 1, "5");
	play_expect_nothing(&one);
	play_expect(&two, 1, "1");
	play_expect(&two, 1, "4");
	play_expect_nothing(&two);
}

/* Clients with one tag share a frame; others with another tag do not. */
static void
test_frames(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipes[3];
	Session *sessions[3];

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		sessions[i] = play_open(database, &pipes[i]);
		subscribe(sessions[i], &pipes[i], i < 2 ? "a." : "a", i < 2 ? 1 : 2);
	}
	message(database, 1, "", BODY_B);
	assert_int_equal(play_built, 1);
	message(database, 2, "", BODY_B);
	assert_int_equal(play_built, 2);
	for (int i = 0; i < 3; i++)
		play_expect(&pipes[i], 1, BODY_B);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_subscribe, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_child, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_topic, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_unsubscribe, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_end_of_child, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_lost, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_slow, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_many, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_bad, play_setup, play_teardown),
		cmocka_unit_test(test_audience),
		cmocka_unit_test(test_long_audience),
		cmocka_unit_test_setup_teardown(test_left_out, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_frames, play_setup, play_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
