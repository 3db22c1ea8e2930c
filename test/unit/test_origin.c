/* Which pages may connect, and which host names are ours. */
#include "unit.h"

#include "gateway/routes/origin.h"

#define ALLOWED                                                                                    \
	" https://app.example.com ,http://intra:8080,https://[2001:db8::1], "                          \
	"nonsense,,moz-extension://abc"

static bool
allowed(const char *origin, const char *list)
{
	return origin_allowed(origin, strlen(origin), list);
}

static bool
host(const char *name, const char *list)
{
	return origin_host_allowed(name, strlen(name), "localhost, db.example.net:8000,*:80,[::1]:81",
							   list);
}

static void
test_origins(void **state)
{
	static const char *const good[] = {
		"http://localhost",
		"https://localhost:1",
		"HTTP://LocalHost:65535",
		"http://127.0.0.1:3000",
		"http://[::1]",
		"https://app.example.com",
		"https://APP.EXAMPLE.COM:443",
		"http://intra:8080",
		"https://[2001:DB8::1]:443",
		"moz-extension://abc",
	};
	static const char *const bad[] = {
		"",
		"null",
		"http://",
		"://localhost",
		"localhost",
		"http:localhost",
		"http://localhost:",
		"http://localhost:0x50",
		"http://localhost:65536",
		"http://localhost:123456",
		"http://localhost/",
		"http://localhost#",
		"http://localhost@evil.com",
		"http://evil.com@localhost",
		"http://localhost.evil.com",
		"http://localhost.",
		"http://127.0.0.1.evil.com",
		"http://127.0.0.2",
		"http://127.1",
		"http://[::1",
		"http://[::1]x",
		"http://[::2]",
		"http://::1",
		"ftp://localhost",
		"file://",
		"http://app.example.com",
		"https://app.example.com:8443",
		"https://app.example.co",
		"https://app.example.comm",
		"https://xapp.example.com",
		"https://x.app.example.com",
		"https://app.example.com.evil.com",
		"https://app.example.com http://evil.com",
		"http://intra",
		"http://intra:808",
		"http://intra:80800",
		"https://2001:db8::1",
		"nonsense",
		"moz-extension://abcd",
		"*",
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(good); i++)
		if (!allowed(good[i], ALLOWED))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
	{
		if (allowed(bad[i], ALLOWED) || allowed(bad[i], ""))
			fail_msg("allowed: %s", bad[i]);
		assert_true(allowed(bad[i], ALLOWED ", *"));
	}
	assert_true(allowed("null", "https://x, null"));
	assert_false(allowed("NULL", "null"));
	assert_false(allowed("https://app.example.com", ""));
}

static void
test_hosts(void **state)
{
	static const char *const good[] = {
		"localhost",      "LOCALHOST:7432",   "127.0.0.1", "10.1.2.3:80",          "[::1]:7432",
		"db.example.net", "DB.example.net:1", "intra",     "app.example.com:7432",
	};
	static const char *const bad[] = {
		"",      "evil.com", "localhost.evil.com", "localhost.", "127.0.0.1.evil.com",
		"127.1", ":7432",    "localhost:",         "a b",        "[::1",
		"::1",   "*",        "user@localhost",
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(good); i++)
		if (!host(good[i], ALLOWED))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
		if (host(bad[i], ALLOWED))
			fail_msg("allowed: %s", bad[i]);
	assert_true(host("evil.com", "*"));
}

static bool
same(const char *origin, const char *name)
{
	return origin_is_host(origin, strlen(origin), name, strlen(name));
}

static void
test_own_pages(void **state)
{
	(void) state;
	assert_true(same("http://10.0.0.5:7432", "10.0.0.5:7432"));
	assert_true(same("http://db.example.net", "DB.example.net"));
	assert_true(same("https://db.example.net", "db.example.net"));
	assert_true(same("https://db.example.net", "db.example.net:443"));
	assert_true(same("https://[2001:db8::1]:7432", "[2001:db8::1]:7432"));
	assert_false(same("http://10.0.0.5", "10.0.0.5:7432"));
	assert_false(same("http://10.0.0.5:7432", "10.0.0.5"));
	assert_false(same("http://10.0.0.6:7432", "10.0.0.5:7432"));
	assert_false(same("https://db.example.net", "db.example.net:80"));
	assert_false(same("file://db.example.net:80", "db.example.net:80"));
	assert_false(same("http://db.example.net.evil.com", "db.example.net"));
	assert_false(same("null", "null"));
	assert_false(same("", ""));
}

static void
test_first_bad(void **state)
{
	size_t len;
	const char *bad = origin_first_bad(ALLOWED, &len);

	(void) state;
	assert_int_equal(len, 8);
	assert_memory_equal(bad, "nonsense", 8);
	assert_null(origin_first_bad("*, null, http://x", &len));
	assert_null(origin_first_bad("", &len));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_origins),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_own_pages),
		cmocka_unit_test(test_first_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
