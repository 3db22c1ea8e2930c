/*-------------------------------------------------------------------------
 *
 * selection.c
 *	  What a client wants of a channel: rows, columns, and its own name for the subscription.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/protocol/selection.h"

#include <string.h>

#include "gateway/base/memory.h"

static const Selection selection_everything;

static bool
selection_equal(WireBytes a, WireBytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Copy bytes to *at, and advance it. */
static WireBytes
selection_put(char **at, WireBytes bytes)
{
	WireBytes copy = {.data = *at, .len = bytes.len};

	if (bytes.len > 0)
		memcpy(*at, bytes.data, bytes.len);
	*at += bytes.len;
	return copy;
}

Selection *
selection_copy(const Selection *selection)
{
	Selection *copy;
	char *at;

	if (selection_same(selection, NULL))
		return NULL;
	copy = memory_zeroed(sizeof(Selection) + selection->filter.len + selection->columns.len +
						 selection->tag.len);
	at = (char *) (copy + 1);
	copy->filter = selection_put(&at, selection->filter);
	copy->has_columns = selection->has_columns;
	copy->columns = selection_put(&at, selection->columns);
	copy->tag = selection_put(&at, selection->tag);
	return copy;
}

bool
selection_same(const Selection *a, const Selection *b)
{
	if (a == NULL)
		a = &selection_everything;
	if (b == NULL)
		b = &selection_everything;
	return a->has_columns == b->has_columns && selection_equal(a->filter, b->filter) &&
		   selection_equal(a->columns, b->columns) && selection_equal(a->tag, b->tag);
}

bool
selection_matches(const Selection *selection, const Selection *wanted)
{
	if (wanted == NULL)
		return true;
	if (selection == NULL)
		return false;
	return (wanted->filter.len == 0 || selection_equal(selection->filter, wanted->filter)) &&
		   (!wanted->has_columns ||
			(selection->has_columns && selection_equal(selection->columns, wanted->columns))) &&
		   (wanted->tag.len == 0 || selection_equal(selection->tag, wanted->tag));
}
