/*-------------------------------------------------------------------------
 *
 * histogram.h
 *	  Counts durations in buckets that are at most 1.6 % of their value wide.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

#define HISTOGRAM_SUB_BITS 6 /* buckets to a power of two: 2^6 */
#define HISTOGRAM_BUCKETS  ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

/* All zero: empty. */
typedef struct Histogram
{
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
} Histogram;

extern void histogram_add(Histogram *histogram, uint64_t value);

/*
 * Return the value that this fraction (0 to 1) of all values does not exceed; 0 if there are none.
 */
extern uint64_t histogram_quantile(const Histogram *histogram, double part);

/*
 * Write it as a JSON object: count, and mean, p50, p90, p99, p999 and max in microseconds. The
 * values are nanoseconds.
 */
extern void histogram_print(const Histogram *histogram, FILE *to);

#endif /* BENCH_HISTOGRAM_H */
