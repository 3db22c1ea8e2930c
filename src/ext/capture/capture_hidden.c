/*-------------------------------------------------------------------------
 *
 * capture_hidden.c
 *	  Writes the hidden values of an event: see log_hidden.h.
 *
 * Hidden values are
 *
 *	  - values of columns that policies of the watched table read, and the watch does not capture. Only
 *		policies for SELECT count, and only while row security is enabled;
 *	  - old values that the text leaves out, because the watch has old_values => false;
 *	  - all values except those of the key, if the text has a payload instead of rows;
 *	  - values that cannot be read back from their JSON: nulls of json, arrays with unusual bounds,
 *		composites and the like.
 *
 * An old value that the text lacks and that an UPDATE does not change is left out: it is the new value.
 * A usual event has none of them, and has only the number of its table's shape.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_policy.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/rel.h"

#include "ext/base/buffer.h"
#include "ext/base/operation.h"
#include "ext/capture/capture.h"
#include "ext/log/log_hidden.h"

/* Hidden values are left out if they are larger than this in total, in bytes. */
#define CAPTURE_MAX_HIDDEN (256 * 1024 * 1024)

/* ---------------- which columns ---------------- */

typedef struct CapturePolicyWalk
{
	Bitmapset *columns; /* attribute numbers; 0: the whole row */
	Index depth;        /* how many queries deep the walk is in the policy's expression */
} CapturePolicyWalk;

static bool
capture_walk_policy(Node *node, CapturePolicyWalk *walk)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		const Var *var = (Var *) node;

		/* In a policy, the table is the only relation of the outermost level. */
		if (var->varlevelsup == walk->depth && var->varattno >= 0)
			walk->columns = bms_add_member(walk->columns, var->varattno);
		return false;
	}
	if (IsA(node, Query))
	{
		bool found;

		walk->depth++;
		found = query_tree_walker((Query *) node, capture_walk_policy, walk, 0);
		walk->depth--;
		return found;
	}
	return expression_tree_walker(node, capture_walk_policy, walk);
}

Bitmapset *
capture_policy_columns(Relation relation)
{
	CapturePolicyWalk walk = {0};
	ListCell *cell;

	if (relation->rd_rsdesc == NULL)
		return NULL;
	foreach (cell, relation->rd_rsdesc->policies)
	{
		const RowSecurityPolicy *policy = lfirst(cell);

		if (policy->polcmd == '*' || policy->polcmd == ACL_SELECT_CHR)
			(void) capture_walk_policy((Node *) policy->qual, &walk);
	}
	if (bms_is_member(InvalidAttrNumber, walk.columns))
	{
		walk.columns = bms_del_member(walk.columns, InvalidAttrNumber);
		walk.columns = bms_add_range(walk.columns, 1, RelationGetNumberOfAttributes(relation));
	}
	return walk.columns;
}

void
capture_add_hidden(CapturePlan *plan)
{
	plan->hidden = palloc(Max(plan->ncolumns, 1) * sizeof(int));
	for (int i = 0; i < plan->ncolumns; i++)
	{
		CaptureColumn *column = &plan->columns[i];

		column->new_missing = i >= plan->nvisible;
		column->old_missing =
			i >= plan->nkey && (column->new_missing || !column->in_cols || !plan->old_values);
		if (column->new_missing || column->old_missing || column->json.exact != JSON_EXACT)
			plan->hidden[plan->nhidden++] = i;
	}
}

/* ---------------- writing ---------------- */

/*
 * Append a row's value, if the text does not have it or not exactly. Returns false if the hidden
 * values become too large.
 */
static bool
capture_hide(StringInfo buf, char row, const CaptureColumn *column, const CaptureRow *values,
			 bool missing)
{
	LogHidden entry = {.row = row, .form = LOG_HIDDEN_NULL, .attnum = column->watched_attnum};
	Datum value = values->values[column->attnum - 1];
	bool isnull = values->isnull[column->attnum - 1];
	int at = buf->len;

	if (!missing && (isnull || json_is_exact(&column->json, value)))
		return true;
	buffer_put(buf, &entry, sizeof(entry));
	if (isnull)
		return true;
	if (buf->len + json_value_size(&column->json, value) > CAPTURE_MAX_HIDDEN)
		return false;
	if (column->json.exact != JSON_EXACT_UNLESS_NULL && !json_is_exact(&column->json, value))
	{
		entry.form = LOG_HIDDEN_TEXT;
		json_append_exact(buf, &column->json, value);
	}
	else
	{
		entry.form = LOG_HIDDEN_JSON;
		json_append(buf, &column->json, value, false);
	}
	entry.length = (uint32) (buf->len - at - sizeof(entry));
	memcpy(buf->data + at, &entry, sizeof(entry));
	return buf->len <= CAPTURE_MAX_HIDDEN;
}

void
capture_write_hidden(StringInfo buf, char op, const CaptureRow *old, const CaptureRow *new)
{
	const CapturePlan *plan = new ? new->plan : old->plan;

	if (plan->shape == 0)
		return;
	buffer_put(buf, &plan->shape, sizeof(plan->shape));
	for (int i = 0; i < plan->nhidden; i++)
	{
		int n = plan->hidden[i];
		bool kept = true;

		if (new != NULL)
			kept = capture_hide(buf, LOG_HIDDEN_NEW, &new->plan->columns[n], new,
								new->plan->columns[n].new_missing);
		if (kept && old != NULL)
		{
			const CaptureColumn *column = &old->plan->columns[n];
			bool missing =
				column->old_missing &&
				(op == OPERATION_DELETE || !capture_same(column, old, &new->plan->columns[n], new));

			kept = capture_hide(buf, LOG_HIDDEN_OLD, column, old, missing);
		}
		if (!kept)
		{
			buf->len = 0;
			return;
		}
	}
}
