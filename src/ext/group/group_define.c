/*-------------------------------------------------------------------------
 *
 * group_define.c
 *	  notify_group() and notify_ungroup(): define and drop consumer groups.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "ext/base/extension.h"
#include "ext/channel/channel_name.h"
#include "ext/group/group_internal.h"
#include "ext/transaction/at_end.h"
#include "ext/watch/watch.h"
#include "wire/wire.h"

PG_FUNCTION_INFO_V1(notify_group);
PG_FUNCTION_INFO_V1(notify_ungroup);
PG_FUNCTION_INFO_V1(notify_retry);

/* The arguments of notify_group(). */
enum DefineArgument
{
	DEFINE_NAME = 0,
	DEFINE_CHANNELS,
	DEFINE_FILTER,
	DEFINE_LEASE,
	DEFINE_MAX_ATTEMPTS,
	DEFINE_SINCE,
	DEFINE_ORDERED,
};

/* ---------------- when the transaction has committed ---------------- */

typedef enum DefineKind
{
	DEFINE_ALTERED,
	DEFINE_MOVED, /* it has another position: its slot has to be loaded again */
	DEFINE_DROPPED,
	DEFINE_RETRIED, /* events that were set aside are to come again */
} DefineKind;

/* A group that this transaction has changed. */
typedef struct DefineChange
{
	GroupSlot *slot;
	DefineKind kind;
	int max_attempts;
} DefineChange;

static List *define_changes = NIL; /* in TopTransactionContext */

static void
define_apply(const DefineChange *change)
{
	GroupSlot *slot = change->slot;

	if (change->kind == DEFINE_DROPPED)
		slot_free(slot);
	else if (change->kind == DEFINE_MOVED)
		slot_unload(slot);
	else if (change->kind == DEFINE_RETRIED)
		slot->retry = true;
	else
	{
		LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
		slot->window.max_attempts = change->max_attempts;
		LWLockRelease(&slot->lock);
	}
}

static void
define_end(XactEvent event, void *arg pg_attribute_unused())
{
	ListCell *cell;

	if (event == XACT_EVENT_COMMIT)
	{
		foreach (cell, define_changes)
			define_apply(lfirst(cell));
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		define_changes = NIL;
}

/* A savepoint that is rolled back may leave a change behind. */
static void
define_note_change(int group, DefineKind kind, int max_attempts)
{
	static bool registered = false;
	MemoryContext old;
	DefineChange *change;
	GroupSlot *slot = slot_find(group);

	if (slot == NULL)
		return; /* nobody has used it since the server started */
	if (!registered)
	{
		RegisterXactCallback(define_end, NULL);
		registered = true;
	}
	old = MemoryContextSwitchTo(TopTransactionContext);
	change = palloc0(sizeof(DefineChange));
	change->slot = slot;
	change->kind = kind;
	change->max_attempts = max_attempts;
	define_changes = lappend(define_changes, change);
	MemoryContextSwitchTo(old);
}

/* ---------------- arguments ---------------- */

/* Raise an error unless the user may define groups of the channel. */
static void
define_check_channel(const char *channel)
{
	Oid role = GetUserId();
	bool owned = false;
	ListCell *cell;

	foreach (cell, watch_list_channel(channel))
		owned |= watch_owned_by(lfirst(cell), role);
	if (!owned && !extension_is_admin(role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for channel \"%s\"", channel),
						errhint("Only a superuser, a member of the role that owns extension %s, or "
								"the owner of a table that is watched on the channel can define a "
								"consumer group of the channel.",
								EXTENSION_NAME)));
}

static void
define_check_names(const char *name, ArrayType *channels)
{
	Datum *names;
	bool *nulls;
	int n;

	channel_check_name(name, "This is the name of a consumer group.");
	deconstruct_array(channels, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &n);
	if (n == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a consumer group needs at least one channel")));
	for (int i = 0; i < n; i++)
	{
		char *channel;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("channel must not be null")));
		channel = TextDatumGetCString(names[i]);
		channel_check_name(channel, NULL);
		define_check_channel(channel);
	}
}

static void
define_check_arguments(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"name", "channels", "filter", "lease", "max_attempts"};

	group_require("notify_group()");
	extension_require_version();
	for (int i = 0; i <= DEFINE_MAX_ATTEMPTS; i++)
	{
		if (i != DEFINE_FILTER && PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("%s must not be null", names[i])));
	}
	if (group_interval_us(PG_GETARG_INTERVAL_P(DEFINE_LEASE)) <= 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("lease must be a positive interval")));
	if (PG_GETARG_INT32(DEFINE_MAX_ATTEMPTS) < 1 ||
		PG_GETARG_INT32(DEFINE_MAX_ATTEMPTS) >= PG_INT16_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("max_attempts must be from 1 to %d", PG_INT16_MAX - 1)));
	if (!PG_ARGISNULL(DEFINE_ORDERED) &&
		strcmp(text_to_cstring(PG_GETARG_TEXT_PP(DEFINE_ORDERED)), "key") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unrecognized order \"%s\"",
							   text_to_cstring(PG_GETARG_TEXT_PP(DEFINE_ORDERED))),
						errhint("The order is \"key\", or null: events are taken in parallel.")));
	define_check_names(text_to_cstring(PG_GETARG_TEXT_PP(DEFINE_NAME)),
					   PG_GETARG_ARRAYTYPE_P(DEFINE_CHANNELS));
}

/* The id of a position that a client may have. */
static uint64
define_read_position(text *since)
{
	WirePosition position;
	uint64 last;

	if (!wire_position_parse(VARDATA_ANY(since), VARSIZE_ANY_EXHDR(since), &position))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid position \"%s\"", text_to_cstring(since))));
	if (position.timeline != log_timeline_of(position.id) &&
		(!log_timeline_end(position.timeline, &last) || position.id > last))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("position \"%s\" is not one of this server's history",
							   text_to_cstring(since))));
	return position.id;
}

/* ---------------- rows ---------------- */

/* Run a statement with the privileges that the tables need. Returns the number in its first row, or 0. */
static int
define_execute(const char *sql, int n, Oid *types, Datum *values, const char *nulls)
{
	Oid user;
	int context;
	int result = 0;
	int status;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	status = SPI_execute_with_args(sql, n, types, values, nulls, false, 0);
	if (status < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(status));
	if (SPI_processed > 0 && SPI_tuptable != NULL)
	{
		bool isnull;

		result =
			DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_finish();
	SetUserIdAndSecContext(user, context);
	return result;
}

static bool
define_has_owner(const GroupDefinition *definition)
{
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(definition->owner));
}

/* If the owner was dropped, those may change the group who could define it. */
static void
define_check_owner(const GroupDefinition *definition)
{
	if (!define_has_owner(definition))
	{
		for (int i = 0; i < definition->nchannels; i++)
			define_check_channel(NameStr(definition->channels[i]));
	}
	else if (!extension_is_admin(GetUserId()) && !has_privs_of_role(GetUserId(), definition->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of consumer group \"%s\"", NameStr(definition->name))));
}

/*
 * The group with this name, which the user may change; NULL: there is none. Other sessions that
 * define or drop one wait until this transaction ends.
 */
static GroupDefinition *
define_lock(const char *name)
{
	ListCell *cell;

	at_end_refuse_prepare();
	LockDatabaseObject(extension_relation("consumer_group"), InvalidOid, 0, ExclusiveLock);
	foreach (cell, group_list())
	{
		GroupDefinition *definition = lfirst(cell);

		if (strcmp(NameStr(definition->name), name) != 0)
			continue;
		define_check_owner(definition);
		(void) group_lock(definition->id, true);
		return definition;
	}
	return NULL;
}

static void
define_changed(void)
{
	CacheInvalidateRelcacheByRelid(extension_relation("consumer_group"));
	CommandCounterIncrement();
}

/* Insert or update the row. Returns the group's number. The user becomes the owner if there is none. */
static int
define_write(FunctionCallInfo fcinfo, const GroupDefinition *before)
{
	Oid types[] = {TEXTOID, TEXTARRAYOID, TEXTOID, INTERVALOID, INT4OID, TEXTOID, OIDOID};
	Datum values[7];
	char nulls[] = "       ";

	for (int i = 0; i <= DEFINE_MAX_ATTEMPTS; i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	values[5] = PG_GETARG_DATUM(DEFINE_ORDERED);
	nulls[5] = PG_ARGISNULL(DEFINE_ORDERED) ? 'n' : ' ';
	values[6] =
		ObjectIdGetDatum(before != NULL && define_has_owner(before) ? before->owner : GetUserId());
	if (before != NULL)
		return define_execute("UPDATE notifyd.consumer_group SET channels = $2, filter = $3, "
							  "lease = $4, max_attempts = $5, ordered = $6, owner = $7 "
							  "WHERE name OPERATOR(pg_catalog.=) $1 RETURNING id",
							  7, types, values, nulls);
	return define_execute("INSERT INTO notifyd.consumer_group "
						  "(name, channels, filter, lease, max_attempts, ordered, owner) "
						  "VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
						  7, types, values, nulls);
}

/*
 * notify_group(name, channels, filter, lease, max_attempts, since, ordered) -> void
 *
 * Creates a consumer group, or changes one. A new group begins with the transactions that commit
 * from now on, or behind the position since. One that is changed stays where it is unless since is
 * given.
 */
Datum
notify_group(PG_FUNCTION_ARGS)
{
	GroupDefinition *before;
	uint64 watermark;
	uint64 since;
	XLogRecPtr lsn;
	int group;

	define_check_arguments(fcinfo);
	before = define_lock(text_to_cstring(PG_GETARG_TEXT_PP(DEFINE_NAME)));
	watermark = log_watermark(log_attach(), &lsn);
	since = PG_ARGISNULL(DEFINE_SINCE) ? watermark
									   : define_read_position(PG_GETARG_TEXT_PP(DEFINE_SINCE));
	group = define_write(fcinfo, before);
	CommandCounterIncrement();
	if (!PG_ARGISNULL(DEFINE_FILTER))
		group_check_filter(group_read(group));
	if (before == NULL || !PG_ARGISNULL(DEFINE_SINCE))
		group_store(group, since, NULL, NULL, 0, watermark);
	if (before != NULL)
		define_note_change(group, PG_ARGISNULL(DEFINE_SINCE) ? DEFINE_ALTERED : DEFINE_MOVED,
						   PG_GETARG_INT32(DEFINE_MAX_ATTEMPTS));
	define_changed();
	PG_RETURN_VOID();
}

/*
 * notify_ungroup(name) -> boolean
 *
 * Drops a consumer group. Returns false if there is none.
 */
Datum
notify_ungroup(PG_FUNCTION_ARGS)
{
	GroupDefinition *group;
	Oid type = INT4OID;
	Datum id;

	group_require("notify_ungroup()");
	extension_require_version();
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("name must not be null")));
	group = define_lock(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (group == NULL)
		PG_RETURN_BOOL(false);
	id = Int32GetDatum(group->id);
	define_execute("DELETE FROM notifyd.consumer_group WHERE id OPERATOR(pg_catalog.=) $1", 1,
				   &type, &id, NULL);
	define_execute("DELETE FROM notifyd.group_state WHERE group_id OPERATOR(pg_catalog.=) $1", 1,
				   &type, &id, NULL);
	define_execute("DELETE FROM notifyd.group_failed WHERE group_id OPERATOR(pg_catalog.=) $1", 1,
				   &type, &id, NULL);
	define_note_change(group->id, DEFINE_DROPPED, 0);
	define_changed();
	PG_RETURN_BOOL(true);
}

/*
 * notify_retry(name, ids) -> integer
 *
 * Lets events that were set aside come again, when the transaction commits: those with these ids, or
 * all. Returns how many.
 */
Datum
notify_retry(PG_FUNCTION_ARGS)
{
	Oid types[] = {INT4OID, INT8ARRAYOID};
	Datum values[2];
	const GroupDefinition *group;
	int count;

	group_require("notify_retry()");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("name must not be null")));
	group = group_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	values[0] = Int32GetDatum(group->id);
	values[1] = PG_GETARG_DATUM(1);
	count = define_execute("WITH marked AS (UPDATE notifyd.group_failed SET retry = true "
						   "WHERE group_id OPERATOR(pg_catalog.=) $1 AND NOT retry "
						   "AND ($2 IS NULL OR id OPERATOR(pg_catalog.=) ANY ($2)) RETURNING id) "
						   "SELECT pg_catalog.count(*)::pg_catalog.int4 FROM marked",
						   2, types, values, PG_ARGISNULL(1) ? " n" : "  ");
	if (count > 0)
	{
		define_note_change(group->id, DEFINE_RETRIED, 0);
		at_end_wake(AT_END_WAKE_FEED | AT_END_VISIT);
	}
	PG_RETURN_INT32(count);
}
