/*-------------------------------------------------------------------------
 *
 * events.h
 *	  GET and HEAD /events: a stream of server-sent events.
 *
 * This module has no socket and no clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_EVENTS_H
#define GATEWAY_EVENTS_H

#include "gateway/base/config.h"
#include "gateway/http/http_server.h"
#include "gateway/hub/hub.h"
#include "gateway/routes/waiting.h"
#include "gateway/session/session.h"

/* What the requests share. Set by the caller, but for waiting. */
typedef struct EventsRoute
{
	const Config *config;
	Hub *hub;
	Sessions *sessions;
	const HttpServer *server;
	uint64_t (*wall_clock)(void); /* microseconds since 1970 */
	Waiting waiting;              /* requests that wait for their databases */
} EventsRoute;

extern void events_init(EventsRoute *route);

/* Answer a request, now or later. */
extern void events_request(EventsRoute *route, HttpConnection *connection, HttpRequest *request);

/*
 * If the response is a refusal that may soon be over, and the client gives up after every status but
 * 200, as EventSource does, make it a stream that ends and says when to come back.
 */
extern void events_soften(EventsRoute *route, const HttpRequest *request, HttpResponse *response);

#endif /* GATEWAY_EVENTS_H */
