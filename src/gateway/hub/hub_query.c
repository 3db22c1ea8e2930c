/*-------------------------------------------------------------------------
 *
 * hub_query.c
 *	  Calls and messages of clients, which workers execute.
 *
 * An answer may be much larger than what a session keeps for its own messages, so large ones take the room
 * of events. If there is none, the answer waits, and the client's next query waits with it. So a client that
 * does not read has one such answer at most.
 *
 * A progressive call sends the rows of a set one by one, in the same way. A worker sends as many rows as the query
 * has credit, which it gets back when they are in the session's queue. So rows that wait take at most the query's window
 * and the last frame of the worker. When the worker has the rest of the rows in its spool, the client's next query
 * begins; if it is progressive too, its window is the smaller the more such queries there are.
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
	PoolQuery *running; /* NULL: it was answered at once */
	bool progressive;
	char *id;    /* of the request; NULL: it wants no answer, unless the query fails */
	char *group; /* of ACK and NACK */
	uint64_t *ids;
	size_t nids;
} HubQuery;

/* A frame that waits for room in the session. */
typedef struct HubAnswer
{
	STAILQ_ENTRY(HubAnswer) next;
	Frame *frame;
	HubQuery *query; /* of a row; NULL: the query has been answered */
	uint32_t credit; /* that the row took */
} HubAnswer;

/* Queue a frame, which is taken over, if there is room; returns false if there is none, or the session is closed. */
static bool
hub_queue_answer(HubClient *client, const HubAnswer *answer)
{
	Session *session = &client->session;
	FrameNote note = {.before = FRAME_NO_POSITION};
	HubQuery *query = answer->query;

	if (!session_has_room(session, answer->frame))
		return false;
	session_send_event(session, answer->frame, note);
	frame_unref(answer->frame);
	/* If that has closed the session, the query is gone. */
	if (query != NULL && session->state == SESSION_OPEN && query->running != NULL)
		pool_credit(query->running, answer->credit);
	return true;
}

/* Send a frame, which is taken over, or let it wait behind those that do. */
static void
hub_send_answer(HubClient *client, Frame *frame, HubQuery *query, uint32_t credit)
{
	Session *session = &client->session;
	HubAnswer answer = {.frame = frame, .query = query, .credit = credit};
	HubAnswer *waiting;

	if (STAILQ_EMPTY(&client->answers))
	{
		if (query == NULL && frame->len <= HUB_SMALL_ANSWER)
		{
			session_send_own(session, frame, FRAME_NO_POSITION);
			return;
		}
		if (hub_queue_answer(client, &answer))
			return;
	}
	if (session->state != SESSION_OPEN)
	{
		frame_unref(frame);
		return;
	}
	waiting = memory_new(sizeof(HubAnswer));
	*waiting = answer;
	STAILQ_INSERT_TAIL(&client->answers, waiting, next);
	pool_block(&client->queries);
	session->owed = true;
}

void
hub_flush_answers(HubClient *client)
{
	Session *session = &client->session;
	HubAnswer *waiting;

	if (STAILQ_EMPTY(&client->answers))
		return;
	while ((waiting = STAILQ_FIRST(&client->answers)) != NULL)
	{
		STAILQ_REMOVE_HEAD(&client->answers, next);
		if (hub_queue_answer(client, waiting))
		{
			free(waiting);
			if (session->state != SESSION_OPEN)
				return;
			continue;
		}
		if (session->state == SESSION_OPEN)
		{
			STAILQ_INSERT_HEAD(&client->answers, waiting, next);
			session->owed = true;
			return;
		}
		frame_unref(waiting->frame);
		free(waiting);
		return;
	}
	pool_unblock(&client->queries);
}

/* The query's rows that wait give no credit any more. drop: nor are they sent. */
static void
hub_release_rows(const HubQuery *query, bool drop)
{
	HubClient *client = query->client;
	HubAnswer *waiting = STAILQ_FIRST(&client->answers);

	while (waiting != NULL)
	{
		HubAnswer *next = STAILQ_NEXT(waiting, next);

		if (waiting->query == query)
		{
			waiting->query = NULL;
			if (drop)
			{
				STAILQ_REMOVE(&client->answers, waiting, HubAnswer, next);
				frame_unref(waiting->frame);
				free(waiting);
			}
		}
		waiting = next;
	}
}

static void
hub_free_query(HubQuery *query)
{
	free(query->id);
	free(query->group);
	free(query->ids);
	free(query);
}

static void
hub_query_rows(void *owner, const WireRows *rows)
{
	HubQuery *query = owner;
	HubClient *client = query->client;
	WireBytes list = rows->rows;
	WireBytes row;

	while (client->session.state == SESSION_OPEN && wire_list_next(&list, &row))
	{
		Frame *frame = client->protocol->progress(query->id, row);

		hub_send_answer(client, session_pack(&client->session, frame), query,
						row.len + (uint32_t) sizeof(uint32_t));
	}
	session_schedule(&client->session);
}

static void
hub_query_answered(void *owner, const WireMessage *answer)
{
	HubQuery *query = owner;
	HubClient *client = query->client;
	const Protocol *protocol = client->protocol;
	Frame *frame = NULL;

	LIST_REMOVE(query, in_client);
	client->session.unanswered--;
	session_schedule(&client->session);
	if (protocol->hooks != NULL && protocol->hooks->answered(client, query->id, answer))
	{
		hub_free_query(query);
		return;
	}
	if (answer->type == WIRE_FAILED)
		frame = protocol->query_failure(query->id, &answer->u.failed, (ProtocolName){0});
	else if (query->id != NULL && answer->type == WIRE_RESULT)
		frame = protocol->query_result(query->id, &answer->u.result);
	if (answer->type == WIRE_RESULT && query->group != NULL)
		hub_settled(client, query->group, query->ids, query->nids);
	hub_release_rows(query, false);
	hub_free_query(query);
	if (frame != NULL && answer->type == WIRE_FAILED && protocol->refusals_end)
		hub_send_refusal(client, frame);
	else if (frame != NULL)
		hub_send_answer(client, session_pack(&client->session, frame), NULL, 0);
}

static const PoolEvents hub_query_events = {.rows = hub_query_rows, .answer = hub_query_answered};

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

/* How many queries of the client send their rows one by one. */
static uint32_t
hub_count_progressive(const HubClient *client)
{
	const HubQuery *query;
	uint32_t count = 0;

	LIST_FOREACH(query, &client->asked_queries, in_client)
	{
		if (query->progressive)
			count++;
	}
	return count;
}

void
hub_query(HubClient *client, Request *request)
{
	HubQuery *query = memory_zeroed(sizeof(HubQuery));
	PoolQuery *running;
	WireQuery wire = {
		.kind = hub_query_kind(request->method),
		.body = {.data = request->body, .len = (uint32_t) strlen(request->body)},
	};

	if (request->named != NULL)
		wire.named = (WireBytes){.data = request->named, .len = (uint32_t) strlen(request->named)};
	if (request->progressive && request->id != NULL && client->protocol->progress != NULL)
	{
		wire.progressive = 1;
		wire.window = hub_window(client) / (hub_count_progressive(client) + 1);
		query->progressive = true;
	}
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
	running =
		pool_submit(&client->database->pool, &client->queries, &wire, &hub_query_events, query);
	/* Otherwise it has been answered, and does not exist any more. */
	if (running != NULL)
		query->running = running;
}

bool
hub_cancel(HubClient *client, const char *id)
{
	HubQuery *query;

	LIST_FOREACH(query, &client->asked_queries, in_client)
	{
		if (query->id != NULL && strcmp(query->id, id) == 0)
			break;
	}
	if (query == NULL)
		return false;
	pool_cancel(query->running);
	client->session.unanswered--;
	hub_release_rows(query, true);
	LIST_REMOVE(query, in_client);
	hub_free_query(query);
	session_schedule(&client->session);
	if (STAILQ_EMPTY(&client->answers))
		pool_unblock(&client->queries);
	return true;
}

void
hub_leave_queries(HubClient *client)
{
	HubQuery *query;
	HubAnswer *waiting;

	pool_cancel_all(&client->queries);
	while ((query = LIST_FIRST(&client->asked_queries)) != NULL)
	{
		LIST_REMOVE(query, in_client);
		hub_free_query(query);
	}
	while ((waiting = STAILQ_FIRST(&client->answers)) != NULL)
	{
		STAILQ_REMOVE_HEAD(&client->answers, next);
		frame_unref(waiting->frame);
		free(waiting);
	}
}
