/*
 * Slow clients at random: a feed with a log, and clients that read at changing speeds. What each
 * client gets is compared with the log: every event once and in order, no position ahead of it, no
 * notification lost without a reset, and never more queued than allowed. The steps depend only on
 * the seed.
 */
#include "play.h"

#define SEEDS    150
#define STEPS    4000
#define CLIENTS  3
#define CHANNELS 3
#define EVENTS   4000 /* maximum */
#define BUFFER   4000
#define LARGEST  5000 /* more than that */

typedef struct FeedSub
{
	uint32_t number; /* 0: unused */
	int channel;
	uint8_t ops;
	bool replaying;
	uint64_t after;
	int64_t credit;
} FeedSub;

typedef struct FromGateway
{
	WireType type;
	uint32_t sub;
	uint32_t bytes;
	uint8_t kinds;
	uint8_t ops;
	bool has_since;
	uint64_t since;
	int channel;
} FromGateway;

/* The feed: event i has id i, stream and channel are the same. */
static struct
{
	int channel[EVENTS + 1];
	uint64_t committed;
	uint64_t live; /* live subscriptions were sent everything up to here */
	uint64_t notified;
	FeedSub subs[64];
	FromGateway inbox[4096];
	size_t first;
	size_t count;
	Database *database;
} feed;

typedef struct ClientChannel
{
	bool subscribed; /* as the client knows */
	bool asked;
	uint64_t last;
} ClientChannel;

static struct Client
{
	PlayPipe pipe;
	ClientChannel channel[CHANNELS];
	uint64_t notified; /* all on channel 0 */
	bool listening;
	bool told;             /* a reset was sent for lost ones since */
	bool none[EVENTS + 1]; /* it had no live subscription when this one was sent */
	bool pinged;
	uint64_t received;
} client[CLIENTS];

static uint32_t seed;
static uint32_t random_state;
static uint64_t lagged;
static uint64_t resets;

static uint32_t
chance(uint32_t n)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (random_state >> 8) % n;
}

#define CHECK(condition)                                                                           \
	do                                                                                             \
	{                                                                                              \
		if (!(condition))                                                                          \
			fail_msg("seed %u: %s", seed, #condition);                                             \
	} while (0)

/* ---------------- the feed ---------------- */

static void
feed_from_gateway(void *link, const WireMessage *message)
{
	FromGateway *in = &feed.inbox[feed.count++];

	(void) link;
	CHECK(feed.count < UNIT_COUNT(feed.inbox));
	*in = (FromGateway){.type = message->type};
	if (message->type == WIRE_SUBSCRIBE)
	{
		const WireSubscribe *subscribe = &message->u.subscribe;

		in->sub = subscribe->sub;
		in->ops = subscribe->ops;
		if ((subscribe->kinds & WIRE_KIND_NOTIFICATIONS) != 0)
			in->ops |= WIRE_OP_NOTIFY;
		in->bytes = subscribe->window;
		in->kinds = subscribe->kinds;
		in->has_since = subscribe->has_since != 0;
		in->since = subscribe->since.id;
		in->channel = subscribe->channel.data[0] - '0';
	}
	else if (message->type == WIRE_UNSUBSCRIBE)
	{
		in->sub = message->u.unsubscribe.sub;
		in->kinds = message->u.unsubscribe.kinds;
		lagged++;
	}
	else
	{
		in->sub = message->u.credit.sub;
		in->bytes = message->u.credit.bytes;
	}
}

static FeedSub *
feed_sub(uint32_t number)
{
	for (size_t i = 0; i < UNIT_COUNT(feed.subs); i++)
		if (feed.subs[i].number == number)
			return &feed.subs[i];
	return NULL;
}

static void
feed_subscribe(const FromGateway *in)
{
	FeedSub *sub = feed_sub(in->sub);

	/* It replaces the rest of a subscription that lags. */
	CHECK(sub == NULL || sub->ops == WIRE_OP_NOTIFY);
	if (sub == NULL)
		sub = feed_sub(0);
	CHECK(sub != NULL);
	*sub = (FeedSub){.number = in->sub,
					 .channel = in->channel,
					 .ops = (in->kinds & WIRE_KIND_EVENTS) != 0 ? in->ops : WIRE_OP_NOTIFY,
					 .after = in->has_since && (in->kinds & WIRE_KIND_EVENTS) != 0 ? in->since
																				   : feed.live,
					 .credit = in->bytes};
	sub->replaying = sub->after != feed.live;
	CHECK(sub->after <= feed.live);
	play_notifies = sub->channel == 0;
	play_subscribed(feed.database, sub->number, (uint32_t) sub->channel + 1, sub->replaying,
					sub->after);
}

static void
feed_receive(void)
{
	FromGateway in;
	FeedSub *sub;

	if (feed.first == feed.count)
	{
		feed.first = feed.count = 0;
		return;
	}
	in = feed.inbox[feed.first++];
	sub = feed_sub(in.sub);
	if (in.type == WIRE_SUBSCRIBE)
		feed_subscribe(&in);
	else if (sub != NULL && in.type == WIRE_UNSUBSCRIBE)
	{
		if (in.kinds == WIRE_KIND_ALL || (sub->ops & WIRE_OP_NOTIFY) == 0)
			sub->number = 0;
		sub->ops = WIRE_OP_NOTIFY;
		sub->replaying = false;
	}
	else if (sub != NULL)
		sub->credit += in.bytes;
}

static const char *
feed_text(uint64_t id)
{
	static char text[LARGEST + 1];
	size_t len = id % 100 == 0 ? LARGEST : 20 + id * 37 % 250;

	memset(text, 'x', len);
	text[len] = '\0';
	text[snprintf(text, len, "E%llu,", (unsigned long long) id)] = 'x';
	return text;
}

/* Return true if any subscription gets live events of this channel, or notifications. */
static bool
feed_wanted(int channel, bool notification)
{
	for (size_t i = 0; i < UNIT_COUNT(feed.subs); i++)
	{
		const FeedSub *sub = &feed.subs[i];

		if (sub->number != 0 && sub->channel == channel &&
			(notification ? (sub->ops & WIRE_OP_NOTIFY) != 0
						  : !sub->replaying && sub->ops != WIRE_OP_NOTIFY))
			return true;
	}
	return false;
}

static void
feed_send_live(void)
{
	if (feed.live == feed.committed)
		return;
	feed.live++;
	sessions_expect(&play_sessions, chance(2) == 0);
	if (feed_wanted(feed.channel[feed.live], false))
		play_event(feed.database, (uint32_t) feed.channel[feed.live] + 1, feed.live,
				   feed_text(feed.live));
	if (chance(3) == 0)
		play_position(feed.database, feed.live);
}

static void
feed_replay(FeedSub *sub)
{
	if (sub->number == 0 || !sub->replaying || sub->credit <= 0)
		return;
	while (sub->after < feed.live && feed.channel[sub->after + 1] != sub->channel)
		sub->after++;
	if (sub->after == feed.live)
	{
		sub->replaying = false;
		play_replay_done(feed.database, sub->number, feed.live);
		return;
	}
	sub->after++;
	sub->credit -= (int64_t) strlen(feed_text(sub->after));
	play_replay_event(feed.database, sub->number, sub->after, feed_text(sub->after));
}

/*
 * Note whether this client may expect notifications or resets: after its subscription has begun for
 * the first time, also while the link is lost. Called after every step.
 */
static void
client_note_listening(struct Client *me)
{
	const Subscription *sub;
	bool listening = false;

	LIST_FOREACH(sub, &play_client(me->pipe.session)->subscriptions, in_client)
	if (sub->channel[0] == '0')
		listening = sub->missed || sub->stream != NULL;
	me->listening = listening;
}

static void
feed_notify(void)
{
	char text[200];

	memset(text, 'y', sizeof(text));
	text[20 + chance(150)] = '\0';
	for (int i = 0; i < CLIENTS; i++)
		client[i].none[feed.notified + 1] = !client[i].listening;
	text[snprintf(text, 15, "N%llu,", (unsigned long long) ++feed.notified)] = 'y';
	sessions_expect(&play_sessions, chance(2) == 0);
	if (feed_wanted(0, true))
		play_notify(feed.database, 1, text);
}

static void
feed_lose_link(void)
{
	hub_lost(feed.database);
	memset(feed.subs, 0, sizeof(feed.subs));
	feed.first = feed.count = 0;
	if (chance(2) == 0)
		sessions_flush(&play_sessions);
	play_hello(&play_link_a, 1, feed.live);
}

/* ---------------- the clients ---------------- */

static void
client_ask(struct Client *me, const char *what, int channel, const char *since)
{
	char text[200];

	snprintf(text, sizeof(text), "{\"id\":\"%c%d\",\"method\":\"%s\",\"channel\":\"%d\"%s}",
			 what[0], channel, what, channel, since);
	me->channel[channel].asked = true;
	play_receive(me->pipe.session, text);
}

static void
client_act(struct Client *me)
{
	int channel = (int) chance(CHANNELS);
	ClientChannel *its = &me->channel[channel];
	char since[50] = "";

	if (its->asked)
		return;
	if (its->subscribed)
	{
		if (chance(20) != 0)
			return;
		client_ask(me, "unsubscribe", channel, "");
		for (uint64_t i = 0; channel == 0 && i <= feed.notified; i++)
			me->none[i] = true; /* no subscription is left that would get a reset */
		return;
	}
	if (its->last != 0)
		snprintf(since, sizeof(since), ",\"since\":\"1-%llu\"", (unsigned long long) its->last);
	client_ask(me, "subscribe", channel, since);
}

/* Check that no event up to this position is missing. */
static void
client_check_position(const struct Client *me, uint64_t position)
{
	for (int i = 0; i < CHANNELS; i++)
	{
		if (!me->channel[i].subscribed)
			continue;
		for (uint64_t id = me->channel[i].last + 1; id <= position; id++)
			CHECK(feed.channel[id] != i);
	}
}

static void
client_event(struct Client *me, uint64_t id)
{
	int channel = feed.channel[id];
	ClientChannel *its = &me->channel[channel];

	CHECK(its->subscribed);
	for (uint64_t missing = its->last + 1; missing < id; missing++)
		CHECK(feed.channel[missing] != channel);
	CHECK(id > its->last);
	its->last = id;
	me->received++;
}

static void
client_reply(struct Client *me, const char *id, uint64_t position)
{
	ClientChannel *its = &me->channel[id[1] - '0'];

	if (id[0] == 'p')
	{
		me->pinged = false;
		client_check_position(me, position);
		return;
	}
	its->asked = false;
	its->subscribed = id[0] == 's';
	if (its->subscribed && its->last == 0)
		its->last = position;
}

/* Check that every notification up to this one has arrived, or a reset for it. */
static void
client_check_notified(const struct Client *me, uint64_t number)
{
	for (uint64_t i = me->notified + 1; i <= number; i++)
		CHECK(me->told || me->none[i]);
}

static void
client_message(struct Client *me, char *text, size_t len)
{
	char *at;

	text[len] = '\0';
	at = strstr(text, "\"position\":\"1-");
	if (text[0] == 'E')
		client_event(me, strtoull(text + 1, NULL, 10));
	else if (text[0] == 'N')
	{
		uint64_t number = strtoull(text + 1, NULL, 10);

		CHECK(number > me->notified);
		client_check_notified(me, number - 1);
		me->notified = number;
		me->told = false;
	}
	else if (strstr(text, "\"method\":\"reset\"") != NULL)
	{
		resets++;
		me->told = true;
		CHECK(strstr(text, "\"channel\":\"0\"") != NULL);
	}
	else if (strstr(text, "\"id\":\"") != NULL && strstr(text, "\"error\"") == NULL)
		client_reply(me, strstr(text, "\"id\":\"") + 6,
					 at != NULL ? strtoull(at + 14, NULL, 10) : 0);
	else
		fail_msg("seed %u: %s", seed, text);
}

/* Read all complete frames that were written: short fragments without masks. */
static void
client_read(struct Client *me)
{
	PlayPipe *pipe = &me->pipe;
	size_t done = 0;

	while (pipe->len - done >= 2)
	{
		uint8_t *frame = (uint8_t *) pipe->out + done;
		size_t head = frame[1] == 126 ? 4 : 2;
		size_t len = frame[1] == 126 ? (size_t) frame[2] << 8 | frame[3] : frame[1];
		char text[LARGEST + 1];

		CHECK(frame[0] == 0x81 && pipe->len - done >= head + len && len <= LARGEST);
		memcpy(text, frame + head, len);
		client_message(me, text, len);
		done += head + len;
	}
	pipe->len = 0;
}

/* Let the socket accept this many bytes more. */
static void
client_take(struct Client *me, size_t bytes)
{
	me->pipe.room += bytes;
	if (me->pipe.waking && me->pipe.room > 0)
	{
		me->pipe.waking = false;
		session_writable(me->pipe.session);
	}
}

/* ---------------- the test ---------------- */

static void
step(void)
{
	struct Client *me = &client[chance(CLIENTS)];

	switch (chance(12))
	{
		case 0:
		case 1:
			if (feed.committed < EVENTS)
				feed.channel[++feed.committed] = chance(4) == 0 ? (int) chance(CHANNELS) : 0;
			break;
		case 2:
		case 3:
			feed_receive();
			break;
		case 4:
		case 5:
			feed_send_live();
			break;
		case 6:
		case 7:
			feed_replay(&feed.subs[chance(UNIT_COUNT(feed.subs))]);
			break;
		case 8:
			client_take(me, chance(4) == 0 ? chance(2000) : 0);
			break;
		case 9:
			sessions_flush(&play_sessions);
			break;
		case 10:
			if (chance(3) == 0)
				feed_notify();
			else if (chance(400) == 0)
				feed_lose_link();
			break;
		default:
			if (chance(4) == 0)
				client_act(me);
			else if (!me->pinged)
			{
				me->pinged = true;
				play_receive(me->pipe.session, "{\"id\":\"p0\",\"method\":\"ping\"}");
			}
	}
	for (int i = 0; i < CLIENTS; i++)
	{
		CHECK(client[i].pipe.session->state == SESSION_OPEN);
		CHECK(client[i].pipe.session->queue.bytes <= BUFFER + LARGEST);
		client_read(&client[i]);
		client_note_listening(&client[i]);
	}
}

/* Everything is read: check that everything has arrived. */
static void
finish(void)
{
	for (int round = 0; round < 5000; round++)
	{
		feed_receive();
		feed_send_live();
		for (size_t i = 0; i < UNIT_COUNT(feed.subs); i++)
			feed_replay(&feed.subs[i]);
		for (int i = 0; i < CLIENTS; i++)
		{
			client_take(&client[i], 100000);
			client_read(&client[i]);
		}
		sessions_flush(&play_sessions);
	}
	for (int i = 0; i < CLIENTS; i++)
	{
		client_check_position(&client[i], feed.committed);
		CHECK(client[i].pipe.session->queue.bytes == 0 && client[i].pipe.session->own == 0);
		client_check_notified(&client[i], feed.notified);
		CHECK(hub_client_live(play_client(client[i].pipe.session)));
	}
	CHECK(play_sessions.stats.queued == 0);
}

static void
test_random(void **state)
{
	uint64_t received = 0;

	for (seed = 1; seed <= SEEDS; seed++)
	{
		random_state = seed;
		play_setup(state);
		play_config.client_buffer = BUFFER;
		play_hub.send = feed_from_gateway;
		memset(&feed, 0, sizeof(feed));
		memset(client, 0, sizeof(client));
		feed.committed = feed.live = 1;
		feed.database = play_hello(&play_link_a, 1, 1);
		for (int i = 0; i < CLIENTS; i++)
		{
			play_open(feed.database, &client[i].pipe);
			client[i].pipe.limited = true;
		}
		for (int i = 0; i < STEPS; i++)
			step();
		finish();
		for (int i = 0; i < CLIENTS; i++)
			received += client[i].received;
		play_teardown(state);
	}
	print_message("%llu events, %llu ended subscriptions, %llu resets\n",
				  (unsigned long long) received, (unsigned long long) lagged,
				  (unsigned long long) resets);
	assert_true(received > 0 && lagged > SEEDS && resets > SEEDS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
