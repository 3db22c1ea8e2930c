/*-------------------------------------------------------------------------
 *
 * group_ack.c
 *	  notify_ack() and notify_nack(): end the leases of deliveries.
 *
 * A delivery is known by its number, which no later delivery of the same event has. So a consumer
 * whose lease has expired cannot acknowledge an event that another one has by then.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ext/group/group_internal.h"

PG_FUNCTION_INFO_V1(notify_ack);
PG_FUNCTION_INFO_V1(notify_nack);

/* What the functions do with a lease. */
typedef struct Ack
{
	const GroupDefinition *definition;
	GroupClaimKind kind;
	GroupIds deliveries;
	int64 delay;
	const char *error;
	int done;
	bool busy; /* another transaction has claimed some of them */
} Ack;

static void
ack_read_ids(Ack *ack, ArrayType *array)
{
	Datum *ids;
	bool *nulls;
	int n;

	deconstruct_array(array, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &ids, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			group_ids_add(&ack->deliveries, (uint64) DatumGetInt64(ids[i]));
	}
	group_ids_sort(&ack->deliveries);
}

static void
ack_read_arguments(FunctionCallInfo fcinfo, Ack *ack, const char *function)
{
	group_require(function);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null", PG_ARGISNULL(0) ? "name" : "ids")));
	ack->definition = group_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	ack_read_ids(ack, PG_GETARG_ARRAYTYPE_P(1));
}

/* Claim a leased entry. */
static void
ack_entry(Ack *ack, GroupWindow *window, GroupEntry *entry)
{
	claim_add(ack->definition, entry, ack->kind);
	if (ack->kind == GROUP_NACK)
	{
		claim_last()->interval = ack->delay;
		claim_last()->error = ack->error;
	}
	window_claim_leased(window, entry, ack->kind == GROUP_ACK ? MyProcPid : 0);
}

/*
 * In an ordered group, events that were delivered together with one of the same key that is given
 * back are given back, too. Otherwise they could be handled before it.
 */
static void
ack_give_back_followers(Ack *ack, GroupWindow *window, const GroupEntry *given_back)
{
	for (GroupEntry *entry = (GroupEntry *) given_back + 1; entry < window->entries + window->end;
		 entry++)
	{
		if (entry->state == GROUP_LEASED && entry->key == given_back->key)
			ack_entry(ack, window, entry);
	}
}

/* Return true if another transaction is about to end one of the leases. */
static bool
ack_is_busy(const Ack *ack, const GroupWindow *window)
{
	for (int i = window->begin; i < window->end; i++)
	{
		if (window->entries[i].state == GROUP_CLAIMED &&
			group_ids_have(&ack->deliveries, window->entries[i].delivery))
			return true;
	}
	return false;
}

/* Claim the leases of these deliveries. Returns how many there were. */
static int
ack_claim(Ack *ack)
{
	GroupSlot *slot = ack->definition->slot;
	GroupWindow *window = &slot->window;

	claim_reserve(ack->definition->ordered ? GROUP_WINDOW : Min(ack->deliveries.n, GROUP_WINDOW));
	while (!slot_lock(slot, ack->definition->id))
		group_load(ack->definition, slot);
	(void) window_expire(window, GetCurrentTimestamp());
	ack->busy = ack_is_busy(ack, window);
	for (int i = window->begin; i < window->end; i++)
	{
		GroupEntry *entry = &window->entries[i];

		if (entry->state != GROUP_LEASED || !group_ids_have(&ack->deliveries, entry->delivery))
			continue;
		ack_entry(ack, window, entry);
		ack->done++;
		if (ack->definition->ordered && ack->kind != GROUP_ACK)
			ack_give_back_followers(ack, window, entry);
	}
	LWLockRelease(&slot->lock);
	return ack->done;
}

/*
 * notify_ack(name, ids) -> integer
 *
 * Acknowledges deliveries that this or another session has taken with hold => true, when the
 * transaction commits. Returns how many of them still had their leases.
 */
Datum
notify_ack(PG_FUNCTION_ARGS)
{
	Ack ack = {.kind = GROUP_ACK};

	ack_read_arguments(fcinfo, &ack, "notify_ack()");
	PG_RETURN_INT32(ack_claim(&ack));
}

/*
 * notify_nack(name, ids, delay, error) -> integer
 *
 * Gives deliveries back, when the transaction commits. They come again after the delay.
 */
Datum
notify_nack(PG_FUNCTION_ARGS)
{
	Ack ack = {.kind = GROUP_NACK};

	ack_read_arguments(fcinfo, &ack, "notify_nack()");
	if (PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("delay must not be null")));
	ack.delay = group_interval_us(PG_GETARG_INTERVAL_P(2));
	if (!PG_ARGISNULL(3))
		ack.error =
			MemoryContextStrdup(TopTransactionContext, text_to_cstring(PG_GETARG_TEXT_PP(3)));
	PG_RETURN_INT32(ack_claim(&ack));
}

bool
group_release(const char *name, ArrayType *ids, bool failed)
{
	Ack ack = {.definition = group_find_any(name),
			   .kind = failed ? GROUP_NACK : GROUP_RELEASE,
			   .error = failed ? "the client has disconnected" : NULL};

	ack_read_ids(&ack, ids);
	(void) ack_claim(&ack);
	return !ack.busy;
}
