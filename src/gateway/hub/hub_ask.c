/*-------------------------------------------------------------------------
 *
 * hub_ask.c
 *	  Sends SUBSCRIBE and UNSUBSCRIBE to the feed.
 *
 * The feed answers each SUBSCRIBE with SUBSCRIBED or REFUSED, in order. At most HUB_UNANSWERED of
 * them are sent to a feed without an answer. The others wait here, and their clients take turns
 * with one SUBSCRIBE each. So a client that requests a hundred subscriptions, or one again and
 * again, delays another client's only by its own turn, and what waits on a link is bounded. A
 * subscription that its client drops before its turn never reaches the feed.
 *
 * A subscription that is dropped while its SUBSCRIBE is being processed is ENDED: it keeps its
 * number, which the answer will contain, and counts as one of its client's unanswered requests.
 * session.c does not read a client that has too many of these.
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
	Subscription key = {.number = number};
	Subscription *sub = RB_FIND(SubscriptionTree, &database->subscriptions, &key);

	return sub != NULL && sub->state != SUBSCRIPTION_ENDED ? sub : NULL;
}

void
hub_file(Database *database, Subscription *sub)
{
	do
		sub->number = ++database->last_number;
	while (sub->number == 0 || RB_INSERT(SubscriptionTree, &database->subscriptions, sub) != NULL);
}

/*
 * Return the replay credit for the client's subscriptions: two replays never fill its session's
 * room.
 */
uint32_t
hub_window(const HubClient *client)
{
	size_t room = session_room(&client->session) / 2;

	return room < WIRE_REPLAY_WINDOW ? (uint32_t) room : WIRE_REPLAY_WINDOW;
}

static void
hub_send_subscribe(Hub *hub, Database *database, Subscription *sub)
{
	WireMessage message = {.type = WIRE_SUBSCRIBE};

	message.u.subscribe = (WireSubscribe){
		.sub = sub->number,
		.kinds = (sub->state != SUBSCRIPTION_LAGGING ? WIRE_KIND_EVENTS : 0) |
				 ((sub->ops & WIRE_OP_NOTIFY) != 0 ? WIRE_KIND_NOTIFICATIONS : 0),
		.ops = sub->ops & (uint8_t) ~WIRE_OP_NOTIFY,
		.has_since = !sub->has_position ? 0
					 : sub->fresh       ? WIRE_SINCE_NEW
										: 1,
		.since = sub->position,
		.session = sub->client->session.number,
		.window = hub_window(sub->client),
		.identity = sub->client->identity.number,
		.channel = {.data = sub->channel, .len = sub->channel_len},
		.hold = hub_snapshot_holds(sub),
		.subscriber = sub->parent == NULL ? sub->client->number : 0,
	};
	if (sub->selection != NULL)
	{
		message.u.subscribe.filter = sub->selection->filter;
		message.u.subscribe.has_columns = sub->selection->has_columns;
		message.u.subscribe.columns = sub->selection->columns;
	}
	if (sub->match != URI_EXACT)
	{
		message.u.subscribe.kinds = WIRE_KIND_NOTIFICATIONS;
		message.u.subscribe.match = sub->match;
	}
	hub->send(database->link, &message);
}

/*
 * Take the first subscription of the client whose turn it is. The client's next turn is after all
 * others.
 */
static Subscription *
hub_next_asking(Database *database)
{
	HubClient *client = TAILQ_FIRST(&database->asking);
	Subscription *sub;

	if (client == NULL)
		return NULL;
	sub = TAILQ_FIRST(&client->asking);
	TAILQ_REMOVE(&client->asking, sub, in_asking);
	TAILQ_REMOVE(&database->asking, client, in_asking);
	if (!TAILQ_EMPTY(&client->asking))
		TAILQ_INSERT_TAIL(&database->asking, client, in_asking);
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
	HubClient *client = sub->client;

	if (database->link == NULL)
	{
		hub_need(hub, database);
		return;
	}
	/* Then hub_identity() will. */
	if (identity_waits(&client->identity) || client->identity.state == IDENTITY_MISSING)
		return;
	if (TAILQ_EMPTY(&client->asking))
		TAILQ_INSERT_TAIL(&database->asking, client, in_asking);
	TAILQ_INSERT_TAIL(&client->asking, sub, in_asking);
	sub->asking = ASKING_WAITS;
	client->session.unanswered++;
	hub_take_turns(hub, database);
}

/* One of the client's requests was answered or dropped. */
static void
hub_count_answer(HubClient *client)
{
	client->session.unanswered--;
	/* The client may be read again. */
	session_schedule(&client->session);
}

/* Remove a subscription that waits for its turn. */
static void
hub_stop_asking(Database *database, Subscription *sub)
{
	HubClient *client = sub->client;

	TAILQ_REMOVE(&client->asking, sub, in_asking);
	if (TAILQ_EMPTY(&client->asking))
		TAILQ_REMOVE(&database->asking, client, in_asking);
	sub->asking = ASKING_NOTHING;
	hub_count_answer(client);
}

static void
hub_release(Database *database, Subscription *sub)
{
	RB_REMOVE(SubscriptionTree, &database->subscriptions, sub);
	free(sub->selection);
	free(sub);
}

static void
hub_free_ended(Database *database, Subscription *sub)
{
	if (sub->client != NULL)
		LIST_REMOVE(sub, in_client);
	hub_release(database, sub);
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
	if (sub->client != NULL)
		hub_count_answer(sub->client);
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
		else if (sub->asking == ASKING_FEED && sub->client != NULL)
			hub_count_answer(sub->client);
		sub->asking = ASKING_NOTHING;
		if (sub->state == SUBSCRIPTION_ENDED)
			hub_free_ended(database, sub);
	}
	database->unanswered = 0;
}

void
hub_drop_subscription(Database *database, Subscription *sub)
{
	HubClient *client = sub->client;

	hub_snapshot_free(sub);
	LIST_REMOVE(sub, in_client);
	if (sub->asking == ASKING_WAITS)
		hub_stop_asking(database, sub);
	if (sub->asking == ASKING_FEED)
	{
		sub->state = SUBSCRIPTION_ENDED;
		LIST_INSERT_HEAD(&client->ended, sub, in_client);
		return;
	}
	hub_release(database, sub);
}

void
hub_leave_ended(HubClient *client)
{
	Subscription *sub;

	while ((sub = LIST_FIRST(&client->ended)) != NULL)
	{
		LIST_REMOVE(sub, in_client);
		sub->client = NULL;
		client->session.unanswered--;
	}
}
