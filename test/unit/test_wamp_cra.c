/* WAMP-CRA in the gateway: names, challenges and signatures, with the hub and no sockets. */
#include "play_wamp.h"

#include "wire/uri.h"

#define HELLO_CRA                                                                                  \
	"[1,\"db\",{\"roles\":{},\"authmethods\":[\"wampcra\",\"ticket\"],\"authid\":\"joe\"}]"

static void
challenge(Database *database, const Session *session)
{
	play_frame(database, (WireMessage){.type = WIRE_CHALLENGE,
									   .u.challenge = {.session = session->number,
													   .iterations = 10000,
													   .keylen = 32,
													   .text = play_bytes("{\"nonce\":1}"),
													   .salt = play_bytes("c2FsdA==")}});
}

static void
issue(Database *database, const Session *session)
{
	play_frame(database, (WireMessage){.type = WIRE_ISSUED,
									   .u.issued = {.session = session->number,
													.token = play_bytes("a.b.c")}});
}

/* A client whose HELLO was answered with CHALLENGE. */
static Session *
challenged(Database *database, PlayPipe *pipe)
{
	Session *session = dial(pipe);

	play_nsent = 0;
	play_receive(session, HELLO_CRA);
	assert_int_equal(play_nsent, 1);
	assert_int_equal(play_sent[0].type, WIRE_AUTH_USER);
	assert_int_equal(play_sent[0].u.auth_user.session, session->number);
	assert_int_equal(play_sent[0].u.auth_user.user.len, strlen("joe"));
	assert_true(play_sent[0].u.auth_user.number >= 1 &&
				play_sent[0].u.auth_user.number <= URI_MAX_ID);
	play_expect_nothing(pipe);
	challenge(database, session);
	expect_text(pipe, "[4,\"wampcra\",{\"challenge\":\"{\\\"nonce\\\":1}\",\"salt\":\"c2FsdA==\","
					  "\"iterations\":10000,\"keylen\":32}]");
	return session;
}

static int refused;

static void
count_refused(const uint8_t *address)
{
	(void) address;
	refused++;
}

static bool
allow_none(const uint8_t *address)
{
	(void) address;
	return false;
}

static void
test_wampcra(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = challenged(database, &pipe);
	uint64_t number = play_sent[0].u.auth_user.number;
	char start[64];
	const char *text;

	(void) state;
	play_nsent = 0;
	play_receive(session, "[5,\"signature\",{}]");
	assert_int_equal(play_nsent, 1);
	assert_int_equal(play_sent[0].type, WIRE_AUTH_SIGNATURE);
	assert_int_equal(play_sent[0].u.auth_signature.signature.len, strlen("signature"));
	/* The token that the feed issues is verified like any other, also on another link. */
	issue(database, session);
	assert_int_equal(play_nsent, 2);
	assert_int_equal(play_sent[1].type, WIRE_AUTH);
	assert_int_equal(play_sent[1].u.auth.token.len, strlen("a.b.c"));
	play_expect_nothing(&pipe);
	identity(database, session, 7);
	text = next_text(&pipe);
	/* The session has the id that was signed. */
	snprintf(start, sizeof(start), "[2,%llu,", (unsigned long long) number);
	assert_memory_equal(text, start, strlen(start));
	assert_non_null(strstr(text, "\"authid\":\"joe\""));
	assert_non_null(strstr(text, "\"authrole\":\"web\""));
	assert_non_null(strstr(text, "\"authmethod\":\"wampcra\""));
	assert_non_null(strstr(text, "\"authprovider\":\"pg_notifyd\""));
	hub_lost(database);
	play_nsent = 0;
	database = play_hello(&play_link_a, 1, 100);
	assert_int_equal(play_sent[0].type, WIRE_AUTH);
	assert_int_equal(play_sent[0].u.auth.token.len, strlen("a.b.c"));
	identity(database, session, 8);
	assert_int_equal(session->state, SESSION_OPEN);
}

static void
test_wampcra_refused(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = challenged(database, &pipe);

	(void) state;
	refused = 0;
	play_hub.token_refused = count_refused;
	play_receive(session, "[5,\"wrong\",{}]");
	refuse_token(database, session);
	play_hub.token_refused = NULL;
	expect_end(&pipe, "[3,{\"message\":\"bad token\"},\"wamp.error.authentication_failed\"]");
	assert_int_equal(refused, 1);
	/* The same limit as for tokens, before the feed is asked */
	play_hub.token_allowed = allow_none;
	session = dial(&pipe);
	play_client(session)->from = &(Address){.key = {0}};
	play_nsent = 0;
	play_receive(session, HELLO_CRA);
	play_hub.token_allowed = NULL;
	expect_end(&pipe, "wamp.error.authentication_failed");
	assert_int_equal(play_nsent, 0);
}

static bool allowed;

static bool
allow_until_refused(const uint8_t *address)
{
	(void) address;
	return allowed;
}

static void
refuse_and_limit(const uint8_t *address)
{
	(void) address;
	allowed = false;
}

/* Signatures of one address that wait for each other: the limit holds for those that come next, too. */
static void
test_wampcra_guesses(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	Address address = {.key = {7}};
	PlayPipe pipes[3];
	Session *sessions[3];

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(sessions); i++)
	{
		sessions[i] = challenged(database, &pipes[i]);
		play_client(sessions[i])->from = &address;
	}
	allowed = true;
	play_hub.token_allowed = allow_until_refused;
	play_hub.token_refused = refuse_and_limit;
	play_nsent = 0;
	for (size_t i = 0; i < UNIT_COUNT(sessions); i++)
		play_receive(sessions[i], "[5,\"guess\",{}]");
	assert_int_equal(play_nsent, 1);
	refuse_token(database, sessions[0]);
	play_hub.token_allowed = NULL;
	play_hub.token_refused = NULL;
	expect_end(&pipes[0], "[3,{\"message\":\"bad token\"},\"wamp.error.authentication_failed\"]");
	for (size_t i = 1; i < UNIT_COUNT(sessions); i++)
		expect_end(&pipes[i], "too many tokens from this address were refused");
	for (size_t i = 1; i < play_nsent; i++)
		assert_int_not_equal(play_sent[i].type, WIRE_AUTH_SIGNATURE);
	/* Those of clients that are let in again are sent. */
	sessions[0] = challenged(database, &pipes[0]);
	play_client(sessions[0])->from = &address;
	play_nsent = 0;
	play_receive(sessions[0], "[5,\"guess\",{}]");
	assert_int_equal(play_sent[0].type, WIRE_AUTH_SIGNATURE);
}

static void
test_wampcra_violations(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	PlayPipe late;
	Session *session = dial(&pipe);

	(void) state;
	play_receive(session, "[1,\"db\",{\"roles\":{},\"authmethods\":[\"wampcra\"]}]");
	expect_end(&pipe, "wamp.error.authentication_failed");
	play_receive(dial(&pipe),
				 "[1,\"db\",{\"roles\":{},\"authmethods\":[\"wampcra\"],\"authid\":\"\"}]");
	expect_end(&pipe, "wamp.error.authentication_failed");
	/* An empty signature */
	session = challenged(database, &pipe);
	play_receive(session, "[5,\"\",{}]");
	expect_end(&pipe, "wamp.error.authentication_failed");
	/* A client that never signs */
	(void) challenged(database, &late);
	play_tick(IDENTITY_TOKEN_MS + 1000);
	expect_end(&late, "wamp.error.authentication_failed");
}

/* Another feed does not know the challenge, so the client connects again: no ABORT. */
static void
test_wampcra_lost(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = challenged(database, &pipe);

	(void) state;
	hub_lost(database);
	play_expect(&pipe, CLOSE, "the challenge was lost; connect again");
	database = play_hello(&play_link_a, 1, 100);
	session = challenged(database, &pipe);
	play_receive(session, "[5,\"signature\",{}]");
	hub_lost(database);
	play_expect(&pipe, CLOSE, "the challenge was lost; connect again");
	/* A name, and a token that was issued, are sent again. */
	database = play_hello(&play_link_a, 1, 100);
	session = dial(&pipe);
	play_receive(session, HELLO_CRA);
	hub_lost(database);
	play_nsent = 0;
	database = play_hello(&play_link_a, 1, 100);
	assert_int_equal(play_sent[0].type, WIRE_AUTH_USER);
	challenge(database, session);
	(void) next_text(&pipe);
	play_receive(session, "[5,\"signature\",{}]");
	issue(database, session);
	hub_lost(database);
	play_nsent = 0;
	database = play_hello(&play_link_a, 1, 100);
	assert_int_equal(play_sent[0].type, WIRE_AUTH);
	identity(database, session, 7);
	expect_start(&pipe, "[2,");
}

/* What no feed sends ends the link. */
static void
test_wampcra_feed(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = dial(&pipe);
	WireMessage frames[] = {
		{.type = WIRE_CHALLENGE, .u.challenge = {.session = 0, .text = play_bytes("{}")}},
		{.type = WIRE_ISSUED, .u.issued = {.session = 0, .token = play_bytes("a.b.c")}},
		{.type = WIRE_IDENTITY, .u.identity = {.session = 0, .identity = 7}},
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(frames); i++)
		assert_int_equal(hub_message(&play_hub, database, &frames[i]), HUB_BAD);
	play_receive(session, HELLO_CRA);
	frames[1].u.issued.session = session->number;
	assert_int_equal(hub_message(&play_hub, database, &frames[1]), HUB_BAD);
	session = dial(&pipe);
	play_receive(session, HELLO_CRA);
	frames[2].u.identity.session = session->number;
	assert_int_equal(hub_message(&play_hub, database, &frames[2]), HUB_BAD);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_wampcra, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_wampcra_refused, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_wampcra_guesses, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_wampcra_violations, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_wampcra_lost, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_wampcra_feed, setup, play_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
