/*-------------------------------------------------------------------------
 *
 * hub_client.c
 *	  Databases, their streams, and who has subscribed to them: the clients' side.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "gateway/hub/hub_internal.h"
#include "gateway/base/memory.h"

/* Credit is given back in pieces of at least this size while more is under way. */
#define HUB_CREDIT_PIECE (WIRE_REPLAY_WINDOW / 8)

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
		return hub_reject(error, PROTOCOL_LIMIT_EXCEEDED,
						  "too many subscriptions on one connection", request);

	sub = memory_zeroed_lines(sizeof(Subscription) + request->channel_len);
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
	hub_withdraw(hub, session->database, sub);
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

void
hub_leave(Hub *hub, Session *session)
{
	Subscription *sub;

	if (session->database == NULL)
		return;
	while ((sub = LIST_FIRST(&session->subscriptions)) != NULL)
	{
		hub_withdraw(hub, session->database, sub);
		hub_free_subscription(hub, sub);
	}
	hub_leave_ended(session);
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

uint32_t
hub_window(const Session *session)
{
	size_t room = session_room(session) / 2;

	return room < WIRE_REPLAY_WINDOW ? (uint32_t) room : WIRE_REPLAY_WINDOW;
}

/*
 * The lagging subscription that is furthest behind, if there is room for another replay; *lagging:
 * there are some.
 */
static Subscription *
hub_next_lagging(const Session *session, bool *lagging)
{
	uint64_t room = session_room(session) / 3 * 2 / WIRE_REPLAY_WINDOW;
	uint64_t replaying = 0;
	Subscription *furthest = NULL;
	Subscription *sub;

	LIST_FOREACH(sub, &session->subscriptions, in_session)
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

void
hub_catch_up(Hub *hub, Session *session)
{
	static const char reason[] = "notifications were lost";
	Subscription *sub;

	while ((sub = hub_next_lagging(session, &session->behind)) != NULL)
	{
		sub->state = SUBSCRIPTION_WAITING;
		hub_ask(hub, session->database, sub);
	}
	LIST_FOREACH(sub, &session->subscriptions, in_session)
	{
		if (!sub->lost)
			continue;
		sub->lost = false;
		sub->position = hub_position(session->database, sub);
		hub_send_reset(sub, (WireBytes){.data = reason, .len = sizeof(reason) - 1},
					   sub->position.id);
		if (session->state != SESSION_OPEN)
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
hub_credit(Hub *hub, Session *session, uint32_t number, uint32_t bytes)
{
	Subscription *sub =
		session->database != NULL ? hub_subscription(session->database, number) : NULL;

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
