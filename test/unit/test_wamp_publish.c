/* PUBLISH: in which order messages go to the feed, and what happens to them if it is lost. */
#include "play_wamp.h"

#include "gateway/protocol/members.h"
#include "gateway/wamp/wamp_publish.h"

static Session *
welcome(PlayPipe *pipe)
{
	Session *session = dial(pipe);

	play_receive(session, "[1,\"db\",{\"roles\":{}}]");
	sessions_flush(&play_sessions);
	pipe->len = 0;
	play_nsent = 0;
	return session;
}

/* Publish on this topic, and return how many PUBLISHes the feed has got so far. */
static size_t
publish(Session *session, int request, const char *topic)
{
	char text[128];
	size_t n = 0;

	snprintf(text, sizeof(text), "[16,%d,{\"acknowledge\":true},\"%s\"]", request, topic);
	play_receive(session, text);
	for (size_t i = 0; i < play_nsent; i++)
		n += play_sent[i].type == WIRE_ROUTE_UP && play_sent[i].u.route.kind == ROUTE_PUBLISH;
	return n;
}

/* The feed answers the last PUBLISH but this many. */
static void
answer(Database *database, size_t back, WireRouteKind kind, uint64_t id)
{
	WireRoute route = play_sent[play_nsent - 1 - back].u.route;

	route.kind = (uint8_t) kind;
	route.id = id;
	route.name = route.options = play_bytes("");
	route.payload = play_bytes("");
	play_frame(database, (WireMessage){.type = WIRE_ROUTE_DOWN, .u.route = route});
}

/* A message waits for the earlier ones until its topic is known to go through the feed alone. */
static void
test_order(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = welcome(&pipe);

	(void) state;
	assert_int_equal(publish(session, 1, "a"), 1);
	assert_int_equal(publish(session, 2, "a"), 1);
	assert_int_equal(publish(session, 3, "b"), 1);
	answer(database, 0, ROUTE_PUBLISHED, 7);
	play_expect(&pipe, 1, "[17,1,7]");
	/* "a" is known now, and goes at once; "b" is not. */
	assert_int_equal(publish(session, 4, "a"), 2);
	answer(database, 0, ROUTE_PUBLISHED, 8);
	play_expect(&pipe, 1, "[17,2,8]");
	answer(database, 0, ROUTE_PUBLISHED, 9);
	play_expect(&pipe, 1, "[17,3,9]");
	answer(database, 0, ROUTE_PUBLISHED, 10);
	play_expect(&pipe, 1, "[17,4,10]");
	/* Both are known: they do not wait for each other. */
	play_nsent = 0;
	assert_int_equal(publish(session, 5, "a"), 1);
	assert_int_equal(publish(session, 6, "b"), 2);
	answer(database, 1, ROUTE_PUBLISHED, 11);
	answer(database, 0, ROUTE_PUBLISHED, 12);
	play_expect(&pipe, 1, "[17,5,11]");
	play_expect(&pipe, 1, "[17,6,12]");
	assert_int_equal(session->unanswered, 0);
}

static void
test_lost(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = welcome(&pipe);

	(void) state;
	assert_int_equal(publish(session, 1, "a"), 1);
	assert_int_equal(publish(session, 2, "b"), 1);
	hub_lost(database);
	/* The first one may have been published. */
	play_expect(&pipe, 1, "it is not known whether the message was published\"]]");
	play_expect_nothing(&pipe);
	/* The second one waits for the next feed. */
	(void) play_hello(&play_link_b, 1, 100);
	assert_int_equal(play_sent[play_nsent - 1].u.route.kind, ROUTE_PUBLISH);
	answer(database, 0, ROUTE_PUBLISHED, 7);
	play_expect(&pipe, 1, "[17,2,7]");
}

/* A database that is asleep is woken. */
static void
test_asleep(void **state)
{
	PlayPipe pipe;
	Session *session;
	Database *database;

	(void) state;
	hub_asleep(&play_hub, &(WireAsleep){.position = {1, 100}, .database = play_bytes("db")});
	session = welcome(&pipe);
	database = play_client(session)->database;
	/* The session itself needs a feed, and so does its message. */
	assert_int_equal(database->nheld, 1);
	assert_int_equal(publish(session, 1, "a"), 0);
	assert_int_equal(database->nheld, 2);
	(void) play_hello(&play_link_a, 1, 100);
	assert_int_equal(database->nheld, 0);
	assert_int_equal(play_sent[play_nsent - 1].u.route.kind, ROUTE_PUBLISH);
}

static void
test_members(void **state)
{
	WireBytes object =
		play_bytes("{ \"a\\\"}\" : [1, {\"b\":\"]\"}] ,\"b\":7, \"c\" : {\"d\":1} }");
	WireBytes value;

	(void) state;
	assert_true(members_find(object, "b", &value));
	assert_int_equal(value.len, 1);
	assert_true(members_find(object, "c", &value));
	assert_int_equal(value.len, strlen("{\"d\":1}"));
	assert_true(members_find(object, "a\\\"}", &value));
	assert_memory_equal(value.data, "[1, {\"b\":\"]\"}]", value.len);
	assert_false(members_find(object, "d", &value));
	assert_false(members_find(play_bytes("{}"), "d", &value));
	assert_int_equal(members_excluded(play_bytes("{\"publisher\":{\"mark\":12},\"payload\":1}")),
					 12);
	assert_int_equal(members_excluded(play_bytes("{\"publisher\":{\"session\":12}}")), 0);
	assert_int_equal(members_excluded(play_bytes("{\"payload\":{\"publisher\":{\"mark\":1}}}")), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_lost, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_asleep, setup, play_teardown),
		cmocka_unit_test(test_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
