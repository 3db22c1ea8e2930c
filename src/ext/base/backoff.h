/*-------------------------------------------------------------------------
 *
 * backoff.h
 *	  How long to wait before something that has failed is tried again.
 *
 * This file and backoff.c need nothing of PostgreSQL, so that they are tested alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_BACKOFF_H
#define PG_NOTIFYD_BACKOFF_H

#define BACKOFF_FIRST_MS   1000
#define BACKOFF_LONGEST_MS 10000

/*
 * The time to wait, in ms, after this many failures in a row (1 or more): BACKOFF_FIRST_MS,
 * doubled with each failure, up to BACKOFF_LONGEST_MS.
 */
extern int backoff_delay(int failures);

/*
 * The same for a process that ended soon after its start this many times in a row: it is started
 * again at once after the first time. 0 failures: 0 ms.
 */
extern int backoff_restart_delay(int failures);

#endif /* PG_NOTIFYD_BACKOFF_H */
