/*-------------------------------------------------------------------------
 *
 * feed_stream.c
 *	  Streams: subscriptions on one link that get the same events with the same contents.
 *
 * An EVENT frame names streams, so its size and the feed's work do not grow with the subscriptions
 * that share one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/failpoint.h"
#include "ext/base/utf8.h"
#include "ext/feed/feed.h"
#include "ext/feed/feed_pattern.h"

void
stream_init(Feed *feed)
{
	HASHCTL streams = {
		.keysize = sizeof(uint32), .entrysize = sizeof(Stream), .hcxt = feed->context};

	feed->streams =
		hash_create("pg_notifyd streams", 64, &streams, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dlist_init(&feed->idle);
}

/*
 * Chooses a new number, skipping numbers in use. A number is used again after 2^32
 * others. A gateway cannot mistake frames of the earlier stream for the new one's, because they
 * come before its SUBSCRIBED.
 */
Stream *
stream_create(Link *link, View *view)
{
	Feed *feed = link->feed;
	Stream *stream;
	bool in_use;

	do
	{
		feed->next_stream = FAIL_NUMBER(feed->next_stream + 1);
		stream = hash_search(feed->streams, &feed->next_stream, HASH_ENTER, &in_use);
	} while (in_use);
	memset((char *) stream + sizeof(stream->number), 0, sizeof(Stream) - sizeof(stream->number));
	stream->view = view;
	stream->link = link;
	dlist_init(&stream->subs);
	if (view != NULL)
		dlist_push_tail(&view->streams, &stream->in_view);
	dlist_push_tail(&feed->idle, &stream->in_idle);
	return stream;
}

Stream *
stream_plain(Link *link, View *view)
{
	Stream **plain = &view->plain[link->gateway];

	if (*plain == NULL)
		*plain = stream_create(link, view);
	return *plain;
}

/* Remove a stream without subscriptions, and its view if this was the last one. */
static void
stream_remove(Feed *feed, Stream *stream)
{
	View *view = stream->view;

	Assert(dlist_is_empty(&stream->subs));
	dlist_delete(&stream->in_idle);
	if (stream->pattern != NULL)
		pattern_remove(stream);
	else
	{
		dlist_delete(&stream->in_view);
		set_remove_parts(stream);
		if (view->plain[stream->link->gateway] == stream)
			view->plain[stream->link->gateway] = NULL;
	}
	hash_search(feed->streams, &stream->number, HASH_REMOVE, NULL);
	if (view != NULL && dlist_is_empty(&view->streams))
		view_remove(feed, view);
}

void
stream_remove_idle(Feed *feed)
{
	while (!dlist_is_empty(&feed->idle))
		stream_remove(feed, dlist_head_element(Stream, in_idle, &feed->idle));
}

/* ---------------- their subscriptions ---------------- */

/*
 * A subscription is not live during its replay, and without events. It gets raw notifications
 * during the replay too.
 */
void
stream_count(Sub *sub, int change)
{
	if (!sub->replaying && sub->ops != 0)
	{
		sub->stream->live += change;
		set_want_parts(sub->stream, change);
	}
	if ((sub->kinds & WIRE_KIND_NOTIFICATIONS) != 0)
		sub->stream->notified += change;
}

void
stream_add(Stream *stream, Sub *sub)
{
	sub->stream = stream;
	if (dlist_is_empty(&stream->subs))
		dlist_delete(&stream->in_idle);
	dlist_push_tail(&stream->subs, &sub->in_stream);
	stream_count(sub, 1);
}

void
stream_take(Sub *sub)
{
	Stream *stream = sub->stream;

	stream_count(sub, -1);
	dlist_delete(&sub->in_stream);
	if (dlist_is_empty(&stream->subs))
		dlist_push_tail(&stream->link->feed->idle, &stream->in_idle);
}

/* ---------------- ends ---------------- */

static void
stream_end_one(Feed *feed, Stream *stream, WireReason reason, WireBytes text)
{
	WireMessage message = {.type = WIRE_STREAM_ENDED};
	dlist_mutable_iter iter;

	message.u.ended.stream = stream->number;
	message.u.ended.reason = reason;
	message.u.ended.text = text;
	if (!dlist_is_empty(&stream->subs))
		frames_queue(&stream->link->socket, &message);
	dlist_foreach_modify (iter, &stream->subs)
		sub_remove(dlist_container(Sub, in_stream, iter.cur));
	stream_remove(feed, stream);
}

void
stream_end(Feed *feed, Stream *stream, const AccessReason *reason)
{
	StringInfoData text;

	initStringInfo(&text);
	utf8_append(&text, reason->message, (int) strlen(reason->message));
	stream_end_one(feed, stream, reason->kind,
				   (WireBytes){.data = text.data, .len = (uint32_t) text.len});
	pfree(text.data);
}

void
stream_end_view(Feed *feed, View *view, const AccessReason *reason)
{
	StringInfoData text;
	bool last = false;

	initStringInfo(&text);
	utf8_append(&text, reason->message, (int) strlen(reason->message));
	/* The last one removes the view. */
	while (!last)
	{
		Stream *stream = dlist_head_element(Stream, in_view, &view->streams);

		last = !dlist_has_next(&view->streams, &stream->in_view);
		stream_end_one(feed, stream, reason->kind,
					   (WireBytes){.data = text.data, .len = (uint32_t) text.len});
	}
	pfree(text.data);
}
