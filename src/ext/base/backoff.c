/*-------------------------------------------------------------------------
 *
 * backoff.c
 *	  The delay before a failed operation is tried again. See backoff.h.
 *
 *-------------------------------------------------------------------------
 */
#include "ext/base/backoff.h"

int
backoff_delay(int failures)
{
	int delay = BACKOFF_FIRST_MS;

	for (int i = 1; i < failures && delay < BACKOFF_LONGEST_MS; i++)
		delay *= 2;
	return delay < BACKOFF_LONGEST_MS ? delay : BACKOFF_LONGEST_MS;
}

int
backoff_restart_delay(int failures)
{
	return failures <= 1 ? 0 : backoff_delay(failures - 1);
}
