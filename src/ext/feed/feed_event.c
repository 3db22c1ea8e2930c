/*-------------------------------------------------------------------------
 *
 * feed_event.c
 *	  Builds what clients get of an event in the log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/operation.h"
#include "ext/base/settings.h"
#include "ext/base/utf8.h"
#include "ext/feed/feed.h"

void
event_build_least(StringInfo text, const LogEvent *event, const char *op)
{
	resetStringInfo(text);
	log_render_prefix(text, event->id, event->tx, event->seq, event->of, event->at);
	appendStringInfo(text, "\"op\":\"%s\",\"channel\":", op);
	utf8_append_json_string(text, event->channel, event->channel_length);
	appendStringInfoString(text, ",\"truncated\":true}");
}

void
event_build_whole(StringInfo text, const LogEvent *event)
{
	int begin;

	resetStringInfo(text);
	log_render_prefix(text, event->id, event->tx, event->seq, event->of, event->at);
	begin = text->len;
	log_append_text(text, event, event->event_length);
	utf8_make(text, begin);
	appendStringInfoString(text, "}");
}

/* Build the event without its rows. old_key may be NULL. */
static void
event_build_head(StringInfo text, const LogEvent *event, const char *old_key, Size old_key_length)
{
	int begin;

	resetStringInfo(text);
	log_render_prefix(text, event->id, event->tx, event->seq, event->of, event->at);
	begin = text->len;
	log_append_text(text, event, event->head_length);
	if (old_key != NULL)
	{
		appendStringInfoString(text, ",\"old\":");
		appendBinaryStringInfo(text, old_key, (int) old_key_length);
	}
	utf8_make(text, begin);
	appendStringInfoString(text, ",\"truncated\":true}");
}

/*
 * An event that is too large is reduced to its head, with the old key of an UPDATE that has changed
 * it, and if that is too large too, to its operation and channel.
 */
void
event_build_text(StringInfo text, const LogEvent *event)
{
	const char *old_key = NULL;
	Size old_key_length = 0;

	if (event->event_length <= (Size) notifyd_max_event_size)
	{
		event_build_whole(text, event);
		return;
	}
	if (event->op == OPERATION_UPDATE)
		old_key = log_old_key(event, &old_key_length);
	if (event->head_length + old_key_length <= (Size) notifyd_max_event_size)
		event_build_head(text, event, old_key, old_key_length);
	else
		event_build_least(text, event, operation_name(event->op));
}

void
event_queue(Link *link, WireMessage *message, int n, StringInfo text)
{
	message->u.event.nstreams = (uint16_t) n;
	message->u.event.body = (WireBytes){.data = text->data, .len = (uint32_t) text->len};
	frames_queue(&link->socket, message);

	/* The event contains the position, so no POSITION frame is needed. */
	if (message->u.event.id != 0 && message->u.event.more == 0)
		link->announced = message->u.event.id;
}

void
event_count_sent(Feed *feed, StringInfo text)
{
	pg_atomic_fetch_add_u64(&feed->database->events_sent, 1);
	pg_atomic_fetch_add_u64(&feed->database->bytes_sent, text->len);
}

void
event_send_reset(Sub *sub, const LogEvent *event)
{
	StringInfo text = &sub->link->feed->text;

	if ((sub->ops & OPERATION_TABLE_BITS) == 0)
		return;

	/* The text after the head is the reason and a quote. */
	resetStringInfo(text);
	log_append_text(text, event, event->event_length);
	text->data[text->len - 1] = '\0';
	sub_send_reset(sub, NOTIFYD_RESET_TABLE, event->id, text->data + event->head_length);
	resetStringInfo(text);
}
