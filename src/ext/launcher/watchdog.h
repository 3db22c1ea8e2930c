/*-------------------------------------------------------------------------
 *
 * watchdog.h
 *	  Checks feeds and gateways every other second.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WATCHDOG_H
#define PG_NOTIFYD_WATCHDOG_H

#include "postgres.h"

/*
 * If it is time, check for feeds that are missing or do not respond, and for gateways that do not
 * answer. Signal or replace them, and send the problem to all gateways. Returns the number of ms
 * after which to call this again. For the launcher.
 */
extern long watchdog_tend(int64 now);

/* A gateway has become ready: the next watchdog_tend() sends it the present problem. */
extern void watchdog_gateway_ready(void);

#endif /* PG_NOTIFYD_WATCHDOG_H */
