/*-------------------------------------------------------------------------
 *
 * watch_reset.c
 *	  Resets: tell subscribers that a table has changed without events.
 *
 * Changes can bypass our triggers: while the triggers are disabled, by a command that rewrites the
 * table, and by a crash that empties an unlogged table. Nobody knows then which rows have changed,
 * so subscribers must load their state again.
 *
 * The transaction that starts or ends such a time writes a row with the operation OPERATION_RESET
 * to the log. The reset therefore has a place in the order of events: events before it belong to
 * the old state, events after it to the new one, and every replay contains it at the same place.
 * The feed sends it as a RESET frame to each subscription to the channel that may read the table
 * (feed_read.c).
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
#include "ext/base/worker.h"
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
	(void) pending_append(&head, text.data, 0, text.len, NULL, 0);
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

/*
 * The mark is an unlogged table with a row, which a crash empties together with all others. Returns
 * true if it is empty, and writes the row again.
 */
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

	worker_begin_transaction();
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
