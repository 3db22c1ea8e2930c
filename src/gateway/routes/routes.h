/*-------------------------------------------------------------------------
 *
 * routes.h
 *	  The routes of the HTTP server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_ROUTES_H
#define GATEWAY_ROUTES_H

#include "gateway/base/config.h"
#include "gateway/http/http_server.h"
#include "gateway/hub/hub.h"
#include "gateway/routes/query_route.h"
#include "gateway/routes/waiting.h"
#include "gateway/session/session.h"
#include "gateway/ws/websocket_connection.h"

/* The data that the handlers need. */
typedef struct Routes
{
	const Config *config;
	Hub *hub;
	Sessions *sessions;
	uint64_t (*wall_clock)(void); /* microseconds since 1970 */
	const WebsocketEvents *websocket_events;
	/* Set by routes_init(). */
	Waiting waiting; /* requests that wait for their databases */
	QueryRoute queries;
	uint32_t news; /* value of hub->news at the last attempt */
} Routes;

/*
 * Set the server's routes, with this Routes as their arg. The caller sets the server's clock and
 * limits.
 */
extern void routes_init(HttpServer *server, Routes *routes);

/*
 * Called in each round of the loop, and with tick once a second while routes_wait(), which means
 * that requests wait for their databases or for the answers to queries. Answers requests that have
 * waited for their databases.
 */
extern void routes_tend(Routes *routes, bool tick);
extern bool routes_wait(const Routes *routes);

#endif /* GATEWAY_ROUTES_H */
