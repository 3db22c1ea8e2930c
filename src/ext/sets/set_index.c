/*-------------------------------------------------------------------------
 *
 * set_index.c
 *	  Finds the bindings that an event may concern.
 *
 * Each relation has an index of its bindings. A key of a binding is a path, an expression of the row
 * such as a column, and the hash of a value: only rows whose path has that value can be in the set. A
 * binding whose rule is
 *
 *	  path = value			has one key,
 *	  path = ANY (array)	a key for each element,
 *	  a OR b				the keys of both,
 *	  a AND b				the keys of one of them: of the one with fewer keys and fewer other
 *							bindings that have the same keys.
 *
 * A binding without such a limit is in a list, and is found for each event. An event looks up the
 * values of each path in its old and its new row. What is found has the right hash only, so it is
 * always evaluated.
 *
 * A path is evaluated for rows that a policy may hide, and without a guard. So it consists of columns,
 * and of functions of PostgreSQL's own that cannot fail; and so do the hash functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "ext/sets/event_rows.h"
#include "ext/sets/sets_internal.h"

/* A binding with more keys goes into the list. */
#define INDEX_MOST_KEYS 4096

#define INDEX_NO_PATH (-1)

/* Bindings with the same key. */
typedef struct IndexEntry
{
	uint32 hash;
	int n;
	SetKey *first;
	char status;
} IndexEntry;

#define SH_PREFIX               index_table
#define SH_ELEMENT_TYPE         IndexEntry
#define SH_KEY_TYPE             uint32
#define SH_KEY                  hash
#define SH_HASH_KEY(table, key) (key)
#define SH_EQUAL(table, a, b)   ((a) == (b))
#define SH_SCOPE                static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* An expression of the row that bindings have keys for. */
typedef struct IndexPath
{
	Expr *expression; /* NULL: not in use */
	Oid function;     /* that hashes it */
	Oid collation;
	int nkeys;
	MemoryContext context;
	ExprState *state;
	FmgrInfo hash;
	List *vars;
	Bitmapset *columns; /* of these; NULL: context or payload */
} IndexPath;

typedef struct SetIndex
{
	Oid relation; /* the key */
	int npaths;
	IndexPath *paths;
	index_table_hash *keys;
	SetKey *unlimited; /* the list of bindings without keys */
	int nbindings;
	ExprContext *econtext;
	ParamListInfo params; /* context and payload */
	MemoryContext context;
	/* What the last event has found. */
	uint64 event;
	SetBinding **found;
	int nfound;
	int allocated;
} SetIndex;

static HTAB *index_all = NULL;

/* ---------------- the keys that a binding could have ---------------- */

/* Keys in the current memory context. They only limit the rows if limited is set. */
typedef struct IndexKeys
{
	bool limited;
	int n;
	double cost;
	SetKey *keys;
} IndexKeys;

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

static void
index_set_columns(IndexPath *path)
{
	ListCell *cell;

	foreach (cell, pull_var_clause((Node *) path->expression, 0))
	{
		Var *var = lfirst_node(Var, cell);

		if (var->varattno < 0)
			continue;
		path->vars = lappend(path->vars, var);
		path->columns =
			bms_add_member(path->columns, var->varattno - FirstLowInvalidHeapAttributeNumber);
	}
}

/* The path with this expression and hash function, a new one if need be. */
static int
index_path(SetIndex *index, Expr *expression, Oid function, Oid collation)
{
	IndexPath *path = NULL;
	MemoryContext old;
	int i;

	for (i = 0; i < index->npaths; i++)
	{
		IndexPath *each = &index->paths[i];

		if (each->expression == NULL)
			path = each;
		else if (each->function == function && each->collation == collation &&
				 equal(each->expression, expression))
			return i;
	}
	if (path == NULL)
	{
		index->paths = index->npaths == 0
						   ? MemoryContextAlloc(index->context, sizeof(IndexPath))
						   : repalloc(index->paths, (index->npaths + 1) * sizeof(IndexPath));
		path = &index->paths[index->npaths++];
	}
	memset(path, 0, sizeof(IndexPath));
	path->context = AllocSetContextCreate(index->context, "pg_notifyd path", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(path->context);
	path->expression = copyObject(expression);
	path->function = function;
	path->collation = collation;
	/* Not of the rule's own: expression_tree_mutator() does not copy what constants point to. */
	path->state =
		ExecInitExpr(rule_row_expression((Node *) path->expression, index->params, 0), NULL);
	fmgr_info_cxt(function, &path->hash, path->context);
	index_set_columns(path);
	MemoryContextSwitchTo(old);
	return path - index->paths;
}

/* A path that changes has to look its values up again, so paths are part of the hash. */
static uint32
index_hash(int path, FmgrInfo *function, Oid collation, Datum value)
{
	return hash_combine(murmurhash32(path + 1),
						DatumGetUInt32(FunctionCall1Coll(function, collation, value)));
}

static IndexKeys
index_one_key(const IndexWalk *walk, int path, FmgrInfo *function, Datum value, bool constant)
{
	IndexKeys keys = {.limited = true, .n = 1, .keys = palloc0(sizeof(SetKey))};
	IndexEntry *entry;

	keys.keys->path = path;
	keys.keys->hash = index_hash(path, function, walk->index->paths[path].collation, value);
	entry = index_table_lookup(walk->index->keys, keys.keys->hash);

	/* Other bindings will have a constant of the rule, too. */
	keys.cost = 1 + (entry != NULL ? entry->n : 0) + (constant ? 1000000 : 0);
	return keys;
}

/* What hashes the two sides of an equality operator, if that cannot fail. */
static bool
index_hash_functions(Oid operator, Oid * left, Oid *right)
{
	return get_op_hash_functions(operator, left, right) && *left < FirstNormalObjectId &&
		   *right < FirstNormalObjectId && op_strict(operator);
}

static IndexKeys
index_equality(const IndexWalk *walk, OpExpr *operator)
{
	Node *left = linitial(operator->args);
	Node *right = lsecond(operator->args);
	Oid left_hash;
	Oid right_hash;
	FmgrInfo function;
	Datum value;
	bool isnull;
	int path;

	if (!index_hash_functions(operator->opno, &left_hash, &right_hash))
		return index_unlimited;
	if (!index_is_path(left))
	{
		Node *node = left;
		Oid hash = left_hash;

		left = right;
		right = node;
		left_hash = right_hash;
		right_hash = hash;
	}
	if (!index_is_path(left) || !index_value(walk->binding, right, &value, &isnull))
		return index_unlimited;
	if (isnull)
		return index_nothing;
	path = index_path(walk->index, (Expr *) left, left_hash, operator->inputcollid);
	fmgr_info(right_hash, &function);
	return index_one_key(walk, path, &function, value, IsA(index_strip(right), Const));
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
		!index_hash_functions(any->opno, &left_hash, &right_hash) ||
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
	path = index_path(walk->index, (Expr *) left, left_hash, any->inputcollid);
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
	int path = index_path(walk->index, (Expr *) column, F_HASHCHAR, InvalidOid);

	return index_one_key(walk, path, &walk->index->paths[path].hash, BoolGetDatum(value), true);
}

static IndexKeys index_walk(const IndexWalk *walk, Node *node);

static IndexKeys
index_and(const IndexWalk *walk, List *args)
{
	IndexKeys best = index_unlimited;
	ListCell *cell;

	foreach (cell, args)
	{
		IndexKeys keys = index_walk(walk, lfirst(cell));

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
		return index_equality(walk, (OpExpr *) node);
	if (IsA(node, ScalarArrayOpExpr))
		return index_any(walk, (ScalarArrayOpExpr *) node);
	return index_unlimited;
}

/* ---------------- adding and removing ---------------- */

static SetIndex *
index_make(Oid relation)
{
	MemoryContext context =
		AllocSetContextCreate(set_context(), "pg_notifyd set index", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool found;
	SetIndex *index;

	if (index_all == NULL)
	{
		HASHCTL control = {
			.keysize = sizeof(Oid), .entrysize = sizeof(SetIndex), .hcxt = set_context()};

		index_all = hash_create("pg_notifyd set indexes", 16, &control,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	index = hash_search(index_all, &relation, HASH_ENTER, &found);
	if (found)
	{
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
		return index;
	}
	memset(index, 0, sizeof(SetIndex));
	index->relation = relation;
	index->context = context;
	index->keys = index_table_create(context, 64, NULL);
	index->params = makeParamList(2);
	for (int i = 0; i < 2; i++)
		index->params->params[i].ptype = JSONBOID;
	index->econtext = CreateStandaloneExprContext();
	index->econtext->ecxt_param_list_info = index->params;
	MemoryContextSwitchTo(old);
	return index;
}

static SetIndex *
index_find(Oid relation)
{
	return index_all != NULL ? hash_search(index_all, &relation, HASH_FIND, NULL) : NULL;
}

static void
index_link(SetIndex *index, SetKey *key)
{
	SetKey **first = &index->unlimited;

	if (key->path != INDEX_NO_PATH)
	{
		bool found;
		IndexEntry *entry = index_table_insert(index->keys, key->hash, &found);

		if (!found)
		{
			entry->first = NULL;
			entry->n = 0;
		}
		entry->n++;
		index->paths[key->path].nkeys++;
		first = &entry->first;
	}
	key->prev = NULL;
	key->next = *first;
	if (*first != NULL)
		(*first)->prev = key;
	*first = key;
}

/* Forget a path without keys. Its number may be used for another one. */
static void
index_drop_path(IndexPath *path)
{
	MemoryContextDelete(path->context);
	path->expression = NULL;
}

static void
index_unlink(SetIndex *index, SetKey *key)
{
	IndexEntry *entry = NULL;

	if (key->path != INDEX_NO_PATH)
	{
		entry = index_table_lookup(index->keys, key->hash);
		entry->n--;
	}
	if (key->next != NULL)
		key->next->prev = key->prev;
	if (key->prev != NULL)
		key->prev->next = key->next;
	else if (entry == NULL)
		index->unlimited = key->next;
	else
		entry->first = key->next;
	if (entry == NULL)
		return;
	if (entry->first == NULL)
		index_table_delete(index->keys, key->hash);
	if (--index->paths[key->path].nkeys == 0)
		index_drop_path(&index->paths[key->path]);
}

/* Forget paths that index_walk() has made in vain. */
static void
index_sweep_paths(SetIndex *index)
{
	for (int i = 0; i < index->npaths; i++)
	{
		if (index->paths[i].expression != NULL && index->paths[i].nkeys == 0)
			index_drop_path(&index->paths[i]);
	}
}

void
set_index_add(SetBinding *binding)
{
	SetIndex *index = index_make(binding->rule->key.relation);
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd keys", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	IndexWalk walk = {.index = index, .binding = binding};
	IndexKeys keys = index_and(&walk, binding->rule->quals);
	SetKey none = {.path = INDEX_NO_PATH};

	Assert(binding->keys == NULL);
	if (!keys.limited)
	{
		keys.keys = &none;
		keys.n = 1;
	}
	/* A binding without rows has no keys, but is in the index. */
	binding->keys =
		keys.n <= 1 ? &binding->key : MemoryContextAlloc(set_context(), keys.n * sizeof(SetKey));
	binding->nkeys = keys.n;
	for (int i = 0; i < keys.n; i++)
	{
		binding->keys[i] = keys.keys[i];
		binding->keys[i].binding = binding;
		index_link(index, &binding->keys[i]);
	}
	index->nbindings++;
	index_sweep_paths(index);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
set_index_remove(SetBinding *binding)
{
	SetIndex *index = index_find(binding->rule->key.relation);

	Assert(binding->keys != NULL);
	for (int i = 0; i < binding->nkeys; i++)
		index_unlink(index, &binding->keys[i]);
	if (binding->keys != &binding->key)
		pfree(binding->keys);
	binding->keys = NULL;
	if (--index->nbindings > 0)
		return;
	MemoryContextDelete(index->context);
	(void) hash_search(index_all, &index->relation, HASH_REMOVE, NULL);
}

bool
set_index_has(const SetBinding *binding)
{
	return binding->keys != NULL;
}

/* ---------------- searching ---------------- */

/* Note a binding, once for each event. */
static void
index_note(SetIndex *index, SetBinding *binding, uint32 mark)
{
	if (binding->event != index->event)
	{
		binding->event = index->event;
		binding->marks = 0;
		if (index->nfound == index->allocated)
		{
			index->allocated = Max(64, index->allocated * 2);
			index->found =
				index->found == NULL
					? MemoryContextAlloc(index->context, index->allocated * sizeof(SetBinding *))
					: repalloc_huge(index->found, index->allocated * sizeof(SetBinding *));
		}
		index->found[index->nfound++] = binding;
	}
	binding->marks |= mark;
}

/* Look up the value that a path has in a row, unless it is the value with the hash *last. */
static void
index_look_up(SetIndex *index, int number, TupleTableSlot *slot, bool *looked, uint32 *last)
{
	IndexPath *path = &index->paths[number];
	IndexEntry *entry;
	bool isnull;
	Datum value;
	uint32 hash;

	index->econtext->ecxt_scantuple = slot;
	value = ExecEvalExprSwitchContext(path->state, index->econtext, &isnull);
	if (isnull)
		return;
	hash = index_hash(number, &path->hash, path->collation, value);
	if (*looked && hash == *last)
		return;
	*looked = true;
	*last = hash;
	entry = index_table_lookup(index->keys, hash);
	for (SetKey *key = entry != NULL ? entry->first : NULL; key != NULL; key = key->next)
		index_note(index, key->binding, 0);
}

/* The event lacks a value of a path: what has keys for it cannot be found. */
static void
index_note_unknown(SetIndex *index, int number)
{
	index_table_iterator iterator;
	IndexEntry *entry;

	index_table_start_iterate(index->keys, &iterator);
	while ((entry = index_table_iterate(index->keys, &iterator)) != NULL)
	{
		for (SetKey *key = entry->first; key != NULL; key = key->next)
		{
			if (key->path == number)
				index_note(index, key->binding, SET_MARK_UNKNOWN);
		}
	}
}

SetBinding **
index_search(Oid relation, const SetEvent *event, int *n, const char **reason)
{
	static uint64 events = 0;
	SetIndex *index = index_find(relation);

	*n = 0;
	if (index == NULL)
		return NULL;
	index->event = ++events;
	index->nfound = 0;
	for (SetKey *key = index->unlimited; key != NULL; key = key->next)
		index_note(index, key->binding, 0);
	for (int i = 0; i < index->npaths; i++)
	{
		bool looked = false;
		uint32 last = 0;

		if (index->paths[i].expression == NULL)
			continue;
		if (!judge_fits(event, index->paths[i].vars))
		{
			*reason = "the table has changed";
			index_note_unknown(index, i);
			continue;
		}
		if (!judge_read(event, index->paths[i].columns, reason))
		{
			index_note_unknown(index, i);
			continue;
		}
		if (index->paths[i].columns == NULL)
			judge_set_params(event, index->params, 0);
		if (judge_has_old(event))
			index_look_up(index, i, judge_old(event), &looked, &last);
		if (judge_has_new(event))
			index_look_up(index, i, judge_new(event), &looked, &last);
	}
	ResetExprContext(index->econtext);
	*n = index->nfound;
	return index->found;
}
