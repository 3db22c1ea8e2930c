/*-------------------------------------------------------------------------
 *
 * hub_place.c
 *	  From where a client resumes all of its subscriptions.
 *
 * Some protocols have no position for each subscription, but one text for the connection, for
 * example the id of server-sent events. A client that has got a frame, and all that was queued
 * before it, resumes each subscription where it was when the frame was queued. While all are live,
 * the frame's position says that. If one replays, lags, is inside of a snapshot, or is already
 * further, a frame of its own names its place.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/hub/hub_internal.h"

/* The place of a subscription. Live ones have everything up to now. */
static ProtocolPlace
hub_place_of(const Subscription *sub, uint64_t now)
{
	ProtocolPlace place = {
		.name = hub_name(sub),
		.position = sub->position,
		.inside = hub_snapshot_is_unfinished(sub),
	};

	if (sub->state == SUBSCRIPTION_LIVE && place.position.id < now)
	{
		place.position = sub->client->database->position;
		place.position.id = now;
	}
	return place;
}

/*
 * Collect the places of a client's subscriptions. known (NULL: none) is one whose place the caller
 * knows.
 */
static void
hub_collect_places(const HubClient *client, const Subscription *known, const ProtocolPlace *place,
				   uint64_t now, ProtocolPlaces *places)
{
	const Subscription *sub;
	bool found = false;
	size_t n = 0;

	places->base = client->database->position;
	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		ProtocolPlace *at = &places->elsewhere[n++];

		*at = sub == known ? *place : hub_place_of(sub, now);
		if (!at->inside && sub->state == SUBSCRIPTION_LIVE &&
			(!found || at->position.id < places->base.id))
		{
			places->base = at->position;
			found = true;
		}
	}
	if (!found && known != NULL && !place->inside)
		places->base = place->position;
	places->count = 0;
	for (size_t i = 0; i < n; i++)
	{
		ProtocolPlace at = places->elsewhere[i];

		/* Where a snapshot begins again, it does not matter. */
		if (at.inside)
			at.position = places->base;
		if (at.inside || at.position.id != places->base.id ||
			at.position.timeline != places->base.timeline)
			places->elsewhere[places->count++] = at;
	}
}

Frame *
hub_place_event(const Subscription *sub, uint64_t id, const Frame *shared)
{
	const HubClient *client = sub->client;
	const Subscription *other;
	ProtocolPlace place = {.name = hub_name(sub), .position = client->database->position};
	ProtocolPlaces places;

	LIST_FOREACH(other, &client->subscriptions, in_client)
	{
		if (other->state != SUBSCRIPTION_LIVE || other->position.id > id ||
			hub_snapshot_is_unfinished(other))
			break;
	}
	if (other == NULL)
		return NULL;
	place.position.id = id;
	hub_collect_places(client, sub, &place, id, &places);
	return places.count > 0 ? client->protocol->resume(shared, &places) : NULL;
}

Frame *
hub_place(const HubClient *client, const Subscription *sub, WirePosition position, bool inside,
		  Frame *frame)
{
	ProtocolPlace place = {.position = position, .inside = inside};
	ProtocolPlaces places;
	Frame *placed;

	if (client->protocol->resume == NULL || client->nsubscriptions <= 1)
		return frame;
	if (sub != NULL)
		place.name = hub_name(sub);
	hub_collect_places(client, sub, &place, client->database->position.id, &places);
	if (places.count == 0)
		return frame;
	placed = client->protocol->resume(frame, &places);
	frame_unref(frame);
	return placed;
}
