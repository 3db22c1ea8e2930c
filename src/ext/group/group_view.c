/*-------------------------------------------------------------------------
 *
 * group_view.c
 *	  The rows of the view notifyd.groups.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "ext/base/compat.h"
#include "ext/base/extension.h"
#include "ext/group/group_internal.h"

PG_FUNCTION_INFO_V1(notifyd_group_rows);

/* The columns of notifyd.group_rows(), in their order. */
typedef enum ViewColumn
{
	VIEW_ID = 0,
	VIEW_POSITION,
	VIEW_PENDING,
	VIEW_CLAIMED,
	VIEW_LEASED,
	VIEW_DELAYED,
	VIEW_BEHIND,
	VIEW_OLDEST_SINCE,
	VIEW_WAITING,
	VIEW_ACKNOWLEDGED,
	VIEW_REDELIVERED,
	VIEW_LOST,
} ViewColumn;
#define VIEW_NCOLUMNS (VIEW_LOST + 1)

static void
view_count(GroupWindow *window, int *counts, GroupEntry *oldest)
{
	for (int i = window->begin; i < window->end; i++)
	{
		const GroupEntry *entry = &window->entries[i];

		if (entry->state != GROUP_DONE && oldest->id == 0)
			*oldest = *entry;
		counts[entry->state]++;
	}
}

static bool
view_event_time(const LogEvent *event, void *arg)
{
	*(TimestampTz *) arg = event->at;
	return false;
}

/* Fill the columns about a loaded window. */
static void
view_window(GroupSlot *slot, int group, Datum *values, bool *nulls)
{
	int counts[GROUP_FAILED + 1] = {0};
	GroupEntry oldest = {0};
	LogGetter getter = {.context = CurrentMemoryContext};
	TimestampTz since = 0;
	StringInfoData position;
	XLogRecPtr lsn;
	uint64 watermark = log_watermark(log_attach(), &lsn);
	uint64 scanned;

	if (!slot_lock(slot, group))
		return;
	view_count(&slot->window, counts, &oldest);
	scanned = slot->window.scanned;
	values[VIEW_ACKNOWLEDGED] = Int64GetDatum((int64) slot->acknowledged);
	values[VIEW_REDELIVERED] = Int64GetDatum((int64) slot->redelivered);
	values[VIEW_LOST] = Int64GetDatum((int64) slot->lost);
	LWLockRelease(&slot->lock);

	initStringInfo(&position);
	log_render_position(&position, oldest.id != 0 ? oldest.id - 1 : scanned);
	values[VIEW_POSITION] = CStringGetTextDatum(position.data);
	values[VIEW_PENDING] = Int32GetDatum(counts[GROUP_PENDING]);
	values[VIEW_CLAIMED] = Int32GetDatum(counts[GROUP_CLAIMED]);
	values[VIEW_LEASED] = Int32GetDatum(counts[GROUP_LEASED]);
	values[VIEW_DELAYED] = Int32GetDatum(counts[GROUP_DELAYED]);
	values[VIEW_BEHIND] = Int64GetDatum(watermark > scanned ? (int64) (watermark - scanned) : 0);
	values[VIEW_WAITING] = Int32GetDatum((int32) pg_atomic_read_u32(&slot->waiting));
	memset(nulls + VIEW_POSITION, false, VIEW_NCOLUMNS - VIEW_POSITION);
	if (oldest.id != 0 && OidIsValid(oldest.address.table))
		(void) log_get(&getter, oldest.id, &oldest.address, view_event_time, &since);
	log_end_get(&getter);
	values[VIEW_OLDEST_SINCE] = TimestampTzGetDatum(since);
	nulls[VIEW_OLDEST_SINCE] = since == 0;
}

/* Rows of groups that nobody has used since the server started have only the id. */
Datum
notifyd_group_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result;
	ListCell *cell;

	shared_require();
	extension_require_version();
	compat_materialized_srf(fcinfo);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	foreach (cell, group_list())
	{
		const GroupDefinition *definition = lfirst(cell);
		GroupSlot *slot = slot_find(definition->id);
		Datum values[VIEW_NCOLUMNS] = {0};
		bool nulls[VIEW_NCOLUMNS];

		memset(nulls, true, sizeof(nulls));
		values[VIEW_ID] = Int32GetDatum(definition->id);
		nulls[VIEW_ID] = false;
		if (slot != NULL)
			view_window(slot, definition->id, values, nulls);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	PG_RETURN_NULL();
}
