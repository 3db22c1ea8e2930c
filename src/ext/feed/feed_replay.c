/*-------------------------------------------------------------------------
 *
 * feed_replay.c
 *	  Replays: what the log has for subscriptions that go on from an earlier position.
 *
 * A turn reads a piece of the log from the position of one replay, which turns.c chooses, for all
 * replays of the link whose positions the scan comes upon. These ride along: they are sent the
 * events that they want, and are where the scan is at its end. A replay gets off early, with the
 * place in the log where it is, when its client's credit or the room on the link is used up.
 *
 * Which riders want an event is found by its channel, the streams of that, and the operations that
 * riders of a stream have asked for: riders who want nothing of a piece cost nothing for each of
 * its rows. An event's text is made once.
 *
 * Replay to live: a replay reads up to where the link's own reader is. When it has got there,
 * REPLAY_DONE is queued and the subscription is live. Everything that the link reads later is
 * queued behind that frame, and everything before it was read by the replay: nothing can be missed
 * or doubled.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ext/base/operation.h"
#include "ext/base/failpoint.h"
#include "ext/feed/feed.h"
#include "ext/transaction/pending.h"

#define REPLAY_ROWS 500 /* looked at in a turn */
#define REPLAY_NEAR                                                                                \
	(8 * REPLAY_ROWS)  /* ids: who is further ahead need not be thought of; there are gaps */
#define REPLAY_TURNS 4 /* in a round, unless live events wait: credit comes in between rounds */

/* The riders of a stream that have asked for the same operations. */
typedef struct ReplayGroup
{
	struct ReplayGroup *next; /* of the stream */
	uint8 ops;
	Sub *first;
} ReplayGroup;

/* A turn. */
typedef struct ReplayRide
{
	Link *link;
	LogReader reader;
	Sub *first; /* all riders */
	int aboard; /* how many have not got off */
	uint64 rows;
} ReplayRide;

static void
replay_finish(Sub *sub)
{
	WireMessage message = {.type = WIRE_REPLAY_DONE};

	FAIL_POINT("replay-live");
	message.u.replay_done.sub = sub->number;
	message.u.replay_done.id = sub->link->position;
	frames_queue(&sub->link->socket, &message);
	stream_go_live(sub);
}

/* ---------------- riders ---------------- */

/*
 * A rider leaves the scan, having been given everything up to an id that the scan has just come to,
 * or is one behind.
 */
static void
replay_get_off(ReplayRide *ride, Sub *sub, uint64 after)
{
	sub->reader = ride->reader;
	sub->reader.after = after;
	sub->riding = false;
	ride->aboard--;
}

static void
replay_give(ReplayRide *ride, Sub *sub, const LogEvent *event)
{
	Feed *feed = ride->link->feed;
	WireMessage message = {.type = WIRE_REPLAY_EVENT};

	/* However many riders there are, the link takes only so much. */
	if (!link_ready(ride->link))
	{
		replay_get_off(ride, sub, event->id - 1);
		return;
	}
	sub->given++;
	if (event->op == OPERATION_RESET)
	{
		event_send_reset(sub, event);
		return;
	}
	if (feed->text.len == 0)
		event_build_text(feed, event);
	message.u.replay_event.sub = sub->number;
	message.u.replay_event.id = event->id;
	message.u.replay_event.op = operation_bit(event->op);
	message.u.replay_event.body =
		(WireBytes){.data = feed->text.data, .len = (uint32_t) feed->text.len};
	frames_queue(&ride->link->socket, &message);
	event_count_sent(feed);
	sub->credit -= feed->text.len;
	if (sub->credit <= 0)
		replay_get_off(ride, sub, event->id);
}

static void
replay_give_stream(ReplayRide *ride, Stream *stream, const LogEvent *event)
{
	uint8 op = event->op == OPERATION_RESET ? OPERATION_TABLE_BITS : operation_bit(event->op);

	for (ReplayGroup *group = stream->riders; group != NULL; group = group->next)
	{
		if ((group->ops & op) == 0 || !stream_event_allowed(stream, event))
			continue;
		for (Sub *sub = group->first; sub != NULL; sub = sub->next_in_group)
		{
			if (sub->riding && sub->reader.after < event->id)
				replay_give(ride, sub, event);
		}
	}
}

static bool
replay_callback(const LogEvent *event, void *arg)
{
	ReplayRide *ride = arg;
	FeedChannel *channel = stream_channel(ride->link->feed, event->channel, event->channel_length);
	dlist_iter iter;

	ride->rows++;
	ride->link->feed->text.len = 0;
	if (channel == NULL)
		return true;
	dlist_foreach (iter, &channel->streams)
	{
		Stream *stream = dlist_container(Stream, in_channel, iter.cur);

		if (stream->riders != NULL)
			replay_give_stream(ride, stream, event);
	}
	return ride->aboard > 0 && link_ready(ride->link);
}

/* ---------------- a turn ---------------- */

/*
 * Whether a replay can be read for: its client takes something, and the live stream is there
 * already.
 */
static bool
replay_can_go(const Sub *sub)
{
	return sub->credit > 0 && sub->reader.after <= sub->link->reader.after;
}

static void
replay_board(ReplayRide *ride, Sub *sub)
{
	Stream *stream = sub->stream;
	ReplayGroup *group = stream->riders;

	while (group != NULL && group->ops != sub->ops)
		group = group->next;
	if (group == NULL)
	{
		group = palloc0(sizeof(ReplayGroup));
		group->ops = sub->ops;
		group->next = stream->riders;
		stream->riders = group;
	}
	sub->next_in_group = group->first;
	group->first = sub;
	sub->next_rider = ride->first;
	ride->first = sub;
	sub->riding = true;
	sub->given = 0;
	ride->aboard++;
}

/* The scan is over: riders are where it is, and the groups are no more. */
static void
replay_alight(ReplayRide *ride, const TurnsReplay lead)
{
	Link *link = ride->link;

	for (Sub *sub = ride->first; sub != NULL; sub = sub->next_rider)
	{
		sub->stream->riders = NULL;
		if (sub->riding)
		{
			sub->riding = false;

			/* The scan has not come to it. */
			if (sub->reader.after >= ride->reader.after)
				continue;
			sub->reader = ride->reader;
		}
		turns_served(&link->turns, &sub->turn, &lead, link->reader.after - sub->reader.after,
					 ride->rows, sub->given, sub->credit <= 0);
		if (sub->reader.after == link->reader.after)
			replay_finish(sub);
	}
}

static void
replay_ride(Link *link, Sub *lead, Snapshot snapshot)
{
	ReplayRide ride = {.link = link, .reader = lead->reader};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext own = AllocSetContextCreate(context, "pg_notifyd replay", ALLOCSET_DEFAULT_SIZES);
	TurnsReplay lead_turn = lead->turn;
	dlist_iter iter;

	MemoryContextSwitchTo(own);
	dlist_foreach (iter, &link->replays)
	{
		Sub *sub = dlist_container(Sub, in_replays, iter.cur);

		if (replay_can_go(sub) && sub->reader.after >= lead->reader.after &&
			sub->reader.after - lead->reader.after <= REPLAY_NEAR)
			replay_board(&ride, sub);
	}
	log_read(&ride.reader, &link->feed->map, link->reader.after, REPLAY_ROWS, snapshot,
			 replay_callback, &ride);
	replay_alight(&ride, lead_turn);
	MemoryContextSwitchTo(context);
	MemoryContextDelete(own);
}

/* Retention has passed what a replay was to be sent. */
static void
replay_reset(Sub *sub)
{
	uint64 oldest = sub->link->feed->map.oldest;

	memset(&sub->reader, 0, sizeof(sub->reader));
	sub->reader.after = oldest;
	stream_send_reset(sub, oldest, EVENT_RESET_RETENTION);
}

/* One turn, if any replay of the link can go on. Returns whether there was one. */
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

		if (!replay_can_go(sub))
			continue;
		if (sub->reader.after < link->feed->map.oldest)
			replay_reset(sub);
		if (sub->reader.after == link->reader.after)
			replay_finish(sub);
		else if (sub->reader.after < link->reader.after)
			turns_enter(&link->turns, &choice, &sub->turn, sub->reader.after);
	}
	lead = turns_choose(&link->turns, &choice);
	if (lead == NULL)
		return false;
	replay_ride(link, (Sub *) ((char *) lead - offsetof(Sub, turn)), snapshot);
	return true;
}

FeedProgress
feed_read_replays(Feed *feed, Snapshot snapshot)
{
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
