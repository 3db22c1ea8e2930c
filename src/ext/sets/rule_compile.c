/*-------------------------------------------------------------------------
 *
 * rule_compile.c
 *	  Prepares a rule's parameters and condition for their evaluation.
 *
 * The condition becomes steps. What has no sub-selects is an expression over the row. Each condition
 * with a sub-select that depends on the row is a query, with the row's columns as parameters.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "ext/sets/sets_internal.h"

/* ---------------- whether evaluation can fail ---------------- */

static bool
rule_may_fail_function(Oid function, void *context)
{
	(void) context;
	return function != F_NOW && !get_func_leakproof(function);
}

/*
 * An expression walker: return true if the evaluation may raise an error. Leakproof functions raise
 * none that depends on their arguments.
 */
static bool
rule_may_fail(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_List:
		case T_Var:
		case T_Const:
		case T_Param:
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_RelabelType:
			return check_functions_in_node(node, rule_may_fail_function, NULL) ||
				   expression_tree_walker(node, rule_may_fail, context);
		default:
			return true;
	}
}

/* ---------------- the condition ---------------- */

typedef struct RuleParams
{
	ParamListInfo values;
	int first;    /* the context is the parameter after this one */
	bool columns; /* replace columns, too */
	int ncolumns;
	Index depth;
} RuleParams;

/* The parameter that stands for a Var of the row, or NULL. */
static Node *
rule_var_param(const RuleParams *params, const Var *var)
{
	Param *param;
	int number;

	if (var->varlevelsup != params->depth)
		return NULL;
	if (var->varattno == FILTER_CONTEXT_ATTNUM)
		number = params->first + 1;
	else if (var->varattno == FILTER_PAYLOAD_ATTNUM)
		number = params->first + 2;
	else if (!params->columns)
		return NULL;
	else
		number = params->first + 2 + (var->varattno > 0 ? var->varattno : params->ncolumns + 1);
	param = makeNode(Param);
	param->paramkind = PARAM_EXTERN;
	param->paramid = number;
	param->paramtype = var->vartype;
	param->paramtypmod = var->vartypmod;
	param->paramcollid = var->varcollid;
	param->location = -1;
	params->values->params[number - 1].ptype = var->vartype;
	return (Node *) param;
}

static Node *
rule_use_params(Node *node, void *context)
{
	RuleParams *params = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Node *param = rule_var_param(params, (Var *) node);

		return param != NULL ? param : copyObject(node);
	}
	if (IsA(node, Query))
	{
		Query *query;

		params->depth++;
		query = query_tree_mutator((Query *) node, rule_use_params, context, 0);
		params->depth--;
		return (Node *) query;
	}
	return expression_tree_mutator(node, rule_use_params, context);
}

Expr *
rule_row_expression(Node *expression, ParamListInfo values, int first)
{
	RuleParams params = {.values = values, .first = first};

	return (Expr *) rule_use_params(expression, &params);
}

static void
rule_add_step(SetRule *rule, ExprState *state, SetPlan *plan)
{
	rule->steps[rule->nsteps].state = state;
	rule->steps[rule->nsteps++].plan = plan;
}

static void
rule_compile_condition(SetRule *rule)
{
	RuleParams params = {.values = rule->values,
						 .first = rule->nparams,
						 .columns = true,
						 .ncolumns = rule->ncolumns};
	List *conjuncts = NIL;
	ListCell *cell;

	rule->steps = palloc0((2 * list_length(rule->quals) + 1) * sizeof(SetStep));
	rule->safe = true;
	foreach (cell, rule->quals)
	{
		Node *qual = lfirst(cell);

		rule->safe &= !rule_may_fail(qual, NULL);
		rule->opaque |= rule_is_opaque(qual, NULL);
		if (!checkExprHasSubLink(qual))
		{
			conjuncts = lappend(conjuncts, rule_row_expression(qual, rule->values, rule->nparams));
			continue;
		}
		if (conjuncts != NIL)
			rule_add_step(rule, ExecInitQual(conjuncts, NULL), NULL);
		conjuncts = NIL;
		rule_add_step(rule, NULL, plan_make(list_make1(rule_use_params(qual, &params))));
	}
	if (conjuncts != NIL)
		rule_add_step(rule, ExecInitQual(conjuncts, NULL), NULL);
}

/* ---------------- the whole ---------------- */

static void
rule_compile_params(SetRule *rule)
{
	List *planned = NIL;

	for (int i = 0; i < rule->nparams; i++)
	{
		SetParam *param = &rule->params[i];

		get_typlenbyval(param->type, &param->typlen, &param->typbyval);
		rule->values->params[i].ptype = param->type;
		rule->has_snapshot_params |= param->kind == SET_PARAM_SNAPSHOT;
		if (param->kind == SET_PARAM_FILTER)
			continue;
		rule->computes_params = true;
		if (checkExprHasSubLink((Node *) param->expression))
			planned = lappend(planned, param->expression);
		else
			param->state = ExecInitExpr(param->expression, NULL);
	}
	if (planned != NIL)
		rule->params_plan = plan_make(planned);
}

void
rule_compile(SetRule *rule)
{
	rule->values = makeParamList(RULE_ROW_PARAM(rule));
	for (int i = 0; i < rule->values->numParams; i++)
		rule->values->params[i].isnull = true;
	rule->values->params[RULE_CONTEXT_PARAM(rule) - 1].ptype = JSONBOID;
	rule->values->params[RULE_PAYLOAD_PARAM(rule) - 1].ptype = JSONBOID;
	rule->econtext = CreateStandaloneExprContext();
	rule->econtext->ecxt_param_list_info = rule->values;
	rule_compile_params(rule);
	rule_compile_condition(rule);
}
