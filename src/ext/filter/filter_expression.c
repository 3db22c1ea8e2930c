/*-------------------------------------------------------------------------
 *
 * filter_expression.c
 *	  Makes an expression of a filter, with PostgreSQL's parser.
 *
 * A value is an unknown literal to the parser, as a string in SQL is, so it becomes a constant of
 * the type that the column's operator needs. Afterwards each constant that is a value is replaced
 * by a parameter. Filters that differ only in values so have the same expression.
 *
 * A literal becomes a constant by the input function of its type, which checks the constraints of
 * domains: these may be code of anybody who owns a type. All of this therefore runs in the guard.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_node.h"
#include "parser/parse_oper.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "ext/filter/filter.h"

/* Marks the constants that are values. coerce_type() keeps a constant's location (parse_coerce.c). */
#define FILTER_VALUE_LOCATION 1

typedef struct FilterTyping
{
	ParseState *pstate;
	const FilterNode *filter;
	Oid relation;
	const Bitmapset *columns; /* that exist; NULL: all */
	FilterExpression *result;
	const char *column; /* of the present condition */
	bool no_column;     /* it does not exist */
} FilterTyping;

static Node *filter_type_node(FilterTyping *typing, const FilterNode *node);

static char *
filter_server(const char *utf8)
{
	return pg_any_to_server(utf8, (int) strlen(utf8), PG_UTF8);
}

/* ---------------- columns ---------------- */

static Node *
filter_pseudo_column(AttrNumber attnum)
{
	return (Node *) makeVar(1, attnum, JSONBOID, -1, InvalidOid, 0);
}

/*
 * Constraints of domains, and casts, are code of a type's owner. In a read-only transaction it can
 * still execute programs of the server, if the role may.
 */
static void
filter_check_type(const FilterTyping *typing, Oid type)
{
	HeapTuple tuple;
	Oid owner = InvalidOid;

	if (!has_privs_of_role(GetUserId(), ROLE_PG_EXECUTE_SERVER_PROGRAM))
		return;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_type) GETSTRUCT(tuple))->typowner;
		ReleaseSysCache(tuple);
	}
	if (!superuser_arg(owner))
		ereport(
			ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			errmsg("column \"%s\" has a type that does not belong to a superuser, so roles that "
				   "may execute programs of the server cannot filter by it",
				   typing->column));
}

static Node *
filter_type_column(FilterTyping *typing)
{
	HeapTuple tuple = NULL;
	Form_pg_attribute attribute;
	Var *var;
	int member;

	if (OidIsValid(typing->relation))
		tuple = SearchSysCacheAttName(typing->relation, typing->column);
	if (!HeapTupleIsValid(tuple))
	{
		if (strcmp(typing->column, "context") == 0)
		{
			typing->result->uses_context = true;
			return filter_pseudo_column(FILTER_CONTEXT_ATTNUM);
		}
		if (strcmp(typing->column, "payload") == 0 && !OidIsValid(typing->relation))
			return filter_pseudo_column(FILTER_PAYLOAD_ATTNUM);
		typing->no_column = true;
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_COLUMN),
				errmsg("column \"%s\" does not exist", typing->column));
	}
	attribute = (Form_pg_attribute) GETSTRUCT(tuple);
	member = attribute->attnum - FirstLowInvalidHeapAttributeNumber;
	if (attribute->attnum < 0 ||
		(typing->columns != NULL && !bms_is_member(member, typing->columns)))
	{
		ReleaseSysCache(tuple);
		typing->no_column = true;
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_COLUMN),
				errmsg("column \"%s\" is not in the events", typing->column));
	}
	var = makeVar(1, attribute->attnum, attribute->atttypid, attribute->atttypmod,
				  attribute->attcollation, 0);
	typing->result->columns = bms_add_member(typing->result->columns, member);
	ReleaseSysCache(tuple);
	filter_check_type(typing, var->vartype);
	return (Node *) var;
}

/* ---------------- operators ---------------- */

/* Whether superusers have made an operator and its function. */
static bool
filter_is_trusted(Operator operator)
{
	Form_pg_operator form = (Form_pg_operator) GETSTRUCT(operator);
	HeapTuple function = SearchSysCache1(PROCOID, ObjectIdGetDatum(form->oprcode));
	bool trusted;

	if (!HeapTupleIsValid(function))
		return false;
	trusted = superuser_arg(form->oprowner) &&
			  superuser_arg(((Form_pg_proc) GETSTRUCT(function))->proowner);
	ReleaseSysCache(function);
	return trusted;
}

/*
 * The qualified name of an operator with this left operand and a literal: in the schema of the
 * operand's type if a superuser has made one there for just this type, as extensions have them, and
 * otherwise in pg_catalog. An operator of another owner would run his code as whoever filters.
 */
static List *
filter_find_operator(FilterTyping *typing, FilterOperator op, const char *name, Oid left)
{
	Oid base = getBaseType(left);
	HeapTuple type = SearchSysCache1(TYPEOID, ObjectIdGetDatum(base));
	Oid schema = PG_CATALOG_NAMESPACE;
	List *qualified;
	Operator found;

	if (HeapTupleIsValid(type))
	{
		schema = ((Form_pg_type) GETSTRUCT(type))->typnamespace;
		ReleaseSysCache(type);
	}
	if (schema != PG_CATALOG_NAMESPACE)
	{
		bool own;

		qualified = list_make2(makeString(get_namespace_name(schema)), makeString(pstrdup(name)));
		found = oper(typing->pstate, qualified, base, UNKNOWNOID, true, -1);
		own = found != NULL && ((Form_pg_operator) GETSTRUCT(found))->oprleft == base &&
			  filter_is_trusted(found);
		if (found != NULL)
			ReleaseSysCache(found);
		if (own)
			return qualified;
	}
	qualified = list_make2(makeString("pg_catalog"), makeString(pstrdup(name)));
	found = oper(typing->pstate, qualified, left, UNKNOWNOID, true, -1);
	if (found == NULL)
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_FUNCTION),
				errmsg("column \"%s\" has a value of type %s, which has no operator \"%s\"",
					   typing->column, format_type_be(left), filter_operator_name(op)));
	ReleaseSysCache(found);
	return qualified;
}

/* A step into a JSON value. Values of other types are converted to jsonb. */
static Node *
filter_type_step(FilterTyping *typing, Node *value, const FilterStep *step)
{
	Oid type = getBaseType(exprType(value));
	Const *operand;
	List *name;

	if (type != JSONOID && type != JSONBOID)
		value = (Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(value), InvalidOid,
									  InvalidOid, COERCE_EXPLICIT_CALL);
	if (step->is_index)
		operand = makeConst(INT4OID, -1, InvalidOid, sizeof(int32), Int32GetDatum(step->index),
							false, true);
	else
		operand = makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1,
							CStringGetTextDatum(filter_server(step->key)), false, false);
	name = list_make2(makeString("pg_catalog"), makeString(step->as_text ? "->>" : "->"));
	return (Node *) make_op(typing->pstate, name, value, (Node *) operand, NULL, -1);
}

/* ---------------- values ---------------- */

static Node *
filter_literal(const char *text)
{
	Const *value = makeConst(UNKNOWNOID, -1, InvalidOid, -2, CStringGetDatum(text), false, false);

	value->location = FILTER_VALUE_LOCATION;
	return (Node *) value;
}

/* The pattern of "like": an asterisk stands for a percent sign. */
static char *
filter_pattern(const char *value)
{
	char *pattern = filter_server(value);

	if (pattern == value)
		pattern = pstrdup(value);
	for (char *c = pattern; (c = strchr(c, '*')) != NULL;)
		*c = '%';
	return pattern;
}

/* The list of "in" as text of an array. */
static const char *
filter_array(const FilterItem *items)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	for (const FilterItem *item = items; item != NULL; item = item->next)
	{
		if (text.len > 1)
			appendStringInfoChar(&text, ',');
		appendStringInfoChar(&text, '"');
		for (const char *c = filter_server(item->text); *c != '\0'; c++)
		{
			if (*c == '"' || *c == '\\')
				appendStringInfoChar(&text, '\\');
			appendStringInfoChar(&text, *c);
		}
		appendStringInfoChar(&text, '"');
	}
	appendStringInfoChar(&text, '}');
	return text.data;
}

/* ---------------- conditions ---------------- */

static Node *
filter_type_is(FilterTyping *typing, Node *left, const char *value)
{
	static const struct
	{
		const char *value;
		bool null;
		int test;
	} tests[] = {
		{"null", true, IS_NULL},    {"not_null", true, IS_NOT_NULL}, {"true", false, IS_TRUE},
		{"false", false, IS_FALSE}, {"unknown", false, IS_UNKNOWN},
	};

	for (int i = 0; i < (int) lengthof(tests); i++)
	{
		if (pg_strcasecmp(value, tests[i].value) != 0)
			continue;
		if (tests[i].null)
		{
			NullTest *test = makeNode(NullTest);

			test->arg = (Expr *) left;
			test->nulltesttype = tests[i].test;
			test->argisrow = type_is_rowtype(exprType(left));
			test->location = -1;
			return (Node *) test;
		}
		else
		{
			BooleanTest *test = makeNode(BooleanTest);

			if (getBaseType(exprType(left)) != BOOLOID)
				ereport(ERROR, errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("column \"%s\" is not a boolean", typing->column));
			test->arg = (Expr *) left;
			test->booltesttype = tests[i].test;
			test->location = -1;
			return (Node *) test;
		}
	}
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("operator \"is\" of column \"%s\" needs null, not_null, true, false or unknown",
				   typing->column));
	return NULL;
}

/* Compile regular expressions, because a wrong one raises an error. */
static void
filter_check_patterns(const FilterNode *node, List *operands)
{
	PGFunction match = node->op == FILTER_MATCH ? textregexeq : texticregexeq;
	Const *value = lsecond(operands);
	Datum *patterns = &value->constvalue;
	bool *nulls = &value->constisnull;
	int n = 1;

	if (node->op != FILTER_MATCH && node->op != FILTER_IMATCH)
		return;
	if (!IsA(value, Const) || (value->consttype != TEXTOID && value->consttype != TEXTARRAYOID))
		return;
	if (value->consttype == TEXTARRAYOID)
		deconstruct_array(DatumGetArrayTypeP(value->constvalue), TEXTOID, -1, false, TYPALIGN_INT,
						  &patterns, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			(void) DirectFunctionCall2Coll(match, DEFAULT_COLLATION_OID, CStringGetTextDatum(""),
										   patterns[i]);
	}
}

static Node *
filter_type_condition(FilterTyping *typing, const FilterNode *node)
{
	ParseState *pstate = typing->pstate;
	const char *value;
	List *name;
	Node *left;
	Node *condition;

	typing->column = filter_server(node->column);
	left = filter_type_column(typing);
	if (filter_is_pattern(node->op) && ((Var *) left)->varattno > 0)
		typing->result->matched = bms_add_member(
			typing->result->matched, ((Var *) left)->varattno - FirstLowInvalidHeapAttributeNumber);
	for (const FilterStep *step = node->path; step != NULL; step = step->next)
		left = filter_type_step(typing, left, step);
	if (node->op == FILTER_IS)
		return filter_type_is(typing, left, node->value);

	name = filter_find_operator(typing, node->op, filter_operator_sql(node->op), exprType(left));
	if (node->op == FILTER_IN)
		value = filter_array(node->items);
	else if (node->op == FILTER_LIKE || node->op == FILTER_ILIKE)
		value = filter_pattern(node->value);
	else
		value = filter_server(node->value);
	if (node->op == FILTER_IN || node->quantifier != FILTER_ONE)
	{
		condition = (Node *) make_scalar_array_op(pstate, name, node->quantifier != FILTER_ALL,
												  left, filter_literal(value), -1);
		filter_check_patterns(node, ((ScalarArrayOpExpr *) condition)->args);
		return condition;
	}
	condition = (Node *) make_op(pstate, name, left, filter_literal(value), NULL, -1);
	filter_check_patterns(node, ((OpExpr *) condition)->args);
	if (node->op == FILTER_ISDISTINCT)
		NodeSetTag(condition, T_DistinctExpr);
	return condition;
}

static Node *
filter_type_list(FilterTyping *typing, const FilterNode *node)
{
	List *members = NIL;

	for (const FilterNode *member = node->first; member != NULL; member = member->next)
		members = lappend(members, filter_type_node(typing, member));
	if (list_length(members) == 1)
		return linitial(members);
	return (Node *) makeBoolExpr(node->kind == FILTER_AND ? AND_EXPR : OR_EXPR, members, -1);
}

static Node *
filter_type_node(FilterTyping *typing, const FilterNode *node)
{
	Node *condition = node->kind == FILTER_CONDITION ? filter_type_condition(typing, node)
													 : filter_type_list(typing, node);

	condition = coerce_to_boolean(typing->pstate, condition, "filter");
	if (node->negated)
		condition = (Node *) makeBoolExpr(NOT_EXPR, list_make1(condition), -1);
	return condition;
}

/* ---------------- parameters ---------------- */

static Node *
filter_replace_values(Node *node, void *context)
{
	FilterExpression *result = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Const) && ((Const *) node)->location == FILTER_VALUE_LOCATION)
	{
		Const *constant = (Const *) node;
		Param *param = makeNode(Param);
		FilterValue *value;

		if (result->nvalues % 8 == 0)
			result->values =
				result->values == NULL
					? palloc(8 * sizeof(FilterValue))
					: repalloc(result->values, (result->nvalues + 8) * sizeof(FilterValue));
		value = &result->values[result->nvalues++];
		value->type = constant->consttype;
		value->typmod = constant->consttypmod;
		value->collation = constant->constcollid;
		value->value = constant->constvalue;
		value->isnull = constant->constisnull;
		param->paramkind = PARAM_EXTERN;
		param->paramid = result->nvalues;
		param->paramtype = constant->consttype;
		param->paramtypmod = constant->consttypmod;
		param->paramcollid = constant->constcollid;
		param->location = -1;
		return (Node *) param;
	}
	return expression_tree_mutator(node, filter_replace_values, context);
}

/* Look up all columns, before anything can be wrong with their values. */
static void
filter_find_columns(FilterTyping *typing, const FilterNode *node)
{
	if (node->kind == FILTER_CONDITION)
	{
		typing->column = filter_server(node->column);
		(void) filter_type_column(typing);
		return;
	}
	for (const FilterNode *member = node->first; member != NULL; member = member->next)
		filter_find_columns(typing, member);
}

/*
 * A name for an expression: its hash, as the expression's text takes some hundred bytes for each
 * condition. Clients must not find two filters with the same one.
 */
static char *
filter_form(Node *expression)
{
	Datum hash = DirectFunctionCall1(sha256_bytea,
									 PointerGetDatum(cstring_to_text(nodeToString(expression))));

	return TextDatumGetCString(
		DirectFunctionCall2(binary_encode, hash, CStringGetTextDatum("hex")));
}

static void
filter_type(void *arg)
{
	FilterTyping *typing = arg;
	FilterExpression *result = typing->result;
	Node *condition;

	filter_find_columns(typing, typing->filter);
	condition = filter_type_node(typing, typing->filter);

	assign_expr_collations(typing->pstate, condition);
	result->expression = filter_replace_values(condition, result);
	result->form = filter_form(result->expression);
}

/* A message for the error that was caught; NULL: it took too long. */
static char *
filter_message(const FilterTyping *typing, const ErrorData *error)
{
	if (error == NULL)
		return psprintf("column \"%s\": the value takes too long",
						typing->column != NULL ? typing->column : "");
	/* Errors of the parser, and of this file, name what they are about. */
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION &&
		typing->column != NULL)
		return psprintf("column \"%s\": %s", typing->column, error->message);
	return pstrdup(error->message);
}

FilterResult
filter_expression(const FilterNode *filter, Oid relation, const Bitmapset *columns,
				  const GuardActor *actor, FilterExpression **result, char **error)
{
	FilterTyping typing = {.filter = filter, .relation = relation, .columns = columns};
	ErrorData *caught;

	typing.pstate = make_parsestate(NULL);
	typing.result = palloc0(sizeof(FilterExpression));
	if (guard_run(actor, filter_type, &typing, &caught))
	{
		*result = typing.result;
		return FILTER_TYPED;
	}
	*error = filter_message(&typing, caught);
	return typing.no_column ? FILTER_NO_COLUMN : FILTER_REFUSED;
}
