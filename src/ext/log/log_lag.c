/*-------------------------------------------------------------------------
 *
 * log_lag.c
 *	  How long the oldest commit has been waiting that has not been delivered to the gateways.
 *
 * The backend that reads notifyd.stats computes this, so that it is right while a feed is stopped.
 * Writers and the feed leave times in shared memory:
 *
 *	  writer	log_decided() calls lag_committed(), which sets waiting_since to the time of this commit unless it
 *				is set already.
 *	  feed		lag_begin_round(), before the feed takes the watermark, moves that time to reading_since. All
 *				commits that had ended by then have ids below the counter, which it keeps in lag_upto.
 *	  feed		lag_end_round(), when the feed has sent what it can, clears reading_since if all links have been
 *				sent everything below lag_upto. If not, it sets it to the time of the last event that was sent.
 *
 * So the older of the two times is that of a commit which has not been delivered, or at most one
 * round older. A commit notes its time after its ids have left flight. So a round that has taken the
 * time over finds these ids below its watermark, unless smaller ids are still in flight.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"

#include "ext/log/log.h"

/* The counter's value when reading_since was set. Only the feed uses it. */
static uint64 lag_upto = 0;

static uint64
lag_next_id(NotifydDatabase *database)
{
	uint64 next_id;

	LWLockAcquire(&database->lock, LW_SHARED);
	next_id = database->next_id;
	LWLockRelease(&database->lock);
	return next_id;
}

void
lag_committed(NotifydDatabase *database)
{
	uint64 none = 0;

	if (pg_atomic_read_u64(&database->waiting_since) == 0)
		(void) pg_atomic_compare_exchange_u64(&database->waiting_since, &none,
											  (uint64) GetCurrentTransactionStopTimestamp());
}

void
lag_begin_round(NotifydDatabase *database)
{
	if (pg_atomic_read_u64(&database->reading_since) == 0)
	{
		uint64 since = pg_atomic_read_u64(&database->waiting_since);

		if (since == 0)
			return;
		/* In this order, so that a reader finds the time in one of the two. */
		pg_atomic_write_u64(&database->reading_since, since);
		pg_atomic_write_u64(&database->waiting_since, 0);
		pg_memory_barrier();
		lag_upto = lag_next_id(database);
	}
	else if (lag_upto == 0)
		lag_upto = lag_next_id(database); /* a feed before us has left it */
}

void
lag_end_round(NotifydDatabase *database, uint64 delivered, TimestampTz last_at)
{
	pg_atomic_write_u64(&database->delivered, delivered);
	if (pg_atomic_read_u64(&database->reading_since) == 0)
		return;
	if (delivered + 1 >= lag_upto)
		pg_atomic_write_u64(&database->reading_since, 0);
	else if (last_at > (TimestampTz) pg_atomic_read_u64(&database->reading_since))
		pg_atomic_write_u64(&database->reading_since, (uint64) last_at);
}

void
lag_forget(NotifydDatabase *database)
{
	pg_atomic_write_u64(&database->waiting_since, 0);
	pg_atomic_write_u64(&database->reading_since, 0);
	pg_atomic_write_u64(&database->delivered, lag_next_id(database) - 1);
}

TimestampTz
lag_since(NotifydDatabase *database)
{
	uint64 reading = pg_atomic_read_u64(&database->reading_since);
	uint64 since = reading != 0 ? reading : pg_atomic_read_u64(&database->waiting_since);

	/* The time was noted after everything had been delivered. The next round clears it. */
	if (since != 0 && pg_atomic_read_u64(&database->delivered) + 1 >= lag_next_id(database))
		return 0;
	return (TimestampTz) since;
}
