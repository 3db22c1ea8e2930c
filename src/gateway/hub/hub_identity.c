/*-------------------------------------------------------------------------
 *
 * hub_identity.c
 *	  Tokens, and the identities that the feed gives for them.
 *
 * The feed verifies each token, and gives the connection an identity whose number goes into each
 * SUBSCRIBE. Of each client one token at a time is under way or waits for its turn (hub_token.c),
 * and until its answer comes nothing is read from the client, so no request can overtake its token.
 * On a new link the feed verifies the tokens of all clients again; until then their subscriptions
 * are not asked for.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/hub/hub_internal.h"

static int
hub_compare_identities(const HubClient *a, const HubClient *b)
{
	return a->session.number < b->session.number ? -1 : a->session.number > b->session.number;
}

RB_GENERATE_STATIC(IdentityTree, HubClient, in_identities, hub_compare_identities)

/* The client with this session's number that has sent a token, or NULL. */
static HubClient *
hub_identity_client(Database *database, uint32_t session)
{
	HubClient key = {.session.number = session};

	return RB_FIND(IdentityTree, &database->identities, &key);
}

/* Have the feed asked about the client's offer, and read nothing from the client until then. */
static void
hub_begin_offer(Hub *hub, HubClient *client)
{
	(void) RB_INSERT(IdentityTree, &client->database->identities, client);
	client->database->nheld++;
	session_hold(&client->session, true);
	hub_verify(hub, client);
}

void
hub_offer(Hub *hub, HubClient *client, const char *token, size_t len, bool requested, char *request)
{
	identity_offer(&client->identity, token, len, requested, request);
	hub_begin_offer(hub, client);
}

void
hub_offer_user(Hub *hub, HubClient *client, const char *user, uint64_t number)
{
	identity_offer_other(&client->identity, IDENTITY_OFFER_USER, user, strlen(user), number);
	hub_begin_offer(hub, client);
}

void
hub_offer_signature(Hub *hub, HubClient *client, const char *signature)
{
	identity_offer_other(&client->identity, IDENTITY_OFFER_SIGNATURE, signature, strlen(signature),
						 0);
	hub_begin_offer(hub, client);
}

/* The feed has answered an offer: go on with what the client has sent meanwhile. */
static void
hub_offer_answered(HubClient *client)
{
	identity_drop_offer(&client->identity);
	client->database->nheld--;
	session_hold(&client->session, false);
	session_attend(&client->session);
}

/* Ask for the subscriptions that have waited for the identity. */
static void
hub_ask_again(Hub *hub, HubClient *client)
{
	Subscription *sub;

	LIST_FOREACH(sub, &client->subscriptions, in_client)
	{
		if (sub->asking == ASKING_NOTHING && sub->stream == NULL && !hub_snapshot_is_due(sub) &&
			(sub->state == SUBSCRIPTION_WAITING ||
			 (sub->state == SUBSCRIPTION_LAGGING && (sub->ops & WIRE_OP_NOTIFY) != 0)))
			hub_ask(hub, client->database, sub);
	}
}

/* Answer the request that has made the offer, if it wants an answer. */
static void
hub_send_identity(HubClient *client, const char *request)
{
	const Identity *identity = &client->identity;

	if (client->protocol->hooks != NULL)
		client->protocol->hooks->identified(client);
	else if (request != NULL)
		session_send_own(&client->session,
						 client->protocol->identity(request, identity->role, identity->expires_at),
						 FRAME_NO_POSITION);
}

bool
hub_identity(Hub *hub, Database *database, const WireIdentity *message)
{
	HubClient *client = hub_identity_client(database, message->session);
	Identity *identity;
	bool offered;

	if (message->identity == 0 ||
		!hub_token_answered(hub, database, message->session, HUB_TOKEN_ACCEPTED))
		return false;
	if (client == NULL)
		return true;
	identity = &client->identity;
	offered = identity->asked == IDENTITY_ASKED_OFFER;
	if (offered && identity->kind != IDENTITY_OFFER_TOKEN)
		return false;
	identity_accept(identity, message, hub->sessions->now());
	client->session.anonymous = false;
	session_attend(&client->session);
	hub_verify(hub, client);
	hub_ask_again(hub, client);
	if (offered)
	{
		char *request = identity->request;

		identity->request = NULL;
		hub_offer_answered(client);
		hub_send_identity(client, request);
		free(request);
	}
	else if (client->protocol->hooks != NULL)
		client->protocol->hooks->linked(client, true);
	return true;
}

/* Whether the feed was asked about an offer of this kind. */
static bool
hub_has_offered(const HubClient *client, IdentityOffer kind)
{
	const Identity *identity = &client->identity;

	return identity->asked == IDENTITY_ASKED_OFFER && identity->kind == kind;
}

bool
hub_challenge(Hub *hub, Database *database, const WireChallenge *message)
{
	HubClient *client = hub_identity_client(database, message->session);

	if (!hub_token_answered(hub, database, message->session, HUB_TOKEN_CHALLENGED))
		return false;
	if (client == NULL)
		return true;
	if (!hub_has_offered(client, IDENTITY_OFFER_USER))
		return false;
	client->identity.asked = IDENTITY_ASKED_NOTHING;
	hub_offer_answered(client);
	client->protocol->hooks->challenged(client, message);
	return true;
}

bool
hub_issued(Hub *hub, Database *database, const WireIssued *message)
{
	HubClient *client = hub_identity_client(database, message->session);

	if (!hub_token_answered(hub, database, message->session, HUB_TOKEN_ACCEPTED))
		return false;
	if (client == NULL)
		return true;
	if (!hub_has_offered(client, IDENTITY_OFFER_SIGNATURE) || message->token.len == 0 ||
		message->token.len > WIRE_MAX_TOKEN)
		return false;
	identity_issued(&client->identity, message->token);
	hub_verify(hub, client);
	return true;
}

/* Close a client that is nobody any more. Nothing that is queued for it is sent. */
static void
hub_cut_off(HubClient *client, uint8_t reason, WireBytes text)
{
	char *copy = memory_string(text.data, text.len);

	session_cut_off(&client->session,
					reason == WIRE_EXPIRED ? SESSION_CLOSE_EXPIRED : SESSION_CLOSE_NO_IDENTITY,
					copy);
	free(copy);
}

/* The feed has refused what a request has offered: the client stays what it was. */
static void
hub_refuse_offer(HubClient *client, const WireAuthRefused *message)
{
	char *request = client->identity.request;
	Frame *frame;

	if (client->protocol->hooks != NULL)
	{
		hub_offer_answered(client);
		client->protocol->hooks->not_identified(client, message->reason, message->text);
		return;
	}
	frame = client->protocol->refusal(request, message->reason, message->text,
									  (ProtocolName){.channel = {.data = NULL}});

	client->identity.request = NULL;
	hub_offer_answered(client);
	hub_send_refusal(client, frame);
	free(request);
}

void
hub_refuse_guess(HubClient *client)
{
	static const char text[] = "too many tokens from this address were refused; try again later";
	WireAuthRefused refused = {.session = client->session.number,
							   .reason = WIRE_NOT_AUTHENTICATED,
							   .text = {.data = text, .len = sizeof(text) - 1}};

	hub_refuse_offer(client, &refused);
}

bool
hub_auth_refused(Hub *hub, Database *database, const WireAuthRefused *message)
{
	HubClient *client = hub_identity_client(database, message->session);
	bool requested;

	if (!hub_token_answered(hub, database, message->session, HUB_TOKEN_REFUSED))
		return false;
	if (client == NULL)
		return true;
	requested = client->identity.asked == IDENTITY_ASKED_OFFER && client->identity.requested;
	client->identity.asked = IDENTITY_ASKED_NOTHING;
	if (requested)
		hub_refuse_offer(client, message);
	/* A handshake's token that has expired is none; a connection's has made it expire. */
	else if (client->identity.state == IDENTITY_KNOWN)
		hub_cut_off(client, message->reason, message->text);
	else
		hub_cut_off(client, WIRE_NOT_AUTHENTICATED, message->text);
	return true;
}

void
hub_identity_ended(Database *database, const WireIdentityEnded *message)
{
	HubClient *client = hub_identity_client(database, message->session);

	if (client != NULL && client->identity.number == message->identity)
		hub_cut_off(client, message->reason, message->text);
}

void
hub_verify_all(Hub *hub, Database *database)
{
	uint64_t now = hub->sessions->now();
	HubClient *client;

	RB_FOREACH (client, IdentityTree, &database->identities)
	{
		if (client->identity.state == IDENTITY_MISSING)
			client->identity.deadline = now + IDENTITY_TOKEN_MS;
		hub_verify(hub, client);
	}
}

void
hub_forget_identities(Database *database)
{
	HubClient *client;

	hub_forget_tokens(database);
	RB_FOREACH (client, IdentityTree, &database->identities)
	{
		client->identity.asked = IDENTITY_ASKED_NOTHING;
		client->identity.presented = false;
		client->identity.number = 0;
	}
}

uint64_t
hub_identity_deadline(const HubClient *client)
{
	const Identity *identity = &client->identity;
	bool waits_for_feed = identity->offer != NULL && client->token_source == NULL;

	/* The time that the feed takes is not the client's, nor is that without a feed. */
	return identity->state == IDENTITY_MISSING && waits_for_feed ? UINT64_MAX : identity->deadline;
}

void
hub_identity_due(HubClient *client)
{
	if (client->identity.state == IDENTITY_KNOWN)
		session_cut_off(&client->session, SESSION_CLOSE_EXPIRED, "the token has expired");
	else if (client->token_source != NULL)
		session_cut_off(&client->session, SESSION_CLOSE_GOING_AWAY,
						"the token could not be verified within 10 seconds");
	else
		session_cut_off(&client->session, SESSION_CLOSE_NO_IDENTITY,
						"not authenticated: no valid token within 10 seconds");
}

void
hub_leave_identity(Hub *hub, HubClient *client)
{
	Database *database = client->database;
	WireMessage message = {.type = WIRE_FORGET, .u.forget.session = client->session.number};

	if (database != NULL && hub_identity_client(database, client->session.number) == client)
	{
		hub_leave_token(client);
		RB_REMOVE(IdentityTree, &database->identities, client);
		if (client->identity.offer != NULL)
			database->nheld--;
		if (database->link != NULL && client->identity.presented)
			hub->send(database->link, &message);
	}
	identity_free(&client->identity);
}
