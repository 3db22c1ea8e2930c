/*-------------------------------------------------------------------------
 *
 * hub_client.c
 *	  The clients' side of the hub: their requests, and the functions that their sessions call.
 *
 * A bookmark is a position that is sent to a quiet client. So its position advances with the
 * others', and stays within retention. A client that has the newest position waits until hub_tick()
 * finds a newer one.
 *
 *-------------------------------------------------------------------------
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/hub/hub_internal.h"
#include "gateway/base/memory.h"

/* Credit is returned in pieces of at least this size while more is in use. */
#define HUB_CREDIT_PIECE (WIRE_REPLAY_WINDOW / 8)

_Static_assert(offsetof(Subscription, position) + sizeof(WirePosition) <= MEMORY_LINE,
			   "an event needs one line of a subscription");

typedef bool (*HubSelects)(const Selection *selection, const Selection *wanted);

/* Return a subscription to the request's channel whose selection is as the request has it. */
static Subscription *
hub_client_subscription(const HubClient *client, const Request *request, HubSelects selects)
{
	Subscription *sub;

	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		if (sub->channel_len == request->channel_len && sub->match == request->match &&
			sub->parent == NULL && memcmp(sub->channel, request->channel, sub->channel_len) == 0 &&
			(sub->match != URI_EXACT || selects(sub->selection, request->selection)))
			return sub;
	}
	return NULL;
}

/* The name of the subscription that a request is about. */
static ProtocolName
hub_requested(const Request *request)
{
	ProtocolName name = {.tag = {.data = NULL}};

	name.channel.data = request->channel_len > 0 ? request->channel : NULL;
	name.channel.len = request->channel_len;
	if (request->match == URI_EXACT && request->selection != NULL)
		name.tag = request->selection->tag;
	return name;
}

static void
hub_refuse(HubClient *client, const Request *request, ProtocolReason reason, const char *text)
{
	WireBytes bytes = {.data = text, .len = (uint32_t) strlen(text)};

	hub_send_refusal(client,
					 client->protocol->refusal(request->id, reason, bytes, hub_requested(request)));
}

/* Answer a successful request. */
static void
hub_send_result(HubClient *client, const Request *request, WirePosition position, bool inside)
{
	if (request->id != NULL)
		session_send_own(&client->session,
						 client->protocol->result(request->method, request->id,
												  hub_requested(request), position, inside),
						 FRAME_NO_POSITION);
}

/* Takes over the request's selection, and its id if the answer comes later. */
static void
hub_subscribe(Hub *hub, HubClient *client, Request *request)
{
	Subscription *sub;

	if (hub_client_subscription(client, request, selection_same) != NULL)
	{
		hub_refuse(client, request, PROTOCOL_SUBSCRIBED_ALREADY, "already subscribed");
		return;
	}
	if (request->match != URI_EXACT && client->npatterns >= HUB_MAX_PATTERNS)
	{
		hub_refuse(client, request, PROTOCOL_TOO_MANY_SUBSCRIPTIONS,
				   "too many patterns on one connection");
		return;
	}
	if (client->nsubscriptions >= HUB_MAX_SUBSCRIPTIONS)
	{
		hub_refuse(client, request, PROTOCOL_TOO_MANY_SUBSCRIPTIONS,
				   "too many subscriptions on one connection");
		return;
	}
	if (request->snapshot && client->protocol->rows == NULL)
	{
		hub_refuse(client, request, PROTOCOL_NO_SNAPSHOTS, "there are no snapshots in this format");
		return;
	}
	sub = memory_zeroed_lines(sizeof(Subscription) + request->channel_len);
	sub->client = client;
	sub->variant = (uint8_t) (client->protocol->number * SESSION_KINDS + client->session.kind);
	sub->joint = client->protocol->resume != NULL;
	sub->ops = request->ops;
	sub->asked = true;
	sub->id = request->id;
	request->id = NULL;
	sub->selection = request->selection;
	request->selection = NULL;
	sub->match = request->match;
	if (sub->match != URI_EXACT)
	{
		client->npatterns++;
		sub->ops = WIRE_OP_NOTIFY;
		free(sub->selection);
		sub->selection = hub_pattern_tag(sub->match, request->channel, request->channel_len);
	}
	sub->tagged = sub->selection != NULL && sub->selection->tag.len > 0;
	if (request->snapshot)
		hub_snapshot_new(hub, sub, request);
	sub->resumes = request->has_since;
	sub->resumes_inside = request->has_since && request->since_inside;
	sub->has_position = request->has_since && !request->since_inside;
	sub->position = request->since;
	sub->channel_len = request->channel_len;
	memcpy(sub->channel, request->channel, request->channel_len);
	LIST_INSERT_HEAD(&client->subscriptions, sub, in_client);
	client->nsubscriptions++;
	hub->sessions->stats.subscriptions++;
	hub_file(client->database, sub);
	hub_ask(hub, client->database, sub);
}

/* End all subscriptions to the channel that the request's selection matches. */
static void
hub_unsubscribe(Hub *hub, HubClient *client, const Request *request)
{
	static const char cancelled[] = "unsubscribed before the subscription began";
	Subscription *sub = hub_client_subscription(client, request, selection_matches);

	if (sub == NULL)
	{
		hub_refuse(client, request, PROTOCOL_NOT_SUBSCRIBED, "not subscribed");
		return;
	}
	for (; sub != NULL; sub = hub_client_subscription(client, request, selection_matches))
	{
		hub_withdraw(hub, client->database, sub);
		if (sub->asked && !client->protocol->refusals_end)
			hub_end(hub, sub, PROTOCOL_CANCELLED,
					(WireBytes){.data = cancelled, .len = sizeof(cancelled) - 1});
		else
			hub_free_subscription(hub, sub);
		/* The refusal may have closed the session, which ends its subscriptions. */
		if (client->session.state != SESSION_OPEN)
			return;
	}
	hub_send_result(client, request, (WirePosition){0}, false);
	/* Another subscription may have waited for this one to end. */
	session_schedule(&client->session);
}

void
hub_drop(HubClient *client, Subscription *sub)
{
	Hub *hub = client->session.sessions->owner;

	hub_withdraw(hub, client->database, sub);
	hub_free_subscription(hub, sub);
	/* Another subscription may have waited for this one to end. */
	session_schedule(&client->session);
}

WirePosition
hub_client_position(const HubClient *client)
{
	WirePosition smallest =
		client->database != NULL ? client->database->position : (WirePosition){0};
	bool found = false;
	Subscription *sub;

	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		WirePosition position = hub_position(client->database, sub);

		if (sub->has_position && (!found || position.id < smallest.id))
		{
			smallest = position;
			found = true;
		}
	}
	return smallest;
}

bool
hub_client_live(const HubClient *client)
{
	Subscription *sub;

	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		if (sub->state != SUBSCRIPTION_LIVE || hub_snapshot_is_unfinished(sub))
			return false;
	}
	return client->database->link != NULL;
}

/* Return true if a snapshot of the client is not complete, so that it can resume from no position. */
static bool
hub_client_inside(const HubClient *client)
{
	const Subscription *sub;

	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		if (hub_snapshot_is_unfinished(sub))
			return true;
	}
	return false;
}

/* Inside a snapshot it is 0, which is before all that are kept. */
static WirePosition
hub_position_of(const Session *session)
{
	const HubClient *client = (const HubClient *) session;
	WirePosition position = hub_client_position(client);

	if (hub_client_inside(client))
		position.id = 0;
	return position;
}

static void
hub_ping(HubClient *client, const Request *request)
{
	WirePosition position = hub_client_position(client);
	bool inside = hub_client_inside(client);

	if (request->id != NULL && !inside && client->session.announced < position.id)
		client->session.announced = position.id;
	hub_send_result(client, request, position, inside);
}

/*
 * Takes request->id over. The subscriptions of an anonymous client were decided for another role,
 * so it may not become somebody else while it has some.
 */
static void
hub_auth(Hub *hub, HubClient *client, Request *request)
{
	if (client->identity.state == IDENTITY_ANONYMOUS && client->nsubscriptions > 0)
	{
		hub_refuse(client, request, PROTOCOL_NOT_AUTHENTICATED,
				   "the connection has subscriptions without a token; send the token before the "
				   "first of them");
		return;
	}
	if (client->from != NULL && hub->token_allowed != NULL &&
		!hub->token_allowed(client->from->key))
	{
		hub_refuse(client, request, PROTOCOL_TOO_MANY_TOKENS,
				   "too many tokens from this address were refused; try again later");
		return;
	}
	hub_offer(hub, client, request->token, strlen(request->token), true, request->id);
	request->id = NULL;
}

void
hub_request(HubClient *client, Request *request)
{
	Hub *hub = client->session.sessions->owner;

	if (client->identity.state == IDENTITY_MISSING && client->identity.offer == NULL &&
		request->method != REQUEST_AUTH)
	{
		hub_refuse(client, request, PROTOCOL_NOT_AUTHENTICATED,
				   "not authenticated; send a token with \"auth\" first");
		return;
	}
	switch (request->method)
	{
		case REQUEST_SUBSCRIBE:
			hub_subscribe(hub, client, request);
			break;
		case REQUEST_UNSUBSCRIBE:
			hub_unsubscribe(hub, client, request);
			break;
		case REQUEST_PING:
			hub_ping(client, request);
			break;
		case REQUEST_AUTH:
			hub_auth(hub, client, request);
			break;
		case REQUEST_CONSUME:
			if (client->protocol->delivery == NULL)
				hub_refuse(client, request, PROTOCOL_NO_SNAPSHOTS,
						   "clients that get payloads cannot consume groups");
			else if (!hub_consume(client, request))
				hub_refuse(client, request, PROTOCOL_TOO_MANY_SUBSCRIPTIONS,
						   "too many groups are consumed on one connection");
			break;
		case REQUEST_CALL:
		case REQUEST_SEND:
		case REQUEST_ACK:
		case REQUEST_NACK:
			hub_query(client, request);
			break;
	}
}

static void
hub_on_message(Session *session, const char *text, size_t len)
{
	HubClient *client = (HubClient *) session;
	Request request;
	Frame *answer;

	if (client->protocol->hooks != NULL)
	{
		client->protocol->hooks->message(client, text, len);
		return;
	}
	if (!client->protocol->parse(text, len, &request, &answer))
	{
		hub_send_refusal(client, answer);
		return;
	}
	hub_request(client, &request);
	request_free(&request);
}

HubClient *
hub_open(Hub *hub, Database *database, SessionKind kind, const Protocol *protocol,
		 const char *address, bool anonymous, void *io)
{
	HubClient *client =
		(HubClient *) session_open(hub->sessions, kind, sizeof(HubClient), address, anonymous, io);

	client->database = database;
	client->outside = database == NULL && protocol->hooks != NULL;
	client->protocol = protocol;
	client->session.encode = protocol->encode;
	client->subprotocol = "";
	identity_start(&client->identity, anonymous, client->session.alive_at);
	LIST_INIT(&client->subscriptions);
	LIST_INIT(&client->ended);
	TAILQ_INIT(&client->asking);
	pool_client_init(&client->queries);
	LIST_INIT(&client->asked_queries);
	STAILQ_INIT(&client->answers);
	LIST_INIT(&client->consumers);
	if (database != NULL)
	{
		LIST_INSERT_HEAD(&database->clients, client, in_database);
		database->load.clients++;
	}
	else if (client->outside)
		LIST_INSERT_HEAD(&hub->outside, client, in_database);
	return client;
}

void
hub_enter(HubClient *client, Database *database, bool anonymous)
{
	const Hub *hub = client->session.sessions->owner;

	LIST_REMOVE(client, in_database);
	client->outside = false;
	client->database = database;
	LIST_INSERT_HEAD(&database->clients, client, in_database);
	database->load.clients++;
	hub_add_member(client);
	client->session.anonymous = anonymous;
	identity_start(&client->identity, anonymous, hub->sessions->now());
	session_attend(&client->session);
}

/* End the client's subscriptions. */
static void
hub_on_left(Session *session)
{
	Hub *hub = session->sessions->owner;
	HubClient *client = (HubClient *) session;
	Subscription *sub;

	if (client->protocol->hooks != NULL)
		client->protocol->hooks->left(client);
	while ((sub = LIST_FIRST(&client->subscriptions)) != NULL)
	{
		hub_withdraw(hub, client->database, sub);
		hub_free_subscription(hub, sub);
	}
	hub_leave_ended(client);
	hub_leave_queries(client);
	hub_leave_consumers(client);
	hub_leave_identity(hub, client);
	if (client->database != NULL || client->outside)
		LIST_REMOVE(client, in_database);
	if (client->database != NULL && client->protocol->hooks != NULL)
		hub_remove_member(client);
	if (client->database != NULL)
		client->database->load.clients--;
	client->database = NULL;
	client->outside = false;
}

/*
 * Return the lagging subscription with the lowest position if there is room for another replay.
 * Sets *lagging if there are any.
 */
static Subscription *
hub_next_lagging(const HubClient *client, bool *lagging)
{
	uint64_t room = session_room(&client->session) / 3 * 2 / WIRE_REPLAY_WINDOW;
	uint64_t replaying = 0;
	Subscription *furthest = NULL;
	Subscription *sub;

	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		if (sub->state == SUBSCRIPTION_WAITING || sub->state == SUBSCRIPTION_REPLAYING)
			replaying++;
		if (sub->state == SUBSCRIPTION_LAGGING && sub->asking != ASKING_FEED &&
			!hub_snapshot_waits(sub) &&
			(furthest == NULL || sub->position.id < furthest->position.id))
			furthest = sub;
	}
	*lagging = furthest != NULL;
	return replaying == 0 || replaying < room ? furthest : NULL;
}

/*
 * Report lost notifications, and subscribe again for as many lagging subscriptions as there is room
 * for.
 */
static void
hub_catch_up(Hub *hub, HubClient *client)
{
	static const char reason[] = "notifications were lost";
	Subscription *sub;
	bool lagging;

	while ((sub = hub_next_lagging(client, &lagging)) != NULL)
	{
		sub->state = SUBSCRIPTION_WAITING;
		if (sub->asking == ASKING_NOTHING)
			hub_ask(hub, client->database, sub);
	}
	/* Answers and rows may wait for room, too. */
	client->session.owed |= lagging;
	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		if (!sub->lost)
			continue;
		sub->lost = false;
		if (sub->snapshot != NULL)
		{
			hub_restart_snapshot(sub, (WireBytes){.data = reason, .len = sizeof(reason) - 1});
			if (client->session.state != SESSION_OPEN)
				return;
			continue;
		}
		sub->position = hub_position(client->database, sub);
		hub_send_reset(sub, (WireBytes){.data = reason, .len = sizeof(reason) - 1},
					   sub->position.id);
		if (client->session.state != SESSION_OPEN)
			return;
	}
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
hub_return_credit(Hub *hub, Subscription *sub, uint32_t bytes)
{
	sub->credit += bytes;
	if (sub->credit >= HUB_CREDIT_PIECE)
		hub_give_credit(hub, sub->client->database, sub);
	else
	{
		sub->client->session.owed = true;
		session_schedule(&sub->client->session);
	}
}

static void
hub_on_written(Session *session, uint32_t number, uint32_t bytes)
{
	Hub *hub = session->sessions->owner;
	HubClient *client = (HubClient *) session;
	Subscription *sub =
		client->database != NULL ? hub_subscription(client->database, number) : NULL;

	if (sub != NULL && sub->client == client && hub_snapshot_credit(sub, bytes))
		return;
	/* The credit is useless if the replay is over or its link was lost. */
	if (sub == NULL || sub->client != client || sub->state != SUBSCRIPTION_REPLAYING)
		return;
	hub_return_credit(hub, sub, bytes);
}

static void
hub_flush_credit(Hub *hub, HubClient *client)
{
	Subscription *sub;

	if (client->database == NULL || client->database->link == NULL)
		return;
	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		if (sub->credit > 0 && sub->state == SUBSCRIPTION_REPLAYING)
			hub_give_credit(hub, client->database, sub);
	}
}

/* Flushing one may close the session, which frees all of them. */
static void
hub_flush_snapshots(HubClient *client)
{
	Subscription *sub;

	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		if (sub->snapshot == NULL)
			continue;
		hub_flush_snapshot(sub);
		if (client->session.state != SESSION_OPEN)
			return;
	}
}

static void
hub_on_drained(Session *session)
{
	Hub *hub = session->sessions->owner;

	if (session->state != SESSION_OPEN)
		return;
	hub_flush_credit(hub, (HubClient *) session);
	hub_flush_answers((HubClient *) session);
	if (session->state == SESSION_OPEN)
		hub_flush_snapshots((HubClient *) session);
	if (session->state != SESSION_OPEN)
		return;
	hub_flush_consumers((HubClient *) session);
	hub_catch_up(hub, (HubClient *) session);
}

/* Return true if it is time for a bookmark, in case there is a newer position. */
static bool
hub_bookmark_due(const HubClient *client, uint64_t now)
{
	return client->nsubscriptions > 0 && client->protocol->position != NULL &&
		   (now - client->session.sent_at >= HUB_BOOKMARK_MS ||
			client->session.announced < client->database->renew);
}

static uint64_t
hub_bookmark_at(HubClient *client, uint64_t now)
{
	Session *session = &client->session;

	if (client->protocol->position == NULL)
		return UINT64_MAX;
	if (!hub_bookmark_due(client, now))
		return client->nsubscriptions > 0 ? session->sent_at + HUB_BOOKMARK_MS
										  : now + HUB_BOOKMARK_MS;
	if (!hub_client_live(client) || hub_client_position(client).id > session->announced)
		return now;
	client->database->bookmarked = true;
	return UINT64_MAX;
}

static uint64_t
hub_due(Session *session, uint64_t now)
{
	HubClient *client = (HubClient *) session;
	uint64_t bookmark = hub_bookmark_at(client, now);
	uint64_t deadline = client->outside ? UINT64_MAX : hub_identity_deadline(client);

	return bookmark < deadline ? bookmark : deadline;
}

static void
hub_send_bookmark(HubClient *client, uint64_t now)
{
	Session *session = &client->session;
	WirePosition position;

	if (!hub_bookmark_due(client, now) || !hub_client_live(client))
		return;
	position = hub_client_position(client);
	if (position.id <= session->announced)
		return;
	session->announced = position.id;
	session_send_own(session,
					 hub_place(client, NULL, position, false, client->protocol->position(position)),
					 FRAME_NO_POSITION);
}

/* A session whose queue is not empty is visited in each tick. */
static void
hub_on_tick(Session *session, uint64_t now)
{
	HubClient *client = (HubClient *) session;
	WireLoad *load;

	/* Then hub_tick() sees to it. */
	if (client->database == NULL)
		return;
	load = &client->database->load;
	load->queued += session->queue.bytes;
	load->slow += session_queued_ms(session, now) >= SESSION_SLOW_MS;
	if (now >= hub_identity_deadline(client))
		hub_identity_due(client);
	else
		hub_send_bookmark(client, now);
}

static Frame *
hub_farewell(Session *session, uint16_t code, const char *reason)
{
	HubClient *client = (HubClient *) session;
	const ProtocolHooks *hooks = client->protocol->hooks;

	return hooks != NULL ? hooks->farewell(client, code, reason) : NULL;
}

const SessionEvents hub_session_events = {
	.message = hub_on_message,
	.written = hub_on_written,
	.drained = hub_on_drained,
	.position = hub_position_of,
	.due = hub_due,
	.tick = hub_on_tick,
	.left = hub_on_left,
	.farewell = hub_farewell,
};
