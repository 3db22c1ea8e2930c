/*-------------------------------------------------------------------------
 *
 * set_keys.h
 *	  Declarations shared by set_keys.c and set_index.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SET_KEYS_H
#define PG_NOTIFYD_SET_KEYS_H

#include "ext/sets/range_tree.h"
#include "ext/sets/sets_internal.h"

/* The index of a relation. */
typedef struct SetIndex SetIndex;

/* ---------------- paths (set_index.c) ---------------- */

#define INDEX_NO_PATH (-1)

/* An expression of the row that bindings have keys for. */
typedef struct IndexPath
{
	Expr *expression; /* NULL: not in use */
	Oid function;     /* that hashes it, or compares it with the bounds of ranges */
	Oid collation;
	int nkeys;
	MemoryContext context;
	ExprState *state;
	bool has_ranges; /* and no hashes */
	FmgrInfo hash;
	RangeTree ranges;
	List *vars;
	Bitmapset *columns; /* of these; NULL: context or payload */
} IndexPath;

/*
 * The number of the path with this expression and function, a new one if need be. bounds compares
 * bounds of ranges; InvalidOid: the path has hashes.
 */
extern int index_path(SetIndex *index, Expr *expression, Oid function, Oid bounds, Oid collation);

/* Valid until the next call of index_path(). */
extern IndexPath *index_path_at(SetIndex *index, int path);

/* A path that changes has to look its values up again, so paths are part of the hash. */
extern uint32 index_hash(int path, FmgrInfo *function, Oid collation, Datum value);

/* How many bindings have a key with this hash. */
extern int index_count(const SetIndex *index, uint32 hash);

/* ---------------- keys (set_keys.c) ---------------- */

/* A range of a binding. */
typedef struct IndexRange
{
	RangeNode node;
	SetKey *key; /* when it is in the index */
} IndexRange;

/* Keys in the current memory context. They only limit the rows if limited is set. */
typedef struct IndexKeys
{
	bool limited;
	int n;
	double cost;
	SetKey *keys;
} IndexKeys;

/* The keys that a binding should have. Values of ranges belong to the binding or its rule. */
extern IndexKeys index_keys(SetIndex *index, const SetBinding *binding);

#endif /* PG_NOTIFYD_SET_KEYS_H */
