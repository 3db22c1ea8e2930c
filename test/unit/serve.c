/* An HTTP server with a few routes, whose transports and clock a test controls. */
#include "serve.h"

HttpServer serve_server;
uint64_t serve_now;
uint64_t serve_refused[WIRE_REFUSALS];
HttpConnection *serve_kept;
HttpRequest *serve_request;
HttpTaken serve_taken;
bool serve_took;
char serve_body[100001];
size_t serve_body_len;
int serve_handled;
int serve_writable;
int serve_closed;

static uint64_t
clock_now(void)
{
	return serve_now;
}

static void
owner_writable(void *owner)
{
	assert_ptr_equal(owner, &serve_kept);
	serve_writable++;
}

static void
owner_closed(void *owner)
{
	assert_ptr_equal(owner, &serve_kept);
	serve_closed++;
}

static const HttpOwner owner_events = {
	.writable = owner_writable, .closed = owner_closed, .half_closed = true};
static const HttpOwner stream_events = {.writable = owner_writable, .closed = owner_closed};

static void
handle_text(HttpConnection *connection, HttpRequest *request, void *arg)
{
	HttpResponse response;

	(void) arg;
	serve_handled++;
	assert_between(request->body.len, 0, sizeof(serve_body) - 1);
	serve_body_len = request->body.len;
	if (serve_body_len > 0)
		memcpy(serve_body, request->body.data, serve_body_len);
	serve_body[serve_body_len] = '\0';
	http_response_text(&response, 200, "ok");
	http_respond(connection, &response);
}

static void
handle_keep(HttpConnection *connection, HttpRequest *request, void *arg)
{
	(void) arg;
	serve_handled++;
	serve_kept = connection;
	serve_request = request;
	http_keep(connection, http_slice_is(request->path, "/keep") ? &owner_events : &stream_events,
			  &serve_kept);
}

static void
handle_release(HttpConnection *connection, HttpRequest *request, void *arg)
{
	serve_respond(200, "ok");
	assert_true(http_slice_is(request->path, "/release"));
	handle_text(connection, request, arg);
}

static void
handle_take(HttpConnection *connection, HttpRequest *request, void *arg)
{
	(void) request;
	(void) arg;
	serve_handled++;
	serve_took = http_take_over(connection, &serve_taken);
}

static void
handle_large(HttpConnection *connection, HttpRequest *request, void *arg)
{
	static char large[1024 * 1024];
	HttpResponse response;

	(void) request;
	(void) arg;
	serve_handled++;
	http_response_bytes(&response, 200, NULL, large, sizeof(large));
	http_respond(connection, &response);
}

static const HttpRoute routes[] = {
	{.methods = HTTP_GET, .path = "/text", .handler = handle_text},
	{.methods = HTTP_POST, .path = "/send", .handler = handle_text, .max_body = 10},
	{.methods = HTTP_GET | HTTP_HEAD, .path = "/keep", .handler = handle_keep},
	{.methods = HTTP_GET, .path = "/stream", .handler = handle_keep},
	{.methods = HTTP_GET, .path = "/release", .handler = handle_release},
	{.methods = HTTP_GET, .path = "/ws", .handler = handle_take},
	{.methods = HTTP_GET, .path = "/large", .handler = handle_large},
	{.methods = HTTP_GET | HTTP_HEAD | HTTP_POST,
	 .path = "/api",
	 .handler = handle_text,
	 .max_body = 100000,
	 .api = true},
	{.methods = HTTP_GET | HTTP_HEAD | HTTP_POST,
	 .path = "/api/*",
	 .handler = handle_text,
	 .max_body = 100000,
	 .api = true},
	{.methods = HTTP_DELETE, .path = "/api/*", .handler = handle_keep, .api = true},
};

static bool
admit(const HttpConnection *connection, const HttpRequest *request, const HttpMatch *match,
	  void *arg, HttpResponse *response)
{
	(void) connection;
	(void) match;
	(void) arg;
	if (!http_request_header_has(request, "x", "no", false))
		return true;
	http_response_text(response, 403, "no");
	return false;
}

static void
complete(const HttpRequest *request, const HttpMatch *match, void *arg, HttpResponse *response)
{
	(void) request;
	(void) arg;
	if (match->api)
		assert_true(http_response_header(response, "Api", "yes"));
}

int
serve_setup(void **state)
{
	(void) state;
	serve_now = 1000;
	memset(serve_refused, 0, sizeof(serve_refused));
	serve_handled = serve_writable = serve_closed = 0;
	serve_took = false;
	serve_body[0] = '\0';
	serve_server = (HttpServer){
		.now = clock_now,
		.routes = routes,
		.nroutes = UNIT_COUNT(routes),
		.unknown_path = "nothing there",
		.admit = admit,
		.complete = complete,
		.refused = serve_refused,
		.max_pending = 3,
		.max_memory = 10 * 1024 * 1024,
	};
	http_server_init(&serve_server);
	return 0;
}

int
serve_teardown(void **state)
{
	(void) state;
	http_server_stop(&serve_server);
	assert_int_equal(serve_server.count_pending, 0);
	assert_int_equal(serve_server.count_kept, 0);
	assert_int_equal(serve_server.memory, 0);
	assert_false(http_server_waits(&serve_server));
	assert_true(RB_EMPTY(&serve_server.addresses.all));
	return 0;
}

void
serve_begin(Fake *fake, uint8_t address)
{
	fake_init(fake, address);
	http_server_accept(&serve_server, &fake->base);
}

void
serve_receive(Fake *fake, const char *text)
{
	fake_receive(fake, text, strlen(text));
}

const char *
serve_answer(const char *request)
{
	static Fake fake;

	serve_begin(&fake, 1);
	serve_receive(&fake, request);
	if (fake.sent_len > 0 && fake.base.owner != NULL)
		fake_lose(&fake);
	return fake.sent;
}

void
serve_respond(int status, const char *text)
{
	HttpResponse response;

	http_response_text(&response, status, "%s", text);
	http_respond(serve_kept, &response);
}

int
serve_count(const Fake *fake, const char *text)
{
	int count = 0;

	for (const char *p = fake->sent; (p = strstr(p, text)) != NULL; p++)
		count++;
	return count;
}
