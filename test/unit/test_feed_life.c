/*
 * The states of a database's feed: every event in every state, and what depends on time.
 */
#include "unit.h"

#include "ext/base/backoff.h"
#include "ext/base/feed_life.h"

#define T    INT64_C(1000000000) /* some time, in microseconds */
#define SAME -1
#define W    FEED_WANTED
#define S    FEED_STARTING
#define R    FEED_RUNNING
#define A    FEED_ABSENT
#define Z    FEED_ASLEEP

/* In the order of FeedState. */
static const int expected[FEED_EVENTS][FEED_STATES] = {
	[FEED_EVENT_STARTED] = {S, SAME, SAME, SAME, SAME},
	[FEED_EVENT_NO_SLOT] = {SAME, W, SAME, SAME, SAME},
	[FEED_EVENT_ATTACHED] = {R, R, R, R, R},
	[FEED_EVENT_ENDED] = {SAME, W, W, SAME, SAME},
	[FEED_EVENT_GAVE_WAY] = {SAME, W, W, SAME, SAME},
	[FEED_EVENT_NO_EXTENSION] = {SAME, SAME, A, SAME, SAME},
	[FEED_EVENT_NOT_NEEDED] = {SAME, SAME, Z, SAME, SAME},
	[FEED_EVENT_CREATED] = {W, SAME, SAME, W, W},
	[FEED_EVENT_NEEDED] = {SAME, SAME, SAME, SAME, W},
	[FEED_EVENT_RETENTION_DUE] = {SAME, SAME, SAME, SAME, W},
};

static void
test_every_event_in_every_state(void **state)
{
	(void) state;
	for (int event = 0; event < FEED_EVENTS; event++)
	{
		for (int from = 0; from < FEED_STATES; from++)
		{
			FeedLife life = {.state = (FeedState) from};
			int want = expected[event][from] == SAME ? from : expected[event][from];

			feed_life_step(&life, (FeedEvent) event, T);
			if ((int) life.state != want)
				fail_msg("event %d in state %d: state %d", event, from, life.state);
		}
	}
}

static FeedLife
running_since(int64_t time, int failures)
{
	FeedLife life = {.failures = failures};

	feed_life_step(&life, FEED_EVENT_STARTED, time - 10);
	feed_life_step(&life, FEED_EVENT_ATTACHED, time);
	assert_int_equal(life.state, FEED_RUNNING);
	return life;
}

/* Feeds that end soon after they have attached are restarted after longer and longer delays. */
static void
test_backing_off(void **state)
{
	FeedLife life = {0};

	(void) state;
	for (int i = 1; i < 8; i++)
	{
		feed_life_step(&life, FEED_EVENT_STARTED, T);
		feed_life_step(&life, FEED_EVENT_ATTACHED, T + 500);
		feed_life_step(&life, FEED_EVENT_ENDED, T + 499 + FEED_GOOD_TIME);
		assert_int_equal(life.failures, i);
		assert_int_equal(life.retry_at,
						 T + 499 + FEED_GOOD_TIME + backoff_restart_delay(i) * INT64_C(1000));
	}

	/* The same for feeds that never attach. */
	feed_life_step(&life, FEED_EVENT_STARTED, T);
	feed_life_step(&life, FEED_EVENT_ENDED, T + 1);
	assert_int_equal(life.failures, 8);
	assert_true(life.retry_at > T + 1);

	/* CREATE EXTENSION ends the delay. */
	feed_life_step(&life, FEED_EVENT_CREATED, T + 2);
	assert_int_equal(life.failures, 0);
	assert_int_equal(life.retry_at, 0);
}

static void
test_no_failure(void **state)
{
	static const FeedEvent ends[] = {FEED_EVENT_GAVE_WAY, FEED_EVENT_NO_EXTENSION,
									 FEED_EVENT_NOT_NEEDED};
	FeedLife life = running_since(T, 3);

	(void) state;
	feed_life_step(&life, FEED_EVENT_ENDED, T + FEED_GOOD_TIME);
	assert_int_equal(life.failures, 0);
	assert_int_equal(life.retry_at, 0);

	for (size_t i = 0; i < UNIT_COUNT(ends); i++)
	{
		life = running_since(T, 3);
		feed_life_step(&life, ends[i], T + 1);
		assert_int_equal(life.failures, 0);
		assert_int_equal(life.retry_at, 0);
	}
}

/* A feed may have looked for the extension just before CREATE EXTENSION committed. */
static void
test_created_while_running(void **state)
{
	static const FeedEvent ends[] = {FEED_EVENT_ENDED, FEED_EVENT_GAVE_WAY, FEED_EVENT_NO_EXTENSION,
									 FEED_EVENT_NOT_NEEDED};
	FeedLife life;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(ends); i++)
	{
		life = running_since(T, 3);
		feed_life_step(&life, FEED_EVENT_CREATED, T + 1);
		assert_true(life.created);
		feed_life_step(&life, ends[i], T + 2);
		assert_int_equal(life.state, FEED_WANTED);
		assert_int_equal(life.retry_at, 0);
	}

	/* The next feed looks after the commit. */
	feed_life_step(&life, FEED_EVENT_STARTED, T + 3);
	feed_life_step(&life, FEED_EVENT_ATTACHED, T + 4);
	feed_life_step(&life, FEED_EVENT_NO_EXTENSION, T + 5);
	assert_int_equal(life.state, FEED_ABSENT);
}

static void
test_visits(void **state)
{
	FeedLife life = {.state = FEED_ASLEEP};

	(void) state;
	feed_life_step(&life, FEED_EVENT_RETENTION_DUE, T);
	assert_true(life.visit);

	life.state = FEED_ASLEEP;
	feed_life_step(&life, FEED_EVENT_NEEDED, T);
	assert_int_equal(life.state, FEED_WANTED);
	assert_false(life.visit);

	life = (FeedLife){.state = FEED_ASLEEP, .visit = true};
	feed_life_step(&life, FEED_EVENT_CREATED, T);
	assert_false(life.visit);

	/* Nobody can subscribe to an excluded database, but its log needs retention. */
	life = (FeedLife){.state = FEED_ASLEEP, .excluded = true};
	feed_life_step(&life, FEED_EVENT_NEEDED, T);
	assert_int_equal(life.state, FEED_ASLEEP);
	feed_life_step(&life, FEED_EVENT_RETENTION_DUE, T);
	assert_int_equal(life.state, FEED_WANTED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_event_in_every_state),
		cmocka_unit_test(test_backing_off),
		cmocka_unit_test(test_no_failure),
		cmocka_unit_test(test_created_while_running),
		cmocka_unit_test(test_visits),
	};

	return cmocka_run_group_tests_name("feed_life", tests, NULL, NULL);
}
