/*-------------------------------------------------------------------------
 *
 * hub_pattern.c
 *	  Subscriptions of patterns, and who gets a message that is not in the log.
 *
 * The feed sends the messages of all channels that match to the subscription itself. For the events of
 * the log it names each channel that matches before it reads the channel's first event, and again when
 * privileges may have changed. The hub then makes a child of the subscription, which begins right
 * before this event and is a subscription like any other, but:
 *
 *	  its client did not ask for it: it gets no answer, and the end of a child is told only if events
 *	  are missing that the client may read;
 *	  it gets no raw notifications, because messages come to its parent;
 *	  it ends with its parent.
 *
 * A client that does not take what it is sent has as many subscriptions that lag as it has children.
 * So their number is bounded. The pattern that would have too many ends.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "gateway/base/memory.h"
#include "gateway/hub/hub_internal.h"

Selection *
hub_pattern_tag(UriMatch match, const char *pattern, size_t len)
{
	char tag[SELECTION_MAX_NAME];
	const char *name = uri_match_name(match);
	size_t name_len = strlen(name);
	Selection selection = {.tag = {.data = tag, .len = (uint32_t) (name_len + 1 + len)}};

	memcpy(tag, name, name_len);
	tag[name_len] = ':';
	memcpy(tag + name_len + 1, pattern, len);
	return selection_copy(&selection);
}

/* ---------------- children ---------------- */

static bool
hub_has_child(const Subscription *parent, WireBytes channel)
{
	const Subscription *sub;

	LIST_FOREACH(sub, &parent->client->subscriptions, in_client)
	{
		if (sub->parent == parent && sub->channel_len == channel.len &&
			memcmp(sub->channel, channel.data, channel.len) == 0)
			return true;
	}
	return false;
}

static void
hub_add_child(Hub *hub, Database *database, Subscription *parent, const WireRoute *route)
{
	HubClient *client = parent->client;
	Subscription *sub = memory_zeroed_lines(sizeof(Subscription) + route->name.len);

	sub->client = client;
	sub->parent = parent;
	sub->variant = parent->variant;
	sub->ops = WIRE_OP_ALL & ~WIRE_OP_NOTIFY;
	sub->selection = selection_copy(parent->selection);
	sub->tagged = true;
	sub->has_position = true;
	sub->fresh = true;
	sub->position = route->position;
	sub->channel_len = (uint8_t) route->name.len;
	memcpy(sub->channel, route->name.data, route->name.len);
	LIST_INSERT_HEAD(&client->subscriptions, sub, in_client);
	client->nchildren++;
	hub->sessions->stats.subscriptions++;
	hub_file(database, sub);
	hub_ask(hub, database, sub);
}

bool
hub_channel(Hub *hub, Database *database, const WireRoute *route)
{
	static const char many[] = "too many channels match";
	Subscription *sub = hub_subscription(database, route->session);

	if (route->name.len == 0 || route->name.len > PROTOCOL_MAX_CHANNEL)
		return false;
	/* It may have ended while the frame was on its way. */
	if (sub == NULL)
		return true;
	if (sub->match == URI_EXACT)
		return false;
	if (hub_has_child(sub, route->name))
		return true;
	if (sub->client->nchildren < HUB_MAX_CHILDREN)
	{
		hub_add_child(hub, database, sub, route);
		return true;
	}
	hub_withdraw(hub, database, sub);
	hub_end(hub, sub, PROTOCOL_TOO_MANY_SUBSCRIPTIONS,
			(WireBytes){.data = many, .len = sizeof(many) - 1});
	return true;
}

/* ---------------- messages ---------------- */

/* The feed writes the channel right behind these bytes. */
#define HUB_BEFORE_TOPIC "{\"op\":\"NOTIFY\",\"channel\":"

bool
hub_topic(WireBytes body, char *buf, WireBytes *topic)
{
	size_t skip = strlen(HUB_BEFORE_TOPIC);
	json_t *name;
	size_t len;

	if (body.len <= skip || memcmp(body.data, HUB_BEFORE_TOPIC, skip) != 0)
		return false;
	/* What follows the string does not matter. */
	name = json_loadb(body.data + skip, body.len - skip, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK,
					  NULL);
	len = json_string_length(name);
	if (len > 0 && len <= PROTOCOL_MAX_CHANNEL)
	{
		memcpy(buf, json_string_value(name), len);
		*topic = (WireBytes){.data = buf, .len = (uint32_t) len};
	}
	json_decref(name);
	return len > 0 && len <= PROTOCOL_MAX_CHANNEL;
}

bool
hub_hears(const HubClient *client, const Audience *audience)
{
	const char *authid = client->authid != NULL ? client->authid : client->identity.subject;
	const char *authrole = client->authrole != NULL ? client->authrole : client->identity.role;

	/* Sessions of WAMP without a token have this role, too. */
	if (authrole == NULL)
		authrole = "anonymous";
	return audience_has(audience, client->number, authid, authrole);
}
