/*-------------------------------------------------------------------------
 *
 * hub_token.c
 *	  Sends AUTH, AUTH_USER and AUTH_SIGNATURE to the feed, in turns of the clients' addresses.
 *
 * The feed may take 10 ms to find that a token is bad, and anybody can send bad tokens. So tokens
 * wait here, and the addresses that they come from take turns with one token each. A client
 * therefore waits for the tokens of its own address, and for one of each other address.
 *
 * The feed has at most WIRE_MAX_AUTHS tokens at a time. Of an address it has at first one. Each
 * token that the feed accepts allows one more, up to HUB_TOKENS, so many clients behind a proxy need
 * not wait for each other. A refused one allows only one again.
 *
 * Of one address, tokens that the feed has accepted on an earlier link go first.
 *
 * The feed answers in order. Database.asked has the tokens that it has, also of clients that have
 * left meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/hub/hub_internal.h"

#define HUB_TOKENS (WIRE_MAX_AUTHS / 2)

static int
hub_compare_sources(const TokenSource *a, const TokenSource *b)
{
	return memcmp(a->address, b->address, sizeof(a->address));
}

RB_GENERATE_STATIC(TokenSourceTree, TokenSource, in_database, hub_compare_sources)

static TokenSource *
hub_find_or_create_source(Database *database, const Address *address)
{
	TokenSource key = {.limit = 1};
	TokenSource *source;

	if (address != NULL)
		memcpy(key.address, address->key, sizeof(key.address));
	source = RB_FIND(TokenSourceTree, &database->token_sources, &key);
	if (source != NULL)
		return source;
	source = memory_zeroed(sizeof(TokenSource));
	*source = key;
	TAILQ_INIT(&source->waiting);
	RB_INSERT(TokenSourceTree, &database->token_sources, source);
	return source;
}

/* Let the source take turns if it may send a token. Frees it if it has none. */
static void
hub_file_source(Database *database, TokenSource *source)
{
	bool may = !TAILQ_EMPTY(&source->waiting) && source->asked < source->limit;

	if (may && !source->in_turn)
		TAILQ_INSERT_TAIL(&database->token_turns, source, in_turns);
	else if (!may && source->in_turn)
		TAILQ_REMOVE(&database->token_turns, source, in_turns);
	source->in_turn = may;
	if (TAILQ_EMPTY(&source->waiting) && source->asked == 0)
	{
		RB_REMOVE(TokenSourceTree, &database->token_sources, source);
		free(source);
	}
}

static void
hub_stop_waiting(HubClient *client)
{
	TAILQ_REMOVE(&client->token_source->waiting, client, in_waiting);
	client->token_source = NULL;
}

static void
hub_send_token(Hub *hub, HubClient *client)
{
	Identity *identity = &client->identity;
	const char *token = identity_unverified(identity);
	WireBytes text = {.data = token, .len = (uint32_t) strlen(token)};
	uint32_t session = client->session.number;
	WireMessage message = {.type = WIRE_AUTH, .u.auth = {.session = session, .token = text}};

	identity->presented = true;
	identity->asked = token == identity->offer ? IDENTITY_ASKED_OFFER : IDENTITY_ASKED_TOKEN;
	if (token == identity->offer && identity->kind == IDENTITY_OFFER_USER)
		message = (WireMessage){
			.type = WIRE_AUTH_USER,
			.u.auth_user = {.session = session, .number = identity->claimed, .user = text}};
	else if (token == identity->offer && identity->kind == IDENTITY_OFFER_SIGNATURE)
		message = (WireMessage){.type = WIRE_AUTH_SIGNATURE,
								.u.auth_signature = {.session = session, .signature = text}};
	hub->send(client->database->link, &message);
}

/*
 * Whether a signature may be sent. Others of the same address, which were sent since the client has presented it, may have
 * been wrong: somebody who guesses a secret could otherwise try as often as there are connections.
 */
static bool
hub_may_send(const Hub *hub, const HubClient *client)
{
	const Identity *identity = &client->identity;
	bool signature = identity->kind == IDENTITY_OFFER_SIGNATURE &&
					 identity_unverified(identity) == identity->offer;

	return !signature || client->from == NULL || hub->token_allowed == NULL ||
		   hub->token_allowed(client->from->key);
}

static void
hub_take_token_turns(Hub *hub, Database *database)
{
	TokenSource *source;

	while (database->nasked < WIRE_MAX_AUTHS &&
		   (source = TAILQ_FIRST(&database->token_turns)) != NULL)
	{
		HubClient *client = TAILQ_FIRST(&source->waiting);
		uint32_t last = (database->first_asked + database->nasked) % WIRE_MAX_AUTHS;

		if (!hub_may_send(hub, client))
		{
			hub_stop_waiting(client);
			hub_file_source(database, source);
			hub_refuse_guess(client);
			continue;
		}
		database->nasked++;
		database->asked[last] = (AskedToken){.session = client->session.number,
											 .offered = identity_unverified(&client->identity) ==
														client->identity.offer,
											 .source = source};
		source->asked++;
		hub_stop_waiting(client);
		hub_send_token(hub, client);
		/* Its next turn is after all others. */
		TAILQ_REMOVE(&database->token_turns, source, in_turns);
		source->in_turn = false;
		hub_file_source(database, source);
	}
}

void
hub_verify(Hub *hub, HubClient *client)
{
	Database *database = client->database;
	Identity *identity = &client->identity;

	if (identity_unverified(identity) == NULL || identity->asked != IDENTITY_ASKED_NOTHING ||
		client->token_source != NULL)
		return;
	if (database->link == NULL)
	{
		hub_need(hub, database);
		return;
	}
	client->token_source = hub_find_or_create_source(database, client->from);
	if (identity_waits(identity))
		TAILQ_INSERT_HEAD(&client->token_source->waiting, client, in_waiting);
	else
		TAILQ_INSERT_TAIL(&client->token_source->waiting, client, in_waiting);
	hub_file_source(database, client->token_source);
	hub_take_token_turns(hub, database);
	/* Its time runs while it waits. */
	if (client->token_source != NULL)
		session_attend(&client->session);
}

bool
hub_token_answered(Hub *hub, Database *database, uint32_t session, TokenAnswer answer)
{
	const AskedToken *asked = &database->asked[database->first_asked];
	TokenSource *source = asked->source;

	if (database->nasked == 0 || asked->session != session)
		return false;
	database->first_asked = (database->first_asked + 1) % WIRE_MAX_AUTHS;
	database->nasked--;
	source->asked--;
	if (answer == HUB_TOKEN_REFUSED && asked->offered && hub->token_refused != NULL)
		hub->token_refused(source->address);
	if (answer == HUB_TOKEN_REFUSED)
		source->limit = 1;
	else if (answer == HUB_TOKEN_ACCEPTED && source->limit < HUB_TOKENS)
		source->limit++;
	hub_file_source(database, source);
	hub_take_token_turns(hub, database);
	return true;
}

void
hub_leave_token(HubClient *client)
{
	TokenSource *source = client->token_source;

	if (source == NULL)
		return;
	hub_stop_waiting(client);
	hub_file_source(client->database, source);
}

void
hub_forget_tokens(Database *database)
{
	TokenSource *source;
	HubClient *client;

	while ((source = RB_ROOT(&database->token_sources)) != NULL)
	{
		while ((client = TAILQ_FIRST(&source->waiting)) != NULL)
			hub_stop_waiting(client);
		RB_REMOVE(TokenSourceTree, &database->token_sources, source);
		free(source);
	}
	TAILQ_INIT(&database->token_turns);
	database->nasked = 0;
}
