/*-------------------------------------------------------------------------
 *
 * hub_due.c
 *	  What protocols have to do at a certain time, to the millisecond.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/hub/hub_internal.h"

static int
due_compare(const HubDue *a, const HubDue *b)
{
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return ((uintptr_t) a > (uintptr_t) b) - ((uintptr_t) a < (uintptr_t) b);
}

RB_GENERATE_STATIC(HubDueTree, HubDue, in_hub, due_compare)

void
hub_set_due(Hub *hub, HubDue *due, uint64_t ms)
{
	uint64_t now = hub->sessions->now();

	hub_clear_due(hub, due);
	due->set = true;
	due->at = ms < UINT64_MAX - now ? now + ms : UINT64_MAX;
	RB_INSERT(HubDueTree, &hub->due, due);
}

void
hub_clear_due(Hub *hub, HubDue *due)
{
	if (due->set)
		RB_REMOVE(HubDueTree, &hub->due, due);
	due->set = false;
}

uint64_t
hub_run_due(Hub *hub)
{
	uint64_t now = hub->sessions->now();
	HubDue *first;

	while ((first = RB_MIN(HubDueTree, &hub->due)) != NULL && first->at <= now)
	{
		hub_clear_due(hub, first);
		first->run(first);
	}
	return first != NULL ? first->at - now : UINT64_MAX;
}
