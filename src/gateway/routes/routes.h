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
#include "gateway/routes/group_route.h"
#include "gateway/routes/metrics.h"
#include "gateway/routes/events.h"
#include "gateway/routes/query_route.h"
#include "gateway/routes/refusal.h"
#include "gateway/routes/waiting.h"
#include "gateway/session/session.h"
#include "gateway/ws/websocket_connection.h"

/* The data that the handlers need. */
typedef struct Routes
{
	const Config *config;
	Limiter *limiter;
	Hub *hub;
	Sessions *sessions;
	uint64_t (*wall_clock)(void); /* microseconds since 1970 */
	const WebsocketEvents *websocket_events;
	void (*ask_metrics)(void); /* send WANT_METRICS to the launcher */
	/* Set by routes_init(). */
	Metrics metrics;
	EventsRoute events;
	Waiting waiting; /* requests that wait for their databases */
	QueryRoute queries;
	GroupRoute groups;
	LogThrottle refusals[WIRE_REFUSALS]; /* that were logged, by reason */
	uint32_t news;                       /* value of hub->news at the last attempt */
} Routes;

/*
 * Set the server's routes, with this Routes as their arg. The caller sets the server's clock and
 * limits.
 */
extern void routes_init(HttpServer *server, Routes *routes);

/* Count and log that a proxy has sent a malformed header of the PROXY protocol. */
extern void routes_refuse_proxy(Routes *routes, const struct sockaddr_storage *proxy);

/* Called when the settings have changed: pg_notifyd.page decides whether there is a live page. */
extern void routes_configure(HttpServer *server, const Routes *routes);

/*
 * Called in each round of the loop, and with tick once a second while routes_wait(), which means
 * that requests wait for their databases or for the answers to queries. Answers requests that have
 * waited for their databases.
 */
extern void routes_tend(Routes *routes, bool tick);
extern bool routes_wait(const Routes *routes);

#endif /* GATEWAY_ROUTES_H */
