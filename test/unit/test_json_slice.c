/*
 * Reading JSON text in place.
 */
#include "unit.h"

#include "ext/access/json_slice.h"

static JsonSlice
parsed(const char *text)
{
	JsonSlice value;

	assert_true(slice_parse(text, strlen(text), &value));
	return value;
}

static void
test_valid(void **state)
{
	static const char *const texts[] = {
		"0",
		" 1 ",
		"-0.5e+10",
		"[1e308,1E-0000000308]",
		"\"\"",
		"\"\xC3\xA9\xF0\x9F\x98\x80\"",
		"true",
		"false",
		"null",
		"[]",
		"[ ]",
		"[1,[2]]",
		"{}",
		"{ }",
		"{\"a\":{}}",
		"{ \"a\" : 1 , \"b\" : [ ] }",
		"\"\\u0001\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
		"\"\\ud83d\\ude00\"",
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(texts); i++)
		(void) parsed(texts[i]);
}

static void
test_invalid(void **state)
{
	static const char *const texts[] = {
		"",
		" ",
		"01",
		"1.",
		".5",
		"+1",
		"-",
		"1e",
		"1e309",
		"1e131071",
		"1E-309",
		"1e18446744073709551617",
		"tru",
		"truee",
		"nul",
		"NaN",
		"'a'",
		"\"",
		"\"\\",
		"\"\\x\"",
		"\"\\u12\"",
		"\"\\u0000\"",
		"\"\t\"",
		"[",
		"]",
		"[1",
		"[1,",
		"[1,]",
		"[,]",
		"[1 2]",
		"{",
		"{\"a\"",
		"{\"a\":",
		"{\"a\":1",
		"{\"a\":1,",
		"{\"a\":1,}",
		"{a:1}",
		"{1:1}",
		"{\"a\" 1}",
		"{}{}",
		"1 2",
		"\"a\"b",
		"//",
		"\xEF\xBB\xBF{}",
		/* lone surrogates */
		"\"\\ud83d\"",
		"\"\\ude00\"",
		"\"\\ud83d\\u0041\"",
		"\"\\ud83d\\n\"",
		/* not UTF-8: cut off, overlong, surrogates, beyond U+10FFFF, Latin 1 */
		"\"\xC3\"",
		"\"\xC0\xAF\"",
		"\"\xE0\x80\xAF\"",
		"\"\xED\xA0\x80\"",
		"\"\xF4\x90\x80\x80\"",
		"\"\xF8\x88\x80\x80\x80\"",
		"\"\xE9t\"",
		"\"\x80\"",
	};
	JsonSlice value;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(texts); i++)
	{
		if (slice_parse(texts[i], strlen(texts[i]), &value))
			fail_msg("accepted: %s", texts[i]);
	}
	/* A NUL ends nothing. */
	assert_false(slice_parse("1\0", 2, &value));
}

static void
test_depth(void **state)
{
	char text[2 * SLICE_MAX_DEPTH + 3];
	JsonSlice value;

	(void) state;
	for (int depth = SLICE_MAX_DEPTH; depth <= SLICE_MAX_DEPTH + 1; depth++)
	{
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		assert_int_equal(slice_parse(text, 2 * depth, &value), depth == SLICE_MAX_DEPTH);
	}
}

static void
test_members(void **state)
{
	JsonSlice object =
		parsed("{ \"a\" : [1, 2] , \"\\u0062\":\"x\",\"a\":3, \"c\" : {\"d\":null}}");
	JsonSlice value;

	(void) state;
	assert_int_equal(slice_member(object, "a", &value), SLICE_TWICE);
	assert_int_equal(slice_member(object, "b", &value), SLICE_FOUND);
	assert_int_equal(value.length, 3);
	assert_int_equal(slice_member(object, "d", &value), SLICE_ABSENT);
	assert_int_equal(slice_member(object, "", &value), SLICE_ABSENT);
	assert_int_equal(slice_member(parsed("[]"), "a", &value), SLICE_ABSENT);
	assert_int_equal(slice_member(parsed("{}"), "a", &value), SLICE_ABSENT);
}

static void
test_elements(void **state)
{
	JsonSlice array = parsed("[ 1 , \"a,]\" ,[] ]");
	JsonSlice element = {NULL, 0};

	(void) state;
	assert_true(slice_next(array, &element));
	assert_int_equal(slice_kind(element), '0');
	assert_true(slice_next(array, &element));
	assert_int_equal(slice_kind(element), '"');
	assert_true(slice_next(array, &element));
	assert_int_equal(slice_kind(element), '[');
	assert_false(slice_next(array, &element));
	element.text = NULL;
	assert_false(slice_next(parsed("[ ]"), &element));
	assert_false(slice_next(parsed("{}"), &element));
}

static void
test_strings(void **state)
{
	JsonSlice value = parsed("\"a\\u00e9\\u20ac\\ud83d\\ude00\\n\"");
	static const char expected[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\n";
	char buf[32];

	(void) state;
	assert_true(slice_string(value, buf, sizeof(buf)));
	assert_string_equal(buf, expected);
	assert_true(slice_string(value, buf, sizeof(expected)));
	assert_false(slice_string(value, buf, sizeof(expected) - 1));
	assert_false(slice_string(value, buf, 0));
	assert_true(slice_string(parsed("\"\""), buf, 1));
	assert_false(slice_string(parsed("1"), buf, sizeof(buf)));
}

static void
test_numbers(void **state)
{
	char digits[80];
	double number;

	(void) state;
	assert_true(slice_number(parsed("-1.5e2"), &number));
	assert_true(number == -150);
	assert_false(slice_number(parsed("\"1\""), &number));
	memset(digits, '1', sizeof(digits));
	digits[sizeof(digits) - 1] = '\0';
	assert_false(slice_number(parsed(digits), &number));
}

static void
test_paths(void **state)
{
	static const struct
	{
		const char *path;
		const char *found; /* NULL: none */
	} cases[] = {
		{"a", "1"},
		{".a", "1"},
		{"$.a", "1"},
		{"b.c", "\"x\""},
		{"$.b.\"c\"", "\"x\""},
		{"d[1].e", "2"},
		{"$[\"a\"]", ""},
		{".\"https://x.y/z\"", "3"},
		{"\"https://x.y/z\"", "3"},
		{".\"q\\\"\\\\\"", "4"},
		{"x", NULL},
		{"a.b", NULL},
		{"d[2]", NULL},
		{"d.e", NULL},
		{"[0]", NULL},
		{"b.c[0]", NULL},
		{"", ""},
		{".", ""},
		{"$.", ""},
		{"$", ""},
		{"https://x.y/z", ""},
		{"x:y", ""},
		{"x/y", ""},
		{"a.", ""},
		{"a..b", ""},
		{"a b", ""},
		{"a[", ""},
		{"a[]", ""},
		{"a[-1]", ""},
		{"a[1", ""},
		{"a[12345]", ""},
		{"a[0]b", ""},
		{".\"a", ""},
		{".\"a\"b", ""},
	};
	JsonSlice root = parsed("{\"a\":1,\"b\":{\"c\":\"x\"},\"d\":[0,{\"e\":2}],\"https://x.y/z\":3,"
							"\"q\\\"\\\\\":4,\"t\":{\"u\":1,\"u\":2}}");
	JsonSlice value;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
	{
		const char *found = cases[i].found;

		if (slice_path_valid(cases[i].path) != (found == NULL || found[0] != '\0'))
			fail_msg("validity of path: %s", cases[i].path);
		if (found != NULL && found[0] == '\0')
			continue;
		assert_int_equal(slice_path(root, cases[i].path, &value),
						 found != NULL ? SLICE_FOUND : SLICE_ABSENT);
		if (found != NULL)
			assert_memory_equal(value.text, found, value.length);
	}
	assert_int_equal(slice_path(root, "t.u", &value), SLICE_TWICE);
}

/* Bytes of WAMP, which only arguments may have. */
static void
test_nul(void **state)
{
	static const char *const texts[] = {
		"\"\\u0000\"",
		"\"a\\u0000AQI=\"",
		"[1,[\"\\\\\\u0000\"]]",
		"{\"\\u0000\":1}",
	};
	static const char *const others[] = {"\"\\u0000", "\"\\u000\"", "\\u0000"};
	char payload[64];
	char buf[10];
	JsonSlice value;
	JsonSlice args;
	JsonSlice kwargs;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(texts); i++)
	{
		assert_false(slice_parse(texts[i], strlen(texts[i]), &value));
		snprintf(payload, sizeof(payload), "[%s]", texts[i]);
		assert_true(slice_arguments(payload, strlen(payload), &args, &kwargs));
		value = (JsonSlice){.text = NULL};
		assert_true(slice_next(args, &value));
		assert_false(slice_string(value, buf, sizeof(buf)));
		if (slice_kind(value) == '{')
			assert_int_equal(slice_member(value, "", &value), SLICE_ABSENT);
	}
	(void) parsed("\"\\\\u0000\"");
	assert_false(slice_parse("\"\\u00001\\u0001\"", 15, &value));
	for (size_t i = 0; i < UNIT_COUNT(others); i++)
	{
		snprintf(payload, sizeof(payload), "[%s]", others[i]);
		assert_false(slice_arguments(payload, strlen(payload), &args, &kwargs));
	}
}

static void
test_arguments(void **state)
{
	static const struct
	{
		const char *text;
		const char *args;
		const char *kwargs;
	} cases[] = {
		{"", NULL, NULL},
		{"[]", "[]", NULL},
		{" [1, {\"a\":2}] ", "[1, {\"a\":2}]", NULL},
		{"[],{}", "[]", "{}"},
		{"[[1],2] , {\"a\":[]}\n", "[[1],2]", "{\"a\":[]}"},
	};
	static const char *const texts[] = {
		" ",   "1",     "{}",      "[",        "[1]2",    "[1],",  "[1],2",   "[1],[2]",   "[1] {}",
		",{}", "[1],{", "[1],{},", "[],{},{}", "[1],{}]", "1],[2", "[1]],{}", "[\"],{}\"",
	};
	char deep[2 * SLICE_MAX_DEPTH];
	JsonSlice args;
	JsonSlice kwargs;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
	{
		const char *expected[] = {cases[i].args, cases[i].kwargs};
		const JsonSlice *found[] = {&args, &kwargs};

		assert_true(slice_arguments(cases[i].text, strlen(cases[i].text), &args, &kwargs));
		for (int part = 0; part < 2; part++)
		{
			if (expected[part] == NULL)
				assert_null(found[part]->text);
			else
			{
				assert_int_equal(found[part]->length, strlen(expected[part]));
				assert_memory_equal(found[part]->text, expected[part], found[part]->length);
			}
		}
	}
	for (size_t i = 0; i < UNIT_COUNT(texts); i++)
	{
		if (slice_arguments(texts[i], strlen(texts[i]), &args, &kwargs))
			fail_msg("these are no arguments: %s", texts[i]);
	}
	/* They can become a part of an array. */
	for (size_t depth = SLICE_MAX_DEPTH - 1; depth <= SLICE_MAX_DEPTH; depth++)
	{
		memset(deep, '[', depth);
		memset(deep + depth, ']', depth);
		assert_int_equal(slice_arguments(deep, 2 * depth, &args, &kwargs), depth < SLICE_MAX_DEPTH);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid),    cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_depth),    cmocka_unit_test(test_members),
		cmocka_unit_test(test_elements), cmocka_unit_test(test_strings),
		cmocka_unit_test(test_numbers),  cmocka_unit_test(test_paths),
		cmocka_unit_test(test_nul),      cmocka_unit_test(test_arguments),
	};

	return cmocka_run_group_tests_name("json_slice", tests, NULL, NULL);
}
