/*-------------------------------------------------------------------------
 *
 * feed_read.c
 *	  Reads the log in rounds, and sends live events to the links.
 *
 * Each round is one short transaction. It is bounded by the rows read, the turns of replays
 * (feed_replay.c), the bytes queued on the link and, for a replay, the bytes that its client has
 * taken. Live events come first: a round ends after the turn of a replay during which some have
 * arrived.
 *
 * The events of a large transaction are no live events. When the live reader comes to one, the live
 * subscriptions to its channels become replays that begin right before it, and the reader goes on
 * behind it. So events of other channels do not wait for it. Those that follow on its own channels
 * come after it, because each of its replays reads on until it is live again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ext/base/operation.h"
#include "ext/base/compat.h"
#include "ext/base/utf8.h"
#include "ext/feed/feed.h"
#include "ext/feed/feed_pattern.h"
#include "ext/feed/feed_place.h"
#include "ext/feed/feed_publish.h"
#include "ext/transaction/pending.h"
#include "ext/base/settings.h"

#define FEED_LIVE_ROWS 1000 /* rows read in one round, for all links at the same position */

/* A transaction with more bytes of events than this is large. */
#define FEED_LARGE_BYTES (1024 * 1024)

/* ---------------- events ---------------- */

/*
 * Queue feed->text for the plain streams of a channel with live subscriptions on the link. Returns
 * false, and queues nothing, if row security applies to one of them, so that match_event() must
 * find out what it gets.
 */
static bool
feed_queue_event(Link *link, FeedChannel *channel, const LogEvent *event)
{
	static uint8_t streams[WIRE_MAX_STREAMS * sizeof(uint32)];
	Feed *feed = link->feed;
	WireMessage message = {.type = WIRE_EVENT};
	int n = 0;
	dlist_iter iter;

	message.u.event.id = event->id;
	message.u.event.op = operation_bit(event->op);
	message.u.event.streams = streams;
	dlist_foreach (iter, &channel->views)
	{
		View *view = dlist_container(View, in_channel, iter.cur);
		const Stream *stream = view->plain[link->gateway];
		bool restricted;

		if (stream == NULL || stream->live == 0 || !view_event_allowed(view, event, &restricted))
			continue;
		if (restricted)
			return false;
		if (n == 0 && feed->text.len == 0)
			event_build_text(&feed->text, event);
		if (n == WIRE_MAX_STREAMS)
		{
			message.u.event.more = 1;
			event_queue(link, &message, n, &feed->text);
			message.u.event.more = 0;
			n = 0;
		}
		wire_store_u32(streams + n * sizeof(uint32), stream->number);
		n++;
	}
	if (n > 0)
	{
		event_queue(link, &message, n, &feed->text);
		event_count_sent(feed, &feed->text);
	}
	return true;
}

/* ---------------- resets ---------------- */

/* Send a reset to all live subscriptions of a link. */
static void
feed_queue_reset(Link *link, FeedChannel *channel, const LogEvent *event)
{
	dlist_iter views;
	dlist_iter streams;
	dlist_iter subs;
	bool restricted;

	dlist_foreach (views, &channel->views)
	{
		View *view = dlist_container(View, in_channel, views.cur);

		if (!view_event_allowed(view, event, &restricted))
			continue;
		dlist_foreach (streams, &view->streams)
		{
			Stream *stream = dlist_container(Stream, in_view, streams.cur);

			if (stream->link != link || stream->live == 0)
				continue;
			dlist_foreach (subs, &stream->subs)
			{
				Sub *sub = dlist_container(Sub, in_stream, subs.cur);

				if (!sub->replaying)
					event_send_reset(sub, event);
			}
		}
	}
}

/* ---------------- live ---------------- */

typedef struct FeedBatch
{
	Feed *feed;
	Link *links[NOTIFYD_MAX_GATEWAYS]; /* all at the same position */
	int nlinks;
} FeedBatch;

/* Send the messages that have their place behind the events up to this id. */
static void
feed_send_kept(const FeedBatch *batch, uint64 after)
{
	for (int i = 0; i < batch->nlinks; i++)
	{
		if (!dlist_is_empty(&batch->links[i]->kept))
			publish_send_kept(batch->links[i], after);
	}
}

/* Returns true if match_send() is to queue the event. */
static bool
feed_match(FeedChannel *channel, const LogEvent *event)
{
	if (event->op == OPERATION_RESET)
		return false;
	match_event(channel, event);
	return true;
}

static bool
feed_live_callback(const LogEvent *event, void *arg)
{
	FeedBatch *batch = arg;
	FeedChannel *channel = view_channel(batch->feed, event->channel, event->channel_length);
	bool matched = false;
	bool go_on = true;

	feed_send_kept(batch, event->id - 1);
	batch->feed->text.len = 0;
	if (event->channel_length > 0 && (event->seq == 1 || batch->feed->transactions == 0))
		batch->feed->transactions++;
	if (channel != NULL && (channel->nspecial > 0 || channel->place))
		matched = feed_match(channel, event);
	for (int i = 0; i < batch->nlinks; i++)
	{
		Link *link = batch->links[i];

		if (batch->feed->npatterns > 0)
			pattern_look(link, event->channel, event->channel_length, event->id - 1);
		if (channel != NULL && event->op == OPERATION_RESET)
			feed_queue_reset(link, channel, event);
		else if (channel != NULL && !matched && !feed_queue_event(link, channel, event))
			matched = feed_match(channel, event);
		if (matched)
			match_send(link);
		link->last_event_at = event->at;
		position_set(link, event->id);
		go_on &= link_ready(link);
	}

	match_end_failed(batch->feed);

	/* This was the last event of the round: do not wait for the scan to end. */
	if (event->id == batch->feed->watermark)
		link_send_all(batch->feed);
	return go_on;
}

/* Let the live subscriptions to a channel on a link replay from a reader's position. */
static void
feed_replay_channel(Link *link, FeedChannel *channel, const LogReader *reader, uint64 upto)
{
	dlist_iter views;
	dlist_iter streams;
	dlist_iter subs;

	dlist_foreach (views, &channel->views)
	{
		dlist_foreach (streams, &dlist_container(View, in_channel, views.cur)->streams)
		{
			Stream *stream = dlist_container(Stream, in_view, streams.cur);

			if (stream->link != link || stream->live == 0)
				continue;
			dlist_foreach (subs, &stream->subs)
				sub_replay(dlist_container(Sub, in_stream, subs.cur), reader, upto);
		}
	}
}

static void
feed_replay_all(Link *link, const LogReader *reader, uint64 upto)
{
	HASH_SEQ_STATUS status;
	Sub *sub;

	hash_seq_init(&status, link->subs);
	while ((sub = hash_seq_search(&status)) != NULL)
		sub_replay(sub, reader, upto);
}

static bool
feed_skip_large(const LogLarge *large, void *arg)
{
	FeedBatch *batch = arg;
	const LogSummary *summary = large->summary;

	if (summary->bytes <= FEED_LARGE_BYTES)
		return false;
	/* Patterns have to learn of all channels. */
	if (batch->feed->npatterns > 0 && summary->nchannels > LOG_SUMMARY_CHANNELS)
		return false;
	batch->feed->transactions++;
	feed_send_kept(batch, large->reader->after);
	for (int i = 0; i < batch->nlinks; i++)
	{
		Link *link = batch->links[i];

		if (summary->nchannels > LOG_SUMMARY_CHANNELS)
			feed_replay_all(link, large->reader, large->last);
		for (int j = 0; j < summary->nchannels && j < LOG_SUMMARY_CHANNELS; j++)
		{
			const char *name = summary->channels[j];
			FeedChannel *channel = view_channel(batch->feed, name, (int) strlen(name));

			if (batch->feed->npatterns > 0)
				pattern_look(link, name, (int) strlen(name), large->reader->after);
			if (channel != NULL)
				feed_replay_channel(link, channel, large->reader, large->last);
		}
		link->last_event_at = large->at;
		position_set(link, large->last);
	}
	return true;
}

/* Collect the links with the lowest position among those that can accept events. */
static void
feed_collect_links(Feed *feed, uint64 watermark, FeedBatch *batch)
{
	batch->feed = feed;
	batch->nlinks = 0;
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];

		if (!link_ready(link) || link->reader.after >= watermark)
			continue;
		if (batch->nlinks > 0 && link->reader.after > batch->links[0]->reader.after)
			continue;
		if (batch->nlinks > 0 && link->reader.after < batch->links[0]->reader.after)
			batch->nlinks = 0;
		batch->links[batch->nlinks++] = link;
	}
}

/* Retention has removed events that a link was to send: reset its live subscriptions. */
static void
feed_reset_link(Link *link)
{
	HASH_SEQ_STATUS status;
	Sub *sub;

	memset(&link->reader, 0, sizeof(link->reader));
	link->reader.after = link->feed->map.oldest;
	link->position = link->feed->map.oldest;
	hash_seq_init(&status, link->subs);
	while ((sub = hash_seq_search(&status)) != NULL)
	{
		if (!sub->replaying && (sub->kinds & WIRE_KIND_EVENTS) != 0)
			sub_send_reset(sub, NOTIFYD_RESET_RETENTION, link->feed->map.oldest,
						   EVENT_RESET_RETENTION);
	}
	pattern_reset(link, EVENT_RESET_RETENTION);
}

static FeedProgress
feed_read_live(Feed *feed, uint64 watermark, Snapshot snapshot)
{
	FeedBatch batch;
	LogVisitor visitor = {.event = feed_live_callback, .skip = feed_skip_large, .arg = &batch};
	LogReader reader;

	feed_collect_links(feed, watermark, &batch);
	if (batch.nlinks == 0)
		return FEED_IDLE;
	for (int i = 0; i < batch.nlinks; i++)
	{
		if (batch.links[i]->reader.after < feed->map.oldest)
			feed_reset_link(batch.links[i]);
	}
	reader = batch.links[0]->reader;
	log_read(&reader, &feed->map, watermark, FEED_LIVE_ROWS, snapshot, &visitor);
	for (int i = 0; i < batch.nlinks; i++)
	{
		batch.links[i]->reader = reader;
		position_set(batch.links[i], 0);
	}
	feed_send_kept(&batch, reader.after);
	feed_collect_links(feed, watermark, &batch);
	return batch.nlinks > 0 ? FEED_MORE : FEED_IDLE;
}

/* ---------------- rounds ---------------- */

static bool
feed_has_replays(Feed *feed)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (feed->links[i] != NULL && !dlist_is_empty(&feed->links[i]->replays))
			return true;
	}
	return feed->nscans > 0;
}

/* A reader that retention has overtaken gets a reset: nothing is kept for it. */
static uint64
feed_slower(const Feed *feed, uint64 slowest, uint64 after)
{
	return after < feed->map.oldest ? slowest : Min(slowest, after);
}

LogProgress
feed_read_progress(Feed *feed)
{
	LogProgress read = {.live = PG_UINT64_MAX, .replays = PG_UINT64_MAX};
	dlist_iter iter;

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];

		if (feed->nsubs == 0 || link == NULL || !link->greeted)
			continue;
		read.live = feed_slower(feed, read.live, link->reader.after);
		dlist_foreach (iter, &link->replays)
			read.replays = feed_slower(feed, read.replays,
									   dlist_container(Sub, in_replays, iter.cur)->reader.after);
		if (feed->nscans > 0)
			read.replays = pattern_scan_progress(link, read.replays);
	}
	return read;
}

int64
feed_clock(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64) time.tv_sec * USECS_PER_SEC + time.tv_nsec / 1000;
}

FeedProgress
feed_read(Feed *feed, XLogRecPtr lsn)
{
	FeedProgress live;
	FeedProgress replays;
	Snapshot snapshot;
	uint64 ended;
	bool more;

	if (!position_has_live(feed, feed->watermark) && !feed_has_replays(feed) && !set_due(feed))
		return FEED_IDLE;
	if (!log_make_durable(lsn))
		return FEED_STANDBY;
	feed->read_began = feed_clock();

	/* Take the snapshot after the watermark, see log_ids.c. */
	snapshot = GetLatestSnapshot();
	ended = snapshot->snapXactCompletionCount;
	snapshot = RegisterSnapshot(snapshot);
	PushActiveSnapshot(snapshot);
	set_look(feed);
	more = set_place_some(feed);
	if (set_due(feed))
		set_look_all(feed, ended);
	live = feed_read_live(feed, feed->watermark, snapshot);

	/* Send the frames now, so that the gateways have them while the feed does its other work. */
	link_send_all(feed);
	more |= feed->nscans > 0 && pattern_scan_some(feed, snapshot);
	replays = feed_read_replays(feed, snapshot);
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	return live == FEED_MORE || more ? FEED_MORE : replays;
}

/* ---------------- raw notifications ---------------- */

void
feed_notify(void *arg, const char *name, const char *payload)
{
	Feed *feed = arg;
	FeedChannel *channel = view_channel(feed, name, (int) strlen(name));
	StringInfo text = &feed->text;

	if (channel == NULL)
		return;
	resetStringInfo(text);
	appendStringInfoString(text, "{\"op\":\"NOTIFY\",\"channel\":");
	utf8_append_json_string(text, name, (int) strlen(name));
	appendStringInfoString(text, ",\"payload\":");
	utf8_append_json_string(text, payload, (int) strlen(payload));
	appendStringInfoChar(text, '}');
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];

		if (link == NULL || !link->greeted)
			continue;
		if (feed->locked_long || frames_unsent(&link->socket) > LINK_NOTIFY_LIMIT)
			link->notifies_lost = true;
		else if (publish_to_link(link, channel, NULL, text, (WireBytes){.len = 0}))
			event_count_sent(feed, &feed->text);
	}
	pg_atomic_fetch_add_u64(&feed->database->notifies_sent, 1);
}
