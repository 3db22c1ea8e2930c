/*-------------------------------------------------------------------------
 *
 * group_maintain.c
 *	  What the feed does for consumer groups.
 *
 * In each round it looks at flags of the slots. It reads and writes tables only where there is
 * something to do, in a short transaction for each group.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ext/base/extension.h"
#include "ext/base/worker.h"
#include "ext/group/group_internal.h"

#define MAINTAIN_CHECKPOINT_MS 5000 /* between copies of a group's state */

/* Reads of the log, by one call, for a group that holds retention up. */
#define MAINTAIN_FILLS 64

/* ---------------- in each round ---------------- */

/* Retention has removed events up to an id. */
static void
maintain_lost(const GroupDefinition *definition, GroupSlot *slot, uint64 oldest)
{
	GroupEntry lost = {0};
	GroupEntry *entry;

	if (!slot_lock(slot, definition->id))
		return;
	entry = window_lose_all(&slot->window, oldest);
	if (entry != NULL)
	{
		lost = *entry;
		slot->lost++;
	}
	LWLockRelease(&slot->lock);
	if (entry == NULL)
		return;
	slot_note_dirty(slot);
	slot_wake(slot, 1);
	group_report_lost(definition, lost.key, lost.id);
}

/*
 * Do what there is to do for a group, in the running transaction. removed: up to which id retention
 * has removed events since the last round; 0: none.
 */
static void
maintain_group(const GroupDefinition *definition, GroupSlot *slot, uint64 removed, bool checkpoint,
			   const GroupFeed *feed)
{
	if (removed != 0)
		maintain_lost(definition, slot, removed);
	if (slot->retry)
		group_send_again(definition, slot);
	if (slot->loaded && slot->window.failed > 0)
		group_set_aside(definition, slot);
	if (slot->nlisteners > 0)
		group_notify(definition, slot, feed);
	if (checkpoint && slot->loaded && slot->dirty)
		(void) group_checkpoint(slot);
}

static void
maintain_slot(GroupSlot *slot, uint64 removed, bool checkpoint, const GroupFeed *feed)
{
	Oid incarnation;

	worker_begin_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	incarnation = extension_find_relation("consumer_group");
	if (OidIsValid(incarnation) && slot->incarnation != incarnation)
		slot_sweep();
	else if (OidIsValid(incarnation))
	{
		GroupDefinition *definition = group_read(slot->group);

		/* It may have been dropped, and frees its slot then. */
		if (definition != NULL)
		{
			definition->slot = slot;
			maintain_group(definition, slot, removed, checkpoint, feed);
		}
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
}

void
group_maintain(NotifydDatabase *database, TimestampTz now, const GroupFeed *feed)
{
	static TimestampTz next = 0;
	static uint64 last = 0;
	uint64 oldest = pg_atomic_read_u64(&database->oldest);
	uint64 removed = oldest != last ? oldest : 0;
	bool checkpoint = now >= next;

	if (checkpoint)
		next = TimestampTzPlusMilliseconds(now, MAINTAIN_CHECKPOINT_MS);
	for (int i = 0; i < group_shared->n; i++)
	{
		GroupSlot *slot = &group_shared->slots[i];

		if (slot->database == database->oid &&
			(slot->retry || slot->nlisteners > 0 || (slot->loaded && slot->window.failed > 0) ||
			 (checkpoint && slot->loaded && slot->dirty) || (removed != 0 && slot->loaded)))
			maintain_slot(slot, removed, checkpoint, feed);
	}
	last = oldest;
}

bool
group_needs_feed(NotifydDatabase *database)
{
	for (int i = 0; i < group_shared->n; i++)
	{
		GroupSlot *slot = &group_shared->slots[i];

		if (slot->database == database->oid &&
			(slot->dirty || slot->nlisteners > 0 || slot->retry || slot->window.failed > 0))
			return true;
	}
	return false;
}

/* ---------------- for retention ---------------- */

static void
maintain_note_needed(void *arg, Datum *values)
{
	uint64 *needed = arg;

	*needed = Min(*needed, (uint64) DatumGetInt64(values[GROUP_STATE_NEEDED - 1]));
}

/* What the stored states need. */
static uint64
maintain_needed(void)
{
	uint64 needed = PG_UINT64_MAX;

	worker_begin_transaction();
	if (OidIsValid(extension_find_relation("group_state")))
	{
		Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());

		log_for_each_row("group_state", snapshot, maintain_note_needed, &needed);
		UnregisterSnapshot(snapshot);
	}
	CommitTransactionCommand();
	return needed;
}

/*
 * Read the log for a group that nobody takes from, or seldom, so that it needs no more than its events.
 * Without a slot, it keeps what it needs, up to pg_notifyd.group_retention: anyone who owns a watched
 * table can define more groups than there are slots, and that must not end the feed.
 */
static void
maintain_advance(GroupDefinition *definition)
{
	uint64 scanned;
	int fills = 0;

	definition->slot = slot_try(definition->id);
	if (definition->slot == NULL)
		return;
	do
	{
		while (!slot_lock(definition->slot, definition->id))
			group_load(definition, definition->slot);
		scanned = definition->slot->window.scanned;
		LWLockRelease(&definition->slot->lock);
	} while (fills++ < MAINTAIN_FILLS && group_fill(definition, definition->slot, scanned, 0));
	(void) group_checkpoint(definition->slot);
}

uint64
group_needed(const LogMap *map)
{
	uint64 needed = maintain_needed();
	ListCell *cell;

	if (map->n < 2 || needed >= map->segments[1].first - 1)
		return needed;
	worker_begin_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	foreach (cell, group_list())
		maintain_advance(lfirst(cell));
	PopActiveSnapshot();
	CommitTransactionCommand();
	return maintain_needed();
}
