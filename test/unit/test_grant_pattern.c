/* Patterns of grants: which names they match, and which of two is more specific. */
#include "unit.h"

#include "ext/channel/grant_pattern.h"

static GrantPattern
read(const char *name)
{
	GrantPattern pattern;

	assert_null(grant_pattern_read(name, &pattern));
	return pattern;
}

static bool
matches(const char *pattern, const char *name)
{
	GrantPattern read_pattern = read(pattern);

	return grant_pattern_matches(&read_pattern, name, strlen(name));
}

static void
test_kinds(void **state)
{
	GrantPattern pattern = read("com.shop.*");

	(void) state;
	assert_int_equal(pattern.match, URI_PREFIX);
	assert_int_equal(pattern.len, strlen("com.shop."));
	pattern = read("*");
	assert_int_equal(pattern.match, URI_PREFIX);
	assert_int_equal(pattern.len, 0);
	assert_int_equal(read("com..orders").match, URI_WILDCARD);
	assert_int_equal(read(".").match, URI_WILDCARD);
	assert_int_equal(read("com.").match, URI_WILDCARD);
	assert_int_equal(read("com.shop.orders").match, URI_EXACT);
	assert_int_equal(read("com.shop*").match, URI_EXACT);
	assert_int_equal(read("com.*a").match, URI_EXACT);
	assert_int_equal(read("**").match, URI_EXACT);
	assert_non_null(grant_pattern_read("com.*.orders", &pattern));
	assert_non_null(grant_pattern_read("*.*", &pattern));
	assert_non_null(grant_pattern_read("com..*", &pattern));
	assert_non_null(grant_pattern_read(".*", &pattern));
}

static void
test_matches(void **state)
{
	(void) state;
	assert_true(matches("com.shop.*", "com.shop.orders"));
	assert_true(matches("com.shop.*", "com.shop.orders.new"));
	assert_true(matches("com.shop.*", "com.shop.*"));
	assert_false(matches("com.shop.*", "com.shop"));
	assert_false(matches("com.shop.*", "com.shops.orders"));
	assert_true(matches("*", "a"));
	assert_true(matches("*", "com.shop.orders"));
	assert_true(matches("com..orders", "com.shop.orders"));
	assert_true(matches("com..orders", "com..orders"));
	assert_false(matches("com..orders", "com.shop.north.orders"));
	assert_false(matches("com..orders", "com.orders"));
	assert_true(matches("com.shop", "com.shop"));
	assert_false(matches("com.shop", "com.shop.orders"));

	/* The router's names need patterns of their own. */
	assert_false(matches("*", "wamp.session.kill"));
	assert_false(matches("..kill", "wamp.session.kill"));
	assert_true(matches("*", "wamp"));
	assert_true(matches("*", "wamps.session.kill"));
	assert_true(matches("wamp.*", "wamp.session.kill"));
	assert_true(matches("wamp.session.*", "wamp.session.kill"));
	assert_true(matches("wamp..kill", "wamp.session.kill"));
	assert_true(matches("wamp.session.kill", "wamp.session.kill"));
}

/* Each is more specific than all below it. */
static void
test_order(void **state)
{
	static const char *const names[] = {
		"com.shop.orders.new",
		"com.shop.orders.",
		"com.shop..new",
		"com..orders.new",
		".shop.orders.new",
		"com.shop..",
		"com..orders.",
		"com...new",
		".shop.orders.",
		".shop..new",
		"..orders.new",
		"com...",
		".shop..",
		"..orders.",
		"...new",
		"...",
		"com.shop.orders.*",
		"com.shop.*",
		"com.*",
		"*",
	};

	(void) state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		{
			GrantPattern a = read(names[i]);
			GrantPattern b = read(names[k]);
			int result = grant_pattern_compare(&a, &b);

			assert_true(matches(names[i], "com.shop.orders.new"));
			assert_int_equal((result > 0) - (result < 0), (i > k) - (i < k));
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
