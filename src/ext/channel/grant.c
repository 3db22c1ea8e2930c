/*-------------------------------------------------------------------------
 *
 * grant.c
 *	  notify_grant() and notify_revoke(): the privileges to subscribe to a channel, to publish to
 *	  it, to take events from a consumer group, and to call and register procedures of clients.
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
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ext/base/extension.h"
#include "ext/channel/channel_name.h"
#include "ext/channel/grant_internal.h"
#include "ext/channel/grant_pattern.h"
#include "ext/log/log.h"
#include "ext/transaction/at_end.h"

PG_FUNCTION_INFO_V1(notify_grant);
PG_FUNCTION_INFO_V1(notify_revoke);

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
	grant.any = PG_ARGISNULL(3);
	grant.pattern = !grant.any && PG_GETARG_BOOL(3);
	return grant;
}

/*
 * Decide whether a grant is on a pattern: if the caller does not say it, the name decides, except
 * that of a consumer group. Raises ERRCODE_INVALID_NAME for a pattern that is none.
 */
static void
grant_decide_pattern(Grant *grant)
{
	bool group = strcmp(grant->privilege, GRANT_CONSUME) == 0;
	GrantPattern pattern;
	const char *problem = grant_pattern_read(grant->channel, &pattern);

	if (grant->any)
		grant->pattern = !group && (problem != NULL || pattern.match != URI_EXACT);
	grant->any = false;
	if (!grant->pattern)
		return;
	if (group)
		problem = "The privilege \"consume\" is granted on the name of a consumer group.";
	else if (problem == NULL && pattern.match == URI_EXACT)
		problem = "It has neither an empty part nor a star as its last part.";
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME), errmsg("invalid pattern \"%s\"", grant->channel),
				 errdetail("%s", problem),
				 errhint("With pattern => false, the privilege is granted on exactly this name.")));
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
					(grant->any || have.pattern == grant->pattern) &&
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
	grant_decide_pattern(&grant);
	if (!grant_role_exists(grant.role))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("role with OID %u does not exist", grant.role)));

	table = grant_open();
	if (!grant_clean(table, &grant, false))
	{
		Datum values[GRANT_NATTRIBUTES] = {
			CStringGetTextDatum(grant.channel), ObjectIdGetDatum(grant.role),
			CStringGetTextDatum(grant.privilege), BoolGetDatum(grant.pattern)};
		bool nulls[GRANT_NATTRIBUTES] = {false};

		CatalogTupleInsert(table, heap_form_tuple(RelationGetDescr(table), values, nulls));
	}
	grant_close(table);
	PG_RETURN_VOID();
}

/*
 * A null privilege means all privileges, and a null pattern both the name and the pattern. If there
 * is nothing to revoke, raises a NOTICE.
 */
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
