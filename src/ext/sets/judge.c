/*-------------------------------------------------------------------------
 *
 * judge.c
 *	  Evaluates bindings for the rows of an event.
 *
 * Most conditions cannot fail, and are evaluated at once. The others run in the guard. Those that
 * call nothing but PostgreSQL's own functions without side effects are one batch, which goes on
 * behind the binding where it failed, and ends behind one that is slow, so that the next one has the
 * whole time limit. All others run alone: what a function sets, opens or locks for one
 * identity must be gone before the next one's runs. What there is no time for, or no lock, is left out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/sysattr.h"
#include "executor/executor.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "ext/sets/event_rows.h"
#include "ext/sets/sets_internal.h"

/* ---------------- the rows ---------------- */

bool
judge_read(const SetEvent *event, const Bitmapset *columns, const char **reason)
{
	const char *why;

	if (bms_is_empty(columns) || event->relation == NULL ||
		event_rows_read(event->rows, event->relation, columns, &why))
		return true;
	*reason = why;
	return false;
}

/*
 * Expressions are compiled for the columns that the relation had. If it has changed, and the caller
 * has not seen that with set_changes() yet, the values may be of other types.
 */
bool
judge_fits(const SetEvent *event, const List *vars)
{
	ListCell *cell;

	foreach (cell, vars)
	{
		const Var *var = lfirst_node(Var, cell);
		TupleDesc desc = RelationGetDescr(event->relation);

		if (var->varattno > desc->natts ||
			(var->varattno > 0 && TupleDescAttr(desc, var->varattno - 1)->atttypid != var->vartype))
			return false;
	}
	return true;
}

void
judge_set_params(const SetEvent *event, ParamListInfo params, int first)
{
	ParamExternData *context = &params->params[first];
	ParamExternData *payload = &params->params[first + 1];

	context->isnull = !event_rows_context(event->rows, &context->value);
	payload->isnull = event->relation != NULL || !event_rows_payload(event->rows, &payload->value);
}

bool
judge_has_old(const SetEvent *event)
{
	return event->op == 'U' || event->op == 'D';
}

bool
judge_has_new(const SetEvent *event)
{
	return event->op == 'I' || event->op == 'U' || event->op == 'M';
}

TupleTableSlot *
judge_old(const SetEvent *event)
{
	return event_rows_old(event->rows);
}

TupleTableSlot *
judge_new(const SetEvent *event)
{
	return event->relation != NULL ? event_rows_new(event->rows) : NULL;
}

/* ---------------- one binding ---------------- */

static void
judge_use(const SetBinding *binding, const SetEvent *event)
{
	SetRule *rule = binding->rule;

	for (int i = 0; i < rule->nparams; i++)
	{
		rule->values->params[i].value = binding->values[i];
		rule->values->params[i].isnull = BINDING_NULLS(binding)[i];
	}
	if (rule->uses_context || rule->uses_payload)
		judge_set_params(event, rule->values, rule->nparams);
}

/* Give a plan the row. */
static void
judge_set_columns(SetRule *rule, TupleTableSlot *slot)
{
	int bit = -1;

	while ((bit = bms_next_member(rule->columns, bit)) >= 0)
	{
		int attnum = bit + FirstLowInvalidHeapAttributeNumber;
		ParamExternData *param = &rule->values->params[RULE_COLUMN_PARAM(rule) + attnum - 1];

		param->value = slot->tts_values[attnum - 1];
		param->isnull = slot->tts_isnull[attnum - 1];
	}
	if (rule->uses_row)
	{
		ParamExternData *param = &rule->values->params[RULE_ROW_PARAM(rule) - 1];

		param->value = ExecFetchSlotHeapTupleDatum(slot);
		param->isnull = false;
	}
}

static bool
judge_plan(SetRule *rule, SetPlan *plan, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(rule->econtext->ecxt_per_tuple_memory);
	Datum value;
	bool isnull;

	if (slot != NULL)
		judge_set_columns(rule, slot);
	plan_run(rule, plan, &value, &isnull);
	MemoryContextSwitchTo(old);
	return !isnull && DatumGetBool(value);
}

/*
 * Nothing interrupts LIKE, and it compares a pattern with each place of a value. So raise an error if a
 * filter has a pattern for a value that is too long.
 */
static void
judge_check_lengths(const SetRule *rule, TupleTableSlot *slot)
{
	const Bitmapset *matched = rule->filter->matched;
	int bit = -1;

	while ((bit = bms_next_member(matched, bit)) >= 0)
	{
		int column = bit + FirstLowInvalidHeapAttributeNumber - 1;

		if (TupleDescAttr(slot->tts_tupleDescriptor, column)->attlen == -1 &&
			!slot->tts_isnull[column] &&
			toast_raw_datum_size(slot->tts_values[column]) - VARHDRSZ > SET_MAX_MATCHED)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("a value is too long for a pattern")));
	}
}

/* Whether a row is in the set that judge_use() has prepared. */
static bool
judge_row(SetRule *rule, TupleTableSlot *slot)
{
	bool in = true;

	rule->econtext->ecxt_scantuple = slot;
	for (int i = 0; i < rule->nsteps && in; i++)
	{
		SetStep *step = &rule->steps[i];

		rule->what = step->filter ? rule->filter_what : rule->policies_what;
		if (step->filter && slot != NULL)
			judge_check_lengths(rule, slot);
		in = step->state != NULL ? ExecQual(step->state, rule->econtext)
								 : judge_plan(rule, step->plan, slot);
	}
	ResetExprContext(rule->econtext);
	return in;
}

static void
judge_binding(SetBinding *binding, const SetEvent *event)
{
	uint32 marks = 0;

	judge_use(binding, event);
	if (judge_has_old(event) && judge_row(binding->rule, judge_old(event)))
		marks |= SET_MARK_OLD;
	if (judge_has_new(event) && judge_row(binding->rule, judge_new(event)))
		marks |= SET_MARK_NEW;
	binding->marks |= marks;
}

/* ---------------- batches ---------------- */

typedef struct JudgeBatch
{
	const SetEvent *event;
	SetBinding **bindings;
	int n;
	volatile int next;    /* the first one without a result */
	volatile int64 began; /* set_clock() when its evaluation began */
	SetRule *rule;        /* of that one */
} JudgeBatch;

/* Charge the next binding of the batch for its evaluation. Returns false if that was slow. */
static bool
judge_charge(JudgeBatch *batch)
{
	SetBinding *binding = batch->bindings[batch->next];
	int64 now = set_clock();
	int64 us = now - batch->began;

	batch->began = now;
	if (!budget_charge_binding(binding, us, now))
		binding->marks = SET_MARK_SLOW;
	return us < BUDGET_SLOW_US;
}

/* Return true if a binding can be evaluated now. */
static bool
judge_may(SetBinding *binding)
{
	if (rule_is_locked(binding->rule))
		binding->marks = SET_MARK_LOCKED;
	else if (!budget_allows(binding->cost))
		binding->marks = SET_MARK_LATER;
	else
		return true;
	return false;
}

/* Evaluate the next binding, and those behind it that need not be alone. Called by guard_run(). */
static void
judge_run(void *arg)
{
	JudgeBatch *batch = arg;
	bool alone = batch->bindings[batch->next]->rule->opaque;
	bool more;

	batch->began = set_clock();
	do
	{
		SetBinding *binding = batch->bindings[batch->next];

		batch->rule = binding->rule;
		judge_binding(binding, batch->event);
		more = judge_charge(batch) && !alone;
		batch->next++;
	} while (more && batch->next < batch->n && !batch->bindings[batch->next]->rule->opaque &&
			 judge_may(batch->bindings[batch->next]));
}

/* Evaluate the bindings that need the guard, and call back for those that fail. */
static void
judge_guarded(JudgeBatch *batch, SetCallback callback, void *arg)
{
	while (batch->next < batch->n)
	{
		int first = batch->next;
		SetBinding *binding = batch->bindings[first];
		GuardActor actor = {.role = binding->rule->key.role,
							.claims = binding->claims,
							.opaque = binding->rule->opaque};
		int failed;
		SetError error;

		if (!judge_may(binding))
		{
			batch->next++;
			continue;
		}
		batch->rule = binding->rule;
		if (set_run(&actor, judge_run, batch, &batch->rule, &error))
			continue;
		failed = actor.opaque ? first : batch->next;
		/* The time was over because of those before it: it gets the whole time for itself. */
		if (error.sqlstate == 0 && failed > first)
			continue;
		batch->next = failed;
		(void) judge_charge(batch);
		binding = batch->bindings[failed];
		if (error.later)
		{
			rule_note_locked(binding->rule);
			binding->marks = SET_MARK_LOCKED;
		}
		else
		{
			binding->marks = SET_MARK_FAILED;
			callback(binding, SET_FAILED, &error, arg);
		}
		batch->next++;
	}
}

/* ---------------- all bindings that may be concerned ---------------- */

static void
judge_report(SetBinding *binding, const char *reason, SetCallback callback, void *arg)
{
	SetError error = {.reason = WIRE_POLICY_FAILED};

	if (binding->marks & SET_MARK_FAILED)
		return;
	if (binding->marks & SET_MARK_LOCKED)
		callback(binding, SET_LATER, &error, arg);
	else if (binding->marks & (SET_MARK_LATER | SET_MARK_SLOW))
	{
		rule_set_no_time(binding->rule, &error);
		set_totals.errors += (binding->marks & SET_MARK_LATER) == 0;
		callback(binding, binding->marks & SET_MARK_LATER ? SET_LATER : SET_FAILED, &error, arg);
	}
	else if (binding->marks & SET_MARK_UNKNOWN)
	{
		strlcpy(error.message, reason, sizeof(error.message));
		callback(binding, SET_UNKNOWN, &error, arg);
	}
	else if (binding->marks == (SET_MARK_OLD | SET_MARK_NEW))
		callback(binding, SET_STAYS, NULL, arg);
	else if (binding->marks == SET_MARK_NEW)
		callback(binding, SET_ENTERS, NULL, arg);
	else if (binding->marks == SET_MARK_OLD)
		callback(binding, SET_LEAVES, NULL, arg);
}

/* Make the columns of a rule available. Returns false and sets *reason if that is impossible. */
static bool
judge_rule(const SetEvent *event, const SetRule *rule, const char **reason)
{
	if (event->relation != NULL && (rule->suspect || rule->stale) &&
		(!judge_fits(event, rule->vars) ||
		 (rule->uses_row && RelationGetDescr(event->relation)->natts != rule->ncolumns)))
	{
		*reason = "the table has changed";
		return false;
	}
	return judge_read(event, rule->columns, reason);
}

static void
judge_bindings(const SetEvent *event, SetBinding **bindings, int n, const char *reason,
			   SetCallback callback, void *arg)
{
	JudgeBatch batch = {.event = event};
	SetRule *rule = NULL;
	bool readable = true;

	for (int i = 0; i < n; i++)
	{
		SetBinding *binding = bindings[i];

		if (binding->marks & SET_MARK_UNKNOWN)
			continue;
		if (binding->rule != rule)
			readable = judge_rule(event, binding->rule, &reason);
		rule = binding->rule;
		if (!readable)
			binding->marks = SET_MARK_UNKNOWN;
		else if (rule->safe)
			judge_binding(binding, event);
		else
		{
			if (batch.bindings == NULL)
				batch.bindings = palloc(n * sizeof(SetBinding *));
			batch.bindings[batch.n++] = binding;
		}
	}
	judge_guarded(&batch, callback, arg);
	for (int i = 0; i < n; i++)
		judge_report(bindings[i], reason, callback, arg);
	if (batch.bindings != NULL)
		pfree(batch.bindings);
}

/* Open the relation of an event. Without a lock, as its columns are those of the relcache anyway. */
static bool
judge_open(SetEvent *event, Oid relation)
{
	if (OidIsValid(relation))
		event->relation = RelationIdGetRelation(relation);
	return !OidIsValid(relation) || event->relation != NULL;
}

static void
judge_close(SetEvent *event)
{
	if (event->relation != NULL)
		RelationClose(event->relation);
}

void
set_judge_all(Oid relation, struct EventRows *rows, char op, SetCallback callback, void *arg)
{
	SetEvent event = {.op = op, .rows = rows};
	const char *reason = NULL;
	SetBinding **bindings;
	int n;

	if (!judge_open(&event, relation))
		return;
	bindings = index_search(relation, &event, &n, &reason);
	if (n > 0)
		judge_bindings(&event, bindings, n, reason, callback, arg);
	judge_close(&event);
}

typedef struct JudgeOne
{
	SetChange change;
	SetError *error;
} JudgeOne;

static void
judge_note_one(SetBinding *binding, SetChange change, const SetError *error, void *arg)
{
	JudgeOne *one = arg;

	(void) binding;
	one->change = change;
	if (error != NULL)
		*one->error = *error;
}

SetChange
set_judge(SetBinding *binding, struct EventRows *rows, char op, SetError *error)
{
	SetEvent event = {.op = op, .rows = rows};
	JudgeOne one = {.change = SET_NOTHING, .error = error};

	if (!judge_open(&event, binding->rule->key.relation))
		return SET_NOTHING;
	binding->marks = 0;
	judge_bindings(&event, &binding, 1, NULL, judge_note_one, &one);
	judge_close(&event);
	return one.change;
}
