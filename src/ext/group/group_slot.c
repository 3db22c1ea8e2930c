/*-------------------------------------------------------------------------
 *
 * group_slot.c
 *	  The shared memory of consumer groups.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "ext/base/compat.h"
#include "ext/base/extension.h"
#include "ext/base/shared.h"
#include "ext/figures/figures.h"
#include "ext/group/group_internal.h"

GroupShared *group_shared = NULL;

static int group_max = 16;

static compat_shmem_request_hook_type slot_prev_request = NULL;
static shmem_startup_hook_type slot_prev_startup = NULL;

/* ---------------- making the shared memory ---------------- */

static Size
slot_shared_size(void)
{
	return add_size(offsetof(GroupShared, slots), mul_size(group_max, sizeof(GroupSlot)));
}

static void
slot_request(void)
{
	COMPAT_SHMEM_REQUEST_CHAIN(slot_prev_request);
	RequestAddinShmemSpace(slot_shared_size());
}

/* Like shared_startup(). The windows are not touched, so that they take no memory until they are used. */
static void
slot_startup(void)
{
	bool found;

	if (slot_prev_startup)
		slot_prev_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	group_shared = ShmemInitStruct("pg_notifyd groups", slot_shared_size(), &found);
	if (!found)
	{
		int tranche = LWLockNewTrancheId();

		LWLockRegisterTranche(tranche, "pg_notifyd_group");
		LWLockInitialize(&group_shared->lock, tranche);
		group_shared->n = group_max;
		for (int i = 0; i < group_max; i++)
		{
			GroupSlot *slot = &group_shared->slots[i];

			memset(slot, 0, offsetof(GroupSlot, window));
			LWLockInitialize(&slot->lock, tranche);
			pg_atomic_init_u32(&slot->waiting, 0);
			ConditionVariableInit(&slot->wake);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

/* A transaction has ended while consumers of its database wait. Each of them then looks, and wakes others. */
static void
slot_wake_database(NotifydDatabase *database)
{
	for (int i = 0; i < group_shared->n; i++)
	{
		if (group_shared->slots[i].database == database->oid)
			slot_wake(&group_shared->slots[i], 1);
	}
}

void
group_define_settings(void)
{
	DefineCustomIntVariable("pg_notifyd.max_groups",
							"Sets the maximum number of consumer groups of all databases.",
							"Each takes up to 600 kB of shared memory.", &group_max, 16, 1, 1000,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

void
group_init(void)
{
	COMPAT_SHMEM_REQUEST(slot_request, slot_prev_request);
	slot_prev_startup = shmem_startup_hook;
	shmem_startup_hook = slot_startup;
	log_wake_consumers = slot_wake_database;
	figures_groups = group_figures;
	claim_init();
}

/* ---------------- finding slots ---------------- */

static GroupSlot *
slot_search(Oid database, Oid incarnation, int group)
{
	for (int i = 0; i < group_shared->n; i++)
	{
		GroupSlot *slot = &group_shared->slots[i];

		if (slot->database == database &&
			(database == InvalidOid || (slot->group == group && slot->incarnation == incarnation)))
			return slot;
	}
	return NULL;
}

/* The caller holds GroupShared.lock. */
static void
slot_assign(GroupSlot *slot, Oid database, Oid incarnation, int group)
{
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	slot->database = database;
	slot->incarnation = incarnation;
	slot->group = group;
	slot->loaded = false;
	slot->dirty = slot->retry = false;
	slot->nlisteners = 0;
	slot->acknowledged = slot->redelivered = slot->lost = slot->set_aside = 0;
	slot->taken_at = GetCurrentTimestamp();
	LWLockRelease(&slot->lock);
}

void
slot_sweep(void)
{
	Oid incarnation = extension_relation("consumer_group");

	for (int i = 0; i < group_shared->n; i++)
	{
		GroupSlot *slot = &group_shared->slots[i];
		Oid database = slot->database;
		Oid its = slot->incarnation;

		if (!OidIsValid(database) ||
			(database == MyDatabaseId
				 ? its == incarnation
				 : SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database))))
			continue;
		LWLockAcquire(&group_shared->lock, LW_EXCLUSIVE);
		if (slot->database == database && slot->incarnation == its)
			slot_assign(slot, InvalidOid, InvalidOid, 0);
		LWLockRelease(&group_shared->lock);
	}
}

GroupSlot *
slot_find(int group)
{
	Oid incarnation = extension_relation("consumer_group");
	GroupSlot *slot;

	LWLockAcquire(&group_shared->lock, LW_SHARED);
	slot = slot_search(MyDatabaseId, incarnation, group);
	LWLockRelease(&group_shared->lock);
	return slot;
}

GroupSlot *
slot_try(int group)
{
	Oid incarnation = extension_relation("consumer_group");
	GroupSlot *slot = slot_find(group);

	for (int i = 0; slot == NULL && i < 2; i++)
	{
		if (i > 0)
			slot_sweep();
		LWLockAcquire(&group_shared->lock, LW_EXCLUSIVE);
		slot = slot_search(MyDatabaseId, incarnation, group);
		if (slot == NULL && (slot = slot_search(InvalidOid, InvalidOid, 0)) != NULL)
			slot_assign(slot, MyDatabaseId, incarnation, group);
		LWLockRelease(&group_shared->lock);
	}
	return slot;
}

GroupSlot *
slot_get(int group)
{
	GroupSlot *slot = slot_try(group);

	if (slot == NULL)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many consumer groups are in use"),
						errhint("Increase pg_notifyd.max_groups, now %d, and restart the server.",
								group_shared->n)));
	return slot;
}

bool
slot_lock(GroupSlot *slot, int group)
{
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	if (slot->loaded && slot->group == group && slot->database == MyDatabaseId)
		return true;
	LWLockRelease(&slot->lock);
	return false;
}

void
slot_unload(GroupSlot *slot)
{
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	slot->loaded = false;
	slot->dirty = false;
	LWLockRelease(&slot->lock);
}

void
slot_free(GroupSlot *slot)
{
	LWLockAcquire(&group_shared->lock, LW_EXCLUSIVE);
	slot_assign(slot, InvalidOid, InvalidOid, 0);
	LWLockRelease(&group_shared->lock);
	ConditionVariableBroadcast(&slot->wake);
}

void
slot_note_dirty(GroupSlot *slot)
{
	NotifydDatabase *database;

	if (slot->dirty)
		return;
	slot->dirty = true;
	database = shared_find_database(MyDatabaseId);
	if (database != NULL && database->feed_latch == NULL)
		shared_visit(MyDatabaseId);
}

void
slot_wake(GroupSlot *slot, int n)
{
	n = Min(n, (int) pg_atomic_read_u32(&slot->waiting));
	for (int i = 0; i < n; i++)
		ConditionVariableSignal(&slot->wake);
}

/* ---------------- the lock on a group's number ---------------- */

static LOCKTAG
group_lock_tag(int group)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, extension_relation("consumer_group"), (Oid) group, 1);
	return tag;
}

bool
group_lock(int group, bool wait)
{
	LOCKTAG tag = group_lock_tag(group);

	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

void
group_unlock(int group)
{
	LOCKTAG tag = group_lock_tag(group);

	LockRelease(&tag, ExclusiveLock, false);
}
