/*-------------------------------------------------------------------------
 *
 * query_filter.c
 *	  Filters as SQL: the expression that the feed uses for events, as text.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

#include "ext/filter/filter.h"
#include "ext/query/query.h"

/* The filter has its values as parameters: put them in. */
static Node *
filter_put_values(Node *node, void *arg)
{
	const FilterExpression *filter = arg;

	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN)
	{
		const FilterValue *value = &filter->values[((Param *) node)->paramid - 1];
		int16 typlen;
		bool typbyval;

		get_typlenbyval(value->type, &typlen, &typbyval);
		return (Node *) makeConst(value->type, value->typmod, value->collation, typlen,
								  value->isnull ? (Datum) 0 : value->value, value->isnull,
								  typbyval);
	}
	return expression_tree_mutator(node, filter_put_values, arg);
}

/* An expression of the table's columns as SQL, with all names qualified. */
static char *
filter_deparse(Node *expression, Oid relation)
{
	int level = NewGUCNestLevel();
	char *text;

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	text = deparse_expression(expression, deparse_context_for("t", relation), true, false);
	AtEOXact_GUC(true, level);
	return text;
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
	return filter_deparse(filter_put_values(expression->expression, expression), relation);
}
