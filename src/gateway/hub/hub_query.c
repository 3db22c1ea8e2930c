/*-------------------------------------------------------------------------
 *
 * hub_query.c
 *	  Calls and messages of clients, which workers execute.
 *
 * An answer may be much larger than what a session keeps for its own messages, so large ones take the room
 * of events. If there is none, the answer waits, and the client's next query waits with it. So a client that
 * does not read has one such answer at most.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/hub/hub_internal.h"

/* Smaller answers are queued like those to other requests. */
#define HUB_SMALL_ANSWER 4096

/* A query whose client waits for the answer. */
typedef struct HubQuery
{
	LIST_ENTRY(HubQuery) in_client;
	HubClient *client;
	char *id;    /* of the request; NULL: it wants no answer, unless the query fails */
	char *group; /* of ACK and NACK */
	uint64_t *ids;
	size_t nids;
} HubQuery;

/* Send a frame, which is taken over, or let it wait. */
static void
hub_send_answer(HubClient *client, Frame *frame)
{
	Session *session = &client->session;
	FrameNote note = {.before = FRAME_NO_POSITION};

	if (frame->len <= HUB_SMALL_ANSWER)
	{
		session_send_own(session, frame, FRAME_NO_POSITION);
		return;
	}
	if (session_has_room(session, frame))
		session_send_event(session, frame, note);
	else if (session->state == SESSION_OPEN)
	{
		client->waiting_answer = frame;
		pool_block(&client->queries);
		session->owed = true;
		return;
	}
	frame_unref(frame);
}

void
hub_flush_answer(HubClient *client)
{
	Frame *frame = client->waiting_answer;

	if (frame == NULL)
		return;
	client->waiting_answer = NULL;
	hub_send_answer(client, frame);
	if (client->waiting_answer == NULL && client->session.state == SESSION_OPEN)
		pool_unblock(&client->queries);
}

static void
hub_free_query(HubQuery *query)
{
	LIST_REMOVE(query, in_client);
	free(query->id);
	free(query->group);
	free(query->ids);
	free(query);
}

static void
hub_query_answered(void *owner, const WireMessage *answer)
{
	HubQuery *query = owner;
	HubClient *client = query->client;
	const Protocol *protocol = client->protocol;
	Frame *frame = NULL;

	client->session.unanswered--;
	if (answer->type == WIRE_FAILED)
		frame = protocol->query_failure(query->id, &answer->u.failed, (ProtocolName){0});
	else if (query->id != NULL && answer->type == WIRE_RESULT)
		frame = protocol->query_result(query->id, &answer->u.result);
	if (answer->type == WIRE_RESULT && query->group != NULL)
		hub_settled(client, query->group, query->ids, query->nids);
	hub_free_query(query);
	session_schedule(&client->session);
	if (frame != NULL && answer->type == WIRE_FAILED && protocol->refusals_end)
		hub_send_refusal(client, frame);
	else if (frame != NULL)
		hub_send_answer(client, session_pack(&client->session, frame));
}

static const PoolEvents hub_query_events = {.answer = hub_query_answered};

static uint8_t
hub_query_kind(RequestMethod method)
{
	switch (method)
	{
		case REQUEST_SEND:
			return WIRE_QUERY_SEND;
		case REQUEST_ACK:
			return WIRE_QUERY_ACK;
		case REQUEST_NACK:
			return WIRE_QUERY_NACK;
		default:
			return WIRE_QUERY_CALL;
	}
}

void
hub_query(HubClient *client, Request *request)
{
	HubQuery *query = memory_zeroed(sizeof(HubQuery));
	WireQuery wire = {
		.kind = hub_query_kind(request->method),
		.body = {.data = request->body, .len = (uint32_t) strlen(request->body)},
	};

	if (request->named != NULL)
		wire.named = (WireBytes){.data = request->named, .len = (uint32_t) strlen(request->named)};
	if (request->method != REQUEST_SEND)
		wire.name = (WireBytes){.data = request->name, .len = (uint32_t) strlen(request->name)};
	else
		wire.name = (WireBytes){.data = request->channel, .len = request->channel_len};
	if (client->identity.token != NULL)
		wire.token = (WireBytes){.data = client->identity.token,
								 .len = (uint32_t) strlen(client->identity.token)};
	query->client = client;
	query->id = request->id;
	request->id = NULL;
	if (request->ids != NULL)
		query->group = memory_string(request->name, strlen(request->name));
	query->ids = request->ids;
	query->nids = request->nids;
	request->ids = NULL;
	client->session.unanswered++;
	LIST_INSERT_HEAD(&client->asked_queries, query, in_client);
	(void) pool_submit(&client->database->pool, &client->queries, &wire, &hub_query_events, query);
}

void
hub_leave_queries(HubClient *client)
{
	HubQuery *query;

	pool_cancel_all(&client->queries);
	while ((query = LIST_FIRST(&client->asked_queries)) != NULL)
		hub_free_query(query);
	if (client->waiting_answer != NULL)
		frame_unref(client->waiting_answer);
	client->waiting_answer = NULL;
}
