/*-------------------------------------------------------------------------
 *
 * feed_due.c
 *	  When the feed has something to do because time has passed. See feed_due.h.
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
due_position(uint64_t told, uint64_t position, int64_t told_at, int64_t now)
{
	return told != position || due_since(told_at, now, WIRE_HEARTBEAT_MS);
}

bool
due_leave(int64_t *idle_since, bool subscribed, int64_t now, int patience)
{
	/* If the clock has been set back, the feed stays longer rather than too short. */
	if (subscribed || now < *idle_since)
		*idle_since = now;
	return patience >= 0 && !subscribed && due_since(*idle_since, now, patience);
}
