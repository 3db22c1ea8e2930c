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
	bool uses_context;
} FilterExpression;

#endif /* PG_NOTIFYD_FILTER_H */
