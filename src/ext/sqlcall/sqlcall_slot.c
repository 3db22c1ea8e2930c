/*-------------------------------------------------------------------------
 *
 * sqlcall_slot.c
 *	  The shared memory of notify_call(). See sqlcall.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "ext/base/compat.h"
#include "ext/sqlcall/sqlcall_internal.h"

typedef struct SqlCallSlot
{
	uint64 number; /* of the call; 0: there is none */
	Oid database;
	dsm_handle segment;
	pid_t taker; /* the feed that answers it; 0: none yet */
} SqlCallSlot;

typedef struct SqlCallShared
{
	LWLock lock;
	uint64 last; /* number of the last call */
	int nslots;
	pg_atomic_uint32 changed[NOTIFYD_MAX_DATABASES]; /* 1: the feed must look at the slots */
	SqlCallSlot slots[FLEXIBLE_ARRAY_MEMBER];        /* one for each PGPROC */
} SqlCallShared;

static SqlCallShared *sqlcall_shared = NULL;

static compat_shmem_request_hook_type sqlcall_prev_request = NULL;
static shmem_startup_hook_type sqlcall_prev_startup = NULL;

/* ---------------- making the shared memory ---------------- */

static Size
sqlcall_shared_size(void)
{
	return add_size(offsetof(SqlCallShared, slots),
					mul_size(compat_proc_count(), sizeof(SqlCallSlot)));
}

static void
sqlcall_request(void)
{
	COMPAT_SHMEM_REQUEST_CHAIN(sqlcall_prev_request);
	RequestAddinShmemSpace(sqlcall_shared_size());
}

/* Like shared_startup(). */
static void
sqlcall_startup(void)
{
	bool found;

	if (sqlcall_prev_startup)
		sqlcall_prev_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	sqlcall_shared = ShmemInitStruct("pg_notifyd calls", sqlcall_shared_size(), &found);
	if (!found)
	{
		int tranche = LWLockNewTrancheId();

		memset(sqlcall_shared, 0, sqlcall_shared_size());
		LWLockRegisterTranche(tranche, "pg_notifyd_call");
		LWLockInitialize(&sqlcall_shared->lock, tranche);
		sqlcall_shared->nslots = compat_proc_count();
		for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
			pg_atomic_init_u32(&sqlcall_shared->changed[i], 0);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
sqlcall_init(void)
{
	COMPAT_SHMEM_REQUEST(sqlcall_request, sqlcall_prev_request);
	sqlcall_prev_startup = shmem_startup_hook;
	shmem_startup_hook = sqlcall_startup;
}

/* ---------------- for backends ---------------- */

static SqlCallSlot *
sqlcall_mine(void)
{
	return &sqlcall_shared->slots[shared_my_backend() - notifyd_shared->backends];
}

static void
sqlcall_wake(NotifydDatabase *database)
{
	pg_atomic_write_u32(&sqlcall_shared->changed[shared_database_index(database)], 1);
	pg_memory_barrier();
	shared_wake_feed(database);
}

void
sqlcall_offer(NotifydDatabase *database, dsm_handle segment)
{
	SqlCallSlot *slot = sqlcall_mine();

	LWLockAcquire(&sqlcall_shared->lock, LW_EXCLUSIVE);
	Assert(slot->number == 0);
	slot->number = ++sqlcall_shared->last;
	slot->database = database->oid;
	slot->segment = segment;
	slot->taker = 0;
	LWLockRelease(&sqlcall_shared->lock);
	sqlcall_wake(database);
}

void
sqlcall_withdraw(void)
{
	SqlCallSlot *slot = sqlcall_mine();
	NotifydDatabase *database;

	/* Only this backend writes it. */
	if (slot->number == 0)
		return;
	LWLockAcquire(&sqlcall_shared->lock, LW_EXCLUSIVE);
	slot->number = 0;
	LWLockRelease(&sqlcall_shared->lock);
	database = shared_find_database(slot->database);
	if (database != NULL)
		sqlcall_wake(database);
}

pid_t
sqlcall_taker(void)
{
	pid_t taker;

	LWLockAcquire(&sqlcall_shared->lock, LW_SHARED);
	taker = sqlcall_mine()->taker;
	LWLockRelease(&sqlcall_shared->lock);
	return taker;
}

/* ---------------- for the feed ---------------- */

int
sqlcall_slots(void)
{
	return sqlcall_shared->nslots;
}

bool
sqlcall_changed(const NotifydDatabase *database)
{
	pg_atomic_uint32 *changed = &sqlcall_shared->changed[shared_database_index(database)];

	return pg_atomic_read_u32(changed) != 0 && pg_atomic_exchange_u32(changed, 0) != 0;
}

uint64
sqlcall_read(int slot, const NotifydDatabase *database)
{
	const SqlCallSlot *read = &sqlcall_shared->slots[slot];
	uint64 number = 0;

	LWLockAcquire(&sqlcall_shared->lock, LW_SHARED);
	if (read->number != 0 && read->database == database->oid &&
		(read->taker == 0 || read->taker == MyProcPid))
		number = read->number;
	LWLockRelease(&sqlcall_shared->lock);
	return number;
}

bool
sqlcall_take(int slot, uint64 number, dsm_handle *segment)
{
	SqlCallSlot *taken = &sqlcall_shared->slots[slot];
	bool found;

	LWLockAcquire(&sqlcall_shared->lock, LW_EXCLUSIVE);
	found = taken->number == number;
	if (found)
	{
		taken->taker = MyProcPid;
		*segment = taken->segment;
	}
	LWLockRelease(&sqlcall_shared->lock);
	return found;
}
