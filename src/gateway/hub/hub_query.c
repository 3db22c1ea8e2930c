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
	char *id; /* of the request; NULL: it wants no answer, unless the query fails */
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
		frame = protocol->query_result(query->id, answer->u.result.body);
	LIST_REMOVE(query, in_client);
	free(query->id);
	free(query);
	session_schedule(&client->session);
	if (frame != NULL)
		hub_send_answer(client, frame);
}

static const PoolEvents hub_query_events = {.answer = hub_query_answered};

void
hub_query(HubClient *client, Request *request)
{
	HubQuery *query = memory_zeroed(sizeof(HubQuery));
	WireQuery wire = {
		.kind = request->method == REQUEST_CALL ? WIRE_QUERY_CALL : WIRE_QUERY_SEND,
		.body = {.data = request->body, .len = (uint32_t) strlen(request->body)},
	};

	if (request->method == REQUEST_CALL)
		wire.name = (WireBytes){.data = request->name, .len = (uint32_t) strlen(request->name)};
	else
		wire.name = (WireBytes){.data = request->channel, .len = request->channel_len};
	if (client->identity.token != NULL)
		wire.token = (WireBytes){.data = client->identity.token,
								 .len = (uint32_t) strlen(client->identity.token)};
	query->client = client;
	query->id = request->id;
	request->id = NULL;
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
	{
		LIST_REMOVE(query, in_client);
		free(query->id);
		free(query);
	}
	if (client->waiting_answer != NULL)
		frame_unref(client->waiting_answer);
	client->waiting_answer = NULL;
}
