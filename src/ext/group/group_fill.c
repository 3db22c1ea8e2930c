/*-------------------------------------------------------------------------
 *
 * group_fill.c
 *	  Reads the log, and adds the group's events to its window.
 *
 * Only what is committed, visible, flushed and confirmed by the synchronous standby gets there, as
 * with the feed. One process at a time does this for a group. It holds the lock on the group's
 * number, which others can wait for and be cancelled, and locks the window only to add entries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ext/base/operation.h"
#include "ext/group/group_internal.h"
#include "ext/json/json_read.h"

#define FILL_ROWS 2048 /* of the log, read at once */

const LogMap *
group_map(NotifydDatabase *database)
{
	static LogMap map;
	static struct
	{
		Oid incarnation;
		int segment;
	} as_of;
	int segment = database->segment;

	/*
	 * A segment is begun in shared memory after its row is committed, and removed before. Until the
	 * first feed has come after a start of the server, the shared value is 0.
	 */
	if (map.n == 0 || as_of.incarnation != database->incarnation || as_of.segment != segment ||
		map.oldest != pg_atomic_read_u64(&database->oldest))
	{
		LogMap now;

		log_load_map(&now);

		/* Until the first feed has come there is no map, and all rows are in the first table. */
		if (now.n == 0)
			now.segments[now.n++] = (LogSegment){.segment = 0, .first = 1};
		map = now;
		as_of.incarnation = database->incarnation;
		as_of.segment = segment;
	}
	return &map;
}

/*
 * A truncation locks the tables, announces itself in shared memory, and commits with its change to the
 * map. Who has read an emptied table sees both.
 */
bool
group_is_removed(NotifydDatabase *database, uint64 after)
{
	LogMap now;

	if (pg_atomic_read_u64(&database->oldest) <= after)
		return false;
	log_load_map(&now);
	return now.oldest > after;
}

/* ---------------- which events are the group's ---------------- */

static bool
fill_has_channel(const GroupDefinition *definition, const char *channel, int length)
{
	for (int i = 0; i < definition->nchannels; i++)
	{
		const char *name = NameStr(definition->channels[i]);

		if (strncmp(name, channel, length) == 0 && name[length] == '\0')
			return true;
	}
	return false;
}

GroupRetry
group_parse_retry(const LogEvent *event)
{
	const char *text = log_text(event);
	const char *end = text + event->event_length;
	const char *channel = memchr(text, ':', event->event_length);
	GroupRetry retry = {0};

	channel = channel != NULL ? channel + 1 : end;
	retry.event = memchr(channel, '\n', end - channel);
	if (retry.event == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("invalid row for a consumer group with id " UINT64_FORMAT, event->id)));
	retry.group = atoi(text);
	retry.channel = channel;
	retry.channel_length = (int) (retry.event - channel);
	retry.event++;
	retry.event_length = end - retry.event;
	return retry;
}

static bool
fill_is_for_group(const GroupDefinition *definition, const LogEvent *event)
{
	if (event->op == OPERATION_RETRY)
		return group_parse_retry(event).group == definition->id;
	return event->op != OPERATION_ACKNOWLEDGE &&
		   fill_has_channel(definition, event->channel, event->channel_length);
}

/*
 * A hash of the table and the key that the event has. Events without a key, such as messages and
 * TRUNCATE, have that of their channel.
 */
static uint64
fill_key(const LogEvent *event)
{
	const char *at = log_text(event);
	const char *end = at + event->event_length;
	GroupRetry retry = {.channel = event->channel, .channel_length = event->channel_length};

	if (event->op == OPERATION_RETRY)
	{
		retry = group_parse_retry(event);
		at = retry.event + 1;
	}
	while (OidIsValid(event->relation) && at < end)
	{
		const char *member = at;

		/* Name and value end where the value ends. */
		at = json_value_end(member, end);
		if (at - member > 6 && strncmp(member, "\"key\":", 6) == 0)
			return hash_bytes_extended((const unsigned char *) member, (int) (at - member),
									   event->relation);
		at++;
	}
	return hash_bytes_extended((const unsigned char *) retry.channel, retry.channel_length, 0);
}

GroupEntry
group_entry(const GroupDefinition *definition, const LogEvent *event)
{
	return (GroupEntry){.id = event->id,
						.address = event->address,
						.key = definition->ordered ? fill_key(event) : 0};
}

/* ---------------- scanning the log ---------------- */

static int
ids_compare(const void *a, const void *b)
{
	uint64 first = *(const uint64 *) a;
	uint64 second = *(const uint64 *) b;

	return first < second ? -1 : first > second;
}

void
group_ids_add(GroupIds *ids, uint64 id)
{
	if (ids->n == ids->size)
	{
		ids->size = Max(1024, ids->size * 2);
		ids->ids = ids->ids == NULL ? palloc(ids->size * sizeof(uint64))
									: repalloc_huge(ids->ids, ids->size * sizeof(uint64));
	}
	ids->ids[ids->n++] = id;
}

void
group_ids_sort(GroupIds *ids)
{
	if (ids->n > 0)
		qsort(ids->ids, ids->n, sizeof(uint64), ids_compare);
}

bool
group_ids_have(const GroupIds *ids, uint64 id)
{
	return ids->n > 0 && bsearch(&id, ids->ids, ids->n, sizeof(uint64), ids_compare) != NULL;
}

static bool
fill_is_acknowledged(const GroupScan *scan, uint64 id)
{
	return scan->acknowledged != NULL && group_ids_have(scan->acknowledged, id);
}

/*
 * Whether the group's filter selects the event, for the group's owner. An event for which that fails
 * is the group's, so that nothing is lost.
 */
static bool
fill_is_selected(GroupScan *scan, const LogEvent *event)
{
	SetChange change;
	SetError error;

	if (scan->sets == NULL || event->op == OPERATION_RETRY)
		return true;
	if (group_sets_judge(scan->sets, event, &change, &error))
		return change != SET_NOTHING;
	if (error.later)
		scan->later = event->id;
	return !error.later;
}

static bool
fill_event(const LogEvent *event, void *arg)
{
	GroupScan *scan = arg;

	if (fill_is_for_group(scan->definition, event) && !fill_is_acknowledged(scan, event->id) &&
		fill_is_selected(scan, event))
		scan->entries[scan->n++] = group_entry(scan->definition, event);
	return scan->n < scan->room && scan->later == 0;
}

/* Leave out a large transaction without events of the group's channels. */
static bool
fill_skip(const LogLarge *large, void *arg)
{
	GroupScan *scan = arg;
	const LogSummary *summary = large->summary;

	if (summary->nchannels > LOG_SUMMARY_CHANNELS)
		return false;
	for (int i = 0; i < summary->nchannels; i++)
	{
		const char *channel = summary->channels[i];

		if (*channel == '\0' || fill_has_channel(scan->definition, channel, (int) strlen(channel)))
			return false;
	}
	return true;
}

void
group_scan(GroupScan *scan, LogReader *reader, const LogMap *map, uint64 upto, Snapshot snapshot)
{
	LogVisitor visitor = {.event = fill_event, .skip = fill_skip, .arg = scan};

	scan->later = 0;
	if (scan->definition->filter != NULL && scan->sets == NULL)
		scan->sets = group_sets_create(scan->definition, scan->definition->owner, NULL);
	log_read(reader, map, upto, FILL_ROWS, snapshot, &visitor);
	if (scan->later != 0)
		reader->after = scan->later - 1;
}

/* ---------------- filling the window ---------------- */

/* Add what was found to the window, which the caller has locked. */
static void
fill_add(GroupSlot *slot, const GroupScan *scan, const LogReader *reader)
{
	for (int i = 0; i < scan->n; i++)
		window_add(&slot->window, &scan->entries[i]);
	slot->reader = *reader;
	slot->window.scanned = reader->after;
}

static void
fill_end(GroupScan *scan)
{
	pfree(scan->entries);
	if (scan->sets != NULL)
		group_sets_free(scan->sets);
}

void
group_report_lost(const GroupDefinition *definition, uint64 first, uint64 last)
{
	ereport(LOG,
			(errmsg("consumer group \"%s\" has lost events", NameStr(definition->name)),
			 errdetail("The events with ids from " UINT64_FORMAT " to " UINT64_FORMAT
					   " were removed before a consumer had taken them.",
					   first, last),
			 errhint("Increase pg_notifyd.group_retention or pg_notifyd.group_retention_size.")));
}

/* Retention has removed what was to be read: the group gets an entry for it. */
static void
fill_lost(const GroupDefinition *definition, GroupSlot *slot, uint64 oldest)
{
	GroupEntry entry = {.id = oldest, .key = slot->window.scanned + 1};

	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	window_add(&slot->window, &entry);
	slot->window.scanned = oldest;
	slot->reader = (LogReader){.after = oldest};
	slot->lost++;
	LWLockRelease(&slot->lock);
	slot_note_dirty(slot);
	group_report_lost(definition, entry.key, entry.id);
}

/*
 * Read some rows of the log. The caller holds the lock on the group's number. Returns false if there
 * is nothing more to read now.
 */
static bool
fill_some(const GroupDefinition *definition, GroupSlot *slot, int room, int n)
{
	NotifydDatabase *database = log_attach();
	GroupScan scan = {.definition = definition, .room = Min(room, FILL_ROWS)};
	LogReader reader = slot->reader;
	const LogMap *map;
	Snapshot snapshot;
	XLogRecPtr lsn;
	uint64 watermark = log_watermark(database, &lsn);
	int pending;

	if (watermark <= reader.after || !log_make_durable(lsn))
		return false;
	map = group_map(database);
	if (reader.after < map->oldest)
	{
		fill_lost(definition, slot, map->oldest);
		return true;
	}

	/* Take the snapshot after the watermark, see log_ids.c. */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan.entries = palloc(scan.room * sizeof(GroupEntry));
	group_scan(&scan, &reader, map, watermark, snapshot);
	UnregisterSnapshot(snapshot);

	/* If retention was faster than the scan, the next call reports it. */
	if (group_is_removed(database, slot->reader.after))
	{
		fill_end(&scan);
		return true;
	}

	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	fill_add(slot, &scan, &reader);
	pending = slot->window.pending;
	LWLockRelease(&slot->lock);
	slot_note_dirty(slot);
	fill_end(&scan);
	if (scan.n > 0)
		slot_wake(slot, pending - n);
	return scan.later == 0;
}

/*
 * The definition as it is now, for a caller with the lock on the group's number; NULL: the group was
 * dropped. Who has changed it had this lock, too.
 */
static const GroupDefinition *
fill_definition(const GroupDefinition *definition)
{
	AcceptInvalidationMessages();
	return definition->as_of == group_changes() ? definition : group_read(definition->id);
}

bool
group_fill(const GroupDefinition *definition, GroupSlot *slot, uint64 scanned, int n)
{
	int group = definition->id;
	bool more = true;
	int room = 0;

	if (!group_lock(group, true))
		return false;
	definition = fill_definition(definition);
	if (definition != NULL && slot_lock(slot, group))
	{
		if (slot->window.scanned == scanned)
			room = window_room(&slot->window);
		more = slot->window.scanned != scanned;
		LWLockRelease(&slot->lock);
	}
	if (room > 0)
		more = fill_some(definition, slot, room, n);
	group_unlock(group);
	return more && definition != NULL;
}
