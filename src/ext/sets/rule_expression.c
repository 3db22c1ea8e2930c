/*-------------------------------------------------------------------------
 *
 * rule_expression.c
 *	  Finds the parameters of a rule.
 *
 * A condition takes these steps:
 *
 *	  1. (SELECT expression) becomes the expression, and PostgreSQL's planner inlines SQL functions
 *	     and computes constants.
 *	  2. current_setting('pg_notifyd.context') becomes the event's context.
 *	  3. EXISTS (SELECT FROM m WHERE m.a = row.b AND ...) becomes row.b IN (SELECT m.a FROM m WHERE ...).
 *	     The second one may be NULL instead of false, so this is done only where the condition takes
 *	     both for the same.
 *	  4. Each largest part without columns and volatile functions becomes a parameter:
 *	     owner = uid() becomes owner = $1.
 *	  5. x IN (SELECT ...) without columns of the row in the sub-select becomes x = ANY ($1), with
 *	     the rows of the sub-select as an array. That has the same result, also for NULL
 *	     (ExecEvalScalarArrayOp() in executor/execExprInterp.c, ExecScanSubPlan() in nodeSubplan.c).
 *
 * Times that depend on now() are no parameters, because they would be different in each
 * transaction. They are computed for each row instead.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "ext/base/compat.h"
#include "ext/sets/sets_internal.h"

#define RULE_CLAIMS_PREFIX   "request.jwt."
#define RULE_CONTEXT_SETTING "pg_notifyd.context"

/* ---------------- what nodes are ---------------- */

/* A call of current_setting() with a constant name, which is returned; otherwise NULL. */
static const char *
rule_setting_name(Node *node)
{
	FuncExpr *call = (FuncExpr *) node;
	Const *name;

	if (!IsA(node, FuncExpr) ||
		(call->funcid != F_CURRENT_SETTING_TEXT && call->funcid != F_CURRENT_SETTING_TEXT_BOOL))
		return NULL;
	name = linitial(call->args);
	return IsA(name, Const) && !name->constisnull ? TextDatumGetCString(name->constvalue) : NULL;
}

static bool
rule_is_mutable_function(Oid function, void *context)
{
	(void) context;
	return function >= FirstNormalObjectId || func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

/* A call of a user's function with all functions in SQL replaced that the planner can inline. */
static Node *
rule_inline(SetRule *rule, FuncExpr *call)
{
	List *relations;
	List *items;
	Node *inlined;

	inlined = (Node *) expression_planner_with_deps((Expr *) copyObject(call), &relations, &items);
	rule->inval_items = list_concat(rule->inval_items, items);
	return inlined;
}

/*
 * Whether what a sub-select reads is something else than the rows of a table of users. Adds the table
 * to the rule's tables. The rewriter has replaced views, and left entries for them that read nothing.
 */
static bool
rule_add_table(SetRule *rule, const RangeTblEntry *entry)
{
	char kind;

	if (entry->rtekind != RTE_RELATION)
		return false;
	kind = get_rel_relkind(entry->relid);
	if (kind == RELKIND_VIEW)
		return false;
	rule->tables = list_append_unique_oid(rule->tables, entry->relid);
	return (kind != RELKIND_RELATION && kind != RELKIND_MATVIEW) ||
		   entry->relid < FirstNormalObjectId || entry->tablesample != NULL;
}

/*
 * Whether an expression may depend on more than the role, the claims, and values of the filter. With
 * a rule as context: and more than the rows of tables, which are added to rule->tables.
 */
static bool
rule_needs_snapshot(Node *node, void *context)
{
	SetRule *rule = context;
	const char *setting;

	if (node == NULL)
		return false;
	if (IsA(node, SubLink) && rule == NULL)
		return true;
	if (IsA(node, FuncExpr) && rule != NULL && ((FuncExpr *) node)->funcid >= FirstNormalObjectId)
		return rule_needs_snapshot(rule_inline(rule, (FuncExpr *) node), NULL);
	if (IsA(node, RangeTblEntry))
		return rule_add_table(rule, (RangeTblEntry *) node);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, rule_needs_snapshot, context,
								 QTW_EXAMINE_RTES_BEFORE);
	if (IsA(node, SQLValueFunction))
	{
		SQLValueFunctionOp op = ((SQLValueFunction *) node)->op;

		return op != SVFOP_CURRENT_ROLE && op != SVFOP_CURRENT_USER && op != SVFOP_USER &&
			   op != SVFOP_SESSION_USER && op != SVFOP_CURRENT_CATALOG;
	}
	setting = rule_setting_name(node);
	if (setting != NULL)
		return pg_strncasecmp(setting, RULE_CLAIMS_PREFIX, strlen(RULE_CLAIMS_PREFIX)) != 0;
	if (check_functions_in_node(node, rule_is_mutable_function, NULL))
		return true;
	return expression_tree_walker(node, rule_needs_snapshot, context);
}

/* Whether an expression contains the time of the transaction or the statement. */
static bool
rule_has_clock(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SQLValueFunction))
	{
		SQLValueFunctionOp op = ((SQLValueFunction *) node)->op;

		return op >= SVFOP_CURRENT_TIME && op <= SVFOP_LOCALTIMESTAMP_N;
	}
	if (IsA(node, FuncExpr))
	{
		Oid function = ((FuncExpr *) node)->funcid;

		if (function == F_NOW || function == F_TRANSACTION_TIMESTAMP ||
			function == F_STATEMENT_TIMESTAMP)
			return true;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, rule_has_clock, context, 0);
	return expression_tree_walker(node, rule_has_clock, context);
}

/* Whether an expression contains a placeholder whose value comes from outside of it. */
static bool
rule_has_placeholder(Node *node, void *context)
{
	if (node == NULL || IsA(node, SubLink))
		return false;
	if (IsA(node, CaseTestExpr) || IsA(node, CoerceToDomainValue))
		return true;
	/* These give their placeholders the values themselves. */
	if (IsA(node, ArrayCoerceExpr))
		return rule_has_placeholder((Node *) ((ArrayCoerceExpr *) node)->arg, context);
	return expression_tree_walker(node, rule_has_placeholder, context);
}

/* Whether a node may become a parameter, if it does not depend on the row. */
static bool
rule_is_computed(Node *node)
{
	switch (nodeTag(node))
	{
		case T_RelabelType:
			return rule_is_computed((Node *) ((RelabelType *) node)->arg);
		case T_ArrayCoerceExpr:
		case T_ArrayExpr:
		case T_BoolExpr:
		case T_BooleanTest:
		case T_CaseExpr:
		case T_CoalesceExpr:
		case T_CoerceToDomain:
		case T_CoerceViaIO:
		case T_DistinctExpr:
		case T_FieldSelect:
		case T_FuncExpr:
		case T_MinMaxExpr:
		case T_NullIfExpr:
		case T_NullTest:
		case T_OpExpr:
		case T_RowCompareExpr:
		case T_SQLValueFunction:
		case T_ScalarArrayOpExpr:
		case T_SubLink:
		case T_SubscriptingRef:
			return true;
		default:
			return false;
	}
}

static bool
rule_is_time(Oid type)
{
	return type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == TIMEOID || type == TIMETZOID ||
		   type == INTERVALOID;
}

/* Whether a node is independent of the row, and worth being a parameter. */
static bool
rule_is_parameter(Node *node)
{
	Oid type;

	if (!rule_is_computed(node))
		return false;
	type = exprType(node);
	return get_typtype(type) != TYPTYPE_PSEUDO && !contain_vars_of_level(node, 0) &&
		   !contain_volatile_functions(node) && !rule_has_placeholder(node, NULL) &&
		   !(rule_is_time(type) && rule_has_clock(node, NULL));
}

/* ---------------- steps 1 and 2 ---------------- */

/* The expression of a sub-select that only computes one, or NULL. */
static Node *
rule_trivial_select(SubLink *link)
{
	Query *query = (Query *) link->subselect;
	Node *result;

	if (link->subLinkType != EXPR_SUBLINK || query->commandType != CMD_SELECT ||
		query->rtable != NIL || query->cteList != NIL || query->hasAggs || query->hasWindowFuncs ||
		query->hasTargetSRFs || query->jointree->quals != NULL || query->groupClause != NIL ||
		query->groupingSets != NIL || query->havingQual != NULL || query->distinctClause != NIL ||
		query->limitOffset != NULL || query->limitCount != NULL || query->setOperations != NULL ||
		list_length(query->targetList) != 1)
		return NULL;
	result = copyObject((Node *) linitial_node(TargetEntry, query->targetList)->expr);
	if (contain_volatile_functions(result))
		return NULL;
	IncrementVarSublevelsUp(result, -1, 1);
	return result;
}

static Node *
rule_flatten(Node *node, void *context)
{
	Node *expression;

	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
		return node;
	if (IsA(node, SubLink) && (expression = rule_trivial_select((SubLink *) node)) != NULL)
		return rule_flatten(expression, context);
	return expression_tree_mutator(node, rule_flatten, context);
}

/* depth points to how many queries the node is below the condition. */
static Node *
rule_replace_context(Node *node, void *depth)
{
	const char *setting;

	if (node == NULL)
		return NULL;
	setting = rule_setting_name(node);
	if (setting != NULL && pg_strcasecmp(setting, RULE_CONTEXT_SETTING) == 0)
	{
		CoerceViaIO *text = makeNode(CoerceViaIO);

		text->arg =
			(Expr *) makeVar(1, FILTER_CONTEXT_ATTNUM, JSONBOID, -1, InvalidOid, *(Index *) depth);
		text->resulttype = TEXTOID;
		text->resultcollid = exprCollation(node);
		text->coerceformat = COERCE_IMPLICIT_CAST;
		text->location = -1;
		return (Node *) text;
	}
	if (IsA(node, Query))
	{
		Index below = *(Index *) depth + 1;

		return (Node *) query_tree_mutator((Query *) node, rule_replace_context, &below, 0);
	}
	return expression_tree_mutator(node, rule_replace_context, depth);
}

/* Steps 1 and 2. Notes what the result depends on. */
static Node *
rule_simplify(SetRule *rule, Node *node)
{
	List *relations;
	List *items;
	Index depth = 0;

	node = rule_flatten(node, NULL);
	node = (Node *) expression_planner_with_deps((Expr *) node, &relations, &items);
	rule->relations = list_concat_unique_oid(rule->relations, relations);
	rule->inval_items = list_concat(rule->inval_items, items);
	return rule_replace_context(node, &depth);
}

/* ---------------- step 3 ---------------- */

/* Whether a sub-select's rows are those of its FROM and WHERE. */
static bool
rule_is_plain_select(const Query *query)
{
	return query->commandType == CMD_SELECT && query->cteList == NIL && !query->hasAggs &&
		   !query->hasWindowFuncs && !query->hasTargetSRFs && query->groupClause == NIL &&
		   query->groupingSets == NIL && query->havingQual == NULL && query->limitOffset == NULL &&
		   query->limitCount == NULL && query->setOperations == NULL && query->rowMarks == NIL;
}

/*
 * If an operator compares something of the outer row with something of the sub-select for equality,
 * return true and set both sides, with the operator that has the outer one on the left.
 */
static bool
rule_is_link(Node *node, Node **outer, Node **inner, Oid *equality)
{
	OpExpr *test = (OpExpr *) node;
	Node *left;
	Node *right;

	if (!IsA(node, OpExpr) || list_length(test->args) != 2 || !op_strict(test->opno) ||
		!op_hashjoinable(test->opno, exprType(linitial(test->args))))
		return false;
	left = linitial(test->args);
	right = lsecond(test->args);
	*equality = contain_vars_of_level(left, 1) ? test->opno : get_commutator(test->opno);
	*outer = contain_vars_of_level(left, 1) ? left : right;
	*inner = *outer == left ? right : left;
	return OidIsValid(*equality) && !contain_vars_of_level(*outer, 0) &&
		   !contain_vars_of_level(*inner, 1) && !checkExprHasSubLink(*outer);
}

/* An EXISTS with one link to the outer row as IN, or NULL. */
static Node *
rule_decorrelate_exists(SubLink *link)
{
	Query *query = copyObject((Query *) link->subselect);
	List *conjuncts;
	ListCell *cell;
	OpExpr *found = NULL;
	Oid equality = InvalidOid;
	Node *outer = NULL;
	Node *inner = NULL;
	OpExpr *test;
	Param *param;

	if (link->subLinkType != EXISTS_SUBLINK || !rule_is_plain_select(query))
		return NULL;
	conjuncts = make_ands_implicit((Expr *) query->jointree->quals);
	foreach (cell, conjuncts)
	{
		if (rule_is_link(lfirst(cell), &outer, &inner, &equality))
		{
			found = lfirst(cell);
			break;
		}
	}
	if (found == NULL)
		return NULL;
	query->jointree->quals = (Node *) make_ands_explicit(list_delete_ptr(conjuncts, found));
	query->targetList = list_make1(makeTargetEntry((Expr *) inner, 1, NULL, false));
	query->distinctClause = NIL;
	query->hasDistinctOn = false;
	query->sortClause = NIL;
	if (contain_vars_of_level((Node *) query, 1) || contain_volatile_functions((Node *) query))
		return NULL;

	IncrementVarSublevelsUp(outer, -1, 1);
	param = makeNode(Param);
	param->paramkind = PARAM_SUBLINK;
	param->paramid = 1;
	param->paramtype = exprType(inner);
	param->paramtypmod = exprTypmod(inner);
	param->paramcollid = exprCollation(inner);
	param->location = -1;
	test = (OpExpr *) make_opclause(equality, BOOLOID, false, (Expr *) outer, (Expr *) param,
									InvalidOid, found->inputcollid);
	set_opfuncid(test);
	link = makeNode(SubLink);
	link->subLinkType = ANY_SUBLINK;
	link->testexpr = (Node *) test;
	link->subselect = (Node *) query;
	link->location = -1;
	return (Node *) link;
}

/* Decorrelate what has to be true for a condition to be true. */
static Node *
rule_decorrelate(Node *node)
{
	Node *replaced = NULL;

	if (IsA(node, SubLink))
		replaced = rule_decorrelate_exists((SubLink *) node);
	else if (IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop != NOT_EXPR)
	{
		BoolExpr *both = copyObject((BoolExpr *) node);
		ListCell *cell;

		foreach (cell, both->args)
			lfirst(cell) = rule_decorrelate(lfirst(cell));
		return (Node *) both;
	}
	return replaced != NULL ? replaced : node;
}

/* ---------------- steps 4 and 5 ---------------- */

/*
 * Make an expression a parameter, or find the one that it already is. elements: only the elements of
 * the array matter.
 */
static Node *
rule_add_parameter(SetRule *rule, Expr *expression, bool elements)
{
	int i;
	Param *param = makeNode(Param);
	SetParam *new;

	for (i = 0; i < rule->nparams; i++)
	{
		if (rule->params[i].elements == elements && equal(rule->params[i].expression, expression))
			break;
	}
	param->paramkind = PARAM_EXTERN;
	param->paramid = i + 1;
	param->paramtype = exprType((Node *) expression);
	param->paramtypmod = exprTypmod((Node *) expression);
	param->paramcollid = exprCollation((Node *) expression);
	param->location = -1;
	if (i < rule->nparams)
		return (Node *) param;

	rule->params = rule->params == NULL ? palloc(sizeof(SetParam))
										: repalloc(rule->params, (i + 1) * sizeof(SetParam));
	rule->nparams++;
	new = &rule->params[i];
	memset(new, 0, sizeof(SetParam));
	new->kind =
		rule_needs_snapshot((Node *) expression, NULL) ? SET_PARAM_SNAPSHOT : SET_PARAM_IDENTITY;
	new->expression = expression;
	new->type = param->paramtype;
	new->typmod = param->paramtypmod;
	new->collation = param->paramcollid;
	new->elements = elements;
	return (Node *) param;
}

static Node *rule_extract(Node *node, void *context);

/* x op ANY (SELECT ...), or ALL, as an operator on an array; NULL if that is not possible. */
static Node *
rule_extract_any(SetRule *rule, SubLink *link)
{
	Query *query = (Query *) link->subselect;
	OpExpr *test = (OpExpr *) link->testexpr;
	ScalarArrayOpExpr *result;
	SubLink *rows;
	Expr *array;
	Node *right;
	Oid type;

	if ((link->subLinkType != ANY_SUBLINK && link->subLinkType != ALL_SUBLINK) ||
		!IsA(test, OpExpr) || contain_vars_of_level((Node *) query, 1) ||
		contain_volatile_functions((Node *) query))
		return NULL;
	right = lsecond(test->args);
	type = get_array_type(exprType(right));
	if (IsA(right, RelabelType))
		right = (Node *) ((RelabelType *) right)->arg;
	if (!IsA(right, Param) || !OidIsValid(type) || !OidIsValid(get_array_type(exprType(right))))
		return NULL;

	rows = makeNode(SubLink);
	rows->subLinkType = ARRAY_SUBLINK;
	if (query->limitCount == NULL)
		query->limitCount = (Node *) makeConst(INT8OID, -1, InvalidOid, sizeof(int64),
											   Int64GetDatum(SET_MAX_ELEMENTS + 1), false, true);
	rows->subselect = (Node *) query;
	rows->location = -1;
	array = (Expr *) rows;
	if (right != lsecond(test->args))
		array = (Expr *) makeRelabelType(array, type, -1, exprCollation(lsecond(test->args)),
										 COERCE_IMPLICIT_CAST);

	result = makeNode(ScalarArrayOpExpr);
	result->opno = test->opno;
	result->opfuncid = test->opfuncid;
	result->useOr = link->subLinkType == ANY_SUBLINK;
	result->inputcollid = test->inputcollid;
	result->args =
		list_make2(rule_extract(linitial(test->args), rule), rule_add_parameter(rule, array, true));
	result->location = -1;
	return (Node *) result;
}

static Node *
rule_extract(Node *node, void *context)
{
	SetRule *rule = context;

	if (node == NULL)
		return NULL;
	if (rule_is_parameter(node))
		return rule_add_parameter(rule, (Expr *) node, false);
	if (IsA(node, SubLink))
	{
		Node *array = rule_extract_any(rule, (SubLink *) node);

		return array != NULL ? array : node;
	}
	if (IsA(node, ScalarArrayOpExpr))
	{
		ScalarArrayOpExpr *any = copyObject((ScalarArrayOpExpr *) node);
		Node *array = lsecond(any->args);

		array = rule_is_parameter(array) ? rule_add_parameter(rule, (Expr *) array, true)
										 : rule_extract(array, rule);
		any->args = list_make2(rule_extract(linitial(any->args), rule), array);
		return (Node *) any;
	}
	return expression_tree_mutator(node, rule_extract, context);
}

/* ---------------- columns ---------------- */

typedef struct RuleColumns
{
	SetRule *rule;
	TupleDesc desc; /* NULL: messages have no columns */
	Index depth;
} RuleColumns;

/* A filter that was made before the table changed may name columns that are gone. */
static bool
rule_has_column(TupleDesc desc, const Var *var)
{
	Form_pg_attribute attribute;

	if (desc == NULL || var->varattno > desc->natts)
		return false;
	attribute = TupleDescAttr(desc, var->varattno - 1);
	return !attribute->attisdropped && attribute->atttypid == var->vartype &&
		   !COMPAT_IS_VIRTUAL(attribute);
}

static void
rule_add_column(RuleColumns *columns, const Var *var)
{
	SetRule *rule = columns->rule;

	if (var->varattno >= 0)
		rule->vars = list_append_unique(rule->vars, copyObject((Var *) var));
	if (var->varattno == FILTER_CONTEXT_ATTNUM)
		rule->uses_context = true;
	else if (var->varattno == FILTER_PAYLOAD_ATTNUM)
		rule->uses_payload = true;
	else if (var->varattno < 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("events do not have system columns")));
	else if (var->varattno > 0 && !rule_has_column(columns->desc, var))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("a column has changed")));
	else if (var->varattno > 0)
		rule->columns =
			bms_add_member(rule->columns, var->varattno - FirstLowInvalidHeapAttributeNumber);
	else
	{
		for (int i = 0; i < columns->desc->natts; i++)
		{
			if (!TupleDescAttr(columns->desc, i)->attisdropped)
				rule->columns =
					bms_add_member(rule->columns, i + 1 - FirstLowInvalidHeapAttributeNumber);
		}
		rule->uses_row = true;
	}
}

static bool
rule_find_columns(Node *node, void *context)
{
	RuleColumns *columns = context;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		if (((Var *) node)->varlevelsup == columns->depth)
			rule_add_column(columns, (Var *) node);
		return false;
	}
	if (IsA(node, Query))
	{
		columns->depth++;
		(void) query_tree_walker((Query *) node, rule_find_columns, context, 0);
		columns->depth--;
		return false;
	}
	return expression_tree_walker(node, rule_find_columns, context);
}

/* Whether an expression may leave some of its parts out. */
static bool
rule_is_conditional(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, CaseExpr) || IsA(node, CoalesceExpr) || IsA(node, BoolExpr))
		return true;
	return expression_tree_walker(node, rule_is_conditional, context);
}

/* ---------------- the policies' hash ---------------- */

/* A check_function_callback: add the definition of a function of users to the hash. */
static bool
rule_hash_function(Oid function, void *context)
{
	uint64 *hash = context;
	HeapTuple tuple;

	if (function < FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (HeapTupleIsValid(tuple))
	{
		*hash = hash_bytes_extended((const unsigned char *) tuple->t_data + tuple->t_data->t_hoff,
									(int) tuple->t_len - tuple->t_data->t_hoff, *hash);
		ReleaseSysCache(tuple);
	}
	return false;
}

static bool
rule_hash_functions(Node *node, void *context)
{
	if (node == NULL)
		return false;
	(void) check_functions_in_node(node, rule_hash_function, context);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, rule_hash_functions, context, 0);
	return expression_tree_walker(node, rule_hash_functions, context);
}

bool
rule_is_true(const Node *condition)
{
	const Const *constant = (const Const *) condition;

	return IsA(condition, Const) && !constant->constisnull && DatumGetBool(constant->constvalue);
}

static uint64
rule_hash_policy(uint64 hash, Node *policy)
{
	char *text = nodeToString(policy);

	hash = hash_bytes_extended((const unsigned char *) text, (int) strlen(text), hash);
	pfree(text);
	return hash;
}

/* ---------------- the whole ---------------- */

/* Add a condition's conjuncts to the rule, those with sub-selects last. */
static void
rule_add_quals(SetRule *rule, Node *condition)
{
	List *conjuncts = make_ands_implicit((Expr *) condition);
	List *slow = NIL;
	ListCell *cell;

	foreach (cell, conjuncts)
	{
		if (checkExprHasSubLink(lfirst(cell)))
			slow = lappend(slow, lfirst(cell));
		else
			rule->quals = lappend(rule->quals, lfirst(cell));
	}
	rule->quals = list_concat(rule->quals, slow);
}

void
rule_set_expression(SetRule *rule, List *policies, Relation relation)
{
	const FilterExpression *filter = rule->filter;
	RuleColumns columns = {.rule = rule,
						   .desc = relation != NULL ? RelationGetDescr(relation) : NULL};
	ListCell *cell;

	/* The filter's values come first, so its parameters keep their numbers. */
	if (filter != NULL && filter->nvalues > 0)
	{
		rule->nparams = filter->nvalues;
		rule->params = palloc0(filter->nvalues * sizeof(SetParam));
		for (int i = 0; i < filter->nvalues; i++)
		{
			rule->params[i].type = filter->values[i].type;
			rule->params[i].typmod = filter->values[i].typmod;
			rule->params[i].collation = filter->values[i].collation;
		}
	}
	foreach (cell, policies)
	{
		Node *policy = rule_simplify(rule, copyObject((Node *) lfirst(cell)));

		/* Without parameters, whose numbers depend on the filter. Their values count by themselves. */
		if (!rule_is_true(policy))
			rule->policies = rule_hash_policy(rule->policies, policy);
		if (!rule->key.literal)
			policy = rule_extract(rule_decorrelate(policy), rule);
		(void) rule_hash_functions(policy, &rule->policies);
		rule_add_quals(rule, policy);
	}
	if (rule->policies != 0)
		rule->policies = Max(hash_combine64(rule->policies, rule->key.literal), 1);
	rule->policy_params = rule->nparams;
	rule->conditional =
		list_length(rule->quals) > 1 || rule_is_conditional((Node *) rule->quals, NULL);
	rule->npolicies = list_length(rule->quals);
	if (filter != NULL)
	{
		rule->what = rule->filter_what;
		rule_add_quals(rule,
					   rule_extract(rule_simplify(rule, copyObject(filter->expression)), rule));
	}
	(void) rule_find_columns((Node *) rule->quals, &columns);
	rule->traced = true;
	for (int i = 0; i < rule->nparams && rule->traced; i++)
		rule->traced = !rule_needs_snapshot((Node *) rule->params[i].expression, rule);
}
