/* Parsing requests, and text.h. */
#include "unit.h"

#include "gateway/http/http_request.h"
#include "gateway/http/http_response.h"
#include "gateway/base/text.h"
#include "gateway/ws/websocket_upgrade.h"

#define REQUEST "GET /ws?a=b&database=x%20y&c HTTP/1.1\r\n"

static char buffer[2 * HTTP_HEAD_MAX];

/* Parse a complete head; returns NULL or what is wrong. */
static const char *
parse(const char *text, HttpRequest *request)
{
	size_t scanned = 0;
	size_t size = 0;

	snprintf(buffer, sizeof(buffer), "%s", text);
	switch (http_request_scan(buffer, strlen(buffer), &scanned, &size))
	{
		case HTTP_SCAN_DONE:
			return http_request_parse(buffer, size, request);
		case HTTP_SCAN_MORE:
			return "incomplete";
		default:
			return "bad";
	}
}

static void
test_good(void **state)
{
	HttpRequest request;

	(void) state;
	assert_null(parse(
		REQUEST "HOST:localhost\r\nOrigin: \t http://x \t\r\nUpgrade: websocket\r\nX-Empty:\r\n"
				"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Protocol: foo\r\n"
				"Sec-WebSocket-Protocol: bar ,pg_notifyd.v1\r\nContent-Length: 0\r\n\r\nrest",
		&request));
	assert_int_equal(request.method, HTTP_GET);
	assert_true(http_slice_is(request.path, "/ws"));
	assert_true(request.http11);
	assert_true(http_slice_is(http_request_header(&request, "host"), "localhost"));
	assert_true(http_slice_is(http_request_header(&request, "origin"), "http://x"));
	assert_true(http_slice_is(http_request_header(&request, "x-empty"), ""));
	assert_null(http_request_header(&request, "sec-websocket-key").data);
	assert_true(http_request_header_has(&request, "connection", "upgrade", true));
	assert_false(http_request_header_has(&request, "connection", "up", true));
	assert_string_equal(websocket_upgrade_subprotocol(&request), "pg_notifyd.v1");
	assert_int_equal(request.content_length, 0);
	assert_null(parse("OPTIONS / HTTP/1.0\r\n\r\n", &request));
	assert_false(request.http11);
	assert_int_equal(request.method, HTTP_OPTIONS);
	assert_int_equal(request.nparameters, 0);
	assert_false(http_request_header_has(&request, "connection", "upgrade", true));
	assert_null(parse("get / HTTP/1.1\r\n\r\n", &request));
	assert_int_equal(request.method, 0);
	assert_null(
		parse(REQUEST "Sec-WebSocket-Protocol: PG_NOTIFYD.V1, pg_notifyd.v10\r\n\r\n", &request));
	assert_null(websocket_upgrade_subprotocol(&request));
	assert_null(
		parse(REQUEST "Sec-WebSocket-Protocol: x, ,wamp.2.json, pg_notifyd.v1\r\n\r\n", &request));
	assert_string_equal(websocket_upgrade_subprotocol(&request), "wamp.2.json");
	assert_null(
		parse("POST /send/x HTTP/1.1\r\nContent-Length: 123456789012345\r\n\r\n", &request));
	assert_int_equal(request.content_length, 123456789012345);
	assert_null(parse("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", &request));
	assert_true(request.chunked);
}

static void
test_parameters(void **state)
{
	static char many[8192] = "GET /?";
	const HttpParameter *parameter;
	HttpRequest request;

	(void) state;
	assert_null(
		parse("GET /?a=1&%61=%e2%82%ac+&b&=c&a=x%3Dy=&bad=%zz&d=%00 HTTP/1.1\r\n\r\n", &request));
	assert_true(http_slice_is(request.query, "a=1&%61=%e2%82%ac+&b&=c&a=x%3Dy=&bad=%zz&d=%00"));
	parameter = http_request_parameter(&request, "a", NULL);
	assert_true(http_slice_is(parameter->value, "1"));
	parameter = http_request_parameter(&request, "a", parameter);
	assert_true(http_slice_is(parameter->value, "\xe2\x82\xac+"));
	parameter = http_request_parameter(&request, "a", parameter);
	assert_true(http_slice_is(parameter->value, "x=y="));
	assert_null(http_request_parameter(&request, "a", parameter));
	assert_true(http_slice_is(http_request_parameter(&request, "b", NULL)->value, ""));
	assert_true(http_slice_is(http_request_parameter(&request, "", NULL)->value, "c"));
	assert_false(http_request_parameter(&request, "b", NULL)->malformed);
	assert_true(http_request_parameter(&request, "bad", NULL)->malformed);
	assert_int_equal(http_request_parameter(&request, "d", NULL)->value.len, 1);
	assert_null(http_request_parameter(&request, "x", NULL));
	assert_null(parse("GET /? HTTP/1.1\r\n\r\n", &request));
	assert_int_equal(request.nparameters, 0);
	assert_true(http_slice_is(request.query, ""));
	assert_null(parse("GET / HTTP/1.1\r\n\r\n", &request));
	assert_null(request.query.data);

	for (int i = 0; i < HTTP_MAX_PARAMETERS; i++)
		strcat(many, "a&");
	strcpy(many + strlen(many) - 1, " HTTP/1.1\r\n\r\n");
	assert_null(parse(many, &request));
	assert_int_equal(request.nparameters, HTTP_MAX_PARAMETERS);
	memmove(many + 8, many + 6, strlen(many + 6) + 1);
	assert_string_equal(parse(many, &request), "too many parameters");
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
		REQUEST "Content-Length: 01\r\n\r\n",
		REQUEST "Content-Length: -1\r\n\r\n",
		REQUEST "Content-Length: +1\r\n\r\n",
		REQUEST "Content-Length:\r\n\r\n",
		REQUEST "Content-Length: 1234567890123456\r\n\r\n",
		REQUEST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
		REQUEST "Content-Length: 00\r\n\r\n",
		REQUEST "Content-Length: 0, 0\r\n\r\n",
		REQUEST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
	};
	HttpRequest request;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
		if (parse(bad[i], &request) == NULL)
			fail_msg("accepted: %s", bad[i]);
	assert_string_equal(parse("GET / HTTP/1.1\r\nHost: x\r\n", &request), "incomplete");
}

/* Byte by byte gives the same result as all at once, and each byte is examined once. */
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
		assert_int_equal(http_request_scan(text, len, &scanned, &size), HTTP_SCAN_MORE);
		assert_int_equal(scanned, len);
	}
	assert_int_equal(http_request_scan(text, expected, &scanned, &size), HTTP_SCAN_DONE);
	assert_int_equal(size, expected);

	memset(large, 'x', sizeof(large));
	scanned = 0;
	assert_int_equal(http_request_scan(large, HTTP_HEAD_MAX - 1, &scanned, &size), HTTP_SCAN_MORE);
	assert_int_equal(http_request_scan(large, HTTP_HEAD_MAX, &scanned, &size), HTTP_SCAN_LARGE);
	memcpy(large + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
	scanned = 0;
	assert_int_equal(http_request_scan(large, HTTP_HEAD_MAX, &scanned, &size), HTTP_SCAN_DONE);
	scanned = 0;
	assert_int_equal(http_request_scan("a\0", 2, &scanned, &size), HTTP_SCAN_BAD);
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
		char *text = malloc((len + 20) * 2);
		size_t scanned = 0;
		size_t size;
		HttpRequest request;

		memcpy(text, "GET / HTTP/1.1\r\n", 16);
		for (size_t i = 16; i < len + 16; i++)
			text[i] = alphabet[(size_t) rand_r(&seed) % (sizeof(alphabet) - 1)];
		memcpy(text + len + 16, "\r\n\r\n", 4);
		if (http_request_scan(text, len + 20, &scanned, &size) == HTTP_SCAN_DONE &&
			http_request_parse(text, size, &request) == NULL)
			(void) http_request_parameter(&request, "x", NULL);
		free(text);
	}
}

static bool
check(const char *key, int *status)
{
	HttpRequest request;
	HttpResponse response = {0};
	char text[512];
	bool ok;

	snprintf(text, sizeof(text),
			 "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			 "Sec-WebSocket-Version: 13\r\n%s\r\n",
			 key);
	assert_null(parse(text, &request));
	ok = websocket_upgrade_check(&request, &response);
	*status = response.status;
	http_response_release(&response);
	return ok;
}

static void
test_upgrade(void **state)
{
	static const char *const bad[] = {"",
									  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n",
									  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ===\r\n",
									  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n",
									  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j-Q==\r\n",
									  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\r\n"};
	char answer[WEBSOCKET_ANSWER + 1] = "";
	HttpRequest request;
	int status;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
	{
		assert_false(check(bad[i], &status));
		assert_int_equal(status, 400);
	}
	assert_true(check("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", &status));

	/* The example of RFC 6455, 1.3. */
	assert_null(parse(REQUEST "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
							  "Sec-WebSocket-Protocol: pg_notifyd.v1\r\n\r\n",
					  &request));
	answer[websocket_upgrade_answer(&request, NULL, answer)] = '\0';
	assert_non_null(strstr(answer, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
	assert_non_null(strstr(answer, "\r\nSec-WebSocket-Protocol: pg_notifyd.v1\r\n\r\n"));
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
		cmocka_unit_test(test_good),    cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_bad),     cmocka_unit_test(test_scan),
		cmocka_unit_test(test_garbage), cmocka_unit_test(test_upgrade),
		cmocka_unit_test(test_utf8),    cmocka_unit_test(test_percent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
