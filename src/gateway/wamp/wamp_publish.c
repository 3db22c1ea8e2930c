/*-------------------------------------------------------------------------
 *
 * wamp_publish.c
 *	  PUBLISH: messages that are in the log, and others. See wamp_publish.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/wamp_publish.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/protocol/notification.h"
#include "gateway/wamp/wamp_build.h"
#include "gateway/wamp/wamp_failure.h"
#include "gateway/wamp/wamp_hint.h"
#include "gateway/wamp/wamp_options.h"
#include "wire/uri.h"

typedef enum PublicationState
{
	PUBLICATION_WAITING,
	PUBLICATION_AT_FEED,
	PUBLICATION_AT_WORKER,
} PublicationState;

struct WampPublication
{
	TAILQ_ENTRY(WampPublication) in_session;
	uint8_t state;     /* PublicationState */
	bool plain;        /* AT_FEED: the feed passes it on by itself, as far as is known */
	bool disclose;     /* subscribers may know who has published it */
	bool exclude_me;   /* the session itself does not get it */
	bool acknowledged; /* the client wants an answer */
	uint64_t number;   /* unique in the session */
	uint64_t request;
	json_t *audience; /* the options that say who gets it; NULL: none */
	json_t *opaque;   /* the options of payload passthru, an object; NULL: none */
	WireBytes topic;
	WireBytes args; /* as in WampMessage */
	WireBytes kwargs;
	WireBytes tail; /* both */
	char text[];    /* of topic and tail */
};

/* Options of PUBLISH that say who gets a message. */
static const char *const publish_lists[] = {"exclude",         "eligible",
											"exclude_authid",  "exclude_authrole",
											"eligible_authid", "eligible_authrole"};

static WampHint
publish_known(const WampSession *session, const WampPublication *publication)
{
	return wamp_hint(session->client->database, wamp_hint_topic(publication->topic));
}

static void
publish_learn(const WampSession *session, const WampPublication *publication, WampHint known)
{
	wamp_hint_learn(session->client->database, wamp_hint_topic(publication->topic), known);
}

/* ---------------- answers ---------------- */

static void
publish_free(WampSession *session, WampPublication *publication)
{
	TAILQ_REMOVE(&session->publications, publication, in_session);
	session->client->session.unanswered--;
	session_schedule(&session->client->session);
	json_decref(publication->audience);
	json_decref(publication->opaque);
	free(publication);
}

/* The message was published, or not: frame, which is taken over, is the answer. */
static void
publish_finish(WampSession *session, WampPublication *publication, Frame *frame)
{
	HubClient *client = session->client;
	bool acknowledged = publication->acknowledged;

	publish_free(session, publication);
	if (acknowledged)
		wamp_send(client, frame);
	else
		frame_unref(frame);
}

static void
publish_fail(WampSession *session, WampPublication *publication, const char *uri, const char *text)
{
	publish_finish(
		session, publication,
		wamp_failure(WAMP_PUBLISH, publication->request, uri, notification_bytes(text), NULL));
}

/* ---------------- through the feed ---------------- */

/* Returns false if it cannot be sent now. */
static bool
publish_to_feed(WampSession *session, WampPublication *publication)
{
	json_t *audience =
		publication->audience != NULL ? json_deep_copy(publication->audience) : json_object();
	json_t *exclude;
	WireRoute route = {
		.kind = ROUTE_PUBLISH,
		.flags = publication->disclose ? ROUTE_DISCLOSE : 0,
		.request = WAMP_PUBLICATION | publication->number,
		.id = session->id,
		.position = {.timeline = session->client->database->position.timeline,
					 .id = session->last_logged},
		.name = publication->topic,
		.payload = publication->tail,
	};
	char *options;
	bool sent;

	if (publication->exclude_me)
	{
		exclude = json_object_get(audience, "exclude");
		if (exclude == NULL)
		{
			exclude = json_array();
			json_object_set_new(audience, "exclude", exclude);
		}
		json_array_append_new(exclude, json_integer((json_int_t) session->id));
	}
	if (publication->opaque != NULL)
		json_object_update(audience, publication->opaque);
	options = notification_dump(audience);
	if (json_object_size(audience) > 0)
		route.options = notification_bytes(options);
	sent = hub_route(session->client, &route);
	free(options);
	json_decref(audience);
	return sent;
}

/* ---------------- through a worker ---------------- */

/* The member "publisher" of the event, which the caller frees. */
static char *
publish_publisher(const WampSession *session, const WampPublication *publication, bool args)
{
	json_t *publisher = json_object();
	char *text;

	if (publication->exclude_me)
		json_object_set_new(publisher, "mark", json_integer((json_int_t) session->client->mark));
	if (publication->disclose)
	{
		json_object_set_new(publisher, "session", json_integer((json_int_t) session->id));
		json_object_set_new(publisher, "authid", json_string(session->authid));
		json_object_set_new(publisher, "authrole", json_string(wamp_role(session)));
	}
	if (args)
		json_object_set_new(publisher, "args", json_true());
	if (publication->opaque != NULL)
		json_object_update(publisher, publication->opaque);
	text = notification_dump(publisher);
	json_decref(publisher);
	return text;
}

/* Arguments without elements. */
static bool
publish_is_empty(WireBytes args)
{
	for (uint32_t i = 1; i + 1 < args.len; i++)
	{
		if (strchr(" \t\r\n", args.data[i]) == NULL)
			return false;
	}
	return true;
}

/* The payload, which the caller frees: the keyword arguments, or an object of both. *args: of both. */
static char *
publish_payload(const WampPublication *publication, bool *args)
{
	static const char before[] = "{\"args\":";
	static const char between[] = ",\"kwargs\":";
	size_t size = publication->args.len + publication->kwargs.len + sizeof(before) +
				  sizeof(between) + sizeof("[]}");
	char *text;
	char *end;

	*args = publication->kwargs.len == 0 || !publish_is_empty(publication->args);
	if (!*args)
		return memory_string(publication->kwargs.data, publication->kwargs.len);
	text = memory_new(size);
	end = stpcpy(text, before);
	if (publication->args.len > 0)
		end = mempcpy(end, publication->args.data, publication->args.len);
	else
		end = stpcpy(end, "[]");
	if (publication->kwargs.len > 0)
	{
		end = stpcpy(end, between);
		end = mempcpy(end, publication->kwargs.data, publication->kwargs.len);
	}
	(void) stpcpy(end, "}");
	return text;
}

/* May close the session. */
static void
publish_to_worker(WampSession *session, WampPublication *publication)
{
	Request request = {.method = REQUEST_SEND};
	bool args;

	if (publication->audience != NULL)
	{
		publish_fail(session, publication, "wamp.error.option_not_allowed",
					 "messages of this topic are for all of its subscribers");
		return;
	}
	publication->state = PUBLICATION_AT_WORKER;
	request.id = wamp_request_id(WAMP_PUBLISH, publication->number);
	request.channel_len = (uint8_t) publication->topic.len;
	memcpy(request.channel, publication->topic.data, publication->topic.len);
	request.body = publish_payload(publication, &args);
	request.named = publish_publisher(session, publication, args);
	/* A query that cannot wait for a worker is answered at once. */
	hub_request(session->client, &request);
	request_free(&request);
}

/* ---------------- in order ---------------- */

/* Let the hub ask for a feed while a message waits for one. */
static void
publish_need_feed(WampSession *session, bool need)
{
	HubClient *client = session->client;

	if (session->needs_feed == need)
		return;
	session->needs_feed = need;
	client->database->nheld += need ? 1 : -1u;
	if (need)
		hub_need(client->session.sessions->owner, client->database);
}

/* The first message that waits, if it may be sent now. */
static WampPublication *
publish_next(const WampSession *session)
{
	WampPublication *publication;
	bool plain = true;
	bool first = true;

	TAILQ_FOREACH(publication, &session->publications, in_session)
	{
		if (publication->state == PUBLICATION_WAITING)
			break;
		first = false;
		plain &= publication->state == PUBLICATION_AT_FEED && publication->plain;
	}
	if (publication == NULL || first)
		return publication;
	return plain && publish_known(session, publication) == HINT_PLAIN ? publication : NULL;
}

/* Send what may be sent now. May close the session. */
static void
publish_more(HubClient *client)
{
	WampPublication *publication;

	while (client->state != NULL && (publication = publish_next(client->state)) != NULL)
	{
		WampSession *session = client->state;
		WampHint known = publish_known(session, publication);

		if (known == HINT_DURABLE)
		{
			publish_to_worker(session, publication);
			continue;
		}
		if (!publish_to_feed(session, publication))
		{
			publish_need_feed(session, true);
			return;
		}
		publication->state = PUBLICATION_AT_FEED;
		publication->plain = known == HINT_PLAIN;
	}
}

static WampPublication *
publish_find(const WampSession *session, uint64_t number)
{
	WampPublication *publication;

	TAILQ_FOREACH(publication, &session->publications, in_session)
	{
		if (publication->number == number)
			return publication;
	}
	return NULL;
}

void
wamp_publish_routed(WampSession *session, const WireRoute *route)
{
	HubClient *client = session->client;
	WampPublication *publication = publish_find(session, route->request & ~WAMP_PUBLICATION);

	if (publication == NULL || publication->state != PUBLICATION_AT_FEED)
		return;
	if (route->kind == ROUTE_DURABLE)
	{
		publish_learn(session, publication, HINT_DURABLE);
		publish_to_worker(session, publication);
	}
	else if (route->kind == ROUTE_PUBLISHED)
	{
		publish_learn(session, publication, HINT_PLAIN);
		publish_finish(session, publication, wamp_published(publication->request, route->id));
	}
	else
	{
		WampPayload payload = {.args = route->payload};

		publish_finish(session, publication,
					   wamp_error(WAMP_PUBLISH, publication->request, (WireBytes){.len = 0},
								  route->name, &payload));
	}
	publish_more(client);
}

void
wamp_publish_answered(WampSession *session, uint64_t number, const WireMessage *answer)
{
	HubClient *client = session->client;
	WampPublication *publication = publish_find(session, number);

	if (publication == NULL)
		return;
	if (answer->type == WIRE_FAILED)
	{
		/* The topic may have been declared no more. */
		publish_learn(session, publication, HINT_NONE);
		publish_finish(session, publication,
					   wamp_worker_failure(WAMP_PUBLISH, publication->request, &answer->u.failed));
	}
	else
	{
		session->last_logged = answer->u.result.event;
		publish_finish(session, publication,
					   wamp_published(publication->request, answer->u.result.event));
	}
	publish_more(client);
}

/* A message whose answer from the feed is still to come, or NULL. */
static WampPublication *
publish_at_feed(const WampSession *session)
{
	WampPublication *publication;

	TAILQ_FOREACH(publication, &session->publications, in_session)
	{
		if (publication->state == PUBLICATION_AT_FEED)
			return publication;
	}
	return NULL;
}

void
wamp_publish_linked(WampSession *session, bool linked)
{
	HubClient *client = session->client;
	WampPublication *publication;

	if (linked)
	{
		publish_need_feed(session, false);
		publish_more(client);
		return;
	}
	while (client->state != NULL && (publication = publish_at_feed(session)) != NULL)
		publish_fail(session, publication, "wamp.error.unavailable",
					 "the connection to the server was lost; it is not known whether the message "
					 "was published");
}

void
wamp_publish_left(WampSession *session)
{
	WampPublication *publication;

	if (session->client->database != NULL)
		publish_need_feed(session, false);
	while ((publication = TAILQ_FIRST(&session->publications)) != NULL)
		publish_free(session, publication);
}

/* ---------------- PUBLISH ---------------- */

/* Return the options that say who gets a message, whose types wamp_read() has checked; NULL: none. */
static json_t *
publish_audience(const json_t *options)
{
	json_t *audience = NULL;

	for (size_t i = 0; i < sizeof(publish_lists) / sizeof(publish_lists[0]); i++)
	{
		json_t *list = json_object_get(options, publish_lists[i]);

		if (list == NULL)
			continue;
		if (audience == NULL)
			audience = json_object();
		json_object_set(audience, publish_lists[i], list);
	}
	return audience;
}

/* Make a publication of a message. */
static WampPublication *
publish_new(WampSession *session, const WampMessage *message)
{
	WireBytes tail = wamp_tail(message);
	WampPublication *publication =
		memory_zeroed(sizeof(WampPublication) + message->uri_len + tail.len);
	const json_t *exclude_me = json_object_get(message->details, "exclude_me");

	publication->number = ++session->last_publication;
	publication->request = message->request;
	publication->acknowledged = json_is_true(json_object_get(message->details, "acknowledge"));
	publication->disclose = json_is_true(json_object_get(message->details, "disclose_me"));
	publication->exclude_me = !json_is_false(exclude_me);
	publication->audience = publish_audience(message->details);
	if (wamp_options_opaque(message->details))
	{
		publication->opaque = json_object();
		wamp_options_copy_opaque(publication->opaque, message->details);
	}
	memcpy(publication->text, message->uri, message->uri_len);
	publication->topic = (WireBytes){.data = publication->text, .len = (uint32_t) message->uri_len};
	publication->tail = (WireBytes){.data = publication->text + message->uri_len, .len = tail.len};
	if (tail.len > 0)
	{
		memcpy(publication->text + message->uri_len, tail.data, tail.len);
		publication->args = (WireBytes){.data = publication->tail.data, .len = message->args.len};
	}
	if (message->kwargs.len > 0)
		publication->kwargs =
			(WireBytes){.data = publication->tail.data + (message->kwargs.data - tail.data),
						.len = message->kwargs.len};
	return publication;
}

void
wamp_publish(WampSession *session, const WampMessage *message)
{
	HubClient *client = session->client;
	WampPublication *publication = publish_new(session, message);

	TAILQ_INSERT_TAIL(&session->publications, publication, in_session);
	client->session.unanswered++;
	if (!uri_is_valid(URI_EXACT, message->uri, message->uri_len))
		publish_fail(session, publication, "wamp.error.invalid_uri", "the topic is no valid URI");
	else if (message->uri_len > PROTOCOL_MAX_CHANNEL)
		publish_fail(session, publication, "wamp.error.invalid_uri",
					 "a topic has at most 63 bytes");
	else
		publish_more(client);
}
