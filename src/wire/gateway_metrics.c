/*-------------------------------------------------------------------------
 *
 * gateway_metrics.c
 *	  The metrics of a gateway. See gateway_metrics.h.
 *
 *-------------------------------------------------------------------------
 */
#include "wire/gateway_metrics.h"

#include <math.h>

static const char *const sandbox_parts[] = {"seccomp", "landlock"};

#define SANDBOX_HELP "1 if the gateway has given up what this part of its sandbox forbids."

#define REFUSED(reason)                                                                            \
	[GATEWAY_REFUSED + WIRE_REFUSED_##reason] = {                                                  \
		"pg_notifyd_gateway_refused_total", "counter", "Requests and clients that were refused.",  \
		"reason", &wire_refusal_names[WIRE_REFUSED_##reason]}

const ExpositionMetric gateway_metrics[GATEWAY_METRICS] = {
	[GATEWAY_UP] = {.name = "pg_notifyd_gateway_up",
					.type = "gauge",
					.help = "1 if the gateway is ready and responds."},
	[GATEWAY_RESTARTS] = {.name = "pg_notifyd_gateway_restarts_total",
						  .type = "counter",
						  .help = "Times that the gateway was started again."},
	[GATEWAY_UNSEEN] = {.name = "pg_notifyd_gateway_last_seen_seconds",
						.type = "gauge",
						.help = "Time since the gateway last sent something to the launcher."},
	[GATEWAY_MEMORY] = {.name = "pg_notifyd_gateway_resident_memory_bytes",
						.type = "gauge",
						.help = "Resident memory of the gateway."},
	[GATEWAY_SANDBOX_CALLS] = {"pg_notifyd_gateway_sandbox", "gauge", SANDBOX_HELP, "part",
							   &sandbox_parts[0]},
	[GATEWAY_SANDBOX_LANDLOCK] = {"pg_notifyd_gateway_sandbox", "gauge", SANDBOX_HELP, "part",
								  &sandbox_parts[1]},
	[GATEWAY_CLIENTS] = {.name = "pg_notifyd_gateway_clients",
						 .type = "gauge",
						 .help = "Connected clients."},
	[GATEWAY_SUBSCRIPTIONS] = {.name = "pg_notifyd_gateway_subscriptions",
							   .type = "gauge",
							   .help = "Subscriptions of the gateway's clients."},
	[GATEWAY_QUEUED] = {.name = "pg_notifyd_gateway_queued_bytes",
						.type = "gauge",
						.help = "Bytes that are queued for clients."},
	[GATEWAY_SLOW] = {.name = "pg_notifyd_gateway_slow_clients",
					  .type = "gauge",
					  .help = "Clients that have not taken everything for 10 seconds."},
	[GATEWAY_WAITING] = {.name = "pg_notifyd_gateway_waiting_queries",
						 .type = "gauge",
						 .help = "Requests of clients that wait for a worker."},
	[GATEWAY_BUSY] = {.name = "pg_notifyd_gateway_loop_lag_seconds",
					  .type = "gauge",
					  .help =
						  "The longest time in the last second that new data has waited for the "
						  "gateway's loop."},
	[GATEWAY_ACCEPTED] = {.name = "pg_notifyd_gateway_accepted_total",
						  .type = "counter",
						  .help = "Clients that have connected."},
	REFUSED(REQUEST),
	REFUSED(HOST),
	REFUSED(ORIGIN),
	REFUSED(TOKEN),
	REFUSED(DATABASE),
	REFUSED(CLIENTS),
	REFUSED(CLIENTS_PER_ADDRESS),
	REFUSED(HANDSHAKES_PER_ADDRESS),
	REFUSED(FAILED_TOKENS_PER_ADDRESS),
	REFUSED(PROXY),
	REFUSED(SSL),
	REFUSED(METRICS),
	REFUSED(RESOURCES),
	[GATEWAY_CLOSED_SLOW] = {.name = "pg_notifyd_gateway_closed_slow_total",
							 .type = "counter",
							 .help = "Clients that were closed because they read too slowly."},
	[GATEWAY_EVENTS] = {.name = "pg_notifyd_gateway_events_received_total",
						.type = "counter",
						.help = "Events that the gateway has received from feeds."},
	[GATEWAY_MESSAGES] = {.name = "pg_notifyd_gateway_messages_total",
						  .type = "counter",
						  .help = "Messages that were queued for clients."},
	[GATEWAY_BYTES] = {.name = "pg_notifyd_gateway_sent_bytes_total",
					   .type = "counter",
					   .help = "Bytes that were sent to clients."},
};

void
gateway_metrics_fill(double *values, const WireStats *stats)
{
	for (int i = 0; i < GATEWAY_METRICS; i++)
		values[i] = NAN;
	values[GATEWAY_CLIENTS] = stats->clients;
	values[GATEWAY_SUBSCRIPTIONS] = stats->subscriptions;
	values[GATEWAY_QUEUED] = (double) stats->queued;
	values[GATEWAY_SLOW] = stats->slow;
	values[GATEWAY_WAITING] = stats->waiting;
	values[GATEWAY_BUSY] = stats->busy_ms / 1000.0;
	values[GATEWAY_ACCEPTED] = (double) stats->accepted;
	for (int i = 0; i < WIRE_REFUSALS; i++)
		values[GATEWAY_REFUSED + i] = (double) stats->refused[i];
	values[GATEWAY_CLOSED_SLOW] = (double) stats->closed_slow;
	values[GATEWAY_EVENTS] = (double) stats->events;
	values[GATEWAY_MESSAGES] = (double) stats->messages;
	values[GATEWAY_BYTES] = (double) stats->bytes;
}

void
gateway_metrics_sandbox(double *values, uint8_t missing, bool wanted)
{
	values[GATEWAY_SANDBOX_CALLS] = wanted && (missing & WIRE_SANDBOX_CALLS) == 0;
	values[GATEWAY_SANDBOX_LANDLOCK] = wanted && (missing & WIRE_SANDBOX_LANDLOCK) == 0;
}
