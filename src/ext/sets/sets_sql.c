/*-------------------------------------------------------------------------
 *
 * sets_sql.c
 *	  Functions for tests: what policies and filters are bound to, and what events do to sets.
 *
 * The extension's script does not declare them, so only a superuser can make them callable:
 *
 *	  CREATE FUNCTION set_add(name text, role regrole, claims text, relation oid, filter text,
 *		OUT condition text, OUT refreshed boolean, OUT error text)
 *		LANGUAGE c AS 'pg_notifyd', 'notifyd_set_add';
 *	  CREATE FUNCTION set_remove(name text) RETURNS void LANGUAGE c STRICT AS 'pg_notifyd', 'notifyd_set_remove';
 *	  CREATE FUNCTION set_look(name text) RETURNS text LANGUAGE c STRICT AS 'pg_notifyd', 'notifyd_set_look';
 *	  CREATE FUNCTION set_unchanged(name text) RETURNS boolean LANGUAGE c STRICT AS 'pg_notifyd', 'notifyd_set_unchanged';
 *	  CREATE FUNCTION set_judge(id bigint, names text[] DEFAULT NULL, OUT name text, OUT change text, OUT error text)
 *		RETURNS SETOF record LANGUAGE c AS 'pg_notifyd', 'notifyd_set_judge';
 *	  CREATE FUNCTION set_time(id bigint, name text, n integer, OUT judge_ns float8, OUT index_ns float8,
 *		OUT bind_ns float8, OUT bytes bigint) LANGUAGE c STRICT AS 'pg_notifyd', 'notifyd_set_time';
 *
 * set_add() binds for an identity, and puts the binding into the index under a name. relation is 0
 * for messages. set_look() says whether the binding is stale, and whether binding again returns the
 * same one, an equal one or another one, which then takes its place. set_unchanged() says whether
 * the tables that a set's sub-selects read are certainly what they were in the last call for this set.
 * set_judge() judges an event of the log for the bindings in the index, or for named ones without the
 * index. set_time() measures.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "ext/base/compat.h"
#include "ext/filter/filter.h"
#include "ext/sets/event_rows.h"
#include "ext/sets/sets_internal.h"

PG_FUNCTION_INFO_V1(notifyd_set_add);
PG_FUNCTION_INFO_V1(notifyd_set_remove);
PG_FUNCTION_INFO_V1(notifyd_set_look);
PG_FUNCTION_INFO_V1(notifyd_set_unchanged);
PG_FUNCTION_INFO_V1(notifyd_set_judge);
PG_FUNCTION_INFO_V1(notifyd_set_time);

typedef struct TestSet
{
	char *name;
	char *claims;
	char *filter;
	Oid role;
	Oid relation;
	SetBinding *binding; /* NULL: every row */
	SetMoment looked_at;
	dlist_node in_users;
} TestSet;

static List *test_sets = NIL;

static TestSet *
test_find(text *name)
{
	ListCell *cell;

	foreach (cell, test_sets)
	{
		TestSet *set = lfirst(cell);

		if (strcmp(set->name, text_to_cstring(name)) == 0)
			return set;
	}
	elog(ERROR, "there is no set \"%s\"", text_to_cstring(name));
}

static bool
test_bind(TestSet *set, SetBinding **binding, SetError *error)
{
	SetIdentity identity = {.role = set->role, .claims = set->claims};
	FilterExpression *filter = NULL;

	if (set->filter != NULL)
	{
		char *message = "";
		GuardActor actor = {.role = set->role, .claims = set->claims, .opaque = true};
		const char *parse_error;
		FilterNode *node = filter_parse(set->filter, strlen(set->filter), palloc, &parse_error);

		if (node == NULL)
			elog(ERROR, "%s", parse_error);
		if (filter_expression(node, set->relation, NULL, &actor, &filter, &message) != FILTER_TYPED)
			elog(ERROR, "%s", message);
	}
	return set_bind(set->relation, &identity, filter, binding, error);
}

static void
test_place(TestSet *set, SetBinding *binding)
{
	SetError error;

	set->binding = binding;
	if (binding == NULL)
		return;
	if (!set_index_has(binding) && !set_index_add(binding, &error))
		elog(ERROR, "%s", error.message);
	set_want(binding, 1);
	dlist_push_tail(set_users(binding), &set->in_users);
}

static void
test_displace(TestSet *set)
{
	if (set->binding == NULL)
		return;
	dlist_delete(&set->in_users);
	set_want(set->binding, -1);
	if (dlist_is_empty(set_users(set->binding)))
		set_index_remove(set->binding);
	set_release(set->binding);
}

static char *
test_argument(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));
}

Datum
notifyd_set_add(PG_FUNCTION_ARGS)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	TestSet *set = palloc0(sizeof(TestSet));
	SetBinding *binding = NULL;
	SetError error;
	TupleDesc desc;
	Datum values[3] = {0};
	bool nulls[3] = {true, true, true};

	guard_isolates = true;
	set->name = test_argument(fcinfo, 0);
	set->role = PG_GETARG_OID(1);
	set->claims = test_argument(fcinfo, 2);
	set->relation = PG_GETARG_OID(3);
	set->filter = test_argument(fcinfo, 4);
	MemoryContextSwitchTo(old);
	if (test_bind(set, &binding, &error))
	{
		test_place(set, binding);
		values[0] = CStringGetTextDatum(binding != NULL ? set_describe(binding) : "every row");
		values[1] = BoolGetDatum(binding != NULL && set_needs_refresh(binding));
		nulls[0] = nulls[1] = false;
		old = MemoryContextSwitchTo(TopMemoryContext);
		test_sets = lappend(test_sets, set);
		MemoryContextSwitchTo(old);
	}
	else
	{
		values[2] = CStringGetTextDatum(error.message);
		nulls[2] = false;
	}
	get_call_result_type(fcinfo, NULL, &desc);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
notifyd_set_remove(PG_FUNCTION_ARGS)
{
	TestSet *set = test_find(PG_GETARG_TEXT_PP(0));

	test_displace(set);
	test_sets = list_delete_ptr(test_sets, set);
	PG_RETURN_VOID();
}

Datum
notifyd_set_look(PG_FUNCTION_ARGS)
{
	TestSet *set = test_find(PG_GETARG_TEXT_PP(0));
	SetBinding *binding = NULL;
	SetError error;
	bool stale = set->binding != NULL && set_stale(set->binding);
	const char *what;

	if (!test_bind(set, &binding, &error))
		PG_RETURN_TEXT_P(cstring_to_text(error.message));
	if (binding == set->binding)
		what = "the same";
	else if (binding != NULL && set->binding != NULL && set_same(binding, set->binding))
		what = "equal";
	else
		what = binding != NULL ? set_describe(binding) : "every row";
	test_displace(set);
	test_place(set, binding);
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s%s", stale ? "stale, " : "", what)));
}

Datum
notifyd_set_unchanged(PG_FUNCTION_ARGS)
{
	TestSet *set = test_find(PG_GETARG_TEXT_PP(0));
	SetMoment since = set->looked_at;

	set_moment(&set->looked_at);
	PG_RETURN_BOOL(set->binding == NULL || set_unchanged(set->binding, &since));
}

/* ---------------- judging ---------------- */

typedef struct TestJudging
{
	ReturnSetInfo *result;
	TestSet *only; /* NULL: all in the index */
} TestJudging;

static void
test_report(SetBinding *binding, SetChange change, const SetError *error, void *arg)
{
	static const char *const names[] = {"nothing", "enters", "stays",  "leaves",
										"failed",  "later",  "unknown"};
	TestJudging *judging = arg;
	dlist_iter iter;

	dlist_foreach (iter, set_users(binding))
	{
		TestSet *set = dlist_container(TestSet, in_users, iter.cur);
		Datum values[3] = {CStringGetTextDatum(set->name), CStringGetTextDatum(names[change]),
						   error != NULL ? CStringGetTextDatum(error->message) : (Datum) 0};
		bool nulls[3] = {false, false, error == NULL};

		if (judging->only == NULL || judging->only == set)
			tuplestore_putvalues(judging->result->setResult, judging->result->setDesc, values,
								 nulls);
	}
}

static bool
test_judge(const LogEvent *event, void *arg)
{
	TestJudging *judging = arg;
	EventRows *rows = event_rows_create(CurrentMemoryContext);

	event_rows_set(rows, event);
	if (judging->only == NULL)
		set_judge_all(event->relation, rows, event->op, test_report, judging);
	else if (judging->only->binding != NULL)
	{
		SetError error;
		SetBinding *binding = judging->only->binding;
		SetChange change = set_judge(binding, rows, event->op, &error);

		test_report(binding, change, change == SET_FAILED || change == SET_UNKNOWN ? &error : NULL,
					judging);
	}
	return false;
}

Datum
notifyd_set_judge(PG_FUNCTION_ARGS)
{
	uint64 id = PG_GETARG_INT64(0);
	TestJudging judging = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	Datum *names;
	int n;

	compat_materialized_srf(fcinfo);
	if (PG_ARGISNULL(1))
	{
		log_find(id, GetActiveSnapshot(), test_judge, &judging);
		PG_RETURN_NULL();
	}
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		judging.only = test_find(DatumGetTextPP(names[i]));
		log_find(id, GetActiveSnapshot(), test_judge, &judging);
	}
	PG_RETURN_NULL();
}

/* ---------------- measuring ---------------- */

typedef struct TestTiming
{
	TestSet *set;
	int n;
	double judge_ns;
	double index_ns;
} TestTiming;

static double
test_ns_since(instr_time start, int n)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_DOUBLE(now) * 1e9 / n;
}

static void
test_ignore(SetBinding *binding, SetChange change, const SetError *error, void *arg)
{
	(void) binding;
	(void) change;
	(void) error;
	(void) arg;
}

static bool
test_time(const LogEvent *event, void *arg)
{
	TestTiming *timing = arg;
	EventRows *rows = event_rows_create(CurrentMemoryContext);
	SetError error;
	instr_time start;

	event_rows_set(rows, event);
	(void) set_judge(timing->set->binding, rows, event->op, &error);
	INSTR_TIME_SET_CURRENT(start);
	for (int i = 0; i < timing->n; i++)
		(void) set_judge(timing->set->binding, rows, event->op, &error);
	timing->judge_ns = test_ns_since(start, timing->n);
	INSTR_TIME_SET_CURRENT(start);
	for (int i = 0; i < timing->n; i++)
		set_judge_all(event->relation, rows, event->op, test_ignore, NULL);
	timing->index_ns = test_ns_since(start, timing->n);
	return false;
}

Datum
notifyd_set_time(PG_FUNCTION_ARGS)
{
	TestTiming timing = {.set = test_find(PG_GETARG_TEXT_PP(1)), .n = PG_GETARG_INT32(2)};
	SetIdentity identity = {.role = timing.set->role, .claims = timing.set->claims};
	Datum values[4];
	bool nulls[4] = {0};
	instr_time start;
	TupleDesc desc;

	log_find((uint64) PG_GETARG_INT64(0), GetActiveSnapshot(), test_time, &timing);
	INSTR_TIME_SET_CURRENT(start);
	for (int i = 0; i < timing.n && timing.set->filter == NULL; i++)
	{
		SetBinding *binding;
		SetError error;

		if (!set_bind(timing.set->relation, &identity, NULL, &binding, &error))
			elog(ERROR, "%s", error.message);
		set_release(binding);
	}
	values[2] = Float8GetDatum(test_ns_since(start, timing.n));
	values[0] = Float8GetDatum(timing.judge_ns);
	values[1] = Float8GetDatum(timing.index_ns);
	values[3] = Int64GetDatum(MemoryContextMemAllocated(set_context(), true));
	get_call_result_type(fcinfo, NULL, &desc);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
