/*-------------------------------------------------------------------------
 *
 * watch_counts.h
 *	  Counts the events of a transaction by watch, for the statistics.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WATCH_COUNTS_H
#define PG_NOTIFYD_WATCH_COUNTS_H

#include "postgres.h"

/* The transaction writes an event. watch: as of shared_watch(); 0: it is not counted. */
extern void watch_counts_note(uint16 watch);

/* The transaction has committed: add what was noted to the shared memory. Never fails. */
extern void watch_counts_commit(void);

/* Forget what was noted, at the end of each transaction. */
extern void watch_counts_forget(void);

#endif /* PG_NOTIFYD_WATCH_COUNTS_H */
