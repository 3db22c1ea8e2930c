/*-------------------------------------------------------------------------
 *
 * group_take.c
 *	  notify_take(): takes events from a consumer group.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "libpq/libpq-be.h"
#include "libpq/libpq.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ext/access/access.h"
#include "ext/base/buffer.h"
#include "ext/base/compat.h"
#include "ext/base/operation.h"
#include "ext/group/group_internal.h"
#include "ext/sets/event_body.h"

PG_FUNCTION_INFO_V1(notify_take);

/* A consumer that waits looks at least this often, and so often if a standby has to confirm. */
#define TAKE_LOOK_MS    1000
#define TAKE_STANDBY_MS 10

typedef struct Take
{
	const GroupDefinition *definition;
	GroupSlot *slot;
	NotifydDatabase *database; /* while the session waits */
	GroupClaimKind kind;
	int count;
	int got;
	Size room;       /* for texts of events */
	uint64 scanned;  /* as of the last look at the window */
	uint64 arrived;  /* the same */
	TimestampTz due; /* when an entry is due */
	void (*taken)(void *arg, uint64 delivery, int attempt, const char *position, StringInfo event);
	void *arg;
	LogGetter getter;
	MemoryContext context; /* of the call */
	GroupSets *sets;       /* NULL: not needed so far */
	uint64 lost_first;     /* claimed, but no longer in the log; 0: none */
	uint64 lost_last;
	bool warned;
	StringInfoData text;
	MemoryContext each; /* reset for each event */
	bool allowed;
	GroupEntry claimed[64];
} Take;

/* ---------------- what the taker gets ---------------- */

/*
 * Return true if the taker may read an event. The last answer is kept until something changes that it
 * depends on.
 */
static bool
take_allowed(const LogEvent *event)
{
	static struct
	{
		Oid role;
		Oid relation;
		int ncolumns;
		int16 columns[64];
		int channel_length;
		char channel[NAMEDATALEN];
		uint64 as_of;
		bool allowed;
	} known;
	AccessReason reason;
	Oid role = GetUserId();
	Size size = Max(event->ncolumns, 0) * sizeof(int16);

	if (known.role == role && known.relation == event->relation &&
		known.ncolumns == event->ncolumns && known.as_of == group_changes() &&
		known.channel_length == event->channel_length &&
		memcmp(known.columns, event->columns != NULL ? event->columns : known.columns, size) == 0 &&
		memcmp(known.channel, event->channel, event->channel_length) == 0)
		return known.allowed;
	known.as_of = group_changes();
	known.allowed = OidIsValid(event->relation)
						? access_relation_allowed(role, event->relation, event->ncolumns,
												  event->columns, &reason)
						: access_event_allowed(role, event, &reason);
	known.role = size <= sizeof(known.columns) ? role : InvalidOid;
	known.relation = event->relation;
	known.ncolumns = event->ncolumns;
	if (event->columns != NULL && size <= sizeof(known.columns))
		memcpy(known.columns, event->columns, size);
	known.channel_length = event->channel_length;
	memcpy(known.channel, event->channel, event->channel_length);
	return known.allowed;
}

/*
 * The filter can run functions that the owner of the group has written, such as casts of a column's
 * type. It has decided for the owner before. So a superuser, for whom row security does not apply
 * either, gets what the owner gets, and the functions run as the owner only.
 */
static GroupSets *
take_create_sets(Take *take)
{
	const GroupDefinition *definition = take->definition;
	const char *claims = GetConfigOption("request.jwt.claims", true, false);
	MemoryContext old = MemoryContextSwitchTo(take->context);
	GroupSets *sets = definition->filter != NULL && has_bypassrls_privilege(GetUserId())
						  ? group_sets_create(definition, definition->owner, NULL)
						  : group_sets_create(definition, GetUserId(), claims);

	MemoryContextSwitchTo(old);
	return sets;
}

/* An event that was set aside is in the log as it was. Its rows are no longer known. */
static bool
take_retried_event(Take *take, const LogEvent *event)
{
	GroupRetry retry = group_parse_retry(event);
	LogEvent original = *event;

	original.op = OPERATION_MESSAGE;
	original.channel = retry.channel;
	original.channel_length = retry.channel_length;
	take->allowed = take_allowed(&original) && !(OidIsValid(event->relation) &&
												 access_row_security(GetUserId(), event->relation));
	if (take->allowed)
		appendBinaryStringInfo(&take->text, retry.event, (int) retry.event_length);
	return false;
}

static void
take_put(void *arg, const char *data, size_t length)
{
	appendBinaryStringInfo(arg, data, (int) length);
}

/* The event as a subscriber gets it for whom it means this. */
static void
take_append_event(Take *take, const LogEvent *event, SetChange change)
{
	BodyChange kind = change == SET_ENTERS   ? BODY_ENTERS
					  : change == SET_LEAVES ? BODY_LEAVES
											 : BODY_UNCHANGED;
	StringInfoData whole;
	Body body;
	bool bare;

	initStringInfo(&whole);
	log_render_prefix(&whole, event->id, event->tx, event->seq, event->of, event->at);
	log_append_text(&whole, event, event->event_length);
	buffer_put_literal(&whole, "}");
	if (event->op != OPERATION_UPDATE || kind == BODY_UNCHANGED)
	{
		appendBinaryStringInfo(&take->text, whole.data, whole.len);
		return;
	}
	/* A payload may tell of the old row, which row security may hide. */
	bare = kind == BODY_ENTERS && access_row_security(GetUserId(), event->relation);
	take->allowed = body_open(&body, whole.data, (size_t) whole.len) &&
					body_write(&body, kind, NULL, bare, false, take_put, &take->text);
}

/* Once in a call: why the taker does not get an event. */
static void
take_warn(Take *take, const SetError *error)
{
	if (error->later || take->warned)
		return;
	take->warned = true;
	ereport(WARNING, (errmsg("events of consumer group \"%s\" stay for other consumers",
							 NameStr(take->definition->name)),
					  errdetail("Row-level security could not be evaluated: %s", error->message)));
}

/*
 * What the event means for the taker. What cannot be judged is given only to those who may see every
 * row.
 */
static SetChange
take_judge(Take *take, const LogEvent *event)
{
	bool restricted =
		OidIsValid(event->relation) && access_row_security(GetUserId(), event->relation);
	SetChange change;
	SetError error;

	if (!restricted && take->definition->filter == NULL)
		return SET_STAYS;
	if (take->sets == NULL)
		take->sets = take_create_sets(take);
	if (group_sets_judge(take->sets, event, &change, &error))
		return change;
	if (!restricted)
		return SET_STAYS;
	take_warn(take, &error);
	return SET_NOTHING;
}

static bool
take_event(const LogEvent *event, void *arg)
{
	Take *take = arg;
	SetChange change;

	if (event->op == OPERATION_RETRY)
		return take_retried_event(take, event);
	take->allowed = take_allowed(event);
	if (!take->allowed)
		return false;
	change = take_judge(take, event);
	take->allowed = change != SET_NOTHING;
	if (take->allowed)
		take_append_event(take, event, change);
	return false;
}

static void
take_lost_event(Take *take, const GroupEntry *entry)
{
	appendStringInfoString(&take->text, "{\"position\":\"");
	log_render_position(&take->text, entry->id);
	appendStringInfo(&take->text,
					 "\",\"op\":\"RESET\",\"reason\":\"events were removed by retention\","
					 "\"from\":" UINT64_FORMAT ",\"to\":" UINT64_FORMAT "}",
					 entry->key, entry->id);
}

static void
take_return(Take *take, const GroupEntry *entry)
{
	StringInfoData position;

	initStringInfo(&position);
	log_render_position(&position, entry->id);
	take->taken(take->arg, entry->delivery, entry->attempts, position.data, &take->text);
	take->room -= Min(take->room, (Size) take->text.len);
	take->got++;
}

/* Read a claimed event and return it. Returns false if the taker may not see it. */
static bool
take_read(Take *take, GroupEntry *entry)
{
	MemoryContext old = MemoryContextSwitchTo(take->each);

	take->allowed = true;
	resetStringInfo(&take->text);
	if (!OidIsValid(entry->address.table) ||
		!log_get(&take->getter, entry->id, &entry->address, take_event, take))
	{
		if (OidIsValid(entry->address.table))
		{
			window_lose(entry);
			take->lost_first = take->lost_first != 0 ? take->lost_first : entry->id;
			take->lost_last = entry->id;
		}
		take_lost_event(take, entry);
	}
	if (take->allowed)
		take_return(take, entry);
	MemoryContextSwitchTo(old);
	MemoryContextReset(take->each);
	return take->allowed;
}

/* ---------------- claiming ---------------- */

/* Give an event back that the taker may not see. */
static void
take_give_back(Take *take, const GroupEntry *entry)
{
	GroupEntry *shared;

	if (!slot_lock(take->slot, take->definition->id))
		return;
	shared = window_find(&take->slot->window, entry->id);
	if (shared != NULL && shared->delivery == entry->delivery)
		window_unclaim(&take->slot->window, shared);
	LWLockRelease(&take->slot->lock);
	claim_forget(entry->id);
}

/* Claim pending entries behind an id. Returns how many. */
static int
take_claim(Take *take, uint64 after)
{
	int n = Min(take->count - take->got, (int) lengthof(take->claimed));
	GroupWindow *window = &take->slot->window;

	claim_reserve(n);
	window_draw_numbers(n);
	while (!slot_lock(take->slot, take->definition->id))
		group_load(take->definition, take->slot);
	take->slot->taken_at = GetCurrentTimestamp();
	(void) window_expire(window, take->slot->taken_at);
	n = window_claim(window, after, n, take->definition->ordered, MyProcPid, take->claimed);
	for (int i = 0; i < n; i++)
	{
		claim_add(take->definition, &take->claimed[i], take->kind);
		take->slot->redelivered += take->claimed[i].attempts > 1;
	}
	take->scanned = window->scanned;
	take->arrived = window->arrived;
	take->due = window->due;
	LWLockRelease(&take->slot->lock);
	return n;
}

static bool
take_is_full(const Take *take)
{
	return take->got >= take->count || take->room == 0;
}

/* Take what is in the window. */
static void
take_pending(Take *take)
{
	uint64 after = 0;
	int n;

	while (!take_is_full(take) && (n = take_claim(take, after)) > 0)
	{
		for (int i = 0; i < n; i++)
		{
			after = take->claimed[i].id;
			if (take_is_full(take) || !take_read(take, &take->claimed[i]))
				take_give_back(take, &take->claimed[i]);
		}
	}
}

/* Count and report what retention has removed before the feed could. */
static void
take_report_lost(Take *take)
{
	if (take->lost_first == 0)
		return;
	if (slot_lock(take->slot, take->definition->id))
	{
		take->slot->lost++;
		LWLockRelease(&take->slot->lock);
	}
	group_report_lost(take->definition, take->lost_first, take->lost_last);
	take->lost_first = 0;
}

/* Take what there is now. */
static void
take_now(Take *take)
{
	do
	{
		CHECK_FOR_INTERRUPTS();
		take_pending(take);
	} while (!take_is_full(take) &&
			 group_fill(take->definition, take->slot, take->scanned, take->count - take->got));
	log_end_get(&take->getter);
	take_report_lost(take);
}

/* ---------------- waiting ---------------- */

/* Called after an error, too, and when the process exits. */
static void
take_end_waiting(int code pg_attribute_unused(), Datum arg)
{
	Take *take = (Take *) DatumGetPointer(arg);

	pg_atomic_fetch_sub_u32(&take->slot->waiting, 1);
	pg_atomic_fetch_sub_u32(&take->database->consumers_waiting, 1);
}

/* How long to sleep, in ms. */
static long
take_sleep_ms(const Take *take, TimestampTz end)
{
	TimestampTz now = GetCurrentTimestamp();
	long ms = Min(TAKE_LOOK_MS, TimestampDifferenceMilliseconds(now, end) + 1);
	XLogRecPtr lsn;

	if (take->due != DT_NOEND)
		ms = Min(ms, TimestampDifferenceMilliseconds(now, take->due) + 1);
	if (log_watermark(take->database, &lsn) > take->scanned && !log_make_durable(lsn))
		ms = Min(ms, TAKE_STANDBY_MS);
	return ms;
}

/*
 * End a session whose client is gone while it waits. It would take the next event for nobody, which
 * would count as an attempt, or even acknowledge it. PostgreSQL itself would notice that only when it
 * sends the result, or at client_connection_check_interval.
 */
static void
take_check_client(void)
{
	if (MyProcPort == NULL)
		return;
	if (!pq_check_connection())
	{
		ClientConnectionLost = true;
		InterruptPending = true;
		CHECK_FOR_INTERRUPTS();
	}
	/* The check may have reset the latch, which somebody set to wake the session. */
	SetLatch(MyLatch);
}

/* Wait until there is an event, or until then. */
static void
take_wait(Take *take, TimestampTz end)
{
	GroupSlot *slot = take->slot;

	take->database = log_attach();
	pg_atomic_fetch_add_u32(&slot->waiting, 1);
	pg_atomic_fetch_add_u32(&take->database->consumers_waiting, 1);
	PG_ENSURE_ERROR_CLEANUP(take_end_waiting, PointerGetDatum(take));
	{
		ConditionVariablePrepareToSleep(&slot->wake);
		for (;;)
		{
			take_check_client();
			take_now(take);
			if (take->got > 0 || GetCurrentTimestamp() >= end)
				break;
			(void) ConditionVariableTimedSleep(&slot->wake, take_sleep_ms(take, end),
											   PG_WAIT_EXTENSION);
		}
		ConditionVariableCancelSleep();
	}
	PG_END_ENSURE_ERROR_CLEANUP(take_end_waiting, PointerGetDatum(take));
	take_end_waiting(0, PointerGetDatum(take));
}

/* ---------------- the functions ---------------- */

/* Begin to take from a group, in the current memory context. */
static Take *
take_begin(const char *name, int count, GroupClaimKind kind)
{
	Take *take = palloc0(sizeof(Take));

	take->definition = group_find(name);
	take->slot = take->definition->slot;
	take->count = count;
	take->room = SIZE_MAX;
	take->kind = kind;
	take->each =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd event", ALLOCSET_DEFAULT_SIZES);
	take->context = take->getter.context = CurrentMemoryContext;
	initStringInfo(&take->text);
	return take;
}

bool
group_take(const GroupTaking *taking)
{
	Take *take;
	bool more;

	group_require("notify_take()");
	take = take_begin(taking->name, taking->count, GROUP_HOLD);
	take->room = taking->bytes;
	take->taken = taking->taken;
	take->arg = taking->arg;
	take_now(take);
	more = take_is_full(take);
	if (!more)
		group_listen(take->slot, taking->gateway, take->arrived);
	MemoryContextDelete(take->each);
	return more;
}

static const char *const take_arguments[] = {"name", "count", "hold", "wait", "listen"};

static void
take_check_arguments(FunctionCallInfo fcinfo)
{
	group_require("notify_take()");
	PreventCommandIfParallelMode("notify_take()");
	for (int i = 0; i < PG_NARGS(); i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("%s must not be null", take_arguments[i])));
	}
	if (PG_GETARG_INT32(1) < 1 || PG_GETARG_INT32(1) > GROUP_WINDOW)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("count must be from 1 to %d", GROUP_WINDOW)));
}

static void
take_put_row(void *arg, uint64 delivery, int attempt, const char *position, StringInfo event)
{
	ReturnSetInfo *result = arg;
	bool nulls[4] = {false};
	Datum values[4] = {
		Int64GetDatum((int64) delivery),
		PointerGetDatum(cstring_to_text(position)),
		Int32GetDatum(attempt),
		PointerGetDatum(cstring_to_text_with_len(event->data, event->len)),
	};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * notify_take(name, count, hold, wait, listen) -> id, position, attempt, event
 *
 * Returns up to count events that no other consumer has, in order, and claims them for the
 * transaction: COMMIT acknowledges them, or begins their leases if hold is true.
 */
Datum
notify_take(PG_FUNCTION_ARGS)
{
	Take *take;
	int64 wait;

	take_check_arguments(fcinfo);
	compat_materialized_srf(fcinfo);
	take = take_begin(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_INT32(1),
					  PG_GETARG_BOOL(2) ? GROUP_HOLD : GROUP_TAKE);
	take->taken = take_put_row;
	take->arg = fcinfo->resultinfo;
	wait = group_interval_us(PG_GETARG_INTERVAL_P(3));
	take_now(take);
	if (take->got == 0 && wait > 0)
		take_wait(take, GetCurrentTimestamp() + wait);
	if (take->got == 0 && PG_GETARG_BOOL(4))
		group_listen(take->slot, GROUP_THIS_SESSION, take->arrived);
	MemoryContextDelete(take->each);
	PG_RETURN_NULL();
}
