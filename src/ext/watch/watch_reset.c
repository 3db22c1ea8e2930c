/*-------------------------------------------------------------------------
 *
 * watch_reset.c
 *	  Resets in the stream: telling subscribers that a table changed without events.
 *
 * A change can be made past our triggers: while they are disabled, by a command that rewrites the
 * table, by the crash that empties an unlogged table. Nobody can say any more which rows changed,
 * so subscribers are told to load their state anew. The transaction that ends, or begins, such a
 * time writes a row of its own to the log, with the operation OPERATION_RESET, like an event. So the
 * reset has a place in the order: what came before it belongs to the old state, what comes after
 * it belongs to the new one, and a replay meets it in the same place. The feed makes a RESET
 * frame of it for each subscription to the channel that may read the table (feed_read.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "ext/base/operation.h"
#include "ext/base/extension.h"
#include "ext/base/buffer.h"
#include "ext/json/json.h"
#include "ext/transaction/pending.h"
#include "ext/watch/watch.h"

void
watch_reset(const Watch *watch, const char *reason)
{
	PendingEvent event = {.op = OPERATION_RESET,
						  .relation = watch->relation,
						  .channel = watch->channel,
						  .channel_length = (int) strlen(watch->channel)};
	PendingHead head;
	int16 *columns = NULL;
	StringInfoData text;

	event.ncolumns = watch_event_columns(watch, &columns);
	event.columns = columns;
	pending_make_head(&head, &event);
	appendStringInfoString(&head.buf, "\"op\":\"RESET\",\"channel\":");
	json_append_string(&head.buf, watch->channel, strlen(watch->channel));
	appendStringInfoString(&head.buf, ",\"reason\":\"");
	initStringInfo(&text);
	appendStringInfo(&text, "%s\"", reason);

	pending_append_held();
	(void) pending_append(&head, text.data, 0, text.len);
	pfree(head.buf.data);
	pfree(text.data);
}

static bool
watch_is_unlogged(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	bool unlogged = false;

	if (HeapTupleIsValid(tuple))
	{
		unlogged = ((Form_pg_class) GETSTRUCT(tuple))->relpersistence == RELPERSISTENCE_UNLOGGED;
		ReleaseSysCache(tuple);
	}
	return unlogged;
}

/* Whether the table that a crash empties with all others that are unlogged is empty; fills it. */
static bool
watch_unlogged_emptied(void)
{
	bool emptied;

	SPI_connect();
	if (SPI_execute("INSERT INTO notifyd.unlogged_mark (kept) SELECT true "
					"WHERE NOT EXISTS (SELECT FROM notifyd.unlogged_mark)",
					false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not mark unlogged tables");
	emptied = SPI_processed > 0;
	SPI_finish();
	return emptied;
}

void
watch_reset_unlogged(void)
{
	ListCell *cell;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());

	/* Version 1.0 has no such table. */
	if (OidIsValid(extension_find_relation("unlogged_mark")) && watch_unlogged_emptied())
	{
		foreach (cell, watch_list_all())
		{
			Watch *watch = lfirst(cell);

			if (watch_is_unlogged(watch->relation))
				watch_reset(watch,
							"the table is unlogged and was emptied when the server recovered");
		}
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
}
