/*-------------------------------------------------------------------------
 *
 * http_input.c
 *	  Reads the requests of a connection, one after the other.
 *
 * What arrives while a request is being answered is kept, up to a limit, and read afterwards. The
 * server then asks the transport for a turn of its own, so that no function that a handler calls
 * runs another handler.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/base/text.h"
#include "gateway/http/http_server_internal.h"

/* Bytes of memory for the first part of a body. */
#define HTTP_BODY_FIRST 4096

static void
http_pause(HttpConnection *connection, bool pause)
{
	if (connection->paused == pause)
		return;
	connection->paused = pause;
	connection->transport->functions->pause(connection->transport, pause);
}

void
http_drop_input(HttpConnection *connection)
{
	free(connection->ahead);
	connection->ahead = NULL;
	connection->in_len = 0;
	(void) http_count_memory(connection);
	http_pause(connection, false);
}

static bool
http_is_reading(const HttpConnection *connection)
{
	return connection->state == HTTP_READING_HEAD || connection->state == HTTP_READING_BODY ||
		   connection->state == HTTP_IDLE;
}

static void
http_consume(HttpConnection *connection, size_t len)
{
	connection->in += len;
	connection->in_len -= len;
}

/* The request is complete: call the handler. */
static void
http_handle(HttpConnection *connection)
{
	HttpRequest *request = connection->request;

	connection->keep_alive = http_request_keep_alive(request);
	request->body = (HttpSlice){.data = connection->body.data, .len = connection->body.len};
	connection->match.route->handler(connection, request, connection->server->arg);
}

/* Add to the body. Returns false if there is no room, which is answered. */
static bool
http_add_body(HttpConnection *connection, HttpSlice data)
{
	HttpBody *body = &connection->body;
	size_t size = body->size > 0 ? body->size * 2 : HTTP_BODY_FIRST;

	if (data.len > body->limit - body->len)
	{
		http_refuse(connection, 413, "the request's body is too large");
		return false;
	}
	if (body->len + data.len > body->size)
	{
		if (size < body->len + data.len)
			size = body->len + data.len;
		body->size = size < body->limit ? size : body->limit;
		body->data = memory_resize(body->data, body->size);
		if (!http_count_memory(connection))
		{
			http_refuse(connection, 503, "there is no memory for the request's body at present");
			return false;
		}
	}
	memcpy(body->data + body->len, data.data, data.len);
	body->len += data.len;
	return true;
}

static void
http_read_chunks(HttpConnection *connection)
{
	HttpSlice input = {.data = connection->in, .len = connection->in_len};
	HttpSlice data = {0};
	HttpChunkedResult result;

	while ((result = http_chunked_next(&connection->body.chunked, &input, &data)) ==
		   HTTP_CHUNKED_DATA)
		if (!http_add_body(connection, data))
			return;
	http_consume(connection, connection->in_len - input.len);
	if (result == HTTP_CHUNKED_DONE)
		http_handle(connection);
	else if (result == HTTP_CHUNKED_BAD)
		http_refuse(connection, 400, "malformed chunk");
	else if (http_chunked_left(&connection->body.chunked) >
			 connection->body.limit - connection->body.len)
		http_refuse(connection, 413, "the request's body is too large");
}

/* Read a part of the body. */
static void
http_read_body(HttpConnection *connection)
{
	HttpBody *body = &connection->body;
	HttpSlice data = {.data = connection->in, .len = connection->in_len};

	if (connection->request->chunked)
	{
		http_read_chunks(connection);
		return;
	}
	if (data.len > body->limit - body->len)
		data.len = body->limit - body->len;
	if (!http_add_body(connection, data))
		return;
	http_consume(connection, data.len);
	if (body->len == body->limit)
		http_handle(connection);
}

/* Read the body, and let a client that waits for permission send it (RFC 9110, 10.1.1). */
static void
http_await_body(HttpConnection *connection, bool expected)
{
	const HttpRequest *request = connection->request;

	connection->body = (HttpBody){
		.limit =
			request->chunked ? connection->match.route->max_body : (size_t) request->content_length,
	};
	http_enter(connection, HTTP_READING_BODY);
	if (expected && connection->in_len == 0 && !http_continue(connection))
		http_free(connection);
}

/* The head was accepted: check whether the request may have the body that it announces. */
static void
http_decide_body(HttpConnection *connection)
{
	const HttpRequest *request = connection->request;
	HttpSlice expect = http_request_header(request, "expect");
	bool expected = expect.data != NULL && request->http11;
	size_t max = connection->match.route->max_body;

	if (expected && !text_equal_nocase(expect.data, expect.len, "100-continue"))
		http_refuse(connection, 417, "the only expectation that is supported is 100-continue");
	else if (!http_request_has_body(request))
		http_handle(connection);
	else if (max == 0)
		http_refuse(connection, 400, "a request body is not accepted");
	else if (request->content_length > max)
		http_refuse(connection, 413, "the request's body is too large");
	else
		http_await_body(connection, expected);
}

/* The head is complete: find the route, and check the request. */
static void
http_decide(HttpConnection *connection, size_t size)
{
	HttpServer *server = connection->server;
	HttpRequest *request = connection->request = memory_new(sizeof(HttpRequest));
	HttpMatch *match = &connection->match;
	HttpResponse response;
	const char *problem = http_request_parse(connection->head, size, request);
	bool options;

	connection->head_only = request->method == HTTP_HEAD;
	if (problem == NULL)
		problem = http_find_client(connection);
	if (problem != NULL)
	{
		http_refuse(connection, 400, problem);
		return;
	}
	/* As long as a body is not read, no other request can be. */
	connection->keep_alive = !http_request_has_body(request) && http_request_keep_alive(request);
	*match = http_router_find(server->routes, server->nroutes, request, server->arg);
	options = match->route == NULL && match->api && request->method == HTTP_OPTIONS;
	if (match->allowed == 0)
		http_refuse(connection, 404, server->unknown_path);
	else if (match->route == NULL && !options)
		http_refuse_method(connection);
	else if (!server->admit(connection, request, match, server->arg, &response))
		http_respond(connection, &response);
	else if (options)
		http_tell_methods(connection);
	else
		http_decide_body(connection);
}

/* The first byte of a request has arrived. */
static void
http_begin_request(HttpConnection *connection)
{
	connection->keep_alive = connection->head_only = connection->chunked = false;
	if (connection->state != HTTP_IDLE)
		return;
	http_enter(connection, HTTP_READING_HEAD);
	address_renew_pending(&connection->pending);
}

/* Copy len bytes of a head that begins in the input to memory of its own. */
static void
http_copy_head(HttpConnection *connection, size_t size, size_t len)
{
	connection->head = memory_new(size);
	memcpy(connection->head, connection->in, len);
}

/* Read a part of the head. It is copied only if it ends here, or to wait for the rest. */
static void
http_read_head(HttpConnection *connection)
{
	size_t before = connection->head_len;
	size_t room = HTTP_HEAD_MAX - before;
	size_t len = connection->in_len < room ? connection->in_len : room;
	size_t size = 0;
	HttpScan scan;

	if (before == 0)
		http_begin_request(connection);
	else
		memcpy(connection->head + before, connection->in, len);
	scan = http_request_scan(before == 0 ? connection->in : connection->head, before + len,
							 &connection->scanned, &size);
	switch (scan)
	{
		case HTTP_SCAN_MORE:
			if (before == 0)
				http_copy_head(connection, HTTP_HEAD_MAX, len);
			connection->head_len += len;
			http_consume(connection, len);
			break;
		case HTTP_SCAN_DONE:
			/* With room for http_request_parse(). */
			if (before == 0)
				http_copy_head(connection, size * 2, size);
			else
				connection->head = memory_resize(connection->head, size * 2);
			http_consume(connection, size - before);
			http_decide(connection, size);
			break;
		case HTTP_SCAN_BAD:
			http_refuse(connection, 400, "malformed request");
			break;
		case HTTP_SCAN_LARGE:
			http_refuse(connection, 431, "the request's head is larger than 8192 bytes");
			break;
	}
}

/*
 * Read requests until one is to be answered later, or all input is consumed. Returns false if the
 * connection is closed.
 */
static bool
http_read(HttpConnection *connection)
{
	bool gone;

	connection->running = true;
	while (!connection->gone && connection->in_len > 0 && http_is_reading(connection))
	{
		if (connection->state == HTTP_READING_BODY)
			http_read_body(connection);
		else
			http_read_head(connection);
	}
	connection->running = false;
	gone = connection->gone;
	if (gone)
		free(connection);
	return !gone;
}

/* Keep what was not consumed, and len more bytes. */
static void
http_keep_input(HttpConnection *connection, const char *data, size_t len)
{
	char *ahead = memory_new(connection->in_len + len);

	if (connection->in_len > 0)
		memcpy(ahead, connection->in, connection->in_len);
	memcpy(ahead + connection->in_len, data, len);
	free(connection->ahead);
	connection->ahead = connection->in = ahead;
	connection->in_len += len;
	(void) http_count_memory(connection);
	if (connection->in_len >= HTTP_MAX_AHEAD)
		http_pause(connection, true);
}

/* Read requests from what was kept. */
static void
http_read_ahead(HttpConnection *connection)
{
	if (!http_read(connection) || connection->in_len > 0)
		return;
	http_drop_input(connection);
	if (connection->ended && http_is_reading(connection))
		http_free(connection);
}

static void
http_on_received(void *owner, char *data, size_t len)
{
	HttpConnection *connection = owner;

	if (connection->state == HTTP_LINGERING)
	{
		connection->discarded += len;
		if (connection->discarded > HTTP_LINGER_BYTES)
			http_lost(connection);
		return;
	}
	if (connection->in_len > 0 || !http_is_reading(connection))
	{
		http_keep_input(connection, data, len);
		return;
	}
	connection->in = data;
	connection->in_len = len;
	if (http_read(connection) && connection->in_len > 0)
		http_keep_input(connection, "", 0);
}

static void
http_on_ended(void *owner)
{
	HttpConnection *connection = owner;

	connection->ended = true;
	if (connection->state == HTTP_LINGERING ||
		(http_is_reading(connection) && connection->in_len == 0) ||
		(connection->events != NULL && !connection->events->half_closed))
		http_lost(connection);
	else if (connection->events != NULL)
		http_kept_ended(connection);
}

static void
http_on_writable(void *owner)
{
	HttpConnection *connection = owner;
	size_t done = connection->unsent.done;
	bool unsent = connection->unsent.data != NULL;

	if (unsent && !transport_flush(connection->transport, &connection->unsent))
	{
		http_lost(connection);
		return;
	}
	if (unsent && connection->unsent.data != NULL)
	{
		if (connection->state == HTTP_SENDING && connection->unsent.done > done)
			http_enter(connection, HTTP_SENDING);
		return;
	}
	(void) http_count_memory(connection);
	if (connection->events != NULL)
		connection->events->writable(connection->owner);
	else if (connection->state == HTTP_SENDING)
		http_end(connection);
	else if (connection->in_len > 0 && http_is_reading(connection))
		http_read_ahead(connection);
}

static void
http_on_closed(void *owner)
{
	HttpConnection *connection = owner;

	connection->transport = NULL;
	http_lost(connection);
}

const TransportEvents http_transport_events = {
	.received = http_on_received,
	.writable = http_on_writable,
	.ended = http_on_ended,
	.closed = http_on_closed,
};
