/*-------------------------------------------------------------------------
 *
 * wamp_caller.c
 *	  Calls of a session that no function of the database answers, or perhaps none, see wamp_route.h.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/protocol/notification.h"
#include "gateway/wamp/wamp_hint.h"
#include "gateway/wamp/wamp_route_internal.h"
#include "wire/uri.h"

/* What the feed takes, see router.h. */
#define CALLER_MAX_CALLS 1000

typedef enum CallState
{
	CALL_AT_WORKER,
	CALL_READY, /* for the feed, behind another one of the same name */
	CALL_AT_FEED,
} CallState;

struct WampCall
{
	TAILQ_ENTRY(WampCall) in_session;
	uint8_t state; /* CallState */
	uint64_t request;
	uint64_t key; /* of its hint */
	char *text;   /* what the feed gets: name, options, tail; NULL: not needed any more */
	WireBytes name;
	WireBytes options;
	WireBytes tail;
};

/* ---------------- calls ---------------- */

static void
caller_free_call(WampSession *session, WampCall *call)
{
	TAILQ_REMOVE(&session->calls, call, in_session);
	session->ncalls--;
	free(call->text);
	free(call);
}

static WampCall *
caller_find(const WampSession *session, uint64_t request)
{
	WampCall *call;

	TAILQ_FOREACH(call, &session->calls, in_session)
	{
		if (call->request == request)
			return call;
	}
	return NULL;
}

static WampCall *
caller_new_call(WampSession *session, const WampMessage *message, uint64_t key, char *options)
{
	WampCall *call = memory_zeroed(sizeof(WampCall));
	WireBytes tail = wamp_tail(message);
	size_t options_len = strlen(options);

	call->request = message->request;
	call->key = key;
	call->text = memory_new(message->uri_len + options_len + tail.len + 1);
	memcpy(call->text, message->uri, message->uri_len);
	memcpy(call->text + message->uri_len, options, options_len);
	if (tail.len > 0)
		memcpy(call->text + message->uri_len + options_len, tail.data, tail.len);
	call->name = (WireBytes){.data = call->text, .len = (uint32_t) message->uri_len};
	call->options =
		(WireBytes){.data = call->text + message->uri_len, .len = (uint32_t) options_len};
	call->tail = (WireBytes){.data = call->options.data + options_len, .len = tail.len};
	TAILQ_INSERT_TAIL(&session->calls, call, in_session);
	session->ncalls++;
	free(options);
	return call;
}

/* Send a call to the feed. May close the session. */
static void
caller_ask_feed(WampSession *session, WampCall *call)
{
	HubClient *client = session->client;
	WireRoute route = {.kind = ROUTE_CALL,
					   .request = call->request,
					   .name = call->name,
					   .options = call->options,
					   .payload = call->tail};
	uint64_t request = call->request;

	if (hub_route(client, &route))
	{
		call->state = CALL_AT_FEED;
		free(call->text);
		call->text = NULL;
		return;
	}
	caller_free_call(session, call);
	wamp_refuse(client, WAMP_CALL, request, ROUTE_UNAVAILABLE,
				"the server does not pass calls between sessions at present");
}

bool
wamp_route_call(WampSession *session, const WampMessage *message)
{
	static const char *const names[] = {"disclose_me", "receive_progress", "timeout"};
	HubClient *client = session->client;
	WireBytes name = {.data = message->uri, .len = (uint32_t) message->uri_len};
	uint64_t key = wamp_hint_procedure(name);
	WampHint known = wamp_hint(client->database, key);
	bool at_feed =
		known == HINT_FEED || (uri_is_reserved(message->uri, message->uri_len) &&
							   strcmp(message->uri, "wamp.subscription.get_events") != 0);
	char *options;

	if (!at_feed && known == HINT_WORKER)
		return false;
	options = route_options(message->details, names, sizeof(names) / sizeof(names[0]));
	if (options == NULL || session->ncalls >= CALLER_MAX_CALLS ||
		caller_find(session, message->request) != NULL)
	{
		free(options);
		wamp_refuse(client, WAMP_CALL, message->request,
					options == NULL ? "wamp.error.invalid_argument" : ROUTE_UNAVAILABLE,
					options == NULL ? "the options are too long"
									: "the session has too many calls under way, or one with this "
									  "number");
		return true;
	}
	if (at_feed)
		caller_ask_feed(session, caller_new_call(session, message, key, options));
	else
		(void) caller_new_call(session, message, key, options);
	return at_feed;
}

/* Send the calls of a name that are ready, up to one that is not. May close the session. */
static void
caller_go_on(HubClient *client, uint64_t key)
{
	WampCall *call;
	WampCall *next;

	if (client->state == NULL)
		return;
	for (call = TAILQ_FIRST(&((WampSession *) client->state)->calls); call != NULL; call = next)
	{
		next = TAILQ_NEXT(call, in_session);
		if (call->key != key)
			continue;
		if (call->state == CALL_AT_WORKER)
			return;
		if (call->state == CALL_READY)
			caller_ask_feed(client->state, call);
		if (client->state == NULL)
			return;
	}
}

/* Whether an answer says that a worker has found the function. */
static bool
caller_is_found(const WireMessage *answer)
{
	if (answer->type != WIRE_FAILED)
		return true;
	switch (answer->u.failed.reason)
	{
		case WIRE_QUERY_NOT_PERMITTED:
		case WIRE_QUERY_BAD_PARAMETER:
		case WIRE_QUERY_SQL_ERROR:
		case WIRE_QUERY_TIMEOUT:
		case WIRE_QUERY_TOO_LARGE:
			return true;
		default:
			return false;
	}
}

bool
wamp_route_answered(WampSession *session, uint64_t request, const WireMessage *answer)
{
	HubClient *client = session->client;
	WampCall *call = caller_find(session, request);
	bool unknown = answer->type == WIRE_FAILED && answer->u.failed.reason == WIRE_QUERY_UNKNOWN;
	uint64_t key;

	if (call == NULL || call->state == CALL_AT_FEED || call->state == CALL_READY)
	{
		if (unknown)
			wamp_hint_learn(client->database, wamp_hint_procedure(answer->u.failed.name),
							HINT_NONE);
		return false;
	}
	key = call->key;
	if (unknown)
		call->state = CALL_READY;
	else
	{
		if (caller_is_found(answer))
			wamp_hint_learn(client->database, key, HINT_WORKER);
		caller_free_call(session, call);
	}
	caller_go_on(client, key);
	return unknown;
}

/* Cancel a call at a worker, if there is one with this number. May close the session. */
static void
caller_cancel_query(WampSession *session, uint64_t request, WampCall *call)
{
	HubClient *client = session->client;
	char *id = wamp_request_id(WAMP_CALL, request);
	uint64_t key = call != NULL ? call->key : 0;
	bool found = hub_cancel(client, id);

	free(id);
	if (!found)
		return;
	if (call != NULL)
		caller_free_call(session, call);
	wamp_refuse(client, WAMP_CALL, request, "wamp.error.canceled", "the call was cancelled");
	if (call != NULL)
		caller_go_on(client, key);
}

void
wamp_cancel(WampSession *session, const WampMessage *message)
{
	static const char *const names[] = {"mode"};
	WampCall *call = caller_find(session, message->request);
	WireRoute route = {.kind = ROUTE_CANCEL, .request = message->request};
	char *options;

	if (call == NULL || call->state == CALL_AT_WORKER)
	{
		caller_cancel_query(session, message->request, call);
		return;
	}
	if (call->state == CALL_READY)
	{
		caller_free_call(session, call);
		wamp_refuse(session->client, WAMP_CALL, message->request, "wamp.error.canceled",
					"the call was cancelled");
		return;
	}
	options = route_options(message->details, names, 1);
	if (options != NULL)
		route.options = notification_bytes(options);
	route_tell(session->client, &route);
	free(options);
}

void
caller_answered(WampSession *session, const WireRoute *route)
{
	HubClient *client = session->client;
	WampCall *call = caller_find(session, route->request);
	bool progress = (route->flags & ROUTE_PROGRESS) != 0;
	WampPayload payload = route_payload(client, route->payload);
	WireRoute cancel = {.kind = ROUTE_CANCEL, .request = route->request};
	Frame *frame;

	if (call == NULL || call->state != CALL_AT_FEED)
		return;
	wamp_hint_learn(client->database, call->key,
					(route->flags & ROUTE_UNKNOWN) != 0 ? HINT_NONE : HINT_FEED);
	frame = route->kind == ROUTE_ERROR
				? route_error(client, WAMP_CALL, route->request, route)
				: wamp_result(route->request,
							  progress ? notification_bytes("{\"progress\":true}") : route->options,
							  &payload);
	if (!progress)
		caller_free_call(session, call);
	if (route_send(client, frame) || client->state == NULL)
		return;
	if (progress)
	{
		route_tell(client, &cancel);
		caller_free_call(session, call);
	}
	wamp_refuse(client, WAMP_CALL, route->request, ROUTE_UNAVAILABLE,
				"the client takes results too slowly");
}

/* The first call at the feed. */
static WampCall *
caller_first_at_feed(const WampSession *session)
{
	WampCall *call;

	TAILQ_FOREACH(call, &session->calls, in_session)
	{
		if (call->state == CALL_AT_FEED)
			return call;
	}
	return NULL;
}

void
caller_lost(HubClient *client)
{
	WampSession *session = client->state;
	WampCall *call;

	while (client->state != NULL && (call = caller_first_at_feed(session)) != NULL)
	{
		uint64_t request = call->request;

		caller_free_call(session, call);
		wamp_refuse(client, WAMP_CALL, request, ROUTE_UNAVAILABLE,
					"the connection to the server was lost; it is not known whether the procedure "
					"was called");
	}
}

void
caller_free_all(WampSession *session)
{
	while (!TAILQ_EMPTY(&session->calls))
		caller_free_call(session, TAILQ_FIRST(&session->calls));
}
