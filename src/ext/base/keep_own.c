/*-------------------------------------------------------------------------
 *
 * keep_own.c
 *	  The extension's tables and logical replication.
 *
 * A publication FOR ALL TABLES, or FOR TABLES IN SCHEMA notifyd, has the extension's tables too,
 * and a subscriber that has the extension has tables of the same names. What is in them is about
 * one server: its log, its segments, its watches. Three things keep the two apart:
 *
 *	  The publisher writes and truncates its log without telling logical decoding (log_write.c, log_segment.c).
 *	  The subscriber discards the rows that a subscription brings nevertheless, such as those of the other
 *	  tables, and those of an initial copy.
 *	  It refuses a TRUNCATE that a subscription brings: a trigger cannot discard one, and the events that
 *	  would be gone could not be told from events that never were.
 *
 * The triggers are ENABLE REPLICA, so ordinary sessions do not even call them. Writers of the log
 * are past triggers in any case (heap_insert()).
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
 * Whether this session applies changes of another server. The workers of a subscription set an
 * origin (replication/logical/worker.c, tablesync.c), as other replication systems do. The setting
 * session_replication_role alone does not tell: restoring a dump with it is usual, and that must
 * bring watches and grants back.
 */
static bool
keep_own_applying(void)
{
	return replorigin_session_origin != InvalidRepOriginId;
}

/* A row that another server's change would add, change or remove: leave it as it is. */
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
