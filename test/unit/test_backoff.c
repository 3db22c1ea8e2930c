/* The delays before the launcher tries again. */
#include "unit.h"

#include "ext/base/backoff.h"

static void
test_doubles_up_to_the_longest(void **state)
{
	static const int expected[] = {1000, 2000, 4000, 8000, 10000, 10000};

	(void) state;
	for (int i = 0; i < (int) (sizeof(expected) / sizeof(expected[0])); i++)
		assert_int_equal(backoff_delay(i + 1), expected[i]);
	assert_int_equal(backoff_delay(1000000000), BACKOFF_LONGEST_MS);
}

static void
test_first_restart_is_at_once(void **state)
{
	(void) state;
	assert_int_equal(backoff_restart_delay(0), 0);
	assert_int_equal(backoff_restart_delay(1), 0);
	assert_int_equal(backoff_restart_delay(2), 1000);
	assert_int_equal(backoff_restart_delay(3), 2000);
	assert_int_equal(backoff_restart_delay(1000000000), BACKOFF_LONGEST_MS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_doubles_up_to_the_longest),
		cmocka_unit_test(test_first_restart_is_at_once),
	};

	return cmocka_run_group_tests_name("backoff", tests, NULL, NULL);
}
