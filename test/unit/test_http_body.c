/* Bodies of requests: with a length or in chunks, their limits, Expect, and what is ambiguous. */
#include "serve.h"

#include "gateway/http/http_chunked.h"

#define POST      "POST /api HTTP/1.1\r\n"
#define CHUNKED   "Transfer-Encoding: chunked\r\n"
#define LAST      "0\r\n\r\n"
#define POST_SEND "POST /send HTTP/1.1\r\n"

static void
test_length(void **state)
{
	static Fake fake;

	(void) state;
	assert_status(POST_SEND "Content-Length: 10\r\n\r\n0123456789", "200");
	assert_string_equal(serve_body, "0123456789");
	assert_status(POST_SEND "Content-Length: 0\r\n\r\n", "200");
	assert_string_equal(serve_body, "");
	assert_status(POST_SEND "\r\n", "200");
	assert_status(POST_SEND "Content-Length: 11\r\n\r\n", "413");
	assert_status("GET /text HTTP/1.1\r\nContent-Length: 1\r\n\r\n", "400");
	serve_begin(&fake, 1);
	serve_receive(&fake, POST_SEND "Content-Len");
	serve_receive(&fake, "gth: 3\r\n\r\na");
	serve_receive(&fake, "b");
	assert_int_equal(fake.sent_len, 0);
	serve_receive(&fake, "c");
	assert_string_equal(serve_body, "abc");
	fake_lose(&fake);
}

/* Bodies in chunks, whatever their pieces are. */
static void
test_chunked(void **state)
{
	static const char *const bodies[] = {
		"3\r\nabc\r\n4\r\ndefg\r\n" LAST,
		"7\r\nabcdefg\r\n0000\r\n\r\n",
		"00000007;a=b;c=\"d\"\r\nabcdefg\r\n0;x\r\n\r\n",
		"7 ;a\r\nabcdefg\r\n0\t; \r\n\r\n",
		"7\r\nabcdefg\r\n0\r\nTrailer: x\r\nOther:\r\n\r\n",
		"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n1\r\nd\r\n1\r\ne\r\n1\r\nf\r\n1\r\ng\r\n" LAST,
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bodies); i++)
	{
		char text[500];
		size_t len = (size_t) snprintf(
			text, sizeof(text), POST_SEND CHUNKED "\r\n%sGET /text HTTP/1.1\r\n\r\n", bodies[i]);

		for (size_t first = 1; first < len; first++)
		{
			static Fake fake;

			serve_begin(&fake, 1);
			fake_receive(&fake, text, first);
			fake_receive(&fake, text + first, len - first);
			assert_int_equal(serve_count(&fake, "HTTP/1.1 200 "), 2);
			fake_lose(&fake);
		}
		text[len - strlen("GET /text HTTP/1.1\r\n\r\n")] = '\0';
		(void) serve_answer(text);
		assert_string_equal(serve_body, "abcdefg");
	}
	assert_status(POST_SEND CHUNKED "\r\n" LAST, "200");
	assert_string_equal(serve_body, "");
	assert_status(POST_SEND CHUNKED "\r\nA\r\n0123456789\r\n" LAST, "200");
	assert_string_equal(serve_body, "0123456789");
	assert_status(POST_SEND CHUNKED "\r\na\r\n0123456789\r\n1\r\na\r\n" LAST, "413");
	assert_status(POST_SEND CHUNKED "\r\nffffffff\r\n0123456789a", "413");
	assert_status("GET /text HTTP/1.1\r\n" CHUNKED "\r\n" LAST, "400");
}

/* Chunks that other programs may read differently. */
static void
test_bad_chunks(void **state)
{
	static const char *const bad[] = {
		"\r\n",
		"x\r\n",
		"-1\r\n",
		"+1\r\n",
		"0x1\r\n",
		" 1\r\n",
		"1 \r\n",
		"1 2\r\n",
		";a\r\n",
		"1\nabc",
		"1\r\r",
		"1\ra",
		"000000001\r\n",
		"100000000\r\n",
		"3\r\nabcd\r\n",
		"3\r\nabc\n",
		"3\r\nabc\rx",
		"3\r\nabc0\r\n\r\n",
		"3;a\nabc\r\n",
		"3;a\r3\r\n",
		"3;\x01\r\n",
		"3;\x7f\r\n",
		"0\r\n\n",
		"0\r\nGET / HTTP/1.1\r\n\r\n",
		"0\r\n folded: x\r\n\r\n",
		"0\r\nName : x\r\n\r\n",
		"0\r\nName: x\r\n folded\r\n\r\n",
		"0\r\nName: x\n\r\n",
		"0\r\nName: \x01\r\n\r\n",
		"0\r\n: x\r\n\r\n",
		"0\r\n\rx",
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
	{
		char text[500];

		snprintf(text, sizeof(text), POST CHUNKED "\r\n%s", bad[i]);
		if (strncmp(serve_answer(text), "HTTP/1.1 400 ", 13) != 0)
			fail_msg("accepted: %s", bad[i]);
		/* It belongs to the API. */
		assert_non_null(strstr(serve_answer(text), "\r\n\r\n{\"message\":\"malformed chunk\"}"));
	}
	assert_int_equal(serve_handled, 0);
}

/* What is discarded is limited, in one piece or in many. */
static void
test_extra(void **state)
{
	static char large[HTTP_CHUNKED_EXTRA + 100];
	static char text[HTTP_CHUNKED_EXTRA + 1000];
	static Fake fake;
	size_t sent = 0;

	(void) state;
	memset(large, 'x', sizeof(large) - 1);
	snprintf(text, sizeof(text), POST CHUNKED "\r\n1;%s\r\na\r\n" LAST, large);
	assert_status(text, "400");
	snprintf(text, sizeof(text), POST CHUNKED "\r\n0\r\nx: %s\r\n\r\n", large);
	assert_status(text, "400");
	large[HTTP_CHUNKED_EXTRA - 10] = '\0';
	snprintf(text, sizeof(text), POST CHUNKED "\r\n1;%s\r\na\r\n" LAST, large);
	assert_status(text, "200");

	serve_begin(&fake, 1);
	serve_receive(&fake, POST CHUNKED "\r\n");
	for (; fake.sent_len == 0 && sent < 100000; sent++)
		serve_receive(&fake, "1;a\r\nx\r\n");
	assert_memory_equal(fake.sent, "HTTP/1.1 400 ", 13);
	assert_int_equal(sent, HTTP_CHUNKED_EXTRA / 2 + 1);
	fake_lose(&fake);
}

/* RFC 9110, 10.1.1 */
static void
test_expect(void **state)
{
	static Fake fake;

	(void) state;
	serve_begin(&fake, 1);
	serve_receive(&fake, POST_SEND "Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n");
	assert_string_equal(fake.sent, "HTTP/1.1 100 Continue\r\n\r\n");
	serve_receive(&fake, "abc");
	assert_string_equal(serve_body, "abc");
	assert_int_equal(serve_count(&fake, "HTTP/1.1 200 "), 1);
	serve_receive(&fake, POST_SEND "Expect: 100-continue\r\n" CHUNKED "\r\n");
	assert_int_equal(serve_count(&fake, "HTTP/1.1 100 "), 2);
	serve_receive(&fake, "3\r\nabc\r\n" LAST);
	assert_int_equal(serve_count(&fake, "HTTP/1.1 200 "), 2);
	/* It does not wait, or has nothing to send, or speaks HTTP/1.0. */
	serve_receive(&fake, POST_SEND "Expect: 100-continue\r\nContent-Length: 3\r\n\r\na");
	serve_receive(&fake, "bc");
	serve_receive(&fake, POST_SEND "Expect: 100-continue\r\n\r\n");
	serve_receive(&fake,
				  "POST /send HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
	assert_int_equal(serve_count(&fake, "HTTP/1.1 100 "), 2);
	assert_int_equal(serve_count(&fake, "HTTP/1.1 200 "), 4);
	serve_receive(&fake, "abc");
	assert_int_equal(serve_count(&fake, "HTTP/1.1 200 "), 5);
	assert_true(fake.finished);
	fake_lose(&fake);

	/* What is refused is refused before. */
	assert_status(POST_SEND "Expect: 100-continue\r\nContent-Length: 11\r\n\r\n", "413");
	assert_status(POST_SEND "X: no\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", "403");
	assert_status("POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", "404");
	assert_status("POST /text HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
				  "405");
	assert_status(POST_SEND "Expect: 200-ok\r\nContent-Length: 3\r\n\r\n", "417");
	assert_status(POST_SEND "Expect: 100-continue, x\r\nContent-Length: 3\r\n\r\n", "417");
	assert_status(POST_SEND "Expect:\r\n\r\n", "417");
}

/* Requests whose length another program could read differently are refused, and are the last. */
static void
test_smuggling(void **state)
{
	static const char *const bad[] = {
		POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
		POST "Content-Length: 3\r\ncontent-length: 3\r\n\r\nabc",
		POST "Content-Length: 3, 3\r\n\r\nabc",
		POST "Content-Length: +3\r\n\r\nabc",
		POST "Content-Length: 0x3\r\n\r\nabc",
		POST "Content-Length: 3 3\r\n\r\nabc",
		POST "Content-Length: 3\r\n" CHUNKED "\r\n" LAST,
		POST CHUNKED "Content-Length: 5\r\n\r\n" LAST,
		POST CHUNKED CHUNKED "\r\n" LAST,
		POST "Transfer-Encoding: gzip, chunked\r\n\r\n" LAST,
		POST "Transfer-Encoding: chunked, identity\r\n\r\n" LAST,
		POST "Transfer-Encoding: identity\r\n\r\n",
		POST "Transfer-Encoding: chunked, chunked\r\n\r\n" LAST,
		POST "Transfer-Encoding: xchunked\r\n\r\n" LAST,
		POST "Transfer-Encoding: chunked;a=b\r\n\r\n" LAST,
		POST "Transfer-Encoding: \x0b"
			 "chunked\r\n\r\n" LAST,
		POST "Transfer-Encoding:\r\n\r\n" LAST,
		POST "Transfer-Encoding : chunked\r\n\r\n" LAST,
		POST " Transfer-Encoding: chunked\r\n\r\n" LAST,
		POST "X: y\r\n Transfer-Encoding: chunked\r\n\r\n" LAST,
		POST "X: y\nTransfer-Encoding: chunked\r\n\r\n" LAST,
		POST "X: y\rTransfer-Encoding: chunked\r\n\r\n" LAST,
		POST "Content-Length: 3\r\n\nabc",
		"POST /api HTTP/1.0\r\n" CHUNKED "\r\n" LAST,
		"POST /api\r\n" CHUNKED "\r\n" LAST,
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
	{
		static Fake fake;

		serve_begin(&fake, 1);
		serve_receive(&fake, bad[i]);
		serve_receive(&fake, "GET /text HTTP/1.1\r\n\r\n");
		if (serve_count(&fake, "HTTP/1.1 400 ") != 1 || serve_count(&fake, "HTTP/1.1 ") != 1)
			fail_msg("%s: %s", bad[i], fake.sent);
		assert_true(fake.finished);
		fake_lose(&fake);
	}
	assert_int_equal(serve_handled, 0);
	assert_status(POST "tRANSFER-eNCODING: \t Chunked \r\n\r\n" LAST, "200");
}

/* A body gets memory as it arrives, and an address only as much as is free. */
static void
test_memory(void **state)
{
	static char part[50000];
	static Fake fakes[6];
	int refused = 0;

	(void) state;
	memset(part, 'x', sizeof(part));
	serve_server.max_pending = 10;
	serve_server.max_memory = 480000;
	for (size_t i = 0; i < UNIT_COUNT(fakes); i++)
	{
		serve_begin(&fakes[i], 1);
		serve_receive(&fakes[i], POST "Content-Length: 100000\r\n\r\n");
		assert_int_equal(serve_server.memory, i < 5 ? i * 50000 : 4 * 50000);
		fake_receive(&fakes[i], part, sizeof(part));
		refused += serve_count(&fakes[i], "HTTP/1.1 503 ");
	}
	assert_int_equal(refused, 2);
	assert_int_equal(serve_server.memory, 200000);
	/* Another address has room. */
	fake_lose(&fakes[5]);
	serve_begin(&fakes[5], 2);
	serve_receive(&fakes[5], POST CHUNKED "\r\n186a0\r\n");
	fake_receive(&fakes[5], part, sizeof(part));
	fake_receive(&fakes[5], part, sizeof(part));
	serve_receive(&fakes[5], "\r\n" LAST);
	assert_int_equal(serve_count(&fakes[5], "HTTP/1.1 200 "), 1);
	assert_int_equal(serve_body_len, 100000);
	assert_int_equal(serve_server.memory, 200000);
	/* So has the first, when some of its bodies are complete. */
	fake_receive(&fakes[0], part, sizeof(part));
	fake_lose(&fakes[1]);
	assert_int_equal(serve_server.memory, 100000);
}

/* The API tells methods, and its errors are JSON; other routes have text. */
static void
test_api(void **state)
{
	(void) state;
	assert_non_null(strstr(serve_answer("PUT /api HTTP/1.1\r\n\r\n"),
						   "405 Method Not Allowed\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(serve_answer("PUT /api HTTP/1.1\r\n\r\n"),
						   "\r\nAllow: GET, HEAD, POST, OPTIONS\r\nApi: yes\r\n\r\n"
						   "{\"message\":\"only GET, HEAD, POST, OPTIONS is supported\"}"));
	assert_non_null(
		strstr(serve_answer("GET /api HTTP/1.1\r\nX: no\r\n\r\n"), "{\"message\":\"no\"}"));
	assert_non_null(strstr(serve_answer(POST "Content-Length: 100001\r\n\r\n"),
						   "{\"message\":\"the request's body is too large\"}"));
	assert_non_null(
		strstr(serve_answer("POST /text HTTP/1.1\r\n\r\n"), "\r\n\r\nonly GET is supported\n"));
	assert_status("OPTIONS /text HTTP/1.1\r\n\r\n", "405");
	assert_status("OPTIONS /api/x HTTP/1.1\r\nX: no\r\n\r\n", "403");
	assert_status("OPTIONS /api/x HTTP/1.1\r\n\r\n", "204");
	assert_non_null(strstr(serve_answer("OPTIONS /api/x HTTP/1.1\r\n\r\n"),
						   "\r\nAllow: GET, HEAD, POST, DELETE, OPTIONS\r\nApi: yes\r\n"));
	assert_string_equal(strstr(serve_answer("HEAD /api HTTP/1.1\r\n\r\n"), "\r\n\r\n"), "\r\n\r\n");
	assert_non_null(
		strstr(serve_answer("HEAD /api HTTP/1.1\r\n\r\n"), "\r\nContent-Length: 3\r\n"));
	assert_non_null(strstr(serve_answer("GET /api HTTP/1.1\r\n\r\n"), "\r\n\r\nok\n"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(test_length), SERVE_TEST(test_chunked), SERVE_TEST(test_bad_chunks),
		SERVE_TEST(test_extra),  SERVE_TEST(test_expect),  SERVE_TEST(test_smuggling),
		SERVE_TEST(test_memory), SERVE_TEST(test_api),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
