/*-------------------------------------------------------------------------
 *
 * feed_filter.c
 *	  Privileges on the columns that filters of subscriptions name.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"

#include "ext/feed/feed.h"

/* Columns that filters of a view's subscriptions name, and that its role may read. */
typedef struct ViewFilter
{
	dlist_node node;
	Oid relation;
	int n;
	int16 columns[FLEXIBLE_ARRAY_MEMBER];
} ViewFilter;

static bool
set_columns_allowed(const View *view, const ViewFilter *filter, AccessReason *reason)
{
	return access_named_allowed(view->role, filter->relation, filter->n, filter->columns, reason);
}

bool
set_filter_allowed(View *view, Oid relation, const Bitmapset *columns, AccessReason *reason)
{
	ViewFilter *filter = palloc(offsetof(ViewFilter, columns) +
								bms_num_members(columns) * sizeof(int16) + sizeof(int16));
	Size size;
	dlist_iter iter;
	int column = -1;

	filter->relation = relation;
	filter->n = 0;
	while ((column = bms_next_member(columns, column)) >= 0)
	{
		int attnum = column + FirstLowInvalidHeapAttributeNumber;

		if (attnum > 0)
			filter->columns[filter->n++] = (int16) attnum;
	}
	if (filter->n == 0)
		return true;
	size = offsetof(ViewFilter, columns) + filter->n * sizeof(int16);
	dlist_foreach (iter, &view->filters)
	{
		const ViewFilter *known = dlist_container(ViewFilter, node, iter.cur);

		if (known->relation == relation && known->n == filter->n &&
			memcmp(known->columns, filter->columns, filter->n * sizeof(int16)) == 0)
			return true;
	}
	if (!set_columns_allowed(view, filter, reason))
		return false;
	filter = memcpy(MemoryContextAlloc(view->channel->feed->context, size), filter, size);
	dlist_push_head(&view->filters, &filter->node);
	return true;
}

void
set_recheck_filters(View *view)
{
	dlist_mutable_iter iter;
	AccessReason reason;

	dlist_foreach_modify (iter, &view->filters)
	{
		ViewFilter *filter = dlist_container(ViewFilter, node, iter.cur);

		if (set_columns_allowed(view, filter, &reason))
			continue;
		view->channel->place = true;
		dlist_delete(&filter->node);
		pfree(filter);
	}
}

void
set_forget_filters(View *view)
{
	while (!dlist_is_empty(&view->filters))
		pfree(dlist_container(ViewFilter, node, dlist_pop_head_node(&view->filters)));
}
