/*-------------------------------------------------------------------------
 *
 * log_guard.c
 *	  Refuses statements that would move rows of the log tables.
 *
 * Writers and the feed keep block numbers of the log tables in memory (log_tail.c). These stay true
 * because a log table's file only grows until the feed replaces it by an empty one. A superuser
 * could break that:
 *
 *	  CLUSTER, TRUNCATE, ALTER TABLE, RENAME	raise an error.
 *	  VACUUM with FULL or TRUNCATE			leaves the log tables out, with a warning where the statement names them,
 *				as PostgreSQL does with tables that the user may not vacuum. So "VACUUM FULL" and "vacuumdb --full"
 *				go on working for the rest of a database.
 *
 * Plain VACUUM, autovacuum too, removes no blocks of a log table: its parameter vacuum_truncate is
 * off. Scripts of extensions and pg_upgrade may do everything.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "tcop/utility.h"

#include "ext/log/log.h"

/* The log tables of this database; NIL: the extension is not installed. */
static List *
guard_tables(void)
{
	List *tables = NIL;

	if (!OidIsValid(get_extension_oid("pg_notifyd", true)))
		return NIL;
	for (int segment = 0; segment < LOG_SEGMENTS; segment++)
	{
		tables = lappend_oid(tables, log_table(segment));
		tables = lappend_oid(tables, log_bulk_table(segment));
	}
	return tables;
}

static bool
guard_names_table(const List *tables, const RangeVar *name)
{
	return tables != NIL && name != NULL &&
		   list_member_oid(tables, RangeVarGetRelid(name, NoLock, true));
}

/* ---------------- statements that are refused ---------------- */

static bool
guard_may_alter(const AlterTableStmt *statement)
{
	ListCell *cell;

	foreach (cell, statement->cmds)
	{
		AlterTableType what = lfirst_node(AlterTableCmd, cell)->subtype;

		if (what != AT_ChangeOwner && what != AT_ReplicaIdentity)
			return false;
	}
	return true;
}

/* The relations whose rows, columns or names a statement would change. */
static List *
guard_relations(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_TruncateStmt:
			return castNode(TruncateStmt, statement)->relations;
		case T_ClusterStmt:
			return list_make1(castNode(ClusterStmt, statement)->relation);
		case T_AlterTableStmt:
			if (guard_may_alter(castNode(AlterTableStmt, statement)))
				return NIL;
			return list_make1(castNode(AlterTableStmt, statement)->relation);
		case T_RenameStmt:
			return list_make1(castNode(RenameStmt, statement)->relation);
		case T_AlterObjectSchemaStmt:
			return list_make1(castNode(AlterObjectSchemaStmt, statement)->relation);
		default:
			return NIL;
	}
}

static void
guard_refuse(Node *statement)
{
	List *relations = guard_relations(statement);
	List *tables = relations != NIL ? guard_tables() : NIL;
	ListCell *cell;

	foreach (cell, relations)
	{
		const RangeVar *name = lfirst(cell);

		if (guard_names_table(tables, name))
			ereport(
				ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot run %s on table \"%s\"", CreateCommandName(statement),
						name->relname),
				 errdetail("The table is a part of pg_notifyd's event log, and running sessions "
						   "keep the places of its rows in memory."),
				 errhint("pg_notifyd removes old events by itself, as "
						 "\"pg_notifyd.retention\" and \"pg_notifyd.retention_size\" say.")));
	}
}

/* ---------------- VACUUM ---------------- */

static bool
guard_moves_rows(const VacuumStmt *statement)
{
	ListCell *cell;

	foreach (cell, statement->options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if ((strcmp(option->defname, "full") == 0 || strcmp(option->defname, "truncate") == 0) &&
			defGetBoolean(option))
			return statement->is_vacuumcmd;
	}
	return false;
}

/* All relations of the database but these, as get_all_vacuum_rels() of commands/vacuum.c. */
static List *
guard_other_relations(const List *tables)
{
	List *relations = NIL;
	Relation pg_class = table_open(RelationRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(pg_class, 0, NULL);
	HeapTuple tuple;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_class class = (Form_pg_class) GETSTRUCT(tuple);

		if ((class->relkind == RELKIND_RELATION || class->relkind == RELKIND_MATVIEW ||
			 class->relkind == RELKIND_PARTITIONED_TABLE) &&
			!list_member_oid(tables, class->oid))
			relations = lappend(relations, makeVacuumRelation(NULL, class->oid, NIL));
	}
	table_endscan(scan);
	table_close(pg_class, AccessShareLock);
	return relations;
}

/* Leave the log tables out of the relations that a VACUUM names, with a warning for each. */
static List *
guard_spare_tables(List *relations, const List *tables)
{
	List *rest = NIL;
	ListCell *cell;

	foreach (cell, relations)
	{
		VacuumRelation *relation = lfirst_node(VacuumRelation, cell);

		if (!guard_names_table(tables, relation->relation))
			rest = lappend(rest, relation);
		else
			ereport(WARNING, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							  errmsg("skipping \"%s\" --- it is a part of pg_notifyd's event log",
									 relation->relation->relname),
							  errdetail("Running sessions keep the places of its rows in memory."),
							  errhint("VACUUM without FULL and TRUNCATE is possible.")));
	}
	return rest;
}

PlannedStmt *
log_guard(PlannedStmt *planned)
{
	VacuumStmt *vacuum;
	List *tables;

	if (creating_extension || IsBinaryUpgrade || !IsTransactionState())
		return planned;
	guard_refuse(planned->utilityStmt);
	if (!IsA(planned->utilityStmt, VacuumStmt) ||
		!guard_moves_rows(castNode(VacuumStmt, planned->utilityStmt)))
		return planned;
	tables = guard_tables();
	if (tables == NIL)
		return planned;

	/* The statement may be a cached one. */
	planned = copyObject(planned);
	vacuum = castNode(VacuumStmt, planned->utilityStmt);
	if (vacuum->rels == NIL)
		vacuum->rels = guard_other_relations(tables);
	else
		vacuum->rels = guard_spare_tables(vacuum->rels, tables);
	return vacuum->rels != NIL ? planned : NULL;
}
