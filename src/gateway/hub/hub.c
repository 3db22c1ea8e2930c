/*-------------------------------------------------------------------------
 *
 * hub.c
 *	  The feeds' side of the hub: links that come and go, and their frames.
 *
 * session_has_room(), session_send_event() and session_send_own() may close the session, which ends
 * its subscriptions. So the session's data must not be used after them unless it is still OPEN.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/hub/hub_internal.h"
#include "gateway/base/memory.h"
#include "gateway/protocol/members.h"

void
hub_init(Hub *hub, HubSend send, Sessions *sessions)
{
	hub->send = send;
	hub->sessions = sessions;
	LIST_INIT(&hub->databases);
	LIST_INIT(&hub->outside);
	RB_INIT(&hub->due);
	hub->wake = NULL;
	hub->trouble = NULL;
	hub->looking = false;
	hub->health_at = 0;
	hub->news = 0;
}

/* Something has changed for those who wait for a database, or may have. Calls may close sessions. */
static void
hub_visit_outside(Hub *hub)
{
	struct HubClientList visited = LIST_HEAD_INITIALIZER(visited);
	HubClient *client;

	while ((client = LIST_FIRST(&hub->outside)) != NULL)
	{
		LIST_REMOVE(client, in_database);
		LIST_INSERT_HEAD(&visited, client, in_database);
		client->protocol->hooks->outside(client);
	}
	while ((client = LIST_FIRST(&visited)) != NULL)
	{
		LIST_REMOVE(client, in_database);
		LIST_INSERT_HEAD(&hub->outside, client, in_database);
	}
}

void
hub_health(Hub *hub, const WireHealth *health)
{
	WireBytes trouble = health->trouble;

	free(hub->trouble);
	hub->trouble = trouble.len > 0 ? memory_string(trouble.data, trouble.len) : NULL;
	hub->looking = health->looking != 0;
	hub->health_at = hub->sessions->now();
	hub->news++;
	hub_visit_outside(hub);
}

bool
hub_looking(const Hub *hub)
{
	return hub->looking || hub->health_at == 0;
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
	hub->news++;

	/*
	 * Assign new numbers, so that credit for events still queued from the old link is not given to
	 * the new one.
	 */
	hub_verify_all(hub, database);
	waiting = database->subscriptions;
	RB_INIT(&database->subscriptions);
	while ((sub = RB_MIN(SubscriptionTree, &waiting)) != NULL)
	{
		RB_REMOVE(SubscriptionTree, &waiting, sub);
		hub_file(database, sub);
		if (sub->state != SUBSCRIPTION_LAGGING || (sub->ops & WIRE_OP_NOTIFY) != 0)
			hub_ask(hub, database, sub);
	}
	/* Frames that tell of events may have been lost with the old link. */
	groups_ready(&database->groups, (WireBytes){.data = "", .len = 0});
	hub_tell_members(database, true);
	hub_visit_outside(hub);
	return database;
}

void
hub_lost(Database *database)
{
	Subscription *sub;

	database->link = NULL;
	hub_forget_asked(database);
	hub_forget_identities(database);
	RB_FOREACH (sub, SubscriptionTree, &database->subscriptions)
	{
		sub->position = hub_position(database, sub);
		if (sub->state != SUBSCRIPTION_LAGGING)
			sub->state = SUBSCRIPTION_WAITING;
		sub->credit = 0;
		sub->missed = !sub->asked;
		hub_part(database, sub);
		if (hub_snapshot_is_unfinished(sub))
		{
			sub->resumes_inside = !sub->asked;
			hub_snapshot_lost(sub);
		}
	}
	hub_tell_members(database, false);
}

/* The client has lost its connection inside of a snapshot. Returns false if the session is closed. */
static bool
hub_tell_inside(Subscription *sub)
{
	static const char reason[] = "the connection ended before the snapshot was complete";
	Session *session = &sub->client->session;

	sub->resumes_inside = false;
	if (sub->asked)
		hub_answer(sub);
	if (session->state == SESSION_OPEN)
		hub_send_reset(sub, (WireBytes){.data = reason, .len = sizeof(reason) - 1}, 0);
	return session->state == SESSION_OPEN;
}

static HubResult
hub_subscribed(Hub *hub, Database *database, const WireSubscribed *message)
{
	Subscription *sub = hub_subscription(database, message->sub);
	bool answered = hub_answered(hub, database, message->sub);

	if (sub == NULL)
		return HUB_OK;
	if (!answered || !hub_join(database, sub, message->stream))
		return HUB_BAD;
	if (sub->missed && message->notifies)
		hub_note_lost(sub);
	sub->missed = false;
	/* Only raw notifications were requested; request the events now. */
	if (sub->state == SUBSCRIPTION_LAGGING)
	{
		sub->client->session.owed = true;
		return HUB_OK;
	}
	sub->state = SUBSCRIPTION_REPLAYING;
	sub->position = message->position;
	sub->has_position = true;
	sub->fresh = false;
	if (sub->resumes_inside && !hub_tell_inside(sub))
		return HUB_OK;
	if (hub_snapshot_holds(sub))
	{
		if (!message->replay)
			return HUB_BAD;
		hub_snapshot_subscribed(sub);
		return HUB_OK;
	}
	if (!message->replay)
		hub_go_live(sub);
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
	if (!answered)
		return HUB_BAD;
	hub_end(hub, sub, message->reason, message->text);
	return HUB_OK;
}

/* The feed has ended the subscription, but not what was requested since. */
static void
hub_end_by_feed(Hub *hub, Database *database, Subscription *sub, uint8_t reason, WireBytes text)
{
	hub_part(database, sub);
	hub_withdraw(hub, database, sub);
	hub_end(hub, sub, reason, text);
}

static void
hub_subscription_ended(Hub *hub, Database *database, const WireSubscriptionEnded *message)
{
	Subscription *sub = hub_subscription(database, message->sub);

	if (sub != NULL)
		hub_end_by_feed(hub, database, sub, message->reason, message->text);
}

static HubResult
hub_moved(Database *database, const WireMoved *message)
{
	Subscription *sub = hub_subscription(database, message->sub);

	/* A subscription without a stream was UNSUBSCRIBEd before the feed knew. */
	if (sub == NULL || sub->stream == NULL)
		return HUB_OK;
	return hub_join(database, sub, message->stream) ? HUB_OK : HUB_BAD;
}

static void
hub_stream_ended(Hub *hub, Database *database, const WireStreamEnded *message)
{
	Stream *stream;

	/* Look up the stream each time, because it is freed with its last subscription. */
	while ((stream = hub_stream(database, message->stream)) != NULL)
		hub_end_by_feed(hub, database, LIST_FIRST(&stream->subscriptions), message->reason,
						message->text);
}

/*
 * Build the frame of an event for the subscription's protocol and kind of connection. Returns NULL if
 * a message to a pattern has no topic, which a feed does not send.
 */
static Frame *
hub_build(const Database *database, const Subscription *sub, uint8_t op, uint64_t id,
		  WireBytes body)
{
	ProtocolEvent event = {
		.op = op,
		.position = {.timeline = database->position.timeline, .id = id},
		.name = hub_name(sub),
		.body = body,
	};
	char topic[PROTOCOL_MAX_CHANNEL];

	if (sub->match != URI_EXACT && !hub_topic(body, topic, &event.name.channel))
		return NULL;
	return session_pack(&sub->client->session, sub->client->protocol->event(&event));
}

/* What is made of an event for its clients. */
typedef struct HubFrames
{
	Frame *shared
		[HUB_VARIANTS]; /* for subscriptions without a tag; the first client builds its variant's */
	Frame *tagged;      /* the last one with a tag: that of this variant with this tag */
	uint8_t variant;
	uint32_t tag_len;
	char tag[SELECTION_MAX_NAME];
	Audience *audience; /* NULL: everybody */
	uint64_t excluded;  /* the mark of the session that has published it, and does not get it */
	bool looked;        /* excluded is set */
} HubFrames;

/* Return true if the client has published the message, and is not to get it. */
static bool
hub_is_excluded(HubFrames *frames, const HubClient *client, uint8_t op, WireBytes body)
{
	if (op != WIRE_OP_MESSAGE || client->mark == 0)
		return false;
	if (!frames->looked)
		frames->excluded = members_excluded(body);
	frames->looked = true;
	return frames->excluded == client->mark;
}

/* Return where the frame of a subscription is; NULL there: it is to be built. */
static Frame **
hub_frame(HubFrames *frames, const Subscription *sub)
{
	WireBytes tag;

	if (!sub->tagged)
		return &frames->shared[sub->variant];
	tag = sub->selection->tag;
	if (frames->tagged != NULL && (frames->variant != sub->variant || frames->tag_len != tag.len ||
								   memcmp(frames->tag, tag.data, tag.len) != 0))
	{
		frame_unref(frames->tagged);
		frames->tagged = NULL;
	}
	frames->variant = sub->variant;
	frames->tag_len = tag.len;
	memcpy(frames->tag, tag.data, tag.len);
	return &frames->tagged;
}

static void
hub_free_frames(HubFrames *frames)
{
	for (int i = 0; i < HUB_VARIANTS; i++)
		if (frames->shared[i] != NULL)
			frame_unref(frames->shared[i]);
	if (frames->tagged != NULL)
		frame_unref(frames->tagged);
	audience_free(frames->audience);
}

/* Queue an event for one of its stream's subscriptions. */
static void
hub_deliver(Hub *hub, Database *database, Subscription *sub, const WireEvent *event,
			HubFrames *frames)
{
	Frame *own = NULL;
	Frame **frame;
	Session *session = &sub->client->session;
	bool notification = event->id == 0;
	FrameNote note = {.before = FRAME_NO_POSITION};

	if ((sub->ops & event->op) == 0 ||
		(notification ? sub->lost
					  : sub->state != SUBSCRIPTION_LIVE || event->id <= sub->position.id))
		return;
	if (frames->audience != NULL && !hub_hears(sub->client, frames->audience))
		return;
	if (hub_is_excluded(frames, sub->client, event->op, event->body))
		return;
	frame = hub_frame(frames, sub);
	if (*frame == NULL)
		*frame = hub_build(database, sub, event->op, event->id, event->body);
	if (*frame == NULL)
		return;
	if (sub->joint && !notification && (own = hub_place_event(sub, event->id, *frame)) != NULL)
		frame = &own;
	if ((notification || !hub_snapshot_waits(sub)) && session_has_room(session, *frame))
	{
		if (!notification)
		{
			note.before = hub_position(database, sub).id;
			sub->position =
				(WirePosition){.timeline = database->position.timeline, .id = event->id};
			session->announced = event->id;
		}
		session_send_event(session, *frame, note);
	}
	else if (session->state == SESSION_OPEN && notification)
		hub_note_lost(sub);
	else if (session->state == SESSION_OPEN)
		hub_lag(hub, database, sub);
	if (own != NULL)
		frame_unref(own);
}

/*
 * Prefetch the data of the next subscription and of the one after it, while a system call handles
 * the present one. With thousands of subscriptions, none of it is in the cache.
 */
static void
hub_fetch(const Subscription *sub)
{
	if (sub == NULL)
		return;
	__builtin_prefetch(LIST_NEXT(sub, in_stream));
	session_fetch(&sub->client->session);
}

static void
hub_event(Hub *hub, Database *database, const WireEvent *event)
{
	HubFrames frames = {.audience = audience_read(event->audience)};

	hub->sessions->stats.events++;
	for (uint16_t i = 0; i < event->nstreams; i++)
	{
		Stream *stream = hub_stream(database, wire_stream(event, i));
		Subscription *sub = stream != NULL ? LIST_FIRST(&stream->subscriptions) : NULL;

		/* This may end a session with its subscriptions, and the stream with them. */
		for (; sub != NULL; sub = database->next_delivered)
		{
			database->next_delivered = LIST_NEXT(sub, in_stream);
			hub_fetch(database->next_delivered);
			hub_deliver(hub, database, sub, event, &frames);
		}
	}
	hub_free_frames(&frames);
	if (!event->more && event->id > database->position.id)
		database->position.id = event->id;
}

/*
 * Queue an event of a replay. Returns false if the feed may not send it. frames is as in
 * hub_deliver().
 */
static bool
hub_deliver_replay(Hub *hub, Database *database, uint32_t number, const WireReplayEvent *event,
				   HubFrames *frames)
{
	Subscription *sub = hub_subscription(database, number);
	FrameNote note = {.sub = number, .credit = event->body.len};
	Session *session;
	Frame *own = NULL;
	Frame **frame;

	/*
	 * Sent before the feed received our UNSUBSCRIBE. The answer to the new SUBSCRIBE is still to
	 * come.
	 */
	if (sub == NULL || sub->state == SUBSCRIPTION_LAGGING || sub->state == SUBSCRIPTION_WAITING)
		return true;
	if (sub->state != SUBSCRIPTION_REPLAYING || event->id <= sub->position.id)
		return false;
	session = &sub->client->session;
	switch (hub_snapshot_event(
		sub, (WirePosition){.timeline = database->position.timeline, .id = event->id}, event))
	{
		case HUB_SNAPSHOT_PASSED:
			break;
		case HUB_SNAPSHOT_HELD:
		case HUB_SNAPSHOT_CLOSED:
			return true;
	}
	if (hub_is_excluded(frames, sub->client, event->op, event->body))
	{
		sub->position = (WirePosition){.timeline = database->position.timeline, .id = event->id};
		hub_return_credit(hub, sub, note.credit);
		return true;
	}
	frame = hub_frame(frames, sub);
	if (*frame == NULL)
		*frame = hub_build(database, sub, event->op, event->id, event->body);
	if (sub->joint)
	{
		own = hub_place(sub->client, sub,
						(WirePosition){.timeline = database->position.timeline, .id = event->id},
						false, frame_ref(*frame));
		frame = &own;
	}
	if (!hub_snapshot_waits(sub) && session_has_room(session, *frame))
	{
		note.before = sub->position.id;
		sub->position = (WirePosition){.timeline = database->position.timeline, .id = event->id};
		if (session->announced < event->id)
			session->announced = event->id;
		session_send_event(session, *frame, note);
	}
	else if (session->state == SESSION_OPEN)
		hub_lag(hub, database, sub);
	if (own != NULL)
		frame_unref(own);
	return true;
}

static HubResult
hub_replay_event(Hub *hub, Database *database, const WireReplayEvent *event)
{
	HubFrames frames = {.audience = NULL};
	bool good = true;

	hub->sessions->stats.events++;
	/* Look up each by its number, because this may end a session with its subscriptions. */
	for (uint16_t i = 0; good && i < event->nsubs; i++)
		good = hub_deliver_replay(hub, database,
								  wire_load_u32(event->subs + (size_t) i * sizeof(uint32_t)), event,
								  &frames);
	hub_free_frames(&frames);
	return good ? HUB_OK : HUB_BAD;
}

/* The feed has read up to a large transaction, and its position is the last that it sent. */
static HubResult
hub_replay_begin(Database *database, const WireReplayBegin *begin)
{
	Subscription *sub = hub_subscription(database, begin->sub);

	if (sub == NULL || sub->state == SUBSCRIPTION_LAGGING || sub->state == SUBSCRIPTION_WAITING)
		return HUB_OK;
	if (sub->state != SUBSCRIPTION_LIVE)
		return HUB_BAD;
	sub->position = hub_position(database, sub);
	sub->state = SUBSCRIPTION_REPLAYING;
	sub->credit = 0;
	return HUB_OK;
}

static HubResult
hub_replay_done(Database *database, const WireReplayDone *done)
{
	Subscription *sub = hub_subscription(database, done->sub);

	if (sub == NULL || sub->state == SUBSCRIPTION_LAGGING || sub->state == SUBSCRIPTION_WAITING)
		return HUB_OK;
	if (sub->state != SUBSCRIPTION_REPLAYING)
		return HUB_BAD;
	if (!hub_snapshot_replayed(
			sub, (WirePosition){.timeline = database->position.timeline, .id = done->id}))
		return HUB_OK;
	if (done->id > sub->position.id)
		sub->position = (WirePosition){.timeline = database->position.timeline, .id = done->id};
	hub_go_live(sub);
	return HUB_OK;
}

static void
hub_reset(Database *database, const WireReset *reset)
{
	Subscription *sub = hub_subscription(database, reset->sub);
	uint64_t before = FRAME_NO_POSITION;

	if (sub == NULL)
		return;
	if (reset->kind == WIRE_KIND_NOTIFICATIONS)
	{
		hub_note_lost(sub);
		return;
	}
	/*
	 * Sent before the feed received our UNSUBSCRIBE. The new subscription will get the same reset.
	 */
	if (sub->state == SUBSCRIPTION_LAGGING || sub->state == SUBSCRIPTION_WAITING)
		return;
	if (sub->snapshot != NULL)
	{
		sub->position = reset->position;
		hub_restart_snapshot(sub, reset->reason);
		return;
	}
	/*
	 * A client that is closed before it has taken this reset resumes where it was, and gets the
	 * reset again.
	 */
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
	HubClient *client;

	database->link = NULL;
	hub_forget_asked(database);
	hub_forget_tokens(database);
	while ((client = LIST_FIRST(&database->clients)) != NULL)
		session_close(&client->session, SESSION_CLOSE_GOING_AWAY, text);
	groups_end(&database->groups);
	pool_end(&database->pool);
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
	hub->news++;
	hub_visit_outside(hub);
	/* A client may have subscribed before the feed ended. */
	if (!RB_EMPTY(&database->subscriptions) || database->nheld > 0)
		hub_need(hub, database);
}

/*
 * Some clients wait for a newer position, others for renew, and both may change at any time. If one
 * of them has, visit the clients.
 */
static void
hub_check_bookmarks(Database *database)
{
	HubClient *client;
	bool moved = database->bookmarked && database->position.id != database->ticked_id;

	if (moved || database->renew != database->ticked_renew)
	{
		database->bookmarked = false;
		LIST_FOREACH(client, &database->clients, in_database)
		{
			session_attend(&client->session);
		}
		database->ticked_renew = database->renew;
	}
	database->ticked_id = database->position.id;
}

void
hub_tick(Hub *hub)
{
	static const char reason[] = "the database is not served at present";
	uint64_t now = hub->sessions->now();
	Database *database;
	HubClient *client;

	hub_visit_outside(hub);
	LIST_FOREACH(database, &hub->databases, in_hub)
	{
		database->load.slow = 0;
		database->load.queued = 0;
		hub_check_bookmarks(database);
		pool_tick(&database->pool);
		groups_tick(&database->groups, now);
		hub_snapshot_tick(database, now);
		if (database->link != NULL || !database->asleep ||
			(RB_EMPTY(&database->subscriptions) && database->nheld == 0))
			continue;
		hub_need(hub, database);
		if (now - database->needed_since < HUB_WAKE_MS)
			continue;
		/* Accept no clients until there is a feed, or the launcher sends ASLEEP again. */
		database->asleep = false;
		while ((client = LIST_FIRST(&database->clients)) != NULL)
			session_close(&client->session, SESSION_CLOSE_GOING_AWAY, reason);
	}
}

bool
hub_groups_busy(const Hub *hub)
{
	const Database *database;

	LIST_FOREACH(database, &hub->databases, in_hub)
	{
		if (groups_busy(&database->groups))
			return true;
	}
	return false;
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
		case WIRE_SUBSCRIPTION_ENDED:
			hub_subscription_ended(hub, database, &message->u.subscription_ended);
			return HUB_OK;
		case WIRE_MOVED:
			return hub_moved(database, &message->u.moved);
		case WIRE_EVENT:
			hub_event(hub, database, &message->u.event);
			return HUB_OK;
		case WIRE_REPLAY_EVENT:
			return hub_replay_event(hub, database, &message->u.replay_event);
		case WIRE_REPLAY_BEGIN:
			return hub_replay_begin(database, &message->u.replay_begin);
		case WIRE_REPLAY_DONE:
			return hub_replay_done(database, &message->u.replay_done);
		case WIRE_RESET:
			hub_reset(database, &message->u.reset);
			return HUB_OK;
		case WIRE_POSITION:
			if (message->u.position.id > database->position.id)
				database->position.id = message->u.position.id;
			database->renew = message->u.position.renew;
			database->behind_ms = message->u.position.behind_ms;
			database->heard_at = hub->sessions->now();
			return HUB_OK;
		case WIRE_IDENTITY:
			return hub_identity(hub, database, &message->u.identity) ? HUB_OK : HUB_BAD;
		case WIRE_AUTH_REFUSED:
			return hub_auth_refused(hub, database, &message->u.auth_refused) ? HUB_OK : HUB_BAD;
		case WIRE_CHALLENGE:
			return hub_challenge(hub, database, &message->u.challenge) ? HUB_OK : HUB_BAD;
		case WIRE_ISSUED:
			return hub_issued(hub, database, &message->u.issued) ? HUB_OK : HUB_BAD;
		case WIRE_IDENTITY_ENDED:
			hub_identity_ended(database, &message->u.identity_ended);
			return HUB_OK;
		case WIRE_ROUTE_DOWN:
			return hub_routed(hub, database, &message->u.route) ? HUB_OK : HUB_BAD;
		case WIRE_GROUP_READY:
			groups_ready(&database->groups, message->u.group_ready);
			return HUB_OK;
		case WIRE_GOODBYE:
			hub_goodbye(database, message->u.goodbye.reason);
			return HUB_GOODBYE;
		default:
			return HUB_BAD;
	}
}

void
hub_free(Hub *hub)
{
	Database *database;

	free(hub->trouble);
	while ((database = LIST_FIRST(&hub->databases)) != NULL)
	{
		hub_forget_asked(database);
		hub_forget_tokens(database);
		groups_end(&database->groups);
		pool_end(&database->pool);
		LIST_REMOVE(database, in_hub);
		free(database);
	}
}

PoolWorker *
hub_worker(Hub *hub, const WireHello *hello, void *link)
{
	Database *database = hub_find(hub, hello->database.data, hello->database.len);

	return database != NULL ? pool_worker(&database->pool, link) : NULL;
}

void
hub_no_worker(Hub *hub, const WireNoWorker *message)
{
	Database *database = hub_find(hub, message->database.data, message->database.len);

	if (database != NULL)
		pool_no_worker(&database->pool, message->reason);
}
