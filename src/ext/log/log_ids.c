/*-------------------------------------------------------------------------
 *
 * log_ids.c
 *	  Ids and the watermark.
 *
 * Ids that are taken while a transaction runs do not follow the order of commits. A reader that asks
 * for "id > last" would lose the rows of a transaction that commits late. So transactions take ids
 * at the last moment, and shared memory says which ids are in flight:
 *
 *	  writer, PRE_COMMIT	log_reserve(): under the database's lock, take n ids from the counter and room for
 *							their rows, and publish the first id in this backend's entry. Then insert the rows.
 *	  writer, COMMIT		log_decided(): others see the transaction by now. Publish the end of its commit record,
 *	  or ABORT				then clear the backend's entry, then wake the feed if it sleeps.
 *	  feed					log_watermark(): under the lock (shared), take the smallest id in flight minus one, or the
 *							last id given out. Then take a snapshot, then read.
 *
 * Complete: an id at or below the watermark has been given out and is not in flight, so its
 * transaction has called log_decided(). It does so after it has left the set of running transactions
 * (CommitTransaction() in access/transam/xact.c). So a snapshot that is taken later sees its rows, or
 * no snapshot ever will.
 *
 * In order: if transaction A ended before B began to commit, A took its ids before B.
 *
 * Safe from crashes: the writer publishes the end of its commit record before it clears its entry. A
 * feed that finds the entry clear finds that LSN or a later one, and flushes WAL up to it before it
 * sends the events. Aborts publish theirs, too, so that after a crash they can be told from
 * transactions that were in flight (log_timeline.c).
 *
 * Large transactions insert their events before they take ids, see log_bulk.c.
 *
 * Segments: rows of ids first <= id < first of the next segment are in one table. Only the feed moves
 * on to the next table, under the lock, so all ids of a reservation are of one segment. Members of a
 * large transaction may be in an earlier segment than their marker; then notifyd.log_pin has a row.
 *
 * Ids have gaps: after an abort, a restart, and at the beginning of a segment.
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

/* Writers compute a new recent_watermark each time that so many ids have been given out. */
#define LOG_WATERMARK_EVERY 64

/* Fill in whose this backend's entry is. The caller holds the database's lock. */
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
 * The smallest id in flight in this database, 0 if there is none, and whose it is. The caller holds
 * the database's lock.
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
	TimestampTz now = GetCurrentTimestamp();
	int pid;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	me = log_claim_backend(database);
	me->since = now;
	reservation.first = database->next_id;
	reservation.segment = database->segment;
	reservation.recent_watermark = pg_atomic_read_u64(&database->recent_watermark);
	log_tail_reserve(database, &reservation, tuples, ntuples);
	database->next_id += n;
	pg_atomic_write_u64(&me->first_id, reservation.first);

	/* Rows should record a watermark that is not too old, even where no feed computes one. */
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

/* At the begin of a page, PostgreSQL returns where the next
 * record would begin, behind the page's header, which has not been written yet
 * (XLogBytePosToRecPtr() in xlog.c).
 */
XLogRecPtr
log_wal_end(void)
{
	XLogRecPtr end = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
		return end - SizeOfXLogLongPHD;
	if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return end - SizeOfXLogShortPHD;
	return end;
}

void (*log_wake_consumers)(NotifydDatabase *database) = NULL;

void
log_decided(NotifydDatabase *database, bool committed)
{
	NotifydBackend *me = shared_my_backend();
	uint64 seen = pg_atomic_read_u64(&database->commit_lsn);

	/*
	 * An abort has to be on disk before later events are sent, too (log_timeline.c). No variable has
	 * the end of its record.
	 */
	XLogRecPtr end = committed ? XactLastCommitEnd : log_wal_end();

	while (seen < end && !pg_atomic_compare_exchange_u64(&database->commit_lsn, &seen, end))
		;
	pg_memory_barrier();
	pg_atomic_write_u64(&me->first_id, 0);
	pg_atomic_write_u32(&me->bulk_segment, 0);

	/*
	 * Wake the feed after an abort, too, because the watermark may have waited for its ids. The
	 * barrier pairs with the one between the feed's setting of feed_asleep and its last look.
	 */
	if (committed)
		lag_committed(database);
	pg_memory_barrier();
	if (pg_atomic_read_u32(&database->feed_asleep) != 0 &&
		pg_atomic_exchange_u32(&database->feed_asleep, 0) != 0)
		shared_wake_feed(database);
	if (pg_atomic_read_u32(&database->consumers_waiting) != 0)
		log_wake_consumers(database);
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

uint64
log_last_assigned(NotifydDatabase *database)
{
	uint64 id;

	LWLockAcquire(&database->lock, LW_SHARED);
	id = database->next_id - 1;
	LWLockRelease(&database->lock);
	return id;
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
