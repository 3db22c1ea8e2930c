/*-------------------------------------------------------------------------
 *
 * range_tree.h
 *	  Ranges of values, and which of them contain a value.
 *
 * PostgreSQL's comparison functions order the values. Both bounds of a range belong to it. Whoever
 * looks for ranges that exclude a bound has to test what is found.
 *
 * Inserting and removing a range takes a logarithmic number of comparisons, and a search as many for
 * each range that it finds.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_RANGE_TREE_H
#define PG_NOTIFYD_RANGE_TREE_H

#include "postgres.h"

#include "fmgr.h"

typedef struct RangeBound
{
	Datum value;
	bool finite; /* false: the range has no bound on this side */
} RangeBound;

typedef struct RangeNode
{
	RangeBound lower;
	RangeBound upper;
	/* The rest belongs to range_tree.c. */
	const RangeBound *most; /* the greatest upper bound here and below */
	struct RangeNode *left;
	struct RangeNode *right;
	uint32 priority;
} RangeNode;

typedef struct RangeTree
{
	FmgrInfo bounds; /* compares two bounds */
	FmgrInfo value;  /* compares a value that is looked up with a bound */
	Oid collation;
	RangeNode *root;
} RangeTree;

/* The functions are support functions of an operator family for B-tree. They must not fail. */
extern void range_tree_init(RangeTree *tree, Oid bounds, Oid value, Oid collation);

/* Insert a range. The node and its values must live until they are removed. */
extern void range_tree_insert(RangeTree *tree, RangeNode *node);
extern void range_tree_remove(RangeTree *tree, RangeNode *node);

/* Limit a range that is not in the tree to what it has in common with another one. */
extern void range_tree_intersect(RangeTree *tree, RangeNode *node, const RangeNode *other);

typedef void (*RangeCallback)(RangeNode *node, void *arg);

/* Call back for each range that contains the value; with a NULL value for all ranges. */
extern void
range_tree_search(RangeTree *tree, const Datum *value, RangeCallback callback, void *arg);

#endif /* PG_NOTIFYD_RANGE_TREE_H */
