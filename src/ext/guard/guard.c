/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Runs the code of users in the feed: as a role, restricted, and for a bounded time.
 *
 * Policies call functions, and anybody who owns a table can write them. So do the constraints of
 * domains, which the input of a filter's value checks. Here they run
 *
 *	  as the subscription's role, in a security-restricted operation: no SET ROLE, no temporary
 *	  tables, no cursors or triggers that would run later with the feed's privileges;
 *	  in a read-only subtransaction that is always rolled back: what they lock, set or LISTEN to
 *	  ends with it. Functions and commands with other effects, such as advisory locks, are refused;
 *	  for at most GUARD_LIMIT_MS. They wait for a lock for GUARD_LOCK_MS only.
 *
 * A timer cancels what runs too long, as statement_timeout does. PL/pgSQL can catch that, because a
 * handler may name query_canceled. So the timer also installs a PL/pgSQL plugin (plpgsql.h) whose
 * callback raises an error before each statement. A block is a statement of the block around it,
 * so this error leaves one block after the other, whatever their handlers catch. Other languages that
 * catch a cancellation, and C code that does not look for one, cannot be stopped in this way, and
 * not in any other session either.
 *
 * Who waits for a lock has done nothing wrong, so that error is another one (SetError.later).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_db_role_setting.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "plpgsql.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "ext/base/settings.h"
#include "ext/base/compat.h"
#include "ext/guard/guard.h"

#define GUARD_LIMIT_MS 250
#define GUARD_LOCK_MS  5

static TimeoutId guard_timeout = MAX_TIMEOUTS;
static volatile sig_atomic_t guard_expired = false;

/* ---------------- the time limit ---------------- */

static PLpgSQL_plugin **guard_plugin_slot;
static PLpgSQL_plugin *guard_plugin_before;

static void
guard_refuse_statement(PLpgSQL_execstate *estate, PLpgSQL_stmt *statement)
{
	(void) estate;
	(void) statement;
	ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("canceling function due to timeout")));
}

static PLpgSQL_plugin guard_plugin = {.stmt_beg = guard_refuse_statement};

/* The timer's handler, in a signal handler. */
static void
guard_expire(void)
{
	guard_expired = true;
	*guard_plugin_slot = &guard_plugin;
	QueryCancelPending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

static void
guard_start_timer(void)
{
	if (guard_timeout == MAX_TIMEOUTS)
	{
		guard_timeout = RegisterTimeout(USER_TIMEOUT, guard_expire);
		guard_plugin_slot = (PLpgSQL_plugin **) find_rendezvous_variable("PLpgSQL_plugin");
	}
	guard_expired = false;
	guard_plugin_before = *guard_plugin_slot;
	enable_timeout_after(guard_timeout, GUARD_LIMIT_MS);
}

/* Returns true if the time was over. */
static bool
guard_stop_timer(void)
{
	disable_timeout(guard_timeout, false);
	*guard_plugin_slot = guard_plugin_before;
	if (!guard_expired)
		return false;
	QueryCancelPending = false;
	return true;
}

/* ---------------- settings ---------------- */

/* The search_path that ALTER DATABASE or ALTER ROLE ALL set, or NULL. */
static char *
guard_find_search_path(Oid database)
{
	Relation relation = table_open(DbRoleSettingRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData keys[2];
	HeapTuple tuple;
	char *path = NULL;

	ScanKeyInit(&keys[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(database));
	ScanKeyInit(&keys[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(InvalidOid));
	scan = systable_beginscan(relation, DbRoleSettingDatidRolidIndexId, true, NULL, lengthof(keys),
							  keys);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		Datum settings = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig,
									  RelationGetDescr(relation), &isnull);
		Datum *items;
		int n = 0;

		if (!isnull)
			deconstruct_array(DatumGetArrayTypeP(settings), TEXTOID, -1, false, TYPALIGN_INT,
							  &items, NULL, &n);
		for (int i = 0; i < n; i++)
		{
			char *item = TextDatumGetCString(items[i]);

			if (pg_strncasecmp(item, "search_path=", strlen("search_path=")) == 0)
				path = item + strlen("search_path=");
		}
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return path;
}

/*
 * The search_path that a session of this database starts with, as far as it does not depend on a
 * role. The feed's own is another one. Like a session, the feed looks it up once.
 */
static const char *
guard_search_path(void)
{
	static char *path = NULL;
	char *found;

	if (path != NULL)
		return path;
	found = guard_find_search_path(MyDatabaseId);
	if (found == NULL)
		found = guard_find_search_path(InvalidOid);
	path = MemoryContextStrdup(TopMemoryContext, found != NULL ? found : "\"$user\", public");
	return path;
}

static void
guard_set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
							 false);
}

/*
 * A session's user is the authenticator, as it is for the statements that clients run. It must not
 * be the feed's superuser, as policies compare session_user with names.
 */
static Oid
guard_session_user(Oid role)
{
	Oid authenticator = notifyd_authenticator_role[0] != '\0'
							? get_role_oid(notifyd_authenticator_role, true)
							: InvalidOid;

	return OidIsValid(authenticator) ? authenticator : role;
}

/* ---------------- what is refused ---------------- */

static bool guard_running = false; /* the code may be anything */

void
guard_check_statement(const Node *statement)
{
	/* PostgreSQL itself refuses PREPARE, LISTEN and others in a security-restricted operation. */
	if (guard_running &&
		(IsA(statement, LoadStmt) ||
		 (IsA(statement, CopyStmt) && ((const CopyStmt *) statement)->filename != NULL)))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("row security and filters of subscriptions cannot execute %s",
							   GetCommandTagName(CreateCommandTag((Node *) statement)))));
}

static object_access_hook_type guard_hook_before;

/*
 * What has effects that the end of the subtransaction does not undo at once: each advisory lock takes
 * space of all sessions' locks, others need a transaction id or write WAL.
 */
static bool
guard_is_refused(Oid function)
{
	static const char *const names[] = {
		"pg_advisory_%",           "pg_try_advisory_%", "pg_current_xact_id", "txid_current",
		"pg_logical_emit_message", "lo_creat",          "lo_create",          "lo_from_bytea"};
	const char *name = function < FirstNormalObjectId ? get_func_name(function) : NULL;

	for (int i = 0; name != NULL && i < (int) lengthof(names); i++)
	{
		Size length = strcspn(names[i], "%");

		if (strncmp(name, names[i], length) == 0 &&
			(names[i][length] == '%' || name[length] == '\0'))
			return true;
	}
	return false;
}

/* An object_access_hook, which is called when an expression with a function is prepared. */
static void
guard_look_at_object(ObjectAccessType access, Oid class, Oid object, int subobject, void *arg)
{
	if (access == OAT_FUNCTION_EXECUTE && guard_is_refused(object))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("function %s cannot be used by row security and filters of "
							   "subscriptions",
							   format_procedure(object))));
	if (guard_hook_before != NULL)
		guard_hook_before(access, class, object, subobject, arg);
}

/* ---------------- running ---------------- */

static void
guard_set_session_user(Oid user, bool superuser)
{
	/* It must not be called in a security context. The caller sets its own one afterwards. */
	SetUserIdAndSecContext(GetUserId(), 0);
	SetSessionAuthorization(user, superuser);
}

/* Go back to the session's user after guard_run(). */
static void
guard_leave(Oid user, Oid session_user, int security)
{
	if (GetSessionUserId() != session_user)
		guard_set_session_user(session_user, superuser_arg(session_user));
	SetUserIdAndSecContext(user, security);
}

bool guard_isolates = false;

bool
guard_run(const GuardActor *actor, void (*function)(void *arg), void *arg, ErrorData **error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int level = GetCurrentTransactionNestLevel();
	const char *path = guard_search_path();
	Oid session_user = GetSessionUserId();
	ErrorData *volatile data = NULL;
	int lock_timeout = LockTimeout;
	bool isolated = actor->opaque && guard_isolates;
	int security;
	bool expired;
	Oid user;

	GetUserIdAndSecContext(&user, &security);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	XactReadOnly = true;
	guard_hook_before = object_access_hook;
	guard_start_timer();
	PG_TRY();
	{
		if (isolated)
		{
			guard_running = true;
			object_access_hook = guard_look_at_object;
			guard_set_session_user(guard_session_user(actor->role), false);
		}
		if (actor->opaque)
		{
			guard_set("search_path", path);
			guard_set("request.jwt.claims", actor->claims != NULL ? actor->claims : "");
		}
		SetUserIdAndSecContext(actor->role,
							   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
		LockTimeout = GUARD_LOCK_MS;
		function(arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		data = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	guard_running = false;
	object_access_hook = guard_hook_before;
	LockTimeout = lock_timeout;
	expired = guard_stop_timer();

	if (data != NULL && data->sqlerrcode == ERRCODE_QUERY_CANCELED && !expired)
	{
		SetUserIdAndSecContext(user, security);
		guard_leave(user, session_user, security);
		ReThrowError(data);
	}
	while (GetCurrentTransactionNestLevel() > level)
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	guard_leave(user, session_user, security);
	if (isolated)
		LockReleaseSession(USER_LOCKMETHOD);

	/* A function may have caught the cancellation and returned something else. */
	*error = expired ? NULL : data;
	return data == NULL && !expired;
}
