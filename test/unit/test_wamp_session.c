/* Sessions of WAMP: from HELLO to GOODBYE, subscriptions and calls, with the hub and no sockets. */
#include "play_wamp.h"

#include "wire/uri.h"

#define HELLO_TICKET                                                                               \
	"[1,\"db\",{\"roles\":{},\"authmethods\":[\"scram\",\"ticket\",\"anonymous\"]}]"

static Session *
welcome(PlayPipe *pipe)
{
	Session *session = dial(pipe);
	const char *text;

	play_receive(session, HELLO);
	text = next_text(pipe);
	assert_memory_equal(text, "[2,", 3);
	assert_non_null(strstr(text, "\"realm\":\"db\""));
	assert_non_null(strstr(text, "\"authrole\":\"anonymous\""));
	assert_non_null(strstr(text, "\"authmethod\":\"anonymous\""));
	return session;
}

/* ---------------- the beginning ---------------- */

static void
test_anonymous(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = welcome(&pipe);

	(void) state;
	assert_ptr_equal(play_client(session)->database, database);
	assert_int_equal(database->load.clients, 1);
	assert_true(session->anonymous);
	play_receive(session, "[6,{},\"wamp.close.close_realm\"]");
	expect_end(&pipe, "[6,{},\"wamp.close.goodbye_and_out\"]");
	assert_int_equal(database->load.clients, 0);
}

static void
test_realms(void **state)
{
	PlayPipe pipe;

	(void) state;
	play_config.realms = strdup("realm1=db, db=other");
	(void) play_hello(&play_link_a, 1, 100);
	play_receive(dial(&pipe), "[1,\"realm1\",{\"roles\":{}}]");
	assert_non_null(strstr(next_text(&pipe), "\"realm\":\"realm1\""));
	hub_health(&play_hub, &(WireHealth){.looking = 0, .trouble = play_bytes("")});
	play_receive(dial(&pipe), HELLO);
	play_expect_nothing(&pipe);
	play_receive(dial(&pipe), "[1,\"other\",{\"roles\":{}}]");
	expect_end(&pipe, "\"wamp.error.no_such_realm\"]");
	play_receive(dial(&pipe), "[1,\"a b\",{\"roles\":{}}]");
	expect_end(&pipe, "\"wamp.error.invalid_uri\"]");
	free(play_config.realms);
	play_config.realms = NULL;
}

/* The connection ends without a message: the client is to come back. */
static void
expect_close(PlayPipe *pipe)
{
	sessions_flush(&play_sessions);
	assert_true(pipe->len >= 4);
	assert_int_equal((uint8_t) pipe->out[0], 0x80 | CLOSE);
	assert_int_equal((uint8_t) pipe->out[2] << 8 | (uint8_t) pipe->out[3],
					 SESSION_CLOSE_NOT_SERVED);
	assert_int_not_equal(pipe->session->state, SESSION_OPEN);
}

/*
 * A realm of the settings is one although its database is not there: its HELLO waits, and then the
 * client is to come back.
 */
static void
test_named_realms(void **state)
{
	static char realms[] = "realm1=db";
	static char database[] = "db";
	uint64_t *refused = &play_sessions.stats.refused[WIRE_REFUSED_DATABASE];
	uint64_t before = *refused;
	PlayPipe first;
	PlayPipe second;
	PlayPipe other;

	(void) state;
	hub_health(&play_hub, &(WireHealth){.looking = 0, .trouble = play_bytes("")});
	play_config.realms = realms;
	play_receive(dial(&first), "[1,\"realm1\",{\"roles\":{}}]");
	play_receive(dial(&other), HELLO);
	expect_end(&other, "\"wamp.error.no_such_realm\"]");
	assert_int_equal(*refused, before + 1);
	play_config.realms = NULL;
	play_config.database = database;
	play_receive(dial(&second), HELLO);
	play_receive(dial(&other), "[1,\"db2\",{\"roles\":{}}]");
	expect_end(&other, "\"wamp.error.no_such_realm\"]");
	play_config.realms = realms;
	play_expect_nothing(&first);
	play_expect_nothing(&second);
	play_clock += WAMP_HELLO_MS;
	hub_tick(&play_hub);
	expect_close(&first);
	expect_close(&second);
	assert_int_equal(*refused, before + 4);
	play_receive(dial(&first), "[1,\"realm1\",{\"roles\":{}}]");
	(void) play_hello(&play_link_a, 1, 100);
	expect_start(&first, "[2,");
	play_config.realms = NULL;
	play_config.database = NULL;
}

/* While the launcher checks databases, HELLO waits for its database, and not longer than 10 s. */
static void
test_waits_for_database(void **state)
{
	PlayPipe pipe;
	PlayPipe late;

	(void) state;
	hub_health(&play_hub, &(WireHealth){.looking = 1, .trouble = play_bytes("")});
	play_receive(dial(&pipe), HELLO);
	play_receive(dial(&late), "[1,\"missing\",{\"roles\":{}}]");
	play_expect_nothing(&pipe);
	(void) play_hello(&play_link_a, 1, 100);
	expect_start(&pipe, "[2,");
	play_expect_nothing(&late);
	play_clock += WAMP_HELLO_MS;
	hub_tick(&play_hub);
	expect_close(&late);
	/* A client that is to wait no longer */
	play_receive(dial(&late), "[1,\"missing\",{\"roles\":{}}]");
	hub_health(&play_hub, &(WireHealth){.looking = 0, .trouble = play_bytes("")});
	expect_end(&late, "\"wamp.error.no_such_realm\"]");
}

/* It also waits while another feed of a known database starts. */
static void
test_waits_for_feed(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	PlayPipe late;

	(void) state;
	hub_health(&play_hub, &(WireHealth){.looking = 0, .trouble = play_bytes("")});
	hub_lost(database);
	play_receive(dial(&pipe), HELLO);
	play_expect_nothing(&pipe);
	(void) play_hello(&play_link_a, 1, 100);
	expect_start(&pipe, "[2,");
	hub_lost(database);
	play_receive(dial(&late), HELLO);
	play_clock += WAMP_HELLO_MS;
	hub_tick(&play_hub);
	expect_close(&late);
}

static void
test_no_hello(void **state)
{
	PlayPipe pipe;

	(void) state;
	(void) dial(&pipe);
	hub_tick(&play_hub);
	play_expect_nothing(&pipe);
	play_clock += WAMP_HELLO_MS;
	hub_tick(&play_hub);
	expect_end(&pipe, "wamp.error.protocol_violation");
}

static void
test_ticket(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = dial(&pipe);
	const char *text;

	(void) state;
	play_receive(session, HELLO_TICKET);
	expect_text(&pipe, "[4,\"ticket\",{}]");
	play_nsent = 0;
	play_receive(session, "[5,\"the token\",{}]");
	assert_int_equal(play_sent[0].type, WIRE_AUTH);
	play_expect_nothing(&pipe);
	identity(database, session, 7);
	text = next_text(&pipe);
	assert_memory_equal(text, "[2,", 3);
	assert_non_null(strstr(text, "\"authid\":\"joe\""));
	assert_non_null(strstr(text, "\"authrole\":\"web\""));
	assert_non_null(strstr(text, "\"authmethod\":\"ticket\""));
	assert_false(session->anonymous);
	play_receive(session, "[5,\"the token\",{}]");
	expect_end(&pipe, "wamp.error.protocol_violation");
}

static void
test_bad_ticket(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = dial(&pipe);

	(void) state;
	play_receive(session, HELLO_TICKET);
	expect_text(&pipe, "[4,\"ticket\",{}]");
	play_receive(session, "[5,\"bad\",{}]");
	refuse_token(database, session);
	expect_end(&pipe, "[3,{\"message\":\"bad token\"},\"wamp.error.authentication_failed\"]");
}

static void
test_ticket_never_comes(void **state)
{
	PlayPipe pipe;

	(void) state;
	(void) play_hello(&play_link_a, 1, 100);
	play_receive(dial(&pipe), HELLO_TICKET);
	expect_text(&pipe, "[4,\"ticket\",{}]");
	play_tick(IDENTITY_TOKEN_MS + 1000);
	expect_end(&pipe, "wamp.error.authentication_failed");
}

static void
test_token_of_handshake(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = dial(&pipe);

	(void) state;
	wamp_present(play_client(session), "the token", strlen("the token"));
	play_nsent = 0;
	play_receive(session, HELLO);
	assert_int_equal(play_sent[0].type, WIRE_AUTH);
	play_expect_nothing(&pipe);
	identity(database, session, 7);
	assert_non_null(strstr(next_text(&pipe), "\"authid\":\"joe\""));
	session = dial(&pipe);
	wamp_present(play_client(session), "the token", strlen("the token"));
	play_receive(session, HELLO);
	refuse_token(database, session);
	expect_end(&pipe, "wamp.error.authentication_failed");
}

static void
test_no_method(void **state)
{
	PlayPipe pipe;

	(void) state;
	(void) play_hello(&play_link_a, 1, 100);
	play_receive(dial(&pipe), "[1,\"db\",{\"roles\":{},\"authmethods\":[\"cookie\",\"7\"]}]");
	expect_end(&pipe, "wamp.error.no_matching_auth_method");
	play_config.anonymous = false;
	play_receive(dial(&pipe), HELLO);
	expect_end(&pipe, "wamp.error.no_matching_auth_method");
	play_receive(dial(&pipe), "[1,\"db\",{\"roles\":{},\"authmethods\":[\"anonymous\"]}]");
	expect_end(&pipe, "wamp.error.no_matching_auth_method");
}

static void
test_violations(void **state)
{
	static const char *const early[] = {
		"[32,1,{},\"a\"]",
		"[6,{},\"wamp.close.close_realm\"]",
		"[5,\"x\",{}]",
		"[2,1,{}]",
		"{}",
		"[",
		"[1]",
	};
	PlayPipe pipe;

	(void) state;
	(void) play_hello(&play_link_a, 1, 100);
	for (size_t i = 0; i < UNIT_COUNT(early); i++)
	{
		play_receive(dial(&pipe), early[i]);
		expect_end(&pipe, "wamp.error.protocol_violation");
	}
	play_receive(welcome(&pipe), HELLO);
	expect_end(&pipe, "wamp.error.protocol_violation");
	session_received(welcome(&pipe), "[]", 2, 0, true, true, false);
	expect_end(&pipe, "wamp.error.protocol_violation");
	session_received(welcome(&pipe), "\xff", 1, 0, true, false, false);
	expect_end(&pipe, "wamp.error.protocol_violation");
}

static void
test_abort(void **state)
{
	PlayPipe pipe;

	(void) state;
	play_receive(dial(&pipe), "[3,{},\"wamp.close.normal\"]");
	play_expect(&pipe, CLOSE, "");
	play_expect_nothing(&pipe);
}

static void
test_shutdown(void **state)
{
	PlayPipe established;
	PlayPipe other;

	(void) state;
	(void) play_hello(&play_link_a, 1, 100);
	(void) welcome(&established);
	(void) dial(&other);
	sessions_close_all(&play_sessions, SESSION_CLOSE_GOING_AWAY, "no longer serving");
	/* No GOODBYE and no ABORT: they are to reconnect. */
	play_expect(&established, CLOSE, "no longer serving");
	play_expect_nothing(&established);
	play_expect(&other, CLOSE, "no longer serving");
	play_expect_nothing(&other);
}

/* ---------------- topics ---------------- */

/* A message with this number in place of its first "#". */
static const char *
message(const char *pattern, uint64_t id)
{
	static char text[512];
	const char *mark = strchr(pattern, '#');

	assert_non_null(mark);
	snprintf(text, sizeof(text), "%.*s%llu%s", (int) (mark - pattern), pattern,
			 (unsigned long long) id, mark + 1);
	return text;
}

static uint64_t
topic(const char *name)
{
	return uri_id(URI_EXACT, name, strlen(name));
}

static void
test_subscribe(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = welcome(&pipe);
	uint32_t sub;

	(void) state;
	sub = play_subscribe(session, "[32,71,{},\"a\"]", 5, false, 100);
	expect_text(&pipe, message("[33,71,#]", topic("a")));
	/* The same subscription once more */
	play_nsent = 0;
	play_receive(session, "[32,72,{\"match\":\"exact\"},\"a\"]");
	assert_int_equal(play_nsent, 0);
	expect_text(&pipe, message("[33,72,#]", topic("a")));
	play_event(database, 5, 101, "{\"op\":\"INSERT\"}");
	expect_text(&pipe,
				message("[36,#,101,{\"position\":\"1-101\"},[],{\"op\":\"INSERT\"}]", topic("a")));
	play_expect_nothing(&pipe);
	/* One UNSUBSCRIBE ends it, and nothing comes after the answer. */
	play_receive(session, message("[34,73,#]", topic("a")));
	play_expect_end(0, sub);
	play_event(database, 5, 102, "{\"op\":\"INSERT\"}");
	expect_text(&pipe, "[35,73]");
	play_expect_nothing(&pipe);
	play_receive(session, message("[34,74,#]", topic("a")));
	expect_start(&pipe, "[8,34,74,{},\"wamp.error.no_such_subscription\",");
}

/* The second SUBSCRIBE comes before the first one is answered. */
static void
test_subscribe_twice(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = welcome(&pipe);
	uint32_t sub;

	(void) state;
	play_nsent = 0;
	play_receive(session, "[32,1,{},\"a\"]");
	play_receive(session, "[32,2,{},\"a\"]");
	play_receive(session, "[32,3,{\"x_ops\":[\"INSERT\"]},\"a\"]");
	play_receive(session, message("[34,4,#]", topic("a")));
	assert_int_equal(play_nsent, 1);
	expect_start(&pipe, "[8,32,3,{},\"wamp.error.option_not_allowed\",");
	expect_start(&pipe, "[8,34,4,{},\"wamp.error.no_such_subscription\",");
	play_expect_nothing(&pipe);
	sub = play_sent[0].u.subscribe.sub;
	play_subscribed(database, sub, 5, false, 100);
	play_event(database, 5, 101, "{}");
	expect_text(&pipe, message("[33,1,#]", topic("a")));
	expect_text(&pipe, message("[33,2,#]", topic("a")));
	expect_text(&pipe, message("[36,#,101,{\"position\":\"1-101\"},[],{}]", topic("a")));
	play_expect_nothing(&pipe);
	/* A refusal is for both, too. */
	play_nsent = 0;
	play_receive(session, "[32,5,{},\"b\"]");
	play_receive(session, "[32,6,{},\"b\"]");
	play_frame(database, (WireMessage){.type = WIRE_REFUSED,
									   .u.refused = {.sub = play_sent[0].u.subscribe.sub,
													 .reason = WIRE_NOT_PERMITTED,
													 .text = play_bytes("no")}});
	expect_text(&pipe, "[8,32,5,{},\"wamp.error.not_authorized\",[\"no\"]]");
	expect_text(&pipe, "[8,32,6,{},\"wamp.error.not_authorized\",[\"no\"]]");
	assert_int_equal(session->unanswered, 0);
}

static void
test_bad_topics(void **state)
{
	PlayPipe pipe;
	Session *session;
	char text[128];

	(void) state;
	(void) play_hello(&play_link_a, 1, 100);
	session = welcome(&pipe);
	play_receive(session, "[32,1,{},\"a..b\"]");
	assert_non_null(strstr(next_text(&pipe), "\"wamp.error.invalid_uri\""));
	snprintf(text, sizeof(text), "[32,2,{},\"%064d\"]", 0);
	play_receive(session, text);
	assert_non_null(
		strstr(next_text(&pipe), "\"wamp.error.invalid_uri\",[\"a topic has at most 63 bytes\"]"));
	play_receive(session, "[32,3,{\"x_ops\":7},\"a\"]");
	assert_non_null(strstr(next_text(&pipe), "\"wamp.error.invalid_argument\""));
	play_receive(session, "[32,4,{\"x_filter\":7},\"a\"]");
	assert_non_null(strstr(next_text(&pipe), "\"wamp.error.invalid_argument\""));
	play_expect_nothing(&pipe);
}

/* What JSON-RPC calls a reset, and a subscription that the server ends. */
static void
test_server_ends(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = welcome(&pipe);
	uint32_t sub = play_subscribe(session, "[32,1,{},\"a\"]", 5, true, 100);
	const char *text;

	(void) state;
	(void) next_text(&pipe);
	play_reset(database, sub, 110, "retention");
	text = next_text(&pipe);
	assert_memory_equal(text, "[36,", 4);
	assert_non_null(strstr(text, ",{\"position\":\"1-110\"},[],{\"op\":\"RESET\",\"channel\":\"a\","
								 "\"reason\":\"retention\",\"position\":\"1-110\"}]"));
	play_frame(database, (WireMessage){.type = WIRE_SUBSCRIPTION_ENDED,
									   .u.subscription_ended = {.sub = sub,
																.reason = WIRE_NOT_PERMITTED,
																.text = play_bytes("no")}});
	expect_text(&pipe,
				message("[35,0,{\"subscription\":#,\"reason\":\"wamp.error.not_authorized\"}]",
						topic("a")));
	assert_int_equal(play_client(session)->nsubscriptions, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_anonymous, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_realms, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_named_realms, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_waits_for_database, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_waits_for_feed, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_no_hello, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_ticket, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_bad_ticket, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_ticket_never_comes, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_token_of_handshake, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_no_method, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_violations, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_abort, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_shutdown, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_subscribe, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_subscribe_twice, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_bad_topics, setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_server_ends, setup, play_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
