/* Which numbers of JSON become strings, and nothing else. */
#include "unit.h"

#include <math.h>

#include "gateway/protocol/numbers.h"

static bool
kept(const char *text)
{
	/* A copy without room behind it, so that the sanitizer sees what reads beyond. */
	char *copy = memcpy(malloc(strlen(text)), text, strlen(text));
	bool result = numbers_kept(copy, strlen(text));

	free(copy);
	return result;
}

static void
test_integers(void **state)
{
	(void) state;
	assert_true(kept("0"));
	assert_true(kept("-0"));
	assert_true(kept("9007199254740991"));
	assert_true(kept("-9007199254740991"));
	assert_false(kept("9007199254740992"));
	assert_false(kept("-9007199254740992"));
	assert_false(kept("10000000000000000"));
	assert_false(kept("-9223372036854775808"));
	assert_false(kept("123456789012345678901234567890"));
}

static void
test_decimals(void **state)
{
	(void) state;
	assert_true(kept("0.1"));
	assert_true(kept("-12.50"));
	assert_true(kept("0.000"));
	assert_true(kept("1e+20"));
	assert_true(kept("1E-7"));
	/* 17 digits, once as the shortest text of a double, once as another decimal of the same double */
	assert_true(kept("0.30000000000000004"));
	assert_false(kept("0.30000000000000005"));
	assert_true(kept("9007199254740992.0"));
	assert_false(kept("9007199254740993.0"));
	assert_false(kept("12345678901234567890.12"));
	assert_false(kept("0.1234567890123456789"));
	/* The limits of doubles */
	assert_true(kept("1.7976931348623157e+308"));
	assert_false(kept("1.7976931348623159e308"));
	assert_false(kept("1e999"));
	assert_false(kept("1e99999999999999999999"));
	assert_true(kept("5e-324"));
	assert_true(kept("2.2250738585072014e-308"));
	assert_false(kept("6e-324"));
	assert_false(kept("1e-999"));
	assert_false(kept("1e-99999999999999999999"));
	assert_true(kept("0e999"));
}

/* The shortest text of any double is kept, and one with more digits is not. */
static void
test_doubles(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15;

	(void) state;
	for (int i = 0; i < 20000; i++)
	{
		double value;
		char text[40];
		int digits = 0;

		seed = seed * 6364136223846793005 + 1442695040888963407;
		memcpy(&value, &seed, sizeof(value));
		if (!isfinite(value))
			continue;
		do
			snprintf(text, sizeof(text), "%.*e", digits, value);
		while (digits++ < 17 && strtod(text, NULL) != value);
		/* An integer without exponent has another rule. */
		if (!kept(text))
			fail_msg("%s is not kept", text);
		/* 18 digits */
		snprintf(text, sizeof(text), "%.17e", value);
		strchr(text, 'e')[-1] = '1';
		if (kept(text))
			fail_msg("%s is kept", text);
	}
}

static void
expect_quoted(const char *json, const char *expected)
{
	uint32_t len = (uint32_t) strlen(json);
	char *copy = memcpy(malloc(len + 1), json, len);
	char *quoted = numbers_quote((WireBytes){.data = copy, .len = len}, &len);

	if (expected == NULL)
		assert_null(quoted);
	else
	{
		assert_non_null(quoted);
		assert_int_equal(len, strlen(expected));
		assert_memory_equal(quoted, expected, len);
	}
	free(quoted);
	free(copy);
}

static void
test_quote(void **state)
{
	(void) state;
	expect_quoted("{\"a\":1,\"b\":[2.5,-3e2],\"c\":null}", NULL);
	expect_quoted("", NULL);
	expect_quoted("9007199254740992", "\"9007199254740992\"");
	expect_quoted("1e999", "\"1e999\"");
	expect_quoted("[1e999,1e999,1e999,1e999]", "[\"1e999\",\"1e999\",\"1e999\",\"1e999\"]");
	expect_quoted("{\"a\":9223372036854775807,\"b\":[1,-9223372036854775808],\"c\":1}",
				  "{\"a\":\"9223372036854775807\",\"b\":[1,\"-9223372036854775808\"],\"c\":1}");
	/* Digits in strings and names are text, whatever is around them. */
	expect_quoted("{\"9223372036854775807\":\"9223372036854775807\"}", NULL);
	expect_quoted("[\"\\\"9223372036854775807\",\"\\\\\",9223372036854775807]",
				  "[\"\\\"9223372036854775807\",\"\\\\\",\"9223372036854775807\"]");
	/* Rows stand side by side without brackets. */
	expect_quoted("{\"a\":9007199254740993},{\"a\":1}", "{\"a\":\"9007199254740993\"},{\"a\":1}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_integers),
		cmocka_unit_test(test_decimals),
		cmocka_unit_test(test_doubles),
		cmocka_unit_test(test_quote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
