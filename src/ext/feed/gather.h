/*-------------------------------------------------------------------------
 *
 * gather.h
 *	  For how long the feed lets events gather.
 *
 * Feed, gateways and clients take as long for a round with one transaction as for one with several,
 * and they take it from the cores that the writers run on. So the rule is:
 *
 *	  A round costs a debt: for each transaction that it found, GATHER_TIMES as long as it took. The feed then pauses for
 *	  what it owes, but never for longer than GATHER_MOST_US, and what it owes beyond that is forgotten. Time that passes
 *	  otherwise pays as well, and up to GATHER_SAVED_US of it pays in advance.
 *
 * What follows: while less than a sixteenth of the time goes into rounds, nothing waits. Whoever
 * waits for an event before writing again is alone in each round, however many rows are written,
 * and has the shortest pauses. Where transactions come by themselves, a pause finds several, which
 * makes the next one longer, up to the limit.
 *
 * This file and gather.c need nothing of PostgreSQL, so that they are tested alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_GATHER_H
#define PG_NOTIFYD_GATHER_H

#include <stdint.h>

#define GATHER_TIMES    16
#define GATHER_MOST_US  5000
#define GATHER_SAVED_US 20000

/*
 * How long to pause after a round that took so many microseconds, ended now, and found so many
 * transactions, one at least. *free_at is until when the feed owes time, by the same clock as now:
 * zero at first, and kept here.
 */
extern int64_t gather_pause(int64_t *free_at, int64_t now, int64_t took, int transactions);

#endif /* PG_NOTIFYD_GATHER_H */
