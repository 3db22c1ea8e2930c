/*-------------------------------------------------------------------------
 *
 * group_figures.c
 *	  What the shared memory says about the groups of all databases, for the metrics.
 *
 * The process that asks need not be connected to their databases, so nothing here reads a table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "ext/figures/figures.h"
#include "ext/group/group_internal.h"

/* Copy what the slot has, but for what the log says. */
static void
figures_copy(GroupSlot *slot, GroupFigures *figures)
{
	int counts[GROUP_FAILED + 1] = {0};

	for (int i = slot->window.begin; i < slot->window.end; i++)
		counts[slot->window.entries[i].state]++;
	figures->database = slot->database;
	figures->name = slot->name;
	figures->pending = counts[GROUP_PENDING];
	figures->taken = counts[GROUP_CLAIMED] + counts[GROUP_LEASED];
	figures->delayed = counts[GROUP_DELAYED];
	figures->waiting = (int) pg_atomic_read_u32(&slot->waiting);
	if (figures->waiting == 0)
		figures->untaken = Max(GetCurrentTimestamp() - slot->taken_at, 0);
	figures->acknowledged = slot->acknowledged;
	figures->redelivered = slot->redelivered;
	figures->lost = slot->lost;
	figures->set_aside = slot->set_aside;
}

/* Fill in the figures of a slot. Returns false if it has no window. */
static bool
figures_fill(GroupSlot *slot, GroupFigures *figures)
{
	NotifydDatabase *database = NULL;
	uint64 scanned = 0;
	uint64 watermark;
	XLogRecPtr lsn;
	bool loaded;

	LWLockAcquire(&slot->lock, LW_SHARED);
	loaded = slot->loaded && OidIsValid(slot->database);
	if (loaded)
	{
		figures_copy(slot, figures);
		scanned = slot->window.scanned;
	}
	LWLockRelease(&slot->lock);
	if (loaded)
		database = shared_find_database(figures->database);
	if (database == NULL)
		return false;
	watermark = log_watermark(database, &lsn);
	figures->behind = watermark > scanned ? watermark - scanned : 0;
	return true;
}

List *
group_figures(void)
{
	List *groups = NIL;

	for (int i = 0; i < group_shared->n; i++)
	{
		GroupFigures *figures = palloc0(sizeof(GroupFigures));

		/* Most slots are free, and one that is taken now has time until the next look. */
		if (OidIsValid(group_shared->slots[i].database) &&
			figures_fill(&group_shared->slots[i], figures))
			groups = lappend(groups, figures);
		else
			pfree(figures);
	}
	return groups;
}
