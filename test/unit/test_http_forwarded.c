/* Which client a proxy names, and what a client cannot make it name. */
#include "unit.h"

#include <arpa/inet.h>

#include "gateway/http/http_forwarded.h"
#include "wire/network.h"

#define PROXIES "10.0.0.0/8, 2001:db8:f::/48, unix"
#define PEER    "10.0.0.1"

/* Return the client of a request with these header lines, or why it is refused. */
static const char *
client(const char *peer, const char *lines)
{
	static char text[INET6_ADDRSTRLEN + 16];
	char buf[HTTP_HEAD_MAX * 2];
	struct sockaddr_storage address = {.ss_family = AF_UNIX};
	HttpRequest request;
	const char *problem;
	int len = snprintf(buf, HTTP_HEAD_MAX, "GET / HTTP/1.1\r\n%s\r\n", lines);

	assert_null(http_request_parse(buf, (size_t) len, &request));
	if (strcmp(peer, "unix") != 0)
		assert_true(network_parse_address(peer, strlen(peer), &address));
	problem = http_forwarded(&request, PROXIES, &address);
	if (problem != NULL)
		return problem;
	if (address.ss_family == AF_UNIX)
		return "unix";
	if (address.ss_family == AF_INET)
	{
		const struct sockaddr_in *in = (const struct sockaddr_in *) &address;

		assert_non_null(inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text)));
		if (in->sin_port != 0)
			sprintf(text + strlen(text), ":%d", ntohs(in->sin_port));
	}
	else
	{
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) &address;

		assert_non_null(inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text)));
		if (in6->sin6_port != 0)
			sprintf(text + strlen(text), "#%d", ntohs(in6->sin6_port));
	}
	return text;
}

#define LIST(value)     "X-Forwarded-For: " value "\r\n"
#define ELEMENTS(value) "Forwarded: " value "\r\n"
#define BAD_LIST        "malformed address in the header X-Forwarded-For"
#define BAD_ADDRESS     "malformed address in the header Forwarded"
#define BAD_ELEMENTS    "malformed header Forwarded"
#define DIFFERENT       "Forwarded and X-Forwarded-For name different clients"

typedef struct Case
{
	const char *lines;
	const char *client;
} Case;

static void
check(const Case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++)
	{
		const char *got = client(PEER, cases[i].lines);

		if (strcmp(got, cases[i].client) != 0)
			fail_msg("%s: %s instead of %s", cases[i].lines, got, cases[i].client);
	}
}

static void
test_peers(void **state)
{
	(void) state;
	assert_string_equal(client("192.0.2.1", LIST("203.0.113.9")), "192.0.2.1");
	assert_string_equal(client("192.0.2.1", LIST("x")), "192.0.2.1");
	assert_string_equal(client("192.0.2.1", ELEMENTS("\"")), "192.0.2.1");
	assert_string_equal(client("2001:db8:f::2", LIST("203.0.113.9")), "203.0.113.9");
	assert_string_equal(client("::ffff:10.0.0.1", LIST("203.0.113.9")), "203.0.113.9");
	assert_string_equal(client("unix", LIST("203.0.113.9")), "203.0.113.9");
	assert_string_equal(client("unix", ""), "unix");
	assert_string_equal(client(PEER, ""), PEER);
}

static void
test_list(void **state)
{
	static const Case cases[] = {
		{LIST("203.0.113.9"), "203.0.113.9"},
		{LIST("203.0.113.9:4711"), "203.0.113.9:4711"},
		{LIST("2001:db8::9"), "2001:db8::9"},
		{LIST("[2001:db8::9]"), "2001:db8::9"},
		{LIST("[2001:db8::9]:4711"), "2001:db8::9#4711"},
		/* What the client has sent is on the left. */
		{LIST("127.0.0.1, 203.0.113.9"), "203.0.113.9"},
		{LIST("10.0.0.7, 203.0.113.9"), "203.0.113.9"},
		{LIST("x, \", 203.0.113.9"), "203.0.113.9"},
		{LIST("127.0.0.1") LIST("203.0.113.9"), "203.0.113.9"},
		{LIST("203.0.113.9") LIST("127.0.0.1"), "127.0.0.1"},
		/* More than one proxy */
		{LIST("127.0.0.1, 203.0.113.9, 10.0.0.2"), "203.0.113.9"},
		{LIST("203.0.113.9") LIST("10.0.0.2,10.0.0.3"), "203.0.113.9"},
		{LIST("127.0.0.1,203.0.113.9,2001:db8:f::7"), "203.0.113.9"},
		{LIST("10.0.0.9, 10.0.0.2"), "10.0.0.9"},
		/* Empty entries */
		{LIST(", ,203.0.113.9,\t,"), "203.0.113.9"},
		{LIST(""), PEER},
		{LIST(","), PEER},
		/* A proxy that does not say whose request it is */
		{LIST("unknown"), PEER},
		{LIST("203.0.113.9, unknown"), PEER},
		{LIST("203.0.113.9, unknown, 10.0.0.2"), "10.0.0.2"},
		{LIST("203.0.113.9, unknown, 10.0.0.2, 10.0.0.3"), "10.0.0.2"},
		{LIST("unknown, 203.0.113.9"), "203.0.113.9"},
		/* Malformed where it matters */
		{LIST("x"), BAD_LIST},
		{LIST("203.0.113.9, x"), BAD_LIST},
		{LIST("203.0.113.9, x, 10.0.0.2"), BAD_LIST},
		{LIST("203.0.113.9 127.0.0.1"), BAD_LIST},
		{LIST("203.0.113.9:"), BAD_LIST},
		{LIST("203.0.113.9:65536"), BAD_LIST},
		{LIST("203.0.113.9:-1"), BAD_LIST},
		{LIST("203.0.113.9]"), BAD_LIST},
		{LIST("[203.0.113.9]"), BAD_LIST},
		{LIST("[2001:db8::9"), BAD_LIST},
		{LIST("[2001:db8::9]4711"), BAD_LIST},
		{LIST("[]"), BAD_LIST},
		{LIST("["), BAD_LIST},
		{LIST(":"), BAD_LIST},
		{LIST("fe80::1%eth0"), BAD_LIST},
		{LIST("\"203.0.113.9\""), BAD_LIST},
	};

	(void) state;
	check(cases, UNIT_COUNT(cases));
}

static void
test_elements(void **state)
{
	static const Case cases[] = {
		{ELEMENTS("for=203.0.113.9"), "203.0.113.9"},
		{ELEMENTS("For=\"203.0.113.9:4711\";proto=https;by=10.0.0.1"), "203.0.113.9:4711"},
		{ELEMENTS("proto=https ; FOR=\"[2001:db8::9]:4711\""), "2001:db8::9#4711"},
		{ELEMENTS("for=\"[2001:db8:\\:9]\""), "2001:db8::9"},
		{ELEMENTS("for=\"203.0.113.9:_port\""), "203.0.113.9"},
		{ELEMENTS("for=127.0.0.1, for=203.0.113.9"), "203.0.113.9"},
		{ELEMENTS("for=127.0.0.1") ELEMENTS("for=203.0.113.9"), "203.0.113.9"},
		{ELEMENTS("for=127.0.0.1;host=\"a, for=1\", for=203.0.113.9,for=10.0.0.2"), "203.0.113.9"},
		{ELEMENTS(",for=203.0.113.9 ,, "), "203.0.113.9"},
		{ELEMENTS("for=x, for=203.0.113.9"), "203.0.113.9"},
		{ELEMENTS(""), PEER},
		/* An identifier of the proxy's own, or nothing */
		{ELEMENTS("for=unknown"), PEER},
		{ELEMENTS("for=203.0.113.9, for=\"_gazonk\""), PEER},
		{ELEMENTS("for=203.0.113.9, for=_gazonk, for=10.0.0.2"), "10.0.0.2"},
		{ELEMENTS("for=203.0.113.9, proto=https"), PEER},
		/* Malformed addresses */
		{ELEMENTS("for=x"), BAD_ADDRESS},
		{ELEMENTS("for=\"\""), BAD_ADDRESS},
		{ELEMENTS("for=203.0.113.9, for=_"), BAD_ADDRESS},
		{ELEMENTS("for=\"203.0.113.9.................................................:80\""),
		 BAD_ADDRESS},
		{ELEMENTS("for=\"203.0.113.9 \""), BAD_ADDRESS},
		/* A quotation mark of the client before what the proxy has added */
		{ELEMENTS("for=\", for=203.0.113.9"), BAD_ELEMENTS},
		{ELEMENTS("for=127.0.0.1;x=\", for=\"[2001:db8::9]\""), BAD_ELEMENTS},
		{ELEMENTS("for=127.0.0.1;x=\"\\, for=203.0.113.9"), BAD_ELEMENTS},
		{ELEMENTS("for=127.0.0.1;x=\"") ELEMENTS("for=203.0.113.9"), BAD_ELEMENTS},
		/* Malformed otherwise */
		{ELEMENTS("for=203.0.113.9:80"), BAD_ELEMENTS},
		{ELEMENTS("for=[2001:db8::9]"), BAD_ELEMENTS},
		{ELEMENTS("203.0.113.9"), BAD_ELEMENTS},
		{ELEMENTS("for"), BAD_ELEMENTS},
		{ELEMENTS("for="), BAD_ELEMENTS},
		{ELEMENTS("for= 203.0.113.9"), BAD_ELEMENTS},
		{ELEMENTS("=203.0.113.9"), BAD_ELEMENTS},
		{ELEMENTS("for=203.0.113.9;"), BAD_ELEMENTS},
		{ELEMENTS("for=203.0.113.9;for=127.0.0.1"), BAD_ELEMENTS},
		{ELEMENTS("for=203.0.113.9 for=127.0.0.1"), BAD_ELEMENTS},
		{ELEMENTS("for=\"203.0.113.9"), BAD_ELEMENTS},
		{ELEMENTS("for=\"203.0.113.9\\"), BAD_ELEMENTS},
		{ELEMENTS("for=\"203.0.113.9\"x"), BAD_ELEMENTS},
	};

	(void) state;
	check(cases, UNIT_COUNT(cases));
}

/* A proxy that sets one of them passes on the other as the client has sent it. */
static void
test_both(void **state)
{
	static const Case cases[] = {
		{LIST("127.0.0.1, 203.0.113.9") ELEMENTS("for=\"203.0.113.9:1\""), "203.0.113.9"},
		{ELEMENTS("for=203.0.113.9") LIST("::ffff:203.0.113.9"), "::ffff:203.0.113.9"},
		{LIST("203.0.113.9") ELEMENTS("for=127.0.0.1"), DIFFERENT},
		{LIST("127.0.0.1") ELEMENTS("for=203.0.113.9"), DIFFERENT},
		{LIST("203.0.113.9") ELEMENTS("for=unknown"), DIFFERENT},
		{LIST("unknown") ELEMENTS("for=203.0.113.9"), DIFFERENT},
		{LIST("unknown") ELEMENTS("for=_x"), PEER},
		{LIST("203.0.113.9") ELEMENTS("for=x"), BAD_ADDRESS},
		{LIST("") ELEMENTS("for=203.0.113.9"), "203.0.113.9"},
		{LIST("203.0.113.9") ELEMENTS(""), "203.0.113.9"},
	};

	(void) state;
	check(cases, UNIT_COUNT(cases));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_elements),
		cmocka_unit_test(test_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
