/*-------------------------------------------------------------------------
 *
 * log_pin.c
 *	  Who keeps the log from becoming smaller.
 *
 * The feed truncates the oldest segment only if it gets the locks for it at once. Any role can hold a
 * conflicting lock: an administrator by a long query on the log, any other role by passing a table's
 * OID to nextval(), which locks the table before it checks privileges. Only the log's size suffers,
 * so the feed ends no session. It reports which process holds the lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "ext/base/compat.h"
#include "ext/base/worker.h"
#include "ext/log/log.h"

/* A process with a lock on a relation that conflicts with truncating it; 0: there is none. */
static int
log_lock_holder(Oid relation)
{
	VirtualTransactionId *holders;
	LOCKTAG tag;
	int pid = 0;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	holders = GetLockConflicts(&tag, AccessExclusiveLock, NULL);
	for (; pid == 0 && VirtualTransactionIdIsValid(*holders); holders++)
		pid = compat_vxid_pid(*holders);
	return pid;
}

static Oid
log_toast_table(Oid table)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Oid toast = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		toast = ((Form_pg_class) GETSTRUCT(tuple))->reltoastrelid;
		ReleaseSysCache(tuple);
	}
	return toast;
}

/* A process with such a lock on one of a segment's tables, and *table, that table; 0: none. */
static int
log_segment_lock_holder(int segment, Oid *table)
{
	Oid tables[] = {log_table(segment), log_bulk_table(segment), InvalidOid, InvalidOid};
	int pid = 0;

	tables[2] = log_toast_table(tables[0]);
	tables[3] = log_toast_table(tables[1]);
	for (size_t i = 0; pid == 0 && i < lengthof(tables); i++)
	{
		*table = tables[i];
		pid = log_lock_holder(tables[i]);
	}
	return pid;
}

static void
log_tell_pinned(int pid, const char *how, int64 total)
{
	ereport(LOG, (errmsg("process %d prevents the event log from being truncated", pid),
				  errdetail("The size of the log is %lld MB, more than twice "
							"pg_notifyd.retention_size. The process %s.",
							(long long) total / (1024 * 1024), how),
				  errhint("The log shrinks when the transaction of that process ends. "
						  "pg_terminate_backend() can end the process.")));
}

void
log_report_pinned(NotifydDatabase *database, const LogMap *map, int64 total, int64 limit)
{
	static int reported = 0;
	int segment = map->segments[0].segment;
	const char *how = "is committing events to its oldest table";
	Oid table;
	int pid;

	if (total <= 2 * limit || map->n < 2)
	{
		reported = 0;
		return;
	}
	worker_begin_transaction();
	pid = log_segment_writer(database, segment, map->segments[1].first);
	if (pid == 0)
	{
		pid = log_segment_lock_holder(segment, &table);
		if (pid != 0)
			how = psprintf("holds a lock on table \"%s\"", get_rel_name(table));
	}
	if (pid != 0 && pid != reported)
		log_tell_pinned(pid, how, total);
	if (pid != 0)
		reported = pid;
	CommitTransactionCommand();
}
