/*-------------------------------------------------------------------------
 *
 * wamp_session.c
 *	  A client's session of WAMP, from HELLO to GOODBYE. See wamp_session.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/wamp_session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "gateway/base/log.h"
#include "gateway/base/memory.h"
#include "gateway/protocol/notification.h"
#include "gateway/wamp/wamp_build.h"
#include "gateway/wamp/wamp_options.h"
#include "wire/realm.h"
#include "wire/uri.h"

/* Close codes of WebSocket (RFC 6455, 7.4.1). */
#define WAMP_CLOSE_NORMAL   1000
#define WAMP_CLOSE_PROTOCOL 1002

#define WAMP_VIOLATION      "wamp.error.protocol_violation"
#define WAMP_NOT_IDENTIFIED "wamp.error.authentication_failed"
#define WAMP_NO_SUCH_REALM  "wamp.error.no_such_realm"

/* Bytes of a realm that are logged. */
#define WAMP_LOGGED_REALM 200

static const char wamp_passthru[] = "payload_passthru_mode";

/* WELCOME's "roles": the features that there are. */
static const char wamp_roles[] =
	"{\"broker\":{\"features\":{\"publisher_identification\":true,\"publisher_exclusion\":true,"
	"\"subscriber_blackwhite_listing\":true,\"pattern_based_subscription\":true,"
	"\"session_meta_api\":true,\"subscription_meta_api\":true,\"event_history\":true,"
	"\"payload_passthru_mode\":true}},"
	"\"dealer\":{\"features\":{\"caller_identification\":true,\"call_canceling\":true,"
	"\"call_timeout\":true,"
	"\"progressive_call_results\":true,"
	"\"pattern_based_registration\":true,\"shared_registration\":true,"
	"\"session_meta_api\":true,\"registration_meta_api\":true,\"testament_meta_api\":true,"
	"\"payload_passthru_mode\":true}}}";

/* What HELLO and WELCOME call the methods, and who provides for them. */
static const struct
{
	const char *name;
	const char *provider;
} wamp_methods[] = {
	[WAMP_METHOD_TOKEN] = {"token", "jwt"},
	[WAMP_METHOD_TICKET] = {"ticket", "jwt"},
	[WAMP_METHOD_WAMPCRA] = {"wampcra", "pg_notifyd"},
	[WAMP_METHOD_ANONYMOUS] = {"anonymous", "static"},
};

/* ---------------- all files ---------------- */

WampSession *
wamp_session(HubClient *client)
{
	WampSession *session = client->state;

	if (session != NULL)
		return session;
	session = memory_zeroed(sizeof(WampSession));
	session->client = client;
	session->deadline = client->session.sessions->now() + WAMP_HELLO_MS;
	TAILQ_INIT(&session->waiters);
	TAILQ_INIT(&session->publications);
	TAILQ_INIT(&session->testaments);
	TAILQ_INIT(&session->registrations);
	TAILQ_INIT(&session->calls);
	LIST_INIT(&session->timeouts);
	client->state = session;
	return session;
}

const char *
wamp_method_name(const WampSession *session)
{
	return wamp_methods[session->method].name;
}

const char *
wamp_method_provider(const WampSession *session)
{
	return wamp_methods[session->method].provider;
}

const char *
wamp_role(const WampSession *session)
{
	const char *role = session->client->identity.role;

	return role != NULL ? role : "anonymous";
}

uint64_t
wamp_random_id(void)
{
	uint64_t random;

	/* Short reads and signals concern larger buffers only (getrandom(2)). */
	if (getrandom(&random, sizeof(random), 0) != (ssize_t) sizeof(random))
		abort();
	return random % URI_MAX_ID + 1;
}

void
wamp_send(HubClient *client, Frame *frame)
{
	session_send_own(&client->session, frame, FRAME_NO_POSITION);
}

void
wamp_refuse(HubClient *client, WampType type, uint64_t request, const char *uri, const char *text)
{
	wamp_send(client, wamp_failure(type, request, uri, notification_bytes(text), NULL));
}

void
wamp_end(HubClient *client, Frame *last, uint16_t code, const char *reason)
{
	WampSession *session = wamp_session(client);

	session->ends = true;
	session->last = last;
	session_close(&client->session, code, reason);
}

void
wamp_abort_session(HubClient *client, uint16_t code, const char *uri, const char *message)
{
	wamp_end(client, wamp_abort(uri, message), code, message);
}

void
wamp_violation(HubClient *client, const char *message)
{
	wamp_abort_session(client, WAMP_CLOSE_PROTOCOL, WAMP_VIOLATION, message);
}

/* ---------------- the beginning ---------------- */

/* The session is established. */
static void
wamp_establish(WampSession *session)
{
	HubClient *client = session->client;
	const char *subject = client->identity.subject;
	char made_up[32];
	json_t *details = json_object();
	json_t *roles = json_loads(wamp_roles, 0, NULL);
	char position[WIRE_POSITION_SIZE];
	char *text;
	uint64_t id = session->id != 0 ? session->id : wamp_random_id();

	snprintf(made_up, sizeof(made_up), "anonymous-%013" PRIx64, wamp_random_id());
	session->state = WAMP_STATE_ESTABLISHED;
	session->id = id;
	client->number = id;
	client->mark = wamp_random_id();
	free(session->authid);
	session->authid = subject != NULL && subject[0] != '\0'
						  ? memory_string(subject, strlen(subject))
						  : memory_string(made_up, strlen(made_up));
	client->authid = session->authid;
	client->authrole = wamp_role(session);
	(void) wire_position_format(client->database->position, position);
	notification_put_bytes(details, "realm", notification_bytes(session->realm));
	notification_put_bytes(details, "authid", notification_bytes(session->authid));
	notification_put_bytes(details, "authrole", notification_bytes(wamp_role(session)));
	notification_put_bytes(details, "authmethod", notification_bytes(wamp_method_name(session)));
	notification_put_bytes(details, "authprovider",
						   notification_bytes(wamp_method_provider(session)));
	json_object_set_new(details, "roles", roles);
	notification_put_bytes(details, "x_position", notification_bytes(position));
	text = notification_dump(details);
	wamp_send(client, wamp_welcome(id, notification_bytes(text)));
	free(text);
	json_decref(details);
}

/* Return true if the client may present something; otherwise abort the session. */
static bool
wamp_may_offer(const WampSession *session)
{
	HubClient *client = session->client;
	const Hub *hub = client->session.sessions->owner;

	if (client->from == NULL || hub->token_allowed == NULL || hub->token_allowed(client->from->key))
		return true;
	wamp_abort_session(client, SESSION_CLOSE_NO_IDENTITY, WAMP_NOT_IDENTIFIED,
					   "too many tokens from this address were refused; try again later");
	return false;
}

/* The client presents a token, or the signature of a challenge. */
static void
wamp_offer(WampSession *session, const char *token)
{
	HubClient *client = session->client;
	Hub *hub = client->session.sessions->owner;
	size_t len = strlen(token);
	bool signature = session->method == WAMP_METHOD_WAMPCRA;

	session->challenged = false;
	if (len == 0 || len > WIRE_MAX_TOKEN)
		wamp_abort_session(client, SESSION_CLOSE_NO_IDENTITY, WAMP_NOT_IDENTIFIED,
						   len == 0 ? "the token or signature is empty"
									: "the token or signature is too long");
	else if (!wamp_may_offer(session))
		return;
	else if (signature)
		hub_offer_signature(hub, client, token);
	else
		hub_offer(hub, client, token, len, true, NULL);
}

/* The client is in the realm's database: let it authenticate by the method that HELLO has chosen. */
static void
wamp_authenticate(WampSession *session)
{
	char *token = session->token;

	session->state = WAMP_STATE_AUTHENTICATING;
	switch ((WampMethod) session->method)
	{
		case WAMP_METHOD_ANONYMOUS:
			wamp_establish(session);
			break;
		case WAMP_METHOD_TOKEN:
			session->token = NULL;
			wamp_offer(session, token);
			explicit_bzero(token, strlen(token));
			free(token);
			break;
		case WAMP_METHOD_TICKET:
			session->challenged = true;
			wamp_send(session->client, wamp_challenge(wamp_method_name(session), (WireBytes){0}));
			break;
		case WAMP_METHOD_WAMPCRA:
			if (!wamp_may_offer(session))
				break;
			session->id = wamp_random_id();
			hub_offer_user(session->client->session.sessions->owner, session->client,
						   session->authid, session->id);
			break;
		case WAMP_METHOD_NONE:
			break;
	}
}

/*
 * Do the settings name the session's realm or its database? database: what realm_database() has
 * returned.
 */
static bool
wamp_is_named(const WampSession *session, SettingItem database)
{
	const char *by_default = session->client->session.sessions->config->database;

	return database.data != session->realm ||
		   (by_default != NULL && strlen(by_default) == database.len &&
			memcmp(by_default, database.data, database.len) == 0);
}

/* The realm's database is not served: count that, and tell the server's log what to look at. */
static void
wamp_log_not_served(const WampSession *session, SettingItem database, bool named)
{
	Hub *hub = session->client->session.sessions->owner;
	size_t len = strlen(session->realm);
	int shown = (int) (len < WAMP_LOGGED_REALM ? len : WAMP_LOGGED_REALM);
	char others[LOG_THROTTLE_OTHERS];
	uint64_t left_out;

	hub->sessions->stats.refused[WIRE_REFUSED_DATABASE]++;
	if (!log_throttle_allows(&hub->realms, session->realm, len, hub->sessions->now(), &left_out))
		return;
	log_throttle_others(others, left_out, " refusals");
	if (named)
		log_write(WIRE_LOG_INFO,
				  "refused client %s: database \"%.*s\" of realm \"%.*s\" is not served%s",
				  session->client->session.address, (int) database.len, database.data, shown,
				  session->realm, others);
	else
		log_write(
			WIRE_LOG_INFO,
			"refused client %s: realm \"%.*s\" is neither in pg_notifyd.realms nor a database "
			"that is served%s",
			session->client->session.address, shown, session->realm, others);
}

/*
 * Enter the realm's database, or wait for it, or give up.
 *
 * AutobahnJS does not connect again after ABORT. So a client gets ABORT only if neither a setting nor
 * a feed has named the realm's database, and so it is probably a mistake of the client's. Otherwise the
 * database may come back, for example when it has been restored: the client waits, and its connection
 * is closed when it has waited for long enough.
 */
static void
wamp_enter(WampSession *session)
{
	HubClient *client = session->client;
	Hub *hub = client->session.sessions->owner;
	const char *realms = hub->sessions->config->realms;
	SettingItem name =
		realm_database(realms != NULL ? realms : "", session->realm, strlen(session->realm));
	Database *database = hub_find(hub, name.data, name.len);
	bool named = wamp_is_named(session, name);
	bool later = false;

	if (hub_serves(hub, database, &later))
	{
		hub_enter(client, database, session->method == WAMP_METHOD_ANONYMOUS);
		wamp_authenticate(session);
		return;
	}
	if ((named || later || database != NULL) && hub->sessions->now() < session->deadline)
	{
		if (session->state == WAMP_STATE_CLOSED && (later || database != NULL))
			hub_want(hub, name.data, name.len);
		session->state = WAMP_STATE_ESTABLISHING;
		return;
	}
	wamp_log_not_served(session, name, named);
	if (named || later || database != NULL)
		wamp_end(client, NULL, SESSION_CLOSE_NOT_SERVED,
				 "the database of this realm is not served at present");
	else
		wamp_abort_session(client, SESSION_CLOSE_NOT_SERVED, WAMP_NO_SUCH_REALM,
						   "there is no such realm, or its database is not served");
}

/* Return the first of the client's methods that there is. Without a list, it is anonymous. */
static WampMethod
wamp_choose_method(const WampSession *session, const json_t *details)
{
	bool anonymous = session->client->session.sessions->config->anonymous;
	const json_t *wanted = json_object_get(details, "authmethods");
	json_t *name;
	size_t i;

	if (session->token != NULL)
		return WAMP_METHOD_TOKEN;
	if (wanted == NULL || json_array_size(wanted) == 0)
		return anonymous ? WAMP_METHOD_ANONYMOUS : WAMP_METHOD_NONE;
	json_array_foreach(wanted, i, name)
	{
		const char *text = json_string_value(name);

		if (text == NULL)
			continue;
		if (strcmp(text, wamp_methods[WAMP_METHOD_TICKET].name) == 0)
			return WAMP_METHOD_TICKET;
		if (strcmp(text, wamp_methods[WAMP_METHOD_WAMPCRA].name) == 0)
			return WAMP_METHOD_WAMPCRA;
		if (anonymous && strcmp(text, wamp_methods[WAMP_METHOD_ANONYMOUS].name) == 0)
			return WAMP_METHOD_ANONYMOUS;
	}
	return WAMP_METHOD_NONE;
}

/* Whether HELLO announces a feature of a role. */
static bool
wamp_announces(const json_t *details, const char *role, const char *feature)
{
	const json_t *roles = json_object_get(details, "roles");
	const json_t *features = json_object_get(json_object_get(roles, role), "features");

	return json_is_true(json_object_get(features, feature));
}

/* What the client can do as a callee and as a caller, as flags of ROUTE_JOIN. */
static uint8_t
wamp_features(const json_t *details)
{
	uint8_t flags = 0;

	if (wamp_announces(details, "callee", "call_canceling"))
		flags |= ROUTE_CANCELS;
	if (wamp_announces(details, "callee", wamp_passthru))
		flags |= ROUTE_OPAQUE;
	if (wamp_announces(details, "caller", wamp_passthru))
		flags |= ROUTE_OPAQUES;
	return flags;
}

/* The user of WAMP-CRA, whom HELLO has to name. */
static bool
wamp_take_user(WampSession *session, const json_t *details)
{
	const char *user = json_string_value(json_object_get(details, "authid"));
	size_t len = user != NULL ? strlen(user) : 0;

	if (len == 0 || len > WIRE_MAX_USER)
		return false;
	session->authid = memory_string(user, len);
	return true;
}

static void
wamp_hello(WampSession *session, const WampMessage *message)
{
	HubClient *client = session->client;

	if (session->state != WAMP_STATE_CLOSED)
	{
		wamp_violation(client, "a second HELLO");
		return;
	}
	if (!uri_is_valid(URI_EXACT, message->uri, message->uri_len))
	{
		wamp_abort_session(client, SESSION_CLOSE_NOT_SERVED, "wamp.error.invalid_uri",
						   "the realm is no valid URI");
		return;
	}
	session->method = (uint8_t) wamp_choose_method(session, message->details);
	if (session->method == WAMP_METHOD_NONE)
	{
		wamp_abort_session(client, SESSION_CLOSE_NO_IDENTITY, "wamp.error.no_matching_auth_method",
						   client->session.sessions->config->anonymous
							   ? "the methods are \"ticket\", \"wampcra\" and \"anonymous\""
							   : "the methods are \"ticket\" and \"wampcra\"; anonymous access "
								 "is disabled");
		return;
	}
	if (session->method == WAMP_METHOD_WAMPCRA && !wamp_take_user(session, message->details))
	{
		wamp_abort_session(client, SESSION_CLOSE_NO_IDENTITY, WAMP_NOT_IDENTIFIED,
						   "the method \"wampcra\" needs an authid of 1 to 255 bytes");
		return;
	}
	session->features = wamp_features(message->details);
	session->opaque = wamp_announces(message->details, "publisher", wamp_passthru);
	session->realm = memory_string(message->uri, message->uri_len);
	session->deadline = client->session.sessions->now() + WAMP_HELLO_MS;
	wamp_enter(session);
}

void
wamp_outside(HubClient *client)
{
	WampSession *session = wamp_session(client);

	if (session->state == WAMP_STATE_ESTABLISHING)
		wamp_enter(session);
	else if (client->session.sessions->now() >= session->deadline)
		wamp_violation(client, "no HELLO within 10 seconds");
}

void
wamp_identified(HubClient *client)
{
	WampSession *session = wamp_session(client);

	if (session->state == WAMP_STATE_AUTHENTICATING)
		wamp_establish(session);
}

void
wamp_challenged(HubClient *client, const WireChallenge *challenge)
{
	WampSession *session = wamp_session(client);
	json_t *extra = json_object();
	char *text;

	if (session->state != WAMP_STATE_AUTHENTICATING)
	{
		json_decref(extra);
		return;
	}
	session->challenged = true;
	notification_put_bytes(extra, "challenge", challenge->text);
	notification_put_bytes(extra, "salt", challenge->salt);
	json_object_set_new(extra, "iterations", json_integer(challenge->iterations));
	json_object_set_new(extra, "keylen", json_integer(challenge->keylen));
	text = notification_dump(extra);
	wamp_send(client, wamp_challenge(wamp_method_name(session), notification_bytes(text)));
	free(text);
	json_decref(extra);
}

bool
wamp_challenge_lost(WampSession *session)
{
	const Identity *identity = &session->client->identity;

	if (session->state != WAMP_STATE_AUTHENTICATING || session->method != WAMP_METHOD_WAMPCRA ||
		(!session->challenged &&
		 (identity->offer == NULL || identity->kind != IDENTITY_OFFER_SIGNATURE)))
		return false;
	wamp_end(session->client, NULL, SESSION_CLOSE_GOING_AWAY,
			 "the challenge was lost; connect again");
	return true;
}

void
wamp_not_identified(HubClient *client, uint8_t reason, WireBytes text)
{
	char *copy = memory_string(text.data, text.len);

	wamp_abort_session(
		client, reason == WIRE_EXPIRED ? SESSION_CLOSE_EXPIRED : SESSION_CLOSE_NO_IDENTITY,
		reason == WIRE_NOT_PERMITTED ? "wamp.error.not_authorized" : WAMP_NOT_IDENTIFIED, copy);
	free(copy);
}

/* ---------------- the end ---------------- */

static Frame *
wamp_farewell_for(const WampSession *session, uint16_t code, const char *reason)
{
	bool established = session->state == WAMP_STATE_ESTABLISHED;
	const char *uri;

	switch (code)
	{
		/*
		 * The client is to come back. AutobahnJS does so only if the connection ends without GOODBYE
		 * or ABORT.
		 */
		case SESSION_CLOSE_GOING_AWAY:
		case SESSION_CLOSE_RESTART:
			return NULL;
		case SESSION_CLOSE_NO_IDENTITY:
			uri = established ? "wamp.close.killed" : WAMP_NOT_IDENTIFIED;
			break;
		case SESSION_CLOSE_EXPIRED:
			uri = established ? "pg_notifyd.close.token_expired" : WAMP_NOT_IDENTIFIED;
			break;
		case SESSION_CLOSE_NOT_SERVED:
			if (established)
				return NULL;
			uri = WAMP_NO_SUCH_REALM;
			break;
		case SESSION_CLOSE_TOO_SLOW:
			uri = "pg_notifyd.close.too_slow";
			break;
		case SESSION_CLOSE_TOO_BIG:
			return wamp_abort("wamp.error.payload_size_exceeded", reason);
		default:
			return wamp_abort(WAMP_VIOLATION, reason);
	}
	return established ? wamp_goodbye(uri, reason) : wamp_abort(uri, reason);
}

Frame *
wamp_farewell(HubClient *client, uint16_t code, const char *reason)
{
	WampSession *session = wamp_session(client);
	Frame *last = session->last;

	if (!session->ends)
		return wamp_farewell_for(session, code, reason);
	session->last = NULL;
	return last;
}

void
wamp_left(HubClient *client)
{
	WampSession *session = client->state;
	WampWaiter *waiter;

	if (session == NULL)
		return;
	client->state = NULL;
	client->number = 0;
	client->mark = 0;
	client->authid = NULL;
	client->authrole = NULL;
	while ((waiter = TAILQ_FIRST(&session->waiters)) != NULL)
	{
		TAILQ_REMOVE(&session->waiters, waiter, in_session);
		free(waiter);
	}
	if (session->token != NULL)
		explicit_bzero(session->token, strlen(session->token));
	free(session->token);
	free(session->realm);
	free(session->authid);
	if (session->last != NULL)
		frame_unref(session->last);
	free(session);
}

/* ---------------- messages ---------------- */

/* Whether the client may send a message of this type with payload passthru: HELLO has announced it. */
static bool
wamp_may_pass(const WampSession *session, WampType type)
{
	switch (type)
	{
		case WAMP_PUBLISH:
			return session->opaque;
		case WAMP_CALL:
			return (session->features & ROUTE_OPAQUES) != 0;
		case WAMP_YIELD:
		case WAMP_ERROR:
			return (session->features & ROUTE_OPAQUE) != 0;
		default:
			return true;
	}
}

bool
wamp_session_message(WampSession *session, const WampMessage *message)
{
	HubClient *client = session->client;

	switch (message->type)
	{
		case WAMP_HELLO:
			wamp_hello(session, message);
			return true;
		case WAMP_ABORT:
			wamp_end(client, NULL, WAMP_CLOSE_NORMAL, "");
			return true;
		case WAMP_AUTHENTICATE:
			if (session->state == WAMP_STATE_AUTHENTICATING && session->challenged)
				wamp_offer(session, message->signature);
			else
				wamp_violation(client, "AUTHENTICATE without a CHALLENGE");
			return true;
		default:
			break;
	}
	if (session->state != WAMP_STATE_ESTABLISHED)
	{
		wamp_violation(client, "a message before the session is established");
		return true;
	}
	if (wamp_options_opaque(message->details) && !wamp_may_pass(session, message->type))
	{
		wamp_violation(client, "payload passthru that HELLO has not announced");
		return true;
	}
	if (message->type != WAMP_GOODBYE)
		return false;
	wamp_end(client, wamp_goodbye("wamp.close.goodbye_and_out", NULL), WAMP_CLOSE_NORMAL, "");
	return true;
}
