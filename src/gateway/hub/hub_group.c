/*-------------------------------------------------------------------------
 *
 * hub_group.c
 *	  Clients that consume: the deliveries of consumer groups.
 *
 * A consumer wants as many deliveries as its window has room for beside those that the client has
 * not acknowledged or given back. When the client leaves, all of them are given back, and count as
 * attempts that have failed: one of them may be why it leaves.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/hub/hub_internal.h"

/* Consumers of one client, at most. */
#define HUB_MAX_CONSUMERS 100

typedef struct Consumer
{
	LIST_ENTRY(Consumer) in_client;
	HubClient *client;
	GroupTaker taker;
	char *id;        /* of the request that began it, while asked; NULL: it wants no answer */
	bool asked;      /* the request is not answered yet */
	bool full;       /* the session had no room for a delivery */
	uint32_t window; /* 0: it has ended, but the client still has deliveries */
	uint32_t nheld;
	uint64_t *held; /* deliveries that the client has */
	uint32_t size;  /* of held */
	uint32_t name_len;
	char name[];
} Consumer;

static WireBytes
consumer_name(const Consumer *consumer)
{
	return (WireBytes){.data = consumer->name, .len = consumer->name_len};
}

static Consumer *
consumer_find(const HubClient *client, const char *name)
{
	Consumer *consumer;

	LIST_FOREACH(consumer, &client->consumers, in_client)
	{
		if (strcmp(consumer->name, name) == 0)
			return consumer;
	}
	return NULL;
}

static void
consumer_free(Consumer *consumer)
{
	group_leave(&consumer->taker);
	LIST_REMOVE(consumer, in_client);
	if (consumer->asked)
		consumer->client->session.unanswered--;
	free(consumer->id);
	free(consumer->held);
	free(consumer);
}

/* Want what there is room for. Frees a consumer that has ended. */
static void
consumer_want(Consumer *consumer)
{
	uint32_t room = consumer->window > consumer->nheld ? consumer->window - consumer->nheld : 0;

	if (consumer->window == 0 && consumer->nheld == 0)
		consumer_free(consumer);
	else if (consumer->taker.group != NULL)
		group_want(&consumer->taker, consumer->full ? 0 : room);
}

/* ---------------- deliveries that the client has ---------------- */

static void
consumer_hold(Consumer *consumer, WireBytes id)
{
	uint64_t number = 0;

	for (uint32_t i = 0; i < id.len; i++)
		number = number * 10 + (uint64_t) (id.data[i] - '0');
	if (consumer->nheld == consumer->size)
	{
		consumer->size = consumer->size > 0 ? consumer->size * 2 : 16;
		consumer->held = memory_resize(consumer->held, consumer->size * sizeof(uint64_t));
	}
	consumer->held[consumer->nheld++] = number;
}

static void
consumer_forget(Consumer *consumer, uint64_t number)
{
	for (uint32_t i = 0; i < consumer->nheld; i++)
	{
		if (consumer->held[i] == number)
		{
			consumer->held[i] = consumer->held[--consumer->nheld];
			return;
		}
	}
}

/* Give the deliveries from number first on back. failed: as in groups_release(). */
static void
consumer_give_back(Consumer *consumer, uint32_t first, bool failed)
{
	char *ids = memory_new((consumer->nheld - first) * sizeof("18446744073709551615") + 1);
	size_t len = 0;

	for (uint32_t i = first; i < consumer->nheld; i++)
		len += (size_t) sprintf(ids + len, "%s%llu", i > first ? "," : "",
								(unsigned long long) consumer->held[i]);
	if (len > 0)
		groups_release(&consumer->client->database->groups, consumer_name(consumer),
					   (WireBytes){.data = ids, .len = (uint32_t) len}, failed);
	consumer->nheld = first;
	free(ids);
}

/* ---------------- what the group says ---------------- */

static WireBytes
consumer_token(void *owner)
{
	const HubClient *client = ((Consumer *) owner)->client;

	if (client->identity.token == NULL)
		return (WireBytes){.data = "", .len = 0};
	return (WireBytes){.data = client->identity.token,
					   .len = (uint32_t) strlen(client->identity.token)};
}

/* The answer to "consume". */
static void
hub_send_consuming(HubClient *client, const char *id, WireBytes name)
{
	if (id != NULL)
		session_send_own(&client->session, client->protocol->consuming(id, name),
						 FRAME_NO_POSITION);
}

/* The first take shows that the client may consume. */
static void
consumer_answer(Consumer *consumer)
{
	char *id = consumer->id;

	if (!consumer->asked)
		return;
	consumer->asked = false;
	consumer->id = NULL;
	consumer->client->session.unanswered--;
	session_schedule(&consumer->client->session);
	hub_send_consuming(consumer->client, id, consumer_name(consumer));
	free(id);
}

/* Send a delivery. Returns false if there is no room, or the session is closed. */
static bool
consumer_send(HubClient *client, WireBytes name, WireBytes delivery)
{
	Session *session = &client->session;
	Frame *frame = session_pack(session, client->protocol->delivery(name, delivery));
	bool room = session_has_room(session, frame);

	if (room)
		session_send_event(session, frame, (FrameNote){.before = FRAME_NO_POSITION});
	frame_unref(frame);
	return room && session->state == SESSION_OPEN;
}

/* The client gets deliveries. If the session is closed, the consumer does not exist any more. */
static void
consumer_taken(void *owner, WireBytes deliveries)
{
	Consumer *consumer = owner;
	HubClient *client = consumer->client;
	uint32_t sent = consumer->nheld;
	WireBytes rest = deliveries;
	WireBytes id;
	WireBytes delivery;

	while (group_next_delivery(&rest, &id, &delivery))
		consumer_hold(consumer, id);
	consumer_answer(consumer);
	while (client->session.state == SESSION_OPEN &&
		   group_next_delivery(&deliveries, &id, &delivery) &&
		   consumer_send(client, consumer_name(consumer), delivery))
		sent++;
	if (client->session.state != SESSION_OPEN)
		return;
	if (sent < consumer->nheld)
	{
		consumer_give_back(consumer, sent, false);
		consumer->full = true;
		client->session.owed = true;
	}
	consumer_want(consumer);
}

static bool
consumer_may_retry(const WireFailed *failed)
{
	return failed->reason == WIRE_QUERY_BUSY || failed->reason == WIRE_QUERY_INTERNAL ||
		   failed->reason == WIRE_QUERY_TIMEOUT || failed->reason == WIRE_QUERY_CANCELLED;
}

/* The consumer ends, unless it has begun and can go on later. */
static void
consumer_failed(void *owner, const WireFailed *failed)
{
	Consumer *consumer = owner;
	HubClient *client = consumer->client;
	Frame *frame;

	if (!consumer->asked && consumer_may_retry(failed))
		return;
	frame = client->protocol->query_failure(consumer->id, failed, (ProtocolName){0});
	group_leave(&consumer->taker);
	consumer->window = 0;
	if (consumer->asked)
		client->session.unanswered--;
	consumer->asked = false;
	session_schedule(&client->session);
	consumer_want(consumer);
	session_send_own(&client->session, frame, FRAME_NO_POSITION);
}

static const GroupTakerEvents consumer_events = {
	.token = consumer_token, .taken = consumer_taken, .failed = consumer_failed};

/* ---------------- requests ---------------- */

/* Begin to consume. Takes over the request's id. */
static void
consumer_begin(HubClient *client, Request *request)
{
	size_t len = strlen(request->name);
	Consumer *consumer = memory_zeroed(sizeof(Consumer) + len + 1);

	memcpy(consumer->name, request->name, len);
	consumer->name_len = (uint32_t) len;
	consumer->client = client;
	consumer->id = request->id;
	request->id = NULL;
	consumer->asked = true;
	consumer->window = request->window;
	consumer->taker.events = &consumer_events;
	consumer->taker.owner = consumer;
	client->session.unanswered++;
	LIST_INSERT_HEAD(&client->consumers, consumer, in_client);
	group_join(&client->database->groups, consumer_name(consumer), &consumer->taker);
	consumer_want(consumer);
}

bool
hub_consume(HubClient *client, Request *request)
{
	Consumer *consumer = consumer_find(client, request->name);
	uint32_t n = 0;
	Consumer *other;

	LIST_FOREACH(other, &client->consumers, in_client)
	{
		n++;
	}
	if (consumer == NULL && n >= HUB_MAX_CONSUMERS)
		return false;
	if (request->window > 0 && (consumer == NULL || consumer->taker.group == NULL))
	{
		/* One that has ended leaves its deliveries to the client, which may still acknowledge them. */
		if (consumer != NULL)
			consumer_free(consumer);
		consumer_begin(client, request);
		return true;
	}
	hub_send_consuming(client, request->id,
					   (WireBytes){.data = request->name, .len = (uint32_t) strlen(request->name)});
	if (consumer != NULL && client->session.state == SESSION_OPEN)
	{
		consumer->window = request->window;
		consumer_want(consumer);
	}
	return true;
}

void
hub_settled(HubClient *client, const char *group, const uint64_t *ids, size_t nids)
{
	Consumer *consumer = consumer_find(client, group);

	if (consumer == NULL)
		return;
	for (size_t i = 0; i < nids; i++)
		consumer_forget(consumer, ids[i]);
	consumer_want(consumer);
}

void
hub_flush_consumers(HubClient *client)
{
	Consumer *consumer;
	Consumer *next;

	for (consumer = LIST_FIRST(&client->consumers); consumer != NULL; consumer = next)
	{
		next = LIST_NEXT(consumer, in_client);
		if (!consumer->full)
			continue;
		consumer->full = false;
		consumer_want(consumer);
	}
}

void
hub_leave_consumers(HubClient *client)
{
	Consumer *consumer;

	while ((consumer = LIST_FIRST(&client->consumers)) != NULL)
	{
		group_leave(&consumer->taker);
		consumer_give_back(consumer, 0, true);
		consumer_free(consumer);
	}
}
