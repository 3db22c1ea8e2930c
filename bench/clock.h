/*-------------------------------------------------------------------------
 *
 * clock.h
 *	  The clocks of the benchmark programs, in nanoseconds.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t
clock_read(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

/* For durations. */
static inline uint64_t
clock_monotonic(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

/* Since 1970, like the clock of the server on the same machine. */
static inline uint64_t
clock_wall(void)
{
	return clock_read(CLOCK_REALTIME);
}

/* The processor time of this process. */
static inline uint64_t
clock_cpu(void)
{
	return clock_read(CLOCK_PROCESS_CPUTIME_ID);
}

#endif /* BENCH_CLOCK_H */
