/*-------------------------------------------------------------------------
 *
 * access.c
 *	  Decides what a role may subscribe to, and which events it may see.
 *
 * A role may see an event if it could SELECT the event's contents: it needs CONNECT on the
 * database, USAGE on the schema and SELECT on the table or on each of the columns. The columns in
 * the event's log row decide, not the present definition of the watch. A client that asks for some
 * columns only needs the privileges on these and on the key. Row security decides row by row
 * (ext/sets/); this file only finds out whether it applies.
 *
 * A channel belongs to the owners of the tables that are watched on it. They may publish to it and
 * watch more tables on it. Other roles need a grant to publish, and cannot watch a table on it, so
 * that no event can be mistaken for one of another owner. The owner of the extension and superusers
 * may do both on every channel.
 *
 * The watches and grants of a channel are read from their tables in every call. Callers keep the
 * results (feed_recheck.c, send.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "ext/access/access.h"
#include "ext/base/compat.h"
#include "ext/base/extension.h"
#include "ext/base/operation.h"
#include "ext/channel/channel_type.h"
#include "ext/channel/grant.h"
#include "ext/watch/watch.h"

static bool access_refuse(AccessReason *reason, WireReason kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static bool
access_refuse(AccessReason *reason, WireReason kind, const char *format, ...)
{
	va_list args;

	reason->kind = kind;
	reason->name[0] = '\0';
	va_start(args, format);
	vsnprintf(reason->message, sizeof(reason->message), format, args);
	va_end(args);
	return false;
}

/*
 * Return true if a relation has dropped columns. Then privileges on all remaining columns are not
 * enough for an older event of the whole row.
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
 * Check privileges with functions that raise no error if an object does not exist, because a table
 * may be dropped concurrently, and a column of an older event may have been dropped before. For a
 * dropped column, only the privilege on the table counts.
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
		if (pg_attribute_aclcheck_ext(relation, columns[i], role, ACL_SELECT, &missing) !=
			ACLCHECK_OK)
			return false;
	}
	return n > 0;
}

bool
access_has_sets(void)
{
	return OidIsValid(extension_find_relation("shape"));
}

/*
 * A client that has guessed a channel's name gets the reason. So it names schema and table only if
 * the role has the privileges on them.
 */
bool
access_relation_allowed(Oid role, Oid relation, int n, const int16 *columns, AccessReason *reason)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid schema;
	char *name;

	if (!HeapTupleIsValid(tuple))
		return access_refuse(reason, WIRE_NO_SUCH_CHANNEL, "the table no longer exists");
	schema = ((Form_pg_class) GETSTRUCT(tuple))->relnamespace;
	name = pstrdup(NameStr(((Form_pg_class) GETSTRUCT(tuple))->relname));
	ReleaseSysCache(tuple);

	if (!COMPAT_SCHEMA_USABLE(schema, role))
		return access_refuse(
			reason, WIRE_NOT_PERMITTED,
			"permission denied for the schema of a watched table: role \"%s\" needs "
			"USAGE",
			GetUserNameFromId(role, true));
	if (!access_columns_allowed(role, relation, n, columns))
		return access_refuse(reason, WIRE_NOT_PERMITTED,
							 "permission denied for a watched table: role \"%s\" needs SELECT",
							 GetUserNameFromId(role, true));
	if (!access_has_sets() && access_row_security(role, relation))
		return access_refuse(
			reason, WIRE_NOT_PERMITTED,
			"row-level security of table \"%s\" applies to role \"%s\", which needs "
			"ALTER EXTENSION pg_notifyd UPDATE in this database",
			name, GetUserNameFromId(role, true));
	return true;
}

bool
access_row_security(Oid role, Oid relation)
{
	return check_enable_rls(relation, role, true) == RLS_ENABLED;
}

bool
access_any_column(Oid role, Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	bool missing = false;
	bool usable;

	if (!HeapTupleIsValid(tuple))
		return false;
	usable = COMPAT_SCHEMA_USABLE(((Form_pg_class) GETSTRUCT(tuple))->relnamespace, role);
	ReleaseSysCache(tuple);
	return usable &&
		   (pg_class_aclcheck_ext(relation, role, ACL_SELECT, &missing) == ACLCHECK_OK ||
			pg_attribute_aclcheck_all(relation, role, ACL_SELECT, ACLMASK_ANY) == ACLCHECK_OK);
}

bool
access_event_allowed(Oid role, const LogEvent *event, AccessReason *reason)
{
	if (OidIsValid(event->relation))
	{
		if (!access_relation_allowed(role, event->relation, event->ncolumns, event->columns,
									 reason))
			return false;
		if (access_row_security(role, event->relation))
			return access_refuse(reason, WIRE_NOT_PERMITTED,
								 "row-level security of table \"%s\" applies to role \"%s\"",
								 get_rel_name(event->relation), GetUserNameFromId(role, true));
		return true;
	}
	if (event->op == OPERATION_ACKNOWLEDGE || event->op == OPERATION_RETRY)
		return access_refuse(reason, WIRE_NOT_PERMITTED, "not an event");
	if (!superuser_arg(role) &&
		!grant_exists(role, event->channel, event->channel_length, GRANT_SUBSCRIBE))
		return access_refuse(reason, WIRE_NOT_PERMITTED, "permission denied for channel \"%.*s\"",
							 event->channel_length, event->channel);
	return true;
}

/* ---------------- watches and channels ---------------- */

/* Return true if a list of columns (n = -1: all) has this one. */
static bool
access_has_column(int n, const int16 *columns, AttrNumber attnum)
{
	for (int i = 0; i < n; i++)
	{
		if (columns[i] == attnum)
			return true;
	}
	return n < 0;
}

/*
 * Return the columns of a watch's events that a client asks for, and the key. known[i] is set if
 * there is the i-th one.
 */
static int
access_wanted_columns(const Watch *watch, const AccessColumns *wanted, bool *known, int16 **columns)
{
	int16 *captured = NULL;
	int ncaptured = watch_event_columns(watch, &captured);
	List *key = watch->key.given ? NIL : watch_table_key(watch->relation, false);
	ListCell *cell;
	int n = 0;

	*columns = palloc((wanted->n + watch->key.n + list_length(key) + 1) * sizeof(int16));
	for (int i = 0; i < wanted->n; i++)
	{
		AttrNumber attnum = get_attnum(watch->relation, wanted->names[i]);

		if (attnum <= 0 || !access_has_column(ncaptured, captured, attnum))
			continue;
		known[i] = true;
		(*columns)[n++] = attnum;
	}
	for (int i = 0; i < watch->key.n; i++)
		(*columns)[n++] = watch->key.attnums[i];
	foreach (cell, key)
		(*columns)[n++] = (int16) lfirst_int(cell);
	return n;
}

bool
access_named_allowed(Oid role, Oid relation, int n, const int16 *columns, AccessReason *reason)
{
	bool missing = false;

	if (access_relation_allowed(role, relation, n, columns, reason))
		return true;
	/* Clients do not learn the names of tables that they may not read. */
	if (!access_any_column(role, relation))
		return false;
	for (int i = 0; i < n; i++)
	{
		char *name = get_attname(relation, columns[i], true);

		if (name == NULL || pg_attribute_aclcheck_ext(relation, columns[i], role, ACL_SELECT,
													  &missing) == ACLCHECK_OK)
			continue;
		access_refuse(reason, WIRE_NOT_PERMITTED,
					  "permission denied for column \"%s\" of table \"%s\"", name,
					  get_rel_name(relation));
		strlcpy(reason->name, name, sizeof(reason->name));
		break;
	}
	return false;
}

/*
 * Return true if the role may read a watch's events as they are now, or these columns of them.
 * Events with a payload have no columns to choose from.
 */
static bool
access_watch_allowed(Oid role, const Watch *watch, const AccessColumns *wanted, bool *known,
					 AccessReason *reason)
{
	int16 *columns = NULL;
	bool whole = wanted == NULL || watch->payload != NULL;
	int n = whole ? watch_event_columns(watch, &columns)
				  : access_wanted_columns(watch, wanted, known, &columns);

	if (!whole)
		return access_named_allowed(role, watch->relation, n, columns, reason);
	if (access_relation_allowed(role, watch->relation, n, columns, reason))
		return true;
	if (access_any_column(role, watch->relation))
		access_refuse(reason, WIRE_NOT_PERMITTED,
					  "permission denied for some columns of table \"%s\"; %s",
					  get_rel_name(watch->relation),
					  watch->payload != NULL ? "the payload of its events is made of them"
											 : "\"columns\" can leave them out");
	return false;
}

/*
 * A watch that the role may not read is ignored, whatever the role may do with the others. Only its
 * NOTIFYs are distinguished from raw notifications for all roles.
 */
bool
access_channel(Oid role, const char *channel, const AccessColumns *columns, AccessChannel *found,
			   AccessReason *reason)
{
	AccessReason refusal = {.kind = 0};
	bool *known = columns != NULL ? palloc0(columns->n * sizeof(bool) + 1) : NULL;
	ListCell *cell;

	memset(found, 0, sizeof(*found));
	if (!COMPAT_DATABASE_CONNECTABLE(MyDatabaseId, role))
		return access_refuse(reason, WIRE_NOT_PERMITTED, "permission denied for database \"%s\"",
							 get_database_name(MyDatabaseId));
	foreach (cell, watch_list_channel(channel))
	{
		Watch *watch = lfirst(cell);

		found->notifies |= watch->notify;
		if (!access_watch_allowed(role, watch, columns, known, &refusal))
			continue;
		found->watched = true;
		found->restricted |= access_row_security(role, watch->relation);
	}
	found->granted = grant_exists(role, channel, (int) strlen(channel), GRANT_SUBSCRIBE);
	if (!found->watched && !found->granted)
	{
		if (refusal.kind == 0)
			return access_refuse(reason, WIRE_NO_SUCH_CHANNEL, "no such channel: \"%s\"", channel);
		*reason = refusal;
		return false;
	}
	for (int i = 0; columns != NULL && i < columns->n; i++)
	{
		if (known[i])
			continue;
		access_refuse(reason, WIRE_BAD_FILTER, "no event of channel \"%s\" has a column \"%s\"",
					  channel, columns->names[i]);
		strlcpy(reason->name, columns->names[i], sizeof(reason->name));
		return false;
	}
	return true;
}

bool
access_channel_captured(Oid role, const char *channel, const AccessColumns *columns,
						AccessReason *reason)
{
	bool *known = columns != NULL ? palloc0(columns->n * sizeof(bool) + 1) : NULL;
	ListCell *cell;

	foreach (cell, watch_list_channel(channel))
	{
		Watch *watch = lfirst(cell);
		WatchState state = watch_state(watch);

		if ((state == WATCH_BROKEN || state == WATCH_MISSING) &&
			access_watch_allowed(role, watch, columns, known, reason))
			return access_refuse(reason, WIRE_NO_SUCH_CHANNEL,
								 "the watch of table \"%s\" on channel \"%s\" does not work (%s); "
								 "notify_watch() mends it",
								 get_rel_name(watch->relation), channel, watch_state_name(state));
	}
	return true;
}

bool
access_may_publish(Oid role, const char *channel)
{
	ListCell *cell;

	if (extension_is_admin(role) ||
		grant_exists(role, channel, (int) strlen(channel), GRANT_PUBLISH))
		return true;
	foreach (cell, watch_list_channel(channel))
	{
		if (watch_owned_by(lfirst(cell), role))
			return true;
	}
	return false;
}

bool
access_may_use(Oid role, const char *procedure, int length, const char *privilege)
{
	return extension_is_admin(role) || grant_exists(role, procedure, length, privilege);
}

bool
access_is_declared(const char *channel)
{
	return grant_names(channel, (int) strlen(channel)) || watch_list_channel(channel) != NIL ||
		   (OidIsValid(extension_find_relation("channel_type")) &&
			OidIsValid(channel_type_find(channel)));
}
