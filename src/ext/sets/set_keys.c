/*-------------------------------------------------------------------------
 *
 * set_keys.c
 *	  The keys that a binding has in the index.
 *
 * A key is a path, an expression of the row such as a column, and the hash of a value, or a range of
 * values: only rows whose path has that value, or one in the range, can be in the set. A binding whose
 * rule is
 *
 *	  path = value			has one key,
 *	  path = ANY (array)	a key for each element,
 *	  path < value			a range; the same for <=, >=, >, and = if the type has no hash function,
 *	  a OR b				the keys of both,
 *	  a AND b				the keys of one of them: of the one that fewer events are likely to find.
 *							Ranges of one path become one.
 *
 * A path is evaluated for rows that a policy may hide, and without a guard. So it consists of columns,
 * and of functions of PostgreSQL's own that cannot fail; and so do the functions that hash and compare.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/stratnum.h"
#include "access/transam.h"
#include "catalog/pg_proc.h"
#include "nodes/nodeFuncs.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "ext/sets/set_keys.h"

/* A binding with more keys goes into the list. */
#define INDEX_MOST_KEYS 4096

/* Other bindings will have a constant of the rule, too. */
#define INDEX_CONSTANT_COST 1000000

/* ---------------- expressions ---------------- */

typedef struct IndexWalk
{
	SetIndex *index;
	const SetBinding *binding;
} IndexWalk;

static const IndexKeys index_unlimited = {.limited = false};
static const IndexKeys index_nothing = {.limited = true};

static Node *
index_strip(Node *node)
{
	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* Whether an expression can be a path: columns, and members of JSON values. */
static bool
index_is_path(Node *node)
{
	Oid function;
	List *args;

	node = index_strip(node);
	if (IsA(node, Var))
		return ((Var *) node)->varattno != 0;
	if (IsA(node, OpExpr))
	{
		function = ((OpExpr *) node)->opfuncid;
		args = ((OpExpr *) node)->args;
	}
	else if (IsA(node, FuncExpr))
	{
		function = ((FuncExpr *) node)->funcid;
		args = ((FuncExpr *) node)->args;
	}
	else
		return false;
	if (function != F_JSONB_OBJECT_FIELD && function != F_JSONB_OBJECT_FIELD_TEXT &&
		function != F_JSONB_ARRAY_ELEMENT && function != F_JSONB_ARRAY_ELEMENT_TEXT)
		return false;
	return index_is_path(linitial(args)) && IsA(lsecond(args), Const);
}

/* A constant, or a parameter with the binding's value. */
static bool
index_value(const SetBinding *binding, Node *node, Datum *value, bool *isnull)
{
	node = index_strip(node);
	if (IsA(node, Const))
	{
		*value = ((Const *) node)->constvalue;
		*isnull = ((Const *) node)->constisnull;
		return true;
	}
	if (IsA(node, Param) && ((Param *) node)->paramid <= binding->rule->nparams)
	{
		*value = binding->values[((Param *) node)->paramid - 1];
		*isnull = BINDING_NULLS(binding)[((Param *) node)->paramid - 1];
		return true;
	}
	return false;
}

/* ---------------- equality ---------------- */

static IndexKeys
index_one_key(const IndexWalk *walk, int path, FmgrInfo *function, Datum value, bool constant)
{
	IndexKeys keys = {.limited = true, .n = 1, .keys = palloc0(sizeof(SetKey))};

	keys.keys->path = path;
	keys.keys->hash =
		index_hash(path, function, index_path_at(walk->index, path)->collation, value);
	keys.cost =
		1 + index_count(walk->index, keys.keys->hash) + (constant ? INDEX_CONSTANT_COST : 0);
	return keys;
}

/*
 * Whether values of a type can be hashed, by functions of PostgreSQL's own alone. Arrays, ranges and
 * composites are hashed by the functions of what they consist of.
 */
static bool
index_can_hash(Oid type)
{
	Oid element = get_base_element_type(type);

	if (OidIsValid(element) && !index_can_hash(element))
		return false;
	type = getBaseType(type);
	return OidIsValid(lookup_type_cache(type, TYPECACHE_HASH_PROC)->hash_proc) &&
		   (type < FirstNormalObjectId || OidIsValid(element) || type_is_enum(type));
}

/* Without a collation, comparing and hashing texts is an error. */
static bool
index_has_collation(Node *path, Oid collation)
{
	return OidIsValid(collation) || !type_is_collatable(exprType(path));
}

/* What hashes a path and the other side of an equality operator, if that cannot fail. */
static bool
index_hash_functions(Oid opno, Oid collation, Node *path, Oid *left, Oid *right)
{
	return get_op_hash_functions(opno, left, right) && *left < FirstNormalObjectId &&
		   *right < FirstNormalObjectId && op_strict(opno) && index_can_hash(exprType(path)) &&
		   index_has_collation(path, collation);
}

/*
 * Split a comparison into a path and a value. Returns the operator that has the path on its left side,
 * or InvalidOid if there is none.
 */
static Oid
index_split(const IndexWalk *walk, OpExpr *test, Node **path, Datum *value, bool *isnull)
{
	Node *left = linitial(test->args);
	Node *right = lsecond(test->args);

	if (index_is_path(left) && index_value(walk->binding, right, value, isnull))
	{
		*path = left;
		return test->opno;
	}
	if (index_is_path(right) && index_value(walk->binding, left, value, isnull))
	{
		*path = right;
		return get_commutator(test->opno);
	}
	return InvalidOid;
}

/* Whether a comparison compares with a constant, and not with a parameter. */
static bool
index_is_constant(OpExpr *test)
{
	return IsA(index_strip(linitial(test->args)), Const) ||
		   IsA(index_strip(lsecond(test->args)), Const);
}

static IndexKeys
index_equality(const IndexWalk *walk, OpExpr *test)
{
	Oid left_hash;
	Oid right_hash;
	FmgrInfo function;
	Node *expression;
	Datum value;
	bool isnull;
	int path;
	Oid opno = index_split(walk, test, &expression, &value, &isnull);

	if (!OidIsValid(opno) ||
		!index_hash_functions(opno, test->inputcollid, expression, &left_hash, &right_hash))
		return index_unlimited;
	if (isnull)
		return index_nothing;
	path = index_path(walk->index, (Expr *) expression, left_hash, InvalidOid, test->inputcollid);
	fmgr_info(right_hash, &function);
	return index_one_key(walk, path, &function, value, index_is_constant(test));
}

static IndexKeys
index_any(const IndexWalk *walk, ScalarArrayOpExpr *any)
{
	Node *left = linitial(any->args);
	Oid left_hash;
	Oid right_hash;
	FmgrInfo function;
	IndexKeys keys = index_nothing;
	ArrayType *array;
	Datum *elements;
	bool *nulls;
	int16 typlen;
	bool typbyval;
	char typalign;
	Datum value;
	bool isnull;
	int path;
	int n;

	if (!any->useOr || !index_is_path(left) ||
		!index_hash_functions(any->opno, any->inputcollid, left, &left_hash, &right_hash) ||
		!index_value(walk->binding, lsecond(any->args), &value, &isnull))
		return index_unlimited;
	if (isnull)
		return index_nothing;
	array = DatumGetArrayTypeP(value);
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &typlen, &typbyval, &typalign);
	deconstruct_array(array, ARR_ELEMTYPE(array), typlen, typbyval, typalign, &elements, &nulls,
					  &n);
	if (n > INDEX_MOST_KEYS)
		return index_unlimited;
	path = index_path(walk->index, (Expr *) left, left_hash, InvalidOid, any->inputcollid);
	fmgr_info(right_hash, &function);
	keys.keys = palloc0(Max(n, 1) * sizeof(SetKey));
	for (int i = 0; i < n; i++)
	{
		IndexKeys one;

		if (nulls[i])
			continue;
		one = index_one_key(walk, path, &function, elements[i], IsA(lsecond(any->args), Const));
		keys.keys[keys.n++] = *one.keys;
		keys.cost += one.cost;
	}
	return keys;
}

static IndexKeys
index_boolean(const IndexWalk *walk, Node *column, bool value)
{
	int path = index_path(walk->index, (Expr *) column, F_HASHCHAR, InvalidOid, InvalidOid);

	return index_one_key(walk, path, &index_path_at(walk->index, path)->hash, BoolGetDatum(value),
						 true);
}

/* ---------------- ranges ---------------- */

/* What one operator of an order means, and what compares its right side with both. */
typedef struct IndexOrder
{
	int strategy;
	Oid value;
	Oid bounds;
} IndexOrder;

/*
 * Whether a function compares values without errors, and always in the same way. numeric_cmp() raises
 * no error either (utils/adt/numeric.c, 14 to 18), but is not marked as leakproof before 18.
 */
static bool
index_can_compare(Oid function)
{
	return OidIsValid(function) && function < FirstNormalObjectId &&
		   (get_func_leakproof(function) || function == F_NUMERIC_CMP) &&
		   func_volatile(function) == PROVOLATILE_IMMUTABLE;
}

static bool
index_order(Oid opno, IndexOrder *order)
{
	Oid left;
	Oid right;
	Oid family;

	op_input_types(opno, &left, &right);
	family = lookup_type_cache(left, TYPECACHE_BTREE_OPFAMILY)->btree_opf;
	if (!OidIsValid(family))
		return false;
	order->strategy = get_op_opfamily_strategy(opno, family);
	if (order->strategy == InvalidStrategy)
		return false;
	order->value = get_opfamily_proc(family, left, right, BTORDER_PROC);
	order->bounds = get_opfamily_proc(family, right, right, BTORDER_PROC);
	return index_can_compare(order->value) && index_can_compare(order->bounds);
}

/* Nothing tells how many values are in a range, so this guesses. */
static double
index_range_cost(const IndexPath *path, const RangeNode *range, bool constant)
{
	bool both = range->lower.finite && range->upper.finite;

	return (both ? 1.25 + path->nkeys / 16.0 : 1.5 + path->nkeys / 2.0) +
		   (constant ? INDEX_CONSTANT_COST : 0);
}

static IndexKeys
index_comparison(const IndexWalk *walk, OpExpr *test)
{
	IndexKeys keys = {.limited = true, .n = 1};
	RangeBound bound = {.finite = true};
	IndexRange *range;
	IndexOrder order;
	Node *expression;
	bool isnull;
	int path;
	Oid opno = index_split(walk, test, &expression, &bound.value, &isnull);

	if (!OidIsValid(opno) || !index_order(opno, &order) ||
		!index_has_collation(expression, test->inputcollid))
		return index_unlimited;
	if (isnull)
		return index_nothing;
	range = palloc0(sizeof(IndexRange));
	if (order.strategy >= BTEqualStrategyNumber)
		range->node.lower = bound;
	if (order.strategy <= BTEqualStrategyNumber)
		range->node.upper = bound;
	path =
		index_path(walk->index, (Expr *) expression, order.value, order.bounds, test->inputcollid);
	keys.keys = palloc0(sizeof(SetKey));
	keys.keys->path = path;
	keys.keys->range = range;
	keys.cost =
		index_range_cost(index_path_at(walk->index, path), &range->node, index_is_constant(test));
	return keys;
}

/* Limit a range to what it has in common with others of its path, and add it to them. */
static List *
index_intersect(const IndexWalk *walk, List *ranges, IndexKeys *keys)
{
	IndexPath *path = index_path_at(walk->index, keys->keys->path);
	RangeNode *range = &keys->keys->range->node;
	bool constant = keys->cost >= INDEX_CONSTANT_COST;
	ListCell *cell;

	foreach (cell, ranges)
	{
		const IndexKeys *other = lfirst(cell);

		if (other->keys->path != keys->keys->path)
			continue;
		range_tree_intersect(&path->ranges, range, &other->keys->range->node);
		constant &= other->cost >= INDEX_CONSTANT_COST;
	}
	keys->cost = index_range_cost(path, range, constant);
	return lappend(ranges, memcpy(palloc(sizeof(IndexKeys)), keys, sizeof(IndexKeys)));
}

/* ---------------- conditions ---------------- */

static IndexKeys index_walk(const IndexWalk *walk, Node *node);

static IndexKeys
index_and(const IndexWalk *walk, List *args)
{
	IndexKeys best = index_unlimited;
	List *ranges = NIL;
	ListCell *cell;

	foreach (cell, args)
	{
		IndexKeys keys = index_walk(walk, lfirst(cell));

		if (keys.n == 1 && keys.keys->range != NULL)
			ranges = index_intersect(walk, ranges, &keys);
		if (keys.limited && (!best.limited || keys.cost < best.cost))
			best = keys;
	}
	return best;
}

static IndexKeys
index_or(const IndexWalk *walk, List *args)
{
	IndexKeys all = index_nothing;
	ListCell *cell;

	foreach (cell, args)
	{
		IndexKeys keys = index_walk(walk, lfirst(cell));
		SetKey *both;

		if (!keys.limited || all.n + keys.n > INDEX_MOST_KEYS)
			return index_unlimited;
		both = palloc0((all.n + keys.n + 1) * sizeof(SetKey));
		if (all.n > 0)
			memcpy(both, all.keys, all.n * sizeof(SetKey));
		if (keys.n > 0)
			memcpy(both + all.n, keys.keys, keys.n * sizeof(SetKey));
		all.keys = both;
		all.n += keys.n;
		all.cost += keys.cost;
	}
	return all;
}

static IndexKeys
index_walk(const IndexWalk *walk, Node *node)
{
	Datum value;
	bool isnull;

	if (index_value(walk->binding, node, &value, &isnull))
		return isnull || !DatumGetBool(value) ? index_nothing : index_unlimited;
	if (IsA(node, BoolExpr))
	{
		BoolExpr *expression = (BoolExpr *) node;

		if (expression->boolop == AND_EXPR)
			return index_and(walk, expression->args);
		if (expression->boolop == OR_EXPR)
			return index_or(walk, expression->args);
		if (IsA(linitial(expression->args), Var))
			return index_boolean(walk, linitial(expression->args), false);
	}
	if (IsA(node, Var))
		return index_boolean(walk, node, true);
	if (IsA(node, OpExpr) && list_length(((OpExpr *) node)->args) == 2)
	{
		IndexKeys keys = index_equality(walk, (OpExpr *) node);

		return keys.limited ? keys : index_comparison(walk, (OpExpr *) node);
	}
	if (IsA(node, ScalarArrayOpExpr))
		return index_any(walk, (ScalarArrayOpExpr *) node);
	return index_unlimited;
}

IndexKeys
index_keys(SetIndex *index, const SetBinding *binding)
{
	IndexWalk walk = {.index = index, .binding = binding};

	return index_and(&walk, binding->rule->quals);
}
