/*-------------------------------------------------------------------------
 *
 * wamp_route.c
 *	  The session as the feed knows it, and messages from the feed. See wamp_route.h.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/protocol/notification.h"
#include "gateway/wamp/wamp_route_internal.h"

#define ROUTE_CLOSE_NORMAL 1000

/* Let the hub ask for a feed while the session has none. */
static void
route_need_feed(WampSession *session, bool need)
{
	HubClient *client = session->client;

	if (session->lacks_feed == need)
		return;
	session->lacks_feed = need;
	client->database->nheld += need ? 1 : -1u;
	if (need)
		hub_need(client->session.sessions->owner, client->database);
}

void
wamp_route_join(WampSession *session)
{
	WireRoute route = {.kind = ROUTE_JOIN,
					   .id = session->id,
					   .flags = session->features | (session->known ? ROUTE_AGAIN : 0)};
	json_t *details = json_object();
	char *options;

	/* Of others, the feed knows the subject of the token. */
	if (session->client->identity.subject == NULL || session->client->identity.subject[0] == '\0')
		notification_put_bytes(details, "authid", notification_bytes(session->authid));
	notification_put_bytes(details, "authmethod", notification_bytes(wamp_method_name(session)));
	notification_put_bytes(details, "authprovider",
						   notification_bytes(wamp_method_provider(session)));
	options = notification_dump(details);
	route.options = notification_bytes(options);
	session->joined = hub_route(session->client, &route);
	session->known |= session->joined;
	free(options);
	json_decref(details);
	route_need_feed(session, !session->joined);
}

void
wamp_route_linked(WampSession *session, bool linked)
{
	if (!linked)
	{
		HubClient *client = session->client;

		session->joined = false;
		callee_lost(client);
		if (client->state != NULL)
			caller_lost(client);
		if (client->state != NULL)
			route_need_feed(session, true);
		return;
	}
	if (session->joined)
		return;
	wamp_route_join(session);
	callee_register_all(session);
}

void
wamp_route_left(WampSession *session)
{
	WireRoute route = {.kind = ROUTE_LEAVE};

	if (session->joined)
		route_tell(session->client, &route);
	if (session->client->database != NULL)
		route_need_feed(session, false);
	callee_free_all(session);
	caller_free_all(session);
}

/* Another session, or the feed, ends this one. */
static void
route_kill(HubClient *client, const WireRoute *route)
{
	char *reason = memory_string(route->name.data, route->name.len);
	char *message = memory_string(route->payload.data, route->payload.len);

	((WampSession *) client->state)->joined = false;
	wamp_end(client, wamp_goodbye(reason, message[0] != '\0' ? message : NULL), ROUTE_CLOSE_NORMAL,
			 "");
	free(reason);
	free(message);
}

/* A client that is too slow for it need not know. */
static void
route_interrupt(HubClient *client, const WireRoute *route)
{
	if (!route_send(client, wamp_interrupt(route->id, route->options)))
		return;
}

void
wamp_route_received(WampSession *session, const WireRoute *route)
{
	HubClient *client = session->client;

	if (route->kind == ROUTE_INVOKE)
		callee_invoke(client, route);
	else if (route->kind == ROUTE_INTERRUPT)
		route_interrupt(client, route);
	else if (route->kind == ROUTE_KILL)
		route_kill(client, route);
	else if (route->kind == ROUTE_UNREGISTERED && route->request == 0)
		callee_ended(session, route->id, route->name);
	else if ((route->request & ROUTE_OF_REGISTER) != 0)
		callee_registered(session, route);
	else if ((route->request & ROUTE_OF_UNREGISTER) != 0)
		callee_unregistered(session, route);
	else if ((route->request & ROUTE_OF_AGAIN) == 0)
		caller_answered(session, route);
	else if (route->kind == ROUTE_ERROR)
		callee_ended(session, route->request & ROUTE_NUMBER, route->name);
}
