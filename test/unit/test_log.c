/* Lines of the log: what clients have sent does not forge, hide or cut any. */
#include "unit.h"

#include "gateway/base/log.h"

static char logged[2048];

static void
sink(WireLogLevel level, WireBytes line)
{
	(void) level;
	assert_between(line.len, 0, sizeof(logged) - 1);
	memcpy(logged, line.data, line.len);
	logged[line.len] = '\0';
}

static void
expect(const char *text, const char *expected)
{
	char line[sizeof(logged)];

	snprintf(line, sizeof(line), "the name \"%s\" is unknown", expected);
	log_write(WIRE_LOG_INFO, "the name \"%s\" is unknown", text);
	assert_string_equal(logged, line);
}

static void
test_text(void **state)
{
	(void) state;
	log_to(sink);
	expect("shop", "shop");
	expect("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8d\x95",
		   "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8d\x95");
	expect("a\nLOG:  b\t\x1b[2J\x7f", "a?LOG:  b??[2J?");
	/* Not UTF-8 */
	expect("a\xff\xfe"
		   "b\xc3",
		   "a??b?");
	expect("\xe2\x82", "??");
	/* Controls that terminals know, too */
	expect("\xc2\x9b"
		   "2J\xc2\x80\xc2\xa0",
		   "??2J??\xc2\xa0");
	log_to(NULL);
}

static void
test_long(void **state)
{
	static char text[3000];

	(void) state;
	log_to(sink);
	for (size_t i = 0; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa9", 2);
	/* It ends in the middle of a character. */
	log_write(WIRE_LOG_INFO, "%s", text);
	assert_int_equal(strlen(logged), 1023);
	assert_string_equal(logged + 1020, "\xc3\xa9?");
	log_to(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
