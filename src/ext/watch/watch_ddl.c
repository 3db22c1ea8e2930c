/*-------------------------------------------------------------------------
 *
 * watch_ddl.c
 *	  Handles commands that change what a watch captures without dropping anything.
 *
 *	  DISABLE TRIGGER		changes are not captured any more: a warning and a reset
 *	  ENABLE TRIGGER		changes are captured again: a reset for those that were missed. Makes our
 *							triggers ENABLE ALWAYS again, unlike ENABLE TRIGGER USER and ALL
 *	  RENAME, SET SCHEMA	the watches follow the table: a notice
 *	  RENAME COLUMN			updates the arguments of triggers (watch_carry.c)
 *	  renaming a function	updates watches with this payload function (watch_payload.c)
 *	  other columns			stores their shape (watch_shape.c)
 *	  CREATE TRIGGER		creates the watch that the trigger contains, if it does not exist: a restore
 *	  DROP EXTENSION		takes locks first (watch_uninstall.c)
 *	  a rewrite				may change every row: a reset
 *	  ROW LEVEL SECURITY	ends subscriptions: a notice
 *	  ALTER COLUMN TYPE		of a column in a condition: PostgreSQL's error, with a hint
 *	  another key			events identify rows by another key now: a reset. Without a key: a warning
 *
 * hooks.c calls watch_ddl_before() and watch_ddl_after() around each utility command. Both read the
 * state under the lock that the command takes, so the command made the difference between them.
 * pg_restore --disable-triggers does all of this.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "ext/base/compat.h"
#include "ext/watch/watch.h"
#include "ext/watch/watch_shape.h"

/* The state of a table with triggers of ours. */
typedef struct WatchedTable
{
	Oid relation;
	Oid file;       /* changed by a rewrite */
	List *key;      /* watch_table_key() */
	List *triggers; /* WatchTrigger */
} WatchedTable;

struct WatchDdl
{
	/* ALTER TABLE, and DROP INDEX, because the index may be the replica identity */
	bool enables;  /* ENABLE TRIGGER without ALWAYS or REPLICA */
	bool rewrites; /* may change rows */
	bool reshapes; /* changes columns */
	List *tables;  /* WatchedTable, the state before */

	/* RENAME TO, SET SCHEMA */
	Oid moved; /* the table; InvalidOid: none */

	/* RENAME COLUMN */
	Oid renamed; /* the table; InvalidOid: none */

	/* RENAME and SET SCHEMA that may concern payload functions */
	List *payloads;

	/* CREATE TRIGGER */
	Oid triggered; /* the table; InvalidOid: none */
	char *trigger;
};

static WatchedTable *
watch_look_at(Oid relation)
{
	WatchedTable *table = palloc0(sizeof(WatchedTable));
	Relation rel = RelationIdGetRelation(relation);

	if (!RelationIsValid(rel))
		return NULL;
	table->relation = relation;
	table->file = COMPAT_RELATION_FILE(rel);
	RelationClose(rel);
	table->key = watch_table_key(relation, false);
	table->triggers = watch_triggers_of(relation);
	return table;
}

/* Find out whether an ALTER TABLE concerns watches, and which kinds of changes it makes. */
static bool
watch_ddl_concerns(const AlterTableStmt *statement, WatchDdl *ddl)
{
	bool concerns = false;
	ListCell *cell;

	if (statement->objtype != OBJECT_TABLE)
		return false;
	foreach (cell, statement->cmds)
	{
		switch (lfirst_node(AlterTableCmd, cell)->subtype)
		{
			case AT_EnableTrig:
			case AT_EnableTrigAll:
			case AT_EnableTrigUser:
				ddl->enables = true;
				concerns = true;
				break;
			case AT_AddConstraint:
			case AT_DropConstraint:
			case AT_ReplicaIdentity:
			case AT_EnableAlwaysTrig:
			case AT_EnableReplicaTrig:
			case AT_DisableTrig:
			case AT_DisableTrigAll:
			case AT_DisableTrigUser:
				concerns = true;
				break;
			case AT_DropColumn:
				ddl->reshapes = true;
				concerns = true;
				break;
			case AT_AddColumn:
			case AT_AlterColumnType:
				ddl->rewrites = true;
				ddl->reshapes = true;
				concerns = true;
				break;
			default:
				break;
		}
	}
	return concerns;
}

/*
 * Return the tables with triggers of ours that the command changes, locked as the command will lock
 * them. Returns NIL if there are none, or if the user may not run the command.
 */
static List *
watch_ddl_tables(const AlterTableStmt *statement)
{
	Oid relation = RangeVarGetRelid(statement->relation, NoLock, true);
	LOCKMODE lockmode;
	List *tables = NIL;
	ListCell *cell;

	if (!OidIsValid(relation) || !OidIsValid(watch_capture_function(true)) ||
		(get_rel_relkind(relation) != RELKIND_RELATION &&
		 get_rel_relkind(relation) != RELKIND_PARTITIONED_TABLE) ||
		!compat_relation_ownercheck(relation, GetUserId()))
		return NIL;
	lockmode = AlterTableGetLockLevel(statement->cmds);
	foreach (cell, find_all_inheritors(relation, NoLock, NULL))
	{
		WatchedTable *table;

		if (watch_triggers_of(lfirst_oid(cell)) == NIL)
			continue;
		LockRelationOid(lfirst_oid(cell), lockmode);
		table = watch_look_at(lfirst_oid(cell));
		if (table != NULL)
			tables = lappend(tables, table);
	}
	return tables;
}

/* PostgreSQL refuses to change the type of a column that a condition uses. Add a hint. */
static void
watch_ddl_check_type(Oid relation, const char *column)
{
	AttrNumber attnum = get_attnum(relation, column);
	ListCell *cell;

	foreach (cell, watch_list(relation))
	{
		Watch *watch = lfirst(cell);

		if (attnum > 0 && watch_condition_has_column(watch_find_triggers(watch).row, attnum))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot alter type of a column used in the condition of a watch"),
					 errdetail("The watch of table \"%s\" on channel \"%s\" uses column \"%s\" "
							   "in its condition.",
							   get_rel_name(relation), watch->channel, column),
					 errhint("In one transaction, call notify_watch() without the condition, alter "
							 "the type, and call notify_watch() with the condition.")));
	}
}

static void
watch_ddl_check_types(const AlterTableStmt *statement, List *tables)
{
	ListCell *command;
	ListCell *table;

	foreach (command, statement->cmds)
	{
		AlterTableCmd *subcommand = lfirst_node(AlterTableCmd, command);

		if (subcommand->subtype != AT_AlterColumnType)
			continue;
		foreach (table, tables)
			watch_ddl_check_type(((WatchedTable *) lfirst(table))->relation, subcommand->name);
	}
}

/*
 * Return the tables with triggers of ours whose indexes DROP INDEX drops, locked as it will lock
 * them. CONCURRENTLY waits for transactions with locks, so no lock is taken then.
 */
static List *
watch_ddl_indexed(const DropStmt *statement)
{
	List *tables = NIL;
	ListCell *cell;

	if (statement->removeType != OBJECT_INDEX || !OidIsValid(watch_capture_function(true)))
		return NIL;
	foreach (cell, statement->objects)
	{
		Oid index = RangeVarGetRelid(makeRangeVarFromNameList(lfirst(cell)), NoLock, true);
		Oid relation = OidIsValid(index) ? IndexGetRelation(index, true) : InvalidOid;
		WatchedTable *table;

		if (!OidIsValid(relation) || !compat_relation_ownercheck(index, GetUserId()) ||
			watch_triggers_of(relation) == NIL)
			continue;
		if (!statement->concurrent)
			LockRelationOid(relation, AccessExclusiveLock);
		table = watch_look_at(relation);
		if (table != NULL)
			tables = lappend(tables, table);
	}
	return tables;
}

/*
 * Store the shapes that the tables have. This is called before the command too, because restored
 * tables may have got watches without it.
 */
static void
watch_ddl_note_shapes(const WatchDdl *ddl)
{
	ListCell *cell;

	if (!ddl->reshapes)
		return;
	foreach (cell, ddl->tables)
		watch_note_shape(((WatchedTable *) lfirst(cell))->relation);
}

/* Return the table that RENAME TO or SET SCHEMA moves, or NULL for another command. */
static const RangeVar *
watch_ddl_moved(Node *statement)
{
	if (IsA(statement, RenameStmt) && ((RenameStmt *) statement)->renameType == OBJECT_TABLE)
		return ((RenameStmt *) statement)->relation;
	if (IsA(statement, AlterObjectSchemaStmt) &&
		((AlterObjectSchemaStmt *) statement)->objectType == OBJECT_TABLE)
		return ((AlterObjectSchemaStmt *) statement)->relation;
	return NULL;
}

static const RangeVar *
watch_ddl_renamed(Node *statement)
{
	if (IsA(statement, RenameStmt) && ((RenameStmt *) statement)->renameType == OBJECT_COLUMN &&
		((RenameStmt *) statement)->relationType == OBJECT_TABLE)
		return ((RenameStmt *) statement)->relation;
	return NULL;
}

static Oid
watch_ddl_relation(const RangeVar *relation)
{
	return relation != NULL ? RangeVarGetRelid(relation, NoLock, true) : InvalidOid;
}

WatchDdl *
watch_ddl_before(Node *statement)
{
	WatchDdl ddl = {false};
	WatchDdl *result;

	switch (nodeTag(statement))
	{
		case T_AlterTableStmt:
			if (watch_ddl_concerns((AlterTableStmt *) statement, &ddl))
				ddl.tables = watch_ddl_tables((AlterTableStmt *) statement);
			watch_ddl_check_types((AlterTableStmt *) statement, ddl.tables);
			watch_ddl_note_shapes(&ddl);
			break;
		case T_RenameStmt:
		case T_AlterObjectSchemaStmt:
			ddl.moved = watch_ddl_relation(watch_ddl_moved(statement));
			ddl.renamed = watch_ddl_relation(watch_ddl_renamed(statement));
			ddl.payloads = watch_payloads_before(statement);
			break;
		case T_CreateTrigStmt:
			ddl.triggered = watch_ddl_relation(((CreateTrigStmt *) statement)->relation);
			ddl.trigger = pstrdup(((CreateTrigStmt *) statement)->trigname);
			break;
		case T_DropStmt:
			if (watch_is_uninstall(statement))
				watch_lock_for_uninstall();
			ddl.tables = watch_ddl_indexed((DropStmt *) statement);
			break;
		default:
			break;
	}
	if (ddl.tables == NIL && !OidIsValid(ddl.moved) && !OidIsValid(ddl.renamed) &&
		!OidIsValid(ddl.triggered) && ddl.payloads == NIL)
		return NULL;
	result = palloc(sizeof(WatchDdl));
	*result = ddl;
	return result;
}

static WatchTrigger *
watch_ddl_trigger(const WatchedTable *table, Oid oid)
{
	ListCell *cell;

	foreach (cell, table->triggers)
	{
		WatchTrigger *trigger = lfirst(cell);

		if (trigger->oid == oid)
			return trigger;
	}
	return NULL;
}

/* The effect of a command on a watch: the worst for any of its triggers. */
typedef struct WatchEffect
{
	int64 id;
	bool disabled;
	bool enabled;
	bool rewritten;
	bool rekeyed;
} WatchEffect;

static WatchEffect *
watch_effect(List **effects, int64 id)
{
	WatchEffect *effect;
	ListCell *cell;

	foreach (cell, *effects)
	{
		effect = lfirst(cell);
		if (effect->id == id)
			return effect;
	}
	effect = palloc0(sizeof(WatchEffect));
	effect->id = id;
	*effects = lappend(*effects, effect);
	return effect;
}

static bool
watch_fires(char enabled)
{
	return enabled == TRIGGER_FIRES_ALWAYS || enabled == TRIGGER_FIRES_ON_ORIGIN;
}

static void
watch_ddl_compare(const WatchDdl *ddl, const WatchedTable *before, const WatchedTable *after,
				  List **effects)
{
	bool rewritten = ddl->rewrites && before->file != after->file;
	ListCell *cell;

	foreach (cell, after->triggers)
	{
		WatchTrigger *now = lfirst(cell);
		WatchTrigger *then = watch_ddl_trigger(before, now->oid);
		WatchEffect *effect;

		if (ddl->enables && now->enabled == TRIGGER_FIRES_ON_ORIGIN)
		{
			watch_enable_trigger(now->oid);
			now->enabled = TRIGGER_FIRES_ALWAYS;
		}
		if (then == NULL || (then->enabled == now->enabled && !rewritten))
			continue;
		effect = watch_effect(effects, now->id);
		effect->rewritten |= rewritten;
		effect->disabled |= then->enabled != now->enabled && !watch_fires(now->enabled);
		effect->enabled |= then->enabled != now->enabled && watch_fires(now->enabled);
	}
}

/* Watches without a key of their own use the table's. */
static void
watch_ddl_compare_key(const WatchedTable *before, const WatchedTable *after, List **effects)
{
	ListCell *cell;

	if (equal(before->key, after->key))
		return;
	foreach (cell, watch_list(after->relation))
	{
		Watch *watch = lfirst(cell);

		if (!watch->key.given)
			watch_effect(effects, watch->id)->rekeyed = true;
	}
}

static void
watch_ddl_warn_of_no_key(const Watch *watch)
{
	char *name = get_rel_name(watch->relation);

	ereport(WARNING,
			(errmsg("events of table \"%s\" on channel \"%s\" have no key from now on", name,
					watch->channel),
			 errdetail("The table has neither a primary key nor a replica identity index."),
			 errhint("Add a primary key to the table, or call notify_watch() and name the columns "
					 "that identify a row in the parameter key.")));
}

/* Inform the user and the watch's subscribers. */
static void
watch_ddl_tell(const WatchEffect *effect)
{
	Watch *watch = watch_find(effect->id);

	if (watch == NULL)
		return;
	if (effect->rekeyed && watch_table_key(watch->relation, false) == NIL)
		watch_ddl_warn_of_no_key(watch);
	if (effect->disabled)
	{
		ereport(
			WARNING,
			(errmsg("changes of table \"%s\" are not captured while its triggers are disabled",
					get_rel_name(watch->relation)),
			 errdetail("Subscribers of channel \"%s\" receive a reset now, and another one when "
					   "the triggers are enabled.",
					   watch->channel),
			 errhint("Use ALTER TABLE ... ENABLE TRIGGER USER or notify_watch() to enable them.")));
		watch_reset(watch, "changes of the table are not captured while its triggers are disabled");
	}
	else if (effect->enabled)
		watch_reset(watch, WATCH_RESET_CAPTURED_AGAIN);
	else if (effect->rewritten)
		watch_reset(watch, "the table was rewritten by ALTER TABLE");
	else
		watch_reset(watch, "the key of the table has changed");
}

/* A user who swaps two tables by renaming them must know which of them is watched. */
static void
watch_ddl_tell_moved(Oid relation)
{
	char *schema = get_namespace_name(get_rel_namespace(relation));
	char *name = get_rel_name(relation);
	ListCell *cell;

	if (schema == NULL || name == NULL)
		return;
	foreach (cell, watch_list(relation))
		ereport(NOTICE,
				(errmsg("the watch on channel \"%s\" follows the table, which is now \"%s.%s\"",
						((Watch *) lfirst(cell))->channel, schema, name),
				 errhint("To move the watch to another table, call notify_watch() for that table "
						 "and then notify_unwatch() for this one, in one transaction.")));
}

/*
 * Triggers contain column names, so update them. RENAME COLUMN renames the columns of child tables
 * too.
 */
static void
watch_ddl_rename_columns(Oid relation)
{
	ListCell *table;

	foreach (table, find_all_inheritors(relation, NoLock, NULL))
	{
		ListCell *cell;

		foreach (cell, watch_list(lfirst_oid(table)))
			watch_carry(lfirst(cell));
		watch_note_shape(lfirst_oid(table));
	}
}

void
watch_ddl_after(WatchDdl *ddl)
{
	List *effects = NIL;
	ListCell *cell;

	if (!OidIsValid(watch_capture_function(true)))
		return;
	if (OidIsValid(ddl->moved))
		watch_ddl_tell_moved(ddl->moved);
	if (OidIsValid(ddl->renamed))
		watch_ddl_rename_columns(ddl->renamed);
	watch_payloads_after(ddl->payloads);
	watch_ddl_note_shapes(ddl);
	if (OidIsValid(ddl->triggered) && !IsBinaryUpgrade)
	{
		Oid trigger = get_trigger_oid(ddl->triggered, ddl->trigger, true);

		if (OidIsValid(trigger))
			watch_adopt_trigger(ddl->triggered, trigger);
	}
	foreach (cell, ddl->tables)
	{
		WatchedTable *before = lfirst(cell);
		WatchedTable *after = watch_look_at(before->relation);

		if (after == NULL)
			continue;
		watch_ddl_compare(ddl, before, after, &effects);
		watch_ddl_compare_key(before, after, &effects);
	}
	foreach (cell, effects)
		watch_ddl_tell(lfirst(cell));
}
