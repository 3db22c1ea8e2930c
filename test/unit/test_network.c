/* Lists of addresses and networks. */
#include "unit.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include "wire/network.h"

static bool
in(const char *list, const char *text)
{
	struct sockaddr_storage address = {.ss_family = AF_UNIX};

	if (strcmp(text, "unix") != 0)
		assert_true(network_parse_address(text, strlen(text), &address));
	return network_list_contains(list, &address);
}

static void
test_addresses(void **state)
{
	(void) state;
	assert_true(in("10.0.0.1", "10.0.0.1"));
	assert_false(in("10.0.0.1", "10.0.0.2"));
	assert_false(in("10.0.0.1", "110.0.0.1"));
	assert_true(in("2001:db8::1", "2001:DB8:0:0::1"));
	assert_false(in("2001:db8::1", "2001:db8::2"));
	assert_true(in(" 10.0.0.1 ,\t::1,\n192.0.2.7", "192.0.2.7"));
	assert_true(in("10.0.0.1,::1", "::1"));
	assert_false(in("10.0.0.1,::1", "192.0.2.7"));
}

static void
test_networks(void **state)
{
	(void) state;
	assert_true(in("10.0.0.0/8", "10.255.1.2"));
	assert_false(in("10.0.0.0/8", "11.0.0.0"));
	assert_true(in("10.1.2.3/8", "10.9.9.9"));
	assert_true(in("192.0.2.128/25", "192.0.2.255"));
	assert_false(in("192.0.2.128/25", "192.0.2.127"));
	assert_true(in("192.0.2.4/31", "192.0.2.5"));
	assert_false(in("192.0.2.4/31", "192.0.2.6"));
	assert_true(in("192.0.2.4/32", "192.0.2.4"));
	assert_false(in("192.0.2.4/32", "192.0.2.5"));
	assert_true(in("0.0.0.0/0", "203.0.113.9"));
	assert_true(in("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(in("2001:db8::/33", "2001:db8:8000::1"));
	assert_true(in("2001:db8::1/128", "2001:db8::1"));
	assert_true(in("::/0", "2001:db8::1"));
}

/* A mapped address is the IPv4 address on both sides, and no other IPv6 network contains IPv4. */
static void
test_families(void **state)
{
	(void) state;
	assert_true(in("10.0.0.0/8", "::ffff:10.1.2.3"));
	assert_true(in("::ffff:10.0.0.0/104", "10.1.2.3"));
	assert_false(in("::ffff:10.0.0.0/104", "11.1.2.3"));
	assert_true(in("::ffff:10.0.0.1", "10.0.0.1"));
	assert_true(in("::ffff:0:0/96", "203.0.113.9"));
	assert_false(in("::/0", "10.0.0.1"));
	assert_false(in("::/0", "::ffff:10.0.0.1"));
	assert_false(in("0.0.0.0/0", "::1"));
	assert_false(in("0.0.0.0/0", "::"));
	assert_false(in("0.0.0.0", "::"));
}

static void
test_words(void **state)
{
	(void) state;
	assert_true(in("10.0.0.1, unix", "unix"));
	assert_false(in("10.0.0.1, 0.0.0.0/0, ::/0", "unix"));
	assert_false(in("unix", "::1"));
	assert_false(in("unix", "::"));
	assert_true(in("*", "unix"));
	assert_true(in("*", "2001:db8::1"));
	assert_true(in("*", "10.0.0.1"));
	assert_false(in("", "10.0.0.1"));
	assert_false(in(" ,, ", "unix"));
}

static void
test_bad(void **state)
{
	static const char *const bad[] = {
		"x",
		"10.0.0",
		"10.0.0.1.2",
		"10.0.0.256",
		"10.0.0.1/33",
		"10.0.0.1/",
		"10.0.0.1/-1",
		"::1/129",
		"::1/1000",
		"::1/ 8",
		"[::1]",
		"fe80::1%eth0",
		"10.0.0.1:80",
		"/8",
		"**",
		"unix/8",
		"10.0.0.0/8/8",
		"010.0.0.1",
		"::g",
		"10.0.0.1 10.0.0.2",
		"1:2:3:4:5:6:7:8:9",
		"10.0.0.0/+8",
	};
	size_t len;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
	{
		char list[128];

		snprintf(list, sizeof(list), "::1, %s ,10.9.9.9", bad[i]);
		assert_ptr_equal(network_list_first_bad(list, &len), list + 5);
		assert_int_equal(len, strlen(bad[i]));
		/* The others count nevertheless. */
		assert_true(in(list, "10.9.9.9"));
		assert_false(in(list, "10.0.0.1"));
	}
	assert_null(network_list_first_bad("", &len));
	assert_null(network_list_first_bad("*, UNIX, 10.0.0.1/32, ::1/0", &len));
}

static void
test_parse(void **state)
{
	struct sockaddr_storage address;
	struct in6_addr in6;

	(void) state;
	assert_false(network_parse_address("10.0.0.1\0", 9, &address));
	assert_false(network_parse_address("", 0, &address));
	assert_true(network_parse_address("10.0.0.12", 8, &address));
	assert_int_equal(((struct sockaddr_in *) &address)->sin_addr.s_addr, htonl(0x0a000001));
	assert_true(network_in6(&address, &in6));
	assert_true(IN6_IS_ADDR_V4MAPPED(&in6));
	address.ss_family = AF_UNIX;
	assert_false(network_in6(&address, &in6));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses), cmocka_unit_test(test_networks),
		cmocka_unit_test(test_families),  cmocka_unit_test(test_words),
		cmocka_unit_test(test_bad),       cmocka_unit_test(test_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
