/*-------------------------------------------------------------------------
 *
 * histogram.c
 *	  Counts durations in buckets that are at most 1.6 % of their value wide.
 *
 * Values below 2^HISTOGRAM_SUB_BITS have a bucket each. Every larger power of two has as many
 * buckets: the value's highest bit selects the row, and the following bits the bucket.
 *
 *-------------------------------------------------------------------------
 */
#include "histogram.h"

static unsigned
histogram_bucket(uint64_t value)
{
	unsigned shift;

	if (value < 1u << HISTOGRAM_SUB_BITS)
		return (unsigned) value;
	shift = 63 - (unsigned) __builtin_clzll(value) - HISTOGRAM_SUB_BITS;
	return ((shift + 1) << HISTOGRAM_SUB_BITS) + (unsigned) (value >> shift) -
		   (1u << HISTOGRAM_SUB_BITS);
}

/* Return the largest value of a bucket. */
static uint64_t
histogram_upper(unsigned bucket)
{
	unsigned row = bucket >> HISTOGRAM_SUB_BITS;
	uint64_t low = bucket & ((1u << HISTOGRAM_SUB_BITS) - 1);

	if (row == 0)
		return low;
	return ((low + (1u << HISTOGRAM_SUB_BITS) + 1) << (row - 1)) - 1;
}

void
histogram_add(Histogram *histogram, uint64_t value)
{
	histogram->count++;
	histogram->sum += value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->buckets[histogram_bucket(value)]++;
}

uint64_t
histogram_quantile(const Histogram *histogram, double part)
{
	uint64_t wanted = (uint64_t) (part * (double) histogram->count + 0.5);
	uint64_t seen = 0;

	if (wanted == 0)
		wanted = 1;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
	{
		seen += histogram->buckets[i];
		if (seen >= wanted)
			return histogram_upper(i) < histogram->max ? histogram_upper(i) : histogram->max;
	}
	return histogram->max;
}

void
histogram_print(const Histogram *histogram, FILE *to)
{
	double mean = histogram->count > 0 ? (double) histogram->sum / (double) histogram->count : 0;

	fprintf(to, "{\"count\":%llu,\"mean\":%.1f", (unsigned long long) histogram->count,
			mean / 1000);
	fprintf(to, ",\"p50\":%.1f", (double) histogram_quantile(histogram, 0.5) / 1000);
	fprintf(to, ",\"p90\":%.1f", (double) histogram_quantile(histogram, 0.9) / 1000);
	fprintf(to, ",\"p99\":%.1f", (double) histogram_quantile(histogram, 0.99) / 1000);
	fprintf(to, ",\"p999\":%.1f", (double) histogram_quantile(histogram, 0.999) / 1000);
	fprintf(to, ",\"max\":%.1f}", (double) histogram->max / 1000);
}
