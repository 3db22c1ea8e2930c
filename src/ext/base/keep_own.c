/*-------------------------------------------------------------------------
 *
 * keep_own.c
 *	  Keeps logical replication from changing the extension's tables.
 *
 * A publication FOR ALL TABLES or FOR TABLES IN SCHEMA notifyd contains the extension's tables too,
 * and a subscriber with the extension has tables of the same names. Their contents belong to one
 * server: its log, segments and watches. Three rules keep them apart:
 *
 *	  The publisher writes and truncates its log without logical decoding (log_write.c, log_segment.c).
 *	  The subscriber discards rows that a subscription brings nevertheless, for example those of the
 *	  other tables and those of an initial copy.
 *	  The subscriber refuses a TRUNCATE of a subscription: a trigger cannot discard it, and it would lose
 *	  events unnoticed.
 *
 * The triggers are ENABLE REPLICA, so ordinary sessions do not even call them. Writes to the log
 * bypass triggers anyway (heap_insert()).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "replication/origin.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(notifyd_keep_own);

/*
 * Return true if this session applies changes of another server. The workers of a subscription set
 * a replication origin (replication/logical/worker.c, tablesync.c), and so do other replication
 * systems. The setting session_replication_role is not enough: dumps are often restored with it,
 * and must restore watches and grants.
 */
static bool
keep_own_applying(void)
{
	return replorigin_session_origin != InvalidRepOriginId;
}

/* Ignore a change of a row by another server. */
Datum
notifyd_keep_own(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TriggerEvent event;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" was not called by trigger manager", "keep_own")));
	event = trigger->tg_event;
	if (TRIGGER_FIRED_BY_TRUNCATE(event))
	{
		if (keep_own_applying())
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot truncate table \"%s\" by logical replication",
							RelationGetRelationName(trigger->tg_relation)),
					 errdetail("The table holds data that pg_notifyd keeps for this server alone."),
					 errhint("Remove schema \"notifyd\" from the publication. ALTER SUBSCRIPTION "
							 "... SKIP skips the transaction.")));
		return PointerGetDatum(NULL);
	}
	if (keep_own_applying())
		return PointerGetDatum(NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(event) ? trigger->tg_newtuple
														  : trigger->tg_trigtuple);
}
