/*-------------------------------------------------------------------------
 *
 * group_listen.c
 *	  Those who want to know when a group has events: sessions, by NOTIFY, and gateways.
 *
 * The session LISTENs on a channel of its own, which has the process id in its name, so that one
 * NOTIFY wakes one consumer. LISTEN takes effect when the transaction commits. A NOTIFY that is sent
 * from XACT_EVENT_COMMIT on arrives (PreCommit_Notify() in commands/async.c has run), so the session
 * is noted then, and the feed looks at once.
 *
 * A listener has found nothing, which need not mean that there is nothing: it may not see what
 * there is, or the order of keys holds it back. So it is told when something has become pending
 * since, and not for what it has left.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "ext/group/group_internal.h"

/* What group_listen() has noted in the transaction. */
static struct
{
	GroupSlot *slot; /* NULL: nothing */
	GroupListener listener;
} listen_begun;

/* One that nothing new has come for is told nevertheless after this time: others may have let go of events. */
#define LISTEN_LOOK_MS 1000

static char *
listen_channel(int pid)
{
	return psprintf("notifyd_group_%d", pid);
}

/*
 * Note a listener. If there are too many, the new one is left out. A gateway may listen for several
 * clients: then it is told what is new for the first of them.
 */
static void
listen_note(GroupSlot *slot, const GroupListener *listener)
{
	GroupListener *other = slot->listeners;

	while (other < slot->listeners + slot->nlisteners && other->who != listener->who)
		other++;
	if (other < slot->listeners + slot->nlisteners)
		other->seen = Min(other->seen, listener->seen);
	else if (slot->nlisteners < GROUP_LISTENERS)
		slot->listeners[slot->nlisteners++] = *listener;
}

/* The transaction has committed. */
static void
listen_begin(void)
{
	NotifydDatabase *database = shared_find_database(MyDatabaseId);
	GroupSlot *slot = listen_begun.slot;

	listen_begun.listener.since = GetCurrentTimestamp();
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	listen_note(slot, &listen_begun.listener);
	LWLockRelease(&slot->lock);
	if (database == NULL)
		return;
	shared_wake_feed(database);
	if (database->feed_latch == NULL)
		shared_visit(MyDatabaseId);
}

static void
listen_end(XactEvent event, void *arg pg_attribute_unused())
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	if (listen_begun.slot != NULL && event == XACT_EVENT_COMMIT)
		listen_begin();
	listen_begun.slot = NULL;
}

void
group_listen(GroupSlot *slot, int gateway, uint64 seen)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(listen_end, NULL);
		registered = true;
	}
	if (gateway == GROUP_THIS_SESSION)
		Async_Listen(listen_channel(MyProcPid));
	listen_begun.listener.who = gateway == GROUP_THIS_SESSION ? MyProcPid : -gateway - 1;
	listen_begun.listener.seen = seen;
	listen_begun.slot = slot;
}

/* ---------------- for the feed ---------------- */

bool
group_has_listeners(NotifydDatabase *database)
{
	for (int i = 0; i < group_shared->n; i++)
	{
		if (group_shared->slots[i].database == database->oid &&
			group_shared->slots[i].nlisteners > 0)
			return true;
	}
	return false;
}

bool
group_behind(NotifydDatabase *database)
{
	XLogRecPtr lsn;
	uint64 watermark = log_watermark(database, &lsn);

	for (int i = 0; i < group_shared->n; i++)
	{
		GroupSlot *slot = &group_shared->slots[i];

		if (slot->database == database->oid && slot->nlisteners > 0 &&
			(!slot->loaded || slot->window.scanned < watermark))
			return true;
	}
	return false;
}

/* Remove and copy listeners to tell, at most as many as there are events. Returns how many. */
static int
listen_pick(GroupSlot *slot, TimestampTz now, GroupListener *picked)
{
	int left = 0;
	int n = 0;

	for (int i = 0; i < slot->nlisteners; i++)
	{
		GroupListener *listener = &slot->listeners[i];

		if (n < slot->window.pending &&
			(listener->seen != slot->window.arrived ||
			 TimestampDifferenceExceeds(listener->since, now, LISTEN_LOOK_MS)))
			picked[n++] = *listener;
		else
			slot->listeners[left++] = *listener;
	}
	slot->nlisteners = left;
	return n;
}

void
group_notify(const GroupDefinition *definition, GroupSlot *slot, const GroupFeed *feed)
{
	GroupListener picked[GROUP_LISTENERS];
	TimestampTz now = GetCurrentTimestamp();
	uint64 scanned;
	int n;

	do
	{
		while (!slot_lock(slot, definition->id))
			group_load(definition, slot);
		(void) window_expire(&slot->window, now);
		scanned = slot->window.scanned;
		n = listen_pick(slot, now, picked);
		LWLockRelease(&slot->lock);
	} while (n == 0 && group_fill(definition, slot, scanned, 0));
	for (int i = 0; i < n; i++)
	{
		if (picked[i].who < 0)
			feed->ready(feed->arg, -picked[i].who - 1, NameStr(definition->name));
		/* A session that has ended leaves its place to the next, in the next round. */
		else if (BackendPidGetProc(picked[i].who) != NULL)
			Async_Notify(listen_channel(picked[i].who), NameStr(definition->name));
	}
}
