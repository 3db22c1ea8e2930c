/*-------------------------------------------------------------------------
 *
 * feed_match.c
 *	  Which streams get what of an event, for channels where not all get the same.
 *
 * For an event, streams differ in what it does to the rows that they see, and in the columns that
 * they want. Streams that are alike in both share a body, which is built once. feed_read.c does
 * without all this for channels whose streams are all plain.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ext/base/operation.h"
#include "ext/base/settings.h"
#include "ext/base/utf8.h"
#include "ext/feed/feed.h"
#include "ext/feed/feed_place.h"
#include "ext/sets/event_rows.h"
#include "ext/watch/watch_shape.h"

#define MATCH_KEY_UNKNOWN                                                                          \
	"a row has left the subscription, but the event was too large to have its key"

/* The subscriptions of this stream end. */
typedef struct MatchFailed
{
	uint32 stream;
	AccessReason reason;
} MatchFailed;

/* A stream for which the event is not known well enough. */
typedef struct MatchUnknown
{
	Stream *stream;
	const char *reason; /* in UTF-8 */
} MatchUnknown;

/* The event that is being matched. */
static struct
{
	Feed *feed;
	FeedChannel *channel;
	const LogEvent *event;
	EventRows *rows;
	MemoryContext context; /* reset with each event */
	List *bodies;
	List *unknown;
	List *later;                     /* streams for which it is not known yet */
	int count[NOTIFYD_MAX_GATEWAYS]; /* numbers of streams, by gateway */
	bool opened;                     /* body is valid, or has op.data = NULL */
	Body body;
	List *failed; /* in the feed's context */
} match;

void
match_init(Feed *feed)
{
	match.feed = feed;
	match.rows = event_rows_create(feed->context);
	match.context =
		AllocSetContextCreate(feed->context, "pg_notifyd match", ALLOCSET_DEFAULT_SIZES);
}

void
match_begin(FeedChannel *channel, const LogEvent *event)
{
	MemoryContextReset(match.context);
	match.channel = channel;
	match.event = event;
	match.bodies = NIL;
	match.unknown = NIL;
	match.later = NIL;
	match.opened = false;
	memset(match.count, 0, sizeof(match.count));
	event_rows_set(match.rows, event);
	set_budget_begin();
}

/* ---------------- texts ---------------- */

static void
match_put(void *arg, const char *data, size_t len)
{
	appendBinaryStringInfo(arg, data, (int) len);
}

/* Take the whole event apart. Returns false if that is impossible. */
static bool
match_open(void)
{
	StringInfo whole;

	if (!match.opened)
	{
		whole = makeStringInfo();
		event_build_whole(whole, match.event);
		match.opened = true;
		if (!body_open(&match.body, whole->data, (size_t) whole->len))
			match.body.op.data = NULL;
	}
	return match.body.op.data != NULL;
}

/* Build what differs from the event as it is. Returns false if the key is not known. */
static bool
match_build_other(MatchBody *body)
{
	const BodyColumns *columns = body->columns != NULL ? &body->columns->body : NULL;

	if (!match_open() ||
		!body_write(&match.body, body->change, columns, body->bare, false, match_put, body->text))
		return false;
	if (body->text->len <= notifyd_max_event_size)
		return true;
	resetStringInfo(body->text);
	if (!body_write(&match.body, body->change, columns, body->bare, true, match_put, body->text))
		return false;
	if (body->text->len > notifyd_max_event_size)
		event_build_least(body->text, match.event, wire_op_name(body->op));
	return true;
}

/* Build the text of a body, unless that is done. Returns false if it is not known. */
static bool
match_build(MatchBody *body)
{
	MemoryContext outer;

	if (body->text != NULL)
		return body->known;
	outer = MemoryContextSwitchTo(match.context);
	body->text = makeStringInfo();
	body->known = true;
	if (body->columns == NULL && body->change == BODY_UNCHANGED)
		event_build_text(body->text, match.event);
	else
		body->known = match_build_other(body);
	MemoryContextSwitchTo(outer);
	return body->known;
}

static uint8
match_op(BodyChange change)
{
	switch (change)
	{
		case BODY_ENTERS:
			return WIRE_OP_INSERT;
		case BODY_LEAVES:
			return WIRE_OP_DELETE;
		default:
			return operation_bit(match.event->op);
	}
}

/*
 * Return true if an UPDATE that brings a row in has a payload that the view's clients must not get:
 * it may tell of the old row, which row security may hide.
 */
static bool
match_is_bare(const View *view, BodyChange change)
{
	return change == BODY_ENTERS && match_open() && match.body.payload.data != NULL &&
		   access_row_security(view->role, match.event->relation);
}

/* Return the body for a stream of this view, for which the event means this. */
static MatchBody *
match_body(const View *view, SetChange meaning)
{
	BodyChange change = BODY_UNCHANGED;
	MemoryContext outer;
	MatchBody *body;
	ListCell *cell;
	bool bare;

	if (match.event->op == OPERATION_UPDATE && meaning == SET_ENTERS)
		change = BODY_ENTERS;
	else if (match.event->op == OPERATION_UPDATE && meaning == SET_LEAVES)
		change = BODY_LEAVES;
	bare = match_is_bare(view, change);
	foreach (cell, match.bodies)
	{
		body = lfirst(cell);
		if (body->columns == view->key.columns && body->change == change && body->bare == bare)
			return body;
	}
	outer = MemoryContextSwitchTo(match.context);
	body = palloc0(sizeof(MatchBody));
	body->columns = view->key.columns;
	body->change = change;
	body->bare = bare;
	body->op = match_op(change);
	match.bodies = lappend(match.bodies, body);
	MemoryContextSwitchTo(outer);
	return body;
}

/* ---------------- privileges on columns ---------------- */

/* Return the shape that the relation had when the event was written, or NULL. */
static const WatchShape *
match_shape(void)
{
	static Oid relation = InvalidOid;
	static WatchShape *shape = NULL;
	const char *hidden = log_hidden(match.event);
	MemoryContext outer;
	uint32 id;

	if (hidden == NULL || match.event->hidden_length < sizeof(id))
		return NULL;
	memcpy(&id, hidden, sizeof(id));
	if (shape != NULL && relation == match.event->relation && shape->id == id)
		return shape;
	if (shape != NULL)
		pfree(shape);
	outer = MemoryContextSwitchTo(match.feed->context);
	relation = match.event->relation;
	shape = watch_find_shape(relation, id);
	MemoryContextSwitchTo(outer);
	return shape;
}

/*
 * Find the columns of the shape that have one of these names, which are JSON strings, and add their
 * numbers. Returns the number of columns found.
 */
static int
match_find_columns(const WatchShape *shape, const BodyColumns *names, int16 *columns)
{
	StringInfoData name;
	int n = 0;

	initStringInfo(&name);
	for (int i = 0; i < shape->ncolumns; i++)
	{
		const char *column = NameStr(shape->columns[i].name);
		WireBytes bytes;

		resetStringInfo(&name);
		utf8_append_json_string(&name, column, (int) strlen(column));
		bytes = (WireBytes){.data = name.data, .len = (uint32) name.len};
		if (bsearch(&bytes, names->names, names->n, sizeof(WireBytes), body_compare) != NULL)
			columns[n++] = shape->columns[i].attnum;
	}
	return n;
}

/*
 * Return true if the role may read those columns of the event that the view's clients get: the key,
 * and what they ask for. The names are those at the time of the event. A payload may tell of all
 * columns that the event stands for.
 */
static bool
match_columns_allowed(const View *view)
{
	MemoryContext outer = MemoryContextSwitchTo(match.context);
	const WatchShape *shape = match_shape();
	BodyColumns key;
	AccessReason reason;
	bool allowed = false;
	int16 *columns;
	int n;

	if (shape != NULL && match_open() && match.body.payload.data == NULL &&
		body_key_names(&match.body, palloc, &key))
	{
		columns = palloc((2 * shape->ncolumns + 1) * sizeof(int16));
		n = match_find_columns(shape, &key, columns);
		if (n == (int) key.n)
		{
			n += match_find_columns(shape, &view->key.columns->body, columns + n);
			allowed =
				access_relation_allowed(view->role, match.event->relation, n, columns, &reason);
		}
	}
	MemoryContextSwitchTo(outer);
	return allowed;
}

bool
match_allowed(View *view, bool *restricted)
{
	if (view_event_allowed(view, match.event, restricted))
		return true;
	if (view->key.columns == NULL || !OidIsValid(match.event->relation) ||
		!match_columns_allowed(view))
		return false;
	*restricted = access_row_security(view->role, match.event->relation);
	return true;
}

/* ---------------- problems ---------------- */

static void
match_note_failed(const Stream *stream, const SetError *error)
{
	MemoryContext outer = MemoryContextSwitchTo(match.feed->context);
	MatchFailed *failed = palloc0(sizeof(MatchFailed));

	failed->stream = stream->number;
	failed->reason.kind = error->reason;
	strlcpy(failed->reason.message, error->message, sizeof(failed->reason.message));
	match.failed = lappend(match.failed, failed);
	MemoryContextSwitchTo(outer);
}

void
match_end_failed(Feed *feed)
{
	ListCell *cell;

	if (match.failed == NIL)
		return;
	foreach (cell, match.failed)
	{
		MatchFailed *failed = lfirst(cell);
		Stream *stream = hash_search(feed->streams, &failed->stream, HASH_FIND, NULL);

		while (stream != NULL && !dlist_is_empty(&stream->subs))
			sub_end(dlist_head_element(Sub, in_stream, &stream->subs), &failed->reason);
	}
	list_free_deep(match.failed);
	match.failed = NIL;
}

/* Return a reason for a reset in UTF-8, in the context of the event. */
static const char *
match_reason(const char *message)
{
	MemoryContext outer = MemoryContextSwitchTo(match.context);
	StringInfo text = makeStringInfo();

	utf8_append(text, message, (int) strlen(message));
	MemoryContextSwitchTo(outer);
	return text->data;
}

static void
match_note_unknown(Stream *stream, const char *reason)
{
	MemoryContext outer = MemoryContextSwitchTo(match.context);
	MatchUnknown *unknown = palloc(sizeof(MatchUnknown));

	unknown->stream = stream;
	unknown->reason = reason;
	match.unknown = lappend(match.unknown, unknown);
	MemoryContextSwitchTo(outer);
}

/* ---------------- live ---------------- */

static void
match_add(Stream *stream, SetChange meaning)
{
	MemoryContext outer = MemoryContextSwitchTo(match.context);
	MatchBody *body = match_body(stream->view, meaning);

	body->streams = lappend(body->streams, stream);
	match.count[stream->link->gateway]++;
	MemoryContextSwitchTo(outer);
}

static void
match_note_later(Stream *stream)
{
	MemoryContext outer = MemoryContextSwitchTo(match.context);

	match.later = lappend(match.later, stream);
	MemoryContextSwitchTo(outer);
}

/*
 * A SetCallback. Bindings may have streams of other channels. What has failed for one event would
 * fail for the next ones, too, so it ends for all of them.
 */
static void
match_binding(SetBinding *binding, SetChange change, const SetError *error,
			  void *arg pg_attribute_unused())
{
	const char *reason = change == SET_UNKNOWN ? match_reason(error->message) : NULL;
	bool restricted;
	dlist_iter iter;

	dlist_foreach (iter, set_users(binding))
	{
		Stream *stream = dlist_container(StreamPart, node, iter.cur)->stream;

		if (change == SET_FAILED)
		{
			match_note_failed(stream, error);
			continue;
		}
		if (stream->view->channel != match.channel || stream->live == 0 ||
			!match_allowed(stream->view, &restricted))
			continue;
		if (change == SET_LATER)
			match_note_later(stream);
		else if (change == SET_UNKNOWN)
			match_note_unknown(stream, reason);
		else
			match_add(stream, change);
	}
}

/* Add streams that get the event as it is. */
static void
match_plain(View *view)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (view->plain[i] != NULL && view->plain[i]->live > 0)
			match_add(view->plain[i], SET_STAYS);
	}
}

static void
match_all_streams(View *view)
{
	dlist_iter iter;

	dlist_foreach (iter, &view->streams)
	{
		Stream *stream = dlist_container(Stream, in_view, iter.cur);

		if (stream->live > 0)
			match_add(stream, SET_STAYS);
	}
}

static void
match_open_streams(ChannelSource *source)
{
	bool restricted;
	dlist_iter iter;

	dlist_foreach (iter, &source->open)
	{
		Stream *stream = dlist_container(StreamPart, node, iter.cur)->stream;

		if (stream->live > 0 && match_allowed(stream->view, &restricted) && !restricted)
			match_add(stream, SET_STAYS);
	}
}

/* Leave out the bodies that cannot be built. Their streams get a reset. */
static void
match_build_all(void)
{
	ListCell *body_cell;
	ListCell *cell;

	foreach (body_cell, match.bodies)
	{
		MatchBody *body = lfirst(body_cell);

		if (match_build(body))
			continue;
		foreach (cell, body->streams)
		{
			Stream *stream = lfirst(cell);

			match.count[stream->link->gateway]--;
			match_note_unknown(stream, MATCH_KEY_UNKNOWN);
		}
		body->streams = NIL;
	}
}

/*
 * Return true if a stream that row security does not limit must not have the event before its
 * subscriptions are placed again.
 */
static bool
match_needs_place(const ChannelSource *source)
{
	bool restricted;
	dlist_iter iter;

	dlist_foreach (iter, &match.channel->views)
	{
		View *view = dlist_container(View, in_channel, iter.cur);

		if (view_has_plain(view) && match_allowed(view, &restricted) && restricted)
			return true;
	}
	dlist_foreach (iter, (dlist_head *) &source->open)
	{
		const Stream *stream = dlist_container(StreamPart, node, iter.cur)->stream;

		if (stream->live > 0 && match_allowed(stream->view, &restricted) && restricted)
			return true;
	}
	return false;
}

void
match_event(FeedChannel *channel, const LogEvent *event)
{
	bool restricted;
	dlist_iter iter;
	int source;

	match_begin(channel, event);
	set_add_source(channel, event->relation);
	source = set_source(channel, event->relation);
	set_look_channel(channel);
	/* Placing some of them may have shown that others must be placed, too. */
	while (match_needs_place(channel->sources[source]))
	{
		channel->place = true;
		set_look_channel(channel);
	}
	dlist_foreach (iter, &channel->views)
	{
		View *view = dlist_container(View, in_channel, iter.cur);

		if (!match_allowed(view, &restricted))
			continue;
		if (event->op == OPERATION_TRUNCATE)
			match_all_streams(view);
		else if (!restricted)
			match_plain(view);
	}
	if (event->op != OPERATION_TRUNCATE)
	{
		match_open_streams(channel->sources[source]);
		set_budget_begin();
		set_judge_all(event->relation, match.rows, event->op, match_binding, NULL);
	}
	match_build_all();
}

/* Queue the frames of a body. left: number of streams that further frames of this event will name. */
static void
match_send_body(Link *link, const MatchBody *body, int *left)
{
	static uint8_t streams[WIRE_MAX_STREAMS * sizeof(uint32)];
	WireMessage message = {.type = WIRE_EVENT};
	ListCell *cell;
	int n = 0;
	bool sent = false;

	message.u.event.id = match.event->id;
	message.u.event.op = body->op;
	message.u.event.streams = streams;
	message.u.event.more = 1;
	foreach (cell, body->streams)
	{
		const Stream *stream = lfirst(cell);

		if (stream->link != link)
			continue;
		if (n == WIRE_MAX_STREAMS)
		{
			event_queue(link, &message, n, body->text);
			n = 0;
		}
		wire_store_u32(streams + n * sizeof(uint32), stream->number);
		n++;
		(*left)--;
		sent = true;
	}
	if (!sent)
		return;
	message.u.event.more = *left > 0;
	event_queue(link, &message, n, body->text);
	event_count_sent(match.feed, body->text);
}

/* Let the live subscriptions of a stream on the link replay from right before the event. */
static void
match_hold(Link *link, Stream *stream)
{
	dlist_iter iter;

	if (stream->link != link)
		return;
	dlist_foreach (iter, &stream->subs)
	{
		Sub *sub = dlist_container(Sub, in_stream, iter.cur);

		if (!sub->replaying)
			sub_hold(sub, match.event->id - 1);
	}
}

void
match_send(Link *link)
{
	int left = match.count[link->gateway];
	ListCell *cell;
	dlist_iter iter;

	foreach (cell, match.unknown)
	{
		const MatchUnknown *unknown = lfirst(cell);

		if (unknown->stream->link != link)
			continue;
		dlist_foreach (iter, &unknown->stream->subs)
		{
			Sub *sub = dlist_container(Sub, in_stream, iter.cur);

			if (!sub->replaying && sub->ops != 0)
				sub_send_reset(sub, NOTIFYD_RESET_ROWS, match.event->id, unknown->reason);
		}
	}
	foreach (cell, match.later)
		match_hold(link, lfirst(cell));
	foreach (cell, match.bodies)
		match_send_body(link, lfirst(cell), &left);
}

/* ---------------- replays ---------------- */

static bool
match_is_late(const Stream *stream)
{
	bool late = false;
	dlist_iter iter;

	dlist_foreach (iter, (dlist_head *) &stream->subs)
		late |= sub_is_late(dlist_container(Sub, in_stream, iter.cur));
	return late;
}

MatchBody *
match_stream(Stream *stream, const char **problem, bool *leave)
{
	int source = set_source(match.channel, match.event->relation);
	SetChange change = SET_STAYS;
	SetError error;
	MatchBody *body;

	*problem = NULL;
	*leave = false;
	if (stream->nparts > 0 && match.event->op != OPERATION_TRUNCATE)
	{
		const StreamPart *part = &stream->parts[source];

		if (part->nothing)
			return NULL;
		if (part->binding != NULL)
			change = set_judge(part->binding, match.rows, match.event->op, &error);
	}
	switch (change)
	{
		case SET_NOTHING:
			return NULL;
		case SET_FAILED:
			match_note_failed(stream, &error);
			*leave = true;
			return NULL;
		case SET_LATER:
			if (error.message[0] != '\0' && match_is_late(stream))
				match_note_failed(stream, &error);
			*leave = true;
			return NULL;
		case SET_UNKNOWN:
			*problem = match_reason(error.message);
			return NULL;
		default:
			break;
	}
	body = match_body(stream->view, change);
	if (match_build(body))
		return body;
	*problem = MATCH_KEY_UNKNOWN;
	return NULL;
}
