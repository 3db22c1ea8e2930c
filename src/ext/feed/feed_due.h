/*-------------------------------------------------------------------------
 *
 * feed_due.h
 *	  Decides when the feed has something to do because time has passed.
 *
 * Times are in microseconds of a clock that may be set back. This file and feed_due.c do not depend
 * on PostgreSQL, and the caller passes the time, so they can be tested alone and without waiting
 * (test/unit/test_feed_due.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_DUE_H
#define PG_NOTIFYD_FEED_DUE_H

#include <stdbool.h>
#include <stdint.h>

/* Return true if ms have passed since then, or if the clock was set back. */
extern bool due_since(int64_t since, int64_t now, int64_t ms);

/*
 * Return true if a gateway needs a POSITION frame: the position has changed, or the last frame was
 * sent WIRE_HEARTBEAT_MS ago.
 */
extern bool due_position(uint64_t announced, uint64_t position, int64_t announced_at, int64_t now);

/*
 * Return true if there were no subscribers for limit ms, so that the feed may end. A negative limit
 * means never. Updates *idle_since.
 */
extern bool due_end(int64_t *idle_since, bool subscribed, int64_t now, int limit);

#endif /* PG_NOTIFYD_FEED_DUE_H */
