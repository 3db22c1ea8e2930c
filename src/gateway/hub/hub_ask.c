/*-------------------------------------------------------------------------
 *
 * hub_ask.c
 *	  Databases, their streams, and who has subscribed to them: what the feed is asked for, and in which order.
 *
 * The feed answers each SUBSCRIBE by SUBSCRIBED or REFUSED, in the order in which they came. At
 * most HUB_UNANSWERED of them are under way to a feed; the others wait here, and the sessions that
 * they are of take turns, one SUBSCRIBE each. So whoever asks for a hundred subscriptions, or for
 * one again and again, delays another session's by no more than its own turn, and what waits on a
 * link is bounded. What a client takes back before its turn has come never reaches the feed.
 *
 * A subscription that is taken back while its SUBSCRIBE is under way is ENDED: it keeps its number,
 * which the answer will name, and counts as one of its session's requests without answer. session.c
 * does not read a client that has too many of these.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "gateway/hub/hub_internal.h"

static int
hub_compare_subscriptions(const Subscription *a, const Subscription *b)
{
	return a->number < b->number ? -1 : a->number > b->number;
}

RB_GENERATE(SubscriptionTree, Subscription, in_database, hub_compare_subscriptions)

Subscription *
hub_subscription(Database *database, uint32_t number)
{
	Subscription key = {.number = number & ~HUB_COMPANION};
	Subscription *sub = RB_FIND(SubscriptionTree, &database->subscriptions, &key);

	return sub != NULL && sub->state != SUBSCRIPTION_ENDED ? sub : NULL;
}

void
hub_file(Database *database, Subscription *sub)
{
	do
		sub->number = database->last_number += 2;
	while (sub->number == 0 || RB_INSERT(SubscriptionTree, &database->subscriptions, sub) != NULL);
}

static void
hub_send_subscribe(Hub *hub, Database *database, Subscription *sub)
{
	WireMessage message = {.type = WIRE_SUBSCRIBE};

	message.u.subscribe = (WireSubscribe){
		.sub = sub->number,
		.ops = sub->ops,
		.has_since = sub->has_position,
		.since = sub->position,
		.session = sub->session->number,
		.window = hub_window(sub->session),
		.role = {.data = "", .len = 0},
		.channel = {.data = sub->channel, .len = sub->channel_len},
	};
	hub->send(database->link, &message);
}

/*
 * Take the first subscription of the session whose turn it is; the session's next turn comes after
 * all others'.
 */
static Subscription *
hub_next_asking(Database *database)
{
	Session *session = TAILQ_FIRST(&database->asking);
	Subscription *sub;

	if (session == NULL)
		return NULL;
	sub = TAILQ_FIRST(&session->asking);
	TAILQ_REMOVE(&session->asking, sub, in_asking);
	TAILQ_REMOVE(&database->asking, session, in_asking);
	if (!TAILQ_EMPTY(&session->asking))
		TAILQ_INSERT_TAIL(&database->asking, session, in_asking);
	return sub;
}

static void
hub_take_turns(Hub *hub, Database *database)
{
	Subscription *sub;

	while (database->unanswered < HUB_UNANSWERED && (sub = hub_next_asking(database)) != NULL)
	{
		sub->asking = ASKING_FEED;
		database->unanswered++;
		hub_send_subscribe(hub, database, sub);
	}
}

void
hub_ask(Hub *hub, Database *database, Subscription *sub)
{
	Session *session = sub->session;

	if (database->link == NULL)
	{
		hub_need(hub, database);
		return;
	}
	if (TAILQ_EMPTY(&session->asking))
		TAILQ_INSERT_TAIL(&database->asking, session, in_asking);
	TAILQ_INSERT_TAIL(&session->asking, sub, in_asking);
	sub->asking = ASKING_WAITS;
	session->unanswered++;
	hub_take_turns(hub, database);
}

/* One of the session's requests is answered, or is no longer one. */
static void
hub_count_answer(Session *session)
{
	session->unanswered--;
	/* Perhaps it may be read again. */
	session_schedule(session);
}

/* A subscription that waits for its turn is not asked for after all. */
static void
hub_stop_asking(Database *database, Subscription *sub)
{
	Session *session = sub->session;

	TAILQ_REMOVE(&session->asking, sub, in_asking);
	if (TAILQ_EMPTY(&session->asking))
		TAILQ_REMOVE(&database->asking, session, in_asking);
	sub->asking = ASKING_NOTHING;
	hub_count_answer(session);
}

static void
hub_free_ended(Database *database, Subscription *sub)
{
	RB_REMOVE(SubscriptionTree, &database->subscriptions, sub);
	if (sub->session != NULL)
		LIST_REMOVE(sub, in_session);
	free(sub);
}

bool
hub_answered(Hub *hub, Database *database, uint32_t number)
{
	Subscription key = {.number = number};
	Subscription *sub = RB_FIND(SubscriptionTree, &database->subscriptions, &key);

	if (sub == NULL || sub->asking != ASKING_FEED)
		return false;
	sub->asking = ASKING_NOTHING;
	database->unanswered--;
	if (sub->session != NULL)
		hub_count_answer(sub->session);
	if (sub->state == SUBSCRIPTION_ENDED)
		hub_free_ended(database, sub);
	hub_take_turns(hub, database);
	return true;
}

void
hub_forget_asked(Database *database)
{
	Subscription *sub;
	Subscription *next;

	RB_FOREACH_SAFE (sub, SubscriptionTree, &database->subscriptions, next)
	{
		if (sub->asking == ASKING_WAITS)
			hub_stop_asking(database, sub);
		else if (sub->asking == ASKING_FEED && sub->session != NULL)
			hub_count_answer(sub->session);
		sub->asking = ASKING_NOTHING;
		if (sub->state == SUBSCRIPTION_ENDED)
			hub_free_ended(database, sub);
	}
	database->unanswered = 0;
}

void
hub_drop_subscription(Database *database, Subscription *sub)
{
	Session *session = sub->session;

	LIST_REMOVE(sub, in_session);
	if (sub->asking == ASKING_WAITS)
		hub_stop_asking(database, sub);
	if (sub->asking == ASKING_FEED)
	{
		sub->state = SUBSCRIPTION_ENDED;
		LIST_INSERT_HEAD(&session->ended, sub, in_session);
		return;
	}
	RB_REMOVE(SubscriptionTree, &database->subscriptions, sub);
	free(sub);
}

void
hub_leave_ended(Session *session)
{
	Subscription *sub;

	while ((sub = LIST_FIRST(&session->ended)) != NULL)
	{
		LIST_REMOVE(sub, in_session);
		sub->session = NULL;
		session->unanswered--;
	}
}
