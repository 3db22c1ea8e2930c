/*-------------------------------------------------------------------------
 *
 * feed_set.c
 *	  Which rows a subscription gets: binds row security and filters.
 *
 * A channel has sources: messages, and the tables whose events it has or had. A subscription with a
 * filter, or of a role that row security of a source applies to, belongs to a stream that has a
 * part for each source: a binding (ext/sets/), or nothing to limit it. Subscriptions of a view and
 * link with the same bindings share a stream. All others share the view's plain stream, which has
 * no parts.
 *
 * Subscriptions are placed again, which may move them to another stream: when policies, tables or
 * functions have changed (set_stale()); when a channel gets a source, or other columns that filters
 * can name; when the claims of a token change; and, when values of their bindings may change with any commit, before a round's first event
 * of the channel is read and once a second. If other rows are visible then, the client gets a reset.
 *
 * Many subscriptions are not placed again at once, because others' events would wait for that. They
 * become replays that wait where they are, and each round places some of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ext/base/utf8.h"
#include "ext/feed/feed.h"
#include "ext/feed/feed_due.h"
#include "ext/filter/filter.h"
#include "ext/watch/watch.h"
#include "ext/watch/watch_shape.h"

#define SET_LOOK_MS 1000 /* sets of quiet channels are looked at this often */
#define SET_SLICE   100  /* more subscriptions than this are not placed again at once */

/* ---------------- sources ---------------- */

/* Return the columns that events of a source have, as filter_expression() takes them. */
static Bitmapset *
set_captured(const FeedChannel *channel, Oid relation)
{
	const Watch *watch = OidIsValid(relation) ? watch_find_channel(relation, channel->name) : NULL;
	Bitmapset *captured = NULL;
	int16 *columns = NULL;
	int n = watch != NULL ? watch_event_columns(watch, &columns) : -1;

	for (int i = 0; i < n; i++)
		captured = bms_add_member(captured, columns[i] - FirstLowInvalidHeapAttributeNumber);
	return captured;
}

/* Return a hash of the names and types of a source's columns, and of which are in its events. */
static uint32
set_hash_columns(const FeedChannel *channel, Oid relation)
{
	Relation rel = OidIsValid(relation) ? RelationIdGetRelation(relation) : NULL;
	uint32 shape;

	if (rel == NULL)
		return 0;
	shape = watch_shape_of(RelationGetDescr(rel))->id;
	RelationClose(rel);
	return hash_combine(shape, bms_hash_value(set_captured(channel, relation)));
}

int
set_source(const FeedChannel *channel, Oid relation)
{
	for (int i = 0; i < channel->nsources; i++)
	{
		if (channel->sources[i]->relation == relation)
			return i;
	}
	return -1;
}

void
set_add_source(FeedChannel *channel, Oid relation)
{
	ChannelSource *source;

	if (set_source(channel, relation) >= 0)
		return;
	source = MemoryContextAlloc(channel->feed->context, sizeof(ChannelSource));
	source->relation = relation;
	source->columns = set_hash_columns(channel, relation);
	dlist_init(&source->open);
	channel->sources =
		channel->sources == NULL
			? MemoryContextAlloc(channel->feed->context, sizeof(ChannelSource *))
			: repalloc(channel->sources, (channel->nsources + 1) * sizeof(ChannelSource *));
	channel->sources[channel->nsources++] = source;
	channel->place |= channel->nspecial > 0;
}

void
set_find_sources(FeedChannel *channel)
{
	ListCell *cell;

	set_add_source(channel, InvalidOid);
	foreach (cell, watch_list_channel(channel->name))
		set_add_source(channel, ((const Watch *) lfirst(cell))->relation);
}

/* ---------------- binding ---------------- */

static bool
set_refuse(AccessReason *reason, WireReason kind, const char *message)
{
	reason->kind = kind;
	strlcpy(reason->message, message, sizeof(reason->message));
	reason->name[0] = '\0';
	return false;
}

/*
 * Bind the part of a stream for a source. Sets *applies if the filter is about it. Returns false
 * and sets *reason if the filter or a policy cannot be used.
 */
static bool
set_bind_part(View *view, Oid relation, const SetIdentity *identity, const FilterNode *filter,
			  StreamPart *part, bool *applies, AccessReason *reason)
{
	GuardActor actor = {.role = identity->role, .claims = identity->claims, .opaque = true};
	FilterExpression *expression = NULL;
	SetError error;
	char *problem;

	memset(part, 0, sizeof(*part));
	/* The role gets no event of a table of which it may read nothing. */
	if (OidIsValid(relation) ? !access_any_column(view->role, relation) : !view->access.granted)
	{
		part->nothing = true;
		return true;
	}
	if (filter != NULL)
	{
		switch (filter_expression(filter, relation, set_captured(view->channel, relation), &actor,
								  &expression, &problem))
		{
			case FILTER_TYPED:
				*applies = true;
				if (!set_filter_allowed(view, relation, expression->columns, reason))
					return false;
				break;
			case FILTER_NO_COLUMN:
				if (OidIsValid(relation) && view->channel->nsources > 2)
					problem = psprintf("no table of the channel has all columns of the filter; in "
									   "table \"%s\", %s",
									   get_rel_name(relation), problem);
				set_refuse(reason, WIRE_BAD_FILTER, problem);
				/* Messages have no columns that a filter of rows could select. */
				part->nothing = !OidIsValid(relation);
				break;
			case FILTER_REFUSED:
				return set_refuse(reason, WIRE_BAD_FILTER, problem);
		}
	}
	if (part->nothing || set_bind(relation, identity, expression, &part->binding, &error))
		return true;
	return set_refuse(reason, error.later ? SET_NOT_NOW : error.reason, error.message);
}

static void
set_release_parts(StreamPart *parts, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (parts[i].binding != NULL)
			set_release(parts[i].binding);
	}
}

/*
 * Bind all parts. *n is 0 if nothing limits what the role may see. The caller has to release the
 * bindings.
 */
static bool
set_bind_parts(View *view, const SetIdentity *identity, const FilterNode *filter, StreamPart *parts,
			   int *n, AccessReason *reason)
{
	FeedChannel *channel = view->channel;
	bool applies = filter == NULL;
	bool limited = filter != NULL;

	for (*n = 0; *n < channel->nsources; (*n)++)
	{
		if (!set_bind_part(view, channel->sources[*n]->relation, identity, filter, &parts[*n],
						   &applies, reason))
		{
			set_release_parts(parts, *n);
			return false;
		}
		limited |= parts[*n].binding != NULL;
	}
	/* The reason is that of the last source. */
	if (!applies)
		set_release_parts(parts, *n);
	else if (!limited)
		*n = 0;
	return applies;
}

/* Return true if row security of a source applies to the view's role. */
static bool
set_is_restricted(const View *view)
{
	for (int i = 0; i < view->channel->nsources; i++)
	{
		Oid relation = view->channel->sources[i]->relation;

		if (OidIsValid(relation) && access_row_security(view->role, relation))
			return true;
	}
	return false;
}

/* ---------------- streams with parts ---------------- */

static bool
set_same_parts(const Stream *stream, const View *view, const Link *link, const StreamPart *parts,
			   int n)
{
	if (stream->view != view || stream->link != link || stream->nparts != n)
		return false;
	for (int i = 0; i < n; i++)
	{
		if (stream->parts[i].binding != parts[i].binding ||
			stream->parts[i].nothing != parts[i].nothing)
			return false;
	}
	return true;
}

/* Find the stream with these parts among the users of one of their bindings. */
static Stream *
set_find_stream(const View *view, const Link *link, const StreamPart *parts, int n)
{
	dlist_iter iter;

	for (int i = 0; i < n; i++)
	{
		if (parts[i].binding == NULL)
			continue;
		dlist_foreach (iter, set_users(parts[i].binding))
		{
			Stream *stream = dlist_container(StreamPart, node, iter.cur)->stream;

			if (set_same_parts(stream, view, link, parts, n))
				return stream;
		}
		break;
	}
	return NULL;
}

/*
 * Put the bindings of parts into the index. Returns false and sets *reason if that fails. They must
 * not stay there without users.
 */
static bool
set_index_parts(const StreamPart *parts, int n, AccessReason *reason)
{
	SetError error;

	for (int i = 0; i < n; i++)
	{
		SetBinding *binding = parts[i].binding;

		if (binding == NULL || set_index_has(binding) || set_index_add(binding, &error))
			continue;
		while (i-- > 0)
		{
			if (parts[i].binding != NULL && dlist_is_empty(set_users(parts[i].binding)))
				set_index_remove(parts[i].binding);
		}
		return set_refuse(reason, error.reason, error.message);
	}
	return true;
}

/* Give a new stream its parts, which are in the index, and whose references it takes over. */
static void
set_add_parts(Stream *stream, const StreamPart *parts, int n)
{
	FeedChannel *channel = stream->view->channel;

	stream->nparts = n;
	stream->parts = MemoryContextAlloc(stream->link->feed->context, n * sizeof(StreamPart));
	for (int i = 0; i < n; i++)
	{
		StreamPart *part = &stream->parts[i];

		*part = parts[i];
		part->stream = stream;
		if (part->binding == NULL)
		{
			if (!part->nothing)
				dlist_push_tail(&channel->sources[i]->open, &part->node);
			continue;
		}
		dlist_push_tail(set_users(part->binding), &part->node);
		stream->refreshed |= set_needs_refresh(part->binding);
		/* The order of sources does not matter. */
		if (set_policies(part->binding) != 0)
			stream->policies +=
				hash_combine64(set_policies(part->binding), channel->sources[i]->relation);
	}
	if (stream->refreshed)
		dlist_push_tail(&channel->refreshed, &stream->in_refreshed);
	channel->nspecial++;
}

Stream *
set_waiting_stream(Link *link, View *view)
{
	int n = view->channel->nsources;
	StreamPart *parts = palloc0(n * sizeof(StreamPart));
	Stream *stream = stream_create(link, view);

	for (int i = 0; i < n; i++)
		parts[i].nothing = true;
	set_add_parts(stream, parts, n);
	return stream;
}

void
set_want_parts(Stream *stream, int change)
{
	for (int i = 0; i < stream->nparts; i++)
	{
		if (stream->parts[i].binding != NULL)
			set_want(stream->parts[i].binding, change);
	}
}

void
set_remove_parts(Stream *stream)
{
	if (stream->nparts == 0)
		return;
	for (int i = 0; i < stream->nparts; i++)
	{
		StreamPart *part = &stream->parts[i];

		if (!part->nothing)
			dlist_delete(&part->node);
		if (part->binding == NULL)
			continue;
		if (dlist_is_empty(set_users(part->binding)))
			set_index_remove(part->binding);
		set_release(part->binding);
	}
	if (stream->refreshed)
		dlist_delete(&stream->in_refreshed);
	pfree(stream->parts);
	stream->view->channel->nspecial--;
}

/* Return the claims of an identity in the server's encoding. */
static const char *
set_claims(const FeedIdentity *identity)
{
	return identity != NULL && identity->claims != NULL
			   ? JsonbToCString(NULL, &identity->claims->root, VARSIZE(identity->claims))
			   : NULL;
}

static Stream *
set_bound_stream(Link *link, View *view, const FeedIdentity *identity, const char *filter,
				 AccessReason *reason)
{
	SetIdentity who = {.role = view->role, .claims = set_claims(identity)};
	StreamPart *parts = palloc(view->channel->nsources * sizeof(StreamPart));
	FilterNode *parsed = NULL;
	const char *problem;
	Stream *stream;
	int n;

	if (!access_has_sets())
	{
		set_refuse(reason, WIRE_BAD_FILTER,
				   "filters need ALTER EXTENSION pg_notifyd UPDATE in this database");
		return NULL;
	}
	if (filter != NULL)
	{
		parsed = filter_parse(filter, strlen(filter), palloc, &problem);
		if (parsed == NULL)
		{
			StringInfoData message;

			initStringInfo(&message);
			utf8_append_server(&message, problem, (int) strlen(problem));
			set_refuse(reason, WIRE_BAD_FILTER, message.data);
			return NULL;
		}
	}
	if (!set_bind_parts(view, &who, parsed, parts, &n, reason))
		return NULL;
	if (n == 0)
		return stream_plain(link, view);
	stream = set_find_stream(view, link, parts, n);
	if (stream != NULL)
	{
		set_release_parts(parts, n);
		return stream;
	}
	if (!set_index_parts(parts, n, reason))
	{
		set_release_parts(parts, n);
		return NULL;
	}
	stream = stream_create(link, view);
	set_add_parts(stream, parts, n);
	return stream;
}

Stream *
set_stream(Link *link, View *view, const FeedIdentity *identity, const char *filter,
		   AccessReason *reason)
{
	Stream *stream;

	if (view->channel->nsources == 0)
		set_find_sources(view->channel);
	if (filter == NULL && !set_is_restricted(view))
		return stream_plain(link, view);
	PushActiveSnapshot(GetLatestSnapshot());
	stream = set_bound_stream(link, view, identity, filter, reason);
	PopActiveSnapshot();
	return stream;
}

/* ---------------- placing again ---------------- */

/* Return true if a part gets all rows of its source. */
static bool
set_is_open(const StreamPart *part)
{
	return !part->nothing && (part->binding == NULL || set_is_all(part->binding));
}

/* Return true if two parts for a source get the same rows for certain. */
static bool
set_same_part(const StreamPart *a, const StreamPart *b)
{
	if (set_is_open(a) && set_is_open(b))
		return true;
	return a->nothing == b->nothing && (a->binding == NULL) == (b->binding == NULL) &&
		   (a->binding == NULL || set_same(a->binding, b->binding));
}

/*
 * Return true if two streams of a view get the same rows for certain. Messages, the first source,
 * are no rows.
 */
static bool
set_same_rows(const Stream *a, const Stream *b)
{
	for (int i = 1; i < Min(a->nparts, b->nparts); i++)
	{
		if (!set_same_part(&a->parts[i], &b->parts[i]))
			return false;
	}
	if (a->nparts > 0 && b->nparts > 0)
		return true;

	/* Privileges alone limit what a plain stream gets. */
	for (int i = 1; i < Max(a->nparts, b->nparts); i++)
	{
		const StreamPart *part = a->nparts > 0 ? &a->parts[i] : &b->parts[i];

		if (!part->nothing && !set_is_open(part))
			return false;
	}
	return true;
}

static void
set_move(Sub *sub, Stream *stream)
{
	WireMessage message = {.type = WIRE_MOVED};
	const Stream *from = sub->stream;
	bool same = from->policies == stream->policies && set_same_rows(from, stream);

	stream_take(sub);
	stream_add(stream, sub);
	if (from->policies != stream->policies && (sub->kinds & WIRE_KIND_EVENTS) != 0)
		applied_move(sub, from);
	message.u.moved.sub = sub->number;
	message.u.moved.stream = stream->number;
	frames_queue(&sub->link->socket, &message);
	if (!same && (sub->kinds & WIRE_KIND_EVENTS) != 0)
		sub_send_reset(
			sub, sub->replaying ? Min(sub->reader.after, sub->link->position) : sub->link->position,
			APPLIED_RESET_CHANGED);
}

/* Subscriptions one after another often have the same identity and filter. */
typedef struct SetPlaced
{
	View *view; /* NULL: none yet */
	Link *link;
	Stream *stream; /* NULL: it has ended, for this reason */
	AccessReason reason;
} SetPlaced;

static bool
set_placed_alike(const SetPlaced *last, const Sub *sub, const FeedIdentity *identity,
				 const char *filter)
{
	return last->view == sub->stream->view && last->link == sub->link &&
		   identity == sub->identity &&
		   (filter == NULL ? sub->filter == NULL
						   : sub->filter != NULL && strcmp(filter, sub->filter) == 0);
}

static void
set_place_subs(List *subs)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext each = AllocSetContextCreate(outer, "pg_notifyd place", ALLOCSET_DEFAULT_SIZES);
	SetPlaced last = {.view = NULL};
	const FeedIdentity *identity = NULL;
	char *filter = NULL;
	ListCell *cell;

	foreach (cell, subs)
	{
		Sub *sub = lfirst(cell);

		set_stop_waiting(sub);
		sub->placed = sub->link->feed->round;
		if (last.view == NULL || !set_placed_alike(&last, sub, identity, filter))
		{
			MemoryContextReset(each);
			MemoryContextSwitchTo(each);
			last.view = sub->stream->view;
			last.link = sub->link;
			identity = sub->identity;
			filter = sub->filter != NULL ? pstrdup(sub->filter) : NULL;
			set_budget_begin();
			last.stream = set_stream(sub->link, last.view, identity, filter, &last.reason);
			MemoryContextSwitchTo(outer);
		}
		if (last.stream == NULL && last.reason.kind == SET_NOT_NOW)
		{
			set_wait(sub);
			sub_hold(sub, sub->link->position);
			if (last.reason.message[0] != '\0' && sub_is_late(sub))
			{
				last.reason.kind = WIRE_POLICY_FAILED;
				sub_end(sub, &last.reason);
				last.view = NULL;
			}
			continue;
		}
		if (last.stream == NULL)
			sub_end(sub, &last.reason);
		else if (last.stream != sub->stream)
			set_move(sub, last.stream);
	}
	MemoryContextDelete(each);
}

void
set_stop_waiting(Sub *sub)
{
	if (sub->waiting)
		dlist_delete(&sub->in_waiting);
	sub->waiting = false;
}

void
set_wait(Sub *sub)
{
	Feed *feed = sub->link->feed;
	/* In the middle of a round, the link's own reader is where the round began. */
	LogReader reader = {.after = sub->link->position};

	sub_replay(sub, &reader, reader.after);
	sub->waiting = true;
	dlist_push_tail(&feed->waiting, &sub->in_waiting);
}

/* Place subscriptions that must not get events as they are, now or in later rounds. */
static void
set_place_soon(List *subs)
{
	ListCell *cell;

	if (list_length(subs) <= SET_SLICE)
	{
		set_place_subs(subs);
		return;
	}
	foreach (cell, subs)
		set_wait(lfirst(cell));
}

bool
set_place_some(Feed *feed)
{
	List *subs = NIL;
	int64 now = feed_clock();
	bool more = false;
	dlist_iter iter;

	dlist_foreach (iter, &feed->waiting)
	{
		Sub *sub = dlist_container(Sub, in_waiting, iter.cur);

		if (sub->held_until > now)
			continue;
		more = list_length(subs) == SET_SLICE;
		if (more)
			break;
		subs = lappend(subs, sub);
	}
	set_place_subs(subs);
	list_free(subs);
	return more;
}

/*
 * Append the subscriptions of a stream to a list, without those that wait to be placed, or were placed in
 * this round (0: any).
 */
static List *
set_list_subs(List *subs, Stream *stream, uint64 round)
{
	dlist_iter iter;

	dlist_foreach (iter, &stream->subs)
	{
		Sub *sub = dlist_container(Sub, in_stream, iter.cur);

		if (!sub->waiting && (round == 0 || sub->placed != round))
			subs = lappend(subs, sub);
	}
	return subs;
}

void
set_place_identity(FeedIdentity *identity)
{
	List *subs = NIL;
	dlist_iter iter;

	dlist_foreach (iter, &identity->subs)
		subs = lappend(subs, dlist_container(Sub, in_identity, iter.cur));
	set_place_subs(subs);
	dlist_foreach (iter, &identity->subs)
		applied_renew(dlist_container(Sub, in_identity, iter.cur));
}

/* Return true if the sets of a stream's subscriptions certainly are what they were. */
static bool
set_stream_unchanged(const Stream *stream, const SetMoment *since)
{
	for (int i = 0; i < stream->nparts; i++)
	{
		if (stream->parts[i].binding != NULL && !set_unchanged(stream->parts[i].binding, since))
			return false;
	}
	return true;
}

/*
 * Before a round's first event of a channel is read: place subscriptions again whose sets may have
 * changed.
 */
static void
set_look_refreshed(FeedChannel *channel)
{
	List *subs = NIL;
	SetMoment now;
	dlist_iter iter;

	channel->round = channel->feed->round;
	set_moment(&now);
	dlist_foreach (iter, &channel->refreshed)
	{
		Stream *stream = dlist_container(Stream, in_refreshed, iter.cur);

		if (!set_stream_unchanged(stream, &channel->looked_at))
			subs = set_list_subs(subs, stream, channel->round);
	}
	set_place_subs(subs);
	channel->looked_at = now;
	list_free(subs);
}

static void
set_place_channel(FeedChannel *channel)
{
	List *subs = NIL;
	SetMoment now;
	dlist_iter views;
	dlist_iter streams;

	channel->place = false;
	channel->round = channel->feed->round;
	channel->placed = channel->feed->round;
	set_moment(&now);
	dlist_foreach (views, &channel->views)
	{
		dlist_foreach (streams, &dlist_container(View, in_channel, views.cur)->streams)
			subs = set_list_subs(subs, dlist_container(Stream, in_view, streams.cur), 0);
	}
	set_place_soon(subs);
	channel->looked_at = now;
	list_free(subs);
}

void
set_look_channel(FeedChannel *channel)
{
	if (channel->place)
		set_place_channel(channel);
	else if (channel->round != channel->feed->round && !dlist_is_empty(&channel->refreshed))
		set_look_refreshed(channel);
}

bool
set_due(const Feed *feed)
{
	return due_since(feed->sets_looked_at, feed->now, SET_LOOK_MS);
}

void
set_look_all(Feed *feed, uint64 ended)
{
	HASH_SEQ_STATUS status;
	FeedChannel *channel;

	feed->sets_looked_at = feed->now;
	if (ended == feed->sets_looked_count)
		return;
	feed->sets_looked_count = ended;
	hash_seq_init(&status, feed->channels);
	while ((channel = hash_seq_search(&status)) != NULL)
		set_look_channel(channel);
}

/*
 * Let subscriptions be placed again if a source's columns have other names or types, or others of
 * them are in the events: their filters may mean something else.
 */
static void
set_look_columns(FeedChannel *channel)
{
	for (int i = 0; i < channel->nsources; i++)
	{
		ChannelSource *source = channel->sources[i];
		uint32 columns = set_hash_columns(channel, source->relation);

		channel->place |= columns != source->columns;
		source->columns = columns;
	}
}

static bool
set_stream_stale(const Stream *stream)
{
	for (int i = 0; i < stream->nparts; i++)
	{
		if (stream->parts[i].binding != NULL && set_stale(stream->parts[i].binding))
			return true;
	}
	return false;
}

/* Place subscriptions again whose bindings are stale. */
static void
set_look_stale(Feed *feed)
{
	uint64 changes = set_changes();
	HASH_SEQ_STATUS status;
	FeedChannel *channel;
	Stream *stream;
	List *subs = NIL;

	if (changes == feed->set_changes)
		return;
	feed->set_changes = changes;
	hash_seq_init(&status, feed->channels);
	while ((channel = hash_seq_search(&status)) != NULL)
	{
		if (channel->nspecial > 0)
			set_look_columns(channel);
	}
	hash_seq_init(&status, feed->streams);
	while ((stream = hash_seq_search(&status)) != NULL)
	{
		if (stream->nparts > 0 && set_stream_stale(stream))
			subs = set_list_subs(subs, stream, 0);
	}
	set_place_soon(subs);
	list_free(subs);
}

void
set_look(Feed *feed)
{
	feed->round++;
	set_look_stale(feed);
}

void
set_look_subscribe(FeedChannel *channel)
{
	if (set_changes() == channel->feed->set_changes && !channel->place)
		return;
	PushActiveSnapshot(GetLatestSnapshot());
	set_look_stale(channel->feed);
	if (channel->place)
		set_place_channel(channel);
	PopActiveSnapshot();
}
