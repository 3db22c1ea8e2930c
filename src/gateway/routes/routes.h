/*-------------------------------------------------------------------------
 *
 * routes.h
 *	  What there is on the port: the table of the HTTP server's routes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_ROUTES_H
#define GATEWAY_ROUTES_H

#include "gateway/base/config.h"
#include "gateway/http/http_server.h"
#include "gateway/hub/hub.h"
#include "gateway/routes/waiting.h"
#include "gateway/session/session.h"
#include "gateway/ws/websocket_connection.h"

/* What the handlers need. */
typedef struct Routes
{
	const Config *config;
	Hub *hub;
	Sessions *sessions;
	uint64_t (*wall_clock)(void); /* microseconds since 1970 */
	const WebsocketEvents *websocket_events;
	/* Its own. */
	Waiting waiting; /* for their databases */
	uint32_t news;   /* the hub's, when they were tried last */
} Routes;

/*
 * Have the server answer by our routes, which are the table's arg. Its clock and its limits are the
 * caller's.
 */
extern void routes_init(HttpServer *server, Routes *routes);

/*
 * In each round of the loop, and once a second (tick) while routes_wait(): answer those that have
 * waited for their databases.
 */
extern void routes_tend(Routes *routes, bool tick);
extern bool routes_wait(const Routes *routes);

#endif /* GATEWAY_ROUTES_H */
