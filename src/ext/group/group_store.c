/*-------------------------------------------------------------------------
 *
 * group_store.c
 *	  The stored state of groups: loading a window, and copying it to notifyd.group_state.
 *
 * group_internal.h says why the copy and the A rows behind it are exact.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ext/base/extension.h"
#include "ext/base/operation.h"
#include "ext/group/group_internal.h"

/* Columns of notifyd.group_state, as in the extension's script. */
enum StoreAttribute
{
	STORE_GROUP = 1,
	STORE_SCANNED,
	STORE_LOG_ID,
	STORE_NEEDED,
	STORE_OPEN,
	STORE_ATTEMPTS,
	STORE_NATTRIBUTES = STORE_ATTEMPTS
};

/* A row of it. */
typedef struct StoredState
{
	uint64 scanned;
	uint64 log_id;
	int nopen;
	Datum *open;
	Datum *attempts;
} StoredState;

/* Collects what a group has acknowledged. */
typedef struct StoreAcknowledged
{
	int group;
	GroupIds ids;
} StoreAcknowledged;

/* ---------------- reading ---------------- */

/* Without a row, as after the restore of a dump, the group begins with the oldest event. */
static StoredState
store_read(int group, Snapshot snapshot)
{
	Relation table = table_open(extension_relation("group_state"), AccessShareLock);
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	StoredState state = {0};
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum values[STORE_NATTRIBUTES];
		bool nulls[STORE_NATTRIBUTES];
		int n;

		heap_deform_tuple(tuple, RelationGetDescr(table), values, nulls);
		if (DatumGetInt32(values[STORE_GROUP - 1]) != group)
			continue;
		state.scanned = (uint64) DatumGetInt64(values[STORE_SCANNED - 1]);
		state.log_id = (uint64) DatumGetInt64(values[STORE_LOG_ID - 1]);
		deconstruct_array(DatumGetArrayTypePCopy(values[STORE_OPEN - 1]), INT8OID, 8,
						  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &state.open, NULL, &state.nopen);
		deconstruct_array(DatumGetArrayTypePCopy(values[STORE_ATTEMPTS - 1]), INT2OID, 2, true,
						  TYPALIGN_SHORT, &state.attempts, NULL, &n);
		if (n != state.nopen)
			elog(ERROR, "group_state has %d attempts for %d events", n, state.nopen);
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return state;
}

/* Collect the group's ids from the text of an A row: "group:id,difference,...;group:..." */
static bool
store_acknowledgement(const LogEvent *event, void *arg)
{
	StoreAcknowledged *acknowledged = arg;
	char *text;
	char *at;

	if (event->op != OPERATION_ACKNOWLEDGE)
		return true;
	at = text = pnstrdup(log_text(event), event->event_length);
	while (*at != '\0')
	{
		int group = (int) strtol(at, &at, 10);
		uint64 id = 0;

		while (*at == ':' || *at == ',')
		{
			id += strtou64(at + 1, &at, 10);
			if (group == acknowledged->group)
				group_ids_add(&acknowledged->ids, id);
		}
		if (*at == ';')
			at++;
		else if (*at != '\0')
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
							errmsg("invalid acknowledgement with id " UINT64_FORMAT, event->id)));
	}
	pfree(text);
	return true;
}

/* Leave out a large transaction that acknowledges nothing. */
static bool
store_skip(const LogLarge *large, void *arg pg_attribute_unused())
{
	const LogSummary *summary = large->summary;

	if (summary->nchannels > LOG_SUMMARY_CHANNELS)
		return false;
	for (int i = 0; i < summary->nchannels; i++)
	{
		if (summary->channels[i][0] == '\0')
			return false;
	}
	return true;
}

/* What has been acknowledged since the copy was made. */
static GroupIds
store_acknowledged(int group, uint64 after, const LogMap *map, uint64 watermark, Snapshot snapshot)
{
	StoreAcknowledged acknowledged = {.group = group};
	LogVisitor visitor = {.event = store_acknowledgement, .skip = store_skip, .arg = &acknowledged};
	LogReader reader = {.after = Max(after, map->oldest)};

	while (reader.after < watermark)
		log_read(&reader, map, watermark, INT_MAX, snapshot, &visitor);
	group_ids_sort(&acknowledged.ids);
	return acknowledged.ids;
}

/* ---------------- loading ---------------- */

/* Reads the log for the entry of one event. */
typedef struct StoreFind
{
	const GroupDefinition *definition;
	uint64 id;
	GroupEntry entry;
} StoreFind;

static bool
store_found(const LogEvent *event, void *arg)
{
	StoreFind *find = arg;

	if (event->id == find->id)
		find->entry = group_entry(find->definition, event);
	return false;
}

/* The entry of an event that was open. If the log no longer has it, its address says so. */
static GroupEntry
store_find(const GroupDefinition *definition, LogReader *reader, const LogMap *map, uint64 id,
		   Snapshot snapshot)
{
	StoreFind find = {.definition = definition, .id = id, .entry = {.id = id, .key = id}};
	LogVisitor visitor = {.event = store_found, .arg = &find};

	if (id <= map->oldest)
		return find.entry;
	reader->after = id - 1;
	reader->positioned = false;
	memset(&reader->bulk, 0, sizeof(reader->bulk));
	log_read(reader, map, id, 1, snapshot, &visitor);
	return find.entry;
}

/*
 * If retention has removed what is behind scanned, and something was acknowledged behind that, the
 * scan begins there, too. An entry stands for what is gone, unless it was acknowledged as well.
 * Returns true if it was added. Otherwise the next one who fills the window reports what is gone.
 */
static bool
store_skip_removed(GroupScan *scan, LogReader *reader, uint64 oldest, uint64 upto)
{
	uint64 first = reader->after + 1;

	if (reader->after >= oldest || upto < oldest || scan->n == scan->room)
		return false;
	reader->after = oldest;
	if (group_ids_have(scan->acknowledged, oldest))
		return false;
	scan->entries[scan->n++] = (GroupEntry){.id = oldest, .key = first};
	return true;
}

/* Add the events that were open when the copy was made, but for those acknowledged since. */
static void
store_add_open(GroupScan *scan, const StoredState *state, const LogMap *map, Snapshot snapshot)
{
	LogReader reader = {0};

	for (int i = 0; i < state->nopen && scan->n < scan->room; i++)
	{
		int64 id = DatumGetInt64(state->open[i]);
		GroupEntry *entry = &scan->entries[scan->n];
		bool lost = id < 0;
		uint64 first = (uint64) -id;

		if (lost)
			id = DatumGetInt64(state->open[++i]);
		if (group_ids_have(scan->acknowledged, (uint64) id))
			continue;
		*entry = lost ? (GroupEntry){.id = (uint64) id, .key = first}
					  : store_find(scan->definition, &reader, map, (uint64) id, snapshot);
		entry->attempts = (uint16) DatumGetInt16(state->attempts[i]);
		scan->n++;
	}
}

/* Return the group's name in UTF-8, as metrics have it. */
static char *
store_name(const GroupDefinition *definition)
{
	const char *name = NameStr(definition->name);
	const char *utf8 = pg_server_to_any(name, (int) strlen(name), PG_UTF8);
	int length = pg_encoding_mbcliplen(PG_UTF8, utf8, (int) strlen(utf8), NAMEDATALEN - 1);

	return pnstrdup(utf8, (Size) length);
}

/*
 * Load the window. The caller holds the lock on the group's number. Returns false if retention has
 * removed what was read.
 */
static bool
store_load(const GroupDefinition *definition, GroupSlot *slot)
{
	NotifydDatabase *database = log_attach();
	XLogRecPtr lsn;
	uint64 watermark = log_watermark(database, &lsn);
	const LogMap *map = group_map(database);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	StoredState state = store_read(definition->id, snapshot);
	GroupIds acknowledged =
		store_acknowledged(definition->id, state.log_id, map, watermark, snapshot);
	GroupScan scan = {
		.definition = definition, .acknowledged = &acknowledged, .room = GROUP_WINDOW};
	uint64 upto = acknowledged.n > 0 ? acknowledged.ids[acknowledged.n - 1] : 0;
	LogReader reader = {0};
	GroupEntry *whole;
	uint64 lost_first;
	uint64 lost_last;
	bool lost;
	char *name = store_name(definition);

	scan.entries = palloc(GROUP_WINDOW * sizeof(GroupEntry));
	store_add_open(&scan, &state, map, snapshot);
	if (state.scanned == 0)
		state.scanned = map->oldest;
	reader.after = state.scanned;
	lost = store_skip_removed(&scan, &reader, map->oldest, upto);
	lost_first = state.scanned + 1;
	lost_last = map->oldest;
	while (reader.after < upto && reader.after >= map->oldest && scan.n < scan.room)
		group_scan(&scan, &reader, map, upto, snapshot);
	UnregisterSnapshot(snapshot);
	if (group_is_removed(database, map->oldest))
	{
		pfree(scan.entries);
		return false;
	}

	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	namestrcpy(&slot->name, name);
	window_reset(&slot->window, reader.after);
	slot->window.max_attempts = definition->max_attempts;
	for (int i = 0; i < scan.n; i++)
		window_add(&slot->window, &scan.entries[i]);
	whole = window_lose_all(&slot->window, map->oldest);
	if (whole != NULL)
	{
		lost_first = whole->key;
		lost_last = whole->id;
		lost = true;
	}
	slot->reader = reader;
	slot->generation++;
	slot->dirty = scan.n != state.nopen || acknowledged.n > 0 || whole != NULL;
	slot->lost += lost;
	slot->retry = true;
	slot->loaded = true;
	LWLockRelease(&slot->lock);
	if (lost)
		group_report_lost(definition, lost_first, lost_last);
	pfree(scan.entries);
	return true;
}

void
group_load(const GroupDefinition *definition, GroupSlot *slot)
{
	(void) group_lock(definition->id, true);

	/* Who drops the group has this lock until the slot is free. */
	if (slot->group != definition->id || slot->database != MyDatabaseId)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("consumer group \"%s\" was dropped", NameStr(definition->name))));
	if (slot_lock(slot, definition->id))
		LWLockRelease(&slot->lock);
	else
	{
		while (!store_load(definition, slot))
			CHECK_FOR_INTERRUPTS();
	}
	group_unlock(definition->id);
}

/* ---------------- copying ---------------- */

void
group_store(int group, uint64 scanned, const int64 *ids, const uint16 *attempts, int n,
			uint64 log_id)
{
	Datum *open = palloc((n + 1) * sizeof(Datum));
	Datum *counts = palloc((n + 1) * sizeof(Datum));
	uint64 needed = Min(scanned, log_id);
	Oid types[] = {INT4OID, INT8OID, INT8OID, INT8OID, INT8ARRAYOID, INT2ARRAYOID};
	Datum values[STORE_NATTRIBUTES];
	Oid user;
	int context;

	for (int i = 0; i < n; i++)
	{
		open[i] = Int64GetDatum(ids[i]);
		counts[i] = Int16GetDatum((int16) attempts[i]);
	}
	if (n > 0)
		needed = Min(needed, (uint64) labs(ids[0]) - 1);
	values[STORE_GROUP - 1] = Int32GetDatum(group);
	values[STORE_SCANNED - 1] = Int64GetDatum((int64) scanned);
	values[STORE_LOG_ID - 1] = Int64GetDatum((int64) log_id);
	values[STORE_NEEDED - 1] = Int64GetDatum((int64) needed);
	values[STORE_OPEN - 1] =
		PointerGetDatum(construct_array(open, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[STORE_ATTEMPTS - 1] =
		PointerGetDatum(construct_array(counts, n, INT2OID, 2, true, TYPALIGN_SHORT));

	/* The caller need not have privileges on the table. */
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (SPI_execute_with_args(
			"INSERT INTO notifyd.group_state VALUES ($1, $2, $3, $4, $5, $6) "
			"ON CONFLICT (group_id) DO UPDATE SET scanned = EXCLUDED.scanned, "
			"log_id = EXCLUDED.log_id, needed = EXCLUDED.needed, open = EXCLUDED.open, "
			"attempts = EXCLUDED.attempts",
			STORE_NATTRIBUTES, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not store the state of a consumer group");
	SPI_finish();
	SetUserIdAndSecContext(user, context);
}

bool
group_checkpoint(GroupSlot *slot)
{
	int64 *ids = palloc(2 * GROUP_WINDOW * sizeof(int64));
	uint16 *attempts = palloc(2 * GROUP_WINDOW * sizeof(uint16));
	int group = slot->group;
	XLogRecPtr lsn;
	uint64 log_id;
	uint64 scanned;
	int n = 0;

	if (!group_lock(group, false))
		return false;
	log_id = log_watermark(log_attach(), &lsn);
	if (slot_lock(slot, group))
	{
		for (int i = slot->window.begin; i < slot->window.end; i++)
		{
			const GroupEntry *entry = &slot->window.entries[i];

			if (entry->state == GROUP_DONE)
				continue;
			if (!OidIsValid(entry->address.table))
			{
				ids[n] = -(int64) entry->key;
				attempts[n++] = 0;
			}
			ids[n] = (int64) entry->id;
			attempts[n++] = entry->attempts;
		}
		scanned = slot->window.scanned;
		slot->dirty = false;
		LWLockRelease(&slot->lock);
		group_store(group, scanned, ids, attempts, n, log_id);
	}
	pfree(ids);
	pfree(attempts);

	/* Who loads before the transaction has committed reads an earlier copy, and more A rows. */
	group_unlock(group);
	return true;
}
