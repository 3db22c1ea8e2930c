/*-------------------------------------------------------------------------
 *
 * feed_due.h
 *	  When the feed has something to do because time has passed.
 *
 * Times are in microseconds of a clock that may be set back. This file and feed_due.c need nothing
 * of PostgreSQL, and the time comes from the caller, so that they are tested alone and without
 * waiting (test/unit/test_feed_due.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_DUE_H
#define PG_NOTIFYD_FEED_DUE_H

#include <stdbool.h>
#include <stdint.h>

/* Have so many ms passed since then? Also true if the clock has been set back since. */
extern bool due_since(int64_t since, int64_t now, int64_t ms);

/*
 * Has a link to be told its position: is it another one, or has it been told nothing for
 * WIRE_HEARTBEAT_MS?
 */
extern bool due_position(uint64_t told, uint64_t position, int64_t told_at, int64_t now);

/*
 * Has nobody been subscribed for so long that the feed may leave? patience: ms; below 0: never.
 * *idle_since is kept here.
 */
extern bool due_leave(int64_t *idle_since, bool subscribed, int64_t now, int patience);

#endif /* PG_NOTIFYD_FEED_DUE_H */
