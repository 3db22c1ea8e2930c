/*-------------------------------------------------------------------------
 *
 * loop_lag.h
 *	  For how long new data has waited because the loop was busy.
 *
 * This is the time between two ends of turns, except that in which the loop waited for something to
 * do. So it has all phases of a turn: timers, reading, and what is done before the loop waits again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_LOOP_LAG_H
#define GATEWAY_LOOP_LAG_H

#include <stdint.h>

#include <uv.h>

typedef struct LoopLag
{
	uv_loop_t *loop;
	uint64_t ended;   /* the last turn, */
	uint64_t idle;    /* and how long the loop had waited until then, in ns */
	uint64_t longest; /* turn since the last loop_lag_take(), in ns */
} LoopLag;

/* Measure this loop, which has not run yet. */
extern void loop_lag_start(LoopLag *lag, uv_loop_t *loop);

/* A turn ends: the loop will wait next. */
extern void loop_lag_turn(LoopLag *lag);

/* Return the longest turn since the last call, in milliseconds. */
extern uint32_t loop_lag_take(LoopLag *lag);

#endif /* GATEWAY_LOOP_LAG_H */
