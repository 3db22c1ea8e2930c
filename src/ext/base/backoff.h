/*-------------------------------------------------------------------------
 *
 * backoff.h
 *	  The delay before a failed operation is tried again.
 *
 * This file and backoff.c do not depend on PostgreSQL, so they can be tested alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_BACKOFF_H
#define PG_NOTIFYD_BACKOFF_H

#define BACKOFF_FIRST_MS   1000
#define BACKOFF_LONGEST_MS 10000

/*
 * Return the delay in ms after this many consecutive failures (1 or more): BACKOFF_FIRST_MS,
 * doubled with each failure, at most BACKOFF_LONGEST_MS.
 */
extern int backoff_delay(int failures);

/*
 * The same for a process that ended soon after its start this many times in a row. The first
 * restart has no delay. 0 failures: 0 ms.
 */
extern int backoff_restart_delay(int failures);

#endif /* PG_NOTIFYD_BACKOFF_H */
