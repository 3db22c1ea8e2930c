/* The hub with large transactions: live subscriptions that replay them, beside others. */
#include "play.h"

static void
begin(Database *database, uint32_t sub)
{
	play_frame(database, (WireMessage){.type = WIRE_REPLAY_BEGIN, .u.replay_begin = {.sub = sub}});
}

/* Send REPLAY_BEGIN at a moment when no feed does. */
static void
begin_badly(Database *database, uint32_t sub)
{
	WireMessage bad = {.type = WIRE_REPLAY_BEGIN, .u.replay_begin = {.sub = sub}};

	assert_int_equal(hub_message(&play_hub, database, &bad), HUB_BAD);
}

/* A client with live subscriptions to channels a and b, of streams 1 and 2. */
typedef struct Both
{
	Session *session;
	PlayPipe pipe;
	uint32_t a;
	uint32_t b;
} Both;

static void
both_subscribe(Both *both, Database *database)
{
	both->session = play_open(database, &both->pipe);
	both->a = play_subscribe(both->session, PLAY_SUBSCRIBE_A, 1, false, 100);
	play_expect(&both->pipe, 1, "\"1-100\"}}");
	both->b = play_subscribe(both->session, PLAY_SUBSCRIBE_B, 2, false, 100);
	play_expect(&both->pipe, 1, "\"1-100\"}}");
}

/* The other subscription goes on; what follows on the same one comes after the replay. */
static void
test_beside(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	Both both;
	PlayPipe later;

	(void) state;
	both_subscribe(&both, database);
	play_event(database, 2, 110, "110");
	begin(database, both.a);
	play_subscribe(play_open(database, &later), PLAY_SUBSCRIBE_A, 1, false, 150);
	play_expect(&later, 1, "\"1-150\"}}");
	play_event(database, 2, 160, "160");
	play_replay_event(database, both.a, 120, "120");
	play_event(database, 1, 170, "170");
	play_expect(&later, 1, "170");
	play_replay_event(database, both.a, 150, "150");
	play_event(database, 2, 180, "180");
	play_replay_event(database, both.a, 170, "170");
	play_replay_done(database, both.a, 180);
	play_event(database, 1, 190, "190");
	play_expect(&both.pipe, 1, "110");
	play_expect(&both.pipe, 1, "160");
	play_expect(&both.pipe, 1, "120");
	play_expect(&both.pipe, 1, "150");
	play_expect(&both.pipe, 1, "180");
	play_expect(&both.pipe, 1, "170");
	play_expect(&both.pipe, 1, "190");
	play_expect_nothing(&both.pipe);
	play_expect(&later, 1, "190");
	play_expect_nothing(&later);
}

/* No position passes what has not been sent. */
static void
test_position(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	Both both;

	(void) state;
	both_subscribe(&both, database);
	play_position(database, 110);
	begin(database, both.a);
	play_position(database, 160);
	play_event(database, 2, 170, "170");
	play_expect(&both.pipe, 1, "170");
	play_receive(both.session, "{\"id\":3,\"method\":\"ping\"}");
	play_expect(&both.pipe, 1, "\"1-110\"}}");
	assert_false(hub_client_live(play_client(both.session)));
	play_tick(HUB_BOOKMARK_MS);
	play_expect_nothing(&both.pipe);
	play_replay_event(database, both.a, 120, "120");
	play_expect(&both.pipe, 1, "120");
	assert_int_equal(hub_client_position(play_client(both.session)).id, 120);

	/* The replay reaches the link's position, and the client gets a bookmark again. */
	play_replay_done(database, both.a, 170);
	play_position(database, 180);
	play_tick(HUB_BOOKMARK_MS);
	play_expect(&both.pipe, 1, "\"position\":\"1-180\"}}");
}

/* Each subscription goes on from its own position on a new link. */
static void
test_lost(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	Both both;

	(void) state;
	both_subscribe(&both, database);
	begin(database, both.a);
	play_replay_event(database, both.a, 120, "120");
	play_event(database, 2, 170, "170");
	hub_lost(database);
	play_nsent = 0;
	play_hello(&play_link_b, 1, 200);
	assert_int_equal(play_nsent, 2);
	play_expect_subscribe(0, play_sent[0].u.subscribe.sub, WIRE_OP_ALL, 120);
	play_expect_subscribe(1, play_sent[1].u.subscribe.sub, WIRE_OP_ALL, 170);
}

/* A client that does not read it gets it from the log, and the frame may cross that. */
static void
test_lagging(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	Both both;

	(void) state;
	both_subscribe(&both, database);
	both.pipe.blocked = true;
	begin(database, both.a);
	play_replay_event(database, both.a, 120, play_text(600));
	play_nsent = 0;
	play_replay_event(database, both.a, 121, play_text(600));
	play_expect_lag(0, both.a);
	play_replay_event(database, both.a, 122, "122");
	play_replay_done(database, both.a, 150);
	begin(database, both.a);

	/* Nor does it matter to one that waits for SUBSCRIBED. */
	play_nsent = 0;
	play_unblock(&both.pipe);
	play_expect(&both.pipe, 1, play_text(600));
	play_expect_subscribe(0, both.a, WIRE_OP_ALL, 120);
	begin(database, both.a);
	play_subscribed(database, both.a, 1, true, 120);
	play_replay_event(database, both.a, 121, "121");
	play_expect(&both.pipe, 1, "121");
	begin_badly(database, both.a);
	begin(database, 12345);
}

/* What was written of an earlier replay is no credit for this one. */
static void
test_credit(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	Both both;

	(void) state;
	play_config.client_buffer = 1000000;
	both_subscribe(&both, database);
	both.pipe.limited = true;
	both.pipe.room = 1; /* the last event waits until the replay is over */
	begin(database, both.a);
	for (uint64_t id = 120; id < 125; id++)
		play_replay_event(database, both.a, id, play_text(15000));
	for (int i = 0; i < 4; i++)
		play_expect(&both.pipe, 1, play_text(15000));
	play_replay_done(database, both.a, 130);
	play_unblock(&both.pipe);
	play_expect(&both.pipe, 1, play_text(15000));
	play_nsent = 0;
	begin(database, both.a);
	play_replay_event(database, both.a, 140, "140");
	play_expect(&both.pipe, 1, "140");
	play_expect_sent(0, WIRE_REPLAY_CREDIT, both.a);
	assert_int_equal(play_sent[0].u.credit.bytes, 3);
}

/* One frame for several replays; each has its own place, and one that ends does not matter. */
static void
test_shared(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	Both one;
	Both two;
	Both three;
	uint32_t subs[4];

	(void) state;
	both_subscribe(&one, database);
	both_subscribe(&two, database);
	both_subscribe(&three, database);
	begin(database, one.a);
	begin(database, two.a);
	begin(database, three.a);
	subs[0] = one.a;
	subs[1] = two.a;
	subs[2] = 12345;
	subs[3] = three.a;
	play_built = 0;
	play_replay_events(database, subs, 4, 120, "120");
	assert_int_equal(play_built, 1);
	play_expect(&one.pipe, 1, "120");
	play_expect(&two.pipe, 1, "120");
	play_expect(&three.pipe, 1, "120");
	two.pipe.broken = true;
	three.pipe.blocked = true;
	play_replay_events(database, subs, 4, 121, play_text(600));
	play_replay_events(database, subs, 4, 122, play_text(600));
	play_expect(&one.pipe, 1, play_text(600));
	play_expect(&one.pipe, 1, play_text(600));
	assert_int_equal(two.session->state, SESSION_LEAVING);
	play_nsent = 0;
	play_unblock(&three.pipe);
	play_expect(&three.pipe, 1, play_text(600));
	play_expect_nothing(&three.pipe);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_beside, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_position, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_lost, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_lagging, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_credit, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_shared, play_setup, play_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
