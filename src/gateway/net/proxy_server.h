/*-------------------------------------------------------------------------
 *
 * proxy_server.h
 *	  Connections of trusted proxies, until the header of the PROXY protocol has arrived.
 *
 * The connection of a trusted proxy may begin with this header, or may have none, as with proxies that
 * speak HTTP. The server reads the header, sets the transport's address to the client's, and passes the connection
 * on to its next owner with what has arrived behind the header. Number and time of
 * the connections that wait for the rest of a header are limited.
 *
 * The header is believed since a trusted proxy has sent it; connections of others don't come here, so
 * that they are refused as malformed HTTP or TLS if they begin with one.
 *
 * This module has no socket and no loop. The clock is passed through ProxyServer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_PROXY_SERVER_H
#define GATEWAY_PROXY_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gateway/net/transport.h"

#define PROXY_READ_MS 10000 /* for the whole header, from the connection's start */
#define PROXY_MAX     1024  /* for one more that waits, the oldest is closed */

struct ProxyConnection;

typedef struct ProxyServer
{
	/* Set by the caller of proxy_server_init(). */
	uint64_t (*now)(void); /* milliseconds of a clock that never goes back */
	/* Called for a connection of this proxy that is closed because its header is malformed. */
	void (*refused)(const struct sockaddr_storage *proxy);
	/* Set by proxy_server_init(). */
	TAILQ_HEAD(, ProxyConnection) waiting; /* in the order of arrival */
	uint32_t count;
} ProxyServer;

/* Initialise the server's own members. */
extern void proxy_server_init(ProxyServer *server);

/*
 * Read a header from this transport, whose ownership passes to the server, and then pass it to
 * next(), which sets another owner or abandons it.
 */
extern void
proxy_server_accept(ProxyServer *server, Transport *transport, void (*next)(Transport *transport));

/* Called once a second while proxy_server_waits(): close connections at the end of their time limit. */
extern void proxy_server_tick(ProxyServer *server);
extern bool proxy_server_waits(const ProxyServer *server);

/* Close all connections. */
extern void proxy_server_stop(ProxyServer *server);

#endif /* GATEWAY_PROXY_SERVER_H */
