/*-------------------------------------------------------------------------
 *
 * wamp_history.c
 *	  Event history: the procedure wamp.subscription.get_events. See wamp_history.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/wamp_history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/protocol/members.h"
#include "gateway/protocol/notification.h"
#include "gateway/wamp/wamp_broker.h"
#include "gateway/wamp/wamp_build.h"
#include "wire/uri.h"

static const char history_procedure[] = "wamp.subscription.get_events";

#define HISTORY_EVENTS 10 /* if the client does not say how many */

/* ---------------- CALL ---------------- */

typedef struct HistoryArguments
{
	uint64_t subscription;
	json_int_t limit;
	bool reverse;
} HistoryArguments;

/* The arguments by their names, or NULL if they are malformed. */
static json_t *
history_read_arguments(const WampMessage *message)
{
	static const char *const names[] = {"subscription", "limit"};
	json_t *args = message->args.len > 0
					   ? json_loadb(message->args.data, message->args.len, 0, NULL)
					   : json_array();
	json_t *named = message->kwargs.len > 0
						? json_loadb(message->kwargs.data, message->kwargs.len, 0, NULL)
						: json_object();
	size_t n = json_array_size(args);
	bool valid = args != NULL && named != NULL && n <= sizeof(names) / sizeof(names[0]);

	for (size_t i = 0; valid && i < n; i++)
		valid = json_object_set(named, names[i], json_array_get(args, i)) == 0;
	json_decref(args);
	if (valid)
		return named;
	json_decref(named);
	return NULL;
}

/* Read the arguments. Returns NULL, or what is wrong. */
static const char *
history_arguments(const WampMessage *message, HistoryArguments *arguments)
{
	json_t *named = history_read_arguments(message);
	const char *problem = NULL;
	const char *name;
	json_t *value;

	*arguments = (HistoryArguments){.limit = HISTORY_EVENTS};
	if (named == NULL)
		return "the arguments are a subscription and a limit";
	json_object_foreach(named, name, value)
	{
		if (strcmp(name, "subscription") == 0 && json_is_integer(value))
			arguments->subscription = (uint64_t) json_integer_value(value);
		else if (strcmp(name, "limit") == 0 && json_is_integer(value))
			arguments->limit = json_integer_value(value);
		else if (strcmp(name, "reverse") == 0 && json_is_boolean(value))
			arguments->reverse = json_is_true(value);
		else
			problem = "the arguments are a subscription, a limit (a number) and \"reverse\"";
	}
	json_decref(named);
	return problem;
}

/* Ask a worker. */
static void
history_ask(WampSession *session, uint64_t number, const HistoryArguments *arguments,
			const Subscription *sub)
{
	Request request = {.method = REQUEST_CALL};
	json_t *body = json_object();
	char id[80];

	json_object_set_new(body, "channel", json_stringn(sub->channel, sub->channel_len));
	json_object_set_new(body, "limit", json_integer(arguments->limit));
	snprintf(id, sizeof(id), "%d,%" PRIu64 ",%s,%" PRIu64, WAMP_CALL, number,
			 arguments->reverse ? "reverse" : "history", arguments->subscription);
	request.id = memory_string(id, strlen(id));
	request.name = memory_string(history_procedure, strlen(history_procedure));
	request.body = notification_dump(body);
	json_decref(body);
	hub_request(session->client, &request);
	request_free(&request);
}

bool
wamp_history_call(WampSession *session, const WampMessage *message)
{
	HubClient *client = session->client;
	HistoryArguments arguments;
	const Subscription *sub;
	const char *problem;

	if (message->uri_len != strlen(history_procedure) ||
		memcmp(message->uri, history_procedure, message->uri_len) != 0)
		return false;
	problem = history_arguments(message, &arguments);
	sub = problem == NULL ? wamp_find_subscription(client, arguments.subscription) : NULL;
	if (problem != NULL)
		wamp_refuse(client, WAMP_CALL, message->request, "wamp.error.invalid_argument", problem);
	else if (sub == NULL || sub->asked)
		wamp_refuse(client, WAMP_CALL, message->request, "wamp.error.no_such_subscription",
					"the session has no such subscription");
	else if (sub->match != URI_EXACT)
		wamp_refuse(client, WAMP_CALL, message->request, "wamp.error.history_unavailable",
					"there is no history of patterns; subscribe to a topic");
	else
		history_ask(session, message->request, &arguments, sub);
	return true;
}

/* ---------------- RESULT ---------------- */

/* Text that grows. */
typedef struct HistoryText
{
	char *data;
	size_t len;
	size_t size;
} HistoryText;

static void
history_put(HistoryText *text, WireBytes bytes)
{
	if (text->size - text->len < bytes.len)
	{
		text->size = (text->size + bytes.len) * 2;
		text->data = memory_resize(text->data, text->size);
	}
	memcpy(text->data + text->len, bytes.data, bytes.len);
	text->len += bytes.len;
}

static void
history_put_text(HistoryText *text, const char *string)
{
	history_put(text, notification_bytes(string));
}

/* Write an event: what EVENT has, and when it was published. */
static void
history_put_event(HistoryText *text, uint64_t subscription, uint64_t id, WireBytes event)
{
	json_t *details = json_object();
	uint64_t publication = id;
	WampPayload payload = {.kwargs = event};
	WireBytes position;
	WireBytes op;
	WireBytes at;
	char head[128];
	char *dump;

	if (members_find(event, "position", &position) && position.len > 2)
		json_object_set_new(details, "position", json_stringn(position.data + 1, position.len - 2));
	/* Events of tables may have a payload, too. */
	if (members_find(event, "op", &op) && op.len == strlen("\"MESSAGE\"") &&
		memcmp(op.data, "\"MESSAGE\"", op.len) == 0)
		wamp_event_payload(event, details, &publication, &payload);
	dump = notification_dump(details);
	json_decref(details);
	snprintf(head, sizeof(head), "{\"subscription\":%" PRIu64 ",\"publication\":%" PRIu64,
			 subscription, publication);
	history_put_text(text, head);
	if (members_find(event, "at", &at))
	{
		history_put_text(text, ",\"timestamp\":");
		history_put(text, at);
	}
	history_put_text(text, ",\"details\":");
	history_put_text(text, dump);
	free(dump);
	history_put_text(text, ",\"args\":");
	history_put(text, payload.args.len > 0 ? payload.args : notification_bytes("[]"));
	history_put_text(text, ",\"kwargs\":");
	history_put(text, payload.kwargs.len > 0 ? payload.kwargs : notification_bytes("{}"));
	history_put_text(text, "}");
}

/* Read "48,REQUEST,history,SUBSCRIPTION". Returns false for the ids of other requests. */
static bool
history_read_id(const char *id, uint64_t *request, uint64_t *subscription, bool *reverse)
{
	WampType type;
	const char *kind;

	wamp_request_read(id, &type, request);
	kind = strchr(id, ',');
	kind = kind != NULL ? strchr(kind + 1, ',') : NULL;
	if (kind == NULL)
		return false;
	*reverse = strncmp(kind, ",reverse,", strlen(",reverse,")) == 0;
	*subscription = strtoull(kind + strlen(",history,"), NULL, 10);
	return *reverse || strncmp(kind, ",history,", strlen(",history,")) == 0;
}

bool
wamp_history_asked(const char *id)
{
	uint64_t request;
	uint64_t subscription;
	bool reverse;

	return history_read_id(id, &request, &subscription, &reverse);
}

/* The worker's answer has the events by their ids, the newest one last. */
Frame *
wamp_history_result(const char *id, WireBytes body, bool bigint)
{
	HistoryText text = {.len = 0};
	uint64_t subscription = 0;
	uint64_t request = 0;
	bool reverse = false;
	WireBytes *events = NULL;
	WireBytes *names = NULL;
	size_t n = 0;
	WireBytes name;
	WireBytes event;
	Frame *frame;

	(void) history_read_id(id, &request, &subscription, &reverse);
	while (members_next(&body, &name, &event))
	{
		if ((n & (n + 1)) == 0)
		{
			events = memory_resize(events, (n + 1) * 2 * sizeof(WireBytes));
			names = memory_resize(names, (n + 1) * 2 * sizeof(WireBytes));
		}
		events[n] = event;
		names[n++] = name;
	}
	history_put_text(&text, "[");
	for (size_t i = 0; i < n; i++)
	{
		size_t k = reverse ? n - 1 - i : i;

		if (i > 0)
			history_put_text(&text, ",");
		/* The quote ends the number. */
		history_put_event(&text, subscription, strtoull(names[k].data, NULL, 10), events[k]);
	}
	history_put_text(&text, "]");
	frame = wamp_result_value(request, (WireBytes){.data = text.data, .len = (uint32_t) text.len},
							  false, bigint);
	free(text.data);
	free(events);
	free(names);
	return frame;
}
