/*-------------------------------------------------------------------------
 *
 * feed_publish.c
 *	  Messages that are not in the log.
 *
 * A client publishes to a channel by ROUTE_PUBLISH. If the channel was declared, its messages are in
 * the log, and the gateway is told to let a worker write this one. Otherwise the message goes at once
 * to the subscriptions of all gateways that get raw notifications of the channel, and to those of
 * patterns that match it. All of them get it with one publication id. Like raw notifications,
 * messages are lost while a gateway does not take what it is sent, and then subscribers get a reset.
 *
 * WAMP wants the messages of one session to arrive in their order, also those of several topics, and
 * some of these may be in the log. So ROUTE_PUBLISH has the position of the session's last message in
 * the log. A message has its place right behind this event: a link whose reader has not come there
 * keeps the message (Link.kept), and the reader sends it before the next event. The gateway does not
 * let the session publish in the log again before the feed has answered, so the next event of
 * the session cannot be before this place.
 *
 * Who gets it is decided by what is true when it is sent on a link. So a message goes to all
 * subscriptions that the feed has confirmed before, and to none of those that ended before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "ext/access/json_slice.h"
#include "ext/base/settings.h"
#include "ext/base/utf8.h"
#include "ext/feed/feed_pattern.h"
#include "ext/feed/feed_publish.h"
#include "ext/feed/feed_rights.h"
#include "wire/uri.h"

/* Room for what a message has besides its payload, of pg_notifyd.max_event_size. */
#define PUBLISH_HEAD 2048

typedef struct Publication
{
	char channel[NAMEDATALEN]; /* in the server's encoding */
	uint64 id;
	uint64 after;   /* it comes after the events of the log up to this one */
	JsonSlice args; /* text is NULL: none; so is kwargs */
	JsonSlice kwargs;
	JsonSlice options;             /* of the route; text is NULL: none */
	const WireRoute *route;        /* NULL: of the feed itself */
	const FeedIdentity *publisher; /* of the route; NULL: it has no token */
} Publication;

/* A message that a link sends when it has read the log up to this event. */
typedef struct PublishKept
{
	dlist_node node; /* Link.kept */
	uint64 after;
	char channel[NAMEDATALEN];
	StringInfoData text;
	WireBytes audience;
} PublishKept;

/* A message that publish_flush() has to send. */
typedef struct PublishOwn
{
	slist_node node;
	uint64 id;
	char *topic;
	WireBytes payload;
} PublishOwn;

static slist_head publish_waiting = SLIST_STATIC_INIT(publish_waiting);
static slist_node *publish_last; /* of these, unless there are none */

static uint64
publish_new_id(void)
{
	uint64 id;

	if (!pg_strong_random(&id, sizeof(id)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not generate the id of a publication")));
	return id % URI_MAX_ID + 1;
}

/* ---------------- the message ---------------- */

static bool
publish_split(Publication *publication, WireBytes payload)
{
	return slice_arguments(payload.data, payload.len, &publication->args, &publication->kwargs);
}

static bool
publish_has_args(const Publication *publication)
{
	JsonSlice first = {.text = NULL};

	return publication->kwargs.text == NULL ||
		   (publication->args.text != NULL && slice_next(publication->args, &first));
}

/* How subscribers are to read the payload, if the publisher says that (wire_route.h). */
static void
publish_append_opaque(StringInfo text, const Publication *publication, const char *separator)
{
	static const char *const names[] = {ROUTE_OPAQUE_OPTIONS};
	JsonSlice value;

	if (publication->options.text == NULL ||
		slice_member(publication->options, names[0], &value) != SLICE_FOUND)
		return;
	for (int i = 0; i < (int) lengthof(names); i++)
	{
		if (slice_member(publication->options, names[i], &value) != SLICE_FOUND ||
			slice_kind(value) != '"')
			continue;
		appendStringInfo(text, "%s\"%s\":", separator, names[i]);
		appendBinaryStringInfo(text, value.text, (int) value.length);
		separator = ",";
	}
}

/* Who has published it, for clients that may know. */
static void
publish_append_publisher(StringInfo text, const Publication *publication)
{
	const FeedIdentity *identity = publication->publisher;
	const char *role = identity != NULL ? identity->role : "anonymous"; /* as in WELCOME */
	const char *separator = "";

	appendStringInfoString(text, ",\"publisher\":{");
	if (publication->route != NULL && (publication->route->flags & ROUTE_DISCLOSE) != 0)
	{
		appendStringInfo(text, "\"session\":" UINT64_FORMAT, publication->route->id);
		if (identity != NULL && identity->subject != NULL)
		{
			appendStringInfoString(text, ",\"authid\":");
			utf8_append_json_string(text, identity->subject, (int) strlen(identity->subject));
		}
		appendStringInfoString(text, ",\"authrole\":");
		utf8_append_json_string(text, role, (int) strlen(role));
		separator = ",";
	}
	if (publish_has_args(publication))
	{
		appendStringInfo(text, "%s\"args\":true", separator);
		separator = ",";
	}
	publish_append_opaque(text, publication, separator);
	appendStringInfoChar(text, '}');
}

static void
publish_append_payload(StringInfo text, const Publication *publication)
{
	const JsonSlice *args = &publication->args;
	const JsonSlice *kwargs = &publication->kwargs;

	appendStringInfoString(text, ",\"payload\":");
	if (!publish_has_args(publication))
	{
		appendBinaryStringInfo(text, kwargs->text, (int) kwargs->length);
		return;
	}
	appendStringInfoString(text, "{\"args\":");
	if (args->text != NULL)
		appendBinaryStringInfo(text, args->text, (int) args->length);
	else
		appendStringInfoString(text, "[]");
	if (kwargs->text != NULL)
	{
		appendStringInfoString(text, ",\"kwargs\":");
		appendBinaryStringInfo(text, kwargs->text, (int) kwargs->length);
	}
	appendStringInfoChar(text, '}');
}

static void
publish_build(StringInfo text, const Publication *publication)
{
	resetStringInfo(text);
	appendStringInfoString(text, "{\"op\":\"NOTIFY\",\"channel\":");
	utf8_append_json_string(text, publication->channel, (int) strlen(publication->channel));
	appendStringInfo(text, ",\"publication\":" UINT64_FORMAT, publication->id);
	publish_append_publisher(text, publication);
	publish_append_payload(text, publication);
	appendStringInfoChar(text, '}');
}

/* ---------------- who gets it ---------------- */

/* The streams of a frame on a link. */
typedef struct PublishFrame
{
	Link *link;
	WireMessage message;
	bool queued; /* it has been, with some streams */
	StringInfo text;
	int n;
	uint8_t streams[WIRE_MAX_STREAMS * sizeof(uint32)];
} PublishFrame;

static void
publish_queue(PublishFrame *frame)
{
	if (frame->n == 0)
		return;
	event_queue(frame->link, &frame->message, frame->n, frame->text);
	frame->queued = true;
	frame->n = 0;
}

static void
publish_add_stream(const Stream *stream, void *arg)
{
	PublishFrame *frame = arg;

	if (frame->n == WIRE_MAX_STREAMS)
		publish_queue(frame);
	wire_store_u32(frame->streams + frame->n * sizeof(uint32), stream->number);
	frame->n++;
}

static void
publish_add_channel(FeedChannel *channel, PublishFrame *frame)
{
	dlist_iter views;
	dlist_iter iter;

	dlist_foreach (views, &channel->views)
	{
		dlist_foreach (iter, &dlist_container(View, in_channel, views.cur)->streams)
		{
			const Stream *stream = dlist_container(Stream, in_view, iter.cur);

			if (stream->link == frame->link && stream->notified > 0 && stream_notifies(stream))
				publish_add_stream(stream, frame);
		}
	}
}

bool
publish_to_link(Link *link, FeedChannel *channel, const char *name, StringInfo text,
				WireBytes audience)
{
	static PublishFrame frame;

	frame.link = link;
	frame.text = text;
	frame.queued = false;
	frame.n = 0;
	frame.message = (WireMessage){.type = WIRE_EVENT};
	frame.message.u.event.op = WIRE_OP_NOTIFY;
	frame.message.u.event.streams = frame.streams;
	frame.message.u.event.audience = audience;
	if (channel != NULL)
		publish_add_channel(channel, &frame);
	if (name != NULL && link->feed->npatterns > 0)
		pattern_each_reader(link, name, publish_add_stream, &frame);
	publish_queue(&frame);
	return frame.queued;
}

/* ---------------- when it is sent ---------------- */

/* Let a link send feed->text later. */
static void
publish_keep(Link *link, const Publication *publication, WireBytes audience)
{
	StringInfo text = &link->feed->text;
	PublishKept *kept;
	char *data;

	kept = MemoryContextAlloc(link->feed->context, sizeof(PublishKept) + text->len + audience.len);
	data = (char *) (kept + 1);
	kept->after = publication->after;
	strcpy(kept->channel, publication->channel);
	kept->text = (StringInfoData){.data = memcpy(data, text->data, text->len), .len = text->len};
	data += text->len;
	if (audience.len > 0)
		memcpy(data, audience.data, audience.len);
	kept->audience = (WireBytes){.data = data, .len = audience.len};
	dlist_push_tail(&link->kept, &kept->node);
	link->kept_bytes += text->len;
}

static void
publish_drop_kept(Link *link, PublishKept *kept)
{
	dlist_delete(&kept->node);
	link->kept_bytes -= kept->text.len;
	pfree(kept);
}

void
publish_send_kept(Link *link, uint64 after)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &link->kept)
	{
		PublishKept *kept = dlist_container(PublishKept, node, iter.cur);
		FeedChannel *channel = view_channel(link->feed, kept->channel, (int) strlen(kept->channel));

		if (kept->after > after)
			continue;
		(void) publish_to_link(link, channel, kept->channel, &kept->text, kept->audience);
		publish_drop_kept(link, kept);
	}
}

void
publish_drop_link(Link *link)
{
	while (!dlist_is_empty(&link->kept))
		publish_drop_kept(link, dlist_head_element(PublishKept, node, &link->kept));
}

static void
publish_send_to(Link *link, FeedChannel *channel, const Publication *publication,
				WireBytes audience)
{
	if (!dlist_is_empty(&link->kept))
		publish_send_kept(link, link->reader.after);
	if (frames_unsent(&link->socket) + link->kept_bytes > LINK_NOTIFY_LIMIT)
		link->notifies_lost = true;
	else if (link->reader.after < publication->after)
		publish_keep(link, publication, audience);
	else
		(void) publish_to_link(link, channel, publication->channel, &link->feed->text, audience);
}

static void
publish_send(Feed *feed, const Publication *publication)
{
	WireBytes audience = {.len = 0};
	const char *name = publication->channel;
	FeedChannel *channel = view_channel(feed, name, (int) strlen(name));

	if (channel == NULL && feed->npatterns == 0)
		return;
	publish_build(&feed->text, publication);
	if (publication->route != NULL)
		audience = publication->route->options;
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];

		if (link != NULL && link->greeted)
			publish_send_to(link, channel, publication, audience);
	}
	event_count_sent(feed, &feed->text);
	resetStringInfo(&feed->text);
}

/* ---------------- ROUTE_PUBLISH ---------------- */

/* Answer, if the client wants an answer. text is an error's message for people, or NULL. */
static void
publish_answer(Link *link, const WireRoute *route, WireRouteKind kind, uint64 id, const char *error,
			   const char *text)
{
	WireMessage message = {.type = WIRE_ROUTE_DOWN};
	StringInfoData payload;

	if (route->request == 0 && kind != ROUTE_DURABLE)
		return;
	initStringInfo(&payload);
	if (text != NULL)
	{
		appendStringInfoChar(&payload, '[');
		utf8_append_json_string(&payload, text, (int) strlen(text));
		appendStringInfoChar(&payload, ']');
	}
	message.u.route.kind = kind;
	message.u.route.session = route->session;
	message.u.route.request = route->request;
	message.u.route.id = id;
	message.u.route.name = kind == ROUTE_DURABLE ? route->name : frames_bytes(error);
	message.u.route.payload = (WireBytes){.data = payload.data, .len = (uint32_t) payload.len};
	frames_queue(&link->socket, &message);
	pfree(payload.data);
}

/* Return the error that a publication is refused with, and its message; NULL: there is none. */
static const char *
publish_problem(const Publication *publication, const char *role, const char **text)
{
	const char *channel = publication->channel;

	*text = "the topic is reserved";
	if (uri_is_reserved(channel, strlen(channel)))
		return "wamp.error.invalid_uri";
	if (rights_has(role, channel, RIGHT_PUBLISH))
		return NULL;
	*text = psprintf("permission denied to publish to topic \"%s\"", channel);
	return "wamp.error.not_authorized";
}

/* The place of a message, which is not trusted: the log has no later one. */
static uint64
publish_place(Feed *feed, WirePosition position)
{
	uint64 issued;

	if (position.id == 0 || position.timeline != feed->timeline)
		return 0;
	LWLockAcquire(&feed->database->lock, LW_SHARED);
	issued = feed->database->next_id - 1;
	LWLockRelease(&feed->database->lock);
	return Min(position.id, issued);
}

static void
publish_route(Link *link, Publication *publication, const char *role)
{
	const WireRoute *route = publication->route;
	const char *text;
	const char *error;

	error = publish_problem(publication, role, &text);
	if (error == NULL && rights_declared(publication->channel))
	{
		publish_answer(link, route, ROUTE_DURABLE, 0, "", NULL);
		return;
	}
	if (error == NULL && route->payload.len + PUBLISH_HEAD > (uint32_t) notifyd_max_event_size)
	{
		error = "wamp.error.payload_size_exceeded";
		text = "the message is larger than pg_notifyd.max_event_size";
	}
	if (error == NULL && !publish_split(publication, route->payload))
	{
		error = "wamp.error.invalid_argument";
		text = "the arguments are nested too deeply, or have numbers that PostgreSQL does not have";
	}
	if (error == NULL && route->options.len > 0 &&
		(!slice_parse(route->options.data, route->options.len, &publication->options) ||
		 slice_kind(publication->options) != '{'))
	{
		error = "wamp.error.invalid_argument";
		text = "the options are not an object";
	}
	if (error != NULL)
	{
		publish_answer(link, route, ROUTE_ERROR, 0, error, text);
		return;
	}
	publication->id = publish_new_id();
	publication->after = publish_place(link->feed, route->position);
	publish_send(link->feed, publication);
	publish_answer(link, route, ROUTE_PUBLISHED, publication->id, "", NULL);
}

void
publish_receive(Link *link, const FeedIdentity *identity, const WireRoute *route)
{
	Publication publication = {.route = route, .publisher = identity};
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd publish", ALLOCSET_SMALL_SIZES);
	MemoryContext outer = MemoryContextSwitchTo(context);

	if (identity != NULL && identity->context == NULL)
		publish_answer(link, route, ROUTE_ERROR, 0, "wamp.error.not_authorized",
					   "the identity has ended");
	else if (route->name.len == 0 || !view_copy_name(publication.channel, route->name))
		publish_answer(link, route, ROUTE_ERROR, 0, "wamp.error.invalid_uri",
					   "the topic has more than 63 bytes, or characters that the database does not "
					   "have");
	else
		publish_route(link, &publication, identity != NULL ? identity->role : "");
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(context);
}

/* ---------------- messages of the feed ---------------- */

uint64
publish_own(const char *topic, WireBytes payload)
{
	PublishOwn *own =
		MemoryContextAlloc(TopMemoryContext, sizeof(PublishOwn) + payload.len + strlen(topic) + 1);
	char *data = (char *) (own + 1);

	own->id = publish_new_id();
	if (payload.len > 0)
		memcpy(data, payload.data, payload.len);
	own->payload = (WireBytes){.data = data, .len = payload.len};
	own->topic = strcpy(data + payload.len, topic);
	if (slist_is_empty(&publish_waiting))
		slist_push_head(&publish_waiting, &own->node);
	else
		slist_insert_after(publish_last, &own->node);
	publish_last = &own->node;
	return own->id;
}

static void
publish_own_now(Feed *feed, const PublishOwn *own)
{
	Publication publication = {.id = own->id};

	if (view_copy_name(publication.channel, frames_bytes(own->topic)) &&
		publish_split(&publication, own->payload))
		publish_send(feed, &publication);
}

void
publish_flush(Feed *feed)
{
	while (!slist_is_empty(&publish_waiting))
	{
		PublishOwn *own = slist_container(PublishOwn, node, slist_pop_head_node(&publish_waiting));

		if (feed->nsubs > 0)
		{
			sub_begin();
			recheck_look(feed);
			publish_own_now(feed, own);
		}
		pfree(own);
	}
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];

		if (link == NULL || dlist_is_empty(&link->kept))
			continue;
		sub_begin();
		publish_send_kept(link, link->reader.after);
	}
}
