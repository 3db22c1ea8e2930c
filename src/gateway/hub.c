/*-------------------------------------------------------------------------
 *
 * hub.c
 *	  Databases, their streams, and who has subscribed to them.
 *
 * session_send() may close the session it sends to, which ends its subscriptions: so
 * whatever is to change is changed before, and nothing of the session's is touched
 * after it.
 *
 *-------------------------------------------------------------------------
 */
#include "hub.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "text.h"

/* Credit is given back in pieces of at least this size while more is under way. */
#define HUB_CREDIT_PIECE (WIRE_REPLAY_WINDOW / 8)

static int
hub_compare_subscriptions(const Subscription *a, const Subscription *b)
{
	return a->number < b->number ? -1 : a->number > b->number;
}

static int
hub_compare_streams(const Stream *a, const Stream *b)
{
	return a->number < b->number ? -1 : a->number > b->number;
}

RB_GENERATE_STATIC(SubscriptionTree, Subscription, in_database, hub_compare_subscriptions)
RB_GENERATE_STATIC(StreamTree, Stream, in_database, hub_compare_streams)

void
hub_init(Hub *hub, HubSend send, Sessions *sessions)
{
	hub->send = send;
	hub->sessions = sessions;
	LIST_INIT(&hub->databases);
}

Database *
hub_find(Hub *hub, const char *name, size_t len)
{
	Database *database;

	LIST_FOREACH(database, &hub->databases, in_hub)
	{
		if (database->name_len == len && memcmp(database->name, name, len) == 0)
			return database;
	}
	return NULL;
}

static Database *
hub_new_database(Hub *hub, WireBytes name)
{
	Database *database = memory_zeroed(sizeof(Database) + name.len + 1);

	memcpy(database->name, name.data, name.len);
	database->name_len = name.len;
	RB_INIT(&database->subscriptions);
	RB_INIT(&database->streams);
	LIST_INIT(&database->sessions);
	LIST_INSERT_HEAD(&hub->databases, database, in_hub);
	return database;
}

static Subscription *
hub_subscription(Database *database, uint32_t number)
{
	Subscription key = {.number = number};

	return RB_FIND(SubscriptionTree, &database->subscriptions, &key);
}

/* Give a subscription a number that no other has had for long, and file it under it. */
static void
hub_file(Database *database, Subscription *sub)
{
	do
		sub->number = ++database->last_number;
	while (sub->number == 0 || RB_INSERT(SubscriptionTree, &database->subscriptions, sub) != NULL);
}

static Stream *
hub_stream(Database *database, uint32_t number)
{
	Stream key = {.number = number};

	return RB_FIND(StreamTree, &database->streams, &key);
}

/*
 * Make a subscription one of this stream. A stream is one channel's, and so has no two
 * subscriptions of one session, which hub_fan_out() relies on: false for another channel's.
 */
static bool
hub_join(Database *database, Subscription *sub, uint32_t number)
{
	Stream *stream = hub_stream(database, number);
	Subscription *first = stream != NULL ? LIST_FIRST(&stream->subscriptions) : NULL;

	if (first != NULL && (first->channel_len != sub->channel_len ||
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

/* The other way round; a stream without subscriptions goes. */
static void
hub_part(Database *database, Subscription *sub)
{
	Stream *stream = sub->stream;

	if (stream == NULL)
		return;
	LIST_REMOVE(sub, in_stream);
	sub->stream = NULL;
	if (LIST_EMPTY(&stream->subscriptions))
	{
		RB_REMOVE(StreamTree, &database->streams, stream);
		free(stream);
	}
}

static void
hub_free_subscription(Hub *hub, Subscription *sub)
{
	Session *session = sub->session;
	Database *database = session->database;

	hub_part(database, sub);
	RB_REMOVE(SubscriptionTree, &database->subscriptions, sub);
	LIST_REMOVE(sub, in_session);
	session->nsubscriptions--;
	hub->sessions->stats.subscriptions--;
	protocol_release(&sub->id);
	free(sub);
}

/* The position that a client which has taken everything queued for this subscription is at. */
static WirePosition
hub_position(const Database *database, const Subscription *sub)
{
	if (sub->state == SUBSCRIPTION_LIVE && database->position.id > sub->position.id)
		return database->position;
	return sub->position;
}

/* Ask the feed for a subscription, if it is there; otherwise hub_hello() will. */
static void
hub_ask(Hub *hub, Database *database, Subscription *sub)
{
	WireMessage message = {.type = WIRE_SUBSCRIBE};

	if (database->link == NULL)
		return;
	message.u.subscribe = (WireSubscribe){
		.sub = sub->number,
		.ops = sub->ops,
		.has_since = sub->has_position,
		.since = sub->position,
		.role = {.data = "", .len = 0},
		.channel = {.data = sub->channel, .len = sub->channel_len},
	};
	hub->send(database->link, &message);
}

static void
hub_tell_end(Hub *hub, Database *database, const Subscription *sub)
{
	WireMessage message = {.type = WIRE_UNSUBSCRIBE, .u.unsubscribe.sub = sub->number};

	if (database->link != NULL)
		hub->send(database->link, &message);
}

Database *
hub_hello(Hub *hub, const WireHello *hello, void *link, void **replaced)
{
	Database *database = hub_find(hub, hello->database.data, hello->database.len);
	struct SubscriptionTree waiting;
	Subscription *sub;

	*replaced = NULL;
	if (database == NULL)
		database = hub_new_database(hub, hello->database);
	else if (database->link != NULL)
	{
		*replaced = database->link;
		hub_lost(database);
	}
	database->link = link;
	database->position = hello->position;
	database->behind_ms = 0;
	database->heard_at = 0;

	/* New numbers, so that replay credit for what is still queued from the old link is not given to the new one. */
	waiting = database->subscriptions;
	RB_INIT(&database->subscriptions);
	while ((sub = RB_MIN(SubscriptionTree, &waiting)) != NULL)
	{
		RB_REMOVE(SubscriptionTree, &waiting, sub);
		hub_file(database, sub);
		hub_ask(hub, database, sub);
	}
	return database;
}

void
hub_lost(Database *database)
{
	Subscription *sub;

	database->link = NULL;
	RB_FOREACH(sub, SubscriptionTree, &database->subscriptions)
	{
		sub->position = hub_position(database, sub);
		sub->state = SUBSCRIPTION_WAITING;
		sub->credit = 0;
		hub_part(database, sub);
	}
}

/* End a subscription and tell the client why: in answer to its request, or of our own accord. */
static void
hub_end(Hub *hub, Subscription *sub, int code, WireBytes message)
{
	RequestId id = {.absent = true};
	Session *session = sub->session;
	ProtocolError error;

	protocol_set_error(&error, code, message.data, message.len, "channel", sub->channel, sub->channel_len);
	if (sub->asked)
	{
		id = sub->id;
		sub->id.json = NULL;
	}
	hub_free_subscription(hub, sub);
	session_send_own(session, protocol_failure(&id, &error));
	protocol_release(&id);
}

static HubResult
hub_subscribed(Database *database, const WireSubscribed *message)
{
	Subscription *sub = hub_subscription(database, message->sub);
	RequestId id;
	json_t *result;

	if (sub == NULL)
		return HUB_OK;
	if (sub->state != SUBSCRIPTION_WAITING || !hub_join(database, sub, message->stream))
		return HUB_BAD;
	sub->state = message->replay ? SUBSCRIPTION_REPLAYING : SUBSCRIPTION_LIVE;
	sub->position = message->position;
	sub->has_position = true;
	if (!sub->asked)
		return HUB_OK;

	sub->asked = false;
	id = sub->id;
	sub->id.json = NULL;
	if (sub->session->told < message->position.id)
		sub->session->told = message->position.id;
	if (!id.absent)
	{
		result = json_pack("{s:s%, s:o}", "channel", sub->channel, (size_t) sub->channel_len, "position",
						   protocol_position(message->position));
		session_send_own(sub->session, protocol_result(&id, result));
	}
	protocol_release(&id);
	return HUB_OK;
}

static void
hub_stream_ended(Hub *hub, Database *database, const WireStreamEnded *message)
{
	Stream *stream;

	/* Looked up anew each time: the stream goes with its last subscription. */
	while ((stream = hub_stream(database, message->stream)) != NULL)
		hub_end(hub, LIST_FIRST(&stream->subscriptions), message->code, message->message);
}

/* Queue an event for the live subscriptions of one stream. The frame is made when the first of them wants it. */
static void
hub_fan_out(Database *database, Stream *stream, const WireEvent *event, Frame **frame)
{
	Subscription *sub = LIST_FIRST(&stream->subscriptions);
	Subscription *next;

	for (; sub != NULL; sub = next)
	{
		FrameNote note = {.before = FRAME_NO_POSITION};

		/* session_send() may end this session's subscriptions, of which this is the only one here. */
		next = LIST_NEXT(sub, in_stream);
		if (sub->state != SUBSCRIPTION_LIVE || (sub->ops & event->op) == 0)
			continue;
		if (event->id != 0)
		{
			note.before = hub_position(database, sub).id;
			if (event->id <= sub->position.id)
				continue;
			sub->position = (WirePosition){.timeline = database->position.timeline, .id = event->id};
			sub->session->told = event->id;
		}
		if (*frame == NULL)
			*frame = frame_text(event->text.data, event->text.len);
		session_send(sub->session, *frame, note);
	}
}

static void
hub_event(Hub *hub, Database *database, const WireEvent *event)
{
	Frame *frame = NULL;

	hub->sessions->stats.events++;
	for (uint16_t i = 0; i < event->nstreams; i++)
	{
		Stream *stream = hub_stream(database, wire_stream(event, i));

		if (stream != NULL)
			hub_fan_out(database, stream, event, &frame);
	}
	if (frame != NULL)
		frame_unref(frame);
	if (event->id > database->position.id)
		database->position.id = event->id;
}

static HubResult
hub_replay_event(Hub *hub, Database *database, const WireReplayEvent *event)
{
	Subscription *sub = hub_subscription(database, event->sub);
	FrameNote note = {.sub = event->sub, .credit = event->text.len};
	Frame *frame;

	hub->sessions->stats.events++;
	if (sub == NULL)
		return HUB_OK;
	if (sub->state != SUBSCRIPTION_REPLAYING || event->id <= sub->position.id)
		return HUB_BAD;
	note.before = sub->position.id;
	sub->position = (WirePosition){.timeline = database->position.timeline, .id = event->id};
	if (sub->session->told < event->id)
		sub->session->told = event->id;
	frame = frame_text(event->text.data, event->text.len);
	session_send(sub->session, frame, note);
	frame_unref(frame);
	return HUB_OK;
}

static HubResult
hub_replay_done(Database *database, const WireReplayDone *done)
{
	Subscription *sub = hub_subscription(database, done->sub);

	if (sub == NULL)
		return HUB_OK;
	if (sub->state != SUBSCRIPTION_REPLAYING)
		return HUB_BAD;
	sub->state = SUBSCRIPTION_LIVE;
	if (done->id > sub->position.id)
		sub->position = (WirePosition){.timeline = database->position.timeline, .id = done->id};
	return HUB_OK;
}

static void
hub_reset(Database *database, const WireReset *reset)
{
	Subscription *sub = hub_subscription(database, reset->sub);
	FrameNote note = {.before = FRAME_NO_POSITION};
	json_t *params;
	Frame *frame;

	if (sub == NULL)
		return;
	/* A client that is closed before it has taken this resumes where it was, and is told again. */
	if (sub->has_position)
		note.before = hub_position(database, sub).id;
	sub->position = reset->position;
	sub->has_position = true;
	params =
		json_pack("{s:s%, s:s%, s:o}", "channel", sub->channel, (size_t) sub->channel_len, "reason",
				  reset->reason.data, text_utf8_cut(reset->reason.data, reset->reason.len, reset->reason.len),
				  "position", protocol_position(reset->position));
	frame = protocol_notification("reset", params);
	session_send(sub->session, frame, note);
	frame_unref(frame);
}

static void
hub_goodbye(Database *database, WireBytes reason)
{
	char *text = memory_string(reason.data, reason.len);
	Session *session;

	database->link = NULL;
	while ((session = LIST_FIRST(&database->sessions)) != NULL)
		session_close(session, SESSION_CLOSE_GOING_AWAY, text);
	LIST_REMOVE(database, in_hub);
	free(database);
	free(text);
}

void *
hub_gone(Hub *hub, WireBytes name)
{
	Database *database = hub_find(hub, name.data, name.len);
	WireBytes reason = {.data = "the database is gone", .len = strlen("the database is gone")};
	void *link = NULL;

	if (database != NULL)
	{
		link = database->link;
		hub_goodbye(database, reason);
	}
	return link;
}

HubResult
hub_message(Hub *hub, Database *database, const WireMessage *message)
{
	Subscription *sub;

	switch (message->type)
	{
		case WIRE_SUBSCRIBED:
			return hub_subscribed(database, &message->u.subscribed);
		case WIRE_REFUSED:
			sub = hub_subscription(database, message->u.refused.sub);
			if (sub != NULL)
				hub_end(hub, sub, message->u.refused.code, message->u.refused.message);
			return HUB_OK;
		case WIRE_STREAM_ENDED:
			hub_stream_ended(hub, database, &message->u.ended);
			return HUB_OK;
		case WIRE_EVENT:
			hub_event(hub, database, &message->u.event);
			return HUB_OK;
		case WIRE_REPLAY_EVENT:
			return hub_replay_event(hub, database, &message->u.replay_event);
		case WIRE_REPLAY_DONE:
			return hub_replay_done(database, &message->u.replay_done);
		case WIRE_RESET:
			hub_reset(database, &message->u.reset);
			return HUB_OK;
		case WIRE_POSITION:
			if (message->u.position.id > database->position.id)
				database->position.id = message->u.position.id;
			database->behind_ms = message->u.position.behind_ms;
			database->heard_at = hub->sessions->io->now();
			return HUB_OK;
		case WIRE_GOODBYE:
			hub_goodbye(database, message->u.goodbye.reason);
			return HUB_GOODBYE;
		default:
			return HUB_BAD;
	}
}

static Subscription *
hub_session_subscription(const Session *session, const Request *request)
{
	Subscription *sub;

	LIST_FOREACH(sub, &session->subscriptions, in_session)
	{
		if (sub->channel_len == request->channel_len &&
			memcmp(sub->channel, request->channel, sub->channel_len) == 0)
			return sub;
	}
	return NULL;
}

static bool
hub_reject(ProtocolError *error, int code, const char *message, const Request *request)
{
	protocol_set_error(error, code, message, strlen(message), "channel", request->channel,
					   request->channel_len);
	return false;
}

bool
hub_subscribe(Hub *hub, Session *session, Request *request, ProtocolError *error)
{
	Subscription *sub;

	if (hub_session_subscription(session, request) != NULL)
		return hub_reject(error, PROTOCOL_INVALID_PARAMS, "already subscribed", request);
	if (session->nsubscriptions >= SESSION_MAX_SUBSCRIPTIONS)
		return hub_reject(error, PROTOCOL_LIMIT_EXCEEDED, "too many subscriptions on one connection",
						  request);

	sub = memory_zeroed(sizeof(Subscription) + request->channel_len);
	sub->session = session;
	sub->ops = request->ops;
	sub->asked = true;
	sub->id = request->id;
	request->id.json = NULL;
	sub->has_position = request->has_since;
	sub->position = request->since;
	sub->channel_len = request->channel_len;
	memcpy(sub->channel, request->channel, request->channel_len);
	LIST_INSERT_HEAD(&session->subscriptions, sub, in_session);
	session->nsubscriptions++;
	hub->sessions->stats.subscriptions++;
	hub_file(session->database, sub);
	hub_ask(hub, session->database, sub);
	return true;
}

bool
hub_unsubscribe(Hub *hub, Session *session, const Request *request, ProtocolError *error)
{
	static const char cancelled[] = "unsubscribed before the subscription began";
	Subscription *sub = hub_session_subscription(session, request);

	if (sub == NULL)
		return hub_reject(error, PROTOCOL_INVALID_PARAMS, "not subscribed", request);
	hub_tell_end(hub, session->database, sub);
	if (sub->asked)
		hub_end(hub, sub, PROTOCOL_INTERNAL_ERROR,
				(WireBytes){.data = cancelled, .len = sizeof(cancelled) - 1});
	else
		hub_free_subscription(hub, sub);
	if (!request->id.absent)
		session_send_own(session,
						 protocol_result(&request->id, json_pack("{s:s%}", "channel", request->channel,
																 (size_t) request->channel_len)));
	return true;
}

void
hub_leave(Hub *hub, Session *session)
{
	Subscription *sub;

	if (session->database == NULL)
		return;
	while ((sub = LIST_FIRST(&session->subscriptions)) != NULL)
	{
		hub_tell_end(hub, session->database, sub);
		hub_free_subscription(hub, sub);
	}
	LIST_REMOVE(session, in_database);
	session->database = NULL;
}

WirePosition
hub_session_position(const Session *session)
{
	WirePosition smallest = session->database->position;
	bool found = false;
	Subscription *sub;

	LIST_FOREACH(sub, &session->subscriptions, in_session)
	{
		WirePosition position = hub_position(session->database, sub);

		if (sub->has_position && (!found || position.id < smallest.id))
		{
			smallest = position;
			found = true;
		}
	}
	return smallest;
}

bool
hub_session_live(const Session *session)
{
	Subscription *sub;

	LIST_FOREACH(sub, &session->subscriptions, in_session)
	{
		if (sub->state != SUBSCRIPTION_LIVE)
			return false;
	}
	return session->database->link != NULL;
}

static void
hub_give_credit(Hub *hub, Database *database, Subscription *sub)
{
	WireMessage message = {.type = WIRE_REPLAY_CREDIT};

	message.u.credit = (WireReplayCredit){.sub = sub->number, .bytes = sub->credit};
	sub->credit = 0;
	hub->send(database->link, &message);
}

void
hub_credit(Hub *hub, Session *session, uint32_t number, uint32_t bytes)
{
	Subscription *sub = session->database != NULL ? hub_subscription(session->database, number) : NULL;

	/* Credit is of no use any more once the replay is over or its link is lost. */
	if (sub == NULL || sub->session != session || sub->state != SUBSCRIPTION_REPLAYING)
		return;
	sub->credit += bytes;
	if (sub->credit >= HUB_CREDIT_PIECE)
		hub_give_credit(hub, session->database, sub);
	else
		session->credit = true;
}

void
hub_flush_credit(Hub *hub, Session *session)
{
	Subscription *sub;

	session->credit = false;
	if (session->database == NULL || session->database->link == NULL)
		return;
	LIST_FOREACH(sub, &session->subscriptions, in_session)
	{
		if (sub->credit > 0 && sub->state == SUBSCRIPTION_REPLAYING)
			hub_give_credit(hub, session->database, sub);
	}
}

bool
hub_database_current(const Database *database, uint64_t now, const char **why)
{
	const char *reason = NULL;

	if (database->link == NULL)
		reason = "its feed is not connected";
	else if (database->heard_at == 0 || now - database->heard_at > HUB_CURRENT_MS)
		reason = "its feed is silent";
	else if (database->behind_ms > HUB_BEHIND_MS)
		reason = "its feed is behind";
	if (why != NULL)
		*why = reason;
	return reason == NULL;
}

void
hub_free(Hub *hub)
{
	Database *database;

	while ((database = LIST_FIRST(&hub->databases)) != NULL)
	{
		LIST_REMOVE(database, in_hub);
		free(database);
	}
}
