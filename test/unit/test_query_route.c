/* HTTP requests that workers execute: with a transport, a clock and a worker that the test controls. */
#include "serve.h"

#include "gateway/routes/routes.h"

static Config config;
static Limiter limiter;
static Hub hub;
static Sessions sessions;
static Routes routes;
static Database *database;
static PoolWorker *worker;
static WireMessage sent; /* the last frame to the worker */
static char sent_texts[8192];
static int queries;
static int cancels;
static int wanted;

static uint64_t
clock_now(void)
{
	return serve_now;
}

static const SessionIo io;
static const SessionIo *const kinds[SESSION_KINDS] = {&io};

/* Keep a text of a frame for the test. */
static void
keep(WireBytes *bytes, size_t *used)
{
	assert_between(*used + bytes->len + 1, 0, sizeof(sent_texts));
	memcpy(sent_texts + *used, bytes->data, bytes->len);
	sent_texts[*used + bytes->len] = '\0';
	bytes->data = sent_texts + *used;
	*used += bytes->len + 1;
}

static void
pools_send(void *link, const WireMessage *message)
{
	size_t used = 0;

	assert_ptr_equal(link, &worker);
	if (message->type == WIRE_QUERY_CANCEL)
	{
		cancels++;
		return;
	}
	assert_int_equal(message->type, WIRE_QUERY);
	queries++;
	sent = *message;
	keep(&sent.u.query.token, &used);
	keep(&sent.u.query.method, &used);
	keep(&sent.u.query.path, &used);
	keep(&sent.u.query.query, &used);
	keep(&sent.u.query.headers, &used);
	keep(&sent.u.query.name, &used);
	keep(&sent.u.query.body, &used);
}

static void
pools_want(WireBytes name)
{
	(void) name;
	wanted++;
}

static void
pools_drop(void *link)
{
	(void) link;
}

static int
setup(void **state)
{
	static char postgres[] = "postgres";
	static char none[] = "";
	static char localhost[] = "localhost";
	WireHello hello = {.database = {.data = "postgres", .len = 8}};
	WireAsleep asleep = {.database = hello.database};

	serve_setup(state);
	serve_server.max_pending = 10;
	queries = cancels = wanted = 0;
	config = (Config){.anonymous = true,
					  .trusted_proxies = "",
					  .endpoints = "",
					  .max_clients = 4,
					  .max_per_address = 3,
					  .database = postgres,
					  .origins = none,
					  .listen_addresses = localhost};
	sessions_init(&sessions, clock_now, kinds, &config, &hub_session_events, &hub);
	hub_init(&hub, NULL, &sessions);
	hub.pools =
		(Pools){.now = clock_now, .send = pools_send, .want = pools_want, .drop = pools_drop};
	limiter = (Limiter){.now = clock_now};
	limiter_init(&limiter);
	routes = (Routes){.config = &config, .hub = &hub, .sessions = &sessions, .limiter = &limiter};
	routes_init(&serve_server, &routes);
	/* It has no feed. */
	hub_asleep(&hub, &asleep);
	database = hub_find(&hub, "postgres", 8);
	worker = hub_worker(&hub, &hello, &worker);
	return 0;
}

static int
teardown(void **state)
{
	hub_free(&hub);
	limiter_free(&limiter);
	assert_int_equal(routes.queries.count, 0);
	assert_false(routes_wait(&routes));
	return serve_teardown(state);
}

static bool
text_is(WireBytes bytes, const char *text)
{
	return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

#define assert_text(bytes, text) assert_true(text_is(bytes, text))

static WireBytes
wire(const char *text)
{
	return (WireBytes){.data = text, .len = (uint32_t) strlen(text)};
}

static void
answer(uint16_t status, const char *body)
{
	WireMessage message = {.type = WIRE_RESULT};

	message.u.result.request = sent.u.query.request;
	message.u.result.status = status;
	message.u.result.body = wire(body);
	assert_true(pool_message(worker, &message));
}

static void
fail_with(WireQueryReason reason, const char *sqlstate)
{
	WireMessage message = {.type = WIRE_FAILED};

	message.u.failed.request = sent.u.query.request;
	message.u.failed.reason = (uint8_t) reason;
	message.u.failed.sqlstate = wire(sqlstate);
	message.u.failed.message = wire("so \"it\" is");
	message.u.failed.hint = wire("don't");
	assert_true(pool_message(worker, &message));
}

static Fake fake;

/* Send a request on a new connection, and return what is answered at once. */
static const char *
ask(const char *request)
{
	serve_begin(&fake, 1);
	serve_receive(&fake, request);
	return fake.sent;
}

static const char *
body(void)
{
	return strstr(fake.sent, "\r\n\r\n") + 4;
}

#define assert_begins(text, begin) assert_memory_equal(text, begin, strlen(begin))

static void
test_call(void **state)
{
	WireBytes headers;
	WireBytes name;
	WireBytes value;

	(void) state;
	assert_string_equal(ask("POST /rpc/a%2fb?x=%20 HTTP/1.1\r\nHost: localhost\r\nX-One: Two\r\n"
							"Authorization: Bearer a.b.c\r\nCookie: c\r\nX-Bad: \xff\r\n"
							"Content-Type: Application/JSON; charset=utf-8\r\n"
							"Content-Length: 7\r\n\r\n{\"a\":1}"),
						"");
	assert_int_equal(queries, 1);
	assert_int_equal(sent.u.query.kind, WIRE_QUERY_CALL);
	assert_false(sent.u.query.read_only);
	assert_text(sent.u.query.name, "a/b");
	assert_text(sent.u.query.token, "a.b.c");
	assert_text(sent.u.query.method, "POST");
	assert_text(sent.u.query.path, "/rpc/a%2fb");
	assert_text(sent.u.query.query, "x=%20");
	assert_text(sent.u.query.body, "{\"a\":1}");
	headers = sent.u.query.headers;
	assert_true(wire_list_next(&headers, &name));
	assert_true(wire_list_next(&headers, &value));
	assert_text(name, "host");
	assert_text(value, "localhost");
	assert_true(wire_list_next(&headers, &name));
	assert_true(wire_list_next(&headers, &value));
	assert_text(name, "x-one");
	assert_text(value, "Two");
	assert_true(wire_list_next(&headers, &name));
	assert_true(wire_list_next(&headers, &value));
	assert_text(name, "content-type");
	assert_true(wire_list_next(&headers, &name));
	assert_true(wire_list_next(&headers, &value));
	assert_text(name, "content-length");
	assert_false(wire_list_next(&headers, &name));
	assert_true(routes_wait(&routes));
	answer(0, "[1]");
	assert_begins(fake.sent, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n");
	assert_string_equal(body(), "[1]");

	/* The connection is used again. */
	fake.sent_len = 0;
	serve_receive(&fake, "POST /rpc/f HTTP/1.1\r\nHost: localhost\r\n\r\n");
	assert_int_equal(queries, 2);
	assert_text(sent.u.query.body, "");
	assert_text(sent.u.query.token, "");
	answer(204, "null");
	assert_non_null(strstr(fake.sent, "HTTP/1.1 204 No Content\r\n"));
	assert_string_equal(strstr(strstr(fake.sent, " 204 "), "\r\n\r\n"), "\r\n\r\n");
	fake_lose(&fake);
}

static void
test_read(void **state)
{
	(void) state;
	ask("GET /rpc/f?a=1&b=x+y%2B&a=2&a=3&access_token=t.t.t&database=postgres HTTP/1.1\r\n"
		"Host: localhost\r\n\r\n");
	assert_true(sent.u.query.read_only);
	assert_text(sent.u.query.body, "{\"a\":[\"1\",\"2\",\"3\"],\"b\":\"x y+\"}");
	assert_text(sent.u.query.token, "t.t.t");
	answer(0, "true");
	assert_string_equal(body(), "true");
	fake_lose(&fake);
	ask("HEAD /rpc/f HTTP/1.1\r\nHost: localhost\r\n\r\n");
	assert_text(sent.u.query.method, "HEAD");
	assert_text(sent.u.query.body, "{}");
	answer(0, "true");
	assert_non_null(strstr(fake.sent, "Content-Length: 4\r\n"));
	assert_string_equal(body(), "");
	fake_lose(&fake);
}

static void
test_arguments(void **state)
{
	static const char *const bad[] = {"a=%", "%zz=1", "a=%ff", "a=%00", "a=1&%c0%80=2"};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
	{
		char request[200];

		snprintf(request, sizeof(request), "GET /rpc/f?%s HTTP/1.1\r\nHost: localhost\r\n\r\n",
				 bad[i]);
		assert_begins(ask(request), "HTTP/1.1 400 ");
		fake_lose(&fake);
	}
	assert_int_equal(queries, 0);
}

/* Return how many requests were refused for any reason. */
static uint64_t
refused(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < WIRE_REFUSALS; i++)
		sum += sessions.stats.refused[i];
	return sum;
}

static void
test_send(void **state)
{
	(void) state;
	ask("POST /send/news HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n12");
	assert_int_equal(sent.u.query.kind, WIRE_QUERY_SEND);
	assert_text(sent.u.query.name, "news");
	assert_text(sent.u.query.body, "12");
	answer(0, "{}");
	assert_string_equal(body(), "{}");
	fake_lose(&fake);
	assert_begins(ask("GET /send/news HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP/1.1 405 ");
	fake_lose(&fake);
	/* Nothing of that was refused for a reason that is counted. */
	assert_int_equal(refused(), 0);
}

static void
test_refused(void **state)
{
	(void) state;
	assert_begins(ask("POST /rpc/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
					  "Content-Type: application/x-www-form-urlencoded\r\n\r\na="),
				  "HTTP/1.1 415 ");
	fake_lose(&fake);
	assert_begins(ask("POST /rpc/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n\"\xff"),
				  "HTTP/1.1 400 ");
	fake_lose(&fake);
	assert_begins(ask("POST /rpc/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n"),
				  "HTTP/1.1 413 ");
	fake_lose(&fake);
	assert_begins(ask("POST /rpc/%ff HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP/1.1 404 ");
	fake_lose(&fake);
	assert_begins(ask("GET /rpc/f?database=other HTTP/1.1\r\nHost: localhost\r\n\r\n"),
				  "HTTP/1.1 503 ");
	assert_non_null(strstr(fake.sent, "\r\nRetry-After: 1\r\n"));
	fake_lose(&fake);
	assert_begins(ask("GET /rpc/f HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic x\r\n\r\n"),
				  "HTTP/1.1 401 ");
	fake_lose(&fake);
	config.anonymous = false;
	assert_begins(ask("GET /rpc/f HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP/1.1 401 ");
	assert_non_null(strstr(fake.sent, "\r\nWWW-Authenticate: Bearer\r\n"));
	fake_lose(&fake);
	assert_int_equal(sessions.stats.refused[WIRE_REFUSED_DATABASE], 1);
	assert_int_equal(sessions.stats.refused[WIRE_REFUSED_TOKEN], 2);
	assert_int_equal(refused(), 3);
	assert_int_equal(queries, 0);
}

static void
test_failed(void **state)
{
	(void) state;
	ask("POST /rpc/f HTTP/1.1\r\nHost: localhost\r\n\r\n");
	fail_with(WIRE_QUERY_SQL_ERROR, "23505");
	assert_begins(fake.sent, "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\n");
	assert_string_equal(body(), "{\"code\":\"23505\",\"message\":\"so \\\"it\\\" is\","
								"\"details\":null,\"hint\":\"don't\"}");
	fake_lose(&fake);
	ask("POST /rpc/f?access_token=a HTTP/1.1\r\nHost: localhost\r\n\r\n");
	fail_with(WIRE_QUERY_NOT_AUTHENTICATED, "28000");
	assert_begins(fake.sent, "HTTP/1.1 401 ");
	assert_non_null(strstr(fake.sent, "\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\n"));
	fake_lose(&fake);
	ask("POST /rpc/f HTTP/1.1\r\nHost: localhost\r\n\r\n");
	fail_with(WIRE_QUERY_BUSY, "");
	assert_begins(fake.sent, "HTTP/1.1 503 ");
	assert_non_null(strstr(fake.sent, "\r\nRetry-After: 1\r\n"));
	assert_begins(body(), "{\"code\":null,");
	fake_lose(&fake);
	assert_int_equal(refused(), 0);
}

static int
status(WireQueryReason reason, const char *sqlstate, bool anonymous)
{
	WireFailed failed = {.reason = (uint8_t) reason, .sqlstate = wire(sqlstate)};

	return query_route_status(&failed, anonymous);
}

static void
test_statuses(void **state)
{
	(void) state;
	assert_int_equal(status(WIRE_QUERY_NOT_PERMITTED, "42501", true), 401);
	assert_int_equal(status(WIRE_QUERY_NOT_PERMITTED, "42501", false), 403);
	assert_int_equal(status(WIRE_QUERY_NOT_PERMITTED, "25006", false), 405);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "25001", false), 500);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "23503", false), 409);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "23502", false), 400);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "42P01", false), 404);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "42883", false), 404);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "P0001", false), 400);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "P0002", false), 500);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "53300", false), 503);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "53400", false), 500);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "22P02", false), 400);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "PT402", false), 402);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "PT100", false), 500);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "PT4A2", false), 500);
	assert_int_equal(status(WIRE_QUERY_SQL_ERROR, "PT999", false), 500);
	assert_int_equal(status(WIRE_QUERY_TOO_LARGE, "54000", false), 500);
	assert_int_equal(status(WIRE_QUERY_UNKNOWN, "42883", false), 404);
	assert_int_equal(status(WIRE_QUERY_BAD_PARAMETER, "", false), 400);
	assert_int_equal(status(WIRE_QUERY_TIMEOUT, "57014", false), 504);
	assert_int_equal(status(WIRE_QUERY_INTERNAL, "", false), 500);
	assert_int_equal(status(WIRE_QUERY_BUSY, "", false), 503);
	assert_int_equal(status((WireQueryReason) 200, "", false), 500);
}

/* An address whose tokens are refused too often must wait; its other requests need not. */
static void
test_failed_tokens(void **state)
{
	const char *with = "POST /rpc/f?access_token=a HTTP/1.1\r\nHost: localhost\r\n\r\n";

	(void) state;
	config.max_failed_tokens = 2;
	for (int i = 0; i < 2; i++)
	{
		ask(with);
		fail_with(WIRE_QUERY_NOT_AUTHENTICATED, "28000");
		assert_begins(fake.sent, "HTTP/1.1 401 ");
		fake_lose(&fake);
	}
	/* Not the token's fault */
	ask("POST /rpc/f HTTP/1.1\r\nHost: localhost\r\n\r\n");
	fail_with(WIRE_QUERY_NOT_AUTHENTICATED, "28000");
	fake_lose(&fake);
	assert_begins(ask(with), "HTTP/1.1 429 ");
	assert_non_null(strstr(fake.sent, "\r\nRetry-After: 30\r\n"));
	fake_lose(&fake);
	serve_now += 29999;
	assert_begins(ask(with), "HTTP/1.1 429 ");
	fake_lose(&fake);
	assert_int_equal(sessions.stats.refused[WIRE_REFUSED_FAILED_TOKENS_PER_ADDRESS], 2);
	serve_now += 1;
	ask(with);
	answer(0, "{}");
	assert_string_equal(body(), "{}");
	fake_lose(&fake);
}

/* A client that leaves cancels its query; one that only sends no more does not. */
static void
test_closed(void **state)
{
	(void) state;
	ask("POST /rpc/f HTTP/1.1\r\nHost: localhost\r\n\r\n");
	fake_lose(&fake);
	assert_int_equal(cancels, 1);
	assert_int_equal(routes.queries.count, 0);
	fail_with(WIRE_QUERY_CANCELLED, "57014");

	ask("POST /rpc/f HTTP/1.1\r\nHost: localhost\r\n\r\n");
	fake_end(&fake);
	answer(0, "1");
	assert_int_equal(cancels, 1);
	assert_string_equal(body(), "1");
}

/* Requests that wait are clients of their addresses. */
static void
test_bounded(void **state)
{
	static Fake others[4];

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		serve_begin(&others[i], 1);
		serve_receive(&others[i], "POST /rpc/f HTTP/1.1\r\nHost: localhost\r\n\r\n");
		assert_string_equal(others[i].sent, "");
	}
	assert_int_equal(queries, 1);
	assert_begins(ask("POST /rpc/f HTTP/1.1\r\nHost: localhost\r\n\r\n"), "HTTP/1.1 503 ");
	assert_non_null(strstr(fake.sent, "\r\nRetry-After: 1\r\n"));
	fake_lose(&fake);
	serve_begin(&others[3], 2);
	serve_receive(&others[3], "POST /rpc/f HTTP/1.1\r\nHost: localhost\r\n\r\n");
	serve_begin(&fake, 3);
	serve_receive(&fake, "POST /rpc/f HTTP/1.1\r\nHost: localhost\r\n\r\n");
	assert_non_null(strstr(fake.sent, "too many clients"));
	fake_lose(&fake);
	/* They wait only so long. */
	serve_now += POOL_WAIT_MS;
	pool_tick(&database->pool);
	assert_string_equal(others[0].sent, "");
	answer(0, "1");
	for (int i = 0; i < 4; i++)
	{
		assert_begins(others[i].sent, i == 0 ? "HTTP/1.1 200 " : "HTTP/1.1 503 ");
		fake_lose(&others[i]);
	}
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* Clients of one address do not keep out another: addresses take turns. */
static void
test_addresses(void **state)
{
	static const uint8_t addresses[] = {1, 1, 1, 2};
	static const char *const turns[] = {"0", "1", "3", "2"};
	Fake fakes[4];

	(void) state;
	for (int i = 0; i < 4; i++)
	{
		char request[100];

		snprintf(request, sizeof(request), "POST /rpc/%d HTTP/1.1\r\nHost: localhost\r\n\r\n", i);
		serve_begin(&fakes[i], addresses[i]);
		serve_receive(&fakes[i], request);
	}
	for (int i = 0; i < 4; i++)
	{
		assert_int_equal(queries, i + 1);
		assert_text(sent.u.query.name, turns[i]);
		answer(0, "1");
	}
	for (int i = 0; i < 4; i++)
		fake_lose(&fakes[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_call),    TEST(test_read),    TEST(test_arguments),     TEST(test_send),
		TEST(test_refused), TEST(test_failed),  TEST(test_failed_tokens), TEST(test_statuses),
		TEST(test_closed),  TEST(test_bounded), TEST(test_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
