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

static HttpRequest request;
static unsigned allowed;

/* Return the number of the route, or -1. */
static int
find(unsigned method, const char *path)
{
	static char copy[256];
	const HttpRoute *route;

	snprintf(copy, sizeof(copy), "%s", path);
	request = (HttpRequest){.method = method, .path = {.data = copy, .len = strlen(copy)}};
	route = http_router_find(routes, UNIT_COUNT(routes), &request, &allowed);
	return route != NULL ? (int) (route - routes) : -1;
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
	assert_int_equal(find(HTTP_GET, "/rpc/f"), 3);
	assert_int_equal(find(HTTP_POST, "/rpc/f"), 4);
	assert_int_equal(find(HTTP_DELETE, "/a/x/b/yy"), 5);
	assert_true(http_slice_is(request.captures[0], "x"));
	assert_true(http_slice_is(request.captures[1], "yy"));
}

static void
test_not_found(void **state)
{
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
		assert_int_equal(allowed, 0);
	}
}

static void
test_methods(void **state)
{
	char text[HTTP_ROUTER_METHODS];

	(void) state;
	assert_int_equal(find(HTTP_POST, "/"), -1);
	http_router_methods(allowed, text);
	assert_string_equal(text, "GET, HEAD");
	assert_int_equal(find(HTTP_DELETE, "/rpc/f"), -1);
	http_router_methods(allowed, text);
	assert_string_equal(text, "GET, POST");
	assert_int_equal(find(0, "/client.js"), -1);
	assert_int_equal(allowed, HTTP_GET);
	http_router_methods((1u << HTTP_METHODS) - 1, text);
	assert_string_equal(text, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
	http_router_methods(0, text);
	assert_string_equal(text, "");
}

static char out[4096];

static const char *
written(HttpResponse *response, bool head_only)
{
	size_t size = http_response_write(response, head_only, NULL, 0);

	assert_between(size, 1, sizeof(out) - 1);
	memset(out, 'x', sizeof(out));
	assert_int_equal(http_response_write(response, head_only, out, size - 1), size);
	assert_int_equal(out[0], 'x');
	assert_int_equal(http_response_write(response, head_only, out, size), size);
	out[size] = '\0';
	http_response_release(response);
	return out;
}

static void
test_text(void **state)
{
	HttpResponse response;
	char large[2000];

	(void) state;
	http_response_text(&response, 405, "only %s", "GET");
	assert_true(http_response_header(&response, "Allow", "GET"));
	assert_string_equal(
		written(&response, false),
		"HTTP/1.1 405 Method Not Allowed\r\n"
		"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 9\r\n"
		"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nAllow: GET\r\n"
		"Connection: close\r\n\r\nonly GET\n");
	http_response_text(&response, 200, "ok");
	assert_non_null(strstr(written(&response, true), "Content-Length: 3\r\n"));
	assert_string_equal(strstr(out, "\r\n\r\n"), "\r\n\r\n");
	memset(large, 'y', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	http_response_text(&response, 200, "%s", large);
	assert_int_equal(response.body[response.body_len - 1], '\n');
	http_response_release(&response);
}

static void
test_bodies(void **state)
{
	HttpResponse response;

	(void) state;
	http_response_json(&response, 200, json_pack("{s:[i]}", "a", 1));
	assert_non_null(strstr(written(&response, false), "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(out, "\r\nContent-Length: 9\r\n"));
	assert_string_equal(strstr(out, "\r\n\r\n"), "\r\n\r\n{\"a\":[1]}");

	http_response_bytes(&response, 200, "text/javascript", "a\0b", 3);
	response.cache_control = "max-age=60";
	assert_non_null(strstr(written(&response, false), "\r\nCache-Control: max-age=60\r\n"));
	assert_memory_equal(strstr(out, "\r\n\r\n") + 4, "a\0b", 3);

	http_response_bytes(&response, 204, "text/plain", NULL, 0);
	assert_null(strstr(written(&response, false), "Content-Length"));

	http_response_stream(&response, 200, "text/event-stream");
	assert_null(strstr(written(&response, false), "Content-Length"));
	assert_string_equal(strstr(out, "\r\n\r\n"), "\r\n\r\n");
}

/* No value can begin another header. */
static void
test_headers(void **state)
{
	HttpResponse response;
	char large[HTTP_RESPONSE_HEADERS];

	(void) state;
	http_response_text(&response, 200, "ok");
	assert_false(http_response_header(&response, "A", "b\r\nC: d"));
	assert_false(http_response_header(&response, "A", "b\n"));
	assert_false(http_response_header(&response, "A", "\x7f"));
	memset(large, 'y', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	assert_false(http_response_header(&response, "A", large));
	assert_true(http_response_header(&response, "A", "b\tc"));
	assert_non_null(strstr(written(&response, false), "nosniff\r\nA: b\tc\r\nConnection"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),   cmocka_unit_test(test_not_found),
		cmocka_unit_test(test_methods), cmocka_unit_test(test_text),
		cmocka_unit_test(test_bodies),  cmocka_unit_test(test_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
