/* How often something may happen from one address. */
#include "unit.h"

#include "gateway/net/limiter.h"

static Limiter limiter;
static uint64_t now;

static uint64_t
clock_now(void)
{
	return now;
}

static int
setup(void **state)
{
	(void) state;
	now = 5000;
	limiter = (Limiter){.now = clock_now};
	limiter_init(&limiter);
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	limiter_free(&limiter);
	assert_true(RB_EMPTY(&limiter.all));
	assert_int_equal(limiter.count, 0);
	return 0;
}

/* Do it once, if it is allowed; return the time to wait, or 0. */
static uint64_t
once(uint32_t address, LimiterKind kind, Limit limit)
{
	uint8_t key[ADDRESS_SIZE] = {0};
	uint64_t wait;

	memcpy(key, &address, sizeof(address));
	wait = limiter_wait(&limiter, key, kind, limit);
	if (wait == 0)
		limiter_count(&limiter, key, kind, limit);
	return wait;
}

static void
test_rate(void **state)
{
	const Limit limit = {.count = 4, .period_ms = 1000};

	(void) state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(once(1, LIMITER_HANDSHAKES, limit), 0);
	assert_int_equal(once(1, LIMITER_HANDSHAKES, limit), 250);
	now += 249;
	assert_int_equal(once(1, LIMITER_HANDSHAKES, limit), 1);
	now += 1;
	assert_int_equal(once(1, LIMITER_HANDSHAKES, limit), 0);
	assert_int_equal(once(1, LIMITER_HANDSHAKES, limit), 250);
	/* Not of another address or kind */
	assert_int_equal(once(2, LIMITER_HANDSHAKES, limit), 0);
	assert_int_equal(once(1, LIMITER_FAILED_TOKENS, limit), 0);
	/* Long after, as many at once as at first and no more */
	now += 100000;
	for (int i = 0; i < 4; i++)
		assert_int_equal(once(1, LIMITER_HANDSHAKES, limit), 0);
	assert_int_equal(once(1, LIMITER_HANDSHAKES, limit), 250);
}

/* In the long run there are as many as the limit says. */
static void
test_long(void **state)
{
	const Limit limits[] = {{3, 1000}, {1, 60000}, {1000000, 1000}, {7, 60000}};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(limits); i++)
	{
		uint64_t done = 0;
		uint64_t end = now + 10 * (uint64_t) limits[i].period_ms;
		uint64_t step = limits[i].period_ms / 1000;

		for (; now < end; now += step)
			for (int j = 0;
				 j < 2000 && once(9 + (uint32_t) i, LIMITER_FAILED_TOKENS, limits[i]) == 0; j++)
				done++;
		assert_between(done, 10 * (uint64_t) limits[i].count, 11 * (uint64_t) limits[i].count);
	}
}

/* What happens beyond the limit does not prolong the time. */
static void
test_beyond(void **state)
{
	const Limit limit = {.count = 2, .period_ms = 60000};
	uint8_t key[ADDRESS_SIZE] = {1};

	(void) state;
	for (int i = 0; i < 1000; i++)
		limiter_count(&limiter, key, LIMITER_FAILED_TOKENS, limit);
	assert_int_equal(limiter_wait(&limiter, key, LIMITER_FAILED_TOKENS, limit), 30000);
}

static void
test_no_limit(void **state)
{
	(void) state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(once(1, LIMITER_HANDSHAKES, (Limit){0, 1000}), 0);
	assert_int_equal(limiter.count, 0);
}

static void
test_memory(void **state)
{
	const Limit limit = {.count = 1, .period_ms = 1000};

	(void) state;
	for (uint32_t i = 0; i < LIMITER_MAX; i++)
		assert_int_equal(once(i, LIMITER_HANDSHAKES, limit), 0);
	assert_int_equal(limiter.count, LIMITER_MAX);
	assert_int_equal(once(0, LIMITER_HANDSHAKES, limit), 1000);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(once(LIMITER_MAX + i, LIMITER_HANDSHAKES, limit), 0);
	assert_between(limiter.count, LIMITER_MAX - 100, LIMITER_MAX);
	/* Only the oldest are forgotten. */
	assert_int_equal(once(LIMITER_MAX - 1, LIMITER_HANDSHAKES, limit), 1000);
	/* Those that mean nothing any more go, step by step. */
	now += 1000;
	for (uint32_t i = 0; i < LIMITER_MAX; i++)
		(void) once(2 * LIMITER_MAX + i % 2, LIMITER_HANDSHAKES, limit);
	for (uint32_t i = 0; i < LIMITER_MAX; i++)
	{
		now += 1000;
		(void) once(3 * LIMITER_MAX + i, LIMITER_HANDSHAKES, limit);
	}
	assert_between(limiter.count, 1, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_beyond, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
