/*-------------------------------------------------------------------------
 *
 * log_throttle.h
 *	  Log lines that clients can cause, at most one a minute about the same.
 *
 * What a line is about is its key, for example an origin. Of different keys, there are at most
 * LOG_THROTTLE_KEYS lines a minute. Lines that must not keep each other out of the log have a
 * LogThrottle each. This module has no clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_LOG_THROTTLE_H
#define GATEWAY_LOG_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_THROTTLE_MS   60000
#define LOG_THROTTLE_KEYS 8

#define LOG_THROTTLE_OTHERS 80

/* All zero: nothing was logged. */
typedef struct LogThrottle
{
	struct
	{
		uint64_t key; /* a hash */
		uint64_t until;
	} lines[LOG_THROTTLE_KEYS];
	uint64_t left_out; /* lines since the last one that was allowed */
} LogThrottle;

/*
 * Return true if a line with this key may be logged at the time now, in milliseconds. Then *left_out is
 * the number of lines, of any key, that were not allowed since the last one that was.
 */
extern bool log_throttle_allows(LogThrottle *throttle, const void *key, size_t len, uint64_t now,
								uint64_t *left_out) __attribute__((warn_unused_result));

/*
 * Write the end of a line that log_throttle_allows() has allowed to text, LOG_THROTTLE_OTHERS bytes: how many more of
 * this kind were not logged. Empty if left_out is 0. what: "", or a space and the kind's plural, such as " refusals".
 */
extern void log_throttle_others(char *text, uint64_t left_out, const char *what);

#endif /* GATEWAY_LOG_THROTTLE_H */
