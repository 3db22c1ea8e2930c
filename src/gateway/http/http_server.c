/*-------------------------------------------------------------------------
 *
 * http_server.c
 *	  Connections from accept() to an answer, to a WebSocket, or to a response in parts.
 *
 *	  READING_HEAD ──► READING_BODY ──┐
 *		 └───────────────────────────► handler ──► taken over
 *										│  └────► KEPT (its owner answers later)
 *										▼			│
 *									 SENDING ◄──────┘
 *										▼
 *									 LINGERING ──► ended
 *
 * A connection has a time limit in each state except KEPT. A LINGERING connection was answered, and
 * our side is shut down. The rest that the client sends is read and discarded, because otherwise a
 * TCP reset could overtake the answer.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/http/http_server.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"

/* Maximum bytes read and discarded after an answer. */
#define HTTP_LINGER_BYTES (256u * 1024)

/* The time limits of the states; 0: no limit. */
static const uint64_t http_limits[HTTP_STATES] = {
	[HTTP_READING_HEAD] = HTTP_READ_MS,
	[HTTP_READING_BODY] = HTTP_READ_MS,
	[HTTP_SENDING] = HTTP_SEND_MS,
	[HTTP_LINGERING] = HTTP_LINGER_MS,
};

struct HttpConnection
{
	TAILQ_ENTRY(HttpConnection) in_state;
	HttpServer *server;
	Pending pending; /* unless kept */
	Address *from;
	Transport *transport; /* NULL: closed */
	HttpState state;
	bool kept;
	bool head_only; /* the response to a HEAD has no body */
	uint64_t deadline;
	size_t len; /* bytes in buf, in body, or discarded */
	size_t scanned;
	/* Until it is answered, or the head of a response in parts is sent. */
	char *buf; /* HTTP_HEAD_MAX bytes */
	HttpRequest *request;
	char *body;
	const HttpRoute *route;
	char *rest; /* while the handler runs: data after the request */
	size_t rest_len;
	TransportRest unsent;
	const HttpOwner *events; /* NULL: not kept */
	void *owner;
	char address[HTTP_ADDRESS];
};

/*
 * Enter a state. All connections in a state have the same limit, so the list stays in the order of
 * the ends.
 */
static void
http_enter(HttpConnection *connection, HttpState state)
{
	HttpServer *server = connection->server;

	TAILQ_REMOVE(&server->states[connection->state], connection, in_state);
	TAILQ_INSERT_TAIL(&server->states[state], connection, in_state);
	connection->state = state;
	connection->deadline = server->now() + http_limits[state];
}

static void
http_forget_request(HttpConnection *connection)
{
	free(connection->buf);
	free(connection->request);
	free(connection->body);
	connection->buf = connection->body = NULL;
	connection->request = NULL;
}

static void
http_free(HttpConnection *connection)
{
	HttpServer *server = connection->server;

	TAILQ_REMOVE(&server->states[connection->state], connection, in_state);
	if (connection->kept)
		address_remove_client(&server->addresses, connection->from);
	else
	{
		server->count_pending--;
		address_remove_pending(&server->addresses, &connection->pending);
	}
	if (connection->transport != NULL)
		transport_abandon(connection->transport);
	transport_rest_free(&connection->unsent);
	http_forget_request(connection);
	free(connection);
}

/* The client has closed the connection. */
static void
http_lost(HttpConnection *connection)
{
	const HttpOwner *events = connection->events;
	void *owner = connection->owner;

	http_free(connection);
	if (events != NULL)
		events->closed(owner);
}

/*
 * The response is complete. When all is sent, shut down our side, and wait for the client to close.
 */
static void
http_end(HttpConnection *connection)
{
	connection->events = NULL;
	http_forget_request(connection);
	if (connection->unsent.data != NULL)
	{
		http_enter(connection, HTTP_SENDING);
		return;
	}
	connection->transport->functions->finish(connection->transport);
	connection->len = 0;
	http_enter(connection, HTTP_LINGERING);
}

/*
 * Send the head of a response, and its body if it has one. Returns false if the connection is
 * broken.
 */
static bool
http_send(HttpConnection *connection, HttpResponse *response)
{
	size_t size = http_response_write(response, connection->head_only, NULL, 0);
	char *text = memory_new(size);
	bool sent;

	(void) http_response_write(response, connection->head_only, text, size);
	if (response->status >= 400)
		(*connection->server->refused)++;
	http_response_release(response);
	sent = transport_send(connection->transport, &connection->unsent, (const uint8_t *) text, size);
	free(text);
	return sent;
}

void
http_respond(HttpConnection *connection, HttpResponse *response)
{
	if (http_send(connection, response))
		http_end(connection);
	else
		http_free(connection);
}

static void
http_refuse(HttpConnection *connection, int status, const char *reason)
{
	HttpResponse response;

	http_response_text(&response, status, "%s", reason);
	http_respond(connection, &response);
}

static void
http_refuse_method(HttpConnection *connection, unsigned allowed)
{
	HttpResponse response;
	char methods[HTTP_ROUTER_METHODS];

	http_router_methods(allowed, methods);
	http_response_text(&response, 405, "only %s is supported", methods);
	(void) http_response_header(&response, "Allow", methods);
	http_respond(connection, &response);
}

/* The request is complete: call the handler. */
static void
http_handle(HttpConnection *connection)
{
	HttpRequest *request = connection->request;

	request->body = (HttpSlice){.data = connection->body, .len = connection->len};
	connection->route->handler(connection, request, connection->server->arg);
}

/* Read a part of the body. Data after the body is ignored. */
static void
http_read_body(HttpConnection *connection, const char *data, size_t len)
{
	size_t missing = (size_t) connection->request->content_length - connection->len;

	if (len > missing)
		len = missing;
	memcpy(connection->body + connection->len, data, len);
	connection->len += len;
	if (len == missing)
		http_handle(connection);
}

/* The head was accepted: check whether the request may have the body that it announces. */
static void
http_decide_body(HttpConnection *connection)
{
	const HttpRequest *request = connection->request;
	size_t max = connection->route->max_body;

	connection->len = 0;
	if (request->content_length == 0 && !request->chunked)
		http_handle(connection);
	else if (max == 0)
		http_refuse(connection, 400, "a request body is not accepted");
	else if (request->chunked)
		http_refuse(connection, 411, "a request body needs Content-Length");
	else if (request->content_length > max)
		http_refuse(connection, 413, "the request's body is too large");
	else
	{
		connection->body = memory_new((size_t) request->content_length);
		http_enter(connection, HTTP_READING_BODY);
		http_read_body(connection, connection->rest, connection->rest_len);
	}
}

/* The head is complete: find the route, and check the request. */
static void
http_decide(HttpConnection *connection, size_t size)
{
	HttpServer *server = connection->server;
	HttpRequest *request = connection->request = memory_new(sizeof(HttpRequest));
	HttpResponse response;
	const char *problem = http_request_parse(connection->buf, size, request);
	unsigned allowed;

	connection->head_only = request->method == HTTP_HEAD;
	if (problem != NULL)
	{
		http_refuse(connection, 400, problem);
		return;
	}
	connection->route = http_router_find(server->routes, server->nroutes, request, &allowed);
	if (connection->route == NULL && allowed == 0)
		http_refuse(connection, 404, server->unknown_path);
	else if (connection->route == NULL)
		http_refuse_method(connection, allowed);
	else if (!server->admit(request, server->arg, &response))
		http_respond(connection, &response);
	else
		http_decide_body(connection);
}

/*
 * Read the head. All data after it has arrived with this piece, because the head was incomplete
 * before.
 */
static void
http_read_head(HttpConnection *connection, char *data, size_t len)
{
	size_t before = connection->len;
	size_t room = HTTP_HEAD_MAX - before;
	size_t size = 0;

	memcpy(connection->buf + before, data, len < room ? len : room);
	connection->len += len < room ? len : room;
	switch (http_request_scan(connection->buf, connection->len, &connection->scanned, &size))
	{
		case HTTP_SCAN_MORE:
			break;
		case HTTP_SCAN_DONE:
			connection->rest = data + (size - before);
			connection->rest_len = len - (size - before);
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

static void
http_on_received(void *owner, char *data, size_t len)
{
	HttpConnection *connection = owner;

	if (connection->state == HTTP_READING_HEAD)
		http_read_head(connection, data, len);
	else if (connection->state == HTTP_READING_BODY)
		http_read_body(connection, data, len);
	else
	{
		/* Discard the data. */
		connection->len += len;
		if (connection->len > HTTP_LINGER_BYTES)
			http_lost(connection);
	}
}

static void
http_on_writable(void *owner)
{
	HttpConnection *connection = owner;
	size_t done = connection->unsent.done;

	if (!transport_flush(connection->transport, &connection->unsent))
		http_lost(connection);
	else if (connection->events != NULL && connection->unsent.data == NULL)
		connection->events->writable(connection->owner);
	else if (connection->state == HTTP_SENDING && connection->unsent.data == NULL)
		http_end(connection);
	else if (connection->state == HTTP_SENDING && connection->unsent.done > done)
		http_enter(connection, HTTP_SENDING);
}

static void
http_on_closed(void *owner)
{
	HttpConnection *connection = owner;

	connection->transport = NULL;
	http_lost(connection);
}

static const TransportEvents http_transport_events = {
	.received = http_on_received,
	.writable = http_on_writable,
	.closed = http_on_closed,
};

static void
http_address(const struct sockaddr_storage *address, char *text)
{
	char host[INET6_ADDRSTRLEN] = "?";
	char port[8] = "?";

	(void) getnameinfo((const struct sockaddr *) address, sizeof(*address), host, sizeof(host),
					   port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(text, HTTP_ADDRESS, address->ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

void
http_server_init(HttpServer *server)
{
	for (int i = 0; i < HTTP_STATES; i++)
		TAILQ_INIT(&server->states[i]);
	server->count_pending = 0;
	addresses_init(&server->addresses);
}

void
http_server_accept(HttpServer *server, Transport *transport)
{
	HttpConnection *connection;
	struct sockaddr_storage address = {0};
	Pending *loser;

	if (server->count_pending >= server->max_pending &&
		(loser = address_first_to_lose(&server->addresses)) != NULL)
		http_free((HttpConnection *) ((char *) loser - offsetof(HttpConnection, pending)));
	connection = memory_zeroed(sizeof(HttpConnection));
	connection->buf = memory_new(HTTP_HEAD_MAX);
	connection->server = server;
	connection->transport = transport;
	(void) transport->functions->peer(transport, &address);
	http_address(&address, connection->address);
	address_add_pending(&server->addresses, &connection->pending, &address);
	connection->from = connection->pending.address;
	server->count_pending++;
	TAILQ_INSERT_TAIL(&server->states[HTTP_READING_HEAD], connection, in_state);
	connection->deadline = server->now() + http_limits[HTTP_READING_HEAD];
	transport_own(transport, &http_transport_events, connection);
}

void
http_server_tick(HttpServer *server)
{
	uint64_t now = server->now();

	for (HttpState state = 0; state < HTTP_STATES; state++)
	{
		HttpConnection *connection;

		while (http_limits[state] > 0 &&
			   (connection = TAILQ_FIRST(&server->states[state])) != NULL &&
			   now >= connection->deadline)
		{
			if (state == HTTP_READING_HEAD || state == HTTP_READING_BODY)
				http_refuse(connection, 408, "the request was not complete in time");
			else
				http_free(connection);
		}
	}
}

bool
http_server_waits(const HttpServer *server)
{
	for (HttpState state = 0; state < HTTP_STATES; state++)
		if (http_limits[state] > 0 && !TAILQ_EMPTY(&server->states[state]))
			return true;
	return false;
}

void
http_server_left(HttpServer *server, Address *from)
{
	address_remove_client(&server->addresses, from);
}

void
http_server_stop(HttpServer *server)
{
	HttpConnection *connection;

	for (HttpState state = 0; state < HTTP_STATES; state++)
		while (state != HTTP_KEPT && (connection = TAILQ_FIRST(&server->states[state])) != NULL)
			http_free(connection);
}

const Address *
http_from(const HttpConnection *connection)
{
	return connection->from;
}

bool
http_take_over(HttpConnection *connection, HttpTaken *taken)
{
	HttpServer *server = connection->server;

	*taken = (HttpTaken){
		.from = connection->from,
		.rest = connection->rest,
		.rest_len = connection->rest_len,
	};
	memcpy(taken->address, connection->address, sizeof(taken->address));
	/* First, so that the address outlives the connection. */
	address_add_client(taken->from);
	taken->transport = connection->transport->functions->keep(connection->transport);
	connection->transport = NULL;
	http_free(connection);
	if (taken->transport != NULL)
		return true;
	address_remove_client(&server->addresses, taken->from);
	(*server->refused)++;
	return false;
}

void
http_keep(HttpConnection *connection, const HttpOwner *events, void *owner)
{
	connection->events = events;
	connection->owner = owner;
	address_add_client(connection->from);
	address_remove_pending(&connection->server->addresses, &connection->pending);
	connection->server->count_pending--;
	connection->kept = true;
	connection->len = 0;
	connection->rest = NULL; /* the caller now owns the data that came after the request */
	connection->rest_len = 0;
	http_enter(connection, HTTP_KEPT);
}

/* A kept connection is broken: its owner is informed, but not by this function. */
static void
http_broken(HttpConnection *connection)
{
	connection->transport->functions->drop(connection->transport);
}

void
http_begin(HttpConnection *connection, HttpResponse *response)
{
	if (!http_send(connection, response))
		http_broken(connection);
	http_forget_request(connection);
}

bool
http_ready(void *connection)
{
	return ((HttpConnection *) connection)->unsent.data == NULL;
}

bool
http_write(void *connection, const uint8_t *data, size_t len)
{
	HttpConnection *http = connection;

	if (transport_send(http->transport, &http->unsent, data, len))
		return true;
	http_broken(http);
	return false;
}

void
http_wake(void *connection)
{
	HttpConnection *http = connection;

	http->transport->functions->wake(http->transport);
}

void
http_finish(HttpConnection *connection)
{
	http_end(connection);
}

void
http_drop(HttpConnection *connection)
{
	http_free(connection);
}
