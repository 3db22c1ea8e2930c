/* URIs and patterns of WAMP. */
#include "unit.h"

#include "wire/uri.h"

static bool
valid(UriMatch match, const char *text)
{
	return uri_is_valid(match, text, strlen(text));
}

static bool
matches(UriMatch match, const char *pattern, const char *uri)
{
	return uri_matches(match, pattern, strlen(pattern), uri, strlen(uri));
}

static void
test_valid(void **state)
{
	(void) state;
	assert_true(valid(URI_EXACT, "com.shop.orders"));
	assert_true(valid(URI_EXACT, "orders"));
	assert_true(valid(URI_EXACT, "Caf\xc3\xa9.1-2_3"));
	assert_false(valid(URI_EXACT, ""));
	assert_false(valid(URI_EXACT, "com..orders"));
	assert_false(valid(URI_EXACT, ".com"));
	assert_false(valid(URI_EXACT, "com."));
	assert_false(valid(URI_EXACT, "com.sh op"));
	assert_false(valid(URI_EXACT, "com.#"));
	assert_false(valid(URI_EXACT, "com\n"));
	assert_true(valid(URI_PREFIX, "com.shop."));
	assert_true(valid(URI_PREFIX, "com.sh"));
	assert_false(valid(URI_PREFIX, "com..a"));
	assert_false(valid(URI_PREFIX, ""));
	assert_true(valid(URI_WILDCARD, "com..orders"));
	assert_true(valid(URI_WILDCARD, "."));
	assert_false(valid(URI_WILDCARD, ""));
}

static void
test_matches(void **state)
{
	(void) state;
	assert_true(matches(URI_EXACT, "a.b", "a.b"));
	assert_false(matches(URI_EXACT, "a.b", "a.b.c"));
	assert_true(matches(URI_PREFIX, "a.b", "a.b"));
	assert_true(matches(URI_PREFIX, "a.b", "a.bc.d"));
	assert_false(matches(URI_PREFIX, "a.b.", "a.b"));
	assert_true(matches(URI_WILDCARD, "a..c", "a.b.c"));
	assert_true(matches(URI_WILDCARD, "..", "a.b.c"));
	assert_true(matches(URI_WILDCARD, "a.b.", "a.b.c"));
	assert_true(matches(URI_WILDCARD, ".b", "a.b"));
	assert_true(matches(URI_WILDCARD, "a.b", "a.b"));
	assert_false(matches(URI_WILDCARD, "a..c", "a.b.c.d"));
	assert_false(matches(URI_WILDCARD, "a..c", "a.c"));
	assert_false(matches(URI_WILDCARD, "a..c", "a.b.d"));
	assert_false(matches(URI_WILDCARD, "a..c", "ab.b.c"));
	assert_false(matches(URI_WILDCARD, "a.", "a"));
}

static void
test_reserved(void **state)
{
	(void) state;
	assert_true(uri_is_reserved("wamp.session.count", 18));
	assert_true(uri_is_reserved("wamp.", 5));
	assert_false(uri_is_reserved("wamp", 4));
	assert_false(uri_is_reserved("wampx.a", 7));
}

static void
test_names(void **state)
{
	UriMatch match;

	(void) state;
	assert_true(uri_match_parse("wildcard", 8, &match));
	assert_int_equal(match, URI_WILDCARD);
	assert_string_equal(uri_match_name(URI_PREFIX), "prefix");
	assert_false(uri_match_parse("prefixx", 7, &match));
	assert_false(uri_match_parse("", 0, &match));
}

/* All processes have the same ids. */
static void
test_id(void **state)
{
	(void) state;
	assert_int_equal(uri_id(URI_EXACT, "com.shop.orders", 15),
					 uri_id(URI_EXACT, "com.shop.orders", 15));
	assert_int_not_equal(uri_id(URI_EXACT, "com.shop.", 9), uri_id(URI_PREFIX, "com.shop.", 9));
	assert_int_not_equal(uri_id(URI_EXACT, "a", 1), uri_id(URI_EXACT, "b", 1));
	for (uint64_t i = 0; i < 100000; i++)
	{
		uint64_t id = uri_id(URI_EXACT, (const char *) &i, sizeof(i));

		assert_true(id >= 1 && id <= URI_MAX_ID);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid),    cmocka_unit_test(test_matches),
		cmocka_unit_test(test_reserved), cmocka_unit_test(test_names),
		cmocka_unit_test(test_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
