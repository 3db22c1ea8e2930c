/*-------------------------------------------------------------------------
 *
 * gateway_metrics.h
 *	  The metrics of a gateway.
 *
 * The launcher writes them for all gateways, from what they report. While the launcher does not
 * answer, a gateway writes its own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_GATEWAY_METRICS_H
#define PG_NOTIFYD_GATEWAY_METRICS_H

#include "wire/exposition.h"
#include "wire/wire.h"

typedef enum GatewayMetric
{
	GATEWAY_UP = 0,
	GATEWAY_RESTARTS,
	GATEWAY_UNSEEN,
	GATEWAY_MEMORY,
	GATEWAY_SANDBOX_CALLS,
	GATEWAY_SANDBOX_LANDLOCK,
	GATEWAY_CLIENTS,
	GATEWAY_SUBSCRIPTIONS,
	GATEWAY_QUEUED,
	GATEWAY_SLOW,
	GATEWAY_WAITING,
	GATEWAY_BUSY,
	GATEWAY_ACCEPTED,
	GATEWAY_REFUSED, /* WIRE_REFUSALS of them */
	GATEWAY_CLOSED_SLOW = GATEWAY_REFUSED + WIRE_REFUSALS,
	GATEWAY_EVENTS,
	GATEWAY_MESSAGES,
	GATEWAY_BYTES,
	GATEWAY_METRICS,
} GatewayMetric;

extern const ExpositionMetric gateway_metrics[GATEWAY_METRICS];

/* Set the values that a gateway reports. The others become NAN. */
extern void gateway_metrics_fill(double *values, const WireStats *stats);

/* Set which parts of the sandbox there are. missing: WIRE_SANDBOX_ bits; wanted: the setting is not off. */
extern void gateway_metrics_sandbox(double *values, uint8_t missing, bool wanted);

#endif /* PG_NOTIFYD_GATEWAY_METRICS_H */
