/* Realms: pg_notifyd.realms. */
#include "unit.h"

#include "wire/realm.h"

static void
expect_database(const char *list, const char *realm, const char *expected)
{
	SettingItem database = realm_database(list, realm, strlen(realm));

	assert_int_equal(database.len, strlen(expected));
	assert_memory_equal(database.data, expected, database.len);
}

static void
test_database(void **state)
{
	static const char list[] = "realm1=shop, com.example.two = other,\n a=b=c";

	(void) state;
	expect_database("", "shop", "shop");
	expect_database(list, "realm1", "shop");
	expect_database(list, "shop", "shop");
	expect_database(list, "realm", "realm");
	expect_database(list, "realm11", "realm11");
	expect_database(list, "a", "b=c");
	expect_database(list, "com.example.two", "other");
}

static void
test_next(void **state)
{
	const char *list = "realm1=shop, two\t= \nother";
	SettingItem realm;
	SettingItem database;

	(void) state;
	assert_true(realm_next(&list, &realm, &database));
	assert_true(realm_next(&list, &realm, &database));
	assert_int_equal(realm.len, strlen("two"));
	assert_memory_equal(realm.data, "two", realm.len);
	assert_int_equal(database.len, strlen("other"));
	assert_memory_equal(database.data, "other", database.len);
	assert_false(realm_next(&list, &realm, &database));
}

static void
expect_bad(const char *list, const char *entry, const char *expected)
{
	SettingItem item;
	const char *problem = realm_first_bad(list, &item);

	if (expected == NULL)
	{
		assert_null(problem);
		return;
	}
	assert_non_null(problem);
	assert_string_equal(problem, expected);
	assert_int_equal(item.len, strlen(entry));
	assert_memory_equal(item.data, entry, item.len);
}

static void
test_bad(void **state)
{
	static const char no_realm[] = "does not begin with the name of a realm";
	static const char no_database[] = "does not end with \"=\" and the name of a database";
	char longest[128];
	char longer[128];

	(void) state;
	snprintf(longest, sizeof(longest), "a=%063d", 0);
	snprintf(longer, sizeof(longer), "a=%064d", 0);
	expect_bad("", NULL, NULL);
	expect_bad("realm1=shop, com.example.two=other", NULL, NULL);
	expect_bad("a=shop, b=shop", NULL, NULL);
	expect_bad("a = shop", NULL, NULL);
	expect_bad(longest, NULL, NULL);
	expect_bad(longer, longer, no_database);
	expect_bad("a=b, =c", "=c", no_realm);
	expect_bad("a#b=c", "a#b=c", no_realm);
	expect_bad("a..b=c", "a..b=c", no_realm);
	expect_bad("a b=c", "a b=c", no_realm);
	expect_bad("a=b, c", "c", no_database);
	expect_bad("a=", "a=", no_database);
	expect_bad("b=c, a = , d=e", "a =", no_database);
	expect_bad(" = c", "= c", no_realm);
	expect_bad("a=b, a =c", "a =c", "has the realm of an earlier entry");
	expect_bad("a=b, c=d, a=e", "a=e", "has the realm of an earlier entry");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_database),
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
