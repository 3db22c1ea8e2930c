/*-------------------------------------------------------------------------
 *
 * hub_route.c
 *	  Frames that clients with sessions of their own exchange with the feed, see wire_route.h.
 *
 * The hub passes them on: only the protocol of the client knows what they mean.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/hub/hub_internal.h"

static int
hub_compare_members(const HubClient *a, const HubClient *b)
{
	return a->session.number < b->session.number ? -1 : a->session.number > b->session.number;
}

RB_GENERATE_STATIC(MemberTree, HubClient, in_members, hub_compare_members)

void
hub_add_member(HubClient *client)
{
	RB_INSERT(MemberTree, &client->database->members, client);
}

void
hub_remove_member(HubClient *client)
{
	RB_REMOVE(MemberTree, &client->database->members, client);
}

bool
hub_route(HubClient *client, const WireRoute *route)
{
	const Hub *hub = client->session.sessions->owner;
	WireMessage message = {.type = WIRE_ROUTE_UP, .u.route = *route};

	/* The number of an identity is valid on one link. */
	if (client->database->link == NULL || identity_waits(&client->identity))
		return false;
	message.u.route.session = client->session.number;
	message.u.route.identity = client->identity.number;
	hub->send(client->database->link, &message);
	return true;
}

bool
hub_routed(Hub *hub, Database *database, const WireRoute *route)
{
	HubClient key = {.session.number = route->session};
	HubClient *client;

	/* Those that the gateway sends. */
	if (route->kind < ROUTE_REGISTERED)
		return false;
	if (route->kind == ROUTE_CHANNEL)
		return hub_channel(hub, database, route);
	client = RB_FIND(MemberTree, &database->members, &key);
	/* It may have left while the frame was on its way. */
	if (client != NULL)
		client->protocol->hooks->routed(client, route);
	return true;
}

void
hub_tell_members(Database *database, bool linked)
{
	HubClient *client;
	HubClient *next;

	/* A call may close the client's session, but no other. */
	RB_FOREACH_SAFE (client, MemberTree, &database->members, next)
	{
		/* Otherwise hub_identity() will. */
		if (!linked || !identity_waits(&client->identity))
			client->protocol->hooks->linked(client, linked);
	}
}
