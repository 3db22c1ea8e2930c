/*-------------------------------------------------------------------------
 *
 * wamp_broker.c
 *	  Topics: SUBSCRIBE, UNSUBSCRIBE and EVENT. See wamp_broker.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/wamp_broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/protocol/jsonrpc.h"
#include "gateway/protocol/members.h"
#include "gateway/protocol/notification.h"
#include "gateway/wamp/wamp_build.h"
#include "wire/uri.h"

/* The options of SUBSCRIBE that are those of JSON-RPC's "subscribe", behind "x_" or "_". */
static const char *const wamp_selections[] = {"filter", "columns", "ops", "since"};

/* ---------------- the numbers of subscriptions ---------------- */

/*
 * A subscription that a pattern has brought about has the pattern as its tag, such as "prefix:com.shop."
 * Returns the number that its client knows.
 */
static uint64_t
wamp_subscription_id(ProtocolName name)
{
	const char *colon = name.tag.len > 0 ? memchr(name.tag.data, ':', name.tag.len) : NULL;
	size_t len = colon != NULL ? (size_t) (colon - name.tag.data) : 0;
	UriMatch match;

	if (colon == NULL || !uri_match_parse(name.tag.data, len, &match))
		return uri_id(URI_EXACT, name.channel.data, name.channel.len);
	return uri_id(match, colon + 1, name.tag.len - len - 1);
}

Subscription *
wamp_find_subscription(const HubClient *client, uint64_t id)
{
	Subscription *sub;

	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		if (sub->parent == NULL && uri_id(sub->match, sub->channel, sub->channel_len) == id)
			return sub;
	}
	return NULL;
}

/* ---------------- SUBSCRIBE ---------------- */

/* How the topic matches. wamp_read() has checked the option. */
static UriMatch
wamp_match(const WampMessage *message)
{
	const json_t *option = json_object_get(message->details, "match");
	UriMatch match;

	if (option == NULL ||
		!uri_match_parse(json_string_value(option), json_string_length(option), &match))
		return URI_EXACT;
	return match;
}

/* Read the topic and the options of SUBSCRIBE. Returns false if the client was told what is wrong. */
static bool
wamp_read_subscribe(HubClient *client, const WampMessage *message, Request *request)
{
	json_t *params;
	json_t *error;
	UriMatch match = wamp_match(message);
	bool valid = uri_is_valid(match, message->uri, message->uri_len);

	if (!valid || message->uri_len > PROTOCOL_MAX_CHANNEL)
	{
		wamp_refuse(client, WAMP_SUBSCRIBE, message->request, "wamp.error.invalid_uri",
					valid ? "a topic has at most 63 bytes" : "the topic is no valid URI");
		return false;
	}
	params = json_object();
	json_object_set_new(params, "channel", json_stringn(message->uri, message->uri_len));
	for (size_t i = 0; i < sizeof(wamp_selections) / sizeof(wamp_selections[0]); i++)
	{
		char name[16];
		json_t *value;

		/* Clients may let only those options of their users pass that begin as the specification says, with "_". */
		snprintf(name, sizeof(name), "x_%s", wamp_selections[i]);
		value = json_object_get(message->details, name);
		if (value == NULL)
			value = json_object_get(message->details, name + 1);
		if (value != NULL)
			json_object_set(params, wamp_selections[i], value);
	}
	error = jsonrpc_subscribe(params, request);
	json_decref(params);
	if (error == NULL)
	{
		request->match = (uint8_t) match;
		return true;
	}
	wamp_refuse(client, WAMP_SUBSCRIBE, message->request, "wamp.error.invalid_argument",
				json_string_value(json_object_get(error, "message")));
	json_decref(error);
	return false;
}

/* Let a SUBSCRIBE wait for the answer to the topic's first one. */
static void
wamp_wait(WampSession *session, uint64_t id, uint64_t request)
{
	WampWaiter *waiter = memory_zeroed(sizeof(WampWaiter));

	waiter->request = request;
	waiter->subscription = id;
	TAILQ_INSERT_TAIL(&session->waiters, waiter, in_session);
	session->client->session.unanswered++;
}

/* Take the first waiter for this subscription out. Returns false if there is none. */
static bool
wamp_next_waiter(WampSession *session, uint64_t id, uint64_t *request)
{
	WampWaiter *waiter;

	TAILQ_FOREACH(waiter, &session->waiters, in_session)
	{
		if (waiter->subscription != id)
			continue;
		*request = waiter->request;
		TAILQ_REMOVE(&session->waiters, waiter, in_session);
		free(waiter);
		session->client->session.unanswered--;
		session_schedule(&session->client->session);
		return true;
	}
	return false;
}

/* The client has a subscription to the topic already: WAMP wants the same answer. */
static void
wamp_subscribe_again(WampSession *session, const Subscription *sub, const Request *request,
					 uint64_t number)
{
	HubClient *client = session->client;
	uint64_t id = uri_id(sub->match, sub->channel, sub->channel_len);

	if (sub->match == URI_EXACT &&
		(sub->ops != request->ops || !selection_same(sub->selection, request->selection)))
		wamp_refuse(client, WAMP_SUBSCRIBE, number, "wamp.error.option_not_allowed",
					"the session has a subscription to this topic with other options");
	else if (sub->asked)
		wamp_wait(session, id, number);
	else
		wamp_send(client, wamp_subscribed(number, id));
}

void
wamp_subscribe(WampSession *session, const WampMessage *message)
{
	HubClient *client = session->client;
	Subscription *sub;
	Request request;

	if (!wamp_read_subscribe(client, message, &request))
		return;
	sub = wamp_find_subscription(client, uri_id(request.match, message->uri, message->uri_len));
	if (sub == NULL)
	{
		request.id = wamp_request_id(WAMP_SUBSCRIBE, message->request);
		hub_request(client, &request);
	}
	else if (sub->match == request.match && sub->channel_len == message->uri_len &&
			 memcmp(sub->channel, message->uri, message->uri_len) == 0)
		wamp_subscribe_again(session, sub, &request, message->request);
	else
		wamp_refuse(client, WAMP_SUBSCRIBE, message->request, "wamp.error.unavailable",
					"this topic has the number of another one to which the session has subscribed");
	request_free(&request);
}

void
wamp_has_subscribed(HubClient *client, ProtocolName name)
{
	uint64_t id = wamp_subscription_id(name);
	uint64_t request;

	while (client->state != NULL && wamp_next_waiter(client->state, id, &request))
		wamp_send(client, wamp_subscribed(request, id));
}

/* ---------------- UNSUBSCRIBE and refusals ---------------- */

void
wamp_unsubscribe(WampSession *session, const WampMessage *message)
{
	HubClient *client = session->client;
	Subscription *sub = wamp_find_subscription(client, message->id);

	/* The client cannot know the number of one that is not answered. */
	if (sub == NULL || sub->asked)
	{
		wamp_refuse(client, WAMP_UNSUBSCRIBE, message->request, "wamp.error.no_such_subscription",
					"the session has no such subscription");
		return;
	}
	hub_drop(client, sub);
	wamp_send(client, wamp_unsubscribed(message->request));
}

static const char *
wamp_reason_uri(ProtocolReason reason)
{
	switch (reason)
	{
		case PROTOCOL_NOT_PERMITTED:
		case PROTOCOL_NO_SUCH_CHANNEL:
		case PROTOCOL_NOT_AUTHENTICATED:
		case PROTOCOL_EXPIRED:
		case PROTOCOL_REVOKED:
		case PROTOCOL_DISCONNECTED:
			return "wamp.error.not_authorized";
		case PROTOCOL_BAD_FILTER:
		case PROTOCOL_NO_SNAPSHOTS:
			return "wamp.error.invalid_argument";
		case PROTOCOL_CANCELLED:
			return "wamp.error.canceled";
		case PROTOCOL_NOT_SUBSCRIBED:
			return "wamp.error.no_such_subscription";
		case PROTOCOL_TOO_MANY_SUBSCRIPTIONS:
		case PROTOCOL_TOO_MANY_TOKENS:
		case PROTOCOL_SUBSCRIBED_ALREADY:
			return "wamp.error.unavailable";
		case PROTOCOL_POLICY_FAILED:
			break;
	}
	return "wamp.error.runtime_error";
}

Frame *
wamp_topic_refusal(const char *id, ProtocolReason reason, WireBytes text, ProtocolName name)
{
	WampType type;
	uint64_t request;

	if (id == NULL)
		return wamp_unsubscribed_by_router(wamp_subscription_id(name), wamp_reason_uri(reason));
	wamp_request_read(id, &type, &request);
	return wamp_failure(type, request, wamp_reason_uri(reason), text, NULL);
}

void
wamp_has_ended(HubClient *client, ProtocolName name, ProtocolReason reason, WireBytes text)
{
	uint64_t id = wamp_subscription_id(name);
	uint64_t request;

	while (client->state != NULL && wamp_next_waiter(client->state, id, &request))
		wamp_send(client,
				  wamp_failure(WAMP_SUBSCRIBE, request, wamp_reason_uri(reason), text, NULL));
}

Frame *
wamp_topic_result(const char *id, ProtocolName name)
{
	WampType type;
	uint64_t request;

	wamp_request_read(id, &type, &request);
	return wamp_subscribed(request, wamp_subscription_id(name));
}

/* ---------------- EVENT ---------------- */

/* Begin the details of an event. */
static json_t *
wamp_event_details(ProtocolName name, WirePosition position)
{
	json_t *details = json_object();

	if (name.tag.len > 0)
		notification_put_bytes(details, "topic", name.channel);
	if (position.id != 0)
		notification_put_position(details, position, false);
	return details;
}

static void
wamp_copy_member(json_t *details, const char *key, WireBytes object, const char *name)
{
	WireBytes value;

	if (members_find(object, name, &value))
		json_object_set_new(details, key, json_loadb(value.data, value.len, JSON_DECODE_ANY, NULL));
}

/* Add who has published it, if subscribers may know. */
static void
wamp_disclose(json_t *details, WireBytes publisher)
{
	WireBytes role;

	if (!members_find(publisher, "authrole", &role))
		return;
	wamp_copy_member(details, "publisher", publisher, "session");
	wamp_copy_member(details, "publisher_authid", publisher, "authid");
	wamp_copy_member(details, "publisher_authrole", publisher, "authrole");
}

/* Add how the arguments are to be read, if that is not for us. */
static void
wamp_pass_opaque(json_t *details, WireBytes publisher)
{
	static const char *const names[] = {ROUTE_OPAQUE_OPTIONS};
	WireBytes scheme;

	if (!members_find(publisher, names[0], &scheme))
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		wamp_copy_member(details, names[i], publisher, names[i]);
}

/* Take {"args": [...], "kwargs": {...}} apart. Returns false if it is something else. */
static bool
wamp_split(WireBytes object, WampPayload *payload)
{
	WireBytes rest = object;
	WireBytes name;
	WireBytes value;

	payload->args = payload->kwargs = (WireBytes){.len = 0};
	if (object.len == 0 || *object.data != '{')
		return false;
	while (members_next(&rest, &name, &value))
	{
		if (name.len == 4 && memcmp(name.data, "args", 4) == 0 && value.len > 0 &&
			*value.data == '[' && payload->args.len == 0)
			payload->args = value;
		else if (name.len == 6 && memcmp(name.data, "kwargs", 6) == 0 && value.len > 0 &&
				 *value.data == '{' && payload->kwargs.len == 0)
			payload->kwargs = value;
		else
			return false;
	}
	return payload->args.len > 0 || payload->kwargs.len > 0;
}

void
wamp_event_payload(WireBytes body, json_t *details, uint64_t *publication, WampPayload *payload)
{
	WireBytes value;
	WireBytes publisher;
	WireBytes flag;

	if (members_find(body, "publication", &value))
		*publication = strtoull(value.data, NULL, 10);
	if (members_find(body, "publisher", &publisher))
		wamp_disclose(details, publisher);
	else
		publisher.len = 0;
	/* What a message chose for arguments could look like an event of the table. */
	if (!members_find(body, "payload", &value) || members_find(body, "watched", &flag))
		return;
	if (publisher.len == 0)
	{
		if (!wamp_split(value, payload))
			*payload = (WampPayload){.kwargs = body, .bigint = payload->bigint};
		return;
	}
	wamp_pass_opaque(details, publisher);
	if (members_find(publisher, "args", &flag))
		(void) wamp_split(value, payload);
	else
		payload->kwargs = value;
}

Frame *
wamp_topic_event(const ProtocolEvent *event, bool bigint)
{
	json_t *details = wamp_event_details(event->name, event->position);
	uint64_t publication = event->position.id;
	WampPayload payload = {.kwargs = event->body, .bigint = bigint};
	char *text;
	Frame *frame;

	if ((event->op & (WIRE_OP_MESSAGE | WIRE_OP_NOTIFY)) != 0)
		wamp_event_payload(event->body, details, &publication, &payload);
	text = notification_dump(details);
	frame = wamp_event(wamp_subscription_id(event->name),
					   publication != 0 ? publication : wamp_random_id(), notification_bytes(text),
					   &payload);
	free(text);
	json_decref(details);
	return frame;
}

Frame *
wamp_topic_reset(ProtocolName name, WireBytes reason, WirePosition position, bool inside)
{
	json_t *kwargs = json_object();
	json_t *details = wamp_event_details(name, position);
	char *head = notification_dump(details);
	char *text;
	WampPayload payload = {.bigint = false};
	Frame *frame;

	notification_put_bytes(kwargs, "op", notification_bytes("RESET"));
	notification_put_bytes(kwargs, "channel", name.channel);
	notification_put_bytes(kwargs, "reason", reason);
	notification_put_position(kwargs, position, inside);
	text = notification_dump(kwargs);
	payload.kwargs = notification_bytes(text);
	frame = wamp_event(wamp_subscription_id(name), wamp_random_id(), notification_bytes(head),
					   &payload);
	free(text);
	free(head);
	json_decref(kwargs);
	json_decref(details);
	return frame;
}
