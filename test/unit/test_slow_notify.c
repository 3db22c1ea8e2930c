/*
 * Raw notifications are not in the log: when a client gets them nevertheless, and when a reset
 * reports lost ones.
 */
#include "play.h"

#define LOST "notifications were lost"

/* None is lost during a replay. */
static void
test_while_replaying(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	WireMessage reset = {
		.type = WIRE_RESET,
		.u.reset = {.kind = WIRE_KIND_NOTIFICATIONS, .reason = play_bytes("lost")}};
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	reset.u.reset.sub = play_subscribe(session, PLAY_SUBSCRIBE_B_SINCE, 2, true, 50);
	play_expect(&pipe, 1, "\"1-50\"}}");
	play_notify(database, 2, "first");
	play_replay_event(database, reset.u.reset.sub, 60, "60");
	play_notify(database, 2, "second");
	play_expect(&pipe, 1, "first");
	play_expect(&pipe, 1, "60");
	play_expect(&pipe, 1, "second");
	play_frame(database, reset);
	play_expect(&pipe, 1, LOST "\",\"position\":\"1-60\"}}");
	play_replay_event(database, reset.u.reset.sub, 70, "70");
	play_expect(&pipe, 1, "70");
}

/*
 * Those sent while the link was lost are lost: reported once, and only if there may have been some.
 */
static void
test_while_link_lost(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe[3];

	(void) state;
	play_subscribe(play_open(database, &pipe[0]), PLAY_SUBSCRIBE_A, 1, false, 100);
	play_subscribe(play_open(database, &pipe[1]), PLAY_SUBSCRIBE_A_INSERTS, 1, false, 100);
	play_subscribe(play_open(database, &pipe[2]), PLAY_SUBSCRIBE_B, 2, false, 100);
	for (int i = 0; i < 3; i++)
		play_expect(&pipe[i], 1, "\"1-100\"}}");
	hub_lost(database);
	play_nsent = 0;
	play_hello(&play_link_b, 1, 100);
	assert_int_equal(play_nsent, 3);
	for (int i = 0; i < 3; i++)
	{
		play_notifies = i < 2;
		play_subscribed(database, play_sent[i].u.subscribe.sub, i < 2 ? 1 : 2, false, 100);
	}
	play_expect(&pipe[0], 1, LOST "\",\"position\":\"1-100\"}}");
	for (int i = 0; i < 3; i++)
		play_expect_nothing(&pipe[i]);
	play_notify(database, 1, "after");
	play_expect(&pipe[0], 1, "after");
}

/* The same for a subscription that lags. */
static void
test_while_link_lost_and_lagging(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	play_subscribe(session, PLAY_SUBSCRIBE_A, 1, false, 100);
	play_expect(&pipe, 1, "\"1-100\"}}");
	pipe.blocked = true;
	play_event(database, 1, 110, play_text(900));
	play_event(database, 1, 120, "120");
	hub_lost(database);
	play_nsent = 0;
	play_hello(&play_link_b, 1, 100);
	assert_int_equal(play_nsent, 1);
	play_notifies = true;
	play_subscribed(database, play_sent[0].u.subscribe.sub, 1, false, 100);
	play_notify(database, 1, "after, and lost with those before");
	play_unblock(&pipe);
	play_expect(&pipe, 1, play_text(900));
	play_expect(&pipe, 1, LOST "\",\"position\":\"1-110\"}}");
	play_expect_nothing(&pipe);
}

/*
 * The link is back, and a client has read everything before its turn to request the raw
 * notifications of a lagging subscription: it sends one request, for the events too.
 */
static void
test_drained_before_its_turn(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	static PlayPipe crowd[2];
	PlayPipe pipe;
	Session *session;
	size_t asked = 0;

	(void) state;
	play_open(database, &crowd[0]);
	play_open(database, &crowd[1]);
	for (uint32_t i = 0; i < HUB_UNANSWERED + 2; i++)
	{
		char request[64];

		snprintf(request, sizeof(request), "{\"method\":\"subscribe\",\"channel\":\"%u\"}", i);
		play_nsent = 0;
		play_receive(crowd[i % 2].session, request);
		play_subscribed(database, play_sent[0].u.subscribe.sub, 10 + i, false, 100);
	}
	session = play_open(database, &pipe);
	play_subscribe(session, PLAY_SUBSCRIBE_A, 1, false, 100);
	play_expect(&pipe, 1, "\"1-100\"}}");
	pipe.blocked = true;
	play_event(database, 1, 110, play_text(900));
	play_event(database, 1, 120, "120");
	hub_lost(database);
	play_nsent = 0;
	play_hello(&play_link_b, 1, 130);
	assert_int_equal(play_nsent, HUB_UNANSWERED);
	play_unblock(&pipe);
	for (uint32_t i = 0; i < HUB_UNANSWERED + 2; i++)
		play_subscribed(database, play_sent[i].u.subscribe.sub, 10 + i, false, 130);
	sessions_flush(&play_sessions);
	for (size_t i = 0; i < play_nsent; i++)
	{
		if (play_sent[i].u.subscribe.sub != database->last_number)
			continue;
		play_expect_subscribe(i, database->last_number, WIRE_OP_ALL, 110);
		asked++;
	}
	assert_int_equal(asked, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, play_setup, play_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_while_replaying),
		TEST(test_while_link_lost),
		TEST(test_while_link_lost_and_lagging),
		TEST(test_drained_before_its_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
