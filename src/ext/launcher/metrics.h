/*-------------------------------------------------------------------------
 *
 * metrics.h
 *	  The launcher's part of GET /metrics.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_METRICS_H
#define PG_NOTIFYD_METRICS_H

#include "postgres.h"

#include "wire/wire.h"

/*
 * Return the metrics of all databases, gateways and workers, and of the launcher, in the current
 * memory context. The number of samples is bounded: NOTIFYD_MAX_DATABASES, NOTIFYD_MAX_GATEWAYS,
 * NOTIFYD_MAX_WATCHES. No label has the name of a role, a claim, or a value of a row.
 */
extern WireBytes metrics_text(void);

#endif /* PG_NOTIFYD_METRICS_H */
