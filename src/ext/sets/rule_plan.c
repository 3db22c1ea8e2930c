/*-------------------------------------------------------------------------
 *
 * rule_plan.c
 *	  Queries that compute expressions with sub-selects.
 *
 * PostgreSQL's plan cache starts from the text of a query. Here the query exists only as a tree that
 * has been rewritten, so this file plans it and takes the locks. A plan is made again whenever the
 * rule has become suspect, because relations or functions may have changed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "storage/lmgr.h"
#include "tcop/dest.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "ext/base/compat.h"
#include "ext/sets/sets_internal.h"

SetPlan *
plan_make(List *expressions)
{
	SetPlan *plan = palloc0(sizeof(SetPlan));
	Query *query = makeNode(Query);
	ListCell *cell;

	foreach (cell, expressions)
		query->targetList = lappend(
			query->targetList, makeTargetEntry(copyObject(lfirst(cell)),
											   list_length(query->targetList) + 1, NULL, false));
	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->hasSubLinks = true;
	query->jointree = makeFromExpr(NIL, NULL);
	plan->query = query;
	plan->context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd plan", ALLOCSET_SMALL_SIZES);
	return plan;
}

/* Lock the relations that a statement reads, as AcquireExecutorLocks() does (plancache.c). */
static void
plan_lock(const PlannedStmt *statement)
{
	ListCell *cell;

	foreach (cell, statement->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

		if (OidIsValid(rte->relid) && rte->rellockmode != NoLock)
			LockRelationOid(rte->relid, rte->rellockmode);
	}
}

/* Lock the relations that a query names, so that it can be planned. */
static bool
plan_lock_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION)
			LockRelationOid(rte->relid, rte->rellockmode);
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, plan_lock_walker, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, plan_lock_walker, context);
}

static void
plan_again(SetPlan *plan)
{
	MemoryContext context;

	plan->statement = NULL;
	MemoryContextReset(plan->context);
	(void) plan_lock_walker((Node *) plan->query, NULL);
	context = MemoryContextSwitchTo(plan->context);
	plan->statement = planner(copyObject(plan->query), "", 0, NULL);
	MemoryContextSwitchTo(context);
}

/* A receiver of the one row that the statement returns. */
typedef struct PlanReceiver
{
	DestReceiver receiver;
	MemoryContext context;
	Datum *values;
	bool *nulls;
} PlanReceiver;

static bool
plan_receive(TupleTableSlot *slot, DestReceiver *self)
{
	PlanReceiver *receiver = (PlanReceiver *) self;
	TupleDesc desc = slot->tts_tupleDescriptor;
	MemoryContext context = MemoryContextSwitchTo(receiver->context);

	slot_getallattrs(slot);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		receiver->nulls[i] = slot->tts_isnull[i];
		if (slot->tts_isnull[i])
			receiver->values[i] = (Datum) 0;
		else if (attribute->attlen == -1)
			receiver->values[i] = PointerGetDatum(PG_DETOAST_DATUM_COPY(slot->tts_values[i]));
		else
			receiver->values[i] =
				datumCopy(slot->tts_values[i], attribute->attbyval, attribute->attlen);
	}
	MemoryContextSwitchTo(context);
	return true;
}

static void
plan_receiver_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	(void) self;
	(void) operation;
	(void) desc;
}

static void
plan_receiver_end(DestReceiver *self)
{
	(void) self;
}

void
plan_run(SetRule *rule, SetPlan *plan, Datum *values, bool *nulls)
{
	PlanReceiver receiver = {.receiver = {.receiveSlot = plan_receive,
										  .rStartup = plan_receiver_startup,
										  .rShutdown = plan_receiver_end,
										  .rDestroy = plan_receiver_end,
										  .mydest = DestNone},
							 .context = CurrentMemoryContext,
							 .values = values,
							 .nulls = nulls};
	QueryDesc *query;

	/* Taking locks also reads invalidations, which may make the rule suspect. */
	if (plan->statement != NULL)
		plan_lock(plan->statement);
	if (plan->statement == NULL || rule->suspect)
		plan_again(plan);
	query = CreateQueryDesc(plan->statement, "", GetActiveSnapshot(), InvalidSnapshot,
							&receiver.receiver, rule->values, NULL, 0);
	ExecutorStart(query, 0);
	COMPAT_EXECUTOR_RUN(query);
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
}
