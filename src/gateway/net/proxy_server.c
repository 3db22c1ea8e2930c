/*-------------------------------------------------------------------------
 *
 * proxy_server.c
 *	  Connections of trusted proxies, until the header of the PROXY protocol has arrived.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/net/proxy_server.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/net/proxy_header.h"

typedef struct ProxyConnection
{
	TAILQ_ENTRY(ProxyConnection) in_waiting;
	ProxyServer *server;
	Transport *transport;
	void (*next)(Transport *transport);
	uint64_t deadline;
	ProxyHeader header;
} ProxyConnection;

/* Forget the connection, without closing its transport. */
static void
proxy_forget(ProxyConnection *connection)
{
	TAILQ_REMOVE(&connection->server->waiting, connection, in_waiting);
	connection->server->count--;
	free(connection);
}

static void
proxy_close(ProxyConnection *connection)
{
	transport_abandon(connection->transport);
	proxy_forget(connection);
}

/* Pass the connection on, with the bytes before data that are the client's too. */
static void
proxy_pass_on(ProxyConnection *connection, size_t before, char *data, size_t len)
{
	Transport *transport = connection->transport;
	char *all = NULL;

	if (before > 0)
	{
		all = memory_new(before + len);
		memcpy(all, connection->header.bytes, before);
		memcpy(all + before, data, len);
		data = all;
		len += before;
	}
	transport->owner = NULL;
	connection->next(transport);
	proxy_forget(connection);
	if (len > 0 && transport->owner != NULL)
		transport->events->received(transport->owner, data, len);
	free(all);
}

static void
proxy_on_received(void *owner, char *data, size_t len)
{
	ProxyConnection *connection = owner;
	Transport *transport = connection->transport;
	struct sockaddr_storage proxy = {0};
	struct sockaddr_storage client;
	size_t used;

	(void) transport->functions->peer(transport, &proxy);
	client = proxy;
	switch (proxy_header_read(&connection->header, (uint8_t *) data, len, &used, &client))
	{
		case PROXY_HEADER_MORE:
			break;
		case PROXY_HEADER_DONE:
			transport->functions->set_peer(transport, &client);
			proxy_pass_on(connection, 0, data + used, len - used);
			break;
		case PROXY_HEADER_NONE:
			proxy_pass_on(connection, connection->header.len, data + used, len - used);
			break;
		case PROXY_HEADER_BAD:
			connection->server->refused(&proxy);
			proxy_close(connection);
			break;
	}
}

static void
proxy_on_closed(void *owner)
{
	proxy_forget(owner);
}

static const TransportEvents proxy_events = {.received = proxy_on_received,
											 .closed = proxy_on_closed};

void
proxy_server_init(ProxyServer *server)
{
	TAILQ_INIT(&server->waiting);
	server->count = 0;
}

void
proxy_server_accept(ProxyServer *server, Transport *transport, void (*next)(Transport *transport))
{
	ProxyConnection *connection;

	if (server->count >= PROXY_MAX)
		proxy_close(TAILQ_FIRST(&server->waiting));
	connection = memory_zeroed(sizeof(ProxyConnection));
	connection->server = server;
	connection->transport = transport;
	connection->next = next;
	connection->deadline = server->now() + PROXY_READ_MS;
	TAILQ_INSERT_TAIL(&server->waiting, connection, in_waiting);
	server->count++;
	transport_own(transport, &proxy_events, connection);
}

void
proxy_server_tick(ProxyServer *server)
{
	uint64_t now = server->now();
	ProxyConnection *connection;

	while ((connection = TAILQ_FIRST(&server->waiting)) != NULL && now >= connection->deadline)
		proxy_close(connection);
}

bool
proxy_server_waits(const ProxyServer *server)
{
	return server->count > 0;
}

void
proxy_server_stop(ProxyServer *server)
{
	ProxyConnection *connection;

	while ((connection = TAILQ_FIRST(&server->waiting)) != NULL)
		proxy_close(connection);
}
