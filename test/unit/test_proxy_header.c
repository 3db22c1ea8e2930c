/* The header of the PROXY protocol, in one piece and byte by byte. */
#include "unit.h"

#include <arpa/inet.h>

#include "wire/network.h"
#include "gateway/net/proxy_header.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"

/* A result as text: the client's address, or what else comes out. */
static const char *
finish(ProxyHeaderResult result, const struct sockaddr_storage *address)
{
	static char text[NETWORK_TEXT];

	if (result == PROXY_HEADER_MORE)
		return "more";
	if (result == PROXY_HEADER_NONE)
		return "none";
	if (result == PROXY_HEADER_BAD)
		return "bad";
	network_text(address, text);
	return text;
}

/* Read it in pieces of this size; *rest is what follows the header. */
static const char *
read_pieces(const char *data, size_t len, size_t piece, size_t *rest)
{
	struct sockaddr_storage address;
	ProxyHeader header = {0};
	ProxyHeaderResult result = PROXY_HEADER_MORE;
	size_t done = 0;

	assert_true(network_parse_address("10.0.0.1", 8, &address));
	while (done < len && result == PROXY_HEADER_MORE)
	{
		size_t size = len - done < piece ? len - done : piece;
		uint8_t *copy = malloc(size);
		size_t used;

		assert_non_null(copy);
		memcpy(copy, data + done, size);
		result = proxy_header_read(&header, copy, size, &used, &address);
		free(copy);
		assert_true(used > 0 && used <= size && (used == size || result != PROXY_HEADER_MORE));
		done += used;
		if (result == PROXY_HEADER_NONE)
		{
			assert_int_equal(header.len, done);
			assert_memory_equal(header.bytes, data, done);
		}
	}
	*rest = len - done;
	return finish(result, &address);
}

static void
check(const char *data, size_t len, const char *expected, size_t rest)
{
	for (size_t piece = 1; piece <= len; piece = piece < 20 ? piece + 1 : piece * 2)
	{
		size_t left;
		const char *got = read_pieces(data, len, piece, &left);

		if (strcmp(got, expected) != 0)
			fail_msg("%s in pieces of %zu: %s instead of %s", data, piece, got, expected);
		if (strcmp(got, "none") != 0)
			assert_int_equal(left, rest);
	}
}

#define CHECK(text, expected, rest) check(text, sizeof(text) - 1, expected, rest)

static void
test_version_1(void **state)
{
	(void) state;
	CHECK("PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\nGET ", "203.0.113.9:4711", 4);
	CHECK("PROXY TCP6 2001:db8::9 2001:DB8::1 0 65535\r\n", "[2001:db8::9]:0", 0);
	CHECK("PROXY UNKNOWN\r\nGET ", "?", 4);
	CHECK("PROXY UNKNOWN 2001:db8::9 anything   0\r\n", "?", 0);
	CHECK("PROXY TCP4 203.0.113.9 10.0.0.1 4711 80", "more", 0);
	CHECK("PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\n", "bad", 0);
	CHECK("PROXY TCP4 203.0.113.9 10.0.0.1 4711 80 \r\n", "bad", 0);
	CHECK("PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n", "bad", 0);
	CHECK("PROXY TCP4 203.0.113.9 10.0.0.1 4711 80 1\r\n", "bad", 0);
	CHECK("PROXY TCP4  203.0.113.9 10.0.0.1 4711 80\r\n", "bad", 0);
	CHECK("PROXY TCP4 203.0.113.9 10.0.0.1 4711 65536\r\n", "bad", 0);
	CHECK("PROXY TCP4 203.0.113.9 10.0.0.1 047 80\r\n", "bad", 0);
	CHECK("PROXY TCP4 203.0.113.9 10.0.0.1 -1 80\r\n", "bad", 0);
	CHECK("PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\r\n", "bad", 0);
	CHECK("PROXY TCP4 2001:db8::9 2001:db8::1 4711 80\r\n", "bad", 0);
	CHECK("PROXY TCP4 203.0.113.9 2001:db8::1 4711 80\r\n", "bad", 0);
	CHECK("PROXY TCP6 203.0.113.9 10.0.0.1 4711 80\r\n", "bad", 0);
	CHECK("PROXY UDP4 203.0.113.9 10.0.0.1 4711 80\r\n", "bad", 0);
	CHECK("PROXY UNKNOWNS\r\n", "bad", 0);
	CHECK("PROXY \r\n", "bad", 0);
	CHECK("PROXY \n", "bad", 0);
	CHECK("PROXY / HTTP/1.1\r\n", "bad", 0);
}

/* A line may have 107 bytes. */
static void
test_endless(void **state)
{
	char line[200] = "PROXY UNKNOWN ";

	(void) state;
	memset(line + 14, 'x', sizeof(line) - 14);
	check(line, sizeof(line), "bad", sizeof(line) - PROXY_HEADER_LINE);
	check(line, PROXY_HEADER_LINE - 1, "more", 0);
	memcpy(line + PROXY_HEADER_LINE - 2, "\r\n", 2);
	check(line, sizeof(line), "?", sizeof(line) - PROXY_HEADER_LINE);
}

static void
test_version_2(void **state)
{
	(void) state;
	CHECK(V2 "\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\0\x50GET ", "203.0.113.9:4711", 4);
	CHECK(V2 "\x21\x12\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\0\x50", "203.0.113.9:4711", 0);
	CHECK(V2 "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09"
			 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x67\0\x50GET ",
		  "[2001:db8::9]:4711", 4);
	/* More than the addresses */
	CHECK(V2 "\x21\x11\0\x10\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\0\x50\x04\0\x01xGET ",
		  "203.0.113.9:4711", 4);
	/* The proxy's own connection */
	CHECK(V2 "\x20\x00\0\0GET ", "10.0.0.1:0", 4);
	CHECK(V2 "\x20\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\0\x50GET ", "10.0.0.1:0", 4);
	CHECK(V2 "\x20\x11\0\x01xGET ", "10.0.0.1:0", 4);
	/* No address */
	CHECK(V2 "\x21\x00\0\0GET ", "?", 4);
	CHECK(V2 "\x21\x00\0\x03xyzGET ", "?", 4);
	CHECK(V2 "\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\0", "more", 0);
	CHECK(V2 "\x21\x11\0\x0b\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\0\x50", "bad", 12);
	CHECK(V2 "\x21\x21\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\0\x50", "bad", 12);
	CHECK(V2 "\x21\x41\0\0", "bad", 0);
	CHECK(V2 "\x21\x13\0\0", "bad", 0);
	CHECK(V2 "\x22\x11\0\0", "bad", 0);
	CHECK(V2 "\x11\x11\0\0", "bad", 0);
	CHECK(V2 "\x21\x11\xff\xff", "bad", 0);
	CHECK(V2 "\x20\x00\xff\xff", "bad", 0);
}

static void
test_sizes(void **state)
{
	static char unix_names[16 + 216 + 4] = V2 "\x21\x31\0\xd8";
	static char large[PROXY_HEADER_MAX + 1] =
		V2 "\x21\x11\x1f\xf0\xcb\0\x71\x09\x0a\0\0\x01\x12\x67";

	(void) state;
	check(unix_names, sizeof(unix_names), "?", 4);
	check(unix_names, sizeof(unix_names) - 5, "more", 0);
	check(large, sizeof(large), "203.0.113.9:4711", 1);
	check(large, sizeof(large) - 2, "more", 0);
	large[15]++;
	check(large, sizeof(large), "bad", sizeof(large) - 16);
}

static void
test_none(void **state)
{
	(void) state;
	CHECK("GET / HTTP/1.1\r\n", "none", 0);
	CHECK("POST / HTTP/1.1\r\n", "none", 0);
	CHECK("PROX", "more", 0);
	CHECK("PROXX", "none", 0);
	CHECK("PROXY\r\n", "none", 0);
	CHECK("proxy TCP4", "none", 0);
	CHECK("\r\n\r\n\0\r\nQUIX", "none", 0);
	CHECK("\r\n\r\n\r\n", "none", 0);
	CHECK("\x16\x03\x01", "none", 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_version_1), cmocka_unit_test(test_endless),
		cmocka_unit_test(test_version_2), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
