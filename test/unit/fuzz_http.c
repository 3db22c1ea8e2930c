/*
 * Fuzz target for the HTTP server: heads, bodies and chunks of requests.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "gateway/http/http_server.h"
#include "sink.h"

static HttpConnection *fuzz_kept;
static uint64_t fuzz_refused[WIRE_REFUSALS];

static uint64_t
fuzz_now(void)
{
	return 0;
}

/* The response has everything that the handler gets. */
static void
fuzz_respond(HttpConnection *connection, HttpRequest *request, void *arg)
{
	HttpResponse response;

	(void) arg;
	assert(request->path.len > 0 && request->path.data[0] == '/');
	for (size_t i = 0; i < request->nheaders; i++)
		assert(memchr(request->headers[i].value.data, '\n', request->headers[i].value.len) == NULL);
	http_response_bytes(&response, 200, NULL, request->body.data, request->body.len);
	http_respond(connection, &response);
}

static void
fuzz_ignore(void *owner)
{
	(void) owner;
}

static void
fuzz_gone(void *owner)
{
	(void) owner;
	fuzz_kept = NULL;
}

static const HttpOwner fuzz_owner = {
	.writable = fuzz_ignore, .closed = fuzz_gone, .half_closed = true};

static void
fuzz_keep(HttpConnection *connection, HttpRequest *request, void *arg)
{
	(void) request;
	(void) arg;
	fuzz_kept = connection;
	http_keep(connection, &fuzz_owner, connection);
}

static const HttpRoute fuzz_routes[] = {
	{.methods = HTTP_GET | HTTP_HEAD, .path = "/k", .handler = fuzz_keep, .max_body = 5},
	{.methods = HTTP_GET | HTTP_POST, .path = "/x/*", .handler = fuzz_respond, .max_body = 20},
	{.methods = HTTP_GET | HTTP_POST,
	 .path = "**",
	 .handler = fuzz_respond,
	 .max_body = 5000,
	 .api = true},
};

static bool
fuzz_admit(const HttpConnection *connection, const HttpRequest *request, const HttpMatch *match,
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
fuzz_complete(const HttpRequest *request, const HttpMatch *match, void *arg, HttpResponse *response)
{
	(void) request;
	(void) match;
	(void) arg;
	(void) response;
}

/* Let the server do all that it can do without more input. */
static void
fuzz_settle(Sink *sink)
{
	while (!sink->dropped && (fuzz_kept != NULL || sink->woken))
	{
		HttpConnection *kept = fuzz_kept;
		HttpResponse response;

		if (kept != NULL)
		{
			fuzz_kept = NULL;
			http_response_text(&response, 200, "kept");
			http_respond(kept, &response);
		}
		else
		{
			sink->woken = false;
			sink->base.events->writable(sink->base.owner);
		}
	}
}

/*
 * Remove "100 Continue" from what was sent: whether the client gets it depends on whether its body
 * has begun to arrive.
 */
static void
fuzz_remove_continue(Sink *sink)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	const size_t len = sizeof(text) - 1;
	char *found;

	while ((found = memmem(sink->sent, sink->sent_len, text, len)) != NULL)
	{
		sink->sent_len -= len;
		memmove(found, found + len, sink->sent_len - (size_t) (found - sink->sent));
	}
}

/* Send data in pieces of this size on a connection, and then its end. */
static void
fuzz_run(Sink *sink, const uint8_t *data, size_t size, size_t piece)
{
	static HttpServer server;

	server = (HttpServer){
		.now = fuzz_now,
		.routes = fuzz_routes,
		.nroutes = sizeof(fuzz_routes) / sizeof(fuzz_routes[0]),
		.unknown_path = "unknown",
		.admit = fuzz_admit,
		.complete = fuzz_complete,
		.refused = fuzz_refused,
		.max_pending = 10,
		.max_memory = 1024 * 1024,
	};
	http_server_init(&server);
	sink_init(sink);
	http_server_accept(&server, &sink->base);
	while (size > 0 && !sink->dropped)
	{
		size_t len = piece < size ? piece : size;

		sink_receive(sink, data, len);
		data += len;
		size -= len;
		fuzz_settle(sink);
	}
	if (!sink->dropped)
		sink->base.events->ended(sink->base.owner);
	fuzz_settle(sink);
	assert(sink->dropped && sink->base.owner == NULL);
	assert(server.count_pending == 0 && server.count_kept == 0 && server.memory == 0);
	fuzz_remove_continue(sink);
}

int
fuzz_http(const uint8_t *data, size_t size)
{
	static Sink whole;
	static Sink pieces;

	if (size < 2 || size > 16384)
		return 0;
	fuzz_run(&whole, data + 1, size - 1, size);
	fuzz_run(&pieces, data + 1, size - 1, 1 + (size_t) data[0]);
	assert(whole.sent_len == pieces.sent_len &&
		   memcmp(whole.sent, pieces.sent, whole.sent_len) == 0);
	return 0;
}
