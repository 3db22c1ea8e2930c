/*-------------------------------------------------------------------------
 *
 * feed_place.c
 *	  Places subscriptions again when what they may see has changed.
 *
 * Subscriptions are placed again, which may move them to another stream: when policies, tables or
 * functions have changed (set_stale()); when a channel gets a source, or other columns that filters
 * can name; when the claims of a token change; and, when values of their bindings may change with any
 * commit, before a round's first event of the channel is read and once a second. If other rows are
 * visible then, the client gets a reset.
 *
 * Many subscriptions are not placed again at once, because others' events would wait for that. They
 * become replays that wait where they are, and each round places some of them. So do those whose sets
 * cannot be known now, because a lock is not free, or because that takes too much time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "ext/feed/feed.h"
#include "ext/feed/feed_due.h"
#include "ext/feed/feed_place.h"

#define SET_LOOK_MS 1000 /* sets of quiet channels are looked at this often */
#define SET_SLICE   100  /* more subscriptions than this are not placed again at once */

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

/*
 * A subscription that had to wait since its begin is placed for the first time: no event has been sent to it.
 * Returns why its client needs a reset nevertheless, or NULL. Rows of a snapshot are compared later: see feed_seen.c.
 */
static const char *
set_first_place(Sub *sub)
{
	sub->unplaced = false;
	if ((sub->kinds & WIRE_KIND_EVENTS) == 0)
		return NULL;
	return applied_begin(sub, sub->resumes ? &sub->reader.after : NULL);
}

static void
set_move(Sub *sub, Stream *stream)
{
	WireMessage message = {.type = WIRE_MOVED};
	const Stream *from = sub->stream;
	bool same = from->policies == stream->policies && set_same_rows(from, stream);
	bool first = sub->unplaced;
	const char *reset = same ? NULL : APPLIED_RESET_CHANGED;

	stream_take(sub);
	stream_add(stream, sub);
	/*
	 * Row security may have been switched on or off within this round. A decision of the time before would
	 * keep events from a stream of the time after.
	 */
	if ((from->nparts == 0) != (stream->nparts == 0))
		view_forget_decisions(stream->view);
	if (first)
		reset = set_first_place(sub);
	else if (from->policies != stream->policies && (sub->kinds & WIRE_KIND_EVENTS) != 0)
		applied_move(sub, from);
	message.u.moved.sub = sub->number;
	message.u.moved.stream = stream->number;
	frames_queue(&sub->link->socket, &message);
	if (reset != NULL && (sub->kinds & WIRE_KIND_EVENTS) != 0)
		sub_send_reset(sub, NOTIFYD_RESET_ROWS,
					   sub->replaying ? Min(sub->reader.after, sub->link->position)
									  : sub->link->position,
					   reset);
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
	sub->unsure |= sub->held || sub->seen != NULL;
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
	{
		Sub *sub = dlist_container(Sub, in_identity, iter.cur);

		if (sub->stream->pattern == NULL)
			subs = lappend(subs, sub);
	}
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
		View *view = dlist_container(View, in_channel, views.cur);

		view_forget_decisions(view);
		dlist_foreach (streams, &view->streams)
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
