/*
 * Which releases of PostgreSQL lack the fix of LISTEN, and which release to update to.
 */
#include "unit.h"

#include "ext/base/server_version.h"

static void
test_last_releases_without_the_fix(void **state)
{
	(void) state;
	assert_int_equal(server_version_fixed_in(140020), 140021);
	assert_int_equal(server_version_fixed_in(150015), 150016);
	assert_int_equal(server_version_fixed_in(160011), 160012);
	assert_int_equal(server_version_fixed_in(170007), 170008);
	assert_int_equal(server_version_fixed_in(180001), 180002);
}

static void
test_first_releases_with_the_fix(void **state)
{
	(void) state;
	assert_int_equal(server_version_fixed_in(140021), 0);
	assert_int_equal(server_version_fixed_in(150016), 0);
	assert_int_equal(server_version_fixed_in(160012), 0);
	assert_int_equal(server_version_fixed_in(170008), 0);
	assert_int_equal(server_version_fixed_in(180002), 0);
}

static void
test_other_releases(void **state)
{
	(void) state;
	assert_int_equal(server_version_fixed_in(150000), 150016);
	assert_int_equal(server_version_fixed_in(150020), 0);
	assert_int_equal(server_version_fixed_in(190000), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_releases_without_the_fix),
		cmocka_unit_test(test_first_releases_with_the_fix),
		cmocka_unit_test(test_other_releases),
	};

	return cmocka_run_group_tests_name("server_version", tests, NULL, NULL);
}
