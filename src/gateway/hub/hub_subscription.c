/*-------------------------------------------------------------------------
 *
 * hub_subscription.c
 *	  A subscription: its stream, position, lag, and end.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/hub/hub_internal.h"
#include "gateway/base/memory.h"

static int
hub_compare_streams(const Stream *a, const Stream *b)
{
	return a->number < b->number ? -1 : a->number > b->number;
}

RB_GENERATE_STATIC(StreamTree, Stream, in_database, hub_compare_streams)

Stream *
hub_stream(Database *database, uint32_t number)
{
	Stream key = {.number = number};

	return RB_FIND(StreamTree, &database->streams, &key);
}

void
hub_part(Database *database, Subscription *sub)
{
	Stream *stream = sub->stream;

	if (stream == NULL)
		return;
	if (database->next_delivered == sub)
		database->next_delivered = LIST_NEXT(sub, in_stream);
	LIST_REMOVE(sub, in_stream);
	sub->stream = NULL;
	if (LIST_EMPTY(&stream->subscriptions))
	{
		RB_REMOVE(StreamTree, &database->streams, stream);
		free(stream);
	}
}

bool
hub_join(Database *database, Subscription *sub, uint32_t number)
{
	Stream *stream;
	Subscription *first;

	hub_part(database, sub);
	stream = hub_stream(database, number);
	first = stream != NULL ? LIST_FIRST(&stream->subscriptions) : NULL;
	if (first != NULL && (first->match != sub->match || first->channel_len != sub->channel_len ||
						  memcmp(first->channel, sub->channel, sub->channel_len) != 0))
		return false;
	if (stream == NULL)
	{
		stream = memory_zeroed(sizeof(Stream));
		stream->number = number;
		LIST_INIT(&stream->subscriptions);
		RB_INSERT(StreamTree, &database->streams, stream);
	}
	LIST_INSERT_HEAD(&stream->subscriptions, sub, in_stream);
	sub->stream = stream;
	return true;
}

/* Return a child of a pattern, or NULL. */
static Subscription *
hub_child(const Subscription *parent)
{
	Subscription *sub;

	LIST_FOREACH(sub, &parent->client->subscriptions, in_client)
	{
		if (sub->parent == parent)
			return sub;
	}
	return NULL;
}

void
hub_free_subscription(Hub *hub, Subscription *sub)
{
	HubClient *client = sub->client;
	Database *database = client->database;
	Subscription *child;

	while (sub->match != URI_EXACT && (child = hub_child(sub)) != NULL)
	{
		hub_withdraw(hub, database, child);
		hub_free_subscription(hub, child);
	}
	hub_part(database, sub);
	if (sub->parent != NULL)
		client->nchildren--;
	else
		client->nsubscriptions--;
	client->npatterns -= sub->match != URI_EXACT;
	hub->sessions->stats.subscriptions--;
	free(sub->id);
	sub->id = NULL;
	hub_drop_subscription(database, sub);
}

static void
hub_tell_end(Hub *hub, Database *database, const Subscription *sub, uint8_t kinds)
{
	WireMessage message = {.type = WIRE_UNSUBSCRIBE,
						   .u.unsubscribe = {.sub = sub->number, .kinds = kinds}};

	if (database->link != NULL)
		hub->send(database->link, &message);
}

void
hub_withdraw(Hub *hub, Database *database, const Subscription *sub)
{
	if (sub->stream != NULL || sub->asking == ASKING_FEED)
		hub_tell_end(hub, database, sub, WIRE_KIND_ALL);
}

void
hub_lag(Hub *hub, Database *database, Subscription *sub)
{
	sub->position = hub_position(database, sub);
	hub_tell_end(hub, database, sub, WIRE_KIND_EVENTS);
	sub->state = SUBSCRIPTION_LAGGING;
	sub->credit = 0;
	if ((sub->ops & WIRE_OP_NOTIFY) == 0)
		hub_part(database, sub);
	sub->client->session.owed = true;
}

void
hub_note_lost(Subscription *sub)
{
	if ((sub->ops & WIRE_OP_NOTIFY) == 0)
		return;
	sub->lost = true;
	sub->client->session.owed = true;
	session_schedule(&sub->client->session);
}

void
hub_go_live(Subscription *sub)
{
	sub->state = SUBSCRIPTION_LIVE;
	/* Another subscription may have waited for this one to end. */
	session_schedule(&sub->client->session);
}

/*
 * A channel of a pattern may not be read any more, or may not be read at all. The client did not ask
 * for it. It is told only if events are missing that it may read.
 */
static void
hub_end_child(Hub *hub, Subscription *sub, ProtocolReason reason, WireBytes text)
{
	HubClient *client = sub->client;
	Frame *frame = NULL;

	if (reason == PROTOCOL_POLICY_FAILED && !client->protocol->resets_end)
		frame = client->protocol->reset(hub_name(sub), text, hub_position(client->database, sub),
										false);
	hub_free_subscription(hub, sub);
	if (frame != NULL)
		session_send_own(&client->session, frame, FRAME_NO_POSITION);
}

void
hub_end(Hub *hub, Subscription *sub, ProtocolReason reason, WireBytes text)
{
	HubClient *client = sub->client;
	char *id = sub->asked ? sub->id : NULL;
	ProtocolName name = hub_name(sub);
	char channel[PROTOCOL_MAX_CHANNEL];
	char tag[SELECTION_MAX_NAME];
	Frame *frame;

	if (sub->parent != NULL)
	{
		hub_end_child(hub, sub, reason, text);
		return;
	}
	frame = client->protocol->refusal(id, reason, text, name);
	/* The hook needs the name, and sending may end the session with its subscriptions. */
	memcpy(channel, name.channel.data, name.channel.len);
	name.channel.data = channel;
	if (name.tag.len > 0)
		name.tag.data = memcpy(tag, name.tag.data, name.tag.len);
	hub_free_subscription(hub, sub);
	hub_send_refusal(client, frame);
	if (client->protocol->hooks != NULL && client->session.state == SESSION_OPEN)
		client->protocol->hooks->ended(client, name, reason, text);
}

void
hub_send_refusal(HubClient *client, Frame *refusal)
{
	if (client->protocol->refusals_end)
		session_end(&client->session, refusal);
	else
		session_send_own(&client->session, refusal, FRAME_NO_POSITION);
}

/*
 * Those with snapshots begin when the rows of one have come: the others' rows come after them. A
 * client that has no position yet gets one, so that it can resume from now on.
 */
void
hub_try_begin(HubClient *client)
{
	const Subscription *sub;
	WirePosition position;
	bool unread = false;
	bool read = false;
	bool resumes = false;
	bool inside = false;
	Frame *frame;

	if (!client->session.waits)
		return;
	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		if (sub->asked && !hub_snapshot_is_reading(sub))
			return;
		unread |= sub->asked;
		read |= sub->snapshot != NULL && !sub->asked;
		resumes |= sub->resumes;
		inside |= hub_snapshot_is_unfinished(sub);
	}
	if (unread && !read)
		return;
	session_begin(&client->session);
	if (resumes)
		return;
	position = hub_client_position(client);
	frame =
		client->protocol->result(REQUEST_SUBSCRIBE, NULL, (ProtocolName){.channel = {.data = NULL}},
								 position, inside && client->nsubscriptions == 1);
	session_send_own(&client->session, hub_place(client, NULL, position, false, frame),
					 FRAME_NO_POSITION);
}

void
hub_answer(Subscription *sub)
{
	Session *session = &sub->client->session;
	const ProtocolHooks *hooks = sub->client->protocol->hooks;
	char *id = sub->id;

	sub->asked = false;
	sub->id = NULL;
	if (session->announced < sub->position.id)
		session->announced = sub->position.id;
	if (id != NULL)
		session_send_own(session,
						 sub->client->protocol->result(REQUEST_SUBSCRIBE, id, hub_name(sub),
													   sub->position,
													   hub_snapshot_is_unfinished(sub)),
						 FRAME_NO_POSITION);
	free(id);
	if (hooks != NULL && session->state == SESSION_OPEN)
		hooks->subscribed((HubClient *) session, hub_name(sub));
	if (session->state == SESSION_OPEN)
		hub_try_begin((HubClient *) session);
}

void
hub_send_reset(Subscription *sub, WireBytes reason, uint64_t before)
{
	bool inside = hub_snapshot_is_unfinished(sub);
	const Protocol *protocol = sub->client->protocol;
	Frame *frame = protocol->reset(hub_name(sub), reason, sub->position, inside);

	if (protocol->resets_end)
		session_end(&sub->client->session, frame);
	else
		session_send_own(&sub->client->session,
						 hub_place(sub->client, sub, sub->position, inside, frame), before);
}
