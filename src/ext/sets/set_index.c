/*-------------------------------------------------------------------------
 *
 * set_index.c
 *	  Finds the bindings that an event may concern.
 *
 * Each relation has an index of its bindings, by their keys (set_keys.c). A binding without keys is in
 * a list, and is found for each event. An event looks up the values of each path in its old and its
 * new row: in a hash table, or in the path's tree of ranges. What is found has the right hash only, or
 * is at the bound of a range, so it is always evaluated.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "utils/memutils.h"

#include "ext/sets/event_rows.h"
#include "ext/sets/set_keys.h"

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

struct SetIndex
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
};

static HTAB *index_all = NULL;

/* ---------------- paths ---------------- */

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

int
index_path(SetIndex *index, Expr *expression, Oid function, Oid bounds, Oid collation)
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
	path->has_ranges = OidIsValid(bounds);
	if (path->has_ranges)
		range_tree_init(&path->ranges, bounds, function, collation);
	else
		fmgr_info_cxt(function, &path->hash, path->context);
	index_set_columns(path);
	MemoryContextSwitchTo(old);
	return path - index->paths;
}

uint32
index_hash(int path, FmgrInfo *function, Oid collation, Datum value)
{
	return hash_combine(murmurhash32(path + 1),
						DatumGetUInt32(FunctionCall1Coll(function, collation, value)));
}

IndexPath *
index_path_at(SetIndex *index, int path)
{
	return &index->paths[path];
}

int
index_count(const SetIndex *index, uint32 hash)
{
	IndexEntry *entry = index_table_lookup(index->keys, hash);

	return entry != NULL ? entry->n : 0;
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
index_link_range(IndexPath *path, SetKey *key)
{
	IndexRange *range = MemoryContextAlloc(path->context, sizeof(IndexRange));

	*range = *key->range;
	range->key = key;
	key->range = range;
	range_tree_insert(&path->ranges, &range->node);
	path->nkeys++;
}

static void
index_link(SetIndex *index, SetKey *key)
{
	SetKey **first = &index->unlimited;

	if (key->range != NULL)
	{
		index_link_range(&index->paths[key->path], key);
		return;
	}
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
index_unlink_range(IndexPath *path, SetKey *key)
{
	range_tree_remove(&path->ranges, &key->range->node);
	pfree(key->range);
	if (--path->nkeys == 0)
		index_drop_path(path);
}

static void
index_unlink(SetIndex *index, SetKey *key)
{
	IndexEntry *entry = NULL;

	if (key->range != NULL)
	{
		index_unlink_range(&index->paths[key->path], key);
		return;
	}
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

static void
index_drop_if_empty(SetIndex *index)
{
	if (index->nbindings > 0)
		return;
	MemoryContextDelete(index->context);
	(void) hash_search(index_all, &index->relation, HASH_REMOVE, NULL);
}

typedef struct IndexAdding
{
	SetIndex *index;
	SetBinding *binding;
	IndexKeys keys;
} IndexAdding;

/* Called by guard_run(). */
static void
index_find_keys(void *arg)
{
	IndexAdding *adding = arg;

	adding->keys = index_keys(adding->index, adding->binding);
}

static void
index_add_keys(SetIndex *index, SetBinding *binding, IndexKeys keys)
{
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
}

/* Finding keys looks at types, which another session may have locked, and hashes values. */
bool
set_index_add(SetBinding *binding, SetError *error)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd keys", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	GuardActor actor = {.role = binding->rule->key.role};
	IndexAdding adding = {.index = index_make(binding->rule->key.relation), .binding = binding};
	bool added = set_run(&actor, index_find_keys, &adding, &binding->rule, error);

	if (added)
		index_add_keys(adding.index, binding, adding.keys);
	index_sweep_paths(adding.index);
	index_drop_if_empty(adding.index);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return added;
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
	index->nbindings--;
	index_drop_if_empty(index);
}

bool
set_index_has(const SetBinding *binding)
{
	return binding->keys != NULL;
}

void
set_want(SetBinding *binding, int change)
{
	binding->wanted += change;
	Assert(binding->wanted >= 0);
}

/* ---------------- searching ---------------- */

/* Note a binding, once for each event. */
static void
index_note(SetIndex *index, SetBinding *binding, uint32 mark)
{
	if (binding->wanted == 0)
		return;
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

static void
index_note_range(RangeNode *node, void *index)
{
	index_note(index, ((IndexRange *) node)->key->binding, 0);
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
	if (path->has_ranges)
	{
		range_tree_search(&path->ranges, &value, index_note_range, index);
		return;
	}
	hash = index_hash(number, &path->hash, path->collation, value);
	if (*looked && hash == *last)
		return;
	*looked = true;
	*last = hash;
	entry = index_table_lookup(index->keys, hash);
	for (SetKey *key = entry != NULL ? entry->first : NULL; key != NULL; key = key->next)
		index_note(index, key->binding, 0);
}

static void
index_note_unknown_range(RangeNode *node, void *index)
{
	index_note(index, ((IndexRange *) node)->key->binding, SET_MARK_UNKNOWN);
}

/* The event lacks a value of a path: what has keys for it cannot be found. */
static void
index_note_unknown(SetIndex *index, int number)
{
	index_table_iterator iterator;
	IndexEntry *entry;

	if (index->paths[number].has_ranges)
	{
		range_tree_search(&index->paths[number].ranges, NULL, index_note_unknown_range, index);
		return;
	}
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
