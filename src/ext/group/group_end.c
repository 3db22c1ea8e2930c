/*-------------------------------------------------------------------------
 *
 * group_end.c
 *	  Claims of the running transaction, and what its end does with them.
 *
 * A transaction that acknowledges events writes one row to the log, at PRE_COMMIT, as its last one.
 * At COMMIT the entries leave the window before log_decided() is called, so that a copy of the
 * window lacks what rows up to its watermark have acknowledged (group_internal.h).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ext/base/operation.h"
#include "ext/group/group_internal.h"
#include "ext/transaction/pending.h"

/* In TopMemoryContext. */
static struct
{
	GroupClaim *claims;
	int n;
	int size;
} end_claims;

/* The message of the error that ends the transaction. */
static char end_error[GROUP_ERROR_SIZE];

static emit_log_hook_type end_prev_emit_log = NULL;

static void
end_emit_log(ErrorData *error)
{
	if (end_claims.n > 0 && error->elevel >= ERROR && error->message != NULL)
		strlcpy(end_error, error->message, sizeof(end_error));
	if (end_prev_emit_log)
		end_prev_emit_log(error);
}

void
claim_init(void)
{
	end_prev_emit_log = emit_log_hook;
	emit_log_hook = end_emit_log;
}

/* ---------------- the A row ---------------- */

static bool
end_acknowledges(const GroupClaim *claim)
{
	return claim->kind == GROUP_TAKE || claim->kind == GROUP_ACK || claim->kind == GROUP_SET_ASIDE;
}

static int
end_compare(const void *a, const void *b)
{
	const GroupClaim *first = a;
	const GroupClaim *second = b;

	if (first->group != second->group)
		return first->group < second->group ? -1 : 1;
	return first->id < second->id ? -1 : first->id > second->id;
}

/* Write which events the transaction acknowledges: "group:id,difference,...;group:id,..." */
static void
end_acknowledge(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	StringInfoData text;
	int group = 0;
	uint64 last = 0;

	initStringInfo(&text);
	qsort(end_claims.claims, end_claims.n, sizeof(GroupClaim), end_compare);
	for (int i = 0; i < end_claims.n; i++)
	{
		const GroupClaim *claim = &end_claims.claims[i];

		if (!end_acknowledges(claim))
			continue;
		if (claim->group != group)
		{
			appendStringInfo(&text, "%s%d:", group != 0 ? ";" : "", claim->group);
			last = 0;
		}
		appendStringInfo(&text, "%s" UINT64_FORMAT, last != 0 ? "," : "", claim->id - last);
		group = claim->group;
		last = claim->id;
	}
	if (text.len > 0)
	{
		PendingEvent event = {.op = OPERATION_ACKNOWLEDGE, .channel = ""};

		pending_append_silent(&event, text.data, text.len);
	}
	pfree(text.data);
	MemoryContextSwitchTo(old);
}

/* ---------------- what becomes of entries ---------------- */

/* The transaction has committed. The entry is still as the claim has left it. */
static void
end_commit_entry(GroupWindow *window, GroupEntry *entry, const GroupClaim *claim, TimestampTz now)
{
	switch (claim->kind)
	{
		case GROUP_TAKE:
		case GROUP_ACK:
			claim->slot->acknowledged++;
			window_remove(window, entry);
			break;
		case GROUP_SET_ASIDE:
			window_remove(window, entry);
			break;
		case GROUP_HOLD:
			window_lease(window, entry, now + claim->interval);
			break;
		case GROUP_NACK:
			window_fail(window, entry, claim->interval > 0 ? now + claim->interval : 0,
						claim->error);
			break;
		case GROUP_RELEASE:
			window_unclaim(window, entry);
			window->arrived++;
			break;
	}
}

/* The transaction, or the savepoint, was rolled back. */
static void
end_abort_entry(GroupWindow *window, GroupEntry *entry, const GroupClaim *claim)
{
	if (claim->kind == GROUP_SET_ASIDE)
		window_fail(window, entry, 0, NULL);
	else if (claim->kind == GROUP_TAKE || claim->kind == GROUP_HOLD)
		window_fail(window, entry, 0,
					end_error[0] != '\0' ? end_error : "the transaction was rolled back");
	else
		window_lease(window, entry, claim->until);
}

/*
 * End a claim. If the window was loaded again since, because the group was redefined, what the
 * transaction has acknowledged is removed from the new one, as loading would have done.
 */
static void
end_claim(GroupSlot *slot, const GroupClaim *claim, bool commit, TimestampTz now)
{
	GroupEntry *entry = window_find(&slot->window, claim->id);

	if (entry == NULL)
		return;
	if (claim->generation != slot->generation)
	{
		if (commit && end_acknowledges(claim) && entry->state == GROUP_PENDING)
			window_remove(&slot->window, entry);
	}
	else if (commit)
		end_commit_entry(&slot->window, entry, claim, now);
	else
		end_abort_entry(&slot->window, entry, claim);
}

/* Others listen for what has become pending, or may be claimed now. */
static void
end_wake_feed(void)
{
	NotifydDatabase *database = shared_find_database(MyDatabaseId);

	if (database != NULL)
		shared_wake_feed(database);
}

/* End the last claims, down to the first one, and wake consumers for what is pending again. */
static void
end_claims_from(int first, bool commit)
{
	TimestampTz now = GetCurrentTimestamp();

	while (end_claims.n > first)
	{
		GroupSlot *slot = end_claims.claims[end_claims.n - 1].slot;
		int group = end_claims.claims[end_claims.n - 1].group;
		bool locked = slot_lock(slot, group);
		int pending = locked ? slot->window.pending : 0;

		for (; end_claims.n > first && end_claims.claims[end_claims.n - 1].slot == slot &&
			   end_claims.claims[end_claims.n - 1].group == group;
			 end_claims.n--)
		{
			if (locked)
				end_claim(slot, &end_claims.claims[end_claims.n - 1], commit, now);
		}
		if (!locked)
			continue;
		pending = slot->window.pending - pending;
		LWLockRelease(&slot->lock);
		slot_note_dirty(slot);
		slot_wake(slot, pending);
		if (slot->nlisteners > 0)
			end_wake_feed();
	}
	end_error[0] = '\0';
}

/* ---------------- callbacks ---------------- */

static void
end_transaction(XactEvent event, void *arg pg_attribute_unused())
{
	if (end_claims.n == 0)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			end_acknowledge();
			break;
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("cannot PREPARE a transaction that has taken events from a "
								   "consumer group"),
							errhint("Use COMMIT.")));
			break;
		case XACT_EVENT_COMMIT:
			end_claims_from(0, true);
			break;
		case XACT_EVENT_ABORT:
			end_claims_from(0, false);
			break;
		default:
			break;
	}
}

static void
end_subtransaction(SubXactEvent event, SubTransactionId mine pg_attribute_unused(),
				   SubTransactionId parent pg_attribute_unused(), void *arg pg_attribute_unused())
{
	int level = GetCurrentTransactionNestLevel();
	int first = end_claims.n;

	while (first > 0 && end_claims.claims[first - 1].level >= level)
		first--;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		end_claims_from(first, false);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = first; i < end_claims.n; i++)
			end_claims.claims[i].level = level - 1;
	}
}

/* ---------------- claims ---------------- */

void
claim_reserve(int n)
{
	static bool registered = false;

	if (!registered)
	{
		/* Our callback has to be called before that of pending.c at the commit. */
		pending_register_session();
		RegisterXactCallback(end_transaction, NULL);
		RegisterSubXactCallback(end_subtransaction, NULL);
		registered = true;
	}
	if (end_claims.n + n <= end_claims.size)
		return;
	end_claims.size = Max(end_claims.n + n, end_claims.size * 2);
	if (end_claims.claims == NULL)
		end_claims.claims =
			MemoryContextAlloc(TopMemoryContext, end_claims.size * sizeof(GroupClaim));
	else
		end_claims.claims = repalloc_huge(end_claims.claims, end_claims.size * sizeof(GroupClaim));
}

void
claim_add(const GroupDefinition *definition, const GroupEntry *entry, GroupClaimKind kind)
{
	Assert(end_claims.n < end_claims.size);
	end_claims.claims[end_claims.n++] = (GroupClaim){.slot = definition->slot,
													 .generation = definition->slot->generation,
													 .id = entry->id,
													 .group = definition->id,
													 .level = GetCurrentTransactionNestLevel(),
													 .kind = kind,
													 .until = entry->until,
													 .interval = definition->lease};
}

GroupClaim *
claim_last(void)
{
	return &end_claims.claims[end_claims.n - 1];
}

void
claim_forget(uint64 id)
{
	for (int i = end_claims.n - 1; i >= 0; i--)
	{
		if (end_claims.claims[i].id != id)
			continue;
		end_claims.n--;
		memmove(&end_claims.claims[i], &end_claims.claims[i + 1],
				(end_claims.n - i) * sizeof(GroupClaim));
		return;
	}
}
