/*-------------------------------------------------------------------------
 *
 * filter.h
 *	  Filters of subscriptions as conditions on a row.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FILTER_H
#define PG_NOTIFYD_FILTER_H

#include "postgres.h"

#include "nodes/bitmapset.h"
#include "nodes/nodes.h"

#include "ext/filter/filter_parse.h"
#include "ext/guard/guard.h"

/*
 * The event's context and a message's payload, as attribute numbers of Vars of type jsonb that are
 * no columns. They are below those of PostgreSQL's system columns.
 */
#define FILTER_CONTEXT_ATTNUM (-101)
#define FILTER_PAYLOAD_ATTNUM (-102)

typedef struct FilterValue
{
	Oid type;
	int32 typmod;
	Oid collation;
	Datum value;
	bool isnull;
} FilterValue;

/* A filter for a relation, or for messages. */
typedef struct FilterExpression
{
	char *form;       /* equal for filters of the same relation that differ only in values */
	Node *expression; /* boolean; Vars have varno 1, values are PARAM_EXTERN 1 ... nvalues */
	int nvalues;
	FilterValue *values;
	Bitmapset *columns; /* attribute numbers minus FirstLowInvalidHeapAttributeNumber */
	Bitmapset *matched; /* those of them that are compared with patterns */
	bool uses_context;
} FilterExpression;

typedef enum FilterResult
{
	FILTER_TYPED,
	FILTER_NO_COLUMN, /* the relation, or the event, does not have a column of the filter */
	FILTER_REFUSED,   /* a value or operator does not fit its column */
} FilterResult;

/*
 * Resolve a filter's columns, operators and values for a relation; for InvalidOid, for messages,
 * whose only column is "payload". "context" is the context of the event, unless the relation has a
 * column of that name. Columns outside of this set (NULL: all), numbered as in
 * FilterExpression.columns, count as absent.
 *
 * The input of a value may run code of users, so this is done in the guard as the actor, who should be
 * the client. Operators are those that a superuser has created in the schema of the column's type, as
 * extensions do, or else those of pg_catalog, whatever the search_path. If the actor may execute
 * programs of the server, types of other owners than superusers are refused, too.
 *
 * The result is in the current memory context. Without one, sets *error to a message that names the
 * column, in the server's encoding. Needs a transaction. Keeps no lock.
 */
extern FilterResult
filter_expression(const FilterNode *filter, Oid relation, const Bitmapset *columns,
				  const GuardActor *actor, FilterExpression **result, char **error);

#endif /* PG_NOTIFYD_FILTER_H */
