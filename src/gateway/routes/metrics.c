/*-------------------------------------------------------------------------
 *
 * metrics.c
 *	  GET /metrics. See metrics.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "wire/network.h"
#include "gateway/routes/rest.h"
#include "wire/exposition.h"
#include "wire/gateway_metrics.h"

#define METRICS_COUNT(table) (sizeof(table) / sizeof((table)[0]))

typedef struct MetricsRequest
{
	TAILQ_ENTRY(MetricsRequest) in_metrics;
	Metrics *metrics;
	HttpConnection *connection;
	uint64_t deadline;
} MetricsRequest;

/* ---------------- what only this gateway knows ---------------- */

enum
{
	OWN_UP,
	OWN_LAUNCHER_UP,
	OWN_LAUNCHER_UNSEEN,
	OWN_METRICS
};

static const ExpositionMetric metrics_own[OWN_METRICS] = {
	[OWN_UP] = {.name = "pg_notifyd_up", .type = "gauge", .help = "1: a gateway has answered."},
	[OWN_LAUNCHER_UP] = {.name = "pg_notifyd_launcher_up",
						 .type = "gauge",
						 .help =
							 "1 if the launcher has answered. Otherwise most metrics are missing."},
	[OWN_LAUNCHER_UNSEEN] = {.name = "pg_notifyd_launcher_last_seen_seconds",
							 .type = "gauge",
							 .help = "Time since the launcher last reported to this gateway."},
};

enum
{
	LINK_LAG,
	LINK_UNSEEN,
	LINK_METRICS
};

/* From the feeds' own reports, while the launcher does not answer. */
static const ExpositionMetric metrics_link[LINK_METRICS] = {
	[LINK_LAG] = {.name = "pg_notifyd_feed_lag_seconds",
				  .type = "gauge",
				  .help =
					  "How long the oldest commit has waited, at most, as the feed has reported."},
	[LINK_UNSEEN] = {.name = "pg_notifyd_feed_last_seen_seconds",
					 .type = "gauge",
					 .help = "Time since the feed last reported to this gateway."},
};

typedef struct MetricsLink
{
	double values[LINK_METRICS];
	ExpositionLabel label;
} MetricsLink;

static double
metrics_since(uint64_t then, uint64_t now)
{
	return then != 0 ? (double) (now - then) / 1000 : NAN;
}

/* The databases whose feeds are connected. *rows and *links are freed by the caller. */
static size_t
metrics_links(const Hub *hub, uint64_t now, ExpositionRow **rows, MetricsLink **links)
{
	const Database *database;
	size_t n = 0;

	LIST_FOREACH(database, &hub->databases, in_hub)
	n++;
	*rows = memory_new((n + 1) * sizeof(ExpositionRow));
	*links = memory_new((n + 1) * sizeof(MetricsLink));
	n = 0;
	LIST_FOREACH(database, &hub->databases, in_hub)
	{
		MetricsLink *link = &(*links)[n];
		double unseen = metrics_since(database->heard_at, now);

		if (database->link == NULL)
			continue;
		link->label = (ExpositionLabel){.name = "database", .value = database->name};
		link->values[LINK_UNSEEN] = unseen;
		/* It reports at least once in WIRE_HEARTBEAT_MS. If it is silent, nothing is known. */
		link->values[LINK_LAG] =
			database->behind_ms / 1000.0 + (unseen > 2 * WIRE_HEARTBEAT_MS / 1000.0 ? unseen : 0);
		(*rows)[n++] =
			(ExpositionRow){.labels = &link->label, .nlabels = 1, .values = link->values};
	}
	return n;
}

/* This gateway, as the launcher would write it. */
static void
metrics_gateway(const Metrics *metrics, double *values)
{
	gateway_metrics_fill(values, &metrics->sessions->stats);
	gateway_metrics_sandbox(values, metrics->sandbox_missing,
							metrics->config->sandbox != WIRE_SANDBOX_OFF);
	values[GATEWAY_UP] = 1;
	values[GATEWAY_UNSEEN] = 0;
}

/* ---------------- the answer ---------------- */

/* Write the answer: the launcher's text, or without one (NULL) what this gateway knows itself. */
static void
metrics_write(const Metrics *metrics, const WireBytes *text, HttpResponse *response)
{
	uint64_t now = metrics->sessions->now();
	double own[OWN_METRICS] = {
		1,
		text != NULL,
		metrics_since(metrics->hub->health_at, now),
	};
	double gateway[GATEWAY_METRICS];
	char number[12];
	ExpositionLabel label = {.name = "gateway", .value = number};
	ExpositionRow own_row = {.values = own};
	ExpositionRow gateway_row = {.labels = &label, .nlabels = 1, .values = gateway};
	ExpositionRow *rows;
	MetricsLink *links;
	size_t nlinks = metrics_links(metrics->hub, now, &rows, &links);
	Exposition body = {0};
	size_t len = text != NULL ? text->len : 0;

	snprintf(number, sizeof(number), "%u", metrics->config->gateway);
	metrics_gateway(metrics, gateway);
	/* First to measure it, then to write it. */
	for (int i = 0; i < 2; i++)
	{
		body.len = len;
		exposition_table(&body, metrics_own, OWN_METRICS, &own_row, 1);
		if (text == NULL)
		{
			exposition_table(&body, metrics_link, LINK_METRICS, rows, nlinks);
			exposition_table(&body, gateway_metrics, GATEWAY_METRICS, &gateway_row, 1);
		}
		if (body.buf == NULL)
			body = (Exposition){.buf = memory_new(body.len), .cap = body.len};
	}
	if (len > 0)
		memcpy(body.buf, text->data, len);
	free(rows);
	free(links);
	http_response_bytes(response, 200, EXPOSITION_CONTENT_TYPE, body.buf, body.len);
	response->owned = body.buf;
}

static void
metrics_remove(MetricsRequest *request)
{
	TAILQ_REMOVE(&request->metrics->requests, request, in_metrics);
	request->metrics->count--;
	free(request);
}

static void
metrics_answer(MetricsRequest *request, const WireBytes *text)
{
	HttpConnection *connection = request->connection;
	HttpResponse response;

	metrics_write(request->metrics, text, &response);
	metrics_remove(request);
	http_respond(connection, &response);
}

static void
metrics_writable(void *owner)
{
	(void) owner;
}

static void
metrics_closed(void *owner)
{
	metrics_remove(owner);
}

static const HttpOwner metrics_events = {
	.writable = metrics_writable, .closed = metrics_closed, .half_closed = true};

void
metrics_arrived(Metrics *metrics, WireBytes text)
{
	MetricsRequest *request;

	metrics->asked = false;
	while ((request = TAILQ_FIRST(&metrics->requests)) != NULL)
		metrics_answer(request, &text);
}

void
metrics_tick(Metrics *metrics)
{
	uint64_t now = metrics->sessions->now();
	MetricsRequest *request;

	while ((request = TAILQ_FIRST(&metrics->requests)) != NULL && now >= request->deadline)
		metrics_answer(request, NULL);
}

/* ---------------- requests ---------------- */

static bool
metrics_forwarded(const HttpRequest *request)
{
	return http_request_header(request, "forwarded").data != NULL ||
		   http_request_header(request, "x-forwarded-for").data != NULL ||
		   http_request_header(request, "via").data != NULL;
}

/*
 * Return why the client may not read the metrics, or NULL. A request that a proxy has passed on
 * comes from elsewhere, although the proxy may run on this machine.
 */
static const char *
metrics_refusal(const Metrics *metrics, const HttpConnection *connection,
				const HttpRequest *request)
{
	const char *proxies = metrics->config->trusted_proxies;
	struct sockaddr_storage peer;

	if (metrics_forwarded(request))
	{
		if (!http_peer(connection, &peer) || !network_list_contains(proxies, &peer))
			return "a proxy that is not in pg_notifyd.trusted_proxies has forwarded this request";
		if (network_list_contains(proxies, http_client(connection)))
			return "a proxy has forwarded this request and does not say for whom";
	}
	if (!network_list_contains(metrics->config->metrics_addresses, http_client(connection)))
		return "this address is not in pg_notifyd.metrics_addresses";
	return NULL;
}

void
metrics_request(Metrics *metrics, HttpConnection *connection, const HttpRequest *request)
{
	HttpResponse response;
	MetricsRequest *waiting;
	const char *refusal;

	if (metrics->config->metrics_addresses[0] == '\0')
	{
		rest_not_found(connection);
		return;
	}
	refusal = metrics_refusal(metrics, connection, request);
	if (refusal != NULL || metrics->count >= METRICS_MAX)
	{
		http_response_text(&response, refusal != NULL ? 403 : 503, "%s",
						   refusal != NULL ? refusal : "too many requests for the metrics");
		response.refusal = refusal != NULL ? WIRE_REFUSED_METRICS : WIRE_REFUSED_RESOURCES;
		http_respond(connection, &response);
		return;
	}
	waiting = memory_zeroed(sizeof(MetricsRequest));
	*waiting = (MetricsRequest){.metrics = metrics,
								.connection = connection,
								.deadline = metrics->sessions->now() + METRICS_WAIT_MS};
	TAILQ_INSERT_TAIL(&metrics->requests, waiting, in_metrics);
	metrics->count++;
	http_keep(connection, &metrics_events, waiting);
	if (!metrics->asked)
	{
		metrics->asked = true;
		metrics->ask();
	}
}

void
metrics_init(Metrics *metrics)
{
	metrics->asked = false;
	metrics->count = 0;
	TAILQ_INIT(&metrics->requests);
}
