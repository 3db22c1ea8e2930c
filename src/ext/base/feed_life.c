/*-------------------------------------------------------------------------
 *
 * feed_life.c
 *	  The states of a database's feed. feed_life.h has a diagram.
 *
 *-------------------------------------------------------------------------
 */
#include "ext/base/feed_life.h"

#include "ext/base/backoff.h"

/* An event without a step in this table changes nothing. */
typedef struct FeedStep
{
	bool taken;
	FeedState next;
} FeedStep;

#define TO(next)                                                                                   \
	{                                                                                              \
		true, FEED_##next                                                                          \
	}

static const FeedStep feed_steps[FEED_STATES][FEED_EVENTS] = {
	[FEED_WANTED] =
		{
			[FEED_EVENT_STARTED] = TO(STARTING),
			[FEED_EVENT_ATTACHED] = TO(RUNNING),
			[FEED_EVENT_CREATED] = TO(WANTED),
		},
	[FEED_STARTING] =
		{
			[FEED_EVENT_NO_SLOT] = TO(WANTED),
			[FEED_EVENT_ATTACHED] = TO(RUNNING),
			[FEED_EVENT_ENDED] = TO(WANTED),
			[FEED_EVENT_GAVE_WAY] = TO(WANTED),
			[FEED_EVENT_CREATED] = TO(STARTING),
		},
	[FEED_RUNNING] =
		{
			[FEED_EVENT_ATTACHED] = TO(RUNNING),
			[FEED_EVENT_ENDED] = TO(WANTED),
			[FEED_EVENT_GAVE_WAY] = TO(WANTED),
			[FEED_EVENT_NO_EXTENSION] = TO(ABSENT),
			[FEED_EVENT_NOT_NEEDED] = TO(ASLEEP),
			[FEED_EVENT_CREATED] = TO(RUNNING),
		},
	[FEED_ABSENT] =
		{
			[FEED_EVENT_ATTACHED] = TO(RUNNING),
			[FEED_EVENT_CREATED] = TO(WANTED),
		},
	[FEED_ASLEEP] =
		{
			[FEED_EVENT_ATTACHED] = TO(RUNNING),
			[FEED_EVENT_CREATED] = TO(WANTED),
			[FEED_EVENT_NEEDED] = TO(WANTED),
			[FEED_EVENT_RETENTION_DUE] = TO(WANTED),
		},
};

/* The feed has ended: compute when the next one may be started. */
static void
feed_life_end(FeedLife *life, bool failed, int64_t now)
{
	life->failures = failed ? life->failures + 1 : 0;
	life->retry_at = failed ? now + backoff_restart_delay(life->failures) * INT64_C(1000) : 0;
}

void
feed_life_step(FeedLife *life, FeedEvent event, int64_t now)
{
	FeedStep step = feed_steps[life->state][event];

	if (!step.taken || (event == FEED_EVENT_NEEDED && life->excluded))
		return;
	switch (event)
	{
		case FEED_EVENT_STARTED:
			life->created = false;
			life->started_at = now;
			break;
		case FEED_EVENT_ATTACHED:
			life->started_at = now;
			break;
		case FEED_EVENT_ENDED:
			life->restarts++;
			feed_life_end(life, !life->created && now - life->started_at < FEED_GOOD_TIME, now);
			break;
		case FEED_EVENT_NO_EXTENSION:
		case FEED_EVENT_NOT_NEEDED:
			feed_life_end(life, false, now);
			if (life->created)
				step.next =
					FEED_WANTED; /* it may have looked for the extension before the commit */
			break;
		case FEED_EVENT_GAVE_WAY:
			feed_life_end(life, false, now);
			break;
		case FEED_EVENT_CREATED:
			if (step.next != FEED_WANTED)
				life->created = true;
			else
			{
				life->visit = false;
				feed_life_end(life, false, now);
			}
			break;
		case FEED_EVENT_NEEDED:
		case FEED_EVENT_RETENTION_DUE:
			life->visit = event == FEED_EVENT_RETENTION_DUE;
			break;
		case FEED_EVENT_NO_SLOT:
			break;
	}
	life->state = step.next;
}
