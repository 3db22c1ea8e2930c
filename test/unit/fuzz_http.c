/*
 * Fuzz target for the HTTP server, a part of fuzz_jws.c: the same input in pieces of any size gets
 * the same responses, and nothing of a connection is left at its end.
 */
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_jws.h"
#include "gateway/http/http_server.h"

#define FUZZ_MAX_OUTPUT (1024 * 1024)

/* A transport that takes everything. */
typedef struct FuzzTransport
{
	Transport base;
	char sent[FUZZ_MAX_OUTPUT];
	size_t sent_len;
	bool paused;
	bool woken;
	bool dropped;
} FuzzTransport;

static HttpConnection *fuzz_kept;
static uint64_t fuzz_refused;

static const char fuzz_continue[] = "HTTP/1.1 100 Continue\r\n\r\n";

/* Whether the client is told to go on depends on whether the body has begun to arrive. */
static bool
fuzz_write(Transport *transport, const uint8_t *data, size_t len, size_t *taken)
{
	FuzzTransport *fuzz = (FuzzTransport *) transport;

	*taken = len;
	if (len == sizeof(fuzz_continue) - 1 && memcmp(data, fuzz_continue, len) == 0)
		return true;
	assert(fuzz->sent_len + len <= FUZZ_MAX_OUTPUT);
	memcpy(fuzz->sent + fuzz->sent_len, data, len);
	fuzz->sent_len += len;
	return true;
}

static void
fuzz_wake(Transport *transport)
{
	((FuzzTransport *) transport)->woken = true;
}

static void
fuzz_pause(Transport *transport, bool pause)
{
	((FuzzTransport *) transport)->paused = pause;
}

static void
fuzz_finish(Transport *transport)
{
	(void) transport;
}

static void
fuzz_drop(Transport *transport)
{
	((FuzzTransport *) transport)->dropped = true;
}

static bool
fuzz_peer(const Transport *transport, struct sockaddr_storage *address)
{
	(void) transport;
	address->ss_family = AF_INET;
	return true;
}

static const TransportFunctions fuzz_functions = {
	.write = fuzz_write,
	.wake = fuzz_wake,
	.pause = fuzz_pause,
	.finish = fuzz_finish,
	.drop = fuzz_drop,
	.peer = fuzz_peer,
};

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
fuzz_admit(const HttpRequest *request, const HttpMatch *match, void *arg, HttpResponse *response)
{
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
fuzz_settle(FuzzTransport *fuzz)
{
	while (!fuzz->dropped && (fuzz_kept != NULL || fuzz->woken))
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
			fuzz->woken = false;
			fuzz->base.events->writable(fuzz->base.owner);
		}
	}
}

/* Send text in pieces of this size on a connection, and then its end. */
static void
fuzz_run(FuzzTransport *fuzz, const char *text, size_t length, size_t piece)
{
	static HttpServer server;

	server = (HttpServer){
		.now = fuzz_now,
		.routes = fuzz_routes,
		.nroutes = sizeof(fuzz_routes) / sizeof(fuzz_routes[0]),
		.unknown_path = "unknown",
		.admit = fuzz_admit,
		.complete = fuzz_complete,
		.refused = &fuzz_refused,
		.max_pending = 10,
		.max_memory = 1024 * 1024,
	};
	http_server_init(&server);
	fuzz->base = (Transport){.functions = &fuzz_functions};
	fuzz->sent_len = 0;
	fuzz->paused = fuzz->woken = fuzz->dropped = false;
	http_server_accept(&server, &fuzz->base);
	while (length > 0 && !fuzz->dropped)
	{
		size_t len = piece < length ? piece : length;
		char *copy = malloc(len);

		assert(copy != NULL && !fuzz->paused);
		memcpy(copy, text, len);
		fuzz->base.events->received(fuzz->base.owner, copy, len);
		free(copy);
		text += len;
		length -= len;
		fuzz_settle(fuzz);
	}
	if (!fuzz->dropped)
		fuzz->base.events->ended(fuzz->base.owner);
	fuzz_settle(fuzz);
	assert(fuzz->dropped && fuzz->base.owner == NULL);
	assert(server.count_pending == 0 && server.count_kept == 0 && server.memory == 0);
}

void
fuzz_http(const char *text, size_t length)
{
	static FuzzTransport whole;
	static FuzzTransport pieces;

	if (length < 2 || length > 16384)
		return;
	fuzz_run(&whole, text + 1, length - 1, length);
	fuzz_run(&pieces, text + 1, length - 1, 1 + (uint8_t) text[0]);
	assert(whole.sent_len == pieces.sent_len &&
		   memcmp(whole.sent, pieces.sent, whole.sent_len) == 0);
}
