/*-------------------------------------------------------------------------
 *
 * throttle.h
 *	  Decides how long the feed pauses under load.
 *
 * Feed, gateways and clients need as much time for a round with one transaction as for one with
 * several, and they take it from the cores that the writers run on. So the feed pauses, to read
 * several transactions in a round:
 *
 *	  A round costs a debt: THROTTLE_TIMES its duration for each transaction that it found. The feed
 *	  then pauses for what it owes, at most THROTTLE_MAX_US; the rest of the debt is forgotten. All
 *	  other time that passes pays too, up to THROTTLE_SAVED_US of it in advance.
 *
 * So nothing is delayed while rounds take less than a sixteenth of the time. A client that waits
 * for an event before it writes again is alone in each round, however many rows it writes, and gets
 * the shortest pauses. If transactions come independently, a pause finds several of them, which
 * makes the next one longer, up to the limit.
 *
 * This file and throttle.c do not depend on PostgreSQL, so they can be tested alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_THROTTLE_H
#define PG_NOTIFYD_THROTTLE_H

#include <stdint.h>

#define THROTTLE_TIMES    16
#define THROTTLE_MAX_US   5000
#define THROTTLE_SAVED_US 20000

/*
 * Return how long to pause after a round that took this many microseconds, ended now, and found one
 * or more transactions. *until is the time until which the feed owes, by the same clock as now. It
 * is 0 at first, and updated here.
 */
extern int64_t throttle_pause(int64_t *until, int64_t now, int64_t took, int transactions);

#endif /* PG_NOTIFYD_THROTTLE_H */
