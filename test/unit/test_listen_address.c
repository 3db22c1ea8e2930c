/* The entries of pg_notifyd.listen_addresses. */
#include "unit.h"

#include "wire/listen_address.h"

static void
expect(const char *text, const char *host, uint16_t port)
{
	ListenAddress address;

	if (!listen_address_parse(text, strlen(text), &address))
		fail_msg("%s is refused", text);
	assert_int_equal(address.port, port);
	if (host == NULL)
	{
		assert_null(address.host);
		return;
	}
	assert_int_equal(address.host_len, strlen(host));
	assert_memory_equal(address.host, host, strlen(host));
}

static void
test_good(void **state)
{
	(void) state;
	expect("localhost", "localhost", 0);
	expect("localhost:8000", "localhost", 8000);
	expect("127.0.0.1", "127.0.0.1", 0);
	expect("127.0.0.1:1", "127.0.0.1", 1);
	expect("::1", "::1", 0);
	expect("::", "::", 0);
	expect("[::1]", "::1", 0);
	expect("[::1]:65535", "::1", 65535);
	expect("fe80::1%eth0", "fe80::1%eth0", 0);
	expect("[fe80::1%eth0]:80", "fe80::1%eth0", 80);
	expect("*", "*", 0);
	expect("*:8000", "*", 8000);
	expect("/run/notifyd:1", NULL, 0);
}

static void
test_bad(void **state)
{
	static const char *const bad[] = {
		"",       "a b",   ":80",       "a:",        "a:0",    "a:65536", "a:080000",
		"a:8o",   "a: 80", "[::1",      "[::1]80",   "[::1]:", "[::1]:0", "[::1]:80:80",
		"[]",     "[]:80", "[a]:80",    "::1]:80",   "a*",     "**:80",   "[*]:80",
		"a:80/b", "a/b",   "[::1]]:80", "1.2.3.4:-1"};
	char longest[LISTEN_ADDRESS_MAX_HOST + 2];
	ListenAddress address;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
		if (listen_address_parse(bad[i], strlen(bad[i]), &address))
			fail_msg("%s is accepted", bad[i]);
	memset(longest, 'a', sizeof(longest));
	assert_true(listen_address_parse(longest, LISTEN_ADDRESS_MAX_HOST, &address));
	assert_false(listen_address_parse(longest, LISTEN_ADDRESS_MAX_HOST + 1, &address));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
