/*-------------------------------------------------------------------------
 *
 * range_tree.c
 *	  Ranges of values, and which of them contain a value.
 *
 * This is an interval tree: a binary search tree by lower bound, in which each node knows the greatest
 * upper bound below it. A search leaves out subtrees that end before the value or begin after it.
 * Random priorities, of which each node's is greater than those below it, keep the tree flat (a
 * treap). Clients choose the bounds, so the priorities must not be predictable.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/sets/range_tree.h"

void
range_tree_init(RangeTree *tree, Oid bounds, Oid value, Oid collation)
{
	fmgr_info_cxt(bounds, &tree->bounds, CurrentMemoryContext);
	fmgr_info_cxt(value, &tree->value, CurrentMemoryContext);
	tree->collation = collation;
	tree->root = NULL;
}

/* ---------------- comparing ---------------- */

/* Compare bounds, of which absent ones are less than all others if sign is -1, greater if it is 1. */
static int
range_compare(RangeTree *tree, const RangeBound *a, const RangeBound *b, int sign)
{
	if (!a->finite || !b->finite)
		return sign * (b->finite - a->finite);
	return DatumGetInt32(FunctionCall2Coll(&tree->bounds, tree->collation, a->value, b->value));
}

/* Return true if a is before b in the tree. No two nodes are equal. */
static bool
range_before(RangeTree *tree, const RangeNode *a, const RangeNode *b)
{
	int order = range_compare(tree, &a->lower, &b->lower, -1);

	return order != 0 ? order < 0 : (uintptr_t) a < (uintptr_t) b;
}

static int
range_compare_value(RangeTree *tree, Datum value, const RangeBound *bound)
{
	return DatumGetInt32(FunctionCall2Coll(&tree->value, tree->collation, value, bound->value));
}

/* ---------------- changing ---------------- */

static void
range_set_most(RangeTree *tree, RangeNode *node)
{
	node->most = &node->upper;
	if (node->left != NULL && range_compare(tree, node->left->most, node->most, 1) > 0)
		node->most = node->left->most;
	if (node->right != NULL && range_compare(tree, node->right->most, node->most, 1) > 0)
		node->most = node->right->most;
}

/* Split a subtree into the nodes before a node and those after it. */
static void
range_split(RangeTree *tree, RangeNode *root, const RangeNode *at, RangeNode **before,
			RangeNode **after)
{
	if (root == NULL)
	{
		*before = *after = NULL;
		return;
	}
	if (range_before(tree, root, at))
	{
		range_split(tree, root->right, at, &root->right, after);
		*before = root;
	}
	else
	{
		range_split(tree, root->left, at, before, &root->left);
		*after = root;
	}
	range_set_most(tree, root);
}

/* Join two subtrees, all nodes of the first one before those of the second one. */
static RangeNode *
range_join(RangeTree *tree, RangeNode *before, RangeNode *after)
{
	RangeNode *root;

	if (before == NULL || after == NULL)
		return before != NULL ? before : after;
	if (before->priority > after->priority)
	{
		root = before;
		root->right = range_join(tree, root->right, after);
	}
	else
	{
		root = after;
		root->left = range_join(tree, before, root->left);
	}
	range_set_most(tree, root);
	return root;
}

static RangeNode *
range_insert(RangeTree *tree, RangeNode *root, RangeNode *node)
{
	if (root == NULL || node->priority > root->priority)
	{
		range_split(tree, root, node, &node->left, &node->right);
		root = node;
	}
	else if (range_before(tree, node, root))
		root->left = range_insert(tree, root->left, node);
	else
		root->right = range_insert(tree, root->right, node);
	range_set_most(tree, root);
	return root;
}

void
range_tree_insert(RangeTree *tree, RangeNode *node)
{
	/* A failure leaves the priority as it is, which costs balance and nothing else. */
	(void) pg_strong_random(&node->priority, sizeof(node->priority));
	tree->root = range_insert(tree, tree->root, node);
}

static RangeNode *
range_remove(RangeTree *tree, RangeNode *root, RangeNode *node)
{
	if (root == node)
		return range_join(tree, node->left, node->right);
	if (range_before(tree, node, root))
		root->left = range_remove(tree, root->left, node);
	else
		root->right = range_remove(tree, root->right, node);
	range_set_most(tree, root);
	return root;
}

void
range_tree_remove(RangeTree *tree, RangeNode *node)
{
	tree->root = range_remove(tree, tree->root, node);
}

void
range_tree_intersect(RangeTree *tree, RangeNode *node, const RangeNode *other)
{
	if (range_compare(tree, &other->lower, &node->lower, -1) > 0)
		node->lower = other->lower;
	if (range_compare(tree, &other->upper, &node->upper, 1) < 0)
		node->upper = other->upper;
}

/* ---------------- searching ---------------- */

static void
range_search(RangeTree *tree, RangeNode *node, const Datum *value, RangeCallback callback,
			 void *arg)
{
	while (node != NULL)
	{
		if (value != NULL && node->most->finite &&
			range_compare_value(tree, *value, node->most) > 0)
			return;
		range_search(tree, node->left, value, callback, arg);
		if (value != NULL && node->lower.finite &&
			range_compare_value(tree, *value, &node->lower) < 0)
			return;
		if (value == NULL || !node->upper.finite ||
			range_compare_value(tree, *value, &node->upper) <= 0)
			callback(node, arg);
		node = node->right;
	}
}

void
range_tree_search(RangeTree *tree, const Datum *value, RangeCallback callback, void *arg)
{
	range_search(tree, tree->root, value, callback, arg);
}
