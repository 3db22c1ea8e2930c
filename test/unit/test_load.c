/* How many clients of a database are slow, and how much is queued for them. */
#include "play.h"

/* A client is slow if its queue was not empty for long, however little is in it. */
static void
test_load(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	PlayPipe quick;
	Session *session = play_open(database, &pipe);

	(void) state;
	(void) play_subscribe(session, PLAY_SUBSCRIBE_A_INSERTS, 1, false, 100);
	play_expect(&pipe, 1, "\"1-100\"}}");
	pipe.blocked = true;
	play_open(database, &quick);
	assert_int_equal(database->load.clients, 2);
	play_event(database, 1, 110, "110");
	sessions_flush(&play_sessions);
	play_tick(SESSION_SLOW_MS - 1);
	assert_int_equal(database->load.queued, session->queue.bytes);
	assert_int_equal(database->load.slow, 0);
	/* A second event does not begin a new time. */
	play_event(database, 1, 120, "120");
	sessions_flush(&play_sessions);
	play_tick(1);
	assert_int_equal(database->load.queued, session->queue.bytes);
	assert_int_equal(database->load.slow, 1);
	play_tick(1000);
	assert_int_equal(database->load.slow, 1);
	play_unblock(&pipe);
	play_tick(1000);
	assert_int_equal(database->load.queued, 0);
	assert_int_equal(database->load.slow, 0);
	/* The next one does. */
	pipe.blocked = true;
	play_event(database, 1, 130, "130");
	sessions_flush(&play_sessions);
	play_tick(SESSION_SLOW_MS - 1);
	assert_int_equal(database->load.slow, 0);
	session_closed(session);
	sessions_flush(&play_sessions);
	play_tick(1);
	assert_int_equal(database->load.clients, 1);
	assert_int_equal(database->load.queued, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, play_setup, play_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_load)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
