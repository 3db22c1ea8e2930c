/*-------------------------------------------------------------------------
 *
 * binding.c
 *	  Bindings: rules with the values that an identity has.
 *
 * Bindings with the same rule and equal values are one. Where the condition calls functions for each
 * row, or reads settings, the claims belong to the binding, too.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/ruleutils.h"
#include "utils/typcache.h"

#include "ext/sets/sets_internal.h"

/* ---------------- all bindings ---------------- */

static bool binding_equal(const SetBinding *a, const SetBinding *b);

typedef struct BindingEntry
{
	SetBinding *binding;
	char status;
} BindingEntry;

#define SH_PREFIX               binding_table
#define SH_ELEMENT_TYPE         BindingEntry
#define SH_KEY_TYPE             SetBinding *
#define SH_KEY                  binding
#define SH_HASH_KEY(table, key) (key)->hash
#define SH_EQUAL(table, a, b)   binding_equal(a, b)
#define SH_SCOPE                static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static binding_table_hash *binding_all = NULL;

/* ---------------- values ---------------- */

/* The values of a rule's parameters, while they are computed. */
typedef struct BindingValues
{
	SetRule *rule;
	Datum *values;
	bool *nulls;
} BindingValues;

typedef struct BindingSort
{
	FmgrInfo *compare;
	Oid collation;
} BindingSort;

static int
binding_compare(const void *a, const void *b, void *arg)
{
	BindingSort *sort = arg;

	return DatumGetInt32(
		FunctionCall2Coll(sort->compare, sort->collation, *(const Datum *) a, *(const Datum *) b));
}

/*
 * Sort an array, and remove what is there twice, so that the same elements are the same value. Null
 * elements end up as one.
 */
static Datum
binding_normalize(Datum value)
{
	ArrayType *array = DatumGetArrayTypeP(value);
	TypeCacheEntry *type = lookup_type_cache(ARR_ELEMTYPE(array), TYPECACHE_CMP_PROC_FINFO);
	BindingSort sort = {.compare = &type->cmp_proc_finfo, .collation = type->typcollation};
	Datum *elements;
	bool *nulls;
	int n;
	int dim;
	int lower = 1;
	int used = 0;
	bool has_null;

	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > SET_MAX_ELEMENTS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many elements")));
	if (!OidIsValid(type->cmp_proc) || ARR_NDIM(array) != 1)
		return value;
	deconstruct_array(array, type->type_id, type->typlen, type->typbyval, type->typalign, &elements,
					  &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			elements[used++] = elements[i];
	}
	has_null = used < n;
	n = used;
	qsort_arg(elements, n, sizeof(Datum), binding_compare, &sort);
	used = 0;
	for (int i = 0; i < n; i++)
	{
		if (used == 0 || binding_compare(&elements[used - 1], &elements[i], &sort) != 0 ||
			!datum_image_eq(elements[used - 1], elements[i], type->typbyval, type->typlen))
			elements[used++] = elements[i];
	}
	memset(nulls, 0, used * sizeof(bool));
	if (has_null)
		nulls[used++] = true;
	dim = used;
	return PointerGetDatum(construct_md_array(elements, nulls, 1, &dim, &lower, type->type_id,
											  type->typlen, type->typbyval, type->typalign));
}

/* Evaluate the expressions of parameters. Called by guard_run(), in a context for the values. */
static void
binding_compute(void *arg)
{
	BindingValues *work = arg;
	SetRule *rule = work->rule;
	Datum *planned = palloc(Max(rule->nparams, 1) * sizeof(Datum));
	bool *planned_nulls = palloc(Max(rule->nparams, 1) * sizeof(bool));
	int n = 0;

	rule->what = rule->policies_what;
	if (rule->params_plan != NULL)
		plan_run(rule, rule->params_plan, planned, planned_nulls);
	for (int i = 0; i < rule->nparams; i++)
	{
		SetParam *param = &rule->params[i];
		bool isnull;
		Datum value;

		if (param->kind == SET_PARAM_FILTER)
			continue;
		if (param->state == NULL)
		{
			value = planned[n];
			isnull = planned_nulls[n++];
		}
		else
			value = ExecEvalExprSwitchContext(param->state, rule->econtext, &isnull);
		work->nulls[i] = isnull;
		if (isnull)
			value = (Datum) 0;
		else if (param->typlen == -1)
			value = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
		else
			value = datumCopy(value, param->typbyval, param->typlen);
		if (!isnull && param->elements)
			value = binding_normalize(value);
		work->values[i] = value;
		ResetExprContext(rule->econtext);
	}
}

/* Compute the values of a rule for an identity, in the current memory context. */
static bool
binding_evaluate(SetRule *rule, const SetIdentity *identity, const FilterExpression *filter,
				 BindingValues *work, SetError *error)
{
	GuardActor actor = {.role = identity->role, .claims = identity->claims, .opaque = true};
	int64 began;
	bool good;

	work->rule = rule;
	work->values = palloc0(Max(rule->nparams, 1) * sizeof(Datum));
	work->nulls = palloc0(Max(rule->nparams, 1) * sizeof(bool));
	for (int i = 0; filter != NULL && i < filter->nvalues; i++)
	{
		work->nulls[i] = rule->values->params[i].isnull = filter->values[i].isnull;
		work->values[i] = rule->values->params[i].value = filter->values[i].value;
	}
	if (!rule->computes_params)
		return true;
	*error = (SetError){.reason = WIRE_POLICY_FAILED, .later = true};
	if (rule_is_locked(rule))
		return false;
	if (!budget_allows(rule->cost))
	{
		rule_set_no_time(rule, error);
		return false;
	}
	began = set_clock();
	good = set_run(&actor, binding_compute, work, &rule, error);
	rule->cost = (uint32) (set_clock() - began);
	budget_charge(rule->cost);
	if (!good && error->later)
		rule_note_locked(rule);
	return good;
}

/* ---------------- one binding for equal values ---------------- */

static bool
binding_equal_values(const SetBinding *a, const SetBinding *b)
{
	const SetRule *rule = a->rule;
	const bool *a_nulls = BINDING_NULLS(a);
	const bool *b_nulls = BINDING_NULLS(b);

	if ((a->claims == NULL) != (b->claims == NULL) ||
		(a->claims != NULL && strcmp(a->claims, b->claims) != 0))
		return false;
	for (int i = 0; i < rule->nparams; i++)
	{
		if (a_nulls[i] != b_nulls[i] ||
			(!a_nulls[i] && !datum_image_eq(a->values[i], b->values[i], rule->params[i].typbyval,
											rule->params[i].typlen)))
			return false;
	}
	return true;
}

static bool
binding_equal(const SetBinding *a, const SetBinding *b)
{
	return a == b || (a->hash == b->hash && a->rule == b->rule && binding_equal_values(a, b));
}

static uint32
binding_hash(const SetBinding *binding)
{
	const SetRule *rule = binding->rule;
	uint32 hash = hash_bytes((const unsigned char *) &binding->rule, sizeof(SetRule *));

	for (int i = 0; i < rule->nparams; i++)
		hash =
			hash_combine(hash, BINDING_NULLS(binding)[i]
								   ? 0
								   : datum_image_hash(binding->values[i], rule->params[i].typbyval,
													  rule->params[i].typlen));
	return hash;
}

/* Copy a value to *to, which moves behind it. With to NULL only return the size. */
static Size
binding_copy(const SetParam *param, Datum *value, char **to)
{
	Size size = MAXALIGN(datumGetSize(*value, param->typbyval, param->typlen));

	if (to != NULL)
	{
		memcpy(*to, DatumGetPointer(*value), datumGetSize(*value, param->typbyval, param->typlen));
		*value = PointerGetDatum(*to);
		*to += size;
	}
	return size;
}

/* A new binding in one piece of memory: the struct, nulls, values by reference, claims. */
static SetBinding *
binding_form(const BindingValues *work, const char *claims)
{
	SetRule *rule = work->rule;
	Size base =
		MAXALIGN(offsetof(SetBinding, values) + rule->nparams * (sizeof(Datum) + sizeof(bool)));
	Size size = base + (claims != NULL ? strlen(claims) + 1 : 0);
	SetBinding *binding;
	char *to;

	for (int i = 0; i < rule->nparams; i++)
	{
		if (!work->nulls[i] && !rule->params[i].typbyval)
			size += binding_copy(&rule->params[i], &work->values[i], NULL);
	}
	binding = MemoryContextAllocZero(set_context(), size);
	binding->rule = rule;
	dlist_init(&binding->users);
	memcpy(binding->values, work->values, rule->nparams * sizeof(Datum));
	memcpy(BINDING_NULLS(binding), work->nulls, rule->nparams * sizeof(bool));
	to = (char *) binding + base;
	for (int i = 0; i < rule->nparams; i++)
	{
		if (!work->nulls[i] && !rule->params[i].typbyval)
			(void) binding_copy(&rule->params[i], &binding->values[i], &to);
	}
	if (claims != NULL)
		binding->claims = strcpy(to, claims);
	binding->hash = binding_hash(binding);
	return binding;
}

static SetBinding *
binding_intern(const BindingValues *work, const SetIdentity *identity)
{
	SetBinding *binding = binding_form(work, work->rule->opaque ? identity->claims : NULL);
	BindingEntry *entry;
	bool found;

	if (binding_all == NULL)
		binding_all = binding_table_create(set_context(), 256, NULL);
	entry = binding_table_insert(binding_all, binding, &found);
	if (found)
	{
		pfree(binding);
		binding = entry->binding;
	}
	else
		work->rule->nbindings++;
	binding->references++;
	return binding;
}

/* ---------------- the interface ---------------- */

static bool
binding_make(const SetRuleKey *key, const SetIdentity *identity, const FilterExpression *filter,
			 SetBinding **binding, SetError *error)
{
	SetRule *rule = rule_get(key, filter, error);
	BindingValues work;

	if (rule == NULL)
		return false;
	if (binding_evaluate(rule, identity, filter, &work, error))
	{
		*binding = binding_intern(&work, identity);
		return true;
	}
	if (!key->literal && !error->later &&
		(error->sqlstate == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		 (error->sqlstate != 0 && rule->conditional)))
	{
		SetRuleKey literal = *key;

		literal.literal = true;
		return binding_make(&literal, identity, filter, binding, error);
	}
	if (rule->nbindings == 0)
		rule_free(rule);
	return false;
}

bool
set_bind(Oid relation, const SetIdentity *identity, const FilterExpression *filter,
		 SetBinding **binding, SetError *error)
{
	SetRuleKey key = {
		.role = identity->role, .relation = relation, .form = filter != NULL ? filter->form : ""};
	MemoryContext context;
	MemoryContext old;
	bool good;

	if (filter == NULL &&
		(!OidIsValid(relation) || check_enable_rls(relation, identity->role, true) != RLS_ENABLED))
	{
		*binding = NULL;
		return true;
	}
	context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd binding", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	good = binding_make(&key, identity, filter, binding, error);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return good;
}

void
set_release(SetBinding *binding)
{
	SetRule *rule = binding->rule;

	Assert(binding->references > 0);
	if (--binding->references > 0)
		return;
	Assert(binding->keys == NULL);
	binding_table_delete(binding_all, binding);
	pfree(binding);
	if (--rule->nbindings == 0)
		rule_free(rule);
}

bool
set_needs_refresh(const SetBinding *binding)
{
	return binding->rule->has_snapshot_params;
}

bool
set_stale(SetBinding *binding)
{
	return !rule_valid(binding->rule);
}

bool
set_same(const SetBinding *a, const SetBinding *b)
{
	return a == b || (rule_same(a->rule, b->rule) && binding_equal_values(a, b));
}

bool
set_is_all(const SetBinding *binding)
{
	ListCell *cell;

	foreach (cell, binding->rule->quals)
	{
		if (!rule_is_true(lfirst(cell)))
			return false;
	}
	return true;
}

/* Add a value to a hash that is the same in all processes. */
static uint64
binding_hash_value(const SetParam *param, Datum value, bool isnull, uint64 hash)
{
	const unsigned char *bytes = (const unsigned char *) DatumGetPointer(value);
	int length = param->typlen;

	if (isnull)
		return hash_combine64(hash, 0);
	if (param->typbyval)
		return hash_combine64(hash, (uint64) value);
	if (length == -1)
	{
		bytes = (const unsigned char *) VARDATA_ANY(bytes);
		length = (int) VARSIZE_ANY_EXHDR(DatumGetPointer(value));
	}
	else if (length == -2)
		length = (int) strlen(DatumGetCString(value));
	return hash_bytes_extended(bytes, length, hash);
}

uint64
set_policies(const SetBinding *binding)
{
	const SetRule *rule = binding->rule;
	uint64 hash = rule->policies;

	if (hash == 0)
		return 0;
	for (int i = 0; i < rule->policy_params; i++)
	{
		const SetParam *param = &rule->params[i];

		if (param->kind != SET_PARAM_FILTER)
			hash = binding_hash_value(param, binding->values[i], BINDING_NULLS(binding)[i], hash);
	}
	return Max(hash, 1);
}

Oid
set_relation(const SetBinding *binding)
{
	return binding->rule->key.relation;
}

const Bitmapset *
set_columns(const SetBinding *binding)
{
	return binding->rule->columns;
}

dlist_head *
set_users(SetBinding *binding)
{
	return &binding->users;
}

/* ---------------- describing ---------------- */

static Node *
binding_fill(Node *node, void *context)
{
	const SetBinding *binding = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN)
	{
		int i = ((Param *) node)->paramid - 1;
		const SetParam *param = &binding->rule->params[i];

		return (Node *) makeConst(param->type, param->typmod, param->collation, param->typlen,
								  binding->values[i], BINDING_NULLS(binding)[i], param->typbyval);
	}
	if (IsA(node, Var) && ((Var *) node)->varattno < 0)
		return (Node *) makeConst(TEXTOID, -1, InvalidOid, -1, (Datum) 0, true, false);
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, binding_fill, context, 0);
	return expression_tree_mutator(node, binding_fill, context);
}

char *
set_describe(const SetBinding *binding)
{
	Oid relation = binding->rule->key.relation;
	List *context =
		OidIsValid(relation) ? deparse_context_for(get_rel_name(relation), relation) : NIL;
	Node *condition = binding_fill((Node *) binding->rule->quals, (void *) binding);

	return deparse_expression((Node *) make_ands_explicit((List *) condition), context, false,
							  false);
}
