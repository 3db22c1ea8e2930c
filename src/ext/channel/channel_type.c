/*-------------------------------------------------------------------------
 *
 * channel_type.c
 *	  Types of channels' messages.
 *
 * The rows of notifyd.channel_type are written like those of a system catalog, see watch_catalog.c.
 * PostgreSQL keeps the OIDs of types in pg_upgrade, and dumps have their names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "ext/base/extension.h"
#include "ext/channel/channel_type.h"
#include "ext/transaction/at_end.h"

/* The columns of notifyd.channel_type, as in the extension's script. */
enum ChannelTypeAttribute
{
	CHANNEL_TYPE_CHANNEL = 1,
	CHANNEL_TYPE_TYPE,
	CHANNEL_TYPE_NATTRIBUTES = CHANNEL_TYPE_TYPE
};

static Oid
channel_type_of(HeapTuple tuple, TupleDesc desc)
{
	bool isnull;

	return DatumGetObjectId(heap_getattr(tuple, CHANNEL_TYPE_TYPE, desc, &isnull));
}

static SysScanDesc
channel_type_scan(Relation table, const char *channel)
{
	ScanKeyData key;

	ScanKeyEntryInitialize(&key, 0, CHANNEL_TYPE_CHANNEL, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(channel));
	/* Not GetLatestSnapshot(), as in watch_scan(). */
	return systable_beginscan(table, extension_relation("channel_type_pkey"), true, NULL, 1, &key);
}

Oid
channel_type_find(const char *channel)
{
	Relation table = table_open(extension_relation("channel_type"), AccessShareLock);
	SysScanDesc scan = channel_type_scan(table, channel);
	HeapTuple tuple = systable_getnext(scan);
	Oid type =
		HeapTupleIsValid(tuple) ? channel_type_of(tuple, RelationGetDescr(table)) : InvalidOid;

	systable_endscan(scan);
	table_close(table, AccessShareLock);

	/* A restored row may have the OID of a type that does not exist. */
	return OidIsValid(type) && SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type)) ? type
																					  : InvalidOid;
}

List *
channel_type_channels(Oid type)
{
	Oid relation = extension_find_relation("channel_type");
	List *channels = NIL;
	Relation table;
	SysScanDesc scan;
	HeapTuple tuple;

	/* Version 1.0 has no such table. */
	if (!OidIsValid(relation))
		return NIL;
	table = table_open(relation, AccessShareLock);
	scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;

		if (!OidIsValid(type) || channel_type_of(tuple, RelationGetDescr(table)) == type)
			channels = lappend(channels,
							   TextDatumGetCString(heap_getattr(tuple, CHANNEL_TYPE_CHANNEL,
																RelationGetDescr(table), &isnull)));
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return channels;
}

bool
channel_type_set(const char *channel, Oid type)
{
	Oid relation = extension_relation("channel_type");
	Relation table;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found;

	/* The lock is one on an object, for the reason in grant.c. */
	at_end_refuse_prepare();
	LockDatabaseObject(relation, InvalidOid, 0, ExclusiveLock);
	table = table_open(relation, RowExclusiveLock);
	scan = channel_type_scan(table, channel);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
		CatalogTupleDelete(table, &tuple->t_self);
	systable_endscan(scan);
	CommandCounterIncrement();
	if (OidIsValid(type))
	{
		Datum values[CHANNEL_TYPE_NATTRIBUTES] = {CStringGetTextDatum(channel),
												  ObjectIdGetDatum(type)};
		bool nulls[CHANNEL_TYPE_NATTRIBUTES] = {false};

		CatalogTupleInsert(table, heap_form_tuple(RelationGetDescr(table), values, nulls));
	}
	CacheInvalidateRelcache(table);
	table_close(table, NoLock);
	CommandCounterIncrement();
	return found;
}
