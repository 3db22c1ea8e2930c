/*-------------------------------------------------------------------------
 *
 * disconnected.c
 *	  The tokens that notify_disconnect() has made invalid, in the table notifyd.disconnected.
 *
 * A row stays until a later one comprises it, or until all tokens that it concerns have expired. Only
 * pg_notifyd.jwt_max_lifetime says when that is, because the server has not seen all of them. One row
 * then remains of all that are over: it refuses every token from before the latest of their times.
 * These have expired, so it refuses nothing more, and the tokens stay invalid if the setting is
 * raised later, or if the clock was wrong.
 *
 * Feeds look up each token that is presented. A set therefore files each row under the hash of one of
 * its members, and a lookup only meets rows that have a member in common with the token.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ext/access/disconnected.h"
#include "ext/access/token.h"
#include "ext/access/token_settings.h"
#include "ext/base/extension.h"
#include "ext/transaction/at_end.h"

PG_FUNCTION_INFO_V1(notifyd_disconnected_changed);

/* The columns of notifyd.disconnected, as in the extension's script. */
enum DisconnectedAttribute
{
	DISCONNECTED_CLAIMS = 1,
	DISCONNECTED_ISSUED_BEFORE,
	DISCONNECTED_NATTRIBUTES = DISCONNECTED_ISSUED_BEFORE
};

/* The rows that are filed under one hash. */
typedef struct DisconnectedBucket
{
	uint32 hash;
	List *rows;
} DisconnectedBucket;

struct DisconnectedSet
{
	HTAB *buckets;
	List *unfiled;     /* rows without a member whose value is a scalar */
	TimestampTz first; /* the earliest time of a row that has claims; DT_NOEND: there is none */
};

static Disconnected *
disconnected_from_tuple(HeapTuple tuple, TupleDesc desc)
{
	Disconnected *row = palloc(sizeof(Disconnected));
	bool isnull;

	row->claims = DatumGetJsonbPCopy(heap_getattr(tuple, DISCONNECTED_CLAIMS, desc, &isnull));
	row->issued_before =
		DatumGetTimestampTz(heap_getattr(tuple, DISCONNECTED_ISSUED_BEFORE, desc, &isnull));
	return row;
}

static bool
disconnected_contains(Jsonb *claims, Jsonb *contained)
{
	return DatumGetBool(
		DirectFunctionCall2(jsonb_contains, JsonbPGetDatum(claims), JsonbPGetDatum(contained)));
}

bool
disconnected_matches(const Disconnected *row, Jsonb *claims, TimestampTz issued_at)
{
	return issued_at < row->issued_before && disconnected_contains(claims, row->claims);
}

/* ---------------- sets ---------------- */

/*
 * Advance to the next member whose value is a scalar, and return its hash. Objects that contain
 * each other have equal values there.
 */
static bool
disconnected_next_hash(JsonbIterator **members, uint32 *hash)
{
	JsonbIteratorToken token;
	JsonbValue value;

	while ((token = JsonbIteratorNext(members, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			*hash = 0;
		if (token == WJB_KEY || (token == WJB_VALUE && value.type != jbvBinary))
			JsonbHashScalarValue(&value, hash);
		if (token == WJB_VALUE && value.type != jbvBinary)
			return true;
	}
	return false;
}

/* File a row under the member that the fewest rows are filed under. */
static void
disconnected_file(DisconnectedSet *set, Disconnected *row)
{
	JsonbIterator *members = JsonbIteratorInit(&row->claims->root);
	DisconnectedBucket *smallest = NULL;
	uint32 hash;

	if (JB_ROOT_COUNT(row->claims) > 0)
		set->first = Min(set->first, row->issued_before);
	while (disconnected_next_hash(&members, &hash))
	{
		bool found;
		DisconnectedBucket *bucket = hash_search(set->buckets, &hash, HASH_ENTER, &found);

		if (!found)
			bucket->rows = NIL;
		if (smallest == NULL || list_length(bucket->rows) < list_length(smallest->rows))
			smallest = bucket;
	}
	if (smallest != NULL)
		smallest->rows = lappend(smallest->rows, row);
	else
		set->unfiled = lappend(set->unfiled, row);
}

DisconnectedSet *
disconnected_read(void)
{
	Oid relation = extension_find_relation("disconnected");
	DisconnectedSet *set = palloc0(sizeof(DisconnectedSet));
	HASHCTL buckets = {.keysize = sizeof(uint32),
					   .entrysize = sizeof(DisconnectedBucket),
					   .hcxt = CurrentMemoryContext};
	Relation table;
	SysScanDesc scan;
	HeapTuple tuple;

	set->buckets =
		hash_create("pg_notifyd disconnected", 64, &buckets, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	set->first = DT_NOEND;
	/* Version 1.0 has no tokens. */
	if (!OidIsValid(relation))
		return set;
	table = table_open(relation, AccessShareLock);
	/* Not GetLatestSnapshot(), which fixes the transaction's snapshot (query_snapshot_lock()). */
	scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		disconnected_file(set, disconnected_from_tuple(tuple, RelationGetDescr(table)));
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return set;
}

static bool
disconnected_match_any(const List *rows, Jsonb *claims, TimestampTz issued_at)
{
	ListCell *cell;

	foreach (cell, rows)
	{
		if (disconnected_matches(lfirst(cell), claims, issued_at))
			return true;
	}
	return false;
}

bool
disconnected_has(const DisconnectedSet *set, Jsonb *claims, TimestampTz issued_at)
{
	JsonbIterator *members = JsonbIteratorInit(&claims->root);
	bool found = disconnected_match_any(set->unfiled, claims, issued_at);
	uint32 hash;

	while (!found && disconnected_next_hash(&members, &hash))
	{
		DisconnectedBucket *bucket = hash_search(set->buckets, &hash, HASH_FIND, NULL);

		found = bucket != NULL && disconnected_match_any(bucket->rows, claims, issued_at);
	}
	return found;
}

const char *
disconnected_refusal(const DisconnectedSet *set, Jsonb *claims, TimestampTz issued_at)
{
	if (!disconnected_has(set, claims, issued_at))
		return NULL;
	return issued_at != DT_NOBEGIN
			   ? "JWT was issued before notify_disconnect() was called for it"
			   : "JWT has no claim \"iat\", and notify_disconnect() was called for it";
}

/* ---------------- changes ---------------- */

/* Tokens that were issued before this time have expired; DT_NOBEGIN: that is not known. */
static TimestampTz
disconnected_horizon(TimestampTz now)
{
	if (notifyd_jwt_max_lifetime == 0)
		return DT_NOBEGIN;
	return now - (notifyd_jwt_max_lifetime + (int64) TOKEN_SKEW) * USECS_PER_SEC;
}

bool
disconnected_over(const DisconnectedSet *set, TimestampTz now)
{
	return set->first <= disconnected_horizon(now);
}

/* Delete the rows that the added one comprises. Returns true if a row comprises the added one. */
static bool
disconnected_clean(Relation table, const Disconnected *added)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	bool there = false;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Disconnected *row = disconnected_from_tuple(tuple, RelationGetDescr(table));

		if (row->issued_before >= added->issued_before &&
			disconnected_contains(added->claims, row->claims))
			there = true;
		else if (row->issued_before <= added->issued_before &&
				 disconnected_contains(row->claims, added->claims))
			CatalogTupleDelete(table, &tuple->t_self);
		pfree(row->claims);
		pfree(row);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return there;
}

static void
disconnected_insert(Relation table, const Disconnected *added)
{
	if (!disconnected_clean(table, added))
	{
		Datum values[DISCONNECTED_NATTRIBUTES] = {JsonbPGetDatum(added->claims),
												  TimestampTzGetDatum(added->issued_before)};
		bool nulls[DISCONNECTED_NATTRIBUTES] = {false};

		CatalogTupleInsert(table, heap_form_tuple(RelationGetDescr(table), values, nulls));
	}
	CacheInvalidateRelcache(table);
	CommandCounterIncrement();
}

/* Replace the rows that are over by one for all tokens from before the latest of their times. */
static void
disconnected_merge(Relation table, TimestampTz now)
{
	TimestampTz horizon = disconnected_horizon(now);
	Disconnected all = {.issued_before = DT_NOBEGIN};
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	bool over = false;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Disconnected *row = disconnected_from_tuple(tuple, RelationGetDescr(table));

		if (row->issued_before <= horizon)
		{
			over |= JB_ROOT_COUNT(row->claims) > 0;
			all.issued_before = Max(all.issued_before, row->issued_before);
		}
		pfree(row->claims);
		pfree(row);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	if (!over)
		return;
	all.claims = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	disconnected_insert(table, &all);
}

void
disconnected_add(const Disconnected *added)
{
	Oid relation = extension_relation("disconnected");
	Relation table;

	at_end_refuse_prepare();
	at_end_wake(AT_END_WAKE_FEED);
	LockDatabaseObject(relation, InvalidOid, 0, ExclusiveLock);
	table = table_open(relation, RowExclusiveLock);
	if (notifyd_jwt_max_lifetime > 0)
		disconnected_merge(table, GetCurrentTimestamp());
	disconnected_insert(table, added);
	table_close(table, NoLock);
}

void
disconnected_end(TimestampTz now)
{
	Oid relation = extension_find_relation("disconnected");
	Relation table;

	/* This lock waits for no row and conflicts with all that change rows, so nothing below waits. */
	if (!OidIsValid(relation) || !ConditionalLockRelationOid(relation, ExclusiveLock))
		return;
	table = table_open(relation, NoLock);
	disconnected_merge(table, now);
	table_close(table, NoLock);
}

/* Statements that change the table, such as a restored dump, take effect as notify_disconnect() does. */
Datum
notifyd_disconnected_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" was not called by trigger manager",
							   "disconnected_changed")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	at_end_wake(AT_END_WAKE_FEED);
	return PointerGetDatum(NULL);
}
