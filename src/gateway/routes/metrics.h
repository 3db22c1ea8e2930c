/*-------------------------------------------------------------------------
 *
 * metrics.h
 *	  GET /metrics, in Prometheus' text format.
 *
 * The gateway asks the launcher, which knows all databases, gateways and workers, and adds what only
 * itself knows. So each gateway answers for all. If the launcher does not answer within
 * METRICS_WAIT_MS, the answer has only what this gateway knows, and says that the launcher does not
 * respond: values that may have changed since are left out.
 *
 * Requests that wait share one question, so the launcher has at most one of each gateway.
 *
 * This module has no socket and no clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_METRICS_ROUTE_H
#define GATEWAY_METRICS_ROUTE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gateway/base/config.h"
#include "gateway/http/http_server.h"
#include "gateway/hub/hub.h"
#include "gateway/session/session.h"

#define METRICS_MAX     16   /* maximum number of waiting requests */
#define METRICS_WAIT_MS 2000 /* for the launcher's answer */

typedef struct Metrics
{
	/* Set by the caller. */
	const Config *config;
	const Hub *hub;
	const Sessions *sessions;
	void (*ask)(void);       /* send WANT_METRICS to the launcher */
	uint8_t sandbox_missing; /* WIRE_SANDBOX_ bits */
	/* Set by metrics_init(). */
	bool asked; /* the launcher has not answered yet */
	uint32_t count;
	TAILQ_HEAD(, MetricsRequest) requests; /* in the order of arrival */
} Metrics;

extern void metrics_init(Metrics *metrics);

/* Answer a request, now or later. */
extern void
metrics_request(Metrics *metrics, HttpConnection *connection, const HttpRequest *request);

/* The launcher has answered. */
extern void metrics_arrived(Metrics *metrics, WireBytes text);

/* Called once a second while count is not 0: answer those that have waited too long. */
extern void metrics_tick(Metrics *metrics);

#endif /* GATEWAY_METRICS_ROUTE_H */
