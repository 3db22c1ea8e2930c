/*-------------------------------------------------------------------------
 *
 * wamp_callee.c
 *	  Registrations and invocations of a session, see wamp_route.h.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/protocol/notification.h"
#include "gateway/wamp/wamp_options.h"
#include "gateway/wamp/wamp_route_internal.h"

/* A REGISTER that is not answered, or a registration. */
struct WampRegistration
{
	TAILQ_ENTRY(WampRegistration) in_session;
	uint64_t id; /* 0: not answered yet */
	uint64_t request;
	uint64_t unregister; /* number of the UNREGISTER; 0: there is none */
	char *options;
	uint32_t len;
	char name[];
};

/* ---------------- registrations ---------------- */

static void
callee_free_registration(WampSession *session, WampRegistration *registration)
{
	TAILQ_REMOVE(&session->registrations, registration, in_session);
	session->nregistrations--;
	free(registration->options);
	free(registration);
}

/* A request that waits for the feed's answer makes the client wait, too. */
static void
callee_count_unanswered(WampSession *session, int change)
{
	session->client->session.unanswered += (uint32_t) change;
	session_schedule(&session->client->session);
}

/* Ask the feed for a registration, again if it has an id. */
static void
callee_register(WampSession *session, const WampRegistration *registration)
{
	WireRoute route = {.kind = ROUTE_REGISTER,
					   .request = ROUTE_OF_REGISTER | registration->request,
					   .name = {.data = registration->name, .len = registration->len},
					   .options = notification_bytes(registration->options)};

	if (registration->id != 0)
	{
		route.request = ROUTE_OF_AGAIN | registration->id;
		route.flags = ROUTE_AGAIN;
	}
	/* Without a link, wamp_route_linked() comes later. */
	route_tell(session->client, &route);
}

void
wamp_register(WampSession *session, const WampMessage *message)
{
	static const char *const names[] = {"match", "invoke", "disclose_caller"};
	HubClient *client = session->client;
	WampRegistration *registration;
	char *options = route_options(message->details, names, sizeof(names) / sizeof(names[0]));

	if (options == NULL || message->uri_len > PROTOCOL_MAX_NAME ||
		session->nregistrations >= ROUTE_MAX_REGISTRATIONS)
	{
		bool many = session->nregistrations >= ROUTE_MAX_REGISTRATIONS;

		free(options);
		wamp_refuse(client, WAMP_REGISTER, message->request,
					many ? ROUTE_UNAVAILABLE : "wamp.error.invalid_uri",
					many ? "the session has too many registrations"
						 : "the name of the procedure or an option is too long");
		return;
	}
	registration = memory_zeroed(sizeof(WampRegistration) + message->uri_len);
	registration->request = message->request;
	registration->options = options;
	registration->len = (uint32_t) message->uri_len;
	memcpy(registration->name, message->uri, message->uri_len);
	TAILQ_INSERT_TAIL(&session->registrations, registration, in_session);
	session->nregistrations++;
	callee_count_unanswered(session, 1);
	callee_register(session, registration);
}

static WampRegistration *
callee_registration(const WampSession *session, uint64_t id)
{
	WampRegistration *registration;

	TAILQ_FOREACH(registration, &session->registrations, in_session)
	{
		if (registration->id == id)
			return registration;
	}
	return NULL;
}

/* The first REGISTER with this number that is not answered. */
static WampRegistration *
callee_registering(const WampSession *session, uint64_t request)
{
	WampRegistration *registration;

	TAILQ_FOREACH(registration, &session->registrations, in_session)
	{
		if (registration->id == 0 && registration->request == request)
			return registration;
	}
	return NULL;
}

void
wamp_unregister(WampSession *session, const WampMessage *message)
{
	WampRegistration *registration = callee_registration(session, message->id);
	WireRoute route = {.kind = ROUTE_UNREGISTER,
					   .request = ROUTE_OF_UNREGISTER | message->request,
					   .id = message->id};

	if (registration == NULL || registration->unregister != 0)
	{
		wamp_refuse(session->client, WAMP_UNREGISTER, message->request,
					"wamp.error.no_such_registration",
					"the session has no registration with this id");
		return;
	}
	if (hub_route(session->client, &route))
	{
		registration->unregister = message->request;
		callee_count_unanswered(session, 1);
		return;
	}
	callee_free_registration(session, registration);
	wamp_send(session->client, wamp_unregistered(message->request));
}

void
callee_registered(WampSession *session, const WireRoute *route)
{
	HubClient *client = session->client;
	uint64_t request = route->request & ROUTE_NUMBER;
	WampRegistration *registration = callee_registering(session, request);

	if (registration == NULL)
		return;
	callee_count_unanswered(session, -1);
	if (route->kind == ROUTE_REGISTERED)
	{
		registration->id = route->id;
		wamp_send(client, wamp_registered(request, route->id));
		return;
	}
	callee_free_registration(session, registration);
	wamp_send(client, route_error(client, WAMP_REGISTER, request, route));
}

void
callee_unregistered(WampSession *session, const WireRoute *route)
{
	HubClient *client = session->client;
	uint64_t request = route->request & ROUTE_NUMBER;
	WampRegistration *registration;

	TAILQ_FOREACH(registration, &session->registrations, in_session)
	{
		if (registration->unregister == request)
			break;
	}
	if (registration == NULL)
		return;
	callee_count_unanswered(session, -1);
	callee_free_registration(session, registration);
	wamp_send(client, route->kind == ROUTE_UNREGISTERED
						  ? wamp_unregistered(request)
						  : route_error(client, WAMP_UNREGISTER, request, route));
}

void
callee_ended(WampSession *session, uint64_t id, WireBytes reason)
{
	HubClient *client = session->client;
	WampRegistration *registration = callee_registration(session, id);
	uint64_t unregister;
	char *uri;

	if (registration == NULL)
		return;
	unregister = registration->unregister;
	callee_free_registration(session, registration);
	if (unregister != 0)
	{
		callee_count_unanswered(session, -1);
		wamp_send(client, wamp_unregistered(unregister));
		return;
	}
	uri = memory_string(reason.data, reason.len);
	wamp_send(client, wamp_unregistered_by_router(id, uri));
	free(uri);
}

/* The first registration with an UNREGISTER that is not answered. */
static WampRegistration *
callee_unregistering(const WampSession *session)
{
	WampRegistration *registration;

	TAILQ_FOREACH(registration, &session->registrations, in_session)
	{
		if (registration->unregister != 0)
			return registration;
	}
	return NULL;
}

void
callee_lost(HubClient *client)
{
	WampSession *session = client->state;
	WampRegistration *registration;

	while (client->state != NULL && (registration = callee_unregistering(session)) != NULL)
	{
		uint64_t unregister = registration->unregister;

		callee_count_unanswered(session, -1);
		callee_free_registration(session, registration);
		wamp_send(client, wamp_unregistered(unregister));
	}
}

void
callee_register_all(WampSession *session)
{
	const WampRegistration *registration;

	TAILQ_FOREACH(registration, &session->registrations, in_session)
	callee_register(session, registration);
}

void
callee_free_all(WampSession *session)
{
	while (!TAILQ_EMPTY(&session->registrations))
		callee_free_registration(session, TAILQ_FIRST(&session->registrations));
}

/* ---------------- invocations ---------------- */

static void
callee_answer(WampSession *session, uint8_t kind, uint8_t flags, const char *uri,
			  const WampMessage *message)
{
	WireRoute route = {.kind = kind,
					   .flags = flags,
					   .id = message->request,
					   .name = notification_bytes(uri),
					   .payload = wamp_tail(message)};
	char *options = NULL;

	if (wamp_options_opaque(message->details))
	{
		options = route_options(message->details, NULL, 0);
		route.options = notification_bytes(options);
	}
	/* Without a link, the call has ended. */
	route_tell(session->client, &route);
	free(options);
}

void
wamp_yield(WampSession *session, const WampMessage *message)
{
	bool progress = json_is_true(json_object_get(message->details, "progress"));

	callee_answer(session, ROUTE_YIELD, progress ? ROUTE_PROGRESS : 0, "", message);
}

void
wamp_invocation_failed(WampSession *session, const WampMessage *message)
{
	callee_answer(session, ROUTE_FAIL, 0,
				  message->uri_len <= PROTOCOL_MAX_NAME ? message->uri : "wamp.error.runtime_error",
				  message);
}

void
callee_invoke(HubClient *client, const WireRoute *route)
{
	WampPayload payload = route_payload(client, route->payload);
	WireRoute failed = {
		.kind = ROUTE_FAIL,
		.id = route->id,
		.name = notification_bytes(ROUTE_UNAVAILABLE),
		.payload = notification_bytes("[\"the session that answers the call is too slow\"]"),
	};

	if (!route_send(client,
					wamp_invocation(route->id, route->registration, route->options, &payload)) &&
		client->state != NULL)
		route_tell(client, &failed);
}
