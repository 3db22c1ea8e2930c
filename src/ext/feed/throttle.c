/*-------------------------------------------------------------------------
 *
 * throttle.c
 *	  Decides how long the feed pauses under load. The rule is in throttle.h.
 *
 *-------------------------------------------------------------------------
 */
#include "ext/feed/throttle.h"

int64_t
throttle_pause(int64_t *until, int64_t now, int64_t took, int transactions)
{
	int64_t earliest = now - THROTTLE_SAVED_US;
	int64_t owed =
		(*until > earliest ? *until : earliest) + took * THROTTLE_TIMES * transactions - now;

	if (owed > THROTTLE_MAX_US)
		owed = THROTTLE_MAX_US;
	*until = now + owed;
	return owed > 0 ? owed : 0;
}
