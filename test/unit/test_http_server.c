/*
 * Connections of the HTTP server: states, limits and backpressure, with a transport and a clock
 * that the test controls.
 */
#include "serve.h"

static void
test_answers(void **state)
{
	(void) state;
	assert_status("GET /text HTTP/1.1\r\n\r\n", "200");
	assert_int_equal(serve_refused[WIRE_REFUSED_REQUEST], 0);
	assert_status("GET /nowhere HTTP/1.1\r\n\r\n", "404");
	assert_non_null(strstr(serve_answer("POST /text HTTP/1.1\r\n\r\n"), "\r\nAllow: GET\r\n"));
	assert_status("POST /text HTTP/1.1\r\n\r\n", "405");
	assert_status("GET /text HTTP/1.1\r\nX: no\r\n\r\n", "403");
	assert_status("GET /text HTTP/1.1\r\nContent-Length: 1\r\n\r\n", "400");
	assert_status("GET /text HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "400");
	assert_status("POST /send HTTP/1.1\r\nContent-Length: 11\r\n\r\n", "413");
	assert_status("GET /text HTTP/1.1\n\n", "400");
	assert_status("GET text HTTP/1.1\r\n\r\n", "400");
	assert_int_equal(serve_refused[WIRE_REFUSED_REQUEST], 9);
	/* The response to a HEAD has no body, also where HEAD is not supported (RFC 9110, 9.3.2). */
	assert_non_null(strstr(serve_answer("HEAD /text HTTP/1.1\r\n\r\n"), "HTTP/1.1 405 "));
	assert_string_equal(strstr(serve_answer("HEAD /text HTTP/1.1\r\n\r\n"), "\r\n\r\n"),
						"\r\n\r\n");
}

/* A head that is too large is refused, however it arrives. */
static void
test_large(void **state)
{
	static char large[HTTP_HEAD_MAX + 100];

	(void) state;
	memset(large, 'x', sizeof(large) - 1);
	assert_status(large, "431");
	large[HTTP_HEAD_MAX - 1] = '\0';
	assert_string_equal(serve_answer(large), "");
	assert_int_equal(serve_server.count_pending, 1);
}

static void
test_time(void **state)
{
	static Fake head;
	static Fake data;
	static Fake done;

	(void) state;
	serve_begin(&head, 1);
	serve_begin(&data, 2);
	serve_now += HTTP_READ_MS - 1;
	serve_receive(&head, "GET /");
	serve_receive(&data, "POST /send HTTP/1.1\r\nContent-Length: 3\r\n\r\n");
	http_server_tick(&serve_server);
	assert_int_equal(head.sent_len + data.sent_len, 0);
	serve_now++;
	http_server_tick(&serve_server);
	assert_memory_equal(head.sent, "HTTP/1.1 408 ", 13);
	assert_true(head.finished);
	assert_int_equal(data.sent_len, 0);
	serve_now += HTTP_BODY_MS - 2;
	http_server_tick(&serve_server);
	assert_int_equal(data.sent_len, 0);
	serve_now++;
	http_server_tick(&serve_server);
	assert_memory_equal(data.sent, "HTTP/1.1 408 ", 13);
	assert_true(head.dropped);

	/* The server waits for the client to close after an answer, and discards what it sends. */
	serve_begin(&done, 3);
	serve_receive(&done, "GET /text HTTP/1.0\r\n\r\n");
	serve_receive(&done, "GET /text HTTP/1.0\r\n\r\n");
	assert_true(http_server_waits(&serve_server));
	serve_now += HTTP_LINGER_MS - 1;
	http_server_tick(&serve_server);
	assert_false(done.dropped);
	serve_now++;
	http_server_tick(&serve_server);
	assert_true(done.dropped && data.dropped);
	assert_false(http_server_waits(&serve_server));
}

/* A client that sends without end after an answer is closed. */
static void
test_babble(void **state)
{
	static char babble[65537];
	static Fake fake;
	size_t pieces = HTTP_LINGER_BYTES / (sizeof(babble) - 1);

	(void) state;
	memset(babble, 'x', sizeof(babble) - 1);
	serve_begin(&fake, 1);
	serve_receive(&fake, "GET /text HTTP/1.0\r\n\r\n");
	for (size_t i = 0; i < pieces; i++)
		serve_receive(&fake, babble);
	assert_false(fake.dropped);
	serve_receive(&fake, "x");
	assert_true(fake.dropped);
}

/* A client may read its answer slowly, as long as it reads some of it. */
static void
test_slow(void **state)
{
	static Fake fake;

	(void) state;
	serve_begin(&fake, 1);
	fake.room = 10;
	serve_receive(&fake, "GET /text HTTP/1.0\r\n\r\n");
	assert_true(fake.woken && !fake.finished);
	for (int i = 0; i < 5; i++)
	{
		serve_now += HTTP_SEND_MS - 1;
		http_server_tick(&serve_server);
		assert_false(fake.dropped);
		fake_take(&fake, 10);
	}
	assert_false(fake.finished);
	fake_take(&fake, 1000);
	assert_true(fake.finished);
	assert_string_equal(fake.sent + fake.sent_len - 3, "ok\n");

	serve_begin(&fake, 1);
	fake.room = 10;
	serve_receive(&fake, "GET /text HTTP/1.0\r\n\r\n");
	serve_now += HTTP_SEND_MS;
	fake.base.events->writable(fake.base.owner);
	http_server_tick(&serve_server);
	assert_true(fake.dropped);
}

static void
test_broken(void **state)
{
	static Fake fake;

	(void) state;
	serve_begin(&fake, 1);
	fake.broken = true;
	serve_receive(&fake, "GET /text HTTP/1.0\r\n\r\n");
	assert_true(fake.dropped);
	assert_null(fake.base.owner);
	assert_int_equal(serve_server.count_pending, 0);
}

/* The number of pending connections is limited; the address with most loses one. */
static void
test_evict(void **state)
{
	static Fake fakes[4];

	(void) state;
	serve_begin(&fakes[0], 1);
	serve_begin(&fakes[1], 2);
	serve_begin(&fakes[2], 2);
	serve_begin(&fakes[3], 3);
	assert_true(fakes[1].dropped);
	assert_false(fakes[0].dropped || fakes[2].dropped || fakes[3].dropped);
	assert_int_equal(serve_server.count_pending, 3);
}

/* It loses the one whose last request began first: an idle one before one with a request. */
static void
test_evict_idle(void **state)
{
	static Fake fakes[4];

	(void) state;
	for (int i = 0; i < 3; i++)
		serve_begin(&fakes[i], 1);
	serve_receive(&fakes[0], "GET /text HTTP/1.1\r\n\r\n");
	serve_receive(&fakes[1], "GET /text HTTP/1.1\r\n\r\n");
	serve_receive(&fakes[2], "GET /te");
	serve_receive(&fakes[0], "GET /te");
	serve_begin(&fakes[3], 1);
	assert_true(fakes[1].dropped);
	assert_false(fakes[0].dropped || fakes[2].dropped);

	/* One that has been kept is pending again when it is idle, and needs a place. */
	serve_receive(&fakes[3], "GET /keep HTTP/1.1\r\n\r\n");
	serve_begin(&fakes[1], 2);
	assert_int_equal(serve_server.count_pending, 3);
	assert_int_equal(serve_server.count_kept, 1);
	serve_respond(200, "ok");
	assert_int_equal(serve_server.count_pending, 3);
	assert_int_equal(serve_server.count_kept, 0);
	assert_true(fakes[2].dropped);
	assert_false(fakes[0].dropped || fakes[1].dropped || fakes[3].dropped);
}

/* It does not lose the one whose handler runs. */
static void
test_evict_running(void **state)
{
	static Fake keeps;
	static Fake fakes[3];

	(void) state;
	serve_begin(&keeps, 1);
	serve_receive(&keeps, "GET /keep HTTP/1.1\r\n\r\n");
	for (int i = 0; i < 3; i++)
		serve_begin(&fakes[i], 2);
	serve_receive(&fakes[0], "GET /release HTTP/1.1\r\n\r\n");
	assert_int_equal(serve_count(&keeps, "HTTP/1.1 200 "), 1);
	assert_int_equal(serve_count(&fakes[0], "HTTP/1.1 200 "), 1);
	assert_false(fakes[0].dropped || keeps.dropped);
	assert_int_equal(serve_server.count_pending, 4);
}

static void
test_take_over(void **state)
{
	static Fake fake;

	(void) state;
	serve_begin(&fake, 9);
	serve_receive(&fake, "GET /ws HTTP/1.1\r\n");
	serve_receive(&fake, "\r\nmore");
	assert_true(serve_took);
	assert_int_equal(serve_taken.rest_len, 4);
	assert_memory_equal(serve_taken.rest, "more", 4);
	free(serve_taken.rest);
	assert_string_equal(serve_taken.address, "127.0.0.9:7");
	assert_ptr_equal(serve_taken.transport, &fake.base);
	assert_false(fake.dropped);
	assert_null(fake.base.owner);
	assert_int_equal(serve_taken.from->nclients, 1);
	assert_int_equal(serve_server.count_pending, 0);
	http_server_left(&serve_server, serve_taken.from);

	/* It has nothing to free if nothing came after the request. */
	serve_begin(&fake, 9);
	serve_receive(&fake, "GET /ws HTTP/1.1\r\n\r\n");
	assert_null(serve_taken.rest);
	http_server_left(&serve_server, serve_taken.from);

	serve_begin(&fake, 9);
	fake.broken = true;
	serve_receive(&fake, "GET /ws HTTP/1.1\r\n\r\n");
	assert_false(serve_took);
	assert_int_equal(serve_refused[WIRE_REFUSED_RESOURCES], 1);
}

/*
 * A response in parts has no time limit, is not evicted, and writes when the client accepts data.
 */
static void
test_stream(void **state)
{
	HttpResponse response;
	static Fake fake;
	static Fake others[5];
	size_t head;

	(void) state;
	serve_begin(&fake, 1);
	serve_receive(&fake, "GET /keep HTTP/1.0\r\n\r\n");
	assert_int_equal(serve_server.count_pending, 0);
	assert_int_equal(http_from(serve_kept)->nclients, 1);
	http_response_stream(&response, 200, "text/event-stream");
	http_begin(serve_kept, &response);
	head = fake.sent_len;
	serve_now += 100 * HTTP_READ_MS;
	for (int i = 0; i < 5; i++)
		serve_begin(&others[i], 1);
	http_server_tick(&serve_server);
	assert_false(fake.dropped);

	assert_true(http_ready(serve_kept));
	fake.room = 2;
	assert_true(http_write(serve_kept, (const uint8_t *) "abc", 3));
	assert_false(http_ready(serve_kept));
	fake.base.events->writable(fake.base.owner);
	assert_int_equal(serve_writable, 0);
	fake_take(&fake, 100);
	assert_int_equal(serve_writable, 1);
	assert_true(http_ready(serve_kept));
	assert_string_equal(fake.sent + head, "abc");
	http_wake(serve_kept);
	assert_true(fake.woken);

	fake.room = 1;
	assert_true(http_write(serve_kept, (const uint8_t *) "xyz", 3));
	http_finish(serve_kept);
	assert_false(fake.finished);
	fake_take(&fake, 100);
	assert_true(fake.finished);
	assert_string_equal(fake.sent + head, "abcxyz");
	fake_lose(&fake);
	assert_int_equal(serve_closed, 0);
	assert_int_equal(serve_writable, 1);
}

/* The owner of a kept connection learns of its end, and may answer later. */
static void
test_kept(void **state)
{
	HttpResponse response;
	static Fake fake;

	(void) state;
	serve_begin(&fake, 1);
	serve_receive(&fake, "GET /keep HTTP/1.0\r\n\r\n");
	fake_lose(&fake);
	assert_int_equal(serve_closed, 1);

	serve_begin(&fake, 1);
	serve_receive(&fake, "GET /keep HTTP/1.0\r\n\r\n");
	fake.broken = true;
	assert_false(http_write(serve_kept, (const uint8_t *) "abc", 3));
	assert_true(fake.dropped);
	assert_int_equal(serve_closed, 1);
	fake_lose(&fake);
	assert_int_equal(serve_closed, 2);

	serve_begin(&fake, 1);
	serve_receive(&fake, "GET /keep HTTP/1.0\r\n\r\n");
	http_response_json(&response, 200, json_true());
	http_respond(serve_kept, &response);
	assert_string_equal(fake.sent + fake.sent_len - 4, "true");
	assert_true(fake.finished);
	fake_lose(&fake);

	serve_begin(&fake, 1);
	serve_receive(&fake, "GET /keep HTTP/1.0\r\n\r\n");
	http_drop(serve_kept);
	assert_true(fake.dropped);
	assert_int_equal(serve_closed, 2);
}

/* Requests of a proxy's connection belong to the clients that it names. */
static void
test_proxies(void **state)
{
	static char proxies[] = "127.0.0.9";
	static char *list = proxies;
	const Address *first;
	static Fake fake;
	Fake other;

	(void) state;
	serve_server.proxies = &list;
	serve_begin(&fake, 9);
	serve_receive(&fake, "GET /keep HTTP/1.1\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n");
	first = http_from(serve_kept);
	assert_int_equal(first->nclients, 1);
	/* A client without the proxy has the same address. */
	serve_begin(&other, 1);
	serve_receive(&other, "GET /text HTTP/1.1\r\nX-Forwarded-For: 10.0.0.7\r\n");
	assert_int_equal(first->npending, 1);
	fake_lose(&other);
	serve_respond(200, "ok");
	serve_receive(&fake, "GET /keep HTTP/1.1\r\nX-Forwarded-For: 10.0.0.2\r\n\r\n");
	assert_memory_equal(http_from(serve_kept)->key + 12, "\12\0\0\2", 4);
	serve_respond(200, "ok");
	/* It is the proxy's own. */
	serve_receive(&fake, "GET /keep HTTP/1.1\r\n\r\n");
	assert_memory_equal(http_from(serve_kept)->key + 12, "\177\0\0\11", 4);
	serve_respond(200, "ok");
	/* A body counts as the client's. */
	serve_receive(&fake, "POST /send HTTP/1.1\r\nX-Forwarded-For: 10.0.0.3\r\n"
						 "Content-Length: 5\r\n\r\nabc");
	assert_true(serve_server.addresses.highest == 1 && serve_server.memory > 0);
	serve_receive(&fake, "de");
	assert_string_equal(serve_body, "abcde");
	serve_receive(&fake, "GET /ws HTTP/1.1\r\nX-Forwarded-For: 10.0.0.4:99\r\n\r\n");
	assert_string_equal(serve_taken.address, "10.0.0.4:99");
	http_server_left(&serve_server, serve_taken.from);

	serve_begin(&fake, 9);
	serve_receive(&fake, "GET /keep HTTP/1.1\r\nX-Forwarded-For: no\r\n\r\n");
	assert_non_null(strstr(fake.sent, "HTTP/1.1 400 "));
	assert_true(fake.finished);
	fake_lose(&fake);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(test_answers),   SERVE_TEST(test_large),      SERVE_TEST(test_time),
		SERVE_TEST(test_babble),    SERVE_TEST(test_slow),       SERVE_TEST(test_broken),
		SERVE_TEST(test_evict),     SERVE_TEST(test_evict_idle), SERVE_TEST(test_evict_running),
		SERVE_TEST(test_take_over), SERVE_TEST(test_stream),     SERVE_TEST(test_kept),
		SERVE_TEST(test_proxies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
