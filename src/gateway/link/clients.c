/*-------------------------------------------------------------------------
 *
 * clients.c
 *	  Sends the connected clients to a backend, for the view notifyd.clients.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/link/clients.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"

/* The maximum size of a session's list of channels. */
#define CLIENTS_CHANNELS (HUB_MAX_SUBSCRIPTIONS * (sizeof(uint32_t) + PROTOCOL_MAX_CHANNEL))

struct Clients
{
	SessionCursor cursor;
	bool done;
};

static WireBytes
clients_bytes(const char *text)
{
	return (WireBytes){.data = text, .len = (uint32_t) strlen(text)};
}

/* Split "host:port" or "[host]:port", as made by network_text(). Other texts have no address. */
static void
clients_address(const char *text, WireClient *client)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon != NULL ? (size_t) (colon - text) : 0;

	if (colon != NULL)
		client->port = (uint16_t) strtoul(colon + 1, NULL, 10);
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']')
	{
		text++;
		len -= 2;
	}
	client->address = (WireBytes){.data = text, .len = (uint32_t) len};
}

/* Write the channels to buf, which has room for the maximum. */
static WireBytes
clients_channels(const HubClient *client, char *buf)
{
	const Subscription *sub;
	size_t used = 0;

	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		/* Channels of patterns would be too many. */
		if (sub->parent != NULL)
			continue;
		if (!wire_list_append(buf, CLIENTS_CHANNELS, &used,
							  (WireBytes){.data = sub->channel, .len = sub->channel_len}))
			break;
	}
	return (WireBytes){.data = buf, .len = (uint32_t) used};
}

/* The second of a token's three parts. */
static WireBytes
clients_claims(const char *token)
{
	const char *begin = token != NULL ? strchr(token, '.') : NULL;

	if (begin == NULL)
		return clients_bytes("");
	begin++;
	return (WireBytes){.data = begin, .len = (uint32_t) strcspn(begin, ".")};
}

static void
clients_tell(const Session *session, HubSend send, void *link)
{
	const HubClient *client = (const HubClient *) session;
	const Database *database = client->database;
	const Identity *identity = &client->identity;
	WirePosition position = database != NULL ? session_position(session) : (WirePosition){0};
	char channels[CLIENTS_CHANNELS];
	WireMessage message = {.type = WIRE_CLIENT};

	message.u.client = (WireClient){
		.connected_at = client->connected_at,
		.position = position,
		.queued = session->queue.bytes,
		.queued_us = session_queued_ms(session, session->sessions->now()) * 1000,
		.messages = session->messages,
		.bytes = session->bytes,
		.role = clients_bytes(identity->role != NULL ? identity->role : ""),
		.subject = clients_bytes(identity->subject != NULL ? identity->subject : ""),
		.claims = clients_claims(identity->token),
		.expires_at = identity->expires_at,
		.number = client->number,
		.subprotocol = clients_bytes(client->subprotocol),
		.channels = clients_channels(client, channels),
	};
	if (database != NULL)
	{
		message.u.client.database =
			(WireBytes){.data = database->name, .len = (uint32_t) database->name_len};
		if (database->position.id > position.id)
			message.u.client.lag = database->position.id - position.id;
	}
	clients_address(session->address, &message.u.client);
	send(link, &message);
}

Clients *
clients_begin(Sessions *sessions)
{
	Clients *clients = memory_zeroed(sizeof(Clients));

	sessions_cursor_open(sessions, &clients->cursor);
	return clients;
}

void
clients_send(Clients *clients, HubSend send, void *link)
{
	WireMessage end = {.type = WIRE_CLIENTS_END};

	for (int i = 0; i < CLIENTS_PIECE && !clients->done; i++)
	{
		const Session *session = sessions_cursor_next(&clients->cursor);

		if (session != NULL)
			clients_tell(session, send, link);
		else
		{
			clients->done = true;
			send(link, &end);
		}
	}
}

void
clients_end(Clients *clients)
{
	sessions_cursor_close(&clients->cursor);
	free(clients);
}
