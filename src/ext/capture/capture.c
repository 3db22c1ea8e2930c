/*-------------------------------------------------------------------------
 *
 * capture.c
 *	  The trigger function that turns changes into events.
 *
 * It runs for every row in the session and with the privileges of the writer, so it runs no SQL and
 * needs no privilege. A plan (capture_plan.c) holds everything that depends on the watch and the
 * table. The values of the row are written as JSON directly into the event's text
 * (capture_event.c), which goes into the transaction's buffer (pending.c).
 *
 *	  members	INSERT key new | UPDATE key new old | DELETE key old | TRUNCATE none
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "storage/itemptr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "ext/base/operation.h"
#include "ext/capture/capture.h"
#include "ext/base/extension.h"
#include "ext/transaction/pending.h"
#include "ext/base/shared.h"
#include "ext/watch/watch.h"

PG_FUNCTION_INFO_V1(notifyd_capture);

void
capture_protocol_error(const Trigger *trigger, Relation relation, const char *problem)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
		 errmsg("function %s.%s() %s", EXTENSION_SCHEMA, "capture", problem),
		 errhint("Run DROP TRIGGER %s ON %s. If the table is to be watched, call notify_watch(), "
				 "which creates the triggers that it needs.",
				 quote_identifier(trigger->tgname),
				 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
											RelationGetRelationName(relation)))));
}

static CaptureRow
capture_row(CapturePlan *plan, TupleTableSlot *slot)
{
	slot_getsomeattrs(slot, plan->natts);
	return (CaptureRow){.plan = plan, .values = slot->tts_values, .isnull = slot->tts_isnull};
}

/* Return true unless the watch has update_of and the UPDATE changed none of its columns. */
static bool
capture_update_of_changed(const CaptureRow *old, const CaptureRow *new)
{
	if (new->plan->nupdate_of < 0)
		return true;
	for (int i = 0; i < new->plan->nupdate_of; i++)
	{
		if (!capture_same(&old->plan->update_of[i], old, &new->plan->update_of[i], new))
			return true;
	}
	return false;
}

void
capture_change(char op, CaptureRow *old, CaptureRow *new)
{
	if (op == OPERATION_UPDATE && !capture_update_of_changed(old, new))
		return;
	capture_event(op, old, new);
}

static void
capture_truncate(CapturePlan *plan)
{
	CaptureRow none = {.plan = plan};

	capture_event(OPERATION_TRUNCATE, NULL, &none);
}

static void
capture_inserted(CapturePlan *plan, const TriggerData *trigger)
{
	CaptureRow new = capture_row(plan, trigger->tg_trigslot);

	if (plan->track_moves)
	{
		if (capture_join(&new, trigger->tg_trigtuple))
			return;
		capture_flush_moved();
	}
	else
		capture_flush_other(trigger->tg_trigtuple, true);
	if (plan->ops & WIRE_OP_INSERT)
		capture_change(OPERATION_INSERT, NULL, &new);
}

static void
capture_deleted(CapturePlan *plan, const TriggerData *trigger)
{
	capture_flush_other(trigger->tg_trigtuple, false);
	if (plan->track_moves &&
		ItemPointerIndicatesMovedPartitions(&trigger->tg_trigtuple->t_data->t_ctid))
	{
		capture_hold(plan, trigger->tg_trigtuple);
		return;
	}
	if (plan->ops & WIRE_OP_DELETE)
	{
		CaptureRow old = capture_row(plan, trigger->tg_trigslot);

		capture_change(OPERATION_DELETE, &old, NULL);
	}
}

static void
capture_updated(CapturePlan *plan, const TriggerData *trigger)
{
	capture_flush_moved();
	if (plan->ops & WIRE_OP_UPDATE)
	{
		CaptureRow old = capture_row(plan, trigger->tg_trigslot);
		CaptureRow new = capture_row(plan, trigger->tg_newslot);

		capture_change(OPERATION_UPDATE, &old, &new);
	}
}

/*
 * The trigger function. Its argument is the id of the watch. It is an AFTER trigger, for each row
 * on INSERT, UPDATE and DELETE, and for each statement on TRUNCATE. If the library is not
 * preloaded, it raises the error of shared_require(), because losing the change silently would be
 * worse.
 */
Datum
notifyd_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	CapturePlan *plan;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function %s.%s() was not called by the trigger manager",
							   EXTENSION_SCHEMA, "capture")));
	if (!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		TRIGGER_FIRED_FOR_ROW(trigger->tg_event) == TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		capture_protocol_error(trigger->tg_trigger, trigger->tg_relation,
							   "must be fired after a row was changed, or a table truncated");
	shared_require();
	plan = capture_plan(trigger->tg_trigger, trigger->tg_relation);
	if (plan->orphan)
		return PointerGetDatum(NULL);

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		capture_inserted(plan, trigger);
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		capture_updated(plan, trigger);
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		capture_deleted(plan, trigger);
	else
	{
		capture_flush_moved();
		if (plan->ops & WIRE_OP_TRUNCATE)
			capture_truncate(plan);
	}
	return PointerGetDatum(NULL);
}
