/* Reading a request's head, and text.h. */
#include "unit.h"

#include "gateway/http_head.h"
#include "gateway/text.h"

#define REQUEST "GET /ws?a=b&database=x%20y&c HTTP/1.1\r\n"

/* Parse a whole head; NULL or what is wrong. */
static const char *
parse(const char *text, HttpHead *head)
{
	size_t scanned = 0;
	size_t size = 0;

	switch (http_head_scan(text, strlen(text), &scanned, &size))
	{
		case HTTP_SCAN_DONE:
			return http_head_parse(text, size, head);
		case HTTP_SCAN_MORE:
			return "incomplete";
		default:
			return "bad";
	}
}

static void
test_good(void **state)
{
	HttpHead head;

	(void) state;
	assert_null(parse(REQUEST "HOST:localhost\r\nOrigin: \t http://x \t\r\nUpgrade: websocket\r\nX-Empty:\r\n"
							  "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Protocol: foo\r\n"
							  "Sec-WebSocket-Protocol: bar ,pg_notifyd.v1\r\nContent-Length: 0\r\n\r\nrest",
					  &head));
	assert_true(http_slice_is(head.method, "GET"));
	assert_true(http_slice_is(head.path, "/ws"));
	assert_true(http_slice_is(head.query, "a=b&database=x%20y&c"));
	assert_true(head.http11);
	assert_true(http_slice_is(head.host, "localhost"));
	assert_true(http_slice_is(head.origin, "http://x"));
	assert_true(head.connection_upgrade);
	assert_true(head.subprotocol);
	assert_null(head.key.data);
	assert_true(http_slice_is(http_query_parameter(head.query, "database"), "x%20y"));
	assert_true(http_slice_is(http_query_parameter(head.query, "c"), ""));
	assert_null(http_query_parameter(head.query, "d").data);
	assert_null(http_query_parameter((HttpSlice){0}, "d").data);
	assert_null(parse("OPTIONS / HTTP/1.0\r\n\r\n", &head));
	assert_false(head.http11);
	assert_null(head.query.data);
	assert_false(head.connection_upgrade);
	assert_null(parse(REQUEST "Sec-WebSocket-Protocol: PG_NOTIFYD.V1, pg_notifyd.v10\r\n\r\n", &head));
	assert_false(head.subprotocol);
}

static void
test_bad(void **state)
{
	static const char *const bad[] = {
		"\r\n\r\n",
		"GET\r\n\r\n",
		"GET /\r\n\r\n",
		"GET  / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1 \r\n\r\n",
		"GET / HTTP/1.2\r\n\r\n",
		"GET / HTTP/1.10\r\n\r\n",
		"GET / http/1.1\r\n\r\n",
		"GET /#x HTTP/1.1\r\n\r\n",
		"GET /\x7f HTTP/1.1\r\n\r\n",
		"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
		"GET * HTTP/1.1\r\n\r\n",
		"GET http://localhost/ws HTTP/1.1\r\n\r\n",
		" GET / HTTP/1.1\r\n\r\n",
		"G:T / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\n\n",
		"GET / HTTP/1.1\r\rx\r\n\r\n",
		REQUEST "Host localhost\r\n\r\n",
		REQUEST ": x\r\n\r\n",
		REQUEST "Host : x\r\n\r\n",
		REQUEST "Host: x\r\n y\r\n\r\n",
		REQUEST "Host: x\r\n\ty\r\n\r\n",
		REQUEST "X: a\x01\r\n\r\n",
		REQUEST "Host: x\r\nhost: x\r\n\r\n",
		REQUEST "Origin: x\r\nOrigin: y\r\n\r\n",
		REQUEST "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n\r\n",
		REQUEST "Content-Length: 1\r\n\r\n",
		REQUEST "Content-Length: 00\r\n\r\n",
		REQUEST "Content-Length: 0, 0\r\n\r\n",
		REQUEST "Transfer-Encoding: identity\r\n\r\n",
	};
	HttpHead head;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
		if (parse(bad[i], &head) == NULL)
			fail_msg("accepted: %s", bad[i]);
	assert_string_equal(parse("GET / HTTP/1.1\r\nHost: x\r\n", &head), "incomplete");
}

/* One byte at a time gives what all at once does, and each byte is looked at once. */
static void
test_scan(void **state)
{
	static const char text[] = REQUEST "Host: x\r\n\r\nmore";
	static char large[HTTP_HEAD_MAX + 2];
	size_t scanned = 0;
	size_t size = 0;
	size_t expected = strlen(text) - 4;

	(void) state;
	for (size_t len = 1; len < expected; len++)
	{
		assert_int_equal(http_head_scan(text, len, &scanned, &size), HTTP_SCAN_MORE);
		assert_int_equal(scanned, len);
	}
	assert_int_equal(http_head_scan(text, expected, &scanned, &size), HTTP_SCAN_DONE);
	assert_int_equal(size, expected);

	memset(large, 'x', sizeof(large));
	scanned = 0;
	assert_int_equal(http_head_scan(large, HTTP_HEAD_MAX - 1, &scanned, &size), HTTP_SCAN_MORE);
	assert_int_equal(http_head_scan(large, HTTP_HEAD_MAX, &scanned, &size), HTTP_SCAN_LARGE);
	memcpy(large + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
	scanned = 0;
	assert_int_equal(http_head_scan(large, HTTP_HEAD_MAX, &scanned, &size), HTTP_SCAN_DONE);
	scanned = 0;
	assert_int_equal(http_head_scan("a\0", 2, &scanned, &size), HTTP_SCAN_BAD);
}

static void
test_garbage(void **state)
{
	static const char alphabet[] = "GET /ws?: HTTP/1.1\r\n\r\nHost:,\t%=&x";
	unsigned int seed = 3;

	(void) state;
	for (int round = 0; round < 200000; round++)
	{
		size_t len = (size_t) rand_r(&seed) % 80;
		char *text = malloc(len + 22);
		size_t scanned = 0;
		size_t size;
		HttpHead head;

		memcpy(text, "GET / HTTP/1.1\r\n", 16);
		for (size_t i = 16; i < len + 16; i++)
			text[i] = alphabet[(size_t) rand_r(&seed) % (sizeof(alphabet) - 1)];
		memcpy(text + len + 16, "\r\n\r\n", 4);
		if (http_head_scan(text, len + 20, &scanned, &size) == HTTP_SCAN_DONE &&
			http_head_parse(text, size, &head) == NULL)
			(void) http_query_parameter(head.query, "x");
		free(text);
	}
}

static void
test_key(void **state)
{
	static const char *const bad[] = {"",
									  "dGhlIHNhbXBsZSBub25jZQ=",
									  "dGhlIHNhbXBsZSBub25jZQ===",
									  "dGhlIHNhbXBsZSBub25jZR==",
									  "dGhlIHNhbXBsZSBub25j-Q==",
									  "dGhlIHNhbXBsZSBub25jZQAA"};

	(void) state;
	assert_true(http_websocket_key_valid((HttpSlice){"dGhlIHNhbXBsZSBub25jZQ==", 24}));
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
		assert_false(http_websocket_key_valid((HttpSlice){bad[i], strlen(bad[i])}));
	assert_false(http_websocket_key_valid((HttpSlice){0}));
}

static void
test_utf8(void **state)
{
	static const char *const good[] = {"",
									   "a",
									   "\x7f",
									   "\xc2\x80",
									   "\xdf\xbf",
									   "\xe0\xa0\x80",
									   "\xed\x9f\xbf",
									   "\xee\x80\x80",
									   "\xef\xbf\xbf",
									   "\xf0\x90\x80\x80",
									   "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80",
									  "\xc0\x80",
									  "\xc1\xbf",
									  "\xc2",
									  "\xc2\x41",
									  "\xe0\x9f\xbf",
									  "\xed\xa0\x80",
									  "\xe1\x80",
									  "\xf0\x8f\xbf\xbf",
									  "\xf4\x90\x80\x80",
									  "\xf5\x80\x80\x80",
									  "\xff",
									  "a\xe2\x82"};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(good); i++)
		assert_true(text_utf8_valid(good[i], strlen(good[i])));
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
		assert_false(text_utf8_valid(bad[i], strlen(bad[i])));
	assert_int_equal(text_utf8_cut("ab\xc3\xa9", 4, 3), 2);
	assert_int_equal(text_utf8_cut("ab\xc3\xa9", 4, 4), 4);
}

static void
test_percent(void **state)
{
	char out[32];
	size_t len;

	(void) state;
	assert_true(text_percent_decode("a%20b%C3%a9+", 12, out, &len));
	assert_int_equal(len, 6);
	assert_memory_equal(out, "a b\xc3\xa9+", 6);
	assert_false(text_percent_decode("%", 1, out, &len));
	assert_false(text_percent_decode("%2", 2, out, &len));
	assert_false(text_percent_decode("%g0", 3, out, &len));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),    cmocka_unit_test(test_bad), cmocka_unit_test(test_scan),
		cmocka_unit_test(test_garbage), cmocka_unit_test(test_key), cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_percent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
