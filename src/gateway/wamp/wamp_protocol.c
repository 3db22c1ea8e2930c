/*-------------------------------------------------------------------------
 *
 * wamp_protocol.c
 *	  The protocols of WAMP: tables of functions, and which file processes a message.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/wamp_protocol.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/wamp/serializer.h"
#include "gateway/wamp/wamp_broker.h"
#include "gateway/wamp/wamp_build.h"
#include "gateway/wamp/wamp_dealer.h"
#include "gateway/wamp/wamp_publish.h"
#include "gateway/wamp/wamp_route.h"
#include "gateway/wamp/wamp_session.h"
#include "gateway/wamp/wamp_testament.h"
#include "gateway/ws/websocket_upgrade.h"

/* ---------------- hooks ---------------- */

static void
wamp_dispatch(WampSession *session, const WampMessage *message)
{
	if (wamp_session_message(session, message))
		return;
	switch (message->type)
	{
		case WAMP_SUBSCRIBE:
			wamp_subscribe(session, message);
			break;
		case WAMP_UNSUBSCRIBE:
			wamp_unsubscribe(session, message);
			break;
		case WAMP_PUBLISH:
			wamp_publish(session, message);
			break;
		case WAMP_CALL:
			wamp_call(session, message);
			break;
		case WAMP_CANCEL:
			wamp_cancel(session, message);
			break;
		case WAMP_REGISTER:
			wamp_register(session, message);
			break;
		case WAMP_UNREGISTER:
			wamp_unregister(session, message);
			break;
		case WAMP_YIELD:
			wamp_yield(session, message);
			break;
		case WAMP_ERROR:
			wamp_invocation_failed(session, message);
			break;
		default:
			if (message->request != 0)
				wamp_refuse(session->client, message->type, message->request,
							"wamp.error.option_not_allowed", "not supported");
			break;
	}
}

/* If the session has just been established, the feed learns of it. */
static void
wamp_settle(HubClient *client)
{
	WampSession *session = client->state;

	if (session == NULL || session->state != WAMP_STATE_ESTABLISHED || session->settled)
		return;
	session->settled = true;
	wamp_route_join(session);
}

static void
wamp_on_text(HubClient *client, const char *text, size_t len)
{
	WampMessage message;
	char error[256];

	if (!wamp_read(text, len, &message, error, sizeof(error)))
	{
		wamp_violation(client, error);
		return;
	}
	wamp_dispatch(wamp_session(client), &message);
	wamp_message_free(&message);
	wamp_settle(client);
}

/* A binary message. Its JSON has the limits of a message, too. */
static void
wamp_on_binary(HubClient *client, const char *data, size_t len)
{
	bool cbor = client->protocol->number < PROTOCOL_MSGPACK;
	const char *problem;
	char *text;
	size_t text_len;

	switch (serializer_read(cbor ? SERIALIZER_CBOR : SERIALIZER_MSGPACK, data, len,
							client->session.sessions->config->max_message, &text, &text_len,
							&problem))
	{
		case SERIALIZER_DONE:
			wamp_on_text(client, text, text_len);
			free(text);
			break;
		case SERIALIZER_BAD:
			wamp_violation(client, problem);
			break;
		case SERIALIZER_TOO_BIG:
			session_close(&client->session, SESSION_CLOSE_TOO_BIG, problem);
			break;
	}
}

static void
wamp_on_message(HubClient *client, const char *data, size_t len)
{
	(client->protocol->encode != NULL ? wamp_on_binary : wamp_on_text)(client, data, len);
}

static void
wamp_on_identified(HubClient *client)
{
	wamp_identified(client);
	wamp_settle(client);
}

static void
wamp_on_outside(HubClient *client)
{
	wamp_outside(client);
	wamp_settle(client);
}

void
wamp_present(HubClient *client, const char *token, size_t len)
{
	wamp_session(client)->token = memory_string(token, len);
}

static bool
wamp_answered(HubClient *client, const char *id, const WireMessage *answer)
{
	WampType type;
	uint64_t request;

	wamp_request_read(id, &type, &request);
	if (type != WAMP_PUBLISH)
		return client->state != NULL && wamp_route_answered(client->state, request, answer);
	wamp_publish_answered(client->state, request, answer);
	return true;
}

static void
wamp_routed(HubClient *client, const WireRoute *route)
{
	if (client->state != NULL && (route->request & WAMP_PUBLICATION) != 0)
		wamp_publish_routed(client->state, route);
	else if (client->state != NULL)
		wamp_route_received(client->state, route);
}

static void
wamp_linked(HubClient *client, bool linked)
{
	const WampSession *session = client->state;

	if (session == NULL || (!linked && wamp_challenge_lost(client->state)) || !session->settled)
		return;
	wamp_route_linked(client->state, linked);
	if (client->state != NULL)
		wamp_publish_linked(client->state, linked);
}

static void
wamp_has_left(HubClient *client)
{
	if (client->state != NULL)
	{
		wamp_testament_left(client->state);
		wamp_route_left(client->state);
		wamp_publish_left(client->state);
	}
	wamp_left(client);
}

static const ProtocolHooks wamp_hooks = {
	.message = wamp_on_message,
	.identified = wamp_on_identified,
	.not_identified = wamp_not_identified,
	.challenged = wamp_challenged,
	.subscribed = wamp_has_subscribed,
	.ended = wamp_has_ended,
	.outside = wamp_on_outside,
	.farewell = wamp_farewell,
	.left = wamp_has_left,
	.answered = wamp_answered,
	.routed = wamp_routed,
	.linked = wamp_linked,
};

/* ---------------- frames ---------------- */

static Frame *
wamp_plain_event(const ProtocolEvent *event)
{
	return wamp_topic_event(event, false);
}

static Frame *
wamp_bigint_event(const ProtocolEvent *event)
{
	return wamp_topic_event(event, true);
}

static Frame *
wamp_protocol_result(RequestMethod method, const char *id, ProtocolName name, WirePosition position,
					 bool inside)
{
	(void) method;
	(void) position;
	(void) inside;
	return wamp_topic_result(id, name);
}

static Frame *
wamp_plain_query_result(const char *id, const WireResultMsg *result)
{
	return wamp_query_result(id, result->body, false);
}

static Frame *
wamp_bigint_query_result(const char *id, const WireResultMsg *result)
{
	return wamp_query_result(id, result->body, true);
}

static Frame *
wamp_plain_progress(const char *id, WireBytes row)
{
	return wamp_query_progress(id, row, false);
}

static Frame *
wamp_bigint_progress(const char *id, WireBytes row)
{
	return wamp_query_progress(id, row, true);
}

static Frame *
wamp_encode_cbor(Frame *frame)
{
	return serializer_frame(SERIALIZER_CBOR, frame);
}

static Frame *
wamp_encode_msgpack(Frame *frame)
{
	return serializer_frame(SERIALIZER_MSGPACK, frame);
}

/* which: plain, or bigint: numbers that a double does not hold are strings */
#define WAMP_PROTOCOL(number_, encode_, which)                                                     \
	{                                                                                              \
		.number = (number_), .hooks = &wamp_hooks, .encode = (encode_),                            \
		.event = wamp_##which##_event, .result = wamp_protocol_result,                             \
		.refusal = wamp_topic_refusal, .query_result = wamp_##which##_query_result,                \
		.progress = wamp_##which##_progress, .query_failure = wamp_query_failure,                  \
		.reset = wamp_topic_reset,                                                                 \
	}

static const struct
{
	const char *subprotocol;
	Protocol protocols[2];
} wamp_protocols[] = {
	{WEBSOCKET_SUBPROTOCOL_JSON,
	 {WAMP_PROTOCOL(PROTOCOL_WAMP, NULL, plain),
	  WAMP_PROTOCOL(PROTOCOL_WAMP_BIGINT, NULL, bigint)}},
	{WEBSOCKET_SUBPROTOCOL_CBOR,
	 {WAMP_PROTOCOL(PROTOCOL_CBOR, wamp_encode_cbor, plain),
	  WAMP_PROTOCOL(PROTOCOL_CBOR_BIGINT, wamp_encode_cbor, bigint)}},
	{WEBSOCKET_SUBPROTOCOL_MSGPACK,
	 {WAMP_PROTOCOL(PROTOCOL_MSGPACK, wamp_encode_msgpack, plain),
	  WAMP_PROTOCOL(PROTOCOL_MSGPACK_BIGINT, wamp_encode_msgpack, bigint)}},
};

const Protocol *
wamp_protocol(const char *subprotocol, bool bigint)
{
	for (size_t i = 0; i < sizeof(wamp_protocols) / sizeof(wamp_protocols[0]); i++)
	{
		if (strcmp(wamp_protocols[i].subprotocol, subprotocol) == 0)
			return &wamp_protocols[i].protocols[bigint];
	}
	return NULL;
}
