/*-------------------------------------------------------------------------
 *
 * feed_due.c
 *	  Decides when the feed has something to do because time has passed. See feed_due.h.
 *
 *-------------------------------------------------------------------------
 */
#include "ext/feed/feed_due.h"

#include "wire/wire.h"

bool
due_since(int64_t since, int64_t now, int64_t ms)
{
	return now < since || now - since >= ms * 1000;
}

bool
due_position(uint64_t announced, uint64_t position, int64_t announced_at, int64_t now)
{
	return announced != position || due_since(announced_at, now, WIRE_HEARTBEAT_MS);
}

bool
due_end(int64_t *idle_since, bool subscribed, int64_t now, int limit)
{
	/* If the clock was set back, rather continue for too long than end too early. */
	if (subscribed || now < *idle_since)
		*idle_since = now;
	return limit >= 0 && !subscribed && due_since(*idle_since, now, limit);
}
