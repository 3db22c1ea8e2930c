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
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ext/base/operation.h"
#include "ext/base/compat.h"
#include "ext/base/utf8.h"
#include "ext/feed/feed.h"
#include "ext/transaction/pending.h"
#include "ext/base/settings.h"

#define FEED_LIVE_ROWS 1000 /* rows read in one round, for all links at the same position */

/* ---------------- events ---------------- */

/* Queue feed->text for n streams. The message is complete except for the text and the streams. */
static void
feed_send_event(Link *link, WireMessage *message, int n)
{
	const Feed *feed = link->feed;

	message->u.event.nstreams = (uint16_t) n;
	message->u.event.body = (WireBytes){.data = feed->text.data, .len = (uint32_t) feed->text.len};
	frames_queue(&link->socket, message);

	/* The event contains the position, so no POSITION frame is needed. */
	if (message->u.event.id != 0)
		link->announced = message->u.event.id;
}

/* Queue feed->text for the streams of a channel with live subscriptions on the link. */
static void
feed_queue_event(Link *link, FeedChannel *channel, uint64 id, uint8 op, const LogEvent *event)
{
	static uint8_t streams[WIRE_MAX_STREAMS * sizeof(uint32)];
	Feed *feed = link->feed;
	WireMessage message = {.type = WIRE_EVENT};
	int n = 0;
	dlist_iter iter;

	message.u.event.id = id;
	message.u.event.op = op;
	message.u.event.streams = streams;
	dlist_foreach (iter, &channel->views)
	{
		View *view = dlist_container(View, in_channel, iter.cur);
		const Stream *stream = view->plain[link->gateway];

		if (stream == NULL || (event != NULL ? stream->live : stream->notified) == 0)
			continue;
		if (event != NULL ? !view_event_allowed(view, event) : !view_notifies(view))
			continue;
		if (n == 0 && event != NULL && feed->text.len == 0)
			event_build_text(feed, event);
		if (n == WIRE_MAX_STREAMS)
		{
			message.u.event.more = 1;
			feed_send_event(link, &message, n);
			message.u.event.more = 0;
			n = 0;
		}
		wire_store_u32(streams + n * sizeof(uint32), stream->number);
		n++;
	}
	if (n > 0)
	{
		feed_send_event(link, &message, n);
		event_count_sent(feed);
	}
}

/* ---------------- resets ---------------- */

/* Send a reset to all live subscriptions of a link. */
static void
feed_queue_reset(Link *link, FeedChannel *channel, const LogEvent *event)
{
	dlist_iter in_channel;

	dlist_foreach (in_channel, &channel->views)
	{
		View *view = dlist_container(View, in_channel, in_channel.cur);
		Stream *stream = view->plain[link->gateway];
		dlist_iter in_stream;

		if (stream == NULL || stream->live == 0 || !view_event_allowed(view, event))
			continue;
		dlist_foreach (in_stream, &stream->subs)
		{
			Sub *sub = dlist_container(Sub, in_stream, in_stream.cur);

			if (!sub->replaying)
				event_send_reset(sub, event);
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

static bool
feed_live_callback(const LogEvent *event, void *arg)
{
	FeedBatch *batch = arg;
	FeedChannel *channel = view_channel(batch->feed, event->channel, event->channel_length);
	bool go_on = true;

	batch->feed->text.len = 0;
	if (event->seq == 1 || batch->feed->transactions == 0)
		batch->feed->transactions++;
	for (int i = 0; i < batch->nlinks; i++)
	{
		Link *link = batch->links[i];

		if (channel != NULL && event->op == OPERATION_RESET)
			feed_queue_reset(link, channel, event);
		else if (channel != NULL)
			feed_queue_event(link, channel, event->id, operation_bit(event->op), event);
		link->last_event_at = event->at;
		position_set(link, event->id);
		go_on &= link_ready(link);
	}

	/* This was the last event of the round: do not wait for the scan to end. */
	if (event->id == batch->feed->watermark)
		link_send_all(batch->feed);
	return go_on;
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
			sub_send_reset(sub, link->feed->map.oldest, EVENT_RESET_RETENTION);
	}
}

static FeedProgress
feed_read_live(Feed *feed, uint64 watermark, Snapshot snapshot)
{
	FeedBatch batch;
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
	log_read(&reader, &feed->map, watermark, FEED_LIVE_ROWS, snapshot, feed_live_callback, &batch);
	for (int i = 0; i < batch.nlinks; i++)
	{
		batch.links[i]->reader = reader;
		position_set(batch.links[i], 0);
	}
	feed_collect_links(feed, watermark, &batch);
	return batch.nlinks > 0 ? FEED_MORE : FEED_IDLE;
}

/* ---------------- rounds ---------------- */

/*
 * Make sure that a crash, or the loss of this server if there is a synchronous standby, cannot undo
 * what is sent. Returns false if the standby has not confirmed it yet; a writer with
 * synchronous_commit = off does not wait for the standby.
 */
static bool
feed_make_durable(XLogRecPtr lsn)
{
	XLogRecPtr confirmed;

	if (lsn > COMPAT_FLUSHED())
		XLogFlush(lsn);
	if (max_wal_senders == 0 || SyncRepStandbyNames == NULL || SyncRepStandbyNames[0] == '\0')
		return true;
	LWLockAcquire(SyncRepLock, LW_SHARED);
	confirmed = WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH];
	LWLockRelease(SyncRepLock);
	return lsn <= confirmed;
}

static bool
feed_has_replays(Feed *feed)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (feed->links[i] != NULL && !dlist_is_empty(&feed->links[i]->replays))
			return true;
	}
	return false;
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

	if (!position_has_live(feed, feed->watermark) && !feed_has_replays(feed))
		return FEED_IDLE;
	if (!feed_make_durable(lsn))
		return FEED_STANDBY;
	feed->read_began = feed_clock();

	/* Take the snapshot after the watermark, see log_ids.c. */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	PushActiveSnapshot(snapshot);
	live = feed_read_live(feed, feed->watermark, snapshot);

	/* Send the frames now, so that the gateways have them while the feed does its other work. */
	link_send_all(feed);
	replays = feed_read_replays(feed, snapshot);
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	return live == FEED_MORE ? live : replays;
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
		if (frames_unsent(&link->socket) > LINK_NOTIFY_LIMIT)
			link->notifies_lost = true;
		else
			feed_queue_event(link, channel, 0, WIRE_OP_NOTIFY, NULL);
	}
	pg_atomic_fetch_add_u64(&feed->database->notifies_sent, 1);
}
