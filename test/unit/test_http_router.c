/* Finding a request's route, and writing responses. */
#include "unit.h"

#include "gateway/http/http_response.h"
#include "gateway/http/http_router.h"

static void
handler(struct HttpConnection *connection, HttpRequest *request, void *arg)
{
	(void) connection;
	(void) request;
	(void) arg;
}

static const HttpRoute routes[] = {
	{.methods = HTTP_GET | HTTP_HEAD, .path = "/", .handler = handler},
	{.methods = HTTP_GET, .path = "/client.js", .handler = handler},
	{.methods = HTTP_POST, .path = "/send/*", .handler = handler, .max_body = 10},
	{.methods = HTTP_GET, .path = "/rpc/*", .handler = handler},
	{.methods = HTTP_POST, .path = "/rpc/*", .handler = handler},
	{.methods = HTTP_DELETE, .path = "/a/*/b/*", .handler = handler},
};

/* The same, and two for all other paths. */
static const HttpRoute with_any[] = {
	{.methods = HTTP_GET, .path = "/client.js", .handler = handler},
	{.methods = HTTP_POST, .path = "/rpc/*", .handler = handler, .api = true},
	{.methods = HTTP_GET | HTTP_DELETE, .path = "**", .handler = handler, .api = true},
	{.methods = HTTP_POST, .path = "**", .handler = handler, .max_body = 10, .api = true},
};

static HttpRequest request;
static HttpMatch match;

/* Return the number of the route in a table, or -1. */
static int
find_in(const HttpRoute *table, size_t count, unsigned method, const char *path)
{
	static char copy[600];

	snprintf(copy, sizeof(copy), "%s", path);
	request = (HttpRequest){.method = method, .path = {.data = copy, .len = strlen(copy)}};
	match = http_router_find(table, count, &request, NULL);
	return match.route != NULL ? (int) (match.route - table) : -1;
}

static int
find(unsigned method, const char *path)
{
	return find_in(routes, UNIT_COUNT(routes), method, path);
}

static int
find_any(unsigned method, const char *path)
{
	return find_in(with_any, UNIT_COUNT(with_any), method, path);
}

static void
test_found(void **state)
{
	(void) state;
	assert_int_equal(find(HTTP_GET, "/"), 0);
	assert_int_equal(find(HTTP_HEAD, "/"), 0);
	assert_int_equal(find(HTTP_GET, "/client.js"), 1);
	assert_null(request.captures[0].data);
	assert_int_equal(find(HTTP_POST, "/send/a%2fb%20c"), 2);
	assert_true(http_slice_is(request.captures[0], "a/b c"));
	assert_null(request.captures[1].data);
	assert_true(http_slice_is(request.path, "/send/a%2fb%20c"));
	assert_int_equal(find(HTTP_GET, "/rpc/f"), 3);
	assert_int_equal(find(HTTP_POST, "/rpc/f"), 4);
	assert_int_equal(find(HTTP_DELETE, "/a/x/b/yy"), 5);
	assert_true(http_slice_is(request.captures[0], "x"));
	assert_true(http_slice_is(request.captures[1], "yy"));
}

static void
test_not_found(void **state)
{
	char large[600];
	static const char *const none[] = {
		"//",      "/client.js/", "/Client.js", "/client%2ejs", "/send",    "/send/",
		"/send//", "/send/a/",    "/send/a/b",  "/sendx/a",     "/send/%",  "/send/%2",
		"/a/x/b",  "/a//b/y",     "/a/x/c/y",   "/a/x/b/y/z",   "/client.j"};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(none); i++)
	{
		for (unsigned method = 1; method < 1u << HTTP_METHODS; method *= 2)
			if (find(method, none[i]) >= 0)
				fail_msg("found: %s", none[i]);
		(void) find(HTTP_POST, none[i]);
		assert_int_equal(match.allowed, 0);
	}
	snprintf(large, sizeof(large), "/send/%0512d", 1);
	assert_int_equal(find(HTTP_POST, large), 2);
	snprintf(large, sizeof(large), "/send/%0513d", 1);
	assert_int_equal(find(HTTP_POST, large), -1);
	assert_int_equal(match.allowed, 0);
	snprintf(large, sizeof(large), "/a/%0256d/b/%0256d", 1, 2);
	assert_int_equal(find(HTTP_DELETE, large), 5);
	snprintf(large, sizeof(large), "/a/%0256d/b/%0257d", 1, 2);
	assert_int_equal(find(HTTP_DELETE, large), -1);
}

static void
test_methods(void **state)
{
	char text[HTTP_ROUTER_METHODS];

	(void) state;
	assert_int_equal(find(HTTP_POST, "/"), -1);
	http_router_methods(match.allowed, text);
	assert_string_equal(text, "GET, HEAD");
	assert_int_equal(find(HTTP_DELETE, "/rpc/f"), -1);
	http_router_methods(match.allowed, text);
	assert_string_equal(text, "GET, POST");
	assert_int_equal(find(0, "/client.js"), -1);
	assert_int_equal(match.allowed, HTTP_GET);
	assert_false(match.api);
	http_router_methods((1u << HTTP_METHODS) - 1, text);
	assert_string_equal(text, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
	http_router_methods(0, text);
	assert_string_equal(text, "");
}

/* "**" has every path that no other route has, and its handler gets the whole path. */
static void
test_any(void **state)
{
	(void) state;
	assert_int_equal(find_any(HTTP_GET, "/notes/2/"), 2);
	assert_true(http_slice_is(request.path, "/notes/2/"));
	assert_int_equal(find_any(HTTP_GET, "/"), 2);
	assert_int_equal(find_any(HTTP_POST, "/a%2fb//"), 3);
	assert_true(http_slice_is(request.path, "/a%2fb//"));
	assert_true(match.api);
	assert_int_equal(find_any(HTTP_GET, "/client.js"), 0);
	assert_false(match.api);
	assert_int_equal(find_any(HTTP_POST, "/client.js"), -1);
	assert_int_equal(match.allowed, HTTP_GET);
	assert_int_equal(find_any(HTTP_GET, "/rpc/f"), -1);
	assert_int_equal(match.allowed, HTTP_POST | HTTP_OPTIONS);
	assert_int_equal(find_any(HTTP_OPTIONS, "/notes/"), -1);
	assert_int_equal(match.allowed, HTTP_GET | HTTP_DELETE | HTTP_POST | HTTP_OPTIONS);
	assert_int_equal(find_any(HTTP_POST, "/rpc/%"), -1);
	assert_int_equal(match.allowed, 0);
}

static char out[HTTP_RESPONSE_HEAD + 4096];

static const char *
written(HttpResponse *response, HttpFraming framing)
{
	size_t body_len;
	size_t len = http_response_head(response, framing, out, &body_len);

	assert_between(len, 1, HTTP_RESPONSE_HEAD);
	assert_between(len + body_len, 1, sizeof(out) - 1);
	if (body_len > 0)
		memcpy(out + len, response->body, body_len);
	out[len + body_len] = '\0';
	http_response_release(response);
	return out;
}

static const HttpFraming closing;
static const HttpFraming staying = {.keep_alive = true};

static void
test_text(void **state)
{
	HttpResponse response;
	char large[2000];

	(void) state;
	http_response_text(&response, 405, "only %s", "GET");
	assert_true(http_response_header(&response, "Allow", "GET"));
	assert_string_equal(
		written(&response, closing),
		"HTTP/1.1 405 Method Not Allowed\r\n"
		"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 9\r\nConnection: close\r\n"
		"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nAllow: GET\r\n"
		"\r\nonly GET\n");
	http_response_text(&response, 200, "ok");
	assert_non_null(strstr(written(&response, (HttpFraming){.head_only = true}),
						   "Content-Length: 3\r\nConnection: close\r\n"));
	assert_string_equal(strstr(out, "\r\n\r\n"), "\r\n\r\n");
	http_response_text(&response, 200, "ok");
	assert_non_null(strstr(written(&response, staying),
						   "\r\nConnection: keep-alive\r\nKeep-Alive: timeout=60\r\n"));
	memset(large, 'y', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	http_response_text(&response, 200, "%s", large);
	assert_int_equal(response.body[response.body_len - 1], '\n');
	http_response_release(&response);
}

/* A line of text becomes JSON, another body does not. */
static void
test_message(void **state)
{
	HttpResponse response;

	(void) state;
	http_response_text(&response, 400, "a \"b\" \xc3\xa9");
	assert_true(http_response_header(&response, "A", "b"));
	http_response_message(&response);
	assert_non_null(strstr(written(&response, closing), "400 Bad Request\r\nContent-Type: "
														"application/json\r\nContent-Length: 24"));
	assert_non_null(strstr(out, "\r\nA: b\r\n\r\n{\"message\":\"a \\\"b\\\" \xc3\xa9\"}"));
	http_response_text(&response, 400, "\xff");
	http_response_message(&response);
	assert_memory_equal(written(&response, closing), "HTTP/1.1 500 ", 13);
	http_response_json(&response, 400, json_pack("{s:i}", "detail", 1));
	http_response_message(&response);
	assert_non_null(strstr(written(&response, closing), "\r\n\r\n{\"detail\":1}"));
}

static void
test_bodies(void **state)
{
	HttpResponse response;

	(void) state;
	http_response_json(&response, 200, json_pack("{s:[i]}", "a", 1));
	assert_non_null(strstr(written(&response, closing), "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(out, "\r\nContent-Length: 9\r\n"));
	assert_string_equal(strstr(out, "\r\n\r\n"), "\r\n\r\n{\"a\":[1]}");

	http_response_bytes(&response, 200, "text/javascript", "a\0b", 3);
	response.cache_control = "max-age=60";
	assert_non_null(strstr(written(&response, closing), "\r\nCache-Control: max-age=60\r\n"));
	assert_memory_equal(strstr(out, "\r\n\r\n") + 4, "a\0b", 3);
	http_response_bytes(&response, 200, NULL, "ab", 2);
	response.cache_control = NULL;
	assert_string_equal(written(&response, closing),
						"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n"
						"X-Content-Type-Options: nosniff\r\n\r\nab");
}

/* RFC 9110, 8.6 and 15.4.5; RFC 9112, 6.3. */
static void
test_no_body(void **state)
{
	static const int statuses[] = {204, 304};
	HttpResponse response;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(statuses); i++)
	{
		http_response_bytes(&response, statuses[i], "text/plain", "abc", 3);
		assert_null(strstr(written(&response, staying), "\r\nContent-"));
		assert_string_equal(strstr(out, "\r\n\r\n"), "\r\n\r\n");
		http_response_stream(&response, statuses[i], "text/plain");
		assert_null(strstr(written(&response, (HttpFraming){.chunked = true}), "Transfer-"));
	}
}

static void
test_stream(void **state)
{
	HttpResponse response;

	(void) state;
	http_response_stream(&response, 200, "text/event-stream");
	assert_null(strstr(written(&response, closing), "Content-Length"));
	assert_null(strstr(out, "Transfer-Encoding"));
	assert_string_equal(strstr(out, "\r\n\r\n"), "\r\n\r\n");
	http_response_stream(&response, 200, "text/event-stream");
	assert_non_null(strstr(written(&response, (HttpFraming){.chunked = true, .keep_alive = true}),
						   "\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n"));
	assert_null(strstr(out, "Content-Length"));
}

/* No value can begin another header. */
static void
test_headers(void **state)
{
	HttpResponse response;
	char large[HTTP_RESPONSE_HEADERS];
	int n = 0;

	(void) state;
	http_response_text(&response, 200, "ok");
	assert_false(http_response_header(&response, "A", "b\r\nC: d"));
	assert_false(http_response_header(&response, "A", "b\n"));
	assert_false(http_response_header(&response, "A", "\x7f"));
	memset(large, 'y', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	assert_false(http_response_header(&response, "A", large));
	assert_true(http_response_header(&response, "A", "b\tc"));
	assert_non_null(strstr(written(&response, closing), "nosniff\r\nA: b\tc\r\n\r\nok"));

	/* As many as there is room for, and the longest of all else. */
	http_response_text(&response, 431, "ok");
	response.content_type = response.cache_control = large;
	while (http_response_header(&response, "Name", "0123456789"))
		n++;
	assert_int_equal(n, HTTP_RESPONSE_HEADERS / strlen("Name: 0123456789\r\n"));
	(void) written(&response, staying);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),   cmocka_unit_test(test_not_found),
		cmocka_unit_test(test_methods), cmocka_unit_test(test_any),
		cmocka_unit_test(test_text),    cmocka_unit_test(test_message),
		cmocka_unit_test(test_bodies),  cmocka_unit_test(test_no_body),
		cmocka_unit_test(test_stream),  cmocka_unit_test(test_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
