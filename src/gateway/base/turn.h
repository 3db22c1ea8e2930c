/*-------------------------------------------------------------------------
 *
 * turn.h
 *	  How much time a kind of work takes in one turn of the loop.
 *
 * A turn of the loop has several kinds of work: frames of feeds, requests of clients, writing queues,
 * handshakes of TLS. Each is done until its time is over, and continues in the next turn, so that
 * none of them keeps the loop from the others. The first piece of work in a turn is always done.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_TURN_H
#define GATEWAY_TURN_H

#include <stdbool.h>
#include <stdint.h>

#define TURN_NS 20000000 /* nanoseconds that most kinds of work take, besides the last piece */

typedef struct Turn
{
	uint64_t end; /* 0: nothing was done in this turn */
} Turn;

/* A turn of the loop begins. */
static inline void
turn_begin(Turn *turn)
{
	turn->end = 0;
}

/*
 * Return true if work must wait for the next turn. Call this before each piece, with the time now and
 * the limit in nanoseconds; the first call in a turn starts the time.
 */
static inline bool
turn_is_over(Turn *turn, uint64_t now, uint64_t limit)
{
	if (turn->end == 0)
		turn->end = now + limit;
	return now >= turn->end;
}

#endif /* GATEWAY_TURN_H */
