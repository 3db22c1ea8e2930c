/*-------------------------------------------------------------------------
 *
 * hub_client.c
 *	  The clients' side of the hub: their requests, and what their sessions ask it.
 *
 * A bookmark is a position that a quiet client is sent: its position moves on with everybody's, so
 * that it stays within what is retained. A client that knows of the newest position waits until
 * hub_tick() finds a newer one.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "gateway/hub/hub_internal.h"
#include "gateway/base/memory.h"

/* Credit is given back in pieces of at least this size while more is under way. */
#define HUB_CREDIT_PIECE (WIRE_REPLAY_WINDOW / 8)

static Subscription *
hub_client_subscription(const HubClient *client, const Request *request)
{
	Subscription *sub;

	LIST_FOREACH(sub, &client->subscriptions, in_client)
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

/* True: it has taken request->id over. */
static bool
hub_subscribe(Hub *hub, HubClient *client, Request *request, ProtocolError *error)
{
	Subscription *sub;

	if (hub_client_subscription(client, request) != NULL)
		return hub_reject(error, PROTOCOL_INVALID_PARAMS, "already subscribed", request);
	if (client->nsubscriptions >= HUB_MAX_SUBSCRIPTIONS)
		return hub_reject(error, PROTOCOL_LIMIT_EXCEEDED,
						  "too many subscriptions on one connection", request);

	sub = memory_zeroed_lines(sizeof(Subscription) + request->channel_len);
	sub->client = client;
	sub->ops = request->ops;
	sub->asked = true;
	sub->id = request->id;
	request->id.json = NULL;
	sub->has_position = request->has_since;
	sub->position = request->since;
	sub->channel_len = request->channel_len;
	memcpy(sub->channel, request->channel, request->channel_len);
	LIST_INSERT_HEAD(&client->subscriptions, sub, in_client);
	client->nsubscriptions++;
	hub->sessions->stats.subscriptions++;
	hub_file(client->database, sub);
	hub_ask(hub, client->database, sub);
	return true;
}

static bool
hub_unsubscribe(Hub *hub, HubClient *client, const Request *request, ProtocolError *error)
{
	static const char cancelled[] = "unsubscribed before the subscription began";
	Session *session = &client->session;
	Subscription *sub = hub_client_subscription(client, request);

	if (sub == NULL)
		return hub_reject(error, PROTOCOL_INVALID_PARAMS, "not subscribed", request);
	hub_withdraw(hub, client->database, sub);
	if (sub->asked)
		hub_end(hub, sub, PROTOCOL_INTERNAL_ERROR,
				(WireBytes){.data = cancelled, .len = sizeof(cancelled) - 1});
	else
		hub_free_subscription(hub, sub);
	if (!request->id.absent)
		session_send_own(
			session,
			protocol_result(&request->id, json_pack("{s:s%}", "channel", request->channel,
													(size_t) request->channel_len)),
			FRAME_NO_POSITION);
	/* Another one may have waited for its end. */
	session_schedule(session);
	return true;
}

WirePosition
hub_client_position(const HubClient *client)
{
	WirePosition smallest = client->database->position;
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
		if (sub->state != SUBSCRIPTION_LIVE)
			return false;
	}
	return client->database->link != NULL;
}

static void
hub_ping(HubClient *client, const RequestId *id)
{
	WirePosition position = hub_client_position(client);
	Session *session = &client->session;

	if (id->absent)
		return;
	if (session->told < position.id)
		session->told = position.id;
	session_send_own(
		session, protocol_result(id, json_pack("{s:o}", "position", protocol_position(position))),
		FRAME_NO_POSITION);
}

static void
hub_on_message(Session *session, const char *text, size_t len)
{
	Hub *hub = session->sessions->owner;
	HubClient *client = (HubClient *) session;
	Request request;
	ProtocolError error;
	bool ok = protocol_parse(text, len, &request, &error);

	if (ok && request.method == REQUEST_SUBSCRIBE)
		ok = hub_subscribe(hub, client, &request, &error);
	else if (ok && request.method == REQUEST_UNSUBSCRIBE)
		ok = hub_unsubscribe(hub, client, &request, &error);
	else if (ok)
		hub_ping(client, &request.id);
	if (!ok)
		session_send_own(session, protocol_failure(&request.id, &error), FRAME_NO_POSITION);
	protocol_release(&request.id);
}

HubClient *
hub_open(Hub *hub, Database *database, const char *address, bool anonymous, void *io)
{
	HubClient *client =
		(HubClient *) session_open(hub->sessions, sizeof(HubClient), address, anonymous, io);

	client->database = database;
	LIST_INIT(&client->subscriptions);
	LIST_INIT(&client->ended);
	TAILQ_INIT(&client->asking);
	LIST_INSERT_HEAD(&database->clients, client, in_database);
	return client;
}

/* End its subscriptions. */
static void
hub_on_left(Session *session)
{
	Hub *hub = session->sessions->owner;
	HubClient *client = (HubClient *) session;
	Subscription *sub;

	while ((sub = LIST_FIRST(&client->subscriptions)) != NULL)
	{
		hub_withdraw(hub, client->database, sub);
		hub_free_subscription(hub, sub);
	}
	hub_leave_ended(client);
	LIST_REMOVE(client, in_database);
	client->database = NULL;
}

/*
 * The lagging subscription that is furthest behind, if there is room for another replay; *lagging:
 * there are some.
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
		if (sub->state == SUBSCRIPTION_LAGGING &&
			(furthest == NULL || sub->position.id < furthest->position.id))
			furthest = sub;
	}
	*lagging = furthest != NULL;
	return replaying == 0 || replaying < room ? furthest : NULL;
}

/* Tell of lost notifications, and make lagging subscriptions anew, as many as it has room for. */
static void
hub_catch_up(Hub *hub, HubClient *client)
{
	static const char reason[] = "notifications were lost";
	Subscription *sub;

	while ((sub = hub_next_lagging(client, &client->session.owed)) != NULL)
	{
		sub->state = SUBSCRIPTION_WAITING;
		hub_ask(hub, client->database, sub);
	}
	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		if (!sub->lost)
			continue;
		sub->lost = false;
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

static void
hub_on_written(Session *session, uint32_t number, uint32_t bytes)
{
	Hub *hub = session->sessions->owner;
	HubClient *client = (HubClient *) session;
	Subscription *sub =
		client->database != NULL ? hub_subscription(client->database, number) : NULL;

	/* Credit is of no use any more once the replay is over or its link is lost. */
	if (sub == NULL || sub->client != client || sub->state != SUBSCRIPTION_REPLAYING)
		return;
	sub->credit += bytes;
	if (sub->credit >= HUB_CREDIT_PIECE)
		hub_give_credit(hub, client->database, sub);
	else
		session->owed = true;
}

static void
hub_flush_credit(Hub *hub, HubClient *client)
{
	Subscription *sub;

	if (client->database->link == NULL)
		return;
	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		if (sub->credit > 0 && sub->state == SUBSCRIPTION_REPLAYING)
			hub_give_credit(hub, client->database, sub);
	}
}

static void
hub_on_drained(Session *session)
{
	Hub *hub = session->sessions->owner;

	if (session->state != SESSION_OPEN)
		return;
	hub_flush_credit(hub, (HubClient *) session);
	hub_catch_up(hub, (HubClient *) session);
}

static WirePosition
hub_position_of(const Session *session)
{
	return hub_client_position((const HubClient *) session);
}

/* Is it time for a bookmark, if there is anything new to be told? */
static bool
hub_bookmark_due(const HubClient *client, uint64_t now)
{
	return client->nsubscriptions > 0 && (now - client->session.sent_at >= HUB_BOOKMARK_MS ||
										  client->session.told < client->database->renew);
}

static uint64_t
hub_due(Session *session, uint64_t now)
{
	HubClient *client = (HubClient *) session;

	if (!hub_bookmark_due(client, now))
		return client->nsubscriptions > 0 ? session->sent_at + HUB_BOOKMARK_MS
										  : now + HUB_BOOKMARK_MS;
	if (!hub_client_live(client) || hub_client_position(client).id > session->told)
		return now;
	client->database->bookmarked = true;
	return UINT64_MAX;
}

static void
hub_send_bookmark(Session *session, uint64_t now)
{
	HubClient *client = (HubClient *) session;
	WirePosition position;

	if (!hub_bookmark_due(client, now) || !hub_client_live(client))
		return;
	position = hub_client_position(client);
	if (position.id <= session->told)
		return;
	session->told = position.id;
	session_send_own(session,
					 protocol_notification(
						 "position", json_pack("{s:o}", "position", protocol_position(position))),
					 FRAME_NO_POSITION);
}

const SessionEvents hub_session_events = {
	.message = hub_on_message,
	.written = hub_on_written,
	.drained = hub_on_drained,
	.position = hub_position_of,
	.due = hub_due,
	.tick = hub_send_bookmark,
	.left = hub_on_left,
};
