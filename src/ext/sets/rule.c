/*-------------------------------------------------------------------------
 *
 * rule.c
 *	  Makes rules, and finds out when they are no longer right.
 *
 * PostgreSQL's rewriter finds the policies: a SELECT on the relation is analyzed and rewritten as the
 * role. So owners, FORCE ROW LEVEL SECURITY, BYPASSRLS, inherited roles, restrictive and permissive
 * policies, and the row security of tables in sub-selects are as in any session.
 *
 * A part of a policy may raise an error when it is computed for an identity, although a SELECT would
 * not compute it: CASE, AND and OR protect their later arguments. For such an identity there is a
 * literal rule. It leaves the policies as they are, so they are computed for each row.
 *
 * Invalidations make a rule suspect. Most of them mean nothing: ANALYZE sends one, too. So
 * rule_valid() makes the rule again and compares. Only a rule with another condition, or with a
 * function that has changed, becomes stale.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_authid.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/analyze.h"
#include "rewrite/rewriteHandler.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "ext/base/compat.h"
#include "ext/base/relation_change.h"
#include "ext/sets/sets_internal.h"
#include "ext/watch/watch_shape.h"

/* An entry of the table of rules. */
typedef struct RuleEntry
{
	SetRuleKey key; /* its form is the rule's */
	SetRule *rule;
} RuleEntry;

/* µs until a rule is tried again after a lock was not free. */
#define RULE_LOCKED_US 50000

static HTAB *rule_table = NULL;
static uint64 rule_invalidations = 0;

uint64
set_changes(void)
{
	return rule_invalidations;
}

MemoryContext
set_context(void)
{
	static MemoryContext context = NULL;

	if (context == NULL)
		context =
			AllocSetContextCreate(TopMemoryContext, "pg_notifyd sets", ALLOCSET_DEFAULT_SIZES);
	return context;
}

/* ---------------- invalidations ---------------- */

static void
rule_suspect(SetRule *rule)
{
	rule->suspect = true;
	rule->suspected = rule_invalidations;
}

/* relation is InvalidOid if any relation may have changed. */
static void
rule_relation_changed(Datum arg, Oid relation)
{
	HASH_SEQ_STATUS status;
	RuleEntry *entry;

	(void) arg;
	rule_invalidations++;
	hash_seq_init(&status, rule_table);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		SetRule *rule = entry->rule;

		if (!OidIsValid(relation) || relation == rule->key.relation ||
			list_member_oid(rule->relations, relation))
			rule_suspect(rule);
	}
}

/* A function has changed; hash is 0 if any may have. */
static void
rule_function_changed(Datum arg, int cache, uint32 hash)
{
	HASH_SEQ_STATUS status;
	RuleEntry *entry;

	(void) arg;
	rule_invalidations++;
	hash_seq_init(&status, rule_table);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		SetRule *rule = entry->rule;
		ListCell *cell;

		foreach (cell, rule->inval_items)
		{
			PlanInvalItem *item = lfirst_node(PlanInvalItem, cell);

			if (item->cacheId == cache && (hash == 0 || item->hashValue == hash))
			{
				rule_suspect(rule);
				rule->changed = true;
			}
		}
	}
}

/* A role, membership, type, operator or schema has changed. */
static void
rule_object_changed(Datum arg, int cache, uint32 hash)
{
	(void) cache;
	(void) hash;
	rule_relation_changed(arg, InvalidOid);
}

/* ---------------- the table ---------------- */

static uint32
rule_hash(const void *key, Size size)
{
	const SetRuleKey *rule = key;

	(void) size;
	return hash_combine(
		hash_combine(murmurhash32(rule->role), murmurhash32(rule->relation)),
		hash_combine(string_hash(rule->form, strlen(rule->form) + 1), rule->literal));
}

static int
rule_match(const void *key1, const void *key2, Size size)
{
	const SetRuleKey *a = key1;
	const SetRuleKey *b = key2;

	(void) size;
	return a->role == b->role && a->relation == b->relation && a->literal == b->literal &&
				   strcmp(a->form, b->form) == 0
			   ? 0
			   : 1;
}

static void
rule_init(void)
{
	HASHCTL control = {.keysize = sizeof(SetRuleKey),
					   .entrysize = sizeof(RuleEntry),
					   .hash = rule_hash,
					   .match = rule_match,
					   .hcxt = set_context()};
	static const int functions[] = {PROCOID};
	static const int objects[] = {AUTHOID, AUTHMEMMEMROLE, TYPEOID, OPEROID, NAMESPACEOID};

	rule_table = hash_create("pg_notifyd rules", 64, &control,
							 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	relation_change_register(rule_relation_changed);
	for (int i = 0; i < (int) lengthof(functions); i++)
		CacheRegisterSyscacheCallback(functions[i], rule_function_changed, (Datum) 0);
	for (int i = 0; i < (int) lengthof(objects); i++)
		CacheRegisterSyscacheCallback(objects[i], rule_object_changed, (Datum) 0);
}

/* ---------------- making a rule ---------------- */

/* The policies of a relation for the current user, as the rewriter adds them to a SELECT. */
static List *
rule_policies(Relation relation)
{
	SelectStmt *select = makeNode(SelectStmt);
	RawStmt *statement = makeNode(RawStmt);
	Query *query;

	select->fromClause = list_make1(makeRangeVar(get_namespace_name(RelationGetNamespace(relation)),
												 pstrdup(RelationGetRelationName(relation)), -1));
	statement->stmt = (Node *) select;
	query = linitial_node(Query, QueryRewrite(COMPAT_PARSE_ANALYZE(statement)));
	return linitial_node(RangeTblEntry, query->rtable)->securityQuals;
}

/* Copy what rule_set_expression() has made into the current memory context, without what it left. */
static void
rule_keep(SetRule *rule)
{
	SetParam *params = palloc(Max(rule->nparams, 1) * sizeof(SetParam));

	for (int i = 0; i < rule->nparams; i++)
	{
		params[i] = rule->params[i];
		params[i].expression = copyObject(params[i].expression);
	}
	rule->params = params;
	rule->quals = copyObject(rule->quals);
	rule->vars = copyObject(rule->vars);
	rule->inval_items = copyObject(rule->inval_items);
	rule->relations = list_copy(rule->relations);
	rule->tables = list_copy(rule->tables);
	rule->columns = bms_copy(rule->columns);
}

/* A GuardFunction. Its locks are released when it returns. */
static void
rule_do_make(void *arg)
{
	SetRule *rule = arg;
	MemoryContext context = MemoryContextSwitchTo(rule->context);
	MemoryContext scratch =
		AllocSetContextCreate(rule->context, "pg_notifyd expression", ALLOCSET_DEFAULT_SIZES);
	Relation relation = NULL;

	if (OidIsValid(rule->key.relation))
	{
		relation = table_open(rule->key.relation, AccessShareLock);
		rule->ncolumns = RelationGetDescr(relation)->natts;
	}
	MemoryContextSwitchTo(scratch);
	rule_set_expression(rule, relation != NULL ? rule_policies(relation) : NIL, relation);
	MemoryContextSwitchTo(rule->context);
	rule_keep(rule);
	MemoryContextDelete(scratch);
	if (rule->uses_row)
		rule->shape = watch_shape_of(RelationGetDescr(relation))->id;
	rule_compile(rule);
	if (relation != NULL)
		table_close(relation, NoLock);
	MemoryContextSwitchTo(context);
}

/* What a rule needs of a filter: everything but its values. */
static FilterExpression *
rule_copy_filter(MemoryContext context, const FilterExpression *filter)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	FilterExpression *copy = palloc0(sizeof(FilterExpression));

	copy->expression = copyObject(filter->expression);
	copy->matched = bms_copy(filter->matched);
	copy->nvalues = filter->nvalues;
	copy->values = palloc0(Max(filter->nvalues, 1) * sizeof(FilterValue));
	for (int i = 0; i < filter->nvalues; i++)
	{
		copy->values[i].type = filter->values[i].type;
		copy->values[i].typmod = filter->values[i].typmod;
		copy->values[i].collation = filter->values[i].collation;
	}
	MemoryContextSwitchTo(old);
	return copy;
}

/* A new rule, which is not in the table; NULL and *error if that is impossible. */
static SetRule *
rule_make(const SetRuleKey *key, const FilterExpression *filter, SetError *error)
{
	MemoryContext context =
		AllocSetContextCreate(set_context(), "pg_notifyd rule", ALLOCSET_SMALL_SIZES);
	SetRule *rule = MemoryContextAllocZero(context, sizeof(SetRule));
	GuardActor actor = {.role = key->role, .opaque = true};
	char *name = GetUserNameFromId(key->role, true);
	const char *table = OidIsValid(key->relation) ? get_rel_name(key->relation) : NULL;
	uint64 invalidations = rule_invalidations;
	int64 began = set_clock();
	bool good;

	rule->context = context;
	rule->key = *key;
	rule->key.form = MemoryContextStrdup(context, key->form);
	if (filter != NULL)
		rule->filter = rule_copy_filter(context, filter);
	strlcpy(rule->role_name, name != NULL ? name : "", NAMEDATALEN);
	snprintf(rule->policies_what, sizeof(rule->policies_what), "row security of table \"%s\"",
			 table != NULL ? table : "");
	if (table != NULL)
		snprintf(rule->filter_what, sizeof(rule->filter_what), "the filter of table \"%s\"", table);
	else
		strlcpy(rule->filter_what, "the filter", sizeof(rule->filter_what));
	rule->what = rule->policies_what;
	rule->cost = BUDGET_SLOW_US;
	good = set_run(&actor, rule_do_make, rule, &rule, error);
	budget_charge(set_clock() - began);
	if (!good)
	{
		MemoryContextDelete(context);
		return NULL;
	}
	if (invalidations != rule_invalidations)
		rule_suspect(rule);
	return rule;
}

/* Take a rule out of the table. It lives on while it has bindings. */
static void
rule_retire(SetRule *rule)
{
	rule->stale = true;
	(void) hash_search(rule_table, &rule->key, HASH_REMOVE, NULL);
	if (rule->nbindings == 0)
		MemoryContextDelete(rule->context);
}

void
rule_free(SetRule *rule)
{
	if (rule->stale)
		MemoryContextDelete(rule->context);
	else
		rule_retire(rule);
}

SetRule *
rule_get(const SetRuleKey *key, const FilterExpression *filter, SetError *error)
{
	RuleEntry *entry;
	SetRule *rule;
	bool found;

	if (rule_table == NULL)
		rule_init();
	entry = hash_search(rule_table, key, HASH_FIND, NULL);
	if (entry != NULL && rule_valid(entry->rule))
		return entry->rule;
	if (!budget_allows(BUDGET_SLOW_US))
	{
		*error = (SetError){.reason = WIRE_POLICY_FAILED,
							.later = true,
							.message = "row security or the filter takes too much time"};
		return NULL;
	}
	rule = rule_make(key, filter, error);
	if (rule == NULL)
		return NULL;
	entry = hash_search(rule_table, &rule->key, HASH_ENTER, &found);
	Assert(!found);
	entry->rule = rule;
	return rule;
}

/* ---------------- locks and time ---------------- */

bool
rule_is_locked(const SetRule *rule)
{
	return rule->locked_at != 0 && set_clock() - rule->locked_at < RULE_LOCKED_US;
}

void
rule_note_locked(SetRule *rule)
{
	rule->locked_at = set_clock();
}

void
rule_set_no_time(const SetRule *rule, SetError *error)
{
	*error = (SetError){.reason = WIRE_POLICY_FAILED, .later = true};
	snprintf(error->message, sizeof(error->message), "%s takes too much time", rule->what);
}

/* ---------------- comparing rules ---------------- */

bool
rule_same(const SetRule *a, const SetRule *b)
{
	if (a->key.relation != b->key.relation || strcmp(a->role_name, b->role_name) != 0 ||
		a->nparams != b->nparams ||
		(a->uses_row && (a->ncolumns != b->ncolumns || a->shape != b->shape)) ||
		!bms_equal(a->columns, b->columns) || !equal(a->quals, b->quals))
		return false;
	for (int i = 0; i < a->nparams; i++)
	{
		if (a->params[i].kind != b->params[i].kind ||
			!equal(a->params[i].expression, b->params[i].expression))
			return false;
	}
	return true;
}

bool
rule_valid(SetRule *rule)
{
	SetError error;
	SetRule *fresh;
	bool same;

	if (rule->stale || !rule->suspect)
		return !rule->stale;
	fresh = rule->changed ? NULL : rule_make(&rule->key, rule->filter, &error);
	/* What is compiled depends on the number of columns. */
	same = fresh != NULL && rule->ncolumns == fresh->ncolumns && rule_same(rule, fresh);
	if (same)
		rule->suspect = fresh->suspect;
	else
		rule_retire(rule);
	if (fresh != NULL)
		MemoryContextDelete(fresh->context);
	return same;
}
