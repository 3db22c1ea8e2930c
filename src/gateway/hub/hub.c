/*-------------------------------------------------------------------------
 *
 * hub.c
 *	  Databases, their streams, and who has subscribed to them: the feeds' side.
 *
 * session_has_room(), session_send_event() and session_send_own() may close the session, which ends
 * its subscriptions: so nothing of the session's is touched after them, unless it is still OPEN.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/hub/hub_internal.h"
#include "gateway/base/memory.h"
#include "gateway/base/text.h"

static int
hub_compare_streams(const Stream *a, const Stream *b)
{
	return a->number < b->number ? -1 : a->number > b->number;
}

RB_GENERATE_STATIC(StreamTree, Stream, in_database, hub_compare_streams)

void
hub_init(Hub *hub, HubSend send, Sessions *sessions)
{
	hub->send = send;
	hub->sessions = sessions;
	LIST_INIT(&hub->databases);
	hub->wake = NULL;
	hub->trouble = NULL;
	hub->told_at = 0;
}

void
hub_trouble(Hub *hub, WireBytes trouble)
{
	free(hub->trouble);
	hub->trouble = trouble.len > 0 ? memory_string(trouble.data, trouble.len) : NULL;
	hub->told_at = hub->sessions->io->now();
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
	TAILQ_INIT(&database->asking);
	LIST_INSERT_HEAD(&hub->databases, database, in_hub);
	return database;
}

static Stream *
hub_stream(Database *database, uint32_t number)
{
	Stream key = {.number = number};

	return RB_FIND(StreamTree, &database->streams, &key);
}

/* Take a subscription out of its stream; a stream without subscriptions goes. */
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

/*
 * Make a subscription one of this stream, and of no other. A stream is one channel's, and so has no
 * two subscriptions of one session, which hub_event() relies on: false for another channel's.
 */
static bool
hub_join(Database *database, Subscription *sub, uint32_t number)
{
	Stream *stream;
	Subscription *first;

	hub_part(database, sub);
	stream = hub_stream(database, number);
	first = stream != NULL ? LIST_FIRST(&stream->subscriptions) : NULL;
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

void
hub_free_subscription(Hub *hub, Subscription *sub)
{
	Session *session = sub->session;
	Database *database = session->database;

	hub_part(database, sub);
	session->nsubscriptions--;
	hub->sessions->stats.subscriptions--;
	protocol_release(&sub->id);
	hub_drop_subscription(database, sub);
}

WirePosition
hub_position(const Database *database, const Subscription *sub)
{
	if (sub->state == SUBSCRIPTION_LIVE && database->position.id > sub->position.id)
		return database->position;
	return sub->position;
}

static void
hub_tell_end(Hub *hub, Database *database, uint32_t number)
{
	WireMessage message = {.type = WIRE_UNSUBSCRIBE, .u.unsubscribe.sub = number};

	if (database->link != NULL)
		hub->send(database->link, &message);
}

void
hub_withdraw(Hub *hub, Database *database, const Subscription *sub)
{
	if (sub->state != SUBSCRIPTION_LAGGING && sub->asking != ASKING_WAITS)
		hub_tell_end(hub, database, sub->number);
	if (sub->companion)
		hub_tell_end(hub, database, sub->number + HUB_COMPANION);
}

/* Leave a companion at the feed, where there may be raw notifications and a link. */
static void
hub_ask_companion(Hub *hub, Database *database, Subscription *sub)
{
	WireMessage message = {.type = WIRE_SUBSCRIBE};

	if (sub->companion || (sub->ops & WIRE_OP_NOTIFY) == 0 || database->link == NULL)
		return;
	sub->companion = true;
	message.u.subscribe = (WireSubscribe){
		.sub = sub->number + HUB_COMPANION,
		.ops = WIRE_OP_NOTIFY,
		.session = sub->session->number,
		.role = {.data = "", .len = 0},
		.channel = {.data = sub->channel, .len = sub->channel_len},
	};
	hub->send(database->link, &message);
}

/*
 * Its session has no room: what the subscription does not have yet is to come from the log, later.
 */
static void
hub_lag(Hub *hub, Database *database, Subscription *sub)
{
	sub->position = hub_position(database, sub);
	/* First the companion, so that the feed goes on listening. */
	hub_ask_companion(hub, database, sub);
	hub_tell_end(hub, database, sub->number);
	sub->state = SUBSCRIPTION_LAGGING;
	sub->credit = 0;
	if (!sub->companion)
		hub_part(database, sub);
	sub->session->behind = true;
}

/* A raw notification did not reach the subscription, or is said not to have. */
static void
hub_note_lost(Subscription *sub)
{
	if ((sub->ops & WIRE_OP_NOTIFY) == 0)
		return;
	sub->lost = true;
	sub->session->behind = true;
	session_schedule(sub->session);
}

static void
hub_go_live(Hub *hub, Database *database, Subscription *sub)
{
	sub->state = SUBSCRIPTION_LIVE;
	if (sub->companion)
		hub_tell_end(hub, database, sub->number + HUB_COMPANION);
	sub->companion = false;
	/* Another one may have waited for its end. */
	session_schedule(sub->session);
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
	database->renew = 0;
	database->behind_ms = 0;
	database->heard_at = 0;
	database->asleep = false;
	database->needed_since = 0;

	/*
	 * New numbers, so that replay credit for what is still queued from the old link is not given to
	 * the new one.
	 */
	waiting = database->subscriptions;
	RB_INIT(&database->subscriptions);
	while ((sub = RB_MIN(SubscriptionTree, &waiting)) != NULL)
	{
		RB_REMOVE(SubscriptionTree, &waiting, sub);
		hub_file(database, sub);
		if (sub->state == SUBSCRIPTION_LAGGING)
			hub_ask_companion(hub, database, sub);
		else
			hub_ask(hub, database, sub);
	}
	return database;
}

void
hub_lost(Database *database)
{
	Subscription *sub;

	database->link = NULL;
	hub_forget_asked(database);
	RB_FOREACH (sub, SubscriptionTree, &database->subscriptions)
	{
		sub->position = hub_position(database, sub);
		if (sub->state != SUBSCRIPTION_LAGGING)
			sub->state = SUBSCRIPTION_WAITING;
		sub->credit = 0;
		sub->companion = false;
		sub->missed = !sub->asked;
		hub_part(database, sub);
	}
}

void
hub_end(Hub *hub, Subscription *sub, int code, WireBytes message)
{
	RequestId id = {.absent = true};
	Session *session = sub->session;
	ProtocolError error;

	protocol_set_error(&error, code, message.data, message.len, "channel", sub->channel,
					   sub->channel_len);
	if (sub->asked)
	{
		id = sub->id;
		sub->id.json = NULL;
	}
	hub_free_subscription(hub, sub);
	session_send_own(session, protocol_failure(&id, &error), FRAME_NO_POSITION);
	protocol_release(&id);
}

/* Answer the client's request. */
static void
hub_answer(Subscription *sub)
{
	RequestId id = sub->id;
	json_t *result;

	sub->asked = false;
	sub->id.json = NULL;
	if (sub->session->told < sub->position.id)
		sub->session->told = sub->position.id;
	if (!id.absent)
	{
		result = json_pack("{s:s%, s:o}", "channel", sub->channel, (size_t) sub->channel_len,
						   "position", protocol_position(sub->position));
		session_send_own(sub->session, protocol_result(&id, result), FRAME_NO_POSITION);
	}
	protocol_release(&id);
}

static HubResult
hub_subscribed(Hub *hub, Database *database, const WireSubscribed *message)
{
	Subscription *sub = hub_subscription(database, message->sub);
	bool answered = hub_answered(hub, database, message->sub);

	if (sub == NULL)
		return HUB_OK;
	if (!(message->sub == sub->number ? answered : sub->companion) ||
		!hub_join(database, sub, message->stream))
		return HUB_BAD;
	if (sub->missed && message->notifies)
		hub_note_lost(sub);
	sub->missed = false;
	if (message->sub != sub->number)
		return HUB_OK;
	sub->state = SUBSCRIPTION_REPLAYING;
	sub->position = message->position;
	sub->has_position = true;
	if (!message->replay)
		hub_go_live(hub, database, sub);
	if (sub->asked)
		hub_answer(sub);
	return HUB_OK;
}

static HubResult
hub_refused(Hub *hub, Database *database, const WireRefused *message)
{
	Subscription *sub = hub_subscription(database, message->sub);
	bool answered = hub_answered(hub, database, message->sub);

	if (sub == NULL)
		return HUB_OK;
	if (message->sub == sub->number && !answered)
		return HUB_BAD;
	if (sub->companion)
		hub_withdraw(hub, database, sub);
	hub_end(hub, sub, message->code, message->message);
	return HUB_OK;
}

static void
hub_stream_ended(Hub *hub, Database *database, const WireStreamEnded *message)
{
	Stream *stream;

	/* Looked up anew each time: the stream goes with its last subscription. */
	while ((stream = hub_stream(database, message->stream)) != NULL)
	{
		Subscription *sub = LIST_FIRST(&stream->subscriptions);

		/* Only the companion has ended with the stream; what we have asked for since has not. */
		if (sub->state == SUBSCRIPTION_WAITING)
			hub_withdraw(hub, database, sub);
		hub_end(hub, sub, message->code, message->message);
	}
}

/* One of a stream may be there by its companion alone, until that has ended. */
static bool
hub_wants_notifications(const Subscription *sub)
{
	return sub->companion || sub->state == SUBSCRIPTION_LIVE ||
		   sub->state == SUBSCRIPTION_REPLAYING;
}

/*
 * Queue an event for one of its stream's subscriptions. The frame is made when the first of them
 * wants it.
 */
static void
hub_deliver(Hub *hub, Database *database, Subscription *sub, const WireEvent *event, Frame **frame)
{
	Session *session = sub->session;
	bool notification = event->id == 0;
	FrameNote note = {.before = FRAME_NO_POSITION};

	if ((sub->ops & event->op) == 0 ||
		(notification ? sub->lost || !hub_wants_notifications(sub)
					  : sub->state != SUBSCRIPTION_LIVE || event->id <= sub->position.id))
		return;
	if (*frame == NULL)
		*frame = frame_text(event->text.data, event->text.len);
	if (!session_has_room(session, *frame))
	{
		if (session->state != SESSION_OPEN)
			return;
		if (notification)
			hub_note_lost(sub);
		else
			hub_lag(hub, database, sub);
		return;
	}
	if (!notification)
	{
		note.before = hub_position(database, sub).id;
		sub->position = (WirePosition){.timeline = database->position.timeline, .id = event->id};
		session->told = event->id;
	}
	session_send_event(session, *frame, note);
}

/*
 * This one is the next: have the processor fetch what it and the one behind it will need, while a
 * system call keeps it busy with the one before. Of thousands, none is in its cache any more.
 */
static void
hub_fetch(const Subscription *sub)
{
	if (sub == NULL)
		return;
	__builtin_prefetch(LIST_NEXT(sub, in_stream));
	session_fetch(sub->session);
}

static void
hub_event(Hub *hub, Database *database, const WireEvent *event)
{
	Frame *frame = NULL;

	hub->sessions->stats.events++;
	for (uint16_t i = 0; i < event->nstreams; i++)
	{
		Stream *stream = hub_stream(database, wire_stream(event, i));
		Subscription *sub = stream != NULL ? LIST_FIRST(&stream->subscriptions) : NULL;
		Subscription *next;

		/*
		 * A session may end on the way, and with it its subscriptions, of which one only is here;
		 * the stream, too.
		 */
		for (; sub != NULL; sub = next)
		{
			next = LIST_NEXT(sub, in_stream);
			hub_fetch(next);
			hub_deliver(hub, database, sub, event, &frame);
		}
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
	Session *session;
	Frame *frame;

	hub->sessions->stats.events++;
	/* Before its SUBSCRIBED, it has crossed our UNSUBSCRIBE. */
	if (sub == NULL || sub->state == SUBSCRIPTION_LAGGING || sub->state == SUBSCRIPTION_WAITING)
		return HUB_OK;
	if (event->sub != sub->number || sub->state != SUBSCRIPTION_REPLAYING ||
		event->id <= sub->position.id)
		return HUB_BAD;
	session = sub->session;
	frame = frame_text(event->text.data, event->text.len);
	if (session_has_room(session, frame))
	{
		note.before = sub->position.id;
		sub->position = (WirePosition){.timeline = database->position.timeline, .id = event->id};
		if (session->told < event->id)
			session->told = event->id;
		session_send_event(session, frame, note);
	}
	else if (session->state == SESSION_OPEN)
		hub_lag(hub, database, sub);
	frame_unref(frame);
	return HUB_OK;
}

static HubResult
hub_replay_done(Hub *hub, Database *database, const WireReplayDone *done)
{
	Subscription *sub = hub_subscription(database, done->sub);

	if (sub == NULL || sub->state == SUBSCRIPTION_LAGGING || sub->state == SUBSCRIPTION_WAITING)
		return HUB_OK;
	if (done->sub != sub->number || sub->state != SUBSCRIPTION_REPLAYING)
		return HUB_BAD;
	if (done->id > sub->position.id)
		sub->position = (WirePosition){.timeline = database->position.timeline, .id = done->id};
	hub_go_live(hub, database, sub);
	return HUB_OK;
}

void
hub_send_reset(Subscription *sub, WireBytes reason, uint64_t before)
{
	json_t *params =
		json_pack("{s:s%, s:s%, s:o}", "channel", sub->channel, (size_t) sub->channel_len, "reason",
				  reason.data, text_utf8_cut(reason.data, reason.len, reason.len), "position",
				  protocol_position(sub->position));

	session_send_own(sub->session, protocol_notification("reset", params), before);
}

static void
hub_reset(Database *database, const WireReset *reset)
{
	Subscription *sub = hub_subscription(database, reset->sub);
	uint64_t before = FRAME_NO_POSITION;

	if (sub == NULL)
		return;
	if (reset->notifies)
	{
		hub_note_lost(sub);
		return;
	}
	/*
	 * Of a companion, which has no events, or it has crossed our UNSUBSCRIBE: that events can no
	 * longer be had is found out again when the subscription is made anew.
	 */
	if (reset->sub != sub->number || sub->state == SUBSCRIPTION_LAGGING ||
		sub->state == SUBSCRIPTION_WAITING)
		return;
	/* A client that is closed before it has taken this resumes where it was, and is told again. */
	if (sub->has_position)
		before = hub_position(database, sub).id;
	sub->position = reset->position;
	sub->has_position = true;
	hub_send_reset(sub, reset->reason, before);
}

static void
hub_goodbye(Database *database, WireBytes reason)
{
	char *text = memory_string(reason.data, reason.len);
	Session *session;

	database->link = NULL;
	hub_forget_asked(database);
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

void
hub_need(Hub *hub, Database *database)
{
	uint64_t now = hub->sessions->io->now();

	if (database->link != NULL || !database->asleep || hub->wake == NULL)
		return;
	if (database->needed_since == 0)
		database->needed_since = now;
	else if (now - database->asked_at < HUB_ASK_MS)
		return;
	database->asked_at = now;
	hub->wake((WireBytes){.data = database->name, .len = (uint32_t) database->name_len});
}

void
hub_asleep(Hub *hub, const WireAsleep *asleep)
{
	Database *database = hub_find(hub, asleep->database.data, asleep->database.len);

	if (database == NULL)
		database = hub_new_database(hub, asleep->database);
	if (database->position.timeline != asleep->position.timeline ||
		database->position.id < asleep->position.id)
		database->position = asleep->position;
	database->asleep = true;
	database->needed_since = 0;
	/* Somebody may have subscribed while it left. */
	if (!RB_EMPTY(&database->subscriptions))
		hub_need(hub, database);
}

void
hub_tick(Hub *hub)
{
	static const char reason[] = "the database is not served at present";
	uint64_t now = hub->sessions->io->now();
	Database *database;
	Session *session;

	LIST_FOREACH(database, &hub->databases, in_hub)
	{
		if (database->link != NULL || !database->asleep || RB_EMPTY(&database->subscriptions))
			continue;
		hub_need(hub, database);
		if (now - database->needed_since < HUB_WAKE_MS)
			continue;
		/* Nobody is let in until there is a feed, or the launcher says anew that it is asleep. */
		database->asleep = false;
		while ((session = LIST_FIRST(&database->sessions)) != NULL)
			session_close(session, SESSION_CLOSE_GOING_AWAY, reason);
	}
}

HubResult
hub_message(Hub *hub, Database *database, const WireMessage *message)
{
	switch (message->type)
	{
		case WIRE_SUBSCRIBED:
			return hub_subscribed(hub, database, &message->u.subscribed);
		case WIRE_REFUSED:
			return hub_refused(hub, database, &message->u.refused);
		case WIRE_STREAM_ENDED:
			hub_stream_ended(hub, database, &message->u.ended);
			return HUB_OK;
		case WIRE_EVENT:
			hub_event(hub, database, &message->u.event);
			return HUB_OK;
		case WIRE_REPLAY_EVENT:
			return hub_replay_event(hub, database, &message->u.replay_event);
		case WIRE_REPLAY_DONE:
			return hub_replay_done(hub, database, &message->u.replay_done);
		case WIRE_RESET:
			hub_reset(database, &message->u.reset);
			return HUB_OK;
		case WIRE_POSITION:
			if (message->u.position.id > database->position.id)
				database->position.id = message->u.position.id;
			database->renew = message->u.position.renew;
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

bool
hub_database_current(const Database *database, uint64_t now, const char **why)
{
	const char *reason = NULL;

	if (database->link == NULL)
		reason = database->asleep ? NULL : "its feed is not connected";
	else if (database->heard_at == 0 || now - database->heard_at > HUB_CURRENT_MS)
		reason = "its feed is silent";
	else if (database->behind_ms > HUB_BEHIND_MS)
		reason = "its events are late";
	if (why != NULL)
		*why = reason;
	return reason == NULL;
}

void
hub_free(Hub *hub)
{
	Database *database;

	free(hub->trouble);
	while ((database = LIST_FIRST(&hub->databases)) != NULL)
	{
		hub_forget_asked(database);
		LIST_REMOVE(database, in_hub);
		free(database);
	}
}
