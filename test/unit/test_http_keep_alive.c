/*
 * Several requests on one connection: kept alive, pipelined, and from clients that close their side
 * of the connection.
 */
#include "serve.h"

#define GET_TEXT   "GET /text HTTP/1.1\r\n\r\n"
#define GET_KEEP   "GET /keep HTTP/1.1\r\n\r\n"
#define KEEP_ALIVE "\r\nConnection: keep-alive\r\n"
#define CLOSE      "\r\nConnection: close\r\n"

/* Which requests leave the connection open. */
static void
test_stays(void **state)
{
	static const char *const open[] = {
		GET_TEXT,
		"GET /text HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"GET /text HTTP/1.0\r\nConnection: foo, Keep-Alive\r\n\r\n",
		"POST /send HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
		"POST /send HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"GET /nowhere HTTP/1.1\r\n\r\n",
		"POST /text HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
		"HEAD /text HTTP/1.1\r\n\r\n",
		"GET /text HTTP/1.1\r\nX: no\r\n\r\n",
	};
	static const char *const ends[] = {
		"GET /text HTTP/1.0\r\n\r\n",
		"GET /text HTTP/1.1\r\nConnection: close\r\n\r\n",
		"GET /text HTTP/1.1\r\nConnection: keep-alive\r\nConnection: x, CLOSE\r\n\r\n",
		"GET /text HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
		/* The body may or may not come. */
		"POST /text HTTP/1.1\r\nContent-Length: 3\r\n\r\n",
		"POST /send HTTP/1.1\r\nContent-Length: 11\r\n\r\n",
		"POST /send HTTP/1.1\r\nContent-Length: 3\r\nExpect: x\r\n\r\n",
		"POST /send HTTP/1.1\r\nContent-Length: 3\r\nX: no\r\n\r\n",
		"GET /text HTTP/1.2\r\n\r\n",
		"GET /text\r\n\r\n",
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(open); i++)
	{
		static Fake fake;

		serve_begin(&fake, 1);
		for (int n = 1; n <= 3; n++)
		{
			serve_receive(&fake, open[i]);
			assert_int_equal(serve_count(&fake, "HTTP/1.1 "), n);
			assert_int_equal(serve_count(&fake, KEEP_ALIVE), n);
		}
		assert_false(fake.finished || fake.paused);
		fake_lose(&fake);
	}
	for (size_t i = 0; i < UNIT_COUNT(ends); i++)
	{
		static Fake fake;

		serve_begin(&fake, 1);
		serve_receive(&fake, ends[i]);
		assert_int_equal(serve_count(&fake, CLOSE), 1);
		assert_true(fake.finished);
		serve_receive(&fake, GET_TEXT);
		assert_int_equal(serve_count(&fake, "HTTP/1.1 "), 1);
		fake_lose(&fake);
	}
}

static void
test_idle_time(void **state)
{
	static Fake fake;

	(void) state;
	serve_begin(&fake, 1);
	serve_receive(&fake, GET_TEXT);
	serve_now += HTTP_IDLE_MS - 1;
	http_server_tick(&serve_server);
	assert_false(fake.dropped);
	/* A request has as much time as the first. */
	serve_receive(&fake, "GET /te");
	serve_now += HTTP_READ_MS - 1;
	http_server_tick(&serve_server);
	assert_int_equal(serve_count(&fake, "HTTP/1.1 "), 1);
	serve_receive(&fake, "xt HTTP/1.1\r\n\r\n");
	assert_int_equal(serve_count(&fake, "HTTP/1.1 200 "), 2);
	serve_receive(&fake, "GET /te");
	serve_now += HTTP_READ_MS;
	http_server_tick(&serve_server);
	assert_int_equal(serve_count(&fake, "HTTP/1.1 408 "), 1);
	fake_lose(&fake);

	serve_begin(&fake, 1);
	serve_receive(&fake, GET_TEXT);
	serve_now += HTTP_IDLE_MS;
	http_server_tick(&serve_server);
	assert_true(fake.dropped);
	assert_int_equal(serve_count(&fake, "HTTP/1.1 "), 1);
}

/* An idle connection holds no request, and what was kept is a client no longer. */
static void
test_idle_counts(void **state)
{
	static Fake fake;

	(void) state;
	serve_begin(&fake, 1);
	for (int i = 0; i < 3; i++)
	{
		serve_receive(&fake, GET_KEEP);
		assert_int_equal(serve_server.count_pending, 0);
		assert_int_equal(serve_server.count_kept, 1);
		assert_int_equal(http_from(serve_kept)->nclients, 1);
		serve_respond(200, "ok");
		assert_int_equal(serve_server.count_pending, 1);
		assert_int_equal(serve_server.count_kept, 0);
		assert_int_equal(serve_server.memory, 0);
	}
	fake_lose(&fake);
	assert_int_equal(serve_closed, 0);
}

static void
test_pipelined(void **state)
{
	static Fake fake;
	const char *text =
		GET_TEXT "POST /send HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
				 "HEAD /api/x HTTP/1.1\r\n\r\n" GET_TEXT "GET /nowhere HTTP/1.1\r\n\r\n";
	size_t len = strlen(text);

	(void) state;
	/* All at once, and in two pieces that part anywhere. */
	for (size_t first = 0; first < len; first++)
	{
		serve_begin(&fake, 1);
		if (first > 0)
			fake_receive(&fake, text, first);
		fake_receive(&fake, text + first, len - first);
		assert_int_equal(serve_count(&fake, "HTTP/1.1 200 "), 4);
		assert_int_equal(serve_count(&fake, "HTTP/1.1 404 "), 1);
		assert_int_equal(serve_count(&fake, "\r\n\r\nok\n"), 3);
		assert_string_equal(fake.sent + fake.sent_len - 14, "nothing there\n");
		fake_lose(&fake);
	}
	assert_string_equal(serve_body, "");

	/* Byte by byte. */
	serve_begin(&fake, 1);
	for (size_t i = 0; i < len; i++)
		fake_receive(&fake, text + i, 1);
	assert_int_equal(serve_count(&fake, "HTTP/1.1 "), 5);

	/* The rest of what came after a request that closes is not read. */
	serve_receive(&fake, GET_TEXT "GET /text HTTP/1.0\r\n\r\n" GET_TEXT);
	assert_int_equal(serve_count(&fake, "HTTP/1.1 "), 7);
	assert_true(fake.finished);
	fake_lose(&fake);
}

/* The next requests wait while one is answered later, and are answered in order. */
static void
test_pipelined_later(void **state)
{
	static Fake fake;

	(void) state;
	serve_begin(&fake, 1);
	serve_receive(&fake, GET_KEEP GET_KEEP GET_TEXT "GET /ke");
	serve_receive(&fake, "ep HTTP/1.1\r\n\r\n");
	assert_int_equal(serve_handled, 1);
	assert_int_equal(fake.sent_len, 0);
	serve_respond(200, "first");
	/* No handler runs within http_respond(). */
	assert_int_equal(serve_handled, 1);
	assert_true(fake.woken);
	serve_receive(&fake, GET_TEXT);
	assert_int_equal(serve_handled, 1);
	fake_take(&fake, 1000);
	assert_int_equal(serve_handled, 2);
	assert_int_equal(serve_count(&fake, "HTTP/1.1 200 "), 1);
	serve_respond(200, "second");
	fake_take(&fake, 1000);
	assert_int_equal(serve_handled, 4);
	assert_string_equal(fake.sent + fake.sent_len - 4, "\nok\n");
	serve_respond(200, "fourth");
	fake_take(&fake, 1000);
	assert_int_equal(serve_handled, 5);
	assert_int_equal(serve_count(&fake, "HTTP/1.1 200 "), 5);
	assert_int_equal(serve_server.memory, 0);
	fake_lose(&fake);
	assert_int_equal(serve_closed, 0);
}

/* What waits is limited, and so is what waits for a client that does not take its answer. */
static void
test_ahead(void **state)
{
	static char many[HTTP_MAX_AHEAD];
	static Fake fake;
	size_t len = strlen(GET_TEXT);

	(void) state;
	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = GET_TEXT[i % len];
	serve_begin(&fake, 1);
	serve_receive(&fake, GET_KEEP);
	fake_receive(&fake, many, sizeof(many) / 2);
	assert_false(fake.paused);
	assert_int_equal(serve_server.memory, sizeof(many) / 2);
	fake_receive(&fake, many + sizeof(many) / 2, sizeof(many) / 2);
	assert_true(fake.paused);
	serve_respond(200, "ok");
	assert_true(fake.paused);
	fake_take(&fake, 100);
	/* The first answer is not sent completely: the other requests wait. */
	assert_int_equal(serve_handled, 2);
	assert_true(fake.paused);
	for (int i = 0; i < 1000 && fake.paused; i++)
	{
		fake.sent_len = 0;
		fake_take(&fake, 1000);
	}
	assert_false(fake.paused);
	assert_int_equal(serve_handled, 1 + sizeof(many) / len);
	/* The last one is incomplete. */
	fake.room = 1000;
	serve_receive(&fake, &GET_TEXT[sizeof(many) % len]);
	assert_int_equal(serve_handled, 2 + sizeof(many) / len);
	assert_int_equal(serve_server.memory, 0);
}

/* A WebSocket may follow requests, also one that has waited. */
static void
test_take_over(void **state)
{
	static Fake fake;

	(void) state;
	serve_begin(&fake, 1);
	serve_receive(&fake, GET_TEXT "GET /ws HTTP/1.1\r\n\r\nmore");
	assert_true(serve_took);
	assert_int_equal(serve_taken.rest_len, 4);
	assert_memory_equal(serve_taken.rest, "more", 4);
	free(serve_taken.rest);
	http_server_left(&serve_server, serve_taken.from);

	serve_begin(&fake, 1);
	serve_receive(&fake, GET_KEEP "mo");
	serve_receive(&fake, "re");
	assert_true(http_take_over(serve_kept, &serve_taken));
	assert_int_equal(serve_taken.rest_len, 4);
	assert_memory_equal(serve_taken.rest, "more", 4);
	free(serve_taken.rest);
	assert_int_equal(serve_taken.from->nclients, 1);
	http_server_left(&serve_server, serve_taken.from);
}

/* A client that closes its side of the connection after its requests is answered. */
static void
test_half_closed(void **state)
{
	static Fake fake;

	(void) state;
	/* Between requests or within one: there is nobody to answer. */
	serve_begin(&fake, 1);
	serve_receive(&fake, GET_TEXT);
	fake_end(&fake);
	assert_true(fake.dropped);
	serve_begin(&fake, 1);
	serve_receive(&fake, "GET /te");
	fake_end(&fake);
	assert_true(fake.dropped);
	assert_int_equal(fake.sent_len, 0);

	/* While requests wait. */
	serve_begin(&fake, 1);
	serve_receive(&fake, GET_KEEP GET_TEXT GET_KEEP "GET");
	fake_end(&fake);
	assert_false(fake.dropped);
	serve_respond(200, "first");
	assert_false(fake.finished);
	fake_take(&fake, 1000);
	assert_int_equal(serve_handled, 4);
	serve_respond(200, "third");
	fake_take(&fake, 1000);
	assert_int_equal(serve_count(&fake, "HTTP/1.1 200 "), 3);
	assert_true(fake.dropped);
	assert_int_equal(serve_closed, 0);

	/* The last answer says that it is the last, and is sent completely. */
	serve_begin(&fake, 1);
	serve_receive(&fake, GET_KEEP);
	fake_end(&fake);
	fake.room = 10;
	serve_respond(200, "last");
	assert_false(fake.finished || fake.dropped);
	fake_take(&fake, 1000);
	assert_true(fake.finished && fake.dropped);
	assert_int_equal(serve_count(&fake, CLOSE), 1);
	assert_string_equal(fake.sent + fake.sent_len - 5, "last\n");
}

/* Where it can't be answered any more, it is gone. */
static void
test_half_closed_stream(void **state)
{
	static Fake fake;

	(void) state;
	serve_begin(&fake, 1);
	serve_receive(&fake, "GET /stream HTTP/1.1\r\n\r\n");
	fake_end(&fake);
	assert_true(fake.dropped);
	assert_int_equal(serve_closed, 1);

	/* Also if the request has waited. */
	serve_begin(&fake, 1);
	serve_receive(&fake, GET_KEEP "GET /stream HTTP/1.1\r\n\r\n");
	fake_end(&fake);
	serve_respond(200, "ok");
	fake_take(&fake, 1000);
	assert_int_equal(serve_handled, 3);
	assert_true(fake.dropped);
	fake_lose(&fake);
	assert_int_equal(serve_closed, 2);
}

/* If the answer takes a while, the server finds out whether the client has gone. */
static void
test_probe(void **state)
{
	static Fake fake;

	(void) state;
	serve_begin(&fake, 1);
	serve_receive(&fake, GET_KEEP);
	serve_now += 100000;
	http_server_tick(&serve_server);
	assert_int_equal(fake.sent_len, 0);
	fake_end(&fake);
	serve_now += HTTP_PROBE_MS - 1;
	http_server_tick(&serve_server);
	assert_int_equal(fake.sent_len, 0);
	serve_now += 1;
	http_server_tick(&serve_server);
	assert_string_equal(fake.sent, "HTTP/1.1 100 Continue\r\n\r\n");
	assert_false(http_server_waits(&serve_server));
	assert_false(fake.dropped);
	serve_respond(200, "ok");
	assert_int_equal(serve_count(&fake, "HTTP/1.1 200 "), 1);
	assert_true(fake.dropped);
	assert_int_equal(serve_closed, 0);

	/* It has gone. */
	serve_begin(&fake, 1);
	serve_receive(&fake, GET_KEEP);
	fake_end(&fake);
	serve_now += HTTP_PROBE_MS;
	http_server_tick(&serve_server);
	assert_true(fake.sent_len > 0);
	fake_lose(&fake);
	assert_int_equal(serve_closed, 1);

	/* HTTP/1.0 has no such response. */
	serve_begin(&fake, 1);
	serve_receive(&fake, "GET /keep HTTP/1.0\r\n\r\n");
	fake_end(&fake);
	serve_now += HTTP_PROBE_MS;
	http_server_tick(&serve_server);
	assert_int_equal(fake.sent_len, 0);
	serve_respond(200, "ok");
	assert_int_equal(serve_count(&fake, "HTTP/1.1 200 "), 1);

	/* Nor is it possible within a response. */
	serve_begin(&fake, 1);
	serve_receive(&fake, GET_KEEP);
	{
		HttpResponse response;

		http_response_stream(&response, 200, "text/plain");
		http_begin(serve_kept, &response);
	}
	fake_end(&fake);
	serve_now += HTTP_PROBE_MS;
	http_server_tick(&serve_server);
	assert_int_equal(serve_count(&fake, "100 Continue"), 0);
	http_finish(serve_kept);
	assert_true(fake.dropped);
}

/* A stream in chunks leaves the connection open. */
static void
test_chunks(void **state)
{
	static char large[10000];
	static Fake fake;
	HttpResponse response;

	(void) state;
	memset(large, 'x', sizeof(large));
	serve_begin(&fake, 1);
	serve_receive(&fake, GET_KEEP GET_TEXT);
	http_response_stream(&response, 200, "text/plain");
	http_begin(serve_kept, &response);
	assert_int_equal(serve_count(&fake, "\r\nTransfer-Encoding: chunked\r\n"), 1);
	assert_true(http_write(serve_kept, (const uint8_t *) "abc", 3));
	assert_true(http_write(serve_kept, (const uint8_t *) "", 0));
	assert_true(http_write(serve_kept, (const uint8_t *) large, sizeof(large)));
	http_finish(serve_kept);
	assert_int_equal(serve_count(&fake, "\r\n\r\n3\r\nabc\r\n2710\r\nxxx"), 1);
	assert_string_equal(fake.sent + fake.sent_len - 10, "xxx\r\n0\r\n\r\n");
	assert_int_equal(serve_handled, 1);
	fake_take(&fake, 1000);
	assert_int_equal(serve_handled, 2);
	assert_string_equal(fake.sent + fake.sent_len - 4, "\nok\n");

	/* The response to a HEAD has no chunks. */
	serve_receive(&fake, "HEAD /keep HTTP/1.1\r\n\r\n");
	http_response_stream(&response, 200, "text/plain");
	http_begin(serve_kept, &response);
	assert_true(http_write(serve_kept, (const uint8_t *) "abc", 3));
	http_finish(serve_kept);
	assert_string_equal(fake.sent + fake.sent_len - 4, "\r\n\r\n");
	serve_receive(&fake, GET_TEXT);
	assert_int_equal(serve_handled, 4);
	fake_lose(&fake);
	assert_int_equal(serve_closed, 0);
}

/* With HTTP/1.0, only the end of the connection can be the end of a response in parts. */
static void
test_parts_until_end(void **state)
{
	static Fake fake;
	HttpResponse response;

	(void) state;
	serve_begin(&fake, 1);
	serve_receive(&fake, "GET /keep HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	http_response_stream(&response, 200, "text/plain");
	http_begin(serve_kept, &response);
	assert_int_equal(serve_count(&fake, CLOSE), 1);
	assert_true(http_write(serve_kept, (const uint8_t *) "abc", 3));
	http_finish(serve_kept);
	assert_string_equal(fake.sent + fake.sent_len - 7, "\r\n\r\nabc");
	assert_true(fake.finished);
	fake_lose(&fake);
}

/* Connections that are stopped are not kept alive. */
static void
test_stop(void **state)
{
	static Fake idle;
	static Fake busy;

	(void) state;
	serve_begin(&idle, 1);
	serve_begin(&busy, 2);
	serve_receive(&idle, GET_TEXT);
	serve_receive(&busy, GET_KEEP);
	http_server_stop(&serve_server);
	assert_true(idle.dropped);
	assert_false(busy.dropped);
	serve_respond(200, "ok");
	assert_int_equal(serve_count(&busy, CLOSE), 1);
	assert_true(busy.finished);
}

/* A client whose memory others need too is dropped if it does not take its answer. */
static void
test_memory(void **state)
{
	static Fake fakes[8];
	int kept = 0;

	(void) state;
	serve_server.max_pending = 8;
	for (size_t i = 0; i < UNIT_COUNT(fakes); i++)
	{
		serve_begin(&fakes[i], 1);
		fakes[i].room = 100;
		serve_receive(&fakes[i], "GET /large HTTP/1.1\r\n\r\n");
		kept += !fakes[i].dropped;
	}
	/* A little less than 5 of 10 MB. */
	assert_int_equal(kept, 4);
	serve_begin(&fakes[7], 2);
	fakes[7].room = 100;
	serve_receive(&fakes[7], "GET /large HTTP/1.1\r\n\r\n");
	assert_false(fakes[7].dropped);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(test_stays),
		SERVE_TEST(test_idle_time),
		SERVE_TEST(test_pipelined),
		SERVE_TEST(test_pipelined_later),
		SERVE_TEST(test_ahead),
		SERVE_TEST(test_take_over),
		SERVE_TEST(test_probe),
		SERVE_TEST(test_half_closed),
		SERVE_TEST(test_half_closed_stream),
		SERVE_TEST(test_chunks),
		SERVE_TEST(test_parts_until_end),
		SERVE_TEST(test_idle_counts),
		SERVE_TEST(test_stop),
		SERVE_TEST(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
