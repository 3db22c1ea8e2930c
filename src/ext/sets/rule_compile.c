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

#include "access/transam.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "ext/sets/sets_internal.h"

/* ---------------- what evaluation can do ---------------- */

static bool
rule_is_date_or_time(Oid type)
{
	return type == DATEOID || type == TIMEOID || type == TIMETZOID || type == TIMESTAMPOID ||
		   type == TIMESTAMPTZOID || type == INTERVALOID;
}

/* Whether a function computes with times, and may therefore depend on the time zone. */
static bool
rule_takes_time(Oid function)
{
	Oid *types;
	int n;

	(void) get_func_signature(function, &types, &n);
	for (int i = 0; i < n; i++)
	{
		if (rule_is_date_or_time(types[i]))
			return true;
	}
	return false;
}

/* Whether a function is not one of PostgreSQL's own that only compute a result. */
static bool
rule_is_opaque_function(Oid function, void *context)
{
	char volatility;

	(void) context;
	if (function >= FirstNormalObjectId)
		return true;
	volatility = func_volatile(function);
	return volatility != PROVOLATILE_IMMUTABLE && function != F_NOW &&
		   !get_func_leakproof(function) &&
		   (volatility != PROVOLATILE_STABLE || !rule_takes_time(function));
}

/* Whether the input and output functions of a type only compute a result. */
static bool
rule_is_plain_type(Oid type)
{
	return type < FirstNormalObjectId && get_typtype(type) == TYPTYPE_BASE &&
		   !OidIsValid(get_element_type(type));
}

/*
 * An expression walker: return true unless the evaluation certainly reads no settings, and has no
 * effects but its result or an error. Nodes that are not listed may run code of users, such as
 * constraints of domains, or wait for locks on types.
 */
static bool
rule_is_opaque(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Var:
			return ((Var *) node)->varattno == 0;
		case T_NullTest:
			if (((NullTest *) node)->argisrow)
				return true;
			break;
		case T_CoerceViaIO:
			if (!rule_is_plain_type(((CoerceViaIO *) node)->resulttype) ||
				!rule_is_plain_type(exprType((Node *) ((CoerceViaIO *) node)->arg)))
				return true;
			break;
		case T_List:
		case T_Const:
		case T_Param:
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_BooleanTest:
		case T_RelabelType:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_CoalesceExpr:
		case T_ArrayExpr:
		case T_SubscriptingRef:
			if (check_functions_in_node(node, rule_is_opaque_function, NULL))
				return true;
			break;
		default:
			return true;
	}
	return expression_tree_walker(node, rule_is_opaque, context);
}

static bool
rule_may_fail_function(Oid function, void *context)
{
	(void) context;
	return function >= FirstNormalObjectId || (function != F_NOW && !get_func_leakproof(function));
}

/* Whether a function or operator does not know by which collation to compare, which is an error. */
static bool
rule_lacks_collation(Node *node)
{
	ListCell *cell;
	List *args = IsA(node, FuncExpr)            ? ((FuncExpr *) node)->args
				 : IsA(node, ScalarArrayOpExpr) ? ((ScalarArrayOpExpr *) node)->args
												: ((OpExpr *) node)->args;

	if (OidIsValid(exprInputCollation(node)))
		return false;
	foreach (cell, args)
	{
		if (type_is_collatable(exprType(lfirst(cell))))
			return true;
	}
	return false;
}

/*
 * An expression walker: return true if the evaluation may raise an error or wait. Leakproof functions
 * raise no error that depends on their arguments.
 */
static bool
rule_may_fail(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Var:
			return ((Var *) node)->varattno == 0;
		case T_NullTest:
			if (((NullTest *) node)->argisrow)
				return true;
			break;
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_ScalarArrayOpExpr:
			if (rule_lacks_collation(node) ||
				check_functions_in_node(node, rule_may_fail_function, NULL))
				return true;
			break;
		case T_List:
		case T_Const:
		case T_Param:
		case T_BoolExpr:
		case T_BooleanTest:
		case T_RelabelType:
			break;
		default:
			return true;
	}
	return expression_tree_walker(node, rule_may_fail, context);
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

/* Add the steps of some of the rule's conditions. */
static void
rule_add_steps(SetRule *rule, int from, int to, bool filter)
{
	RuleParams params = {.values = rule->values,
						 .first = rule->nparams,
						 .columns = true,
						 .ncolumns = rule->ncolumns};
	List *conjuncts = NIL;

	for (int i = from; i < to; i++)
	{
		Node *qual = list_nth(rule->quals, i);

		if (!checkExprHasSubLink(qual))
			conjuncts = lappend(conjuncts, rule_row_expression(qual, rule->values, rule->nparams));
		if (conjuncts != NIL && (i == to - 1 || checkExprHasSubLink(list_nth(rule->quals, i + 1))))
		{
			rule->steps[rule->nsteps++] =
				(SetStep){.state = ExecInitQual(conjuncts, NULL), .filter = filter};
			conjuncts = NIL;
		}
		if (checkExprHasSubLink(qual))
			rule->steps[rule->nsteps++] = (SetStep){
				.plan = plan_make(list_make1(rule_use_params(qual, &params))), .filter = filter};
	}
}

static void
rule_compile_condition(SetRule *rule)
{
	ListCell *cell;

	rule->safe = true;
	foreach (cell, rule->quals)
	{
		rule->safe &= !rule_may_fail(lfirst(cell), NULL);
		rule->opaque |= rule_is_opaque(lfirst(cell), NULL);
	}
	/* The policies decide first. */
	rule->steps = palloc0(list_length(rule->quals) * sizeof(SetStep));
	rule_add_steps(rule, 0, rule->npolicies, false);
	rule_add_steps(rule, rule->npolicies, list_length(rule->quals), true);
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
