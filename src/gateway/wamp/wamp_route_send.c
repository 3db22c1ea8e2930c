/*-------------------------------------------------------------------------
 *
 * wamp_route_send.c
 *	  How messages of wamp_route.h are sent, see wamp_route_internal.h.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/protocol/notification.h"
#include "gateway/wamp/wamp_options.h"
#include "gateway/wamp/wamp_route_internal.h"

/* What the feed takes, see feed_route.c. */
#define ROUTE_MAX_OPTIONS 8192

bool
route_send(HubClient *client, Frame *frame)
{
	Session *session = &client->session;
	FrameNote note = {.before = FRAME_NO_POSITION};
	bool room;

	frame = session_pack(session, frame);
	room = session_has_room(session, frame);
	if (room)
		session_send_event(session, frame, note);
	frame_unref(frame);
	return room;
}

WampPayload
route_payload(const HubClient *client, WireBytes payload)
{
	return (WampPayload){.args = payload, .bigint = client->protocol->number % 2 == 1};
}

char *
route_options(const json_t *details, const char *const *names, size_t n)
{
	json_t *options = json_object();
	char *text;

	for (size_t i = 0; i < n; i++)
	{
		json_t *value = json_object_get(details, names[i]);

		if (value != NULL)
			json_object_set(options, names[i], value);
	}
	wamp_options_copy_opaque(options, details);
	text = notification_dump(options);
	json_decref(options);
	if (strlen(text) <= ROUTE_MAX_OPTIONS)
		return text;
	free(text);
	return NULL;
}

void
route_tell(HubClient *client, const WireRoute *route)
{
	if (!hub_route(client, route))
		return;
}

Frame *
route_error(HubClient *client, WampType type, uint64_t request, const WireRoute *route)
{
	WampPayload payload = route_payload(client, route->payload);

	return wamp_error(type, request, route->options, route->name, &payload);
}
