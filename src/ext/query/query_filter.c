/*-------------------------------------------------------------------------
 *
 * query_filter.c
 *	  Filters as SQL: the expression that the feed uses for events, as text.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_operator.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "ext/filter/filter.h"
#include "ext/json/json.h"
#include "ext/query/query.h"

/* What is being written. */
typedef struct FilterSql
{
	StringInfoData text;
	Oid relation;
	const FilterValue *values; /* of the parameters */
} FilterSql;

static void filter_write(FilterSql *sql, const Node *node);

/* ---------------- names: qualified, so that search_path has no influence ---------------- */

static void
filter_write_type(FilterSql *sql, Oid type, int32 typmod)
{
	appendStringInfo(
		&sql->text, "::%s",
		format_type_extended(type, typmod, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
}

void
query_append_operator(StringInfo sql, Oid operator)
{
	HeapTuple tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	appendStringInfo(sql, " OPERATOR(%s.%s) ",
					 quote_identifier(get_namespace_name(form->oprnamespace)),
					 NameStr(form->oprname));
	ReleaseSysCache(tuple);
}

/* ---------------- expressions ---------------- */

static void
filter_write_value(FilterSql *sql, const FilterValue *value)
{
	bool varlena;
	Oid output;

	getTypeOutputInfo(value->type, &output, &varlena);
	appendStringInfoString(
		&sql->text,
		value->isnull ? "NULL" : quote_literal_cstr(OidOutputFunctionCall(output, value->value)));
	filter_write_type(sql, value->type, value->typmod);
}

static void
filter_write_operation(FilterSql *sql, Oid operator, const List * operands, const char *quantifier)
{
	filter_write(sql, linitial(operands));
	query_append_operator(&sql->text, operator);
	appendStringInfo(&sql->text, "%s(", quantifier);
	filter_write(sql, lsecond(operands));
	appendStringInfoChar(&sql->text, ')');
}

static void
filter_write_cast(FilterSql *sql, const void *argument, const Node *result)
{
	filter_write(sql, argument);
	filter_write_type(sql, exprType(result), exprTypmod(result));
}

static void
filter_write_function(FilterSql *sql, const FuncExpr *call)
{
	if (call->funcformat != COERCE_EXPLICIT_CALL)
	{
		filter_write_cast(sql, linitial(call->args), (const Node *) call);
		return;
	}
	appendStringInfo(&sql->text, "%s.%s(",
					 quote_identifier(get_namespace_name(get_func_namespace(call->funcid))),
					 quote_identifier(get_func_name(call->funcid)));
	filter_write(sql, linitial(call->args));
	appendStringInfoChar(&sql->text, ')');
}

static void
filter_write_bool(FilterSql *sql, const BoolExpr *expression)
{
	ListCell *cell;

	if (expression->boolop == NOT_EXPR)
		appendStringInfoString(&sql->text, "NOT ");
	foreach (cell, expression->args)
	{
		if (foreach_current_index(cell) > 0)
			appendStringInfoString(&sql->text, expression->boolop == AND_EXPR ? " AND " : " OR ");
		filter_write(sql, lfirst(cell));
	}
}

static const char *
filter_test(const BooleanTest *test)
{
	switch (test->booltesttype)
	{
		case IS_TRUE:
			return " IS TRUE";
		case IS_FALSE:
			return " IS FALSE";
		default:
			return " IS UNKNOWN";
	}
}

/* Append an expression, of what filter_expression() makes, in parentheses. */
static void
filter_write(FilterSql *sql, const Node *node)
{
	const ScalarArrayOpExpr *array = (const ScalarArrayOpExpr *) node;
	const OpExpr *operation = (const OpExpr *) node;

	check_stack_depth();
	appendStringInfoChar(&sql->text, '(');
	switch (nodeTag(node))
	{
		case T_Var:
			appendStringInfo(&sql->text, "t.%s",
							 quote_identifier(get_attname(sql->relation,
														  ((const Var *) node)->varattno, false)));
			break;
		case T_Param:
			filter_write_value(sql, &sql->values[((const Param *) node)->paramid - 1]);
			break;
		case T_Const:
			filter_write_value(sql, &(FilterValue){.type = ((const Const *) node)->consttype,
												   .typmod = ((const Const *) node)->consttypmod,
												   .isnull = ((const Const *) node)->constisnull,
												   .value = ((const Const *) node)->constvalue});
			break;
		case T_OpExpr:
		case T_DistinctExpr:
			filter_write_operation(sql, operation->opno, operation->args, "");
			/* IS DISTINCT FROM would find its operator by search_path. A filter's value is not NULL. */
			if (IsA(node, DistinctExpr))
				appendStringInfoString(&sql->text, " IS NOT TRUE");
			break;
		case T_ScalarArrayOpExpr:
			filter_write_operation(sql, array->opno, array->args, array->useOr ? "ANY" : "ALL");
			break;
		case T_FuncExpr:
			filter_write_function(sql, (const FuncExpr *) node);
			break;
		case T_RelabelType:
			filter_write_cast(sql, ((const RelabelType *) node)->arg, node);
			break;
		case T_CoerceViaIO:
			filter_write_cast(sql, ((const CoerceViaIO *) node)->arg, node);
			break;
		case T_ArrayCoerceExpr:
			filter_write_cast(sql, ((const ArrayCoerceExpr *) node)->arg, node);
			break;
		case T_BoolExpr:
			filter_write_bool(sql, (const BoolExpr *) node);
			break;
		case T_NullTest:
			filter_write(sql, (const Node *) ((const NullTest *) node)->arg);
			appendStringInfoString(&sql->text, ((const NullTest *) node)->nulltesttype == IS_NULL
												   ? " IS NULL"
												   : " IS NOT NULL");
			break;
		case T_BooleanTest:
			filter_write(sql, (const Node *) ((const BooleanTest *) node)->arg);
			appendStringInfoString(&sql->text, filter_test((const BooleanTest *) node));
			break;
		default:
			elog(ERROR, "a filter has a node of type %d", (int) nodeTag(node));
	}
	appendStringInfoChar(&sql->text, ')');
}

/*
 * An expression of the table's columns as SQL. deparse_expression() is of no use: it leaves the schemas of types and
 * operators out, or those of what is in pg_catalog, and a session's search_path may then find others, which belong to
 * anybody and would run as the client.
 */
static char *
filter_sql(const FilterExpression *filter, Oid relation)
{
	FilterSql sql = {.relation = relation, .values = filter->values};
	int pinned = json_pin(JSON_PIN_UNKNOWN | JSON_PIN_SEARCH_PATH);

	initStringInfo(&sql.text);
	filter_write(&sql, filter->expression);
	json_unpin(pinned);
	return sql.text.data;
}

static void *
filter_palloc(size_t size)
{
	return palloc(size);
}

char *
query_filter(WireBytes text, Oid relation, const Bitmapset *columns, bool all)
{
	GuardActor actor = {.role = GetUserId(),
						.claims = GetConfigOption("request.jwt.claims", true, false),
						.opaque = true};
	FilterExpression *expression;
	FilterNode *filter;
	FilterResult result;
	const char *problem;
	char *error;

	if (text.len == 0)
		return NULL;
	filter = filter_parse(text.data, text.len, filter_palloc, &problem);
	if (filter == NULL)
		query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_INVALID_PARAMETER_VALUE, "filter", "%s",
					 problem);
	result = filter_expression(filter, relation, columns, &actor, &expression, &error);
	if (result == FILTER_NO_COLUMN && !all)
		return NULL;
	if (result != FILTER_TYPED)
		query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_INVALID_PARAMETER_VALUE, "filter", "%s",
					 error);
	if (expression->uses_context)
		query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_FEATURE_NOT_SUPPORTED, "filter",
					 "a filter on the context selects events, and cannot select rows");
	return filter_sql(expression, relation);
}
