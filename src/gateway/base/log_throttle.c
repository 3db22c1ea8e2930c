/*-------------------------------------------------------------------------
 *
 * log_throttle.c
 *	  Log lines that clients can cause, at most one a minute about the same.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/base/log_throttle.h"

#include <inttypes.h>
#include <stdio.h>

/* FNV-1a. Who finds another key with the same hash only keeps a line about it out of the log. */
static uint64_t
log_throttle_hash(const uint8_t *key, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ key[i]) * 0x100000001b3;
	return hash;
}

bool
log_throttle_allows(LogThrottle *throttle, const void *key, size_t len, uint64_t now,
					uint64_t *left_out)
{
	uint64_t hash = log_throttle_hash(key, len);
	int expired = -1;

	for (int i = 0; i < LOG_THROTTLE_KEYS; i++)
	{
		if (throttle->lines[i].until <= now)
			expired = i;
		else if (throttle->lines[i].key == hash)
		{
			throttle->left_out++;
			return false;
		}
	}
	if (expired < 0)
	{
		throttle->left_out++;
		return false;
	}
	throttle->lines[expired].key = hash;
	throttle->lines[expired].until = now + LOG_THROTTLE_MS;
	*left_out = throttle->left_out;
	throttle->left_out = 0;
	return true;
}

void
log_throttle_others(char *text, uint64_t left_out, const char *what)
{
	text[0] = '\0';
	if (left_out > 0)
		snprintf(text, LOG_THROTTLE_OTHERS, "; %" PRIu64 " more%s of this kind were not logged",
				 left_out, what);
}
