/* What clients get of events: other operations, fewer columns, without rows. */
#include "unit.h"

#include "ext/sets/event_body.h"

static char result[4096];
static size_t result_len;

static void
put(void *arg, const char *data, size_t len)
{
	(void) arg;
	assert_true(result_len + len < sizeof(result));
	memcpy(result + result_len, data, len);
	result_len += len;
	result[result_len] = '\0';
}

static WireBytes
bytes(const char *text)
{
	return (WireBytes){.data = text, .len = (uint32_t) strlen(text)};
}

static bool
write_body(const char *text, BodyChange change, const BodyColumns *columns, bool reduced)
{
	Body body;

	result_len = 0;
	assert_true(body_open(&body, text, strlen(text)));
	return body_write(&body, change, columns, false, reduced, put, NULL);
}

static void
expect(const char *text, BodyChange change, const BodyColumns *columns, const char *expected)
{
	assert_true(write_body(text, change, columns, false));
	assert_string_equal(result, expected);
}

#define HEAD  "{\"position\":\"1-5\",\"id\":5,"
#define TABLE "\"schema\":\"public\",\"table\":\"t\","
#define UPDATE                                                                                     \
	HEAD "\"op\":\"UPDATE\"," TABLE                                                                \
		 "\"key\":{\"id\":1},\"new\":{\"id\":1,\"a\":\"x\"},\"old\":{\"id\":1,\"a\":\"y\"}}"

static void
test_changes(void **state)
{
	(void) state;
	expect(UPDATE, BODY_UNCHANGED, NULL, UPDATE);
	expect(UPDATE, BODY_ENTERS, NULL,
		   HEAD "\"op\":\"INSERT\",\"cause\":\"UPDATE\"," TABLE
				"\"key\":{\"id\":1},\"new\":{\"id\":1,\"a\":\"x\"}}");
	expect(UPDATE, BODY_LEAVES, NULL,
		   HEAD "\"op\":\"DELETE\",\"cause\":\"UPDATE\"," TABLE
				"\"key\":{\"id\":1},\"old\":{\"id\":1,\"a\":\"y\"}}");
	/* without rows, and without members after the key */
	expect("{\"op\":\"UPDATE\",\"key\":{\"id\":1}}", BODY_LEAVES, NULL,
		   "{\"op\":\"DELETE\",\"cause\":\"UPDATE\",\"key\":{\"id\":1}}");
}

/* A row leaves with the key that it had, whichever columns "old" has besides. */
static void
test_keys(void **state)
{
	static const char text[] = "{\"op\":\"UPDATE\",\"key\":{\"a\":2,\"b\":\"q\"},\"new\":{\"c\":1},"
							   "\"old\":{\"a\":1,\"b\":\"q\",\"c\":0}}";

	(void) state;
	expect(text, BODY_LEAVES, NULL,
		   "{\"op\":\"DELETE\",\"cause\":\"UPDATE\",\"key\":{\"a\":1,\"b\":\"q\"},"
		   "\"old\":{\"a\":1,\"b\":\"q\",\"c\":0}}");
	expect(text, BODY_ENTERS, NULL,
		   "{\"op\":\"INSERT\",\"cause\":\"UPDATE\",\"key\":{\"a\":2,\"b\":\"q\"},"
		   "\"new\":{\"c\":1}}");
	expect("{\"op\":\"UPDATE\",\"key\":{},\"old\":{\"c\":0}}", BODY_LEAVES, NULL,
		   "{\"op\":\"DELETE\",\"cause\":\"UPDATE\",\"key\":{},\"old\":{\"c\":0}}");
}

static void
test_columns(void **state)
{
	WireBytes names[] = {bytes("\"id\""), bytes("\"c\\\"d\""), bytes("\"a\"")};
	BodyColumns columns = {.n = UNIT_COUNT(names), .names = names};
	BodyColumns one;
	BodyColumns none = {.n = 0, .names = names};

	(void) state;
	qsort(names, columns.n, sizeof(names[0]), body_compare);
	expect("{\"op\":\"INSERT\",\"key\":{\"k\":1},\"new\":{\"x\":[1,{\"a\":2}],\"a\": {\"x\" : 3} "
		   ",\"ab\":\"}\\\"{\",\"c\\\"d\":null,\"id\":5}}",
		   BODY_UNCHANGED, &columns,
		   "{\"op\":\"INSERT\",\"key\":{\"k\":1},\"new\":{\"a\": {\"x\" : 3} "
		   ",\"c\\\"d\":null,\"id\":5}}");
	/* A row without any of them is left out, but the key is not. */
	expect(UPDATE, BODY_UNCHANGED, &none, HEAD "\"op\":\"UPDATE\"," TABLE "\"key\":{\"id\":1}}");
	one = (BodyColumns){.n = 1, .names = (WireBytes[]){bytes("\"a\"")}};
	expect(UPDATE, BODY_UNCHANGED, &one,
		   HEAD "\"op\":\"UPDATE\"," TABLE
				"\"key\":{\"id\":1},\"new\":{\"a\":\"x\"},\"old\":{\"a\":\"y\"}}");
	/* If the key has changed, clients need the old one. */
	expect("{\"op\":\"UPDATE\",\"key\":{\"id\":2,\"k\":0},\"new\":{\"id\":2,\"a\":1},"
		   "\"old\":{\"id\":1,\"k\":0,\"b\":1}}",
		   BODY_UNCHANGED, &one,
		   "{\"op\":\"UPDATE\",\"key\":{\"id\":2,\"k\":0},\"new\":{\"a\":1},"
		   "\"old\":{\"id\":1,\"k\":0}}");
	expect("{\"op\":\"UPDATE\",\"key\":{\"id\":2},\"new\":{\"id\":2,\"a\":1},"
		   "\"old\":{\"id\":1,\"a\":3}}",
		   BODY_LEAVES, &one,
		   "{\"op\":\"DELETE\",\"cause\":\"UPDATE\",\"key\":{\"id\":1},\"old\":{\"a\":3}}");
}

/* A payload was made of both rows. */
static void
test_payload(void **state)
{
	static const char text[] = "{\"op\":\"UPDATE\",\"key\":{\"id\":2},\"old\":{\"id\":1},"
							   "\"payload\":{\"was\":1}}";
	Body body;

	(void) state;
	expect(text, BODY_UNCHANGED, NULL, text);
	expect(text, BODY_ENTERS, NULL,
		   "{\"op\":\"INSERT\",\"cause\":\"UPDATE\",\"key\":{\"id\":2},"
		   "\"payload\":{\"was\":1}}");
	expect(text, BODY_LEAVES, NULL,
		   "{\"op\":\"DELETE\",\"cause\":\"UPDATE\",\"key\":{\"id\":1},\"old\":{\"id\":1}}");
	result_len = 0;
	assert_true(body_open(&body, text, strlen(text)));
	assert_true(body_write(&body, BODY_ENTERS, NULL, true, false, put, NULL));
	assert_string_equal(result, "{\"op\":\"INSERT\",\"cause\":\"UPDATE\",\"key\":{\"id\":2}}");
	assert_true(write_body(text, BODY_UNCHANGED, NULL, true));
	assert_string_equal(result, "{\"op\":\"UPDATE\",\"key\":{\"id\":2},\"old\":{\"id\":1},"
								"\"truncated\":true}");
}

static void
test_reduced(void **state)
{
	static const char truncated[] = "{\"op\":\"UPDATE\",\"key\":{\"id\":1},\"truncated\":true}";

	(void) state;
	assert_true(write_body(UPDATE, BODY_LEAVES, NULL, true));
	assert_string_equal(result, HEAD "\"op\":\"DELETE\",\"cause\":\"UPDATE\"," TABLE
									 "\"key\":{\"id\":1},\"truncated\":true}");
	assert_true(write_body(truncated, BODY_UNCHANGED, NULL, true));
	assert_string_equal(result, truncated);
	assert_true(write_body(UPDATE, BODY_UNCHANGED, NULL, true));
	assert_string_equal(result,
						HEAD "\"op\":\"UPDATE\"," TABLE "\"key\":{\"id\":1},\"truncated\":true}");
	assert_true(write_body("{\"op\":\"UPDATE\",\"key\":{\"id\":2},\"new\":{\"id\":2,\"a\":1},"
						   "\"old\":{\"a\":1,\"id\":1}}",
						   BODY_UNCHANGED, NULL, true));
	assert_string_equal(
		result, "{\"op\":\"UPDATE\",\"key\":{\"id\":2},\"old\":{\"id\":1},\"truncated\":true}");
	/* The rows are not known. */
	assert_true(write_body(truncated, BODY_ENTERS, NULL, false));
	assert_false(write_body(truncated, BODY_LEAVES, NULL, false));
}

static void
test_key_names(void **state)
{
	static const char text[] = "{\"op\":\"DELETE\",\"key\":{\"z\":1,\"a\\\"b\":{\"c\":2}}}";
	BodyColumns names;
	Body body;

	(void) state;
	assert_true(body_open(&body, text, strlen(text)));
	assert_true(body_key_names(&body, malloc, &names));
	assert_int_equal(names.n, 2);
	assert_memory_equal(names.names[0].data, "\"a\\\"b\"", names.names[0].len);
	assert_memory_equal(names.names[1].data, "\"z\"", names.names[1].len);
	free((void *) names.names);
	assert_true(body_open(&body, "{\"op\":\"TRUNCATE\"}", 17));
	assert_false(body_key_names(&body, malloc, &names));
}

/* No text makes it read beyond its end. */
static void
test_cut(void **state)
{
	WireBytes name = bytes("\"a\"");
	BodyColumns columns = {.n = 1, .names = &name};

	(void) state;
	for (size_t len = 0; len < strlen(UPDATE); len++)
	{
		char *exact = malloc(len > 0 ? len : 1);
		Body body;

		memcpy(exact, UPDATE, len);
		result_len = 0;
		if (body_open(&body, exact, len))
			assert_true(body_write(&body, BODY_LEAVES, &columns, false, false, put, NULL));
		free(exact);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes), cmocka_unit_test(test_keys),
		cmocka_unit_test(test_columns), cmocka_unit_test(test_reduced),
		cmocka_unit_test(test_payload), cmocka_unit_test(test_key_names),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
