/*-------------------------------------------------------------------------
 *
 * watchdog.h
 *	  The launcher's look, every other second, at how feeds and gateways are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WATCHDOG_H
#define PG_NOTIFYD_WATCHDOG_H

#include "postgres.h"

/*
 * Look, if it is time for it: at feeds that are missing or do not respond, and gateways that do not
 * answer. Help those on, or replace them, and tell all gateways what is wrong. Returns after how
 * many ms it is to be called again. For the launcher.
 */
extern long watchdog_tend(int64 now);

/* A gateway has become ready: watchdog_tend() tells it at once what is wrong. */
extern void watchdog_gateway_ready(void);

#endif /* PG_NOTIFYD_WATCHDOG_H */
