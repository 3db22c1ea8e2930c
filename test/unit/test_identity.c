/* Identities of clients: tokens on their way to the feed, renewal, expiry, lost links; and which token a request has. */
#include "play.h"

#include "gateway/routes/credential.h"

#define PLAY_AUTH  "{\"id\":5,\"method\":\"auth\",\"token\":\"t.1.x\"}"
#define PLAY_RENEW "{\"id\":6,\"method\":\"auth\",\"token\":\"t.2.x\"}"
#define PLAY_ROLE  "{\"role\":\"reader\",\"expires_at\":\"2023-11-14T22:13:20+00:00\"}}"

/* A client of this address that needs a token; or one whose handshake has presented one. */
static Session *
connect_from(Database *database, PlayPipe *pipe, Address *from, const char *token)
{
	HubClient *client;

	*pipe = (PlayPipe){0};
	client = hub_open(&play_hub, database, SESSION_WEBSOCKET, &play_plain, "test", false, pipe);
	client->from = from;
	pipe->session = &client->session;
	if (token != NULL)
		hub_offer(&play_hub, client, token, strlen(token), false, NULL);
	return pipe->session;
}

static Session *
connect_client(Database *database, PlayPipe *pipe, const char *token)
{
	return connect_from(database, pipe, NULL, token);
}

static void
accept_token(Database *database, const Session *session, uint32_t identity, uint64_t lifetime)
{
	play_frame(database, (WireMessage){.type = WIRE_IDENTITY,
									   .u.identity = {.session = session->number,
													  .identity = identity,
													  .expires_at = UINT64_C(1700000000000000),
													  .lifetime_ms = lifetime,
													  .role = play_bytes("reader"),
													  .subject = play_bytes("7")}});
}

static void
refuse_token(Database *database, const Session *session, WireReason reason)
{
	play_frame(database, (WireMessage){.type = WIRE_AUTH_REFUSED,
									   .u.auth_refused = {.session = session->number,
														  .reason = reason,
														  .text = play_bytes("no good")}});
}

/* The i-th frame to the feed is an AUTH with this token. */
static void
expect_auth(size_t i, const Session *session, const char *token)
{
	assert_true(i < play_nsent);
	assert_int_equal(play_sent[i].type, WIRE_AUTH);
	assert_int_equal(play_sent[i].u.auth.session, session->number);
	assert_int_equal(play_sent[i].u.auth.token.len, strlen(token));
	assert_memory_equal(play_sent[i].u.auth.token.data, token, strlen(token));
}

static void
expect_forget(size_t i, const Session *session)
{
	assert_true(i < play_nsent);
	assert_int_equal(play_sent[i].type, WIRE_FORGET);
	assert_int_equal(play_sent[i].u.forget.session, session->number);
}

/* A close frame with this code and reason comes next, and the session ends. */
static void
expect_close(PlayPipe *pipe, uint16_t code, const char *reason)
{
	char text[FRAME_CONTROL_MAX];

	text[0] = (char) (code >> 8);
	text[1] = (char) code;
	snprintf(text + 2, sizeof(text) - 2, "%s", reason);
	sessions_flush(&play_sessions);
	assert_true(pipe->len >= 4 + strlen(reason));
	assert_int_equal((uint8_t) pipe->out[0], 0x88);
	assert_int_equal((uint8_t) pipe->out[1], 2 + strlen(reason));
	assert_memory_equal(pipe->out + 2, text, 2 + strlen(reason));
	assert_int_not_equal(pipe->session->state, SESSION_OPEN);
}

static void
test_only_auth(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = connect_client(database, &pipe, NULL);

	(void) state;
	play_receive(session, PLAY_SUBSCRIBE_A);
	play_expect(&pipe, 1,
				"\"message\":\"not authenticated; send a token with \\\"auth\\\" "
				"first\",\"data\":{\"channel\":\"a\"}}}");
	play_receive(session, "{\"id\":2,\"method\":\"ping\"}");
	play_expect(&pipe, 1, "first\"}}");
	assert_int_equal(play_nsent, 0);
	play_receive(session, PLAY_AUTH);
	expect_auth(0, session, "t.1.x");
	assert_true(pipe.paused);
	accept_token(database, session, 11, 60000);
	play_expect(&pipe, 1, "{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":" PLAY_ROLE);
	assert_false(pipe.paused);
	play_receive(session, PLAY_SUBSCRIBE_A);
	assert_int_equal(play_nsent, 2);
	assert_int_equal(play_sent[1].u.subscribe.identity, 11);
	assert_int_equal(play_sent[1].u.subscribe.session, session->number);
}

static void
test_no_token_in_time(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = connect_client(database, &pipe, NULL);

	(void) state;
	play_receive(session, PLAY_AUTH);
	refuse_token(database, session, WIRE_NOT_AUTHENTICATED);
	play_expect(&pipe, 1, "\"error\":{\"code\":-32001,\"message\":\"no good\"}}");
	play_tick(IDENTITY_TOKEN_MS - 1);
	play_expect_nothing(&pipe);
	play_tick(1);
	expect_close(&pipe, 4401, "not authenticated: no valid token within 10 seconds");
}

/* The time that the feed takes is not the client's. */
static void
test_slow_feed(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = connect_client(database, &pipe, "t.1.x");

	(void) state;
	play_tick(2 * IDENTITY_TOKEN_MS);
	assert_int_equal(session->state, SESSION_OPEN);
	assert_true(pipe.paused);
	accept_token(database, session, 11, WIRE_NEVER);
	play_expect_nothing(&pipe);
	assert_false(pipe.paused);
	play_tick(1000000);
	assert_int_equal(session->state, SESSION_OPEN);
}

static void
test_bad_handshake(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = connect_client(database, &pipe, "t.1.x");

	(void) state;
	refuse_token(database, session, WIRE_EXPIRED);
	expect_close(&pipe, 4401, "no good");
	assert_int_equal(play_nsent, 2);
	assert_int_equal(play_sent[1].type, WIRE_FORGET);
	assert_int_equal(play_sent[1].u.forget.session, session->number);
}

/* Nothing that is queued for a client is written when its token has expired. */
static void
test_expiry_unread(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = connect_client(database, &pipe, "t.1.x");

	(void) state;
	accept_token(database, session, 11, 5500);
	sessions_flush(&play_sessions);
	play_subscribe(session, PLAY_SUBSCRIBE_A, 1, false, 100);
	play_expect(&pipe, 1, "\"position\":\"1-100\"}}");
	pipe.blocked = true;
	play_event(database, 1, 101, "secret");
	sessions_flush(&play_sessions);
	for (int i = 0; i < 6; i++)
	{
		assert_int_equal(session->state, SESSION_OPEN);
		play_tick(1000);
	}
	assert_int_equal(session->state, SESSION_CLOSING);
	play_unblock(&pipe);
	expect_close(&pipe, 4001, "the token has expired");
}

static void
test_renewal_in_replay(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = connect_client(database, &pipe, "t.1.x");
	uint32_t sub;

	(void) state;
	accept_token(database, session, 11, 2000);
	sessions_flush(&play_sessions);
	sub = play_subscribe(session, PLAY_SUBSCRIBE_B_SINCE, 1, true, 50);
	play_expect(&pipe, 1, "\"position\":\"1-50\"}}");
	play_replay_event(database, sub, 60, "60");
	play_receive(session, PLAY_RENEW);
	expect_auth(1, session, "t.2.x");
	play_replay_event(database, sub, 61, "61");
	accept_token(database, session, 11, 60000);
	play_replay_event(database, sub, 62, "62");
	play_replay_done(database, sub, 100);
	play_expect(&pipe, 1, "60");
	play_expect(&pipe, 1, "61");
	play_expect(&pipe, 1, "\"id\":6,\"result\":" PLAY_ROLE);
	play_expect(&pipe, 1, "62");
	play_tick(3000);
	play_event(database, 1, 101, "101");
	play_expect(&pipe, 1, "101");
}

/* A refused renewal changes nothing. */
static void
test_refused_renewal(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = connect_client(database, &pipe, "t.1.x");

	(void) state;
	accept_token(database, session, 11, 60000);
	sessions_flush(&play_sessions);
	play_subscribe(session, PLAY_SUBSCRIBE_A, 1, false, 100);
	play_expect(&pipe, 1, "\"position\":\"1-100\"}}");
	play_receive(session, PLAY_RENEW);
	refuse_token(database, session, WIRE_NOT_AUTHENTICATED);
	play_expect(&pipe, 1, "\"error\":{\"code\":-32001,\"message\":\"no good\"}}");
	play_event(database, 1, 101, "101");
	play_expect(&pipe, 1, "101");
	play_tick(60000);
	expect_close(&pipe, 4001, "the token has expired");
}

static void
test_anonymous_subscriber(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	play_subscribe(session, PLAY_SUBSCRIBE_A, 1, false, 100);
	play_expect(&pipe, 1, "\"position\":\"1-100\"}}");
	play_receive(session, PLAY_AUTH);
	play_expect(&pipe, 1, "send the token before the first of them\"}}");
	play_receive(session, "{\"id\":3,\"method\":\"unsubscribe\",\"channel\":\"a\"}");
	play_expect(&pipe, 1, "\"channel\":\"a\"}}");
	play_nsent = 0;
	play_receive(session, PLAY_AUTH);
	expect_auth(0, session, "t.1.x");
	accept_token(database, session, 12, WIRE_NEVER);
	play_expect(&pipe, 1, PLAY_ROLE);
	sessions_close_anonymous(&play_sessions);
	play_expect_nothing(&pipe);
}

/* On a new link the accepted token is verified first, then one that renews it; subscriptions wait. */
static void
test_lost_link(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = connect_client(database, &pipe, "t.1.x");

	(void) state;
	accept_token(database, session, 11, 60000);
	sessions_flush(&play_sessions);
	play_subscribe(session, PLAY_SUBSCRIBE_A, 1, false, 100);
	play_receive(session, PLAY_RENEW);
	hub_lost(database);
	play_nsent = 0;
	assert_ptr_equal(play_hello(&play_link_b, 1, 100), database);
	assert_int_equal(play_nsent, 1);
	expect_auth(0, session, "t.1.x");
	accept_token(database, session, 3, 50000);
	assert_int_equal(play_nsent, 3);
	expect_auth(1, session, "t.2.x");
	assert_int_equal(play_sent[2].type, WIRE_SUBSCRIBE);
	assert_int_equal(play_sent[2].u.subscribe.identity, 3);
	assert_true(pipe.paused);
	accept_token(database, session, 3, 90000);
	sessions_flush(&play_sessions);
	assert_false(pipe.paused);
	assert_int_equal(play_nsent, 3);
}

/* While there is no feed the gateway's own clock counts; and a feed may find that time is up. */
static void
test_expiry_without_feed(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe first;
	PlayPipe second;
	Session *one = connect_client(database, &first, "t.1.x");
	Session *two = connect_client(database, &second, "t.2.x");

	(void) state;
	accept_token(database, one, 11, 5000);
	accept_token(database, two, 12, 60000);
	hub_lost(database);
	play_tick(5000);
	expect_close(&first, 4001, "the token has expired");
	(void) play_hello(&play_link_b, 1, 100);
	refuse_token(database, two, WIRE_EXPIRED);
	expect_close(&second, 4001, "no good");
}

/* Another feed accepts a token that has just expired for longer: the connection ends all the same. */
static void
test_expiry_at_another_feed(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = connect_client(database, &pipe, "t.1.x");

	(void) state;
	accept_token(database, session, 11, 5000);
	hub_lost(database);
	(void) play_hello(&play_link_b, 1, 100);
	accept_token(database, session, 3, 30000);
	play_tick(5000);
	expect_close(&pipe, 4001, "the token has expired");
}

static void
test_ended(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = connect_client(database, &pipe, "t.1.x");
	WireMessage ended = {.type = WIRE_IDENTITY_ENDED,
						 .u.identity_ended = {.session = session->number,
											  .identity = 10,
											  .reason = WIRE_DISCONNECTED,
											  .text = play_bytes("disconnected")}};

	(void) state;
	accept_token(database, session, 11, WIRE_NEVER);
	play_frame(database, ended);
	assert_int_equal(session->state, SESSION_OPEN);
	ended.u.identity_ended.identity = 11;
	play_nsent = 0;
	play_frame(database, ended);
	expect_close(&pipe, 4401, "disconnected");
	assert_int_equal(play_nsent, 1);
	assert_int_equal(play_sent[0].type, WIRE_FORGET);
	assert_int_equal(play_sent[0].u.forget.session, session->number);
}

/* A feed that answers what it was not asked. */
static void
test_unasked(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipe;
	Session *session = connect_client(database, &pipe, "t.1.x");
	WireMessage message = {.type = WIRE_IDENTITY,
						   .u.identity = {.session = session->number, .identity = 0}};

	(void) state;
	assert_int_equal(hub_message(&play_hub, database, &message), HUB_BAD);
	accept_token(database, session, 11, WIRE_NEVER);
	message.u.identity.identity = 12;
	assert_int_equal(hub_message(&play_hub, database, &message), HUB_BAD);
}

/* ---------------- turns ---------------- */

#define MANY 200

/* An address that sends many tokens delays its own clients, and others by one token each. */
static void
test_turns_of_addresses(void **state)
{
	static PlayPipe pipes[MANY];
	Address addresses[2] = {{.key = {1}}, {.key = {2}}};
	Database *database = play_hello(&play_link_a, 1, 100);
	Session *many[MANY];
	PlayPipe pipe;
	Session *other;

	(void) state;
	for (int i = 0; i < MANY; i++)
		many[i] = connect_from(database, &pipes[i], &addresses[0], "bad");
	assert_int_equal(play_nsent, 1);
	expect_auth(0, many[0], "bad");
	other = connect_from(database, &pipe, &addresses[1], "t.1.x");
	assert_int_equal(play_nsent, 2);
	expect_auth(1, other, "t.1.x");
	for (int i = 0; i < MANY; i++)
	{
		play_nsent = 0;
		refuse_token(database, many[i], WIRE_NOT_AUTHENTICATED);
		if (i < MANY - 1)
			expect_auth(0, many[i + 1], "bad");
		if (i == 0)
			accept_token(database, other, 11, WIRE_NEVER);
		assert_int_equal(play_nsent, i < MANY - 1 ? 2 : 1);
		expect_forget(play_nsent - 1, many[i]);
	}
	assert_int_equal(other->state, SESSION_OPEN);
}

/* Accepted tokens of an address allow more at a time, and a refused one only one again. */
static void
test_limit_of_address(void **state)
{
	static PlayPipe pipes[MANY];
	Database *database = play_hello(&play_link_a, 1, 100);
	Session *sessions[MANY];
	size_t answered = 0;

	(void) state;
	for (int i = 0; i < MANY; i++)
		sessions[i] = connect_client(database, &pipes[i], "t.1.x");
	for (size_t i = 1; i < WIRE_MAX_AUTHS; i++)
	{
		size_t limit = i < WIRE_MAX_AUTHS / 2 ? i : WIRE_MAX_AUTHS / 2;

		assert_int_equal(play_nsent, answered + limit);
		accept_token(database, sessions[answered++], 11, WIRE_NEVER);
	}
	for (size_t i = WIRE_MAX_AUTHS / 2; i > 0; i--)
	{
		play_nsent = 0;
		refuse_token(database, sessions[answered++], WIRE_NOT_AUTHENTICATED);
		assert_int_equal(play_nsent, i > 1 ? 1 : 2);
		expect_forget(play_nsent - 1, sessions[answered - 1]);
	}
}

/* The feed has a bounded number of tokens, also of clients that have left. */
static void
test_limit_of_link(void **state)
{
	static PlayPipe pipes[MANY];
	Address addresses[MANY];
	Database *database = play_hello(&play_link_a, 1, 100);
	Session *sessions[MANY];

	(void) state;
	for (int i = 0; i < MANY; i++)
	{
		addresses[i] = (Address){.key = {(uint8_t) i}};
		sessions[i] = connect_from(database, &pipes[i], &addresses[i], "t.1.x");
	}
	assert_int_equal(play_nsent, WIRE_MAX_AUTHS);
	session_close(sessions[0], SESSION_CLOSE_GOING_AWAY, "leaves");
	session_close(sessions[WIRE_MAX_AUTHS], SESSION_CLOSE_GOING_AWAY, "leaves while it waits");
	assert_int_equal(play_nsent, WIRE_MAX_AUTHS + 1);
	expect_forget(WIRE_MAX_AUTHS, sessions[0]);
	refuse_token(database, sessions[0], WIRE_NOT_AUTHENTICATED);
	assert_int_equal(play_nsent, WIRE_MAX_AUTHS + 2);
	expect_auth(WIRE_MAX_AUTHS + 1, sessions[WIRE_MAX_AUTHS + 1], "t.1.x");
	assert_int_equal(sessions[1]->state, SESSION_OPEN);
}

/* A token that waits for its turn has a time limit, which begins again with a new link. */
static void
test_waits_too_long(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe first;
	PlayPipe second;
	Session *one = connect_client(database, &first, "t.1.x");
	Session *two = connect_client(database, &second, "t.2.x");

	(void) state;
	hub_lost(database);
	play_tick(2 * IDENTITY_TOKEN_MS);
	play_nsent = 0;
	(void) play_hello(&play_link_b, 1, 100);
	assert_int_equal(play_nsent, 1);
	expect_auth(0, one, "t.1.x");
	play_tick(IDENTITY_TOKEN_MS - 1);
	assert_int_equal(two->state, SESSION_OPEN);
	play_tick(1);
	expect_close(&second, 1001, "the token could not be verified within 10 seconds");
	assert_int_equal(play_nsent, 1);
	accept_token(database, one, 11, WIRE_NEVER);
	assert_int_equal(one->state, SESSION_OPEN);
}

/* On a new link, tokens that were accepted before go first, as soon as there is a turn. */
static void
test_accepted_first(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	PlayPipe pipes[4];
	Session *sessions[4];

	(void) state;
	for (int i = 0; i < 4; i++)
		sessions[i] = connect_client(database, &pipes[i], NULL);
	play_receive(sessions[3], PLAY_AUTH);
	accept_token(database, sessions[3], 11, WIRE_NEVER);
	for (int i = 0; i < 3; i++)
		play_receive(sessions[i], PLAY_RENEW);
	hub_lost(database);
	play_nsent = 0;
	(void) play_hello(&play_link_b, 1, 100);
	assert_int_equal(play_nsent, 1);
	expect_auth(0, sessions[0], "t.2.x");
	refuse_token(database, sessions[0], WIRE_NOT_AUTHENTICATED);
	assert_int_equal(play_nsent, 2);
	expect_auth(1, sessions[3], "t.1.x");
}

/* ---------------- requests ---------------- */

/* The token of a request, or what is wrong with it. */
static const char *
credential_of(const char *target, const char *headers)
{
	static char text[2 * HTTP_HEAD_MAX];
	static HttpRequest request;
	static char token[HTTP_HEAD_MAX];
	const char *wrong;
	HttpSlice found;
	int len =
		snprintf(text, HTTP_HEAD_MAX, "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", target, headers);

	assert_null(http_request_parse(text, (size_t) len, &request));
	wrong = credential_find(&request, &found);
	if (wrong != NULL || found.data == NULL)
		return wrong != NULL ? wrong : "";
	snprintf(token, sizeof(token), "%.*s", (int) found.len, found.data);
	return token;
}

static void
test_credentials(void **state)
{
	static const struct
	{
		const char *target;
		const char *headers;
		const char *expected;
	} cases[] = {
		{"/ws", "", ""},
		{"/ws", "Authorization: Bearer a.b-_c\r\n", "a.b-_c"},
		{"/ws", "authorization: BEARER   a.b\r\n", "a.b"},
		{"/ws?x=1&access_token=a.b", "", "a.b"},
		{"/ws?access_token=a%2eb", "", "a.b"},
		{"/ws", "Sec-WebSocket-Protocol: pg_notifyd.v1, bearer.a.b\r\n", "a.b"},
		{"/ws", "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: bearer.a.b ,y\r\n", "a.b"},
		{"/ws?access_token=a.b&access_token=a.b",
		 "Authorization: Bearer a.b\r\nSec-WebSocket-Protocol: bearer.a.b\r\n", "a.b"},
		{"/ws?access_token=a&access_token=b", "", "the request has several tokens that differ"},
		{"/ws?access_token=a", "Authorization: Bearer b\r\n",
		 "the request has several tokens that differ"},
		{"/ws", "Sec-WebSocket-Protocol: bearer.a,bearer.b\r\n",
		 "the request has several tokens that differ"},
		{"/ws?token=a", "Authorization: Bearer b\r\n",
		 "unknown parameter \"token\"; the parameter is \"access_token\""},
		{"/ws?access_token=", "", "the token is empty"},
		{"/ws", "Authorization: Bearer\r\n", "the token is empty"},
		{"/ws", "Sec-WebSocket-Protocol: bearer.\r\n", "the token is empty"},
		{"/ws", "Sec-WebSocket-Protocol: pg_notifyd.v1, Bearer.a.b\r\n", "a.b"},
		{"/ws", "Sec-WebSocket-Protocol: pg_notifyd.v1, eyJhbGciOi.e30.a\r\n",
		 "a token is no subprotocol by itself; write \"bearer.<token>\""},
		{"/ws", "Authorization: \r\n", "the header Authorization must be \"Bearer\" and a token"},
		{"/ws", "Authorization: Basic YTpi\r\n",
		 "the header Authorization must be \"Bearer\" and a token"},
		{"/ws", "Authorization: Bearera\r\n",
		 "the header Authorization must be \"Bearer\" and a token"},
		{"/ws", "Authorization: Bearer a b\r\n", "the token has characters that no token has"},
		{"/ws?access_token=a%00", "", "the token has characters that no token has"},
		{"/ws?access_token=a%ff", "", "the token has characters that no token has"},
		{"/ws?access_token=%f", "", "malformed parameter \"access_token\""},
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
		assert_string_equal(credential_of(cases[i].target, cases[i].headers), cases[i].expected);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_only_auth, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_no_token_in_time, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_slow_feed, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_bad_handshake, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_expiry_unread, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_renewal_in_replay, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_refused_renewal, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_anonymous_subscriber, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_lost_link, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_expiry_without_feed, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_expiry_at_another_feed, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_ended, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_unasked, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_turns_of_addresses, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_limit_of_address, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_limit_of_link, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_waits_too_long, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_accepted_first, play_setup, play_teardown),
		cmocka_unit_test(test_credentials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
