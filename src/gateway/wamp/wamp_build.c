/*-------------------------------------------------------------------------
 *
 * wamp_build.c
 *	  Builds the messages of WAMP that a router sends (wamp.2.json).
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/wamp_build.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/base/text.h"
#include "gateway/protocol/notification.h"
#include "gateway/protocol/numbers.h"

#define WAMP_MAX_HEAD   64 /* "[68," and two ids, with commas */
#define WAMP_MAX_MIDDLE 3

/* ---------------- parts ---------------- */

/* The JSON of a string, which the caller frees. */
static char *
wamp_string(WireBytes text)
{
	json_t *string = json_stringn(text.data != NULL ? text.data : "",
								  text_utf8_cut(text.data, text.len, text.len));
	char *json = notification_dump(string);

	json_decref(string);
	return json;
}

static WireBytes
wamp_object(WireBytes object)
{
	return object.len > 0 ? object : notification_bytes("{}");
}

/* Build a message that consists of numbers. */
static Frame *
wamp_numbers(WampType type, uint64_t first, uint64_t second)
{
	char text[WAMP_MAX_HEAD];
	WireBytes part;

	if (second > 0)
		snprintf(text, sizeof(text), "[%d,%" PRIu64 ",%" PRIu64 "]", type, first, second);
	else
		snprintf(text, sizeof(text), "[%d,%" PRIu64 "]", type, first);
	part = notification_bytes(text);
	return frame_text(&part, 1);
}

/* Build a message of a head, the parts in between, at most WAMP_MAX_MIDDLE, and the payload. */
static Frame *
wamp_message(const char *head, const WireBytes *middle, size_t count, const WampPayload *payload)
{
	WireBytes parts[1 + WAMP_MAX_MIDDLE + 5];
	WireBytes args = payload->args;
	WireBytes kwargs = payload->kwargs;
	char *owned_args = payload->bigint && args.len > 0 ? numbers_replace(&args) : NULL;
	char *owned_kwargs = payload->bigint && kwargs.len > 0 ? numbers_replace(&kwargs) : NULL;
	size_t n = 0;
	Frame *frame;

	parts[n++] = notification_bytes(head);
	for (size_t i = 0; i < count; i++)
		parts[n++] = middle[i];
	if (args.len > 0 || kwargs.len > 0)
	{
		parts[n++] = notification_bytes(",");
		parts[n++] = args.len > 0 ? args : notification_bytes("[]");
	}
	if (kwargs.len > 0)
	{
		parts[n++] = notification_bytes(",");
		parts[n++] = kwargs;
	}
	parts[n++] = notification_bytes("]");
	frame = frame_text(parts, n);
	free(owned_args);
	free(owned_kwargs);
	return frame;
}

/* Build a message of a head, an object and the payload. */
static Frame *
wamp_detailed(const char *head, WireBytes details, const WampPayload *payload)
{
	WireBytes middle = wamp_object(details);

	return wamp_message(head, &middle, 1, payload);
}

/* Build EVENT or INVOCATION. */
static Frame *
wamp_delivery(WampType type, uint64_t first, uint64_t second, WireBytes details,
			  const WampPayload *payload)
{
	char head[WAMP_MAX_HEAD];

	snprintf(head, sizeof(head), "[%d,%" PRIu64 ",%" PRIu64 ",", type, first, second);
	return wamp_detailed(head, details, payload);
}

/* Build ABORT or GOODBYE. */
static Frame *
wamp_last(WampType type, const char *reason, const char *message)
{
	json_t *array = json_array();
	json_t *details = json_object();
	char *text;
	WireBytes part;
	Frame *frame;

	if (message != NULL)
		notification_put_bytes(details, "message", notification_bytes(message));
	json_array_append_new(array, json_integer(type));
	json_array_append_new(array, details);
	json_array_append_new(array, json_string(reason));
	text = notification_dump(array);
	part = notification_bytes(text);
	frame = frame_text(&part, 1);
	free(text);
	json_decref(array);
	return frame;
}

/* Build UNSUBSCRIBED or UNREGISTERED that the client has not asked for. */
static Frame *
wamp_ended(WampType type, const char *key, uint64_t id, const char *reason)
{
	char head[WAMP_MAX_HEAD];
	char *uri = wamp_string(notification_bytes(reason));
	WireBytes middle[] = {notification_bytes(uri), notification_bytes("}")};
	Frame *frame;

	snprintf(head, sizeof(head), "[%d,0,{\"%s\":%" PRIu64 ",\"reason\":", type, key, id);
	frame = wamp_message(head, middle, 2, &WAMP_NO_PAYLOAD);
	free(uri);
	return frame;
}

/* ---------------- sessions ---------------- */

Frame *
wamp_welcome(uint64_t session, WireBytes details)
{
	char head[WAMP_MAX_HEAD];

	snprintf(head, sizeof(head), "[%d,%" PRIu64 ",", WAMP_WELCOME, session);
	return wamp_detailed(head, details, &WAMP_NO_PAYLOAD);
}

Frame *
wamp_challenge(const char *method, WireBytes extra)
{
	char head[WAMP_MAX_HEAD];
	char *name = wamp_string(notification_bytes(method));
	WireBytes middle[] = {notification_bytes(name), notification_bytes(","), wamp_object(extra)};
	Frame *frame;

	snprintf(head, sizeof(head), "[%d,", WAMP_CHALLENGE);
	frame = wamp_message(head, middle, 3, &WAMP_NO_PAYLOAD);
	free(name);
	return frame;
}

Frame *
wamp_abort(const char *reason, const char *message)
{
	return wamp_last(WAMP_ABORT, reason, message);
}

Frame *
wamp_goodbye(const char *reason, const char *message)
{
	return wamp_last(WAMP_GOODBYE, reason, message);
}

/* ---------------- errors ---------------- */

Frame *
wamp_error(WampType failed, uint64_t request, WireBytes details, WireBytes uri,
		   const WampPayload *payload)
{
	char head[WAMP_MAX_HEAD];
	char *name = wamp_string(uri);
	WireBytes middle[] = {wamp_object(details), notification_bytes(","), notification_bytes(name)};
	Frame *frame;

	snprintf(head, sizeof(head), "[%d,%d,%" PRIu64 ",", WAMP_ERROR, failed, request);
	frame = wamp_message(head, middle, 3, payload);
	free(name);
	return frame;
}

Frame *
wamp_failure(WampType failed, uint64_t request, const char *uri, WireBytes message,
			 const json_t *kwargs)
{
	json_t *list = json_array();
	char *args;
	char *named = kwargs != NULL ? notification_dump(kwargs) : NULL;
	WampPayload payload = {.bigint = false};
	Frame *frame;

	json_array_append_new(list,
						  json_stringn(message.data != NULL ? message.data : "",
									   text_utf8_cut(message.data, message.len, message.len)));
	args = notification_dump(list);
	payload.args = notification_bytes(args);
	if (named != NULL)
		payload.kwargs = notification_bytes(named);
	frame = wamp_error(failed, request, (WireBytes){.len = 0}, notification_bytes(uri), &payload);
	free(args);
	free(named);
	json_decref(list);
	return frame;
}

/* ---------------- topics ---------------- */

Frame *
wamp_published(uint64_t request, uint64_t publication)
{
	return wamp_numbers(WAMP_PUBLISHED, request, publication);
}

Frame *
wamp_subscribed(uint64_t request, uint64_t subscription)
{
	return wamp_numbers(WAMP_SUBSCRIBED, request, subscription);
}

Frame *
wamp_unsubscribed(uint64_t request)
{
	return wamp_numbers(WAMP_UNSUBSCRIBED, request, 0);
}

Frame *
wamp_unsubscribed_by_router(uint64_t subscription, const char *reason)
{
	return wamp_ended(WAMP_UNSUBSCRIBED, "subscription", subscription, reason);
}

Frame *
wamp_event(uint64_t subscription, uint64_t publication, WireBytes details,
		   const WampPayload *payload)
{
	return wamp_delivery(WAMP_EVENT, subscription, publication, details, payload);
}

/* ---------------- procedures ---------------- */

Frame *
wamp_result(uint64_t request, WireBytes details, const WampPayload *payload)
{
	char head[WAMP_MAX_HEAD];

	snprintf(head, sizeof(head), "[%d,%" PRIu64 ",", WAMP_RESULT, request);
	return wamp_detailed(head, details, payload);
}

Frame *
wamp_result_value(uint64_t request, WireBytes value, bool progress, bool bigint)
{
	char head[WAMP_MAX_HEAD];
	char *owned = bigint ? numbers_replace(&value) : NULL;
	WireBytes middle[] = {value, notification_bytes("]")};
	Frame *frame;

	snprintf(head, sizeof(head), "[%d,%" PRIu64 ",%s,[", WAMP_RESULT, request,
			 progress ? "{\"progress\":true}" : "{}");
	frame = wamp_message(head, middle, 2, &WAMP_NO_PAYLOAD);
	free(owned);
	return frame;
}

Frame *
wamp_registered(uint64_t request, uint64_t registration)
{
	return wamp_numbers(WAMP_REGISTERED, request, registration);
}

Frame *
wamp_unregistered(uint64_t request)
{
	return wamp_numbers(WAMP_UNREGISTERED, request, 0);
}

Frame *
wamp_unregistered_by_router(uint64_t registration, const char *reason)
{
	return wamp_ended(WAMP_UNREGISTERED, "registration", registration, reason);
}

Frame *
wamp_invocation(uint64_t request, uint64_t registration, WireBytes details,
				const WampPayload *payload)
{
	return wamp_delivery(WAMP_INVOCATION, request, registration, details, payload);
}

Frame *
wamp_interrupt(uint64_t request, WireBytes options)
{
	char head[WAMP_MAX_HEAD];

	snprintf(head, sizeof(head), "[%d,%" PRIu64 ",", WAMP_INTERRUPT, request);
	return wamp_detailed(head, options, &WAMP_NO_PAYLOAD);
}

/* ---------------- requests ---------------- */

/* Both are parts of one text, with only a comma and spaces between them. */
WireBytes
wamp_tail(const WampMessage *message)
{
	WireBytes tail = message->args;

	if (message->kwargs.len > 0)
		tail.len = (uint32_t) (message->kwargs.data + message->kwargs.len - message->args.data);
	return tail;
}

char *
wamp_request_id(WampType type, uint64_t request)
{
	char text[WAMP_MAX_HEAD];
	int len = snprintf(text, sizeof(text), "%d,%" PRIu64, type, request);

	return memory_string(text, (size_t) len);
}

void
wamp_request_read(const char *id, WampType *type, uint64_t *request)
{
	char *end;

	*type = (WampType) strtoul(id, &end, 10);
	*request = *end == ',' ? strtoull(end + 1, NULL, 10) : 0;
}
