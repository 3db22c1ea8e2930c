/*-------------------------------------------------------------------------
 *
 * hooks.c
 *	  The hook for utility commands, which handles DDL that concerns the workers and watches.
 *
 * It does five things:
 *
 * It refuses what the code of users may not do in the feed (guard.c).
 *
 * It refuses commands that would move rows of the log (log_guard.c).
 *
 * It holds a database that a command needs without other sessions: DROP DATABASE, ALTER DATABASE
 * RENAME and SET TABLESPACE, CREATE DATABASE with it as the template. Such a command would fail
 * because of the feed. While a database is held, its feed ends; PostgreSQL waits up to 5 s for that
 * (CountOtherDBBackends()). The hold lasts until the transaction ends. Only a role that may run the
 * command may hold the database, so that no other role can stop a feed.
 *
 * It wakes the feeds after the commit of a command that may have changed privileges or watches, so
 * that they do not continue with old information until the next heartbeat. Feeds find out what has
 * changed from invalidation messages.
 *
 * It adjusts watches to commands on their tables and triggers (watch_ddl.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "tcop/utility.h"

#include "ext/base/compat.h"
#include "ext/base/shared.h"
#include "ext/guard/guard.h"
#include "ext/hooks.h"
#include "ext/log/log.h"
#include "ext/transaction/at_end.h"
#include "ext/watch/watch.h"

static ProcessUtility_hook_type hooks_prev_utility = NULL;

/* Return the command's option with that name, or NULL. */
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

/* Return the database that a command needs without other sessions, or NULL. */
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

/*
 * Return the entry of the database that a command needs, if the user may run the command, or NULL.
 */
static NotifydDatabase *
hooks_database_to_hold(Node *statement)
{
	const char *name = hooks_database_needed(statement);
	Oid oid = name != NULL ? get_database_oid(name, true) : InvalidOid;

	if (!OidIsValid(oid) || !compat_database_ownercheck(oid, GetUserId()))
		return NULL;
	return shared_find_database(oid);
}

/* Roles and databases are shared by all databases. */
static int
hooks_by_object(ObjectType type)
{
	return type == OBJECT_ROLE || type == OBJECT_DATABASE ? AT_END_WAKE_ALL_FEEDS
														  : AT_END_WAKE_FEED;
}

/* Return what to do after a command's transaction has committed. */
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
		case T_CreateExtensionStmt:
		case T_AlterExtensionStmt:
		case T_AlterExtensionContentsStmt:
			return AT_END_WAKE_FEED;
		case T_DropStmt:
			return castNode(DropStmt, statement)->removeType == OBJECT_EXTENSION
					   ? AT_END_WAKE_FEED | AT_END_VISIT
					   : AT_END_WAKE_FEED;
		case T_GrantStmt:
			return hooks_by_object(castNode(GrantStmt, statement)->objtype);
		case T_AlterOwnerStmt:
			return hooks_by_object(castNode(AlterOwnerStmt, statement)->objectType);
		case T_RenameStmt:
			if (castNode(RenameStmt, statement)->renameType == OBJECT_DATABASE)
				return AT_END_WAKE_ALL_FEEDS | AT_END_SCAN_DATABASES;
			return hooks_by_object(castNode(RenameStmt, statement)->renameType);
		case T_GrantRoleStmt:
		case T_CreateRoleStmt:
		case T_AlterRoleStmt:
		case T_AlterRoleSetStmt:
		case T_DropRoleStmt:
		case T_ReassignOwnedStmt:
			return AT_END_WAKE_ALL_FEEDS;
		case T_DropOwnedStmt: /* the extension may be owned */
			return AT_END_WAKE_ALL_FEEDS | AT_END_VISIT;
		case T_CreatedbStmt:
		case T_AlterDatabaseStmt:
		case T_DropdbStmt:
			return AT_END_SCAN_DATABASES;
		case T_TransactionStmt:
			/* This session does not know what the prepared transaction has done. */
			if (castNode(TransactionStmt, statement)->kind == TRANS_STMT_COMMIT_PREPARED)
				return AT_END_WAKE_ALL_FEEDS;
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

	guard_check_statement(pstmt->utilityStmt);
	if (notifyd_shared != NULL)
	{
		NotifydDatabase *database;

		pstmt = log_guard(pstmt);
		if (pstmt == NULL)
			return;
		database = hooks_database_to_hold(pstmt->utilityStmt);

		/* Look at the statement before it runs, because it may be freed afterwards. */
		after = hooks_after(pstmt->utilityStmt);
		if (database != NULL)
			at_end_hold(database);
		ddl = watch_ddl_before(pstmt->utilityStmt);
	}

	run(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);

	if (ddl != NULL)
		watch_ddl_after(ddl);
	if (after != 0)
		at_end_wake(after);
}

void
hooks_init(void)
{
	hooks_prev_utility = ProcessUtility_hook;
	ProcessUtility_hook = hooks_utility;
}
