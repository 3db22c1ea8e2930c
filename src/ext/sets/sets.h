/*-------------------------------------------------------------------------
 *
 * sets.h
 *	  Which rows a subscription may see, and what an event does to these rows.
 *
 * A rule is made once for a role, a relation and a form of filter: the policies that PostgreSQL's
 * rewriter finds, and the filter, as one condition on a row. What does not depend on the row is a
 * parameter of the rule. A binding is a rule with values for its parameters, those that one identity
 * has. Bindings with the same rule and equal values are one, so subscriptions can be compared and
 * grouped by their bindings.
 *
 *	  rule.c		finds the policies and makes the rule; rule_expression.c: its parameters
 *	  binding.c		evaluates parameters, shares bindings
 *	  rule_tables.c	finds out whether parameters have to be evaluated again
 *	  set_index.c	finds the bindings that an event may concern; set_keys.c: by which values
 *	  judge.c		evaluates bindings for the rows of an event
 *	  set_budget.c	limits the time that all this takes
 *
 * All of this belongs to one process, and needs a transaction with an active snapshot, except where
 * a function's comment says otherwise. Functions return errors of policies and filters as SetError.
 * They raise an error only if memory runs out, for the cancellation of the process, or for errors
 * of PostgreSQL itself.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SETS_H
#define PG_NOTIFYD_SETS_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "lib/ilist.h"
#include "nodes/bitmapset.h"

#include "ext/filter/filter.h"
#include "ext/sets/set_error.h"

struct EventRows; /* event_rows.h */

typedef struct SetBinding SetBinding;

/* Who asks. */
typedef struct SetIdentity
{
	Oid role;
	const char *claims; /* the token's claims as JSON text, in the server's encoding; NULL: none */
} SetIdentity;

/* ---------------- bindings (binding.c) ---------------- */

/*
 * Bind the policies that apply to the role on the relation, and the filter (NULL: none), to the
 * identity. The relation is InvalidOid for messages, which only a filter can limit.
 *
 * Returns false with error->later if a lock is not free, or if there has been no time for it.
 *
 * On success *binding is a new reference, which set_release() ends. It is NULL if the set is the
 * whole relation: no policies apply, and there is no filter. Later policies change that, so the
 * caller must bind again when the relation or the role has changed. Returns false and sets *error
 * if a policy or the filter cannot be used. Keeps nothing of identity and filter.
 */
extern bool set_bind(Oid relation, const SetIdentity *identity, const FilterExpression *filter,
					 SetBinding **binding, SetError *error);

/* Needs no transaction. The caller must have removed a binding from the index before. */
extern void set_release(SetBinding *binding);

/*
 * Return true if values of the binding may change with any commit, because a sub-select or an
 * opaque function computes them. set_bind() with the next snapshot then returns the binding that is
 * right: the same one, if nothing has changed. Needs no transaction.
 */
extern bool set_needs_refresh(const SetBinding *binding);

/*
 * What had happened when values were computed: decided is a position in the WAL up to which all
 * transactions that wrote had ended, changes is set_changes(). {0} is before everything.
 */
typedef struct SetMoment
{
	XLogRecPtr decided;
	uint64 changes;
} SetMoment;

/* Set *moment to now. To be called before values are computed, with the active snapshot. */
extern void set_moment(SetMoment *moment);

/*
 * Return true if the values that the latest snapshot decides for this binding's identities are
 * certainly those that they were at a moment. Nothing is computed: the tables that sub-selects read
 * have not been written to. The answer is that of the time of the last set_moment().
 */
extern bool set_unchanged(const SetBinding *binding, const SetMoment *since);

/*
 * Return true if relations, roles, policies or functions have changed so that the binding must be
 * made again with set_bind(), and its filter with filter_expression(). Cheap while nothing has
 * changed.
 */
extern bool set_stale(SetBinding *binding);

/*
 * A number that grows whenever a binding may have become stale, or row security may have been enabled
 * for a relation without a binding. Needs no transaction.
 */
extern uint64 set_changes(void);

/*
 * Return true if two bindings of a relation select the same rows for certain: conditions and values
 * are equal. Tells a set that has changed from one that was only made again. Needs no transaction.
 */
extern bool set_same(const SetBinding *a, const SetBinding *b);

/* Return true if the condition is just true, as of a policy USING (true). Needs no transaction. */
extern bool set_is_all(const SetBinding *binding);

/*
 * A hash of the policies of a binding and of their values, without the filter; 0: they let all rows
 * pass. Two bindings of a relation and role with the same hash let the same rows pass. It is
 * the same in other processes. Functions of the row count by their definitions. Needs no
 * transaction.
 */
extern uint64 set_policies(const SetBinding *binding);

/* Needs no transaction. */
extern Oid set_relation(const SetBinding *binding);

/*
 * The columns that judging needs, as attribute numbers minus FirstLowInvalidHeapAttributeNumber.
 * Needs no transaction.
 */
extern const Bitmapset *set_columns(const SetBinding *binding);

/* A list of the caller's own, which the binding must not outlive. Needs no transaction. */
extern dlist_head *set_users(SetBinding *binding);

/* The condition as SQL, with values, for tests and for people. */
extern char *set_describe(const SetBinding *binding);

/* ---------------- the index (set_index.c) ---------------- */

/*
 * Let set_judge_all() consider a binding, or no longer. A binding is there once or not at all. Only
 * set_index_add() needs a transaction. It returns false and sets *error if values of the binding
 * cannot be looked up.
 */
extern bool set_index_add(SetBinding *binding, SetError *error);
extern void set_index_remove(SetBinding *binding);
extern bool set_index_has(const SetBinding *binding);

/* Count who wants what set_judge_all() finds for a binding; it leaves out those that nobody wants. */
extern void set_want(SetBinding *binding, int change);

/* ---------------- judging (judge.c) ---------------- */

/* What an event does to a set. */
typedef enum SetChange
{
	SET_NOTHING,
	SET_ENTERS, /* a row comes in; a message that the filter selects */
	SET_STAYS,  /* a row of the set has changed and is still in it */
	SET_LEAVES, /* a row leaves the set */
	SET_FAILED, /* a policy or the filter raised an error or took too long */
	SET_LATER,  /* not known yet: the event must be judged for this binding again */
	SET_UNKNOWN /* the event does not have a value that is needed */
} SetChange;

/*
 * An event, or the binding of a subscription, begins. Its evaluations are limited in time from here on
 * (set_budget.c). What is over the limit has the result SET_LATER, or error->later. Needs no
 * transaction.
 */
extern void set_budget_begin(void);

/* A time in microseconds of a monotonic clock. */
extern int64 set_clock(void);

/*
 * Judge an event for one binding. op: I, U, D or M, as in the log. Sets *error for SET_FAILED,
 * SET_LATER and SET_UNKNOWN.
 */
extern SetChange set_judge(SetBinding *binding, struct EventRows *rows, char op, SetError *error);

/*
 * Judge an event for all wanted bindings of its relation in the index, and call back for each whose result
 * is not SET_NOTHING. error is NULL unless the result is SET_FAILED, SET_LATER or SET_UNKNOWN. The callback
 * must not add, remove or release bindings. The cost is that of the bindings that the index finds,
 * and of those that have no keys for it.
 */
typedef void (*SetCallback)(SetBinding *binding, SetChange change, const SetError *error,
							void *arg);
extern void
set_judge_all(Oid relation, struct EventRows *rows, char op, SetCallback callback, void *arg);

/* What evaluations in the guard have taken in this process, in microseconds, and how many have failed. */
typedef struct SetTotals
{
	uint64 us;
	uint64 errors;
} SetTotals;

extern SetTotals set_totals;

#endif /* PG_NOTIFYD_SETS_H */
