/*-------------------------------------------------------------------------
 *
 * grant.c
 *	  notify_grant() and notify_revoke(): the privileges to subscribe to a channel, to publish to
 *	  it, and to take events from a consumer group.
 *
 * The rows of notifyd.channel_grant are written like those of a system catalog, see
 * watch_catalog.c. DROP ROLE does not remove the rows of the role, because roles belong to all
 * databases. Such rows have no effect, and the next call removes them.
 *
 * Concurrent calls wait for each other with a lock on an object that stands for the table, not on
 * the table itself. Any role can lock a table whose OID it knows, for example with nextval(), which
 * locks its argument before it checks privileges (lock_and_open_sequence() in commands/sequence.c).
 * Such a role must not be able to delay a REVOKE.
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
#include "catalog/pg_authid.h"
#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "ext/base/extension.h"
#include "ext/channel/channel_name.h"
#include "ext/channel/grant.h"
#include "ext/log/log.h"
#include "ext/transaction/at_end.h"

PG_FUNCTION_INFO_V1(notify_grant);
PG_FUNCTION_INFO_V1(notify_revoke);

/* The columns of notifyd.channel_grant, as in the extension's script. */
enum GrantAttribute
{
	GRANT_CHANNEL = 1,
	GRANT_ROLE,
	GRANT_PRIVILEGE, /* not in version 1.0, which knows only "subscribe" */
	GRANT_NATTRIBUTES = GRANT_PRIVILEGE
};

typedef struct Grant
{
	Oid role;
	const char *channel;
	const char *privilege; /* NULL: any privilege */
} Grant;

static Grant
grant_from_tuple(HeapTuple tuple, TupleDesc desc)
{
	Grant grant = {.privilege = GRANT_SUBSCRIBE};
	bool isnull;

	grant.channel = TextDatumGetCString(heap_getattr(tuple, GRANT_CHANNEL, desc, &isnull));
	grant.role = DatumGetObjectId(heap_getattr(tuple, GRANT_ROLE, desc, &isnull));
	if (desc->natts >= GRANT_PRIVILEGE)
		grant.privilege = TextDatumGetCString(heap_getattr(tuple, GRANT_PRIVILEGE, desc, &isnull));
	return grant;
}

static bool
grant_role_exists(Oid role)
{
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role));
}

/* Return true if a grant gives a privilege, or any of the channel if that is NULL. */
static bool
grant_gives(const Grant *grant, const char *privilege)
{
	if (privilege != NULL)
		return strcmp(grant->privilege, privilege) == 0;
	return strcmp(grant->privilege, GRANT_SUBSCRIBE) == 0 ||
		   strcmp(grant->privilege, GRANT_PUBLISH) == 0;
}

bool
grant_exists(Oid role, const char *channel, int length, const char *privilege)
{
	Relation table = table_open(extension_relation("channel_grant"), AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	text *name = cstring_to_text_with_len(channel, length);
	bool found = false;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyEntryInitialize(&key, 0, GRANT_CHANNEL, BTEqualStrategyNumber, InvalidOid,
						   DEFAULT_COLLATION_OID, F_TEXTEQ, PointerGetDatum(name));
	scan = systable_beginscan(table, extension_relation("channel_grant_pkey"), true, snapshot, 1,
							  &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Grant grant = grant_from_tuple(tuple, RelationGetDescr(table));

		found = grant_gives(&grant, privilege) && grant_role_exists(grant.role) &&
				(!OidIsValid(role) || has_privs_of_role(role, grant.role));
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	pfree(name);
	return found;
}

List *
grant_channels(Oid role, const char *privilege)
{
	Relation table = table_open(extension_relation("channel_grant"), AccessShareLock);
	Relation index = index_open(extension_relation("channel_grant_pkey"), AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan_ordered(table, index, snapshot, 0, NULL);
	List *channels = NIL;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		Grant grant = grant_from_tuple(tuple, RelationGetDescr(table));

		if (strcmp(grant.privilege, privilege) == 0 && grant_role_exists(grant.role) &&
			has_privs_of_role(role, grant.role) &&
			(channels == NIL || strcmp(llast(channels), grant.channel) != 0))
			channels = lappend(channels, pstrdup(grant.channel));
	}
	systable_endscan_ordered(scan);
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	table_close(table, AccessShareLock);
	return channels;
}

/* ---------------- changing grants ---------------- */

/* Return the privilege with this name. */
static const char *
grant_read_privilege(const char *name)
{
	static const char *const names[] = {GRANT_SUBSCRIBE, GRANT_PUBLISH, GRANT_CONSUME, GRANT_CALL,
										GRANT_REGISTER};

	for (size_t i = 0; i < lengthof(names); i++)
	{
		if (pg_strcasecmp(name, names[i]) == 0)
			return names[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized privilege \"%s\"", name),
			 errhint("Valid privileges are \"%s\", \"%s\", \"%s\", \"%s\" and \"%s\".",
					 GRANT_SUBSCRIBE, GRANT_PUBLISH, GRANT_CONSUME, GRANT_CALL, GRANT_REGISTER)));
}

/* Read the arguments of both functions, and check that the user may grant. */
static Grant
grant_from_arguments(FunctionCallInfo fcinfo, const char *function)
{
	Grant grant = {.privilege = NULL};

	PreventCommandIfReadOnly(function);
	extension_require_version();
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null", PG_ARGISNULL(0) ? "channel" : "role")));
	if (!extension_is_admin(GetUserId()))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for %s", function),
						errhint("Only a superuser or a member of the role that owns extension %s "
								"can grant and revoke the privileges of a channel.",
								EXTENSION_NAME)));
	grant.channel = text_to_cstring(PG_GETARG_TEXT_PP(0));
	grant.role = PG_GETARG_OID(1);
	if (!PG_ARGISNULL(2))
		grant.privilege = grant_read_privilege(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	return grant;
}

/* Open the table, and keep other transactions from changing it until this one ends. */
static Relation
grant_open(void)
{
	Oid relation = extension_relation("channel_grant");

	at_end_refuse_prepare();
	LockDatabaseObject(relation, InvalidOid, 0, ExclusiveLock);
	return table_open(relation, RowExclusiveLock);
}

/*
 * Remove the rows of dropped roles, and if remove is true also those of the grant. Returns true if
 * the grant had rows.
 */
static bool
grant_clean(Relation table, const Grant *grant, bool remove)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	bool found = false;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Grant have = grant_from_tuple(tuple, RelationGetDescr(table));
		bool same = have.role == grant->role && strcmp(have.channel, grant->channel) == 0 &&
					(grant->privilege == NULL || strcmp(have.privilege, grant->privilege) == 0);

		found = found || same;
		if ((same && remove) || !grant_role_exists(have.role))
			CatalogTupleDelete(table, &tuple->t_self);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/*
 * Invalidate the table's relation cache entry, so that other sessions discard the grants that they
 * have cached.
 */
static void
grant_close(Relation table)
{
	CacheInvalidateRelcache(table);
	table_close(table, NoLock);
	CommandCounterIncrement();
}

/* Granting the same privilege again has no effect. */
Datum
notify_grant(PG_FUNCTION_ARGS)
{
	Grant grant = grant_from_arguments(fcinfo, "notify_grant()");
	Relation table;

	if (grant.privilege == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("privilege must not be null")));
	channel_check_name(grant.channel, NULL);
	if (!grant_role_exists(grant.role))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("role with OID %u does not exist", grant.role)));

	table = grant_open();
	if (!grant_clean(table, &grant, false))
	{
		Datum values[GRANT_NATTRIBUTES] = {CStringGetTextDatum(grant.channel),
										   ObjectIdGetDatum(grant.role),
										   CStringGetTextDatum(grant.privilege)};
		bool nulls[GRANT_NATTRIBUTES] = {false};

		CatalogTupleInsert(table, heap_form_tuple(RelationGetDescr(table), values, nulls));
	}
	grant_close(table);
	PG_RETURN_VOID();
}

/* A null privilege means all privileges. If there is nothing to revoke, raises a NOTICE. */
Datum
notify_revoke(PG_FUNCTION_ARGS)
{
	Grant grant = grant_from_arguments(fcinfo, "notify_revoke()");
	Relation table = grant_open();

	if (!grant_clean(table, &grant, true))
		ereport(NOTICE, (errmsg("there is no such grant on channel \"%s\"", grant.channel),
						 errhint("The view notifyd.grants shows all grants.")));
	grant_close(table);
	PG_RETURN_VOID();
}
