/*-------------------------------------------------------------------------
 *
 * watch_condition.c
 *	  The condition of a watch: the WHEN clause of its row trigger.
 *
 * The text given to notify_watch() is stored, but the trigger's expression is what is used. The
 * expression follows a column that is renamed, while the text would then name another column or
 * none. So notifyd.watches shows the expression, and a new call of notify_watch() compares its
 * condition with the expression.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
#include "parser/parse_clause.h"
#include "parser/parse_collate.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

#include "ext/watch/watch.h"

PG_FUNCTION_INFO_V1(notifyd_watch_condition);

/* The parser accepts a star in a list of columns only. */
static bool
watch_is_star(Node *node)
{
	return IsA(node, ColumnRef) && IsA(linitial(((ColumnRef *) node)->fields), A_Star);
}

Node *
watch_parse_condition(const char *condition)
{
	List *statements = raw_parser(condition, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = castNode(SelectStmt, linitial_node(RawStmt, statements)->stmt);
	SelectStmt *bare = makeNode(SelectStmt);
	ResTarget *target = list_length(select->targetList) == 1 ? linitial(select->targetList) : NULL;

	/* The rest of the SELECT must be empty: the text must be an expression and nothing else. */
	bare->targetList = select->targetList;
	if (target == NULL || target->name != NULL || watch_is_star(target->val) ||
		!equal(select, bare))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR), errmsg("condition must be an SQL expression"),
				 errdetail("The condition is \"%s\".", condition)));
	return target->val;
}

/* Name the condition in its errors, and convert the error position to one in its text. */
static void
watch_condition_error(void *arg)
{
	const char *condition = arg;
	int position = geterrposition();

	/* The message of CREATE TRIGGER already says that an operation has no OLD or no NEW. */
	if (geterrcode() == ERRCODE_INVALID_OBJECT_DEFINITION)
		errhint("Leave \"insert\" out of op where the condition uses OLD, and \"delete\" where it "
				"uses NEW.");
	else if (geterrcode() == ERRCODE_AMBIGUOUS_COLUMN)
		errhint("Write NEW or OLD before the column's name, as in NEW.price > 100.");
	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(condition);
	}
	errcontext("parameter \"%s\" of %s()", "condition", "notify_watch");
}

void
watch_condition_push(ErrorContextCallback *context, const char *condition)
{
	context->callback = watch_condition_error;
	context->arg = unconstify(char *, condition);
	context->previous = error_context_stack;
	error_context_stack = context;
}

/* Add OLD or NEW to the names that an expression may use. */
static void
watch_condition_add(ParseState *pstate, Relation rel, const char *name)
{
	ParseNamespaceItem *item = addRangeTableEntryForRelation(pstate, rel, AccessShareLock,
															 makeAlias(name, NIL), false, false);

	addNSItemToQuery(pstate, item, false, true, true);
}

/* Return the expression that CREATE TRIGGER would make of a condition now (commands/trigger.c). */
static Node *
watch_condition_expression(Oid relation, const char *condition)
{
	Relation rel = table_open(relation, AccessShareLock);
	ParseState *pstate = make_parsestate(NULL);
	ErrorContextCallback context;
	Node *expression;

	watch_condition_push(&context, condition);
	pstate->p_sourcetext = condition;
	watch_condition_add(pstate, rel, "old"); /* PRS2_OLD_VARNO */
	watch_condition_add(pstate, rel, "new"); /* PRS2_NEW_VARNO */
	expression = transformWhereClause(pstate, watch_parse_condition(condition),
									  EXPR_KIND_TRIGGER_WHEN, "WHEN");
	assign_expr_collations(pstate, expression);
	free_parsestate(pstate);
	error_context_stack = context.previous;
	table_close(rel, AccessShareLock);
	return expression;
}

/* Return the expression of a trigger; NULL if there is none or no trigger. */
static Node *
watch_trigger_expression(Oid trigger)
{
	Relation table = table_open(TriggerRelationId, AccessShareLock);
	HeapTuple tuple = watch_trigger_tuple(table, trigger);
	Node *expression = NULL;

	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum qual = heap_getattr(tuple, Anum_pg_trigger_tgqual, RelationGetDescr(table), &isnull);

		if (!isnull)
			expression = stringToNode(TextDatumGetCString(qual));
	}
	table_close(table, AccessShareLock);
	return expression;
}

bool
watch_condition_is(Oid relation, Oid trigger, const char *condition)
{
	Node *expression = watch_trigger_expression(trigger);

	if (condition == NULL || expression == NULL)
		return (condition == NULL) == (expression == NULL);
	return equal(expression, watch_condition_expression(relation, condition));
}

static bool
watch_node_has_column(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varattno == *(AttrNumber *) context;
	return expression_tree_walker(node, watch_node_has_column, context);
}

bool
watch_condition_has_column(Oid trigger, AttrNumber attnum)
{
	return OidIsValid(trigger) && watch_node_has_column(watch_trigger_expression(trigger), &attnum);
}

/*
 * NEW is the second of two relations in a trigger's expression, but deparse_expression() accepts
 * one relation for each query level: move NEW to the next outer level.
 */
static Node *
watch_condition_lift_new(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == PRS2_NEW_VARNO)
	{
		Var *var = copyObject((Var *) node);

		var->varno = 1;
		var->varnosyn = 1;
		var->varlevelsup = 1;
		return (Node *) var;
	}
	return expression_tree_mutator(node, watch_condition_lift_new, context);
}

char *
watch_condition_text(Oid relation, Oid trigger)
{
	Node *expression = watch_trigger_expression(trigger);
	List *context;

	if (expression == NULL)
		return NULL;
	context =
		list_concat(deparse_context_for("old", relation), deparse_context_for("new", relation));
	return deparse_expression(watch_condition_lift_new(expression, NULL), context, true, false);
}

/* Return the name without the schema, which may be renamed. */
static char *
watch_type_name(Oid type)
{
	HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	char *name = "";

	if (HeapTupleIsValid(tuple))
	{
		name = pstrdup(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname));
		ReleaseSysCache(tuple);
	}
	return name;
}

static void
watch_condition_note_operator(StringInfo uses, Oid operator)
{
	Oid left;
	Oid right;

	op_input_types(operator, & left, &right);
	appendStringInfo(uses, "%s(%s,%s) ", get_opname(operator),
					 OidIsValid(left) ? watch_type_name(left) : "",
					 OidIsValid(right) ? watch_type_name(right) : "");
}

static bool
watch_condition_note_uses(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr: /* these share one struct */
			watch_condition_note_operator(context, ((OpExpr *) node)->opno);
			break;
		case T_ScalarArrayOpExpr:
			watch_condition_note_operator(context, ((ScalarArrayOpExpr *) node)->opno);
			break;
		case T_RowCompareExpr:
		{
			ListCell *cell;

			foreach (cell, ((RowCompareExpr *) node)->opnos)
				watch_condition_note_operator(context, lfirst_oid(cell));
			break;
		}
		default:
			break;
	}
	return expression_tree_walker(node, watch_condition_note_uses, context);
}

char *
watch_condition_uses(Oid trigger)
{
	Node *expression = OidIsValid(trigger) ? watch_trigger_expression(trigger) : NULL;
	StringInfoData uses;

	initStringInfo(&uses);
	(void) watch_condition_note_uses(expression, &uses);
	return uses.data;
}

/*
 * notifyd.watch_condition(id bigint, stored text) -> text
 *
 * For the view notifyd.watches: returns the condition of the watch's trigger with the present
 * names, or the stored text if there is no such trigger. It shows no more than pg_trigger, which
 * everybody may read.
 */
Datum
notifyd_watch_condition(PG_FUNCTION_ARGS)
{
	Watch *watch = watch_find(PG_GETARG_INT64(0));
	char *text = NULL;

	if (watch != NULL && get_rel_name(watch->relation) != NULL)
		text = watch_condition_text(watch->relation, watch_find_triggers(watch).row);
	if (text == NULL)
		PG_RETURN_DATUM(PG_GETARG_DATUM(1));
	PG_RETURN_TEXT_P(cstring_to_text(text));
}
