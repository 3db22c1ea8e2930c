/*-------------------------------------------------------------------------
 *
 * log_segment.c
 *	  Segments and retention.
 *
 * The log tables are used in turn. notifyd.log_segment has a row for each segment in use, with the
 * first id that its rows may have. Writers write to the newest one. The feed moves on to the next
 * table when the current one is large or old enough. It truncates the oldest one when its events are
 * no longer retained, or when its table is needed.
 *
 * To move on, the feed first commits the row of the next segment, with a first id a little ahead of
 * the counter. Then, under the lock, it sets the counter to that id and switches to the table. If
 * writers have passed the id meanwhile, it writes the row anew. If the server or the feed ends in
 * between, the next feed switches, or removes the row (log_finish_rotation()).
 *
 * The feed never truncates a table that a transaction may still write to (log_segment_writer()). It
 * never waits for a lock, so that no session queues behind it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ext/base/compat.h"
#include "ext/log/log_check.h"
#include "ext/log/log_tail.h"
#include "ext/base/settings.h"
#include "ext/base/worker.h"

/*
 * How far ahead of the counter a new segment begins. Writers may take so many ids while its row is
 * being committed.
 */
#define LOG_ROTATION_GAP 10000

/* How often retention checks sizes and ages, in ms, and the minimum with a short retention. */
#define LOG_LOOK_MS     1000
#define LOG_LOOK_MIN_MS 20

/* The minimum for a database without a feed. */
#define LOG_VISIT_MS 60000

/*
 * How long retention keeps a segment for readers although the log is too large, in ms: for those
 * that are about to begin, and for those that have not read all of it. See log_is_being_read().
 */
#define LOG_GRACE_MS         5000
#define LOG_READING_GRACE_MS 60000

/* The segment in a row of notifyd.log_pin whose members have been truncated. */
#define LOG_PIN_LOST (-1)

static int
log_compare_segments(const void *a, const void *b)
{
	uint64 first = ((const LogSegment *) a)->first;
	uint64 second = ((const LogSegment *) b)->first;

	return first < second ? -1 : first > second;
}

static void
log_map_segment(void *arg, Datum *values)
{
	LogMap *map = arg;
	LogSegment *segment = &map->segments[map->n++];

	if (map->n > LOG_SEGMENTS)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED), errmsg("notifyd.log_segment has too many rows")));
	segment->segment = DatumGetInt32(values[0]);
	segment->first = (uint64) DatumGetInt64(values[1]);
	segment->since = DatumGetTimestampTz(values[2]);
}

/* Events up to a marker without members are no longer retained either. */
static void
log_map_pin(void *arg, Datum *values)
{
	LogMap *map = arg;
	int segment = DatumGetInt32(values[0]);
	uint64 last_id = (uint64) DatumGetInt64(values[1]);

	if (segment == LOG_PIN_LOST)
		map->oldest = Max(map->oldest, last_id);
	for (int i = 0; i < map->n; i++)
	{
		if (map->segments[i].segment == segment)
			map->segments[i].pinned = Max(map->segments[i].pinned, last_id);
	}
}

void
log_load_map(LogMap *map)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());

	memset(map, 0, sizeof(*map));
	log_for_each_row("log_segment", snapshot, log_map_segment, map);
	qsort(map->segments, map->n, sizeof(LogSegment), log_compare_segments);
	if (map->n > 0)
		map->oldest = map->segments[0].first - 1;
	log_for_each_row("log_pin", snapshot, log_map_pin, map);
	UnregisterSnapshot(snapshot);
}

uint64
log_middle(const LogMap *map)
{
	return map->n > 1 ? map->segments[map->n / 2].first - 1 : 0;
}

/*
 * Lock a log table and its TOAST table, which a vacuum may have locked, to empty them. Returns false
 * instead of waiting.
 */
static bool
log_lock_table(Oid oid)
{
	Relation table;
	Oid toast;

	if (!ConditionalLockRelationOid(oid, AccessExclusiveLock))
		return false;
	table = table_open(oid, NoLock);
	toast = table->rd_rel->reltoastrelid;
	table_close(table, NoLock);
	return ConditionalLockRelationOid(toast, AccessExclusiveLock);
}

/*
 * Empty a table as TRUNCATE does (ExecuteTruncateGuts() in commands/tablecmds.c), but without the WAL
 * record by which logical replication repeats it: subscribers have logs of their own. The caller has
 * locked the table.
 */
static void
log_empty_table(Oid oid)
{
	Relation table = table_open(oid, NoLock);
	Oid toast_oid = table->rd_rel->reltoastrelid;
	Relation toast = table_open(toast_oid, NoLock);

	compat_set_new_file(table);
	compat_set_new_file(toast);
	pgstat_count_truncate(table);
	table_close(toast, NoLock);
	table_close(table, NoLock);
	compat_reindex_relation(oid);
}

/*
 * Truncate the oldest segment. Returns false, with nothing done, if somebody holds a lock on it.
 *
 * Other processes learn of it from database->oldest, before the truncation commits: who has read the
 * log looks there whether the segments that it has read may have been empty. If this is rolled back
 * the feed ends, and the next one sets the value back.
 */
static bool
log_truncate_oldest(NotifydDatabase *database, LogMap *map)
{
	int segment = map->segments[0].segment;
	uint64 oldest = map->segments[1].first - 1;
	bool locked;

	log_begin_work();
	locked = log_lock_table(log_table(segment)) && log_lock_table(log_bulk_table(segment));
	if (locked)
	{
		log_empty_table(log_table(segment));
		log_empty_table(log_bulk_table(segment));
		log_execute("DELETE FROM notifyd.log_segment WHERE segment = $1", segment, 0);
		log_execute("UPDATE notifyd.log_pin SET segment = -1 WHERE segment = $1", segment, 0);
		log_execute("DELETE FROM notifyd.log_pin WHERE last_id <= $1", (int64) oldest, 0);
		log_load_map(map);
		pg_atomic_write_u64(&database->oldest, map->oldest);
	}
	log_end_work();
	return locked;
}

/* Switch to a segment whose row is committed, unless the counter has passed its first id. */
static bool
log_switch(NotifydDatabase *database, int segment, uint64 first)
{
	bool done = false;

	LWLockAcquire(&database->lock, LW_EXCLUSIVE);
	if (database->next_id <= first)
	{
		database->next_id = first;
		database->segment = segment;
		log_tail_forget(database);
		done = true;
	}
	LWLockRelease(&database->lock);
	return done;
}

static void
log_rotate(NotifydDatabase *database, LogMap *map)
{
	int segment = (map->segments[map->n - 1].segment + 1) % LOG_SEGMENTS;
	uint64 first;

	do
	{
		LWLockAcquire(&database->lock, LW_SHARED);
		first = database->next_id + LOG_ROTATION_GAP;
		LWLockRelease(&database->lock);

		log_begin_work();
		log_execute("DELETE FROM notifyd.log_segment WHERE segment = $1", segment, 0);
		log_execute("INSERT INTO notifyd.log_segment (segment, first_id, since) VALUES ($1, $2, "
					"clock_timestamp())",
					segment, (int64) first);
		log_end_work();
	} while (!log_switch(database, segment, first));

	worker_begin_transaction();
	log_load_map(map);
	CommitTransactionCommand();
}

/* If writers do not write to the newest segment of the map, switch to it, or remove its row. */
static void
log_finish_rotation(NotifydDatabase *database, LogMap *map)
{
	LogSegment *newest = &map->segments[map->n - 1];
	int segment;

	LWLockAcquire(&database->lock, LW_SHARED);
	segment = database->segment;
	LWLockRelease(&database->lock);
	if (segment == newest->segment || log_switch(database, newest->segment, newest->first))
		return;

	log_begin_work();
	log_execute("DELETE FROM notifyd.log_segment WHERE segment = $1", newest->segment, 0);
	log_end_work();
	worker_begin_transaction();
	log_load_map(map);
	CommitTransactionCommand();
}

/*
 * In new tables, segment 0 begins with the first id that could have been given out. So positions of
 * an earlier incarnation of the extension are too old.
 */
void
log_begin(NotifydDatabase *database, LogMap *map)
{
	worker_begin_transaction();
	log_check_tables();
	log_load_map(map);
	CommitTransactionCommand();
	if (map->n == 0)
	{
		log_begin_work();
		log_execute("INSERT INTO notifyd.log_segment (segment, first_id, since) VALUES ($1, $2, "
					"clock_timestamp())",
					0, (int64) database->first_at_start);
		log_load_map(map);
		log_end_work();
	}
	log_finish_rotation(database, map);
	pg_atomic_write_u64(&database->oldest, map->oldest);
}

/* Size in bytes, index and TOAST included; 0 for a table without a row. */
static int64
log_measure_table(Oid oid)
{
	Relation table = table_open(oid, AccessShareLock);
	int64 bytes = 0;

	if (RelationGetNumberOfBlocks(table) > 0)
		bytes = DatumGetInt64(DirectFunctionCall1(pg_total_relation_size, ObjectIdGetDatum(oid)));
	table_close(table, AccessShareLock);
	return bytes;
}

/* Sizes of the segments of the map. */
static int64
log_measure(LogMap *map, int64 *bytes)
{
	int64 total = 0;

	worker_begin_transaction();
	for (int i = 0; i < map->n; i++)
	{
		bytes[i] = log_measure_table(log_table(map->segments[i].segment)) +
				   log_measure_table(log_bulk_table(map->segments[i].segment));
		total += bytes[i];
	}
	CommitTransactionCommand();
	return total;
}

/*
 * Whether to keep the oldest segment for its readers although the log, of total bytes, should lose
 * it. The feed gets time to send what it has not sent yet. A segment that is larger than the limit
 * is also kept for replays, and for clients that are about to begin one. Otherwise nobody could read
 * a transaction that is larger than pg_notifyd.retention_size.
 *
 * Not beyond a bound, however: what the log has besides a segment that large is within the limit,
 * and without such a segment the log is at most twice the limit. Segments that are kept may force
 * the current one to grow, as there are only LOG_SEGMENTS tables. If the bound grew with any other
 * segment than the oldest, both could make each other grow for ever.
 */
static bool
log_is_being_read(LogMap *map, int64 oldest_bytes, int64 total, int64 size_limit,
				  const LogProgress *read, TimestampTz now)
{
	static uint64 asked_first = 0; /* of the segment in the last call, and since when */
	static TimestampTz asked_since = 0;
	LogSegment *oldest = &map->segments[0];
	bool large = oldest_bytes > size_limit;
	uint64 last;

	if (total > size_limit + Max(size_limit, oldest_bytes))
		return false;
	if (asked_first != oldest->first)
	{
		asked_first = oldest->first;
		asked_since = now;
	}
	worker_begin_transaction();
	log_load_map(map);
	CommitTransactionCommand();
	last = Max(map->segments[1].first - 1, oldest->pinned);
	if (read->live < last || (large && read->replays < last))
		return !TimestampDifferenceExceeds(asked_since, now, LOG_READING_GRACE_MS);
	return large && !TimestampDifferenceExceeds(asked_since, now, LOG_GRACE_MS);
}

static int64
log_segment_limit(void)
{
	return (int64) notifyd_retention_size * 1024 * 1024 / LOG_SEGMENTS;
}

/* Retention looks at the log when a quarter of a segment may have been written. */
static uint64
log_look_bytes(void)
{
	return (uint64) log_segment_limit() / 4;
}

void
log_wrote(NotifydDatabase *database, uint64 bytes)
{
	uint64 before = pg_atomic_fetch_add_u64(&database->unmeasured, bytes);
	uint64 limit = log_look_bytes();

	if (before >= limit || before + bytes < limit)
		return;
	shared_wake_feed(database);
	/* There may be no feed. */
	if (database->feed_latch == NULL)
		shared_wake_launcher();
}

int
log_visit_ms(void)
{
	return (int) Max(Min(notifyd_retention * 1000.0, INT_MAX) / (LOG_SEGMENTS - 1), LOG_VISIT_MS);
}

bool
log_retention_due(NotifydDatabase *database)
{
	return pg_atomic_read_u64(&database->unmeasured) >= log_look_bytes();
}

/*
 * Whether consumer groups need the oldest segment. They keep it until pg_notifyd.group_retention or
 * pg_notifyd.group_retention_size is exceeded.
 */
static bool
log_is_held(const LogMap *map, int64 total, uint64 groups, TimestampTz now)
{
	LogSegment *next = (LogSegment *) &map->segments[1];

	return groups < Max(next->first - 1, map->segments[0].pinned) &&
		   total <= (int64) notifyd_group_retention_size * 1024 * 1024 &&
		   !TimestampDifferenceExceeds(next->since, now,
									   (int) Min(notifyd_group_retention * 1000.0, INT_MAX));
}

long
log_retain(NotifydDatabase *database, LogMap *map, LogProgress read, TimestampTz now)
{
	int64 bytes[LOG_SEGMENTS];
	int64 total;
	int64 size_limit = log_segment_limit() * LOG_SEGMENTS;
	int age_limit = (int) Min(notifyd_retention * 1000.0, INT_MAX); /* ms */
	LogSegment *current = &map->segments[map->n - 1];
	int64 current_bytes;
	bool rotate;
	bool held = false;

	(void) pg_atomic_fetch_add_u64(&database->log_written,
								   (int64) pg_atomic_exchange_u64(&database->unmeasured, 0));
	total = log_measure(map, bytes);
	current_bytes = bytes[map->n - 1];
	rotate = current_bytes >= log_segment_limit() ||
			 (current_bytes > 0 &&
			  TimestampDifferenceExceeds(current->since, now, age_limit / (LOG_SEGMENTS - 1)));

	for (int i = 0; map->n > 1; i++)
	{
		bool old = TimestampDifferenceExceeds(map->segments[1].since, now, age_limit);
		bool needed = rotate && map->n == LOG_SEGMENTS;

		if (!old && !needed && total <= size_limit)
			break;
		held = log_is_held(map, total, read.groups, now);
		if (held)
			break;
		if (log_segment_writer(database, map->segments[0].segment, map->segments[1].first) != 0 ||
			(!old && log_is_being_read(map, bytes[i], total, size_limit, &read, now)) ||
			!log_truncate_oldest(database, map))
			break;
		total -= bytes[i];
	}
	if (rotate && map->n < LOG_SEGMENTS)
		log_rotate(database, map);
	if (!held)
		log_report_pinned(database, map, total, size_limit);
	pg_atomic_write_u64(&database->log_bytes, total);
	pg_atomic_write_u32(&database->segments, map->n);
	pg_atomic_write_u64(&database->oldest_since, (uint64) map->segments[0].since);
	pg_atomic_write_u64(&database->next_since, map->n > 1 ? (uint64) map->segments[1].since : 0);
	return Min(LOG_LOOK_MS, Max(LOG_LOOK_MIN_MS, age_limit / (LOG_SEGMENTS - 1)));
}
