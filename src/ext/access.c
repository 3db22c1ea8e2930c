/*-------------------------------------------------------------------------
 *
 * access.c
 *	  Who may: what a role may subscribe to, and which events it may see.
 *
 * A role may have an event if it could SELECT what the event carries: CONNECT on the database, USAGE on
 * the schema, SELECT on the table or on each of the columns, and no row security that applies to it. An
 * event is judged by the columns in its log row, not by its watch as it is now.
 *
 * Which watches and grants a channel has is read from the catalog tables each time; they are small, and
 * callers keep the answers (feed_stream.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_namespace.h"
#include "commands/dbcommands.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "access.h"
#include "compat.h"
#include "settings.h"
#include "watch.h"

static bool
access_refuse(AccessReason *reason, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

static bool
access_refuse(AccessReason *reason, int code, const char *format, ...)
{
	va_list args;

	reason->code = code;
	va_start(args, format);
	vsnprintf(reason->message, sizeof(reason->message), format, args);
	va_end(args);
	return false;
}

/*
 * Whether a relation has dropped columns: then privileges on every column that is left say nothing of
 * what an older event of the whole row carries.
 */
static bool
access_has_dropped_columns(Oid relation)
{
	HeapTuple tuple;
	bool found = false;

	for (AttrNumber i = 1; !found; i++)
	{
		tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relation), Int16GetDatum(i));
		if (!HeapTupleIsValid(tuple))
			break;
		found = ((Form_pg_attribute) GETSTRUCT(tuple))->attisdropped;
		ReleaseSysCache(tuple);
	}
	return found;
}

/*
 * Privileges are asked for in the way that does not raise an error for what is gone: a table may be
 * dropped while we look, and the columns of an older event may have been long since. Nobody can be said
 * to have had a privilege on such a column, unless on the table.
 */
static bool
access_columns_allowed(Oid role, Oid relation, int n, const int16 *columns)
{
	bool missing = false;

	if (pg_class_aclcheck_ext(relation, role, ACL_SELECT, &missing) == ACLCHECK_OK)
		return true;
	if (n < 0)
		return !access_has_dropped_columns(relation) &&
			   pg_attribute_aclcheck_all(relation, role, ACL_SELECT, ACLMASK_ALL) == ACLCHECK_OK;
	for (int i = 0; i < n; i++)
	{
		if (pg_attribute_aclcheck_ext(relation, columns[i], role, ACL_SELECT, &missing) != ACLCHECK_OK)
			return false;
	}
	return n > 0;
}

bool
access_relation_allowed(Oid role, Oid relation, int n, const int16 *columns, AccessReason *reason)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid schema;
	char *name;

	if (!HeapTupleIsValid(tuple))
		return access_refuse(reason, ACCESS_NO_SUCH_CHANNEL, "the table no longer exists");
	schema = ((Form_pg_class) GETSTRUCT(tuple))->relnamespace;
	name = pstrdup(NameStr(((Form_pg_class) GETSTRUCT(tuple))->relname));
	ReleaseSysCache(tuple);

	if (!COMPAT_SCHEMA_USABLE(schema, role))
		return access_refuse(reason, ACCESS_NOT_PERMITTED, "permission denied for schema \"%s\"",
							 get_namespace_name(schema));
	if (!access_columns_allowed(role, relation, n, columns))
		return access_refuse(reason, ACCESS_NOT_PERMITTED, "permission denied for table \"%s\"", name);
	if (check_enable_rls(relation, role, true) == RLS_ENABLED)
		return access_refuse(
			reason, ACCESS_NOT_PERMITTED,
			"row-level security of table \"%s\" applies to role \"%s\", and its policies are not "
			"evaluated for subscriptions",
			name, GetUserNameFromId(role, true));
	return true;
}

/* A member of a role has what was granted to the role, as with other privileges. */
static bool
access_channel_granted(Oid role, const char *channel, int length, Snapshot snapshot)
{
	Relation table = table_open(log_relation("channel_grant"), AccessShareLock);
	Oid index = log_relation("channel_grant_pkey");
	text *name = cstring_to_text_with_len(channel, length);
	bool granted = false;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid, DEFAULT_COLLATION_OID, F_TEXTEQ,
						   PointerGetDatum(name));
	scan = systable_beginscan(table, index, true, snapshot, 1, &key);
	while (!granted && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		Oid grantee = DatumGetObjectId(heap_getattr(tuple, 2, RelationGetDescr(table), &isnull));

		granted =
			SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(grantee)) && has_privs_of_role(role, grantee);
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	pfree(name);
	return granted;
}

bool
access_event_allowed(Oid role, const LogEvent *event, AccessReason *reason)
{
	bool granted;
	Snapshot snapshot;

	if (OidIsValid(event->relation))
		return access_relation_allowed(role, event->relation, event->ncolumns, event->columns, reason);
	if (superuser_arg(role))
		return true;

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	granted = access_channel_granted(role, event->channel, event->channel_length, snapshot);
	UnregisterSnapshot(snapshot);
	if (!granted)
		return access_refuse(reason, ACCESS_NOT_PERMITTED, "permission denied for channel \"%.*s\"",
							 event->channel_length, event->channel);
	return true;
}

/* Columns that events of a watch carry, for access_relation_allowed(): n, and the numbers at *columns. */
static int
access_watch_columns(const Watch *watch, int16 **columns)
{
	List *key;
	ListCell *cell;
	int n = 0;

	if (!watch->cols.given)
		return -1;
	key = watch->key.given ? NIL : watch_table_key(watch->relation, false);
	*columns = palloc((watch->cols.n + watch->key.n + list_length(key) + 1) * sizeof(int16));
	for (int i = 0; i < watch->cols.n; i++)
		(*columns)[n++] = watch->cols.attnums[i];
	for (int i = 0; i < watch->key.n; i++)
		(*columns)[n++] = watch->key.attnums[i];
	foreach (cell, key)
		(*columns)[n++] = (int16) lfirst_int(cell);
	return n;
}

/* The ids of the watches of a channel. */
static List *
access_watches_of(const char *channel, Snapshot snapshot)
{
	Relation table = table_open(log_relation("watch"), AccessShareLock);
	TableScanDesc scan = table_beginscan(table, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	List *ids = NIL;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		slot_getallattrs(slot);
		if (strcmp(TextDatumGetCString(slot->tts_values[2]), channel) == 0)
		{
			int64 *id = palloc(sizeof(int64));

			*id = DatumGetInt64(slot->tts_values[0]);
			ids = lappend(ids, id);
		}
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(table, AccessShareLock);
	return ids;
}

bool
access_channel(Oid role, const char *channel, AccessChannel *found, AccessReason *reason)
{
	Snapshot snapshot;
	bool refused = false;
	ListCell *cell;

	memset(found, 0, sizeof(*found));
	if (!COMPAT_DATABASE_CONNECTABLE(MyDatabaseId, role))
		return access_refuse(reason, ACCESS_NOT_PERMITTED, "permission denied for database \"%s\"",
							 get_database_name(MyDatabaseId));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	foreach (cell, access_watches_of(channel, snapshot))
	{
		Watch *watch = watch_find(*(int64 *) lfirst(cell));
		int16 *columns = NULL;
		int n;

		if (watch == NULL)
			continue;
		found->watched = true;
		found->notifies |= watch->notify;
		n = access_watch_columns(watch, &columns);
		if (!refused && !access_relation_allowed(role, watch->relation, n, columns, reason))
			refused = true;
	}
	found->granted = access_channel_granted(role, channel, (int) strlen(channel), snapshot);
	UnregisterSnapshot(snapshot);

	if (refused)
		return false;
	if (!found->watched && !found->granted)
		return access_refuse(reason, ACCESS_NO_SUCH_CHANNEL, "no such channel: \"%s\"", channel);
	return true;
}

Oid
access_anonymous_role(AccessReason *reason)
{
	Oid role = InvalidOid;

	if (notifyd_anonymous_role[0] == '\0')
		access_refuse(reason, ACCESS_NOT_PERMITTED, "clients without a token are not admitted");
	else
	{
		role = get_role_oid(notifyd_anonymous_role, true);
		if (!OidIsValid(role))
			access_refuse(reason, ACCESS_NOT_PERMITTED, "role \"%s\" does not exist", notifyd_anonymous_role);
	}
	return role;
}
