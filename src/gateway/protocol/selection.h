/*-------------------------------------------------------------------------
 *
 * selection.h
 *	  What a client wants of a channel: rows, columns, and its own name for the subscription.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_SELECTION_H
#define GATEWAY_SELECTION_H

#include <stdbool.h>

#include "wire/wire.h"

#define SELECTION_MAX_TAG  63 /* bytes, of a client's own name */
#define SELECTION_MAX_NAME 72 /* and of a name for a pattern, "wildcard:" and the pattern */

/* One block of memory with its texts. */
typedef struct Selection
{
	WireBytes filter;  /* empty: all rows */
	bool has_columns;  /* false: all columns */
	WireBytes columns; /* a list of names, see wire_list_next() */
	WireBytes tag;     /* the client's name for the subscription; empty: none */
} Selection;

/* Return a copy, which the caller frees; NULL if it selects everything and has no tag. */
extern Selection *selection_copy(const Selection *selection);

/*
 * Return true if a subscription's selection is the same as another one. NULL is one that selects
 * everything and has no tag.
 */
extern bool selection_same(const Selection *a, const Selection *b);

/*
 * Return true if a subscription's selection has everything that is wanted: what wanted (NULL:
 * nothing) does not have may be anything.
 */
extern bool selection_matches(const Selection *selection, const Selection *wanted);

#endif /* GATEWAY_SELECTION_H */
