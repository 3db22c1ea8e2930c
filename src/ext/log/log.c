/*-------------------------------------------------------------------------
 *
 * log.c
 *	  Ids and the watermark.
 *
 * The problem: ids taken while a transaction runs do not follow the order of commits, and a reader
 * that asks for "id > last" loses the rows of whoever commits late. So ids are taken at the last
 * moment, and it is known which of them are under way:
 *
 *	  writer, PRE_COMMIT	log_reserve(): under the database's lock take n ids from the counter, and room for
 *							their rows, and publish the first in this backend's entry ("in flight"); insert the rows.
 *	  writer, COMMIT		log_decided(): the transaction is visible by now. Publish the end of its
 *	  or ABORT				commit record, then clear the entry, then wake the feed if it sleeps.
 *	  feed					log_watermark(): under the lock (shared) the smallest id in flight minus
 *							one, or the last id given out. Then a snapshot, then the read.
 *
 * Why it is complete: an id at or below the watermark has been given out (the lock) and is not in
 * flight, so its transaction has called log_decided(), which comes after it left the set of running
 * transactions (CommitTransaction in access/transam/xact.c), so that a snapshot taken later sees
 * its rows or never will. Why it is in order: if A had ended before B began to commit, A's ids were
 * taken before B's.
 *
 * Why nothing is sent that a crash could undo: the entry is cleared after the LSN was published, so
 * a feed that finds the entry clear finds at least that LSN, and flushes up to it before it sends.
 * An abort is published likewise, so that after a crash it can be told from what was under way
 * (log_timeline.c).
 *
 * Bulk: a transaction with many events would hold the watermark while it inserts them all. It
 * inserts them first, in a table of their own with an index, under negative keys from a second
 * counter, and takes its ids then, for one row, the marker, which says where the members are. Only
 * that insert and the commit are in flight. A copy of the marker is in the table with the index,
 * where it is found from any id of the transaction.
 *
 * Segments: rows of ids first <= id < first of the next segment are in one table. The feed alone
 * moves on to the next table, under the lock, so a reservation lies in one segment whole. Members
 * of a bulk write may be in an earlier segment than their marker; notifyd.log_pin tells then.
 *
 * Not guaranteed: that ids are dense. An abort leaves a gap, a restart and a rotation leap ahead.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "ext/log/log_tail.h"

/* A commit that takes longer, in ms, is reported, because events of others wait for it. */
#define LOG_HELD_MS 5000

/* So many ids share what is known of the watermark. */
#define LOG_WATERMARK_EVERY 64

/*
 * Say whose this backend's entry is. The database's lock must be held, and the entry not be in use
 * yet.
 */
static NotifydBackend *
log_claim_backend(NotifydDatabase *database)
{
	NotifydBackend *me = shared_my_backend();

	Assert(LWLockHeldByMeInMode(&database->lock, LW_EXCLUSIVE));
	Assert(pg_atomic_read_u64(&me->first_id) == 0);
	me->pid = MyProcPid;
	pg_atomic_write_u32(&me->database, shared_database_index(database));
	return me;
}

/*
 * The smallest id in flight in this database and whose it is. The lock must be held, or the answer
 * is a guess.
 */
static uint64
log_smallest_in_flight(NotifydDatabase *database, int *pid)
{
	uint32 index = shared_database_index(database);
	uint64 smallest = 0;

	for (int i = 0; i < notifyd_shared->nbackends; i++)
	{
		NotifydBackend *backend = &notifyd_shared->backends[i];
		uint64 id = pg_atomic_read_u64(&backend->first_id);

		if (id != 0 && pg_atomic_read_u32(&backend->database) == index &&
			(smallest == 0 || id < smallest))
		{
			smallest = id;
			*pid = backend->pid;
		}
	}
	return smallest;
}

LogReservation
log_reserve(NotifydDatabase *database, int64 n, const HeapTuple *tuples, int ntuples)
{
	NotifydBackend *me;
	LogReservation reservation = {0};
	int pid;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	me = log_claim_backend(database);
	reservation.first = database->next_id;
	reservation.segment = database->segment;
	reservation.recent_watermark = pg_atomic_read_u64(&database->recent_watermark);
	log_tail_reserve(database, &reservation, tuples, ntuples);
	database->next_id += n;
	pg_atomic_write_u64(&me->first_id, reservation.first);

	/* Rows should tell of a watermark that is not too old, with no feed about to ask for it too. */
	if (reservation.first / LOG_WATERMARK_EVERY != database->next_id / LOG_WATERMARK_EVERY)
		pg_atomic_write_u64(&database->recent_watermark,
							log_smallest_in_flight(database, &pid) - 1);
	LWLockRelease(&database->lock);
	return reservation;
}

LogBulk
log_begin_bulk(NotifydDatabase *database, int64 n)
{
	NotifydBackend *me;
	LogBulk bulk;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	me = log_claim_backend(database);
	bulk.first_key = -(int64) (database->next_bulk + n - 1);
	bulk.segment = database->segment;
	database->next_bulk += n;
	pg_atomic_write_u32(&me->bulk_segment, bulk.segment + 1);
	LWLockRelease(&database->lock);
	return bulk;
}

/*
 * The end of what has been written of WAL. Where that is a page's begin, PostgreSQL says where the
 * next record would begin, behind the page's header, which is not there yet (XLogBytePosToRecPtr()
 * in xlog.c).
 */
static XLogRecPtr
log_wal_end(void)
{
	XLogRecPtr end = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
		return end - SizeOfXLogLongPHD;
	if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return end - SizeOfXLogShortPHD;
	return end;
}

void
log_decided(NotifydDatabase *database, bool committed)
{
	NotifydBackend *me = shared_my_backend();
	uint64 seen = pg_atomic_read_u64(&database->commit_lsn);

	/*
	 * What an abort wrote is in no variable. It has to be on disk as well before later events are
	 * sent, see log_timeline.c.
	 */
	XLogRecPtr end = committed ? XactLastCommitEnd : log_wal_end();

	while (seen < end && !pg_atomic_compare_exchange_u64(&database->commit_lsn, &seen, end))
		;
	pg_memory_barrier();
	pg_atomic_write_u64(&me->first_id, 0);
	pg_atomic_write_u32(&me->bulk_segment, 0);

	/*
	 * Also after an abort: its ids may be all that the watermark waited for. The barrier pairs with
	 * the one that the feed has between lying down and its last look.
	 */
	if (committed)
		lag_committed(database);
	pg_memory_barrier();
	if (pg_atomic_read_u32(&database->feed_asleep) != 0 &&
		pg_atomic_exchange_u32(&database->feed_asleep, 0) != 0)
		shared_wake_feed(database);
}

uint64
log_watermark(NotifydDatabase *database, XLogRecPtr *lsn)
{
	uint64 next_id;
	uint64 smallest;
	int pid;

	LWLockAcquire(&database->lock, LW_SHARED);
	next_id = database->next_id;
	smallest = log_smallest_in_flight(database, &pid);
	if (smallest != 0)
		next_id = smallest;
	pg_atomic_write_u64(&database->recent_watermark, next_id - 1);
	LWLockRelease(&database->lock);

	pg_read_barrier();
	*lsn = pg_atomic_read_u64(&database->commit_lsn);
	return next_id - 1;
}

uint32
log_report_in_flight(NotifydDatabase *database, TimestampTz now)
{
	static uint64 held_id =
		0; /* the smallest id in flight when it was looked last, and since when */
	static TimestampTz held_since = 0;
	static bool reported = false;
	int pid = 0;
	uint64 id;

	LWLockAcquire(&database->lock, LW_SHARED);
	id = log_smallest_in_flight(database, &pid);
	LWLockRelease(&database->lock);

	if (id != held_id)
	{
		held_id = id;
		held_since = now;
		reported = false;
	}
	if (id == 0)
		return 0;
	if (reported || !TimestampDifferenceExceeds(held_since, now, LOG_HELD_MS))
		return (uint32) TimestampDifferenceMilliseconds(held_since, now);
	reported = true;
	ereport(LOG, (errmsg("the commit of process %d delays the events of later transactions", pid),
				  errdetail("The commit has been in progress for more than %d seconds.",
							LOG_HELD_MS / 1000),
				  errhint("Check whether it waits for a synchronous standby.")));
	return (uint32) TimestampDifferenceMilliseconds(held_since, now);
}

int
log_segment_writer(NotifydDatabase *database, int segment, uint64 first)
{
	uint32 index = shared_database_index(database);
	uint64 smallest;
	int pid = 0;

	LWLockAcquire(&database->lock, LW_SHARED);
	smallest = log_smallest_in_flight(database, &pid);
	LWLockRelease(&database->lock);
	if (smallest != 0 && smallest < first)
		return pid;
	for (int i = 0; i < notifyd_shared->nbackends; i++)
	{
		NotifydBackend *backend = &notifyd_shared->backends[i];

		if (pg_atomic_read_u32(&backend->bulk_segment) == (uint32) segment + 1 &&
			pg_atomic_read_u32(&backend->database) == index)
			return backend->pid;
	}
	return 0;
}
