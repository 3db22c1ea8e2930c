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

/*
 * An event that is too large is reduced to its head and, if that is too large too, to its operation
 * and channel.
 */
void
event_build_text(Feed *feed, const LogEvent *event)
{
	StringInfo text = &feed->text;
	bool truncated = event->event_length > (Size) notifyd_max_event_size;

	resetStringInfo(text);
	log_render_prefix(text, event->id, event->tx, event->seq, event->of, event->at);
	if (truncated && event->head_length > notifyd_max_event_size)
	{
		appendStringInfo(text, "\"op\":\"%s\",\"channel\":", operation_name(event->op));
		utf8_append_json_string(text, event->channel, event->channel_length);
	}
	else
	{
		int begin = text->len;

		log_append_text(text, event, truncated ? (Size) event->head_length : event->event_length);
		utf8_make(text, begin);
	}
	appendStringInfoString(text, truncated ? ",\"truncated\":true}" : "}");
}

void
event_count_sent(Feed *feed)
{
	pg_atomic_fetch_add_u64(&feed->database->events_sent, 1);
	pg_atomic_fetch_add_u64(&feed->database->bytes_sent, feed->text.len);
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
	sub_send_reset(sub, event->id, text->data + event->head_length);
	resetStringInfo(text);
}
