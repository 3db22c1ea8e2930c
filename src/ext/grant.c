/*-------------------------------------------------------------------------
 *
 * grant.c
 *	  notify_grant() and notify_revoke(): who may subscribe to channels that are no table.
 *
 * The rows of notifyd.channel_grant are written like those of a system catalog, see
 * watch_catalog.c. A role that is dropped cannot take its rows along, because roles belong
 * to all databases; such rows mean nothing and are removed by the next call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "watch.h"

PG_FUNCTION_INFO_V1(notify_grant);
PG_FUNCTION_INFO_V1(notify_revoke);

/* The columns of notifyd.channel_grant, as in the extension's script. */
enum GrantAttribute
{
	GRANT_CHANNEL = 1,
	GRANT_ROLE,
	GRANT_NATTRIBUTES = GRANT_ROLE
};

static void
grant_check_arguments(FunctionCallInfo fcinfo, const char *function)
{
	PreventCommandIfReadOnly(function);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null", PG_ARGISNULL(0) ? "channel" : "role")));
	if (!watch_user_is_admin())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied for %s", function),
						errhint("Only a superuser or a member of the role that owns the extension %s may say "
								"who may subscribe to a channel.",
								WATCH_EXTENSION)));
}

/* The table, locked so that only one call changes it at a time; that ends with the transaction. */
static Relation
grant_open(void)
{
	Oid relation = get_relname_relid("channel_grant", get_namespace_oid(WATCH_SCHEMA, false));

	if (!OidIsValid(relation))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"%s.%s\" does not exist", WATCH_SCHEMA, "channel_grant")));
	return table_open(relation, ShareRowExclusiveLock);
}

/*
 * Remove the rows of dropped roles, and the one of this channel and role if remove is set.
 * Returns whether that one was there.
 */
static bool
grant_clean(Relation table, const char *channel, Oid role, bool remove)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	bool found = false;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum values[GRANT_NATTRIBUTES];
		bool nulls[GRANT_NATTRIBUTES];
		Oid grantee;
		bool same;

		heap_deform_tuple(tuple, RelationGetDescr(table), values, nulls);
		grantee = DatumGetObjectId(values[GRANT_ROLE - 1]);
		same = grantee == role && strcmp(TextDatumGetCString(values[GRANT_CHANNEL - 1]), channel) == 0;
		found = found || same;
		if ((same && remove) || !SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(grantee)))
			CatalogTupleDelete(table, &tuple->t_self);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/* Whoever caches grants finds out by the table's relation cache entry. */
static void
grant_close(Relation table)
{
	CacheInvalidateRelcache(table);
	table_close(table, NoLock);
	CommandCounterIncrement();
}

/* Again is no error and changes nothing. */
Datum
notify_grant(PG_FUNCTION_ARGS)
{
	char *channel;
	Oid role;
	Relation table;

	grant_check_arguments(fcinfo, "notify_grant()");
	channel = text_to_cstring(PG_GETARG_TEXT_PP(0));
	role = PG_GETARG_OID(1);
	watch_check_channel(channel, NULL);
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("role with OID %u does not exist", role)));

	table = grant_open();
	if (!grant_clean(table, channel, role, false))
	{
		Datum values[GRANT_NATTRIBUTES] = {CStringGetTextDatum(channel), ObjectIdGetDatum(role)};
		bool nulls[GRANT_NATTRIBUTES] = {false};

		CatalogTupleInsert(table, heap_form_tuple(RelationGetDescr(table), values, nulls));
	}
	grant_close(table);
	PG_RETURN_VOID();
}

/* Where there is nothing to revoke, nothing happens. */
Datum
notify_revoke(PG_FUNCTION_ARGS)
{
	Relation table;

	grant_check_arguments(fcinfo, "notify_revoke()");
	table = grant_open();
	(void) grant_clean(table, text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_OID(1), true);
	grant_close(table);
	PG_RETURN_VOID();
}
