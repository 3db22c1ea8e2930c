/*-------------------------------------------------------------------------
 *
 * query_history.c
 *	  The last events of a channel, for WAMP's procedure wamp.subscription.get_events.
 *
 * The client gets what it would get by a replay: events that its role may read, and of a table with
 * row security those of rows that the policies show, as they change the set of these rows. What
 * cannot be judged is left out. The log is read backwards in larger and larger pieces, and each piece
 * forwards, until there are enough events.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"

#include "ext/access/access.h"
#include "ext/base/operation.h"
#include "ext/base/settings.h"
#include "ext/base/utf8.h"
#include "ext/log/log.h"
#include "ext/query/query.h"
#include "ext/sets/event_body.h"
#include "ext/sets/event_rows.h"
#include "ext/sets/sets.h"

#define HISTORY_MAX_EVENTS  1000
#define HISTORY_FIRST_PIECE 1024 /* ids */

/* The policies of a table for the client. */
typedef struct HistorySet
{
	Oid relation;
	bool unusable;
	SetBinding *binding; /* NULL: every row */
} HistorySet;

typedef struct HistoryEvent
{
	uint64 id;
	StringInfoData text;
} HistoryEvent;

typedef struct History
{
	const char *channel;
	int channel_length;
	int limit;
	List *found;  /* HistoryEvents of the present piece, oldest first */
	List *pieces; /* those of the pieces before, the newest piece first */
	Size size;    /* bytes of all */
	List *sets;
	EventRows *rows;
	MemoryContext context;
	MemoryContext each; /* for one event */
} History;

/* ---------------- what the client may see ---------------- */

static void
history_release(void *arg)
{
	const History *history = arg;
	ListCell *cell;

	foreach (cell, history->sets)
	{
		const HistorySet *set = lfirst(cell);

		if (set->binding != NULL)
			set_release(set->binding);
	}
}

static HistorySet *
history_set(History *history, Oid relation)
{
	const char *claims = GetConfigOption("request.jwt.claims", true, false);
	SetIdentity identity = {.role = GetUserId(),
							.claims = claims != NULL && *claims != '\0' ? claims : NULL};
	MemoryContext old;
	SetError error;
	HistorySet *set;
	ListCell *cell;

	foreach (cell, history->sets)
	{
		set = lfirst(cell);
		if (set->relation == relation)
			return set;
	}
	old = MemoryContextSwitchTo(history->context);
	set = palloc0(sizeof(HistorySet));
	set->relation = relation;
	set_budget_begin();
	set->unusable = !set_bind(relation, &identity, NULL, &set->binding, &error);
	history->sets = lappend(history->sets, set);
	MemoryContextSwitchTo(old);
	return set;
}

/* What an event means for the client. */
static SetChange
history_judge(History *history, const LogEvent *event)
{
	AccessReason reason;
	HistorySet *set;
	SetError error;
	SetChange change;

	if (!OidIsValid(event->relation))
		return access_event_allowed(GetUserId(), event, &reason) ? SET_STAYS : SET_NOTHING;
	if (!access_relation_allowed(GetUserId(), event->relation, event->ncolumns, event->columns,
								 &reason))
		return SET_NOTHING;
	if (!access_row_security(GetUserId(), event->relation) ||
		(operation_bit(event->op) & OPERATION_ROW_BITS) == 0)
		return SET_STAYS;
	set = history_set(history, event->relation);
	if (set->unusable)
		return SET_NOTHING;
	if (set->binding == NULL)
		return SET_STAYS;
	set_budget_begin();
	event_rows_set(history->rows, event);
	change = set_judge(set->binding, history->rows, event->op, &error);
	return change == SET_FAILED || change == SET_LATER || change == SET_UNKNOWN ? SET_NOTHING
																				: change;
}

/* ---------------- events ---------------- */

static void
history_put(void *arg, const char *data, size_t length)
{
	appendBinaryStringInfo(arg, data, (int) length);
}

/* Append the event as a subscriber gets it for whom it means this. Returns false if it gets nothing. */
static bool
history_render(const LogEvent *event, SetChange change, StringInfo text)
{
	BodyChange kind = change == SET_ENTERS   ? BODY_ENTERS
					  : change == SET_LEAVES ? BODY_LEAVES
											 : BODY_UNCHANGED;
	StringInfoData whole;
	Body body;

	initStringInfo(&whole);
	log_render_prefix(&whole, event->id, event->tx, event->seq, event->of, event->at);
	log_append_text(&whole, event, event->event_length);
	appendStringInfoChar(&whole, '}');
	if (event->op != OPERATION_UPDATE || kind == BODY_UNCHANGED)
	{
		appendBinaryStringInfo(text, whole.data, whole.len);
		return true;
	}
	/* A payload may tell of the old row, which the policies hide from somebody for whom the row is new. */
	return body_open(&body, whole.data, (size_t) whole.len) &&
		   body_write(&body, kind, NULL, kind == BODY_ENTERS, false, history_put, text);
}

static void
history_keep(History *history, HistoryEvent *event)
{
	HistoryEvent *oldest;

	history->size += event->text.len;
	history->found = lappend(history->found, event);
	if (list_length(history->found) > history->limit)
	{
		oldest = linitial(history->found);
		history->size -= oldest->text.len;
		pfree(oldest->text.data);
		pfree(oldest);
		history->found = list_delete_first(history->found);
	}
	if (history->size > (Size) notifyd_max_response_size)
		query_refuse(WIRE_QUERY_TOO_LARGE, ERRCODE_PROGRAM_LIMIT_EXCEEDED, NULL,
					 "the events are larger than pg_notifyd.max_response_size");
}

static bool
history_event(const LogEvent *event, void *arg)
{
	History *history = arg;
	MemoryContext old;
	SetChange change;

	CHECK_FOR_INTERRUPTS();
	if (event->channel_length != history->channel_length ||
		memcmp(event->channel, history->channel, event->channel_length) != 0 ||
		event->op == OPERATION_ACKNOWLEDGE || event->op == OPERATION_RETRY ||
		event->op == OPERATION_RESET)
		return true;
	old = MemoryContextSwitchTo(history->each);
	change = history_judge(history, event);
	if (change != SET_NOTHING)
	{
		HistoryEvent *kept;

		MemoryContextSwitchTo(history->context);
		kept = palloc0(sizeof(HistoryEvent));
		kept->id = event->id;
		initStringInfo(&kept->text);
		MemoryContextSwitchTo(history->each);
		if (history_render(event, change, &kept->text))
		{
			MemoryContextSwitchTo(history->context);
			history_keep(history, kept);
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(history->each);
	return true;
}

/* Leave a large transaction out if none of its events is on the channel. */
static bool
history_skip(const LogLarge *large, void *arg)
{
	const History *history = arg;

	if (large->summary->nchannels > LOG_SUMMARY_CHANNELS)
		return false;
	for (int i = 0; i < large->summary->nchannels; i++)
	{
		if (strcmp(large->summary->channels[i], history->channel) == 0)
			return false;
	}
	return true;
}

/* Read the log until there are enough events, or no more. */
static void
history_read(History *history)
{
	XLogRecPtr lsn;
	NotifydDatabase *database = log_attach();
	uint64 upto = log_watermark(database, &lsn);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	LogVisitor visitor = {.event = history_event, .skip = history_skip, .arg = history};
	uint64 piece = HISTORY_FIRST_PIECE;
	LogMap map;

	PushActiveSnapshot(snapshot);
	log_load_map(&map);
	while (upto > map.oldest && history->limit > 0)
	{
		LogReader reader = {.after = upto - map.oldest > piece ? upto - piece : map.oldest};
		uint64 next = reader.after;

		log_read(&reader, &map, upto, INT_MAX, snapshot, &visitor);
		history->limit -= list_length(history->found);
		history->pieces = lappend(history->pieces, history->found);
		history->found = NIL;
		upto = next;
		piece *= 4;
	}
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	query_make_durable();
}

/* ---------------- the call ---------------- */

/* Read {"channel": ..., "limit": ...}, which a gateway has written. */
static void
history_parse(const ClientQuery *query, History *history)
{
	Jsonb *body = query_json(query_text(query->wire.body));
	JsonbValue *channel = NULL;
	JsonbValue *limit = NULL;

	if (JB_ROOT_IS_OBJECT(body))
	{
		channel = getKeyJsonValueFromContainer(&body->root, "channel", 7, NULL);
		limit = getKeyJsonValueFromContainer(&body->root, "limit", 5, NULL);
	}
	if (channel == NULL || channel->type != jbvString)
		query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_INVALID_PARAMETER_VALUE, "channel",
					 "\"channel\" must be a string");
	if (limit == NULL || limit->type != jbvNumeric)
		query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_INVALID_PARAMETER_VALUE, "limit",
					 "\"limit\" must be a number");
	history->channel = pnstrdup(channel->val.string.val, channel->val.string.len);
	history->channel_length = channel->val.string.len;
	history->limit =
		DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(limit->val.numeric)));
	if (history->limit < 1 || history->limit > HISTORY_MAX_EVENTS)
		query_refuse(WIRE_QUERY_BAD_PARAMETER, ERRCODE_INVALID_PARAMETER_VALUE, "limit",
					 "\"limit\" must be from 1 to %d", HISTORY_MAX_EVENTS);
}

static History *
history_create(void)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd history", ALLOCSET_DEFAULT_SIZES);
	History *history = MemoryContextAllocZero(context, sizeof(History));
	MemoryContextCallback *release = MemoryContextAllocZero(context, sizeof(MemoryContextCallback));

	history->context = context;
	history->each =
		AllocSetContextCreate(context, "pg_notifyd event of a history", ALLOCSET_DEFAULT_SIZES);
	history->rows = event_rows_create(context);
	release->func = history_release;
	release->arg = history;
	MemoryContextRegisterResetCallback(context, release);
	return history;
}

void
query_history(ClientQuery *query)
{
	History *history = history_create();
	AccessChannel offered;
	AccessReason reason;
	const char *separator = "";

	history_parse(query, history);
	if (!access_channel(GetUserId(), history->channel, NULL, &offered, &reason))
		query_refuse(WIRE_QUERY_NOT_PERMITTED, ERRCODE_INSUFFICIENT_PRIVILEGE, history->channel,
					 "%s", reason.message);
	history_read(history);
	appendStringInfoChar(&query->body, '{');
	for (int i = list_length(history->pieces) - 1; i >= 0; i--)
	{
		ListCell *cell;

		foreach (cell, list_nth(history->pieces, i))
		{
			const HistoryEvent *event = lfirst(cell);

			appendStringInfo(&query->body, "%s\"" UINT64_FORMAT "\":", separator, event->id);
			utf8_append(&query->body, event->text.data, event->text.len);
			separator = ",";
		}
	}
	appendStringInfoChar(&query->body, '}');
	MemoryContextDelete(history->context);
}
