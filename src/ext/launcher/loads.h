/*-------------------------------------------------------------------------
 *
 * loads.h
 *	  The clients of each database, counted over all gateways.
 *
 * Each gateway reports the loads of its databases: a LOAD for each, and then STATS. The launcher keeps
 * the last report of each gateway, and writes the sums into the shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LOADS_H
#define PG_NOTIFYD_LOADS_H

#include "postgres.h"

#include "wire/wire.h"

/* A gateway reports a database, which may not exist any more. */
extern void loads_report(int gateway, const WireDatabaseLoad *load);

/* The gateway's report is complete: databases that it has not named have no clients there. */
extern void loads_complete(int gateway);

/* The gateway has ended, and has no clients. */
extern void loads_forget(int gateway);

#endif /* PG_NOTIFYD_LOADS_H */
