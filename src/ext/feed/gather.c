/*-------------------------------------------------------------------------
 *
 * gather.c
 *	  For how long the feed lets events gather. The rule is in gather.h.
 *
 *-------------------------------------------------------------------------
 */
#include "ext/feed/gather.h"

int64_t
gather_pause(int64_t *free_at, int64_t now, int64_t took, int transactions)
{
	int64_t earliest = now - GATHER_SAVED_US;
	int64_t owed =
		(*free_at > earliest ? *free_at : earliest) + took * GATHER_TIMES * transactions - now;

	if (owed > GATHER_MOST_US)
		owed = GATHER_MOST_US;
	*free_at = now + owed;
	return owed > 0 ? owed : 0;
}
