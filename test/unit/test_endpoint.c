/* pg_notifyd.endpoints: paths and formats. */
#include "unit.h"

#include "gateway/routes/routes.h"
#include "wire/endpoint.h"

/* The format of a path, or -1. */
static int
format_of(const char *list, const char *path)
{
	EndpointFormat format;

	return endpoint_find(list, path, strlen(path), &format) ? (int) format : -1;
}

static void
test_find(void **state)
{
	static const char list[] = "/a=payload, /a/b=jsonrpc ,\n/order_events=payload,/ws=jsonrpc";

	(void) state;
	assert_int_equal(format_of(list, "/a"), ENDPOINT_PAYLOAD);
	assert_int_equal(format_of(list, "/a/b"), ENDPOINT_JSONRPC);
	assert_int_equal(format_of(list, "/order_events"), ENDPOINT_PAYLOAD);
	assert_int_equal(format_of(list, "/ws"), ENDPOINT_JSONRPC);
	assert_int_equal(format_of(list, "/order_event"), -1);
	assert_int_equal(format_of(list, "/order_events/"), -1);
	assert_int_equal(format_of(list, "/A"), -1);
	assert_int_equal(format_of(list, "/a=payload"), -1);
	assert_int_equal(format_of("", "/a"), -1);
}

static void
expect_bad(const char *list, const char *entry, const char *problem)
{
	SettingItem item;
	const char *found = endpoint_first_bad(list, &item);

	if (found == NULL || strstr(found, problem) == NULL)
		fail_msg("%s: %s", list, found != NULL ? found : "good");
	assert_int_equal(item.len, strlen(entry));
	assert_memory_equal(item.data, entry, item.len);
}

static void
test_bad(void **state)
{
	static const char path[] = "does not begin with a path";
	static const char name[] = "does not end with";
	static const char own[] = "uses itself";
	char longest[ENDPOINT_MAX_PATH + 16];
	SettingItem item;

	(void) state;
	assert_null(endpoint_first_bad("", &item));
	assert_null(endpoint_first_bad(" , ,", &item));
	assert_null(endpoint_first_bad("/a=payload, /a/b-._~Z9=jsonrpc, /ws=jsonrpc", &item));
	assert_null(endpoint_first_bad("/wsx=payload, /a/events=payload, /rpc.v2=jsonrpc", &item));
	expect_bad("/a=payload, b=payload", "b=payload", path);
	expect_bad("=payload", "=payload", path);
	expect_bad("/a//b=payload", "/a//b=payload", path);
	expect_bad("/a/=payload", "/a/=payload", path);
	expect_bad("/=payload", "/=payload", path);
	expect_bad("/a/../b=payload", "/a/../b=payload", path);
	expect_bad("/.=payload", "/.=payload", path);
	expect_bad("/a%20=payload", "/a%20=payload", path);
	expect_bad("/a b=payload", "/a b=payload", path);
	expect_bad("/a*=payload", "/a*=payload", path);
	expect_bad("\"/a=payload\"", "\"/a=payload\"", path);
	expect_bad("/a", "/a", name);
	expect_bad("/a=", "/a=", name);
	expect_bad("/a=Payload", "/a=Payload", name);
	expect_bad("/a=payload=", "/a=payload=", name);
	expect_bad("/ws=payload", "/ws=payload", "changes the format");
	expect_bad("/ws/a=payload", "/ws/a=payload", own);
	expect_bad("/events=payload", "/events=payload", own);
	expect_bad("/rpc/a=payload", "/rpc/a=payload", own);
	expect_bad("/groups/a=payload", "/groups/a=payload", own);
	expect_bad("/a=payload,/b=jsonrpc,/a=jsonrpc", "/a=jsonrpc", "earlier entry");
	memset(longest, 'a', sizeof(longest));
	longest[0] = '/';
	strcpy(longest + ENDPOINT_MAX_PATH, "=payload");
	assert_null(endpoint_first_bad(longest, &item));
	strcpy(longest + ENDPOINT_MAX_PATH, "a=payload");
	expect_bad(longest, longest, path);
}

static void
test_reserved(void **state)
{
	static const char *const own[] = {"/",        "/ws",      "/ws/",          "/events/x",
									  "/healthz", "/metrics", "/openapi.json", "//a"};
	static const char *const others[] = {"/w", "/wsx", "/orders", "/orders/ws", "/Events"};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(own); i++)
		assert_true(endpoint_is_reserved(own[i], strlen(own[i])));
	for (size_t i = 0; i < UNIT_COUNT(others); i++)
		assert_false(endpoint_is_reserved(others[i], strlen(others[i])));
}

/* The first segment of a route's path is this one. */
static bool
route_is_at(const HttpRoute *route, const char *segment)
{
	size_t len = strlen(segment);

	return route->path != NULL && route->path[0] == '/' &&
		   strncmp(route->path + 1, segment, len) == 0 &&
		   (route->path[1 + len] == '\0' || route->path[1 + len] == '/');
}

/* The gateway's routes and endpoint_own have the same first segments. */
static void
test_routes(void **state)
{
	Config config = {.page = true};
	Routes routes = {.config = &config};
	HttpServer server = {0};
	int others = 0;

	(void) state;
	routes_configure(&server, &routes);
	for (size_t i = 0; i < server.nroutes; i++)
	{
		const char *path = server.routes[i].path;

		if (path == NULL || strcmp(path, "**") == 0)
			others++;
		else if (!endpoint_is_reserved(path, strlen(path)))
			fail_msg("endpoint_own lacks %s", path);
	}
	assert_int_equal(others, 3);
	for (int i = 0; i < ENDPOINT_OWN; i++)
	{
		size_t found = 0;

		while (found < server.nroutes && !route_is_at(&server.routes[found], endpoint_own[i]))
			found++;
		if (found == server.nroutes)
			fail_msg("no route begins with /%s", endpoint_own[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
