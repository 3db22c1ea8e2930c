/*-------------------------------------------------------------------------
 *
 * feed_replay.c
 *	  Replays: read the log for subscriptions that resume from an earlier position, or get a large
 *	  transaction.
 *
 * A turn scans a part of the log, starting at the position of the replay that turns.c chooses. All
 * replays of the link whose positions are in that part take part in the scan: they are sent the
 * events that they want, and their new position is the end of the scan. A replay leaves the scan
 * early, with the scan's present place in the log, when its client's credit or the room on the link
 * is used up.
 *
 * An event's channel leads to its streams, and from there to groups of replays with the same
 * operations. So replays that want no event in a part of the log cost nothing for each of its rows.
 * The text of an event is built once, and the replays of a stream get it in one frame.
 *
 * A replay becomes live when it has reached the position of the link's own reader. REPLAY_DONE is
 * then queued. Everything that the link reads later is queued after that frame, and everything
 * before it was read by the replay, so no event is lost or sent twice.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ext/base/operation.h"
#include "ext/base/failpoint.h"
#include "ext/feed/feed.h"
#include "ext/feed/feed_place.h"
#include "ext/feed/feed_seen.h"
#include "ext/transaction/pending.h"

#define REPLAY_ROWS 500 /* rows read in a turn */
#define REPLAY_NEAR                                                                                \
	(8 *                                                                                           \
	 REPLAY_ROWS) /* in ids: replays further ahead than this do not join a scan; ids have gaps */
#define REPLAY_RESET_SECURITY "row security has changed"
#define REPLAY_TURNS          4 /* in a round, unless live events wait; credit arrives between rounds */

/* The replays of a stream that want the same operations. */
typedef struct ReplayGroup
{
	struct ReplayGroup *next; /* of the same stream */
	uint8 ops;
	Sub *first;
} ReplayGroup;

/* A scan for one or more replays. */
typedef struct ReplayScan
{
	Link *link;
	LogReader reader;
	Sub *first;    /* all replays that joined the scan */
	int remaining; /* number of replays that have not left the scan */
	uint64 rows;
	int nsubs; /* number of replays in the frame that is being made, and their subscriptions */
	uint8_t *subs;
} ReplayScan;

/* Return true if the replay has reached the live stream, and that is beyond its client's snapshot. */
static bool
replay_is_over(const Sub *sub)
{
	return sub->reader.after == sub->link->reader.after &&
		   (sub->seen == NULL || sub->reader.after >= sub->seen->until);
}

static void
replay_finish(Sub *sub)
{
	WireMessage message = {.type = WIRE_REPLAY_DONE};

	FAIL_POINT("replay-live");
	message.u.replay_done.sub = sub->number;
	message.u.replay_done.id = sub->link->position;
	frames_queue(&sub->link->socket, &message);
	sub_go_live(sub);
}

/* ---------------- sending ---------------- */

/*
 * Remove a replay from the scan. It has been sent everything up to after, which is the id that the
 * scan has just read, or one less.
 */
static void
replay_leave(ReplayScan *scan, Sub *sub, uint64 after)
{
	sub->reader = scan->reader;
	sub->reader.after = after;
	sub->in_scan = false;
	scan->remaining--;
}

/* What a replay gets of an event: a text, or a reset. */
typedef struct ReplayEvent
{
	const LogEvent *event;
	uint8 op;          /* WIRE_OP_ bit */
	StringInfo text;   /* NULL: not built yet, or a reset */
	const char *reset; /* the reason; NULL: none, or that of the event */
} ReplayEvent;

/* Queue an event for the replays that are to have it. */
static void
replay_queue(ReplayScan *scan, const ReplayEvent *what)
{
	WireMessage message = {.type = WIRE_REPLAY_EVENT};

	if (scan->nsubs == 0)
		return;
	message.u.replay_event.id = what->event->id;
	message.u.replay_event.op = what->op;
	message.u.replay_event.nsubs = (uint16_t) scan->nsubs;
	message.u.replay_event.subs = scan->subs;
	message.u.replay_event.body =
		(WireBytes){.data = what->text->data, .len = (uint32_t) what->text->len};
	frames_queue(&scan->link->socket, &message);
	event_count_sent(scan->link->feed, what->text);
	scan->nsubs = 0;
}

/* Send a reset to a replay, or put it into the frame with the event, for replay_queue(). */
static void
replay_send(ReplayScan *scan, Sub *sub, ReplayEvent *what)
{
	const LogEvent *event = what->event;

	/* The link is full. */
	if (!link_ready(scan->link))
	{
		replay_leave(scan, sub, event->id - 1);
		return;
	}
	sub->sent++;
	if (what->reset != NULL)
	{
		sub_send_reset(sub, NOTIFYD_RESET_ROWS, event->id, what->reset);
		return;
	}
	if (event->op == OPERATION_RESET)
	{
		event_send_reset(sub, event);
		return;
	}
	if (what->text->len == 0)
		event_build_text(what->text, event);
	wire_store_u32(scan->subs + scan->nsubs * sizeof(uint32), sub->number);
	if (++scan->nsubs == WIRE_MAX_SUBS)
		replay_queue(scan, what);
	sub->credit -= what->text->len;
	if (sub->credit <= 0)
		replay_leave(scan, sub, event->id);
}

static void
replay_send_groups(ReplayScan *scan, const Stream *stream, ReplayEvent *what)
{
	uint8 op =
		what->reset != NULL || what->event->op == OPERATION_RESET ? OPERATION_TABLE_BITS : what->op;

	for (ReplayGroup *group = stream->groups; group != NULL; group = group->next)
	{
		if ((group->ops & op) == 0)
			continue;
		for (Sub *sub = group->first; sub != NULL; sub = sub->next_in_group)
		{
			if (sub->in_scan && sub->reader.after < what->event->id &&
				!seen_event(sub, what->event))
				replay_send(scan, sub, what);
		}
	}
	replay_queue(scan, what);
}

/* Return true if a replay of the stream in the scan still has to get the event. */
static bool
replay_wants(const Stream *stream, const LogEvent *event)
{
	for (ReplayGroup *group = stream->groups; group != NULL; group = group->next)
	{
		for (Sub *sub = group->first; sub != NULL; sub = sub->next_in_group)
		{
			if (sub->in_scan && sub->reader.after < event->id)
				return true;
		}
	}
	return false;
}

/*
 * Its subscriptions must be placed again, or their sets computed, before they may have the event. hold:
 * that is not possible now.
 */
static void
replay_leave_stream(ReplayScan *scan, const Stream *stream, const LogEvent *event, bool hold)
{
	for (ReplayGroup *group = stream->groups; group != NULL; group = group->next)
	{
		for (Sub *sub = group->first; sub != NULL; sub = sub->next_in_group)
		{
			if (!sub->in_scan || sub->reader.after >= event->id)
				continue;
			replay_leave(scan, sub, event->id - 1);
			if (hold)
				sub_hold(sub, event->id - 1);
		}
	}
}

/* Return true if it is not known yet which rows of the event's table the stream gets. */
static bool
replay_needs_place(const Stream *stream, const LogEvent *event, bool restricted)
{
	const FeedChannel *channel = stream->view->channel;
	int source = set_source(channel, event->relation);

	if (channel->place || source < 0)
		return true;
	if (stream->nparts == 0)
		return restricted;
	return restricted && stream->parts[source].binding == NULL && !stream->parts[source].nothing;
}

static void
replay_send_stream(ReplayScan *scan, Stream *stream, const LogEvent *event)
{
	FeedChannel *channel = stream->view->channel;
	ReplayEvent what = {
		.event = event, .op = operation_bit(event->op), .text = &scan->link->feed->text};
	MatchBody *body;
	bool restricted;
	bool leave;

	if (!(stream->view->key.columns != NULL && event->op != OPERATION_RESET
			  ? match_allowed(stream->view, &restricted)
			  : view_event_allowed(stream->view, event, &restricted)))
		return;
	if (event->op == OPERATION_RESET ||
		(stream->nparts == 0 && !restricted && stream->view->key.columns == NULL))
	{
		replay_send_groups(scan, stream, &what);
		return;
	}
	if (replay_needs_place(stream, event, restricted))
	{
		if (channel->placed == scan->link->feed->round && !channel->place &&
			set_source(channel, event->relation) >= 0)
		{
			/* Row security applies, but did not when its subscriptions were placed just now. */
			what.reset = REPLAY_RESET_SECURITY;
			replay_send_groups(scan, stream, &what);
			return;
		}
		set_add_source(channel, event->relation);
		channel->place = true;
		replay_leave_stream(scan, stream, event, false);
		return;
	}
	if (!replay_wants(stream, event))
		return;
	body = match_stream(stream, &what.reset, &leave);
	if (leave)
	{
		replay_leave_stream(scan, stream, event, true);
		return;
	}
	if (body != NULL)
	{
		what.op = body->op;
		what.text = body->text;
	}
	if (body != NULL || what.reset != NULL)
		replay_send_groups(scan, stream, &what);
}

static bool
replay_callback(const LogEvent *event, void *arg)
{
	ReplayScan *scan = arg;
	FeedChannel *channel = view_channel(scan->link->feed, event->channel, event->channel_length);
	slist_iter iter;

	scan->rows++;
	scan->link->feed->text.len = 0;
	if (channel == NULL || slist_is_empty(&channel->scanned))
		return true;
	if (channel->nspecial > 0)
		match_begin(channel, event);
	slist_foreach (iter, &channel->scanned)
		replay_send_stream(scan, slist_container(Stream, in_scan, iter.cur), event);
	return scan->remaining > 0 && link_ready(scan->link);
}

/* ---------------- a turn ---------------- */

/*
 * Return true if a replay can continue: it has credit, does not wait for anything, and the live
 * stream has reached its position.
 */
static bool
replay_can_continue(const Sub *sub)
{
	if (sub->waiting || sub->held_until > feed_clock())
	{
		sub->link->feed->holds = true;
		return false;
	}
	return sub->credit > 0 && sub->reader.after <= sub->link->reader.after;
}

static void
replay_join(ReplayScan *scan, Sub *sub)
{
	Stream *stream = sub->stream;
	ReplayGroup *group = stream->groups;

	while (group != NULL && group->ops != sub->ops)
		group = group->next;
	if (group == NULL)
	{
		if (stream->groups == NULL)
			slist_push_head(&stream->view->channel->scanned, &stream->in_scan);
		group = palloc0(sizeof(ReplayGroup));
		group->ops = sub->ops;
		group->next = stream->groups;
		stream->groups = group;
	}
	sub->next_in_group = group->first;
	group->first = sub;
	sub->next_in_scan = scan->first;
	scan->first = sub;
	sub->in_scan = true;
	sub->sent = 0;
	scan->remaining++;
}

/* End the scan: set the positions of its replays, and remove the groups. */
static void
replay_end_scan(ReplayScan *scan, const TurnsReplay lead)
{
	Link *link = scan->link;

	for (Sub *sub = scan->first; sub != NULL; sub = sub->next_in_scan)
	{
		sub->stream->groups = NULL;
		slist_init(&sub->stream->view->channel->scanned);
		if (sub->in_scan)
		{
			sub->in_scan = false;

			/* The scan has not reached its position. */
			if (sub->reader.after >= scan->reader.after)
				continue;
			sub->reader = scan->reader;
		}
		turns_served(&link->turns, &sub->turn, &lead, link->reader.after - sub->reader.after,
					 scan->rows, sub->sent, sub->credit <= 0);
		if (replay_is_over(sub))
			replay_finish(sub);
	}
}

static void
replay_scan(Link *link, Sub *lead, Snapshot snapshot)
{
	static uint8_t subs[WIRE_MAX_SUBS * sizeof(uint32)];
	ReplayScan scan = {.link = link, .reader = lead->reader, .subs = subs};
	LogVisitor visitor = {.event = replay_callback, .arg = &scan};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext own = AllocSetContextCreate(context, "pg_notifyd replay", ALLOCSET_DEFAULT_SIZES);
	TurnsReplay lead_turn = lead->turn;
	dlist_iter iter;

	MemoryContextSwitchTo(own);
	dlist_foreach (iter, &link->replays)
	{
		Sub *sub = dlist_container(Sub, in_replays, iter.cur);

		if (replay_can_continue(sub) && sub->reader.after >= lead->reader.after &&
			sub->reader.after - lead->reader.after <= REPLAY_NEAR)
			replay_join(&scan, sub);
	}
	log_read(&scan.reader, &link->feed->map, link->reader.after, REPLAY_ROWS, snapshot, &visitor);
	replay_end_scan(&scan, lead_turn);
	MemoryContextSwitchTo(context);
	MemoryContextDelete(own);
	match_end_failed(link->feed);
}

/* Retention has removed events that a replay was to send. */
static void
replay_reset(Sub *sub)
{
	uint64 oldest = sub->link->feed->map.oldest;

	memset(&sub->reader, 0, sizeof(sub->reader));
	sub->reader.after = oldest;
	sub_send_reset(sub, NOTIFYD_RESET_RETENTION, oldest, EVENT_RESET_RETENTION);
}

/* Before the first event after a snapshot. */
static void
replay_compare_seen(Sub *sub)
{
	const char *reset = seen_compare(sub);

	if (reset != NULL)
		sub_send_reset(sub, NOTIFYD_RESET_ROWS, sub->reader.after, reset);
}

/* Do one turn, if any replay of the link can continue. Returns true if there was one. */
static bool
replay_turn(Link *link, Snapshot snapshot)
{
	TurnsChoice choice = {0};
	TurnsReplay *lead;
	dlist_mutable_iter iter;

	if (!link_ready(link))
		return false;
	dlist_foreach_modify (iter, &link->replays)
	{
		Sub *sub = dlist_container(Sub, in_replays, iter.cur);

		if (!replay_can_continue(sub))
			continue;
		replay_compare_seen(sub);
		if (sub->reader.after < link->feed->map.oldest)
			replay_reset(sub);
		if (replay_is_over(sub))
			replay_finish(sub);
		else if (sub->reader.after < link->reader.after)
			turns_enter(&link->turns, &choice, &sub->turn, sub->reader.after);
	}
	lead = turns_choose(&link->turns, &choice);
	if (lead == NULL)
		return false;
	replay_scan(link, (Sub *) ((char *) lead - offsetof(Sub, turn)), snapshot);
	return true;
}

/* Place subscriptions again where that is due. May end replays. */
static void
replay_look(Link *link)
{
	List *channels = NIL;
	ListCell *cell;
	dlist_iter iter;

	dlist_foreach (iter, &link->replays)
	{
		FeedChannel *channel = dlist_container(Sub, in_replays, iter.cur)->stream->view->channel;

		if (channel->place ||
			(!dlist_is_empty(&channel->refreshed) && channel->round != link->feed->round))
			channels = list_append_unique_ptr(channels, channel);
	}
	foreach (cell, channels)
		set_look_channel(lfirst(cell));
	list_free(channels);
}

FeedProgress
feed_read_replays(Feed *feed, Snapshot snapshot)
{
	feed->holds = false;
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (feed->links[i] != NULL && !dlist_is_empty(&feed->links[i]->replays))
			replay_look(feed->links[i]);
	}
	for (int turns = 0; turns < REPLAY_TURNS; turns++)
	{
		bool any = false;

		for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
			any |= feed->links[i] != NULL && replay_turn(feed->links[i], snapshot);
		if (!any)
			return FEED_IDLE;
		link_send_all(feed);
		if (position_behind(feed))
			break;
	}
	return FEED_MORE;
}
