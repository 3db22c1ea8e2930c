/*
 * A server for real HTTP clients: the gateway's HTTP server, loop, sockets and sandbox, with routes
 * that the gateway does not have. It listens on a port of 127.0.0.1, which it prints first. It ends
 * with its parent.
 *
 *	GET, HEAD /text				"ok"
 *	POST, PUT /echo				returns the body, at most 1 MB
 *	GET /later?ms=100			"later" after this time
 *	GET /parts?count=10			this many parts of 100,000 bytes, as the client reads them
 *	any /api/...				of the API: the method and the path
 *
 * It prints "gone" for each client that has gone before its answer.
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <uv.h>

#include "gateway/base/memory.h"
#include "gateway/http/http_server.h"
#include "gateway/net/acceptor.h"
#include "gateway/routes/cors.h"
#include "gateway/sandbox/sandbox.h"

#define ECHO_PART 100000

typedef struct Later
{
	uv_timer_t timer;
	HttpConnection *connection;
} Later;

typedef struct Parts
{
	HttpConnection *connection;
	unsigned long left;
} Parts;

static HttpServer server;
static uint64_t refused;
static char part[ECHO_PART];

static uint64_t
echo_now(void)
{
	return uv_now(uv_default_loop());
}

static unsigned long
echo_number(const HttpRequest *request, const char *name)
{
	const HttpParameter *parameter = http_request_parameter(request, name, NULL);
	char text[16] = "";

	if (parameter != NULL && parameter->value.len < sizeof(text))
		memcpy(text, parameter->value.data, parameter->value.len);
	return strtoul(text, NULL, 10);
}

static void
echo_text(HttpConnection *connection, HttpRequest *request, void *arg)
{
	HttpResponse response;

	(void) request;
	(void) arg;
	http_response_text(&response, 200, "ok");
	http_respond(connection, &response);
}

static void
echo_body(HttpConnection *connection, HttpRequest *request, void *arg)
{
	HttpResponse response;

	(void) arg;
	http_response_bytes(&response, 200, "application/octet-stream", request->body.data,
						request->body.len);
	http_respond(connection, &response);
}

static void
echo_api(HttpConnection *connection, HttpRequest *request, void *arg)
{
	HttpResponse response;
	char methods[HTTP_ROUTER_METHODS];

	(void) arg;
	http_router_methods(request->method, methods);
	http_response_json(
		&response, 200,
		json_pack("{s:s, s:s%}", "method", methods, "path", request->path.data, request->path.len));
	http_respond(connection, &response);
}

static void
later_free(uv_handle_t *timer)
{
	free(timer);
}

static void
later_answer(uv_timer_t *timer)
{
	HttpResponse response;

	http_response_text(&response, 200, "later");
	http_respond(((Later *) timer)->connection, &response);
	uv_close((uv_handle_t *) timer, later_free);
}

static void
later_writable(void *owner)
{
	(void) owner;
}

static void
later_closed(void *owner)
{
	uv_close(owner, later_free);
	printf("gone\n");
}

static const HttpOwner later_events = {
	.writable = later_writable, .closed = later_closed, .half_closed = true};

static void
echo_later(HttpConnection *connection, HttpRequest *request, void *arg)
{
	Later *later = memory_zeroed(sizeof(Later));

	(void) arg;
	later->connection = connection;
	(void) uv_timer_init(uv_default_loop(), &later->timer);
	(void) uv_timer_start(&later->timer, later_answer, echo_number(request, "ms"), 0);
	http_keep(connection, &later_events, later);
}

static void
parts_writable(void *owner)
{
	Parts *parts = owner;

	while (parts->left > 0 && http_ready(parts->connection))
	{
		parts->left--;
		if (!http_write(parts->connection, (const uint8_t *) part, sizeof(part)))
			return;
	}
	if (parts->left > 0)
		return;
	http_finish(parts->connection);
	free(parts);
}

static void
parts_closed(void *owner)
{
	free(owner);
	printf("gone\n");
}

static const HttpOwner parts_events = {.writable = parts_writable, .closed = parts_closed};

static void
echo_parts(HttpConnection *connection, HttpRequest *request, void *arg)
{
	Parts *parts = memory_zeroed(sizeof(Parts));
	HttpResponse response;

	(void) arg;
	*parts = (Parts){.connection = connection, .left = echo_number(request, "count")};
	http_keep(connection, &parts_events, parts);
	http_response_stream(&response, 200, "text/plain");
	http_begin(connection, &response);
	http_wake(connection);
}

static const HttpRoute routes[] = {
	{.methods = HTTP_GET | HTTP_HEAD, .path = "/text", .handler = echo_text},
	{.methods = HTTP_POST | HTTP_PUT,
	 .path = "/echo",
	 .handler = echo_body,
	 .max_body = 1024 * 1024},
	{.methods = HTTP_GET, .path = "/later", .handler = echo_later},
	{.methods = HTTP_GET | HTTP_HEAD, .path = "/parts", .handler = echo_parts},
	{.methods = HTTP_GET | HTTP_POST | HTTP_PUT | HTTP_PATCH | HTTP_DELETE,
	 .path = "/api/*",
	 .handler = echo_api,
	 .max_body = 10,
	 .api = true},
};

static bool
echo_admit(const HttpConnection *connection, const HttpRequest *request, const HttpMatch *match,
		   void *arg, HttpResponse *response)
{
	(void) connection;
	(void) request;
	(void) match;
	(void) arg;
	(void) response;
	return true;
}

static void
echo_complete(const HttpRequest *request, const HttpMatch *match, void *arg, HttpResponse *response)
{
	(void) arg;
	if (match->api)
		cors_complete(request, match->allowed, "", response);
}

static void
echo_accepted(Transport *transport)
{
	http_server_accept(&server, transport);
}

static void
echo_tick(uv_timer_t *timer)
{
	(void) timer;
	http_server_tick(&server);
}

/* Return a listening socket, and print its port. */
static int
echo_listen(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *) &address, size) != 0 || listen(fd, 1024) != 0 ||
		getsockname(fd, (struct sockaddr *) &address, &size) != 0)
	{
		perror("listen");
		exit(1);
	}
	printf("%d\n", ntohs(address.sin_port));
	return fd;
}

int
main(void)
{
	uv_timer_t tick;

	(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void) setvbuf(stdout, NULL, _IOLBF, 0);
	(void) signal(SIGPIPE, SIG_IGN);
	json_object_seed(0);
	memset(part, 'x', sizeof(part));
	server = (HttpServer){
		.now = echo_now,
		.routes = routes,
		.nroutes = sizeof(routes) / sizeof(routes[0]),
		.unknown_path = "there is no such path",
		.admit = echo_admit,
		.complete = echo_complete,
		.refused = &refused,
		.max_pending = 100,
		.max_memory = 16 * 1024 * 1024,
	};
	http_server_init(&server);
	if (!acceptor_start(uv_default_loop(), echo_listen(), 1, HTTP_READ_MS, echo_accepted))
		return 1;
	(void) uv_timer_init(uv_default_loop(), &tick);
	(void) uv_timer_start(&tick, echo_tick, 1000, 1000);
	(void) sandbox_enter();
	return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
