/*
 * Connections of the HTTP server: states, limits and backpressure, with a transport and a clock
 * that the test controls.
 */
#include "fake.h"

#include "gateway/http/http_server.h"

static uint64_t now;

static uint64_t
clock_now(void)
{
	return now;
}

/* The last connection and request of a handler. */
static HttpConnection *kept;
static HttpTaken taken;
static bool took;
static char body[64];
static int writable;
static int closed;

static void
owner_writable(void *owner)
{
	assert_ptr_equal(owner, &kept);
	writable++;
}

static void
owner_closed(void *owner)
{
	assert_ptr_equal(owner, &kept);
	closed++;
}

static const HttpOwner owner_events = {.writable = owner_writable, .closed = owner_closed};

static void
handle_text(HttpConnection *connection, HttpRequest *request, void *arg)
{
	HttpResponse response;

	(void) arg;
	snprintf(body, sizeof(body), "%.*s", (int) request->body.len, request->body.data);
	http_response_text(&response, 200, "ok");
	http_respond(connection, &response);
}

static void
handle_keep(HttpConnection *connection, HttpRequest *request, void *arg)
{
	(void) request;
	(void) arg;
	kept = connection;
	http_keep(connection, &owner_events, &kept);
}

static void
handle_take(HttpConnection *connection, HttpRequest *request, void *arg)
{
	(void) request;
	(void) arg;
	took = http_take_over(connection, &taken);
	if (took)
		snprintf(body, sizeof(body), "%.*s", (int) taken.rest_len, taken.rest);
}

static const HttpRoute routes[] = {
	{.methods = HTTP_GET, .path = "/text", .handler = handle_text},
	{.methods = HTTP_POST, .path = "/send", .handler = handle_text, .max_body = 10},
	{.methods = HTTP_GET, .path = "/events", .handler = handle_keep},
	{.methods = HTTP_GET, .path = "/ws", .handler = handle_take},
};

static bool
admit(const HttpRequest *request, void *arg, HttpResponse *response)
{
	(void) arg;
	if (!http_request_header_has(request, "x", "no", false))
		return true;
	http_response_text(response, 403, "no");
	return false;
}

static uint64_t refused;
static HttpServer server;

static int
setup(void **state)
{
	(void) state;
	now = 1000;
	refused = 0;
	writable = closed = 0;
	took = false;
	body[0] = '\0';
	server = (HttpServer){
		.now = clock_now,
		.routes = routes,
		.nroutes = UNIT_COUNT(routes),
		.unknown_path = "nothing there",
		.admit = admit,
		.refused = &refused,
		.max_pending = 3,
	};
	http_server_init(&server);
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	http_server_stop(&server);
	assert_int_equal(server.count_pending, 0);
	assert_false(http_server_waits(&server));
	assert_true(RB_EMPTY(&server.addresses.all));
	return 0;
}

static void
begin(Fake *fake, uint8_t address)
{
	fake_init(fake, address);
	http_server_accept(&server, &fake->base);
}

static void
receive(Fake *fake, const char *text)
{
	fake_receive(fake, text, strlen(text));
}

/* Return the answer to a request on a new connection. */
static const char *
answer(const char *request)
{
	static Fake fake;

	begin(&fake, 1);
	receive(&fake, request);
	if (fake.sent_len > 0 && fake.base.owner != NULL)
		fake_lose(&fake);
	return fake.sent;
}

#define assert_status(request, status)                                                             \
	assert_memory_equal(answer(request), "HTTP/1.1 " status " ", 13)

static void
test_answers(void **state)
{
	(void) state;
	assert_status("GET /text HTTP/1.1\r\n\r\n", "200");
	assert_int_equal(refused, 0);
	assert_status("GET /nowhere HTTP/1.1\r\n\r\n", "404");
	assert_non_null(strstr(answer("POST /text HTTP/1.1\r\n\r\n"), "\r\nAllow: GET\r\n"));
	assert_status("POST /text HTTP/1.1\r\n\r\n", "405");
	assert_status("GET /text HTTP/1.1\r\nX: no\r\n\r\n", "403");
	assert_status("GET /text HTTP/1.1\r\nContent-Length: 1\r\n\r\n", "400");
	assert_status("GET /text HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "400");
	assert_status("POST /send HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "411");
	assert_status("POST /send HTTP/1.1\r\nContent-Length: 11\r\n\r\n", "413");
	assert_status("GET /text HTTP/1.1\n\n", "400");
	assert_status("GET text HTTP/1.1\r\n\r\n", "400");
	assert_int_equal(refused, 10);
	/* The response to a HEAD has no body, also where HEAD is not supported (RFC 9110, 9.3.2). */
	assert_non_null(strstr(answer("HEAD /text HTTP/1.1\r\n\r\n"), "HTTP/1.1 405 "));
	assert_string_equal(strstr(answer("HEAD /text HTTP/1.1\r\n\r\n"), "\r\n\r\n"), "\r\n\r\n");
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
	assert_string_equal(answer(large), "");
	assert_int_equal(server.count_pending, 1);
}

static void
test_body(void **state)
{
	static Fake fake;

	(void) state;
	assert_status("POST /send HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789and more", "200");
	assert_string_equal(body, "0123456789");
	assert_status("POST /send HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "200");
	assert_string_equal(body, "");
	begin(&fake, 1);
	receive(&fake, "POST /send HTTP/1.1\r\nContent-Len");
	receive(&fake, "gth: 3\r\n\r\na");
	receive(&fake, "b");
	assert_int_equal(fake.sent_len, 0);
	receive(&fake, "cd");
	assert_string_equal(body, "abc");
	assert_true(fake.finished);
}

static void
test_time(void **state)
{
	static Fake head;
	static Fake data;
	static Fake done;

	(void) state;
	begin(&head, 1);
	begin(&data, 2);
	now += HTTP_READ_MS - 1;
	receive(&head, "GET /");
	receive(&data, "POST /send HTTP/1.1\r\nContent-Length: 3\r\n\r\n");
	http_server_tick(&server);
	assert_int_equal(head.sent_len + data.sent_len, 0);
	now++;
	http_server_tick(&server);
	assert_memory_equal(head.sent, "HTTP/1.1 408 ", 13);
	assert_true(head.finished);
	assert_int_equal(data.sent_len, 0);
	now += HTTP_READ_MS - 1;
	http_server_tick(&server);
	assert_memory_equal(data.sent, "HTTP/1.1 408 ", 13);
	assert_true(head.dropped);

	/* The server waits for the client to close after an answer, and discards what it sends. */
	begin(&done, 3);
	receive(&done, "GET /text HTTP/1.1\r\n\r\n");
	receive(&done, "GET /text HTTP/1.1\r\n\r\n");
	assert_true(http_server_waits(&server));
	now += HTTP_LINGER_MS - 1;
	http_server_tick(&server);
	assert_false(done.dropped);
	now++;
	http_server_tick(&server);
	assert_true(done.dropped && data.dropped);
	assert_false(http_server_waits(&server));
}

/* A client that sends without end after an answer is closed. */
static void
test_babble(void **state)
{
	static char babble[65537];
	static Fake fake;

	(void) state;
	memset(babble, 'x', sizeof(babble) - 1);
	begin(&fake, 1);
	receive(&fake, "GET /text HTTP/1.1\r\n\r\n");
	for (int i = 0; i < 4; i++)
		receive(&fake, babble);
	assert_false(fake.dropped);
	receive(&fake, "x");
	assert_true(fake.dropped);
}

/* A client may read its answer slowly, as long as it reads some of it. */
static void
test_slow(void **state)
{
	static Fake fake;

	(void) state;
	begin(&fake, 1);
	fake.room = 10;
	receive(&fake, "GET /text HTTP/1.1\r\n\r\n");
	assert_true(fake.woken && !fake.finished);
	for (int i = 0; i < 5; i++)
	{
		now += HTTP_SEND_MS - 1;
		http_server_tick(&server);
		assert_false(fake.dropped);
		fake_take(&fake, 10);
	}
	assert_false(fake.finished);
	fake_take(&fake, 1000);
	assert_true(fake.finished);
	assert_string_equal(fake.sent + fake.sent_len - 3, "ok\n");

	begin(&fake, 1);
	fake.room = 10;
	receive(&fake, "GET /text HTTP/1.1\r\n\r\n");
	now += HTTP_SEND_MS;
	fake.base.events->writable(fake.base.owner);
	http_server_tick(&server);
	assert_true(fake.dropped);
}

static void
test_broken(void **state)
{
	static Fake fake;

	(void) state;
	begin(&fake, 1);
	fake.broken = true;
	receive(&fake, "GET /text HTTP/1.1\r\n\r\n");
	assert_true(fake.dropped);
	assert_null(fake.base.owner);
	assert_int_equal(server.count_pending, 0);
}

/* The number of pending connections is limited; the address with most loses its oldest. */
static void
test_evict(void **state)
{
	static Fake fakes[4];

	(void) state;
	begin(&fakes[0], 1);
	begin(&fakes[1], 2);
	begin(&fakes[2], 2);
	begin(&fakes[3], 3);
	assert_true(fakes[1].dropped);
	assert_false(fakes[0].dropped || fakes[2].dropped || fakes[3].dropped);
	assert_int_equal(server.count_pending, 3);
}

static void
test_take_over(void **state)
{
	static Fake fake;

	(void) state;
	begin(&fake, 9);
	receive(&fake, "GET /ws HTTP/1.1\r\n");
	receive(&fake, "\r\nmore");
	assert_true(took);
	assert_string_equal(body, "more");
	assert_string_equal(taken.address, "127.0.0.9:7");
	assert_ptr_equal(taken.transport, &fake.base);
	assert_false(fake.dropped);
	assert_null(fake.base.owner);
	assert_int_equal(taken.from->nclients, 1);
	assert_int_equal(server.count_pending, 0);
	http_server_left(&server, taken.from);

	begin(&fake, 9);
	fake.broken = true;
	receive(&fake, "GET /ws HTTP/1.1\r\n\r\n");
	assert_false(took);
	assert_int_equal(refused, 1);
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
	begin(&fake, 1);
	receive(&fake, "GET /events HTTP/1.1\r\n\r\n");
	assert_int_equal(server.count_pending, 0);
	assert_int_equal(http_from(kept)->nclients, 1);
	http_response_stream(&response, 200, "text/event-stream");
	http_begin(kept, &response);
	head = fake.sent_len;
	now += 100 * HTTP_READ_MS;
	for (int i = 0; i < 5; i++)
		begin(&others[i], 1);
	http_server_tick(&server);
	assert_false(fake.dropped);

	assert_true(http_ready(kept));
	fake.room = 2;
	assert_true(http_write(kept, (const uint8_t *) "abc", 3));
	assert_false(http_ready(kept));
	fake.base.events->writable(fake.base.owner);
	assert_int_equal(writable, 0);
	fake_take(&fake, 100);
	assert_int_equal(writable, 1);
	assert_true(http_ready(kept));
	assert_string_equal(fake.sent + head, "abc");
	http_wake(kept);
	assert_true(fake.woken);

	fake.room = 1;
	assert_true(http_write(kept, (const uint8_t *) "xyz", 3));
	http_finish(kept);
	assert_false(fake.finished);
	fake_take(&fake, 100);
	assert_true(fake.finished);
	assert_string_equal(fake.sent + head, "abcxyz");
	fake_lose(&fake);
	assert_int_equal(closed, 0);
	assert_int_equal(writable, 1);
}

/* The owner of a kept connection learns of its end, and may answer later. */
static void
test_kept(void **state)
{
	HttpResponse response;
	static Fake fake;

	(void) state;
	begin(&fake, 1);
	receive(&fake, "GET /events HTTP/1.1\r\n\r\n");
	fake_lose(&fake);
	assert_int_equal(closed, 1);

	begin(&fake, 1);
	receive(&fake, "GET /events HTTP/1.1\r\n\r\n");
	fake.broken = true;
	assert_false(http_write(kept, (const uint8_t *) "abc", 3));
	assert_true(fake.dropped);
	assert_int_equal(closed, 1);
	fake_lose(&fake);
	assert_int_equal(closed, 2);

	begin(&fake, 1);
	receive(&fake, "GET /events HTTP/1.1\r\n\r\n");
	http_response_json(&response, 200, json_true());
	http_respond(kept, &response);
	assert_string_equal(fake.sent + fake.sent_len - 4, "true");
	assert_true(fake.finished);
	fake_lose(&fake);

	begin(&fake, 1);
	receive(&fake, "GET /events HTTP/1.1\r\n\r\n");
	http_drop(kept);
	assert_true(fake.dropped);
	assert_int_equal(closed, 2);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_answers),   TEST(test_large),  TEST(test_body),   TEST(test_time),
		TEST(test_babble),    TEST(test_slow),   TEST(test_broken), TEST(test_evict),
		TEST(test_take_over), TEST(test_stream), TEST(test_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
