/*-------------------------------------------------------------------------
 *
 * http_server.c
 *	  HTTP/1 connections: what concerns all of them, their number, time limits and memory.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/http/http_server.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/http/http_forwarded.h"
#include "gateway/http/http_server_internal.h"

/* The time limits of the states; 0: no limit. */
static const uint64_t http_limits[HTTP_STATES] = {
	[HTTP_READING_HEAD] = HTTP_READ_MS, [HTTP_READING_BODY] = HTTP_BODY_MS,
	[HTTP_KEPT_ENDED] = HTTP_PROBE_MS,  [HTTP_SENDING] = HTTP_SEND_MS,
	[HTTP_IDLE] = HTTP_IDLE_MS,         [HTTP_LINGERING] = HTTP_LINGER_MS,
};

/* All connections in a state have the same limit, so the list stays in the order of the ends. */
void
http_enter(HttpConnection *connection, HttpState state)
{
	HttpServer *server = connection->server;

	TAILQ_REMOVE(&server->states[connection->state], connection, in_state);
	TAILQ_INSERT_TAIL(&server->states[state], connection, in_state);
	connection->state = state;
	connection->deadline = server->now() + http_limits[state];
}

/* Make room for one more pending connection. A handler of the running one may use its request. */
static void
http_evict(HttpServer *server)
{
	Pending *loser;
	HttpConnection *connection;

	if (server->count_pending < server->max_pending ||
		(loser = address_first_to_lose(&server->addresses)) == NULL)
		return;
	connection = (HttpConnection *) ((char *) loser - offsetof(HttpConnection, pending));
	if (!connection->running)
		http_free(connection);
}

static void
http_uncount(HttpConnection *connection)
{
	HttpServer *server = connection->server;

	if (connection->kept)
	{
		server->count_kept--;
		address_remove_client(&server->addresses, connection->from);
	}
	else
	{
		server->count_pending--;
		address_remove_pending(&server->addresses, &connection->pending);
	}
}

void
http_count_pending(HttpConnection *connection)
{
	HttpServer *server = connection->server;

	http_evict(server);
	address_pend(&server->addresses, &connection->pending, connection->from);
	http_uncount(connection);
	connection->kept = false;
	server->count_pending++;
}

void
http_count_kept(HttpConnection *connection)
{
	address_add_client(connection->from);
	http_uncount(connection);
	connection->kept = true;
	connection->server->count_kept++;
}

bool
http_count_memory(HttpConnection *connection)
{
	HttpServer *server = connection->server;
	Address *from = connection->from;
	size_t memory = connection->body.size + (connection->ahead != NULL ? connection->in_len : 0) +
					(connection->unsent.data != NULL ? connection->unsent.len : 0);

	server->memory += memory - connection->memory;
	from->memory += memory - connection->memory;
	connection->memory = memory;
	return server->memory <= server->max_memory &&
		   from->memory <= server->max_memory - server->memory;
}

void
http_free(HttpConnection *connection)
{
	HttpServer *server = connection->server;

	http_forget_request(connection);
	transport_rest_free(&connection->unsent);
	free(connection->ahead);
	connection->ahead = NULL;
	(void) http_count_memory(connection);
	TAILQ_REMOVE(&server->states[connection->state], connection, in_state);
	http_uncount(connection);
	if (connection->transport != NULL)
		transport_abandon(connection->transport);
	if (connection->running)
		connection->gone = true;
	else
		free(connection);
}

void
http_lost(HttpConnection *connection)
{
	const HttpOwner *events = connection->events;
	void *owner = connection->owner;

	http_free(connection);
	if (events != NULL)
		events->closed(owner);
}

const char *
http_find_client(HttpConnection *connection)
{
	HttpServer *server = connection->server;
	struct sockaddr_storage address = {0};
	const char *problem;

	if (server->proxies == NULL)
		return NULL;
	(void) connection->transport->functions->peer(connection->transport, &address);
	problem = http_forwarded(connection->request, *server->proxies, &address);
	if (problem != NULL)
		return problem;
	connection->client = address;
	connection->from->memory -= connection->memory;
	address_change_pending(&server->addresses, &connection->pending, &address);
	connection->from = connection->pending.address;
	connection->from->memory += connection->memory;
	return NULL;
}

void
http_server_init(HttpServer *server)
{
	for (int i = 0; i < HTTP_STATES; i++)
		TAILQ_INIT(&server->states[i]);
	server->count_pending = server->count_kept = 0;
	server->memory = 0;
	server->stopping = false;
	addresses_init(&server->addresses);
}

void
http_server_accept(HttpServer *server, Transport *transport)
{
	HttpConnection *connection;

	http_evict(server);
	connection = memory_zeroed(sizeof(HttpConnection));
	connection->server = server;
	connection->transport = transport;
	(void) transport->functions->peer(transport, &connection->client);
	address_add_pending(&server->addresses, &connection->pending, &connection->client);
	connection->from = connection->pending.address;
	server->count_pending++;
	TAILQ_INSERT_TAIL(&server->states[HTTP_READING_HEAD], connection, in_state);
	connection->deadline = server->now() + http_limits[HTTP_READING_HEAD];
	transport_own(transport, &http_transport_events, connection);
}

/* The client has closed its side: find out whether it still waits for its answer. */
static void
http_probe(HttpConnection *connection)
{
	http_enter(connection, HTTP_KEPT);
	if (!http_continue(connection))
		http_broken(connection);
}

static void
http_expire(HttpConnection *connection)
{
	if (connection->state == HTTP_READING_HEAD || connection->state == HTTP_READING_BODY)
		http_refuse(connection, 408, "the request was not complete in time");
	else if (connection->state == HTTP_KEPT_ENDED)
		http_probe(connection);
	else
		http_free(connection);
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
			http_expire(connection);
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

	server->stopping = true;
	for (HttpState state = 0; state < HTTP_STATES; state++)
	{
		if (state == HTTP_KEPT || state == HTTP_KEPT_ENDED)
			continue;
		while ((connection = TAILQ_FIRST(&server->states[state])) != NULL)
			http_free(connection);
	}
}

const struct sockaddr_storage *
http_client(const HttpConnection *connection)
{
	return &connection->client;
}

Address *
http_from(const HttpConnection *connection)
{
	return connection->from;
}

bool
http_peer(const HttpConnection *connection, struct sockaddr_storage *address)
{
	const Transport *transport = connection->transport;

	return transport != NULL && transport->functions->peer(transport, address);
}
