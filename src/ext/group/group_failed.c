/*-------------------------------------------------------------------------
 *
 * group_failed.c
 *	  Events that have failed too often: set aside, and sent again.
 *
 * The feed moves a FAILED entry's event to notifyd.group_failed, and acknowledges it, in one
 * transaction. notify_retry() marks rows. The feed then writes each marked one to the log again, as
 * a row for its group alone, and deletes it, again in one transaction. So it takes its place among
 * the group's events with a new id, and everything else treats it like any other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ext/access/access.h"
#include "ext/base/extension.h"
#include "ext/base/operation.h"
#include "ext/group/group_internal.h"
#include "ext/transaction/pending.h"

PG_FUNCTION_INFO_V1(notifyd_may_read_failed);

#define FAILED_AT_ONCE 100 /* events in one transaction */

/* Columns of notifyd.group_failed, as in the extension's script. */
enum FailedAttribute
{
	FAILED_GROUP = 1,
	FAILED_ID,
	FAILED_POSITION,
	FAILED_EVENT,
	FAILED_ATTEMPTS,
	FAILED_ERROR,
	FAILED_SINCE,
	FAILED_CHANNEL,
	FAILED_RELATION,
	FAILED_COLUMNS,
	FAILED_RETRY,
	FAILED_NATTRIBUTES = FAILED_RETRY
};

/* ---------------- setting aside ---------------- */

typedef struct FailedEntry
{
	GroupEntry entry;
	char error[GROUP_ERROR_SIZE];
	int group;
	Relation table;
} FailedEntry;

static Datum
failed_columns(const LogEvent *event)
{
	Datum *columns = palloc((Max(event->ncolumns, 0) + 1) * sizeof(Datum));

	for (int i = 0; i < event->ncolumns; i++)
		columns[i] = Int16GetDatum(event->columns[i]);
	return PointerGetDatum(
		construct_array(columns, Max(event->ncolumns, 0), INT2OID, 2, true, TYPALIGN_SHORT));
}

/* Insert the row of an event. */
static bool
failed_insert(const LogEvent *event, void *arg)
{
	FailedEntry *failed = arg;
	Datum values[FAILED_NATTRIBUTES] = {0};
	bool nulls[FAILED_NATTRIBUTES] = {false};
	GroupRetry retry = {.channel = event->channel, .channel_length = event->channel_length};
	StringInfoData text;
	StringInfoData position;

	initStringInfo(&text);
	initStringInfo(&position);
	log_render_position(&position, event->id);
	if (event->op == OPERATION_RETRY)
	{
		retry = group_parse_retry(event);
		appendBinaryStringInfo(&text, retry.event, (int) retry.event_length);
	}
	else
	{
		log_render_prefix(&text, event->id, event->tx, event->seq, event->of, event->at);
		log_append_text(&text, event, event->event_length);
		appendStringInfoChar(&text, '}');
	}
	values[FAILED_GROUP - 1] = Int32GetDatum(failed->group);
	values[FAILED_ID - 1] = Int64GetDatum((int64) event->id);
	values[FAILED_POSITION - 1] = CStringGetTextDatum(position.data);
	values[FAILED_EVENT - 1] = PointerGetDatum(cstring_to_text_with_len(text.data, text.len));
	values[FAILED_ATTEMPTS - 1] = Int32GetDatum(failed->entry.attempts);
	values[FAILED_ERROR - 1] = CStringGetTextDatum(failed->error);
	values[FAILED_SINCE - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[FAILED_CHANNEL - 1] =
		PointerGetDatum(cstring_to_text_with_len(retry.channel, retry.channel_length));
	values[FAILED_RELATION - 1] = ObjectIdGetDatum(event->relation);
	values[FAILED_COLUMNS - 1] = failed_columns(event);
	nulls[FAILED_COLUMNS - 1] = event->ncolumns < 0;
	values[FAILED_RETRY - 1] = BoolGetDatum(false);
	CatalogTupleInsert(failed->table,
					   heap_form_tuple(RelationGetDescr(failed->table), values, nulls));
	return false;
}

/* Claim FAILED entries. Returns how many. */
static int
failed_claim(const GroupDefinition *definition, GroupSlot *slot, FailedEntry *failed)
{
	GroupWindow *window = &slot->window;
	int n = 0;

	claim_reserve(FAILED_AT_ONCE);
	if (!slot_lock(slot, definition->id))
		return 0;
	for (int i = window->begin; i < window->end && n < FAILED_AT_ONCE; i++)
	{
		GroupEntry *entry = &window->entries[i];
		const char *error;

		if (entry->state != GROUP_FAILED)
			continue;
		error = window_error(window, entry->id);
		strlcpy(failed[n].error, error != NULL ? error : "unknown", GROUP_ERROR_SIZE);
		failed[n].group = definition->id;
		failed[n++].entry = *entry;
		claim_add(definition, entry, GROUP_SET_ASIDE);
		window_claim_leased(window, entry, 0);
	}
	LWLockRelease(&slot->lock);
	return n;
}

/* The log no longer has the event: consumers are told, instead. */
static void
failed_lose(const GroupDefinition *definition, GroupSlot *slot, const GroupEntry *claimed)
{
	GroupEntry *entry;

	if (!slot_lock(slot, definition->id))
		return;
	entry = window_find(&slot->window, claimed->id);
	if (entry != NULL && entry->delivery == claimed->delivery)
	{
		window_lose(entry);
		window_fail(&slot->window, entry, 0, NULL);
		slot->lost++;
	}
	LWLockRelease(&slot->lock);
	claim_forget(claimed->id);
	group_report_lost(definition, claimed->id, claimed->id);
}

void
group_set_aside(const GroupDefinition *definition, GroupSlot *slot)
{
	FailedEntry *failed = palloc(FAILED_AT_ONCE * sizeof(FailedEntry));
	LogGetter getter = {.context = CurrentMemoryContext};
	Relation table = table_open(extension_relation("group_failed"), RowExclusiveLock);
	int n = failed_claim(definition, slot, failed);

	for (int i = 0; i < n; i++)
	{
		FailedEntry *one = &failed[i];

		one->table = table;
		if (!log_get(&getter, one->entry.id, &one->entry.address, failed_insert, one))
		{
			failed_lose(definition, slot, &one->entry);
			continue;
		}
		slot->set_aside++;
		ereport(LOG,
				(errmsg("consumer group \"%s\" has set an event aside", NameStr(definition->name)),
				 errdetail("The event with id " UINT64_FORMAT " has failed %d times: %s",
						   one->entry.id, one->entry.attempts, one->error),
				 errhint("The view notifyd.failed_events shows it. notify_retry() sends it "
						 "again.")));
	}
	log_end_get(&getter);
	table_close(table, NoLock);
	pfree(failed);
}

/* ---------------- sending again ---------------- */

static void
failed_send(HeapTuple tuple, TupleDesc desc)
{
	Datum values[FAILED_NATTRIBUTES];
	bool nulls[FAILED_NATTRIBUTES];
	PendingEvent event = {.op = OPERATION_RETRY, .channel = "", .ncolumns = -1};
	StringInfoData row;

	heap_deform_tuple(tuple, desc, values, nulls);
	event.relation = DatumGetObjectId(values[FAILED_RELATION - 1]);
	if (!nulls[FAILED_COLUMNS - 1])
	{
		ArrayType *columns = DatumGetArrayTypeP(values[FAILED_COLUMNS - 1]);

		event.ncolumns = ArrayGetNItems(ARR_NDIM(columns), ARR_DIMS(columns));
		event.columns = (AttrNumber *) ARR_DATA_PTR(columns);
	}
	initStringInfo(&row);
	appendStringInfo(&row, "%d:%s\n", DatumGetInt32(values[FAILED_GROUP - 1]),
					 TextDatumGetCString(values[FAILED_CHANNEL - 1]));
	appendStringInfoString(&row, TextDatumGetCString(values[FAILED_EVENT - 1]));
	pending_append_silent(&event, row.data, row.len);
	pfree(row.data);
}

void
group_send_again(const GroupDefinition *definition, GroupSlot *slot)
{
	Relation table = table_open(extension_relation("group_failed"), RowExclusiveLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple tuple;
	int n = 0;

	slot->retry = false;
	while (n < FAILED_AT_ONCE && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc desc = RelationGetDescr(table);
		bool isnull;

		if (DatumGetInt32(heap_getattr(tuple, FAILED_GROUP, desc, &isnull)) != definition->id ||
			!DatumGetBool(heap_getattr(tuple, FAILED_RETRY, desc, &isnull)))
			continue;
		failed_send(tuple, desc);
		CatalogTupleDelete(table, &tuple->t_self);
		n++;
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, NoLock);
	if (n == FAILED_AT_ONCE)
		slot->retry = true;
}

/* ---------------- who may read them ---------------- */

/*
 * notifyd.may_read_failed(channel, relation, columns) -> boolean
 *
 * Whether the current user would get such an event if it were sent again, as notify_take() decides.
 */
Datum
notifyd_may_read_failed(PG_FUNCTION_ARGS)
{
	LogEvent event = {.op = OPERATION_MESSAGE, .ncolumns = -1};
	AccessReason reason;

	if (superuser())
		PG_RETURN_BOOL(true);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_BOOL(false);
	event.channel = VARDATA_ANY(PG_GETARG_TEXT_PP(0));
	event.channel_length = (int) VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(0));
	event.relation = PG_GETARG_OID(1);
	if (!PG_ARGISNULL(2))
	{
		ArrayType *columns = PG_GETARG_ARRAYTYPE_P(2);

		if (array_contains_nulls(columns))
			PG_RETURN_BOOL(false);
		event.ncolumns = ArrayGetNItems(ARR_NDIM(columns), ARR_DIMS(columns));
		event.columns = (AttrNumber *) ARR_DATA_PTR(columns);
	}
	PG_RETURN_BOOL(access_event_allowed(GetUserId(), &event, &reason));
}
