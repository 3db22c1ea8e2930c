/* What the feed does because time has passed: its checks, heartbeats of links, and its end. */
#include "unit.h"

#include "ext/feed/feed_due.h"
#include "wire/wire.h"

#define T  INT64_C(1000000000000) /* some time, in microseconds */
#define MS INT64_C(1000)

static void
test_since(void **state)
{
	(void) state;
	assert_false(due_since(T, T, 1000));
	assert_false(due_since(T, T + 1000 * MS - 1, 1000));
	assert_true(due_since(T, T + 1000 * MS, 1000));
	assert_true(due_since(0, T, 1000)); /* never before */
	assert_true(due_since(T, T - 1, 1000));
}

static void
test_heartbeat(void **state)
{
	(void) state;
	assert_true(due_position(7, 8, T, T));
	assert_false(due_position(8, 8, T, T + WIRE_HEARTBEAT_MS * MS - 1));
	assert_true(due_position(8, 8, T, T + WIRE_HEARTBEAT_MS * MS));

	/* A clock set back by an hour must not silence the link for an hour. */
	assert_true(due_position(8, 8, T, T - 3600 * 1000 * MS));
}

static void
test_leaving(void **state)
{
	int64_t idle_since = T;

	(void) state;
	assert_false(due_end(&idle_since, false, T + 2000 * MS - 1, 2000));
	assert_true(due_end(&idle_since, false, T + 2000 * MS, 2000));
	assert_false(due_end(&idle_since, false, T + 1000000 * MS, -1));

	/* A subscription restarts the wait. */
	assert_false(due_end(&idle_since, true, T + 5000 * MS, 2000));
	assert_false(due_end(&idle_since, false, T + 7000 * MS - 1, 2000));
	assert_true(due_end(&idle_since, false, T + 7000 * MS, 2000));
	assert_false(due_end(&idle_since, true, T + 7000 * MS, 0));

	/* A clock that is set back does too. */
	assert_false(due_end(&idle_since, false, T, 2000));
	assert_true(due_end(&idle_since, false, T + 2000 * MS, 2000));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_since),
		cmocka_unit_test(test_heartbeat),
		cmocka_unit_test(test_leaving),
	};

	return cmocka_run_group_tests_name("feed_due", tests, NULL, NULL);
}
