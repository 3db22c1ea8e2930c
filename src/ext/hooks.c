/*-------------------------------------------------------------------------
 *
 * hooks.c
 *	  DDL that concerns the workers.
 *
 * Three things are done around utility commands:
 *
 * A command that needs a database without other sessions (DROP DATABASE, ALTER DATABASE RENAME and
 * SET TABLESPACE, CREATE DATABASE with it as the template) would fail on the feed. It marks the
 * database as held and wakes the feed, which leaves; PostgreSQL waits for that by itself, for 5 s
 * (CountOtherDBBackends). The hold ends with the transaction, or when the savepoint in which it
 * began is rolled back, not before: a feed that comes back to a database that is about to be gone
 * would fail. Only who may run the command may hold the database: others must not be able to stop a
 * feed.
 *
 * After a command that may change who may read what, or what is watched, the feeds
 * concerned are woken, and so do not go on for another heartbeat with what they know.
 * They find out by themselves what has changed, by invalidation messages. These are sent
 * after the XACT_EVENT_COMMIT callbacks, so the feeds are woken by a resource release
 * callback instead: its phase AFTER_LOCKS comes after them (CommitTransaction in xact.c).
 * It is called at every end of a transaction, be it by an error or the process's exit.
 *
 * And watches follow what a command does to their tables and triggers: watch_ddl.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "ext/base/compat.h"
#include "ext/hooks.h"
#include "ext/launcher/launcher.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "ext/base/shared.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "ext/watch/watch.h"

static ProcessUtility_hook_type hooks_prev_utility = NULL;

static int hooks_pending = 0;
static bool hooks_holding = false; /* some entries have our pid as their hold_pid */

/*
 * Let feeds come back to the databases that we hold since this nesting level of transactions, or a
 * deeper one.
 */
static void
hooks_end_hold(int level)
{
	hooks_holding = false;
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		NotifydDatabase *database = &notifyd_shared->databases[i];

		if (database->hold_pid != MyProcPid)
			continue;
		if (database->hold_level >= level)
			database->hold_pid = 0;
		else
			hooks_holding = true;
	}
	LWLockRelease(&notifyd_shared->lock);
	shared_wake_launcher();
}

/* A savepoint is released: what was held in it is held by what is around it. */
static void
hooks_raise_hold(int level)
{
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		NotifydDatabase *database = &notifyd_shared->databases[i];

		if (database->hold_pid == MyProcPid && database->hold_level == level)
			database->hold_level--;
	}
	LWLockRelease(&notifyd_shared->lock);
}

static void
hooks_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	(void) mine;
	(void) parent;
	(void) arg;
	if (!hooks_holding)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		hooks_end_hold(GetCurrentTransactionNestLevel());
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		hooks_raise_hold(GetCurrentTransactionNestLevel());
}

/*
 * The end of a transaction, at a point where a commit can no longer be undone: nothing here may
 * fail.
 */
static void
hooks_release(ResourceReleasePhase phase, bool isCommit, bool isTopLevel, void *arg)
{
	int what = hooks_pending;

	(void) arg;
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !isTopLevel)
		return;
	hooks_pending = 0;

	/* Before the hold ends, so that no feed is started for a database that is gone. */
	if (isCommit && (what & HOOKS_SCAN_DATABASES))
		(void) pg_atomic_fetch_add_u32(&notifyd_shared->database_generation, 1);
	if (hooks_holding)
		hooks_end_hold(0);
	if (!isCommit || what == 0)
		return;

	if (what & HOOKS_EXTENSION_CREATED)
		launcher_database_wanted(MyDatabaseId);
	if (what & HOOKS_WAKE_ALL_FEEDS)
		shared_wake_all_feeds();
	else if (what & HOOKS_WAKE_FEED)
	{
		NotifydDatabase *database = shared_find_database(MyDatabaseId);

		if (database != NULL)
			shared_wake_feed(database);
	}
	if (what & HOOKS_SCAN_DATABASES)
		shared_wake_launcher();
}

static void
hooks_register_release(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterResourceReleaseCallback(hooks_release, NULL);
	RegisterSubXactCallback(hooks_subtransaction, NULL);
	registered = true;
}

void
hooks_at_commit(int what)
{
	if (notifyd_shared == NULL || !OidIsValid(MyDatabaseId))
		return;
	hooks_register_release();
	hooks_pending |= what;
}

/* The option of that name among a command's, or NULL. */
static DefElem *
hooks_option(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0)
			return option;
	}
	return NULL;
}

/* The database that a command needs without other sessions, or NULL. */
static const char *
hooks_database_needed(Node *statement)
{
	DefElem *option;

	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return castNode(DropdbStmt, statement)->dbname;
		case T_RenameStmt:
			if (castNode(RenameStmt, statement)->renameType == OBJECT_DATABASE)
				return castNode(RenameStmt, statement)->subname;
			return NULL;
		case T_AlterDatabaseStmt:
			if (hooks_option(castNode(AlterDatabaseStmt, statement)->options, "tablespace") != NULL)
				return castNode(AlterDatabaseStmt, statement)->dbname;
			return NULL;
		case T_CreatedbStmt:
			option = hooks_option(castNode(CreatedbStmt, statement)->options, "template");
			return option != NULL && option->arg != NULL ? defGetString(option) : NULL;
		default:
			return NULL;
	}
}

/* The entry of the database that a command needs, if the user may run it; else NULL. */
static NotifydDatabase *
hooks_database_to_hold(Node *statement)
{
	const char *name = hooks_database_needed(statement);
	Oid oid = name != NULL ? get_database_oid(name, true) : InvalidOid;

	if (!OidIsValid(oid) || !compat_database_ownercheck(oid, GetUserId()))
		return NULL;
	return shared_find_database(oid);
}

static void
hooks_hold(NotifydDatabase *database)
{
	hooks_register_release();
	hooks_holding = true;
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	/* One that we hold already stays held until what holds it ends. */
	if (database->hold_pid != MyProcPid)
	{
		database->hold_pid = MyProcPid;
		database->hold_level = GetCurrentTransactionNestLevel();
	}
	LWLockRelease(&notifyd_shared->lock);
	shared_wake_feed(database);
}

/* Roles and databases are known to every database. */
static int
hooks_by_object(ObjectType type)
{
	return type == OBJECT_ROLE || type == OBJECT_DATABASE ? HOOKS_WAKE_ALL_FEEDS : HOOKS_WAKE_FEED;
}

/* What is to be done once a command's transaction has committed. */
static int
hooks_after(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_AlterTableStmt:
		case T_AlterObjectSchemaStmt:
		case T_AlterDefaultPrivilegesStmt:
		case T_CreatePolicyStmt:
		case T_AlterPolicyStmt:
		case T_DropStmt:
		case T_CreateExtensionStmt:
		case T_AlterExtensionStmt:
		case T_AlterExtensionContentsStmt:
			return HOOKS_WAKE_FEED;
		case T_GrantStmt:
			return hooks_by_object(castNode(GrantStmt, statement)->objtype);
		case T_AlterOwnerStmt:
			return hooks_by_object(castNode(AlterOwnerStmt, statement)->objectType);
		case T_RenameStmt:
			if (castNode(RenameStmt, statement)->renameType == OBJECT_DATABASE)
				return HOOKS_WAKE_ALL_FEEDS | HOOKS_SCAN_DATABASES;
			return hooks_by_object(castNode(RenameStmt, statement)->renameType);
		case T_GrantRoleStmt:
		case T_CreateRoleStmt:
		case T_AlterRoleStmt:
		case T_AlterRoleSetStmt:
		case T_DropRoleStmt:
		case T_DropOwnedStmt:
		case T_ReassignOwnedStmt:
			return HOOKS_WAKE_ALL_FEEDS;
		case T_CreatedbStmt:
		case T_AlterDatabaseStmt:
		case T_DropdbStmt:
			return HOOKS_SCAN_DATABASES;
		case T_TransactionStmt:
			/* Nobody here knows what a prepared transaction has done. */
			if (castNode(TransactionStmt, statement)->kind == TRANS_STMT_COMMIT_PREPARED)
				return HOOKS_WAKE_ALL_FEEDS;
			return 0;
		default:
			return 0;
	}
}

static void
hooks_utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
			  ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *queryEnv,
			  DestReceiver *dest, QueryCompletion *qc)
{
	ProcessUtility_hook_type run =
		hooks_prev_utility ? hooks_prev_utility : standard_ProcessUtility;
	WatchDdl *ddl = NULL;
	int after = 0;

	if (notifyd_shared != NULL)
	{
		NotifydDatabase *database = hooks_database_to_hold(pstmt->utilityStmt);

		/* Now, because the statement may be gone once it has run. */
		after = hooks_after(pstmt->utilityStmt);
		if (database != NULL)
			hooks_hold(database);
		ddl = watch_ddl_before(pstmt->utilityStmt);
	}

	run(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);

	if (ddl != NULL)
		watch_ddl_after(ddl);
	if (after != 0)
		hooks_at_commit(after);
}

void
hooks_init(void)
{
	hooks_prev_utility = ProcessUtility_hook;
	ProcessUtility_hook = hooks_utility;
}
