/*-------------------------------------------------------------------------
 *
 * disconnected.c
 *	  The tokens that notify_disconnect() has made invalid, in the table notifyd.disconnected.
 *
 * A row stays until a later one comprises it. How long the tokens are valid that it concerns is not
 * known, because the server has not seen all of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "storage/lmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ext/access/disconnected.h"
#include "ext/base/extension.h"
#include "ext/transaction/at_end.h"

/* The columns of notifyd.disconnected, as in the extension's script. */
enum DisconnectedAttribute
{
	DISCONNECTED_CLAIMS = 1,
	DISCONNECTED_ISSUED_BEFORE,
	DISCONNECTED_NATTRIBUTES = DISCONNECTED_ISSUED_BEFORE
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

List *
disconnected_list(void)
{
	Oid relation = extension_find_relation("disconnected");
	List *rows = NIL;
	Relation table;
	Snapshot snapshot;
	SysScanDesc scan;
	HeapTuple tuple;

	/* Version 1.0 has no tokens. */
	if (!OidIsValid(relation))
		return NIL;
	table = table_open(relation, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		rows = lappend(rows, disconnected_from_tuple(tuple, RelationGetDescr(table)));
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	return rows;
}

static bool
disconnected_contains(Jsonb *claims, Jsonb *contained)
{
	return DatumGetBool(
		DirectFunctionCall2(jsonb_contains, JsonbPGetDatum(claims), JsonbPGetDatum(contained)));
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
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return there;
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
	if (!disconnected_clean(table, added))
	{
		Datum values[DISCONNECTED_NATTRIBUTES] = {JsonbPGetDatum(added->claims),
												  TimestampTzGetDatum(added->issued_before)};
		bool nulls[DISCONNECTED_NATTRIBUTES] = {false};

		CatalogTupleInsert(table, heap_form_tuple(RelationGetDescr(table), values, nulls));
	}
	CacheInvalidateRelcache(table);
	table_close(table, NoLock);
	CommandCounterIncrement();
}

bool
disconnected_matches(const Disconnected *row, Jsonb *claims, TimestampTz issued_at)
{
	return issued_at < row->issued_before && disconnected_contains(claims, row->claims);
}
