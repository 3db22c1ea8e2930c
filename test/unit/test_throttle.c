/*
 * How long the feed pauses: a client that waits for each event is delayed little, and load is
 * throttled.
 */
#include "unit.h"

#include "ext/feed/throttle.h"

#define ROUND_US 60 /* duration of a round */

/* Rounds that end this far apart, unless a pause is longer. Returns the longest pause. */
static int64_t
longest_pause(int rounds, int64_t apart, int64_t took, int transactions)
{
	int64_t until = 0;
	int64_t now = 1000000;
	int64_t longest = 0;

	for (int i = 0; i < rounds; i++)
	{
		int64_t pause = throttle_pause(&until, now, took, transactions);

		longest = pause > longest ? pause : longest;
		now += pause > apart ? pause : apart;
	}
	return longest;
}

/*
 * A writer that commits at this interval, independently of its events. Returns the average pause in
 * the steady state.
 */
static int64_t
steady_pause(int64_t every, int64_t took)
{
	int64_t until = 0;
	int64_t now = 1000000;
	int64_t read = now; /* its transactions up to here were read */
	int64_t sum = 0;

	for (int i = 0; i < 2000; i++)
	{
		int64_t pause;
		int found = (int) ((now - read) / every);

		if (found == 0)
		{
			now = read + every;
			found = 1;
		}
		read += found * every;
		now += took;
		pause = throttle_pause(&until, now, took, found);
		now += pause;
		sum += i >= 1000 ? pause : 0;
	}
	return sum / 1000;
}

static void
test_quiet(void **state)
{
	(void) state;
	assert_int_equal(longest_pause(1, 0, ROUND_US, 1), 0);
	assert_int_equal(longest_pause(1000, THROTTLE_TIMES * ROUND_US, ROUND_US, 1), 0);
	assert_int_equal(longest_pause(1000, 100000, 500, 2), 0);

	/* A few in a row after a quiet time too. */
	assert_int_equal(longest_pause(10, ROUND_US, ROUND_US, 1), 0);
	assert_int_equal(longest_pause(1, 0, ROUND_US, 20), 0);
}

/*
 * A client that waits for each event before its next transaction: the pause is at most
 * THROTTLE_TIMES a round.
 */
static void
test_waiting(void **state)
{
	(void) state;
	assert_int_equal(longest_pause(1000, 300, ROUND_US, 1), THROTTLE_TIMES * ROUND_US);
	assert_between(longest_pause(1000, 300, ROUND_US, 2), THROTTLE_TIMES * ROUND_US,
				   2 * THROTTLE_TIMES * ROUND_US);
}

static void
test_load(void **state)
{
	(void) state;
	assert_int_equal(steady_pause(2000, ROUND_US), 0);
	assert_between(steady_pause(400, ROUND_US), THROTTLE_MAX_US * 9 / 10, THROTTLE_MAX_US);
	assert_between(steady_pause(100, 200), THROTTLE_MAX_US * 9 / 10, THROTTLE_MAX_US);
}

static void
test_limits(void **state)
{
	int64_t until = 0;

	(void) state;

	/* A round that stalls costs one pause, and is then forgotten. */
	assert_int_equal(throttle_pause(&until, 1000000, 1000000, 1000), THROTTLE_MAX_US);
	assert_int_equal(until, 1000000 + THROTTLE_MAX_US);
	assert_int_equal(throttle_pause(&until, 1000000 + THROTTLE_MAX_US + 10000, ROUND_US, 1), 0);

	/* A long quiet time pays a limited amount in advance. */
	until = 0;
	assert_int_equal(throttle_pause(&until, 1000000000, THROTTLE_SAVED_US / THROTTLE_TIMES, 1), 0);
	assert_int_equal(throttle_pause(&until, 1000000000, ROUND_US, 1), THROTTLE_TIMES * ROUND_US);
	assert_int_equal(longest_pause(1000000, 10, 1000000, 1000), THROTTLE_MAX_US);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quiet),
		cmocka_unit_test(test_waiting),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests_name("throttle", tests, NULL, NULL);
}
