/*-------------------------------------------------------------------------
 *
 * wamp_caller.c
 *	  Calls of a session, see wamp_route.h.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/protocol/notification.h"
#include "gateway/wamp/wamp_hint.h"
#include "gateway/wamp/wamp_options.h"
#include "gateway/wamp/wamp_route_internal.h"
#include "wire/uri.h"

/* A call at the feed. */
struct WampCall
{
	TAILQ_ENTRY(WampCall) in_session;
	bool asked; /* the feed has not said yet whether it has the procedure: counted as unanswered */
	uint64_t request;
	uint64_t key;     /* of its hint */
	bool progressive; /* the client takes several results */
	bool opaque;      /* with payload passthru, which functions cannot have */
	bool cancelled;   /* the client has cancelled it */
	uint64_t timeout; /* in ms; 0: none */
	WireBytes name;
	WireBytes args; /* as in WampMessage */
	WireBytes kwargs;
	char text[]; /* of these */
};

/* ---------------- calls ---------------- */

static void
caller_set_asked(WampSession *session, WampCall *call, bool asked)
{
	if (call->asked == asked)
		return;
	call->asked = asked;
	session->client->session.unanswered += asked ? 1 : -1u;
	session_schedule(&session->client->session);
}

static void
caller_take_out(WampSession *session, WampCall *call)
{
	caller_set_asked(session, call, false);
	TAILQ_REMOVE(&session->calls, call, in_session);
	session->ncalls--;
}

static void
caller_free_call(WampSession *session, WampCall *call)
{
	caller_take_out(session, call);
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

/* The option timeout, in ms; 0: none. */
static uint64_t
caller_timeout(const WampMessage *message)
{
	return (uint64_t) json_integer_value(json_object_get(message->details, "timeout"));
}

/* Make a call of a message. */
static WampCall *
caller_new_call(WampSession *session, const WampMessage *message, uint64_t key)
{
	WireBytes tail = wamp_tail(message);
	WampCall *call = memory_zeroed(sizeof(WampCall) + message->uri_len + tail.len);
	char *copy = call->text + message->uri_len;

	call->opaque = wamp_options_opaque(message->details);
	call->request = message->request;
	call->timeout = caller_timeout(message);
	call->key = key;
	call->progressive = json_is_true(json_object_get(message->details, "receive_progress"));
	memcpy(call->text, message->uri, message->uri_len);
	call->name = (WireBytes){.data = call->text, .len = (uint32_t) message->uri_len};
	if (tail.len > 0)
		memcpy(copy, tail.data, tail.len);
	if (message->args.len > 0)
		call->args = (WireBytes){.data = copy, .len = message->args.len};
	if (message->kwargs.len > 0)
		call->kwargs = (WireBytes){.data = copy + (message->kwargs.data - tail.data),
								   .len = message->kwargs.len};
	TAILQ_INSERT_TAIL(&session->calls, call, in_session);
	session->ncalls++;
	return call;
}

/* ---------------- who is asked ---------------- */

/* Return true if arguments, an array, are none or []. */
static bool
caller_is_empty(WireBytes args)
{
	for (uint32_t i = 1; i + 1 < args.len; i++)
	{
		if (strchr(" \t\r\n", args.data[i]) == NULL)
			return false;
	}
	return true;
}

/* May close the session. */
static void
caller_ask_worker(HubClient *client, uint64_t number, WireBytes name, WireBytes args,
				  WireBytes kwargs, bool progressive, uint64_t timeout)
{
	Request request = {.method = REQUEST_CALL, .progressive = progressive};

	timeout_start(client->state, number, timeout);
	if (caller_is_empty(args) && kwargs.len > 0)
	{
		args = kwargs;
		kwargs.len = 0;
	}
	if (args.len == 0)
		args = notification_bytes("[]");
	request.id = wamp_request_id(WAMP_CALL, number);
	request.name = memory_string(name.data, name.len);
	request.body = memory_string(args.data, args.len);
	if (kwargs.len > 0)
		request.named = memory_string(kwargs.data, kwargs.len);
	hub_request(client, &request);
	request_free(&request);
}

/* Ask the feed. asks: it may be a function. Returns false if it cannot be asked now. */
static bool
caller_ask_feed(WampSession *session, const WampMessage *message, uint64_t key, const char *options,
				bool asks)
{
	WireRoute route = {.kind = ROUTE_CALL,
					   .flags = asks ? ROUTE_ASKS : 0,
					   .request = message->request,
					   .name = {.data = message->uri, .len = (uint32_t) message->uri_len},
					   .options = notification_bytes(options),
					   .payload = wamp_tail(message)};

	if (!hub_route(session->client, &route))
		return false;
	caller_set_asked(session, caller_new_call(session, message, key), asks);
	return true;
}

/* Return true if the message may be a call at the feed. Otherwise the client was told why not. */
static bool
caller_may_ask(WampSession *session, const WampMessage *message, const char *options)
{
	if (options != NULL && session->ncalls < ROUTE_MAX_CALLS &&
		caller_find(session, message->request) == NULL)
		return true;
	wamp_refuse(session->client, WAMP_CALL, message->request,
				options == NULL ? "wamp.error.invalid_argument" : ROUTE_UNAVAILABLE,
				options == NULL ? "the options are too long"
								: "the session has too many calls under way, or one with this "
								  "number");
	return false;
}

void
wamp_route_call(WampSession *session, const WampMessage *message)
{
	static const char *const names[] = {"disclose_me", "receive_progress", "timeout"};
	HubClient *client = session->client;
	WireBytes name = {.data = message->uri, .len = (uint32_t) message->uri_len};
	uint64_t key = wamp_hint_procedure(name);
	WampHint known = wamp_hint(client->database, key);
	bool reserved = uri_is_reserved(message->uri, message->uri_len);
	bool progressive = json_is_true(json_object_get(message->details, "receive_progress"));
	bool opaque = wamp_options_opaque(message->details);
	char *options;

	if (known != HINT_WORKER || opaque)
	{
		options = route_options(message->details, names, sizeof(names) / sizeof(names[0]));
		if (!caller_may_ask(session, message, options) ||
			caller_ask_feed(session, message, key, options,
							!reserved && (known != HINT_FEED || opaque)))
		{
			free(options);
			return;
		}
		free(options);
	}
	if (reserved || known == HINT_FEED || opaque)
		wamp_refuse(client, WAMP_CALL, message->request, ROUTE_UNAVAILABLE,
					"the server does not pass calls between sessions at present");
	else
		caller_ask_worker(client, message->request, name, message->args, message->kwargs,
						  progressive, caller_timeout(message));
}

/* ---------------- answers ---------------- */

bool
wamp_route_answered(WampSession *session, uint64_t request, const WireMessage *answer)
{
	HubClient *client = session->client;
	bool unknown = answer->type == WIRE_FAILED && answer->u.failed.reason == WIRE_QUERY_UNKNOWN;
	/* A session may have registered it. */
	bool unasked = unknown && !session->joined;

	timeout_end(session, request);
	if (unknown)
		wamp_hint_learn(client->database, wamp_hint_procedure(answer->u.failed.name), HINT_NONE);
	if (unasked)
		wamp_refuse(client, WAMP_CALL, request, ROUTE_UNAVAILABLE,
					"the server does not pass calls between sessions at present");
	return unasked;
}

void
caller_end_query(HubClient *client, uint64_t request, const char *error, const char *message)
{
	char *id = wamp_request_id(WAMP_CALL, request);
	bool found = hub_cancel(client, id);

	free(id);
	timeout_end(client->state, request);
	if (found)
		wamp_refuse(client, WAMP_CALL, request, error, message);
}

void
wamp_cancel(WampSession *session, const WampMessage *message)
{
	static const char *const names[] = {"mode"};
	WampCall *call = caller_find(session, message->request);
	WireRoute route = {.kind = ROUTE_CANCEL, .request = message->request};
	char *options;

	if (call == NULL)
	{
		caller_end_query(session->client, message->request, "wamp.error.canceled",
						 "the call was cancelled");
		return;
	}
	call->cancelled = true;
	options = route_options(message->details, names, 1);
	if (options != NULL)
		route.options = notification_bytes(options);
	route_tell(session->client, &route);
	free(options);
}

/* The feed does not have the procedure of a call: let a worker look for a function. */
static void
caller_go_on(WampSession *session, WampCall *call)
{
	HubClient *client = session->client;

	wamp_hint_learn(client->database, call->key, HINT_WORKER);
	caller_take_out(session, call);
	if (call->cancelled)
		wamp_refuse(client, WAMP_CALL, call->request, "wamp.error.canceled",
					"the call was cancelled");
	else
		caller_ask_worker(client, call->request, call->name, call->args, call->kwargs,
						  call->progressive, call->timeout);
	free(call);
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

	if (call == NULL)
		return;
	if ((route->flags & ROUTE_UNKNOWN) != 0 && !call->opaque &&
		!uri_is_reserved(call->name.data, call->name.len))
	{
		caller_go_on(session, call);
		return;
	}
	if (!call->opaque)
		wamp_hint_learn(client->database, call->key, HINT_FEED);
	caller_set_asked(session, call, false);
	if (route->kind == ROUTE_CALLED)
		return;
	frame = route->kind == ROUTE_ERROR ? route_error(client, WAMP_CALL, route->request, route)
									   : wamp_result(route->request, route->options, &payload);
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

void
caller_lost(HubClient *client)
{
	WampSession *session = client->state;
	WampCall *call;

	while (client->state != NULL && (call = TAILQ_FIRST(&session->calls)) != NULL)
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
	timeout_free_all(session);
	while (!TAILQ_EMPTY(&session->calls))
		caller_free_call(session, TAILQ_FIRST(&session->calls));
}
