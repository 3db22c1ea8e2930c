/*-------------------------------------------------------------------------
 *
 * sets_internal.h
 *	  Declarations shared by the files of sets.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SETS_INTERNAL_H
#define PG_NOTIFYD_SETS_INTERNAL_H

#include "access/htup.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "nodes/params.h"
#include "nodes/plannodes.h"
#include "utils/relcache.h"

#include "ext/guard/guard.h"
#include "ext/sets/sets.h"

/* ---------------- plans (rule_plan.c) ---------------- */

/* A query that computes expressions with sub-selects, and returns one row. */
typedef struct SetPlan
{
	Query *query;           /* rewritten */
	PlannedStmt *statement; /* in context; NULL: to be planned */
	MemoryContext context;
} SetPlan;

struct SetRule;

/*
 * The plan that computes these expressions, of which no Var belongs to the outermost query. In the
 * current memory context.
 */
extern SetPlan *plan_make(List *expressions);

/*
 * Compute the results with rule->values and the active snapshot, as the current user, in the current
 * memory context.
 */
extern void plan_run(struct SetRule *rule, SetPlan *plan, Datum *values, bool *nulls);

/* ---------------- rules (rule.c, rule_expression.c, set_run.c) ---------------- */

/* When a parameter's value is computed. */
typedef enum SetParamKind
{
	SET_PARAM_FILTER,   /* it is a value of the filter */
	SET_PARAM_IDENTITY, /* once: it reads only the claims, the role and values of the filter */
	SET_PARAM_SNAPSHOT  /* again whenever the snapshot has moved */
} SetParamKind;

/*
 * Rows of a sub-select that may become an array. With more of them the literal rule is used, see
 * rule.c.
 */
#define SET_MAX_ELEMENTS 10000

/* Bytes of a value that may be compared with a pattern of a filter. */
#define SET_MAX_MATCHED 100000

typedef struct SetParam
{
	SetParamKind kind;
	Expr *expression; /* NULL for SET_PARAM_FILTER */
	ExprState *state; /* NULL: the rule's plan computes it */
	Oid type;
	int32 typmod;
	Oid collation;
	int16 typlen;
	bool typbyval;
	bool elements; /* an array of which only the elements matter, not their order */
} SetParam;

/* One part of the condition. All have to be true. */
typedef struct SetStep
{
	ExprState *state; /* NULL: a plan */
	SetPlan *plan;
	bool filter; /* it belongs to the filter, and not to the policies */
} SetStep;

typedef struct SetRuleKey
{
	Oid role;
	Oid relation;
	bool literal;     /* without parameters for the policies, see rule.c */
	const char *form; /* of the filter; empty: none */
} SetRuleKey;

/*
 * Parameters of the compiled condition are, from 1 on: nparams values, the event's context, a
 * message's payload, the columns of the row in order of their numbers, the whole row. Only plans use
 * the last ones, because they have no Vars of the row.
 */
#define RULE_CONTEXT_PARAM(rule) ((rule)->nparams + 1)
#define RULE_PAYLOAD_PARAM(rule) ((rule)->nparams + 2)
#define RULE_COLUMN_PARAM(rule)  ((rule)->nparams + 2) /* plus the attribute number */
#define RULE_ROW_PARAM(rule)     ((rule)->nparams + 3 + (rule)->ncolumns)

typedef struct SetRule
{
	SetRuleKey key;
	MemoryContext context;
	char role_name[NAMEDATALEN];
	/* For errors. */
	char policies_what[NAMEDATALEN + 32];
	char filter_what[NAMEDATALEN + 32];
	const char *what; /* one of them: what is evaluated or made */
	int nbindings;
	bool conditional; /* a SELECT might not compute each parameter */
	bool suspect;     /* something that it depends on may have changed */
	uint64 suspected; /* set_changes() when that was last found out */
	bool changed;     /* a function that it depends on has changed, so values may be different */
	bool stale;       /* no longer in the table of rules */
	int64 locked_at;  /* set_clock() when a lock that it needs was last not free; 0: never */
	uint32 cost;      /* µs that it last took to compute the parameters */

	FilterExpression *filter; /* without values; NULL: none */
	List *quals;     /* conditions on the row, all have to be true; Vars of the row have varno 1 */
	uint64 policies; /* a hash of the policies; 0: they let all rows pass */
	int npolicies;   /* the first ones of them are those of the policies */
	int nparams;
	SetParam *params;
	int policy_params; /* after the filter's values, those of policies come up to this number */
	bool has_snapshot_params;
	bool traced;          /* these depend on nothing but the rows of tables */
	List *tables;         /* OIDs of these, without their children */
	bool computes_params; /* not all of them are values of the filter */
	int ncolumns;
	Bitmapset *columns; /* attribute numbers minus FirstLowInvalidHeapAttributeNumber */
	bool uses_context;
	bool uses_payload;
	bool uses_row; /* as a whole */
	uint32 shape;  /* of the relation, if uses_row */
	List *vars;    /* of the row, for judge_fits() */

	/* For the evaluation. */
	SetPlan *params_plan; /* of the parameters without a state, in order */
	int nsteps;
	SetStep *steps;
	bool safe;   /* evaluation cannot fail and needs no guard */
	bool opaque; /* evaluation may read the claims or settings, or have effects */
	ExprContext *econtext;
	ParamListInfo values; /* see above */

	/* For rule_tables.c: when it last looked at the tables, and the position of their last change. */
	uint64 looked;
	XLogRecPtr newest;

	List *relations;   /* OIDs that it depends on, without key.relation */
	List *inval_items; /* PlanInvalItems of the functions that it depends on */
} SetRule;

/*
 * Call function(arg) by guard_run(). If it fails, sets *error, and writes that to the server's log. The
 * text begins with (*rule)->what, which the function may set, as it may set *rule (set_run.c).
 */
extern bool set_run(const GuardActor *actor, void (*function)(void *arg), void *arg,
					SetRule *const *rule, SetError *error);

/*
 * The rule for a role, relation and filter. Returns NULL and sets *error if a policy or the filter
 * cannot be used.
 */
extern SetRule *rule_get(const SetRuleKey *key, const FilterExpression *filter, SetError *error);

/* Return true if the rule still is what rule_get() would make. */
extern bool rule_valid(SetRule *rule);

/* Return true if the rule cannot be used now, because a lock was not free just now. */
extern bool rule_is_locked(const SetRule *rule);

/* Note that a lock is not free. */
extern void rule_note_locked(SetRule *rule);

/* Set *error: the rule has to wait, because it takes too much time. */
extern void rule_set_no_time(const SetRule *rule, SetError *error);

/* Free a rule without bindings. */
extern void rule_free(SetRule *rule);

/*
 * Turn the policies' conditions, as the rewriter leaves them, and rule->filter into rule->quals and
 * parameters. relation is NULL for messages. As the rule's role, in the rule's memory context.
 */
extern void rule_set_expression(SetRule *rule, List *policies, Relation relation);

extern bool rule_is_true(const Node *condition);

/* Set what the evaluation of a rule needs. As the rule's role, in the rule's memory context. */
extern void rule_compile(SetRule *rule);

/*
 * An expression of the row as it has to be compiled: the context is parameter first + 1 of values, the
 * payload the next one.
 */
extern Expr *rule_row_expression(Node *expression, ParamListInfo values, int first);

/* Return true if two rules of a relation have the same condition, but for values. */
extern bool rule_same(const SetRule *a, const SetRule *b);

/* ---------------- bindings (binding.c) ---------------- */

/* A place of a binding in the index. */
typedef struct SetKey
{
	SetBinding *binding;
	struct SetKey *next;
	struct SetKey *prev;
	uint32 hash; /* of path and value */
	int path;
	struct IndexRange *range; /* instead of the hash and the list; NULL: none */
} SetKey;

/* What has been found out about a binding and an event. */
#define SET_MARK_OLD     0x1 /* the old row is in the set */
#define SET_MARK_NEW     0x2 /* the new row, or the message, is in the set */
#define SET_MARK_FAILED  0x4
#define SET_MARK_UNKNOWN 0x8
#define SET_MARK_LOCKED  0x10 /* a lock is not free */
#define SET_MARK_LATER   0x20 /* there was no time for it */
#define SET_MARK_SLOW    0x40 /* slow too often */

struct SetBinding
{
	SetRule *rule;
	uint32 hash; /* of rule, values and claims */
	uint32 marks;
	uint64 event; /* the last one that the index found it for */
	int references;
	int wanted; /* see set_want() */

	/* For set_budget.c: µs that the last evaluation took, and that slow ones have taken. */
	uint32 cost;
	int64 slow_us;
	int64 slow_at; /* when the last of these ended */

	int nkeys;
	SetKey *keys; /* in the index, &key if there is only one; NULL: not in it */
	SetKey key;
	dlist_head users;
	const char *claims;                  /* NULL, or what the evaluation needs */
	Datum values[FLEXIBLE_ARRAY_MEMBER]; /* rule->nparams, then as many bool: see BINDING_NULLS() */
};

#define BINDING_NULLS(binding) ((bool *) &(binding)->values[(binding)->rule->nparams])

/* The context of everything that belongs to sets. */
extern MemoryContext set_context(void);

/* ---------------- time (set_budget.c) ---------------- */

#define BUDGET_SLOW_US 1000 /* an evaluation that takes longer is slow */

/* Return true if there is time for an evaluation in the guard, of which the last one took cost µs. */
extern bool budget_allows(uint32 cost);

/* Note how many µs an evaluation took. With a binding, returns false if it is slow too often. */
extern void budget_charge(int64 us);
extern bool budget_charge_binding(SetBinding *binding, int64 us, int64 now);

/* ---------------- judging (judge.c) ---------------- */

/* An event and the relation whose columns its rows have. */
typedef struct SetEvent
{
	char op;
	Relation relation; /* NULL: a message */
	struct EventRows *rows;
} SetEvent;

/* Make columns of the event's rows available. Returns false and sets *reason if that is impossible. */
extern bool judge_read(const SetEvent *event, const Bitmapset *columns, const char **reason);

/* Return true if the event's relation still has columns like these, so that they can be evaluated. */
extern bool judge_fits(const SetEvent *event, const List *vars);

/* Set the parameters behind first to the event's context and payload. */
extern void judge_set_params(const SetEvent *event, ParamListInfo params, int first);

/* Which rows an event has, and what has been read of them. The slot of a message is NULL. */
extern bool judge_has_old(const SetEvent *event);
extern bool judge_has_new(const SetEvent *event);
extern TupleTableSlot *judge_old(const SetEvent *event);
extern TupleTableSlot *judge_new(const SetEvent *event);

/* ---------------- the index (set_index.c) ---------------- */

/*
 * The bindings that an event may concern, *n of them, valid until the next call. Those for which it
 * lacks a value of their keys have SET_MARK_UNKNOWN, with the reason in *reason; marks of the others
 * are 0.
 */
extern SetBinding **index_search(Oid relation, const SetEvent *event, int *n, const char **reason);

#endif /* PG_NOTIFYD_SETS_INTERNAL_H */
