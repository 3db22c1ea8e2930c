/*
 * The frames of wire.h. test/fixtures/wire.bin has one of each type and fixes the format: existing
 * frames change only together with WIRE_VERSION; new types are added at the end. "test_wire write"
 * writes the file.
 */
#include "unit.h"

#include "wire/wire.h"

#define FIXTURE "test/fixtures/wire.bin"
#define TEXT(s)                                                                                    \
	{                                                                                              \
		.data = (s), .len = sizeof(s) - 1                                                          \
	}
#define MAX_SIZE 65536

static uint8_t streams[8];

static const WireMessage messages[] = {
	{.type = WIRE_CONFIG,
	 .u.config = {.version = WIRE_VERSION,
				  .gateway = 1,
				  .listeners = 2,
				  .port = 7432,
				  .anonymous = 1,
				  .max_clients = 10000,
				  .max_per_address = 100,
				  .max_message = 65536,
				  .client_buffer = 8388608,
				  .keepalive_ms = 30000,
				  .sandbox = WIRE_SANDBOX_REQUIRE,
				  .page = 1,
				  .compression = 1,
				  .max_handshakes = 50,
				  .max_failed_tokens = 20,
				  .ssl = 1,
				  .ssl_min_version = 0x0303,
				  .ssl_chain = TEXT("-----BEGIN CERTIFICATE-----"),
				  .ssl_key = TEXT("key"),
				  .database = TEXT("postgres"),
				  .origins = TEXT("https://a.example"),
				  .listen_addresses = TEXT("localhost"),
				  .trusted_proxies = TEXT("10.0.0.0/8"),
				  .metrics_addresses = TEXT("127.0.0.1"),
				  .endpoints = TEXT("/order_events=payload"),
				  .realms = TEXT("realm1=shop")}},
	{.type = WIRE_STOP, .u.stop = {.code = 1012}},
	{.type = WIRE_GONE, .u.gone = {.database = TEXT("shop")}},
	{.type = WIRE_READY},
	{.type = WIRE_LOG, .u.log = {.level = WIRE_LOG_WARNING, .message = TEXT("caf\xc3\xa9")}},
	{.type = WIRE_STATS,
	 .u.stats = {1, 2, 3, {4, 5, 6, [WIRE_REFUSALS - 1] = 7}, 5, 6, 7, 8, UINT64_MAX, 9, 10, 11}},
	{.type = WIRE_HELLO,
	 .u.hello = {.version = WIRE_VERSION,
				 .gateway = 3,
				 .database_oid = 16384,
				 .position = {1, 1700000000000000},
				 .database = TEXT("postgres")}},
	{.type = WIRE_SUBSCRIBE,
	 .u.subscribe = {.sub = 7,
					 .kinds = WIRE_KIND_NOTIFICATIONS,
					 .ops = WIRE_OP_ALL,
					 .has_since = 1,
					 .since = {2, 42},
					 .session = 5,
					 .window = 24576,
					 .identity = 11,
					 .channel = TEXT("orders"),
					 .filter = TEXT("id=eq.7"),
					 .has_columns = 1,
					 .columns = TEXT("\2\0\0\0id\6\0\0\0status"),
					 .hold = 1,
					 .match = 2,
					 .subscriber = 9007199254740992}},
	{.type = WIRE_UNSUBSCRIBE, .u.unsubscribe = {.sub = 7, .kinds = WIRE_KIND_EVENTS}},
	{.type = WIRE_REPLAY_CREDIT, .u.credit = {.sub = 7, .bytes = 32768}},
	{.type = WIRE_SUBSCRIBED,
	 .u.subscribed = {.sub = 7, .stream = 9, .replay = 1, .notifies = 1, .position = {2, 42}}},
	{.type = WIRE_REFUSED,
	 .u.refused =
		 {.sub = 7, .reason = WIRE_BAD_FILTER, .text = TEXT("bad filter"), .name = TEXT("price")}},
	{.type = WIRE_STREAM_ENDED,
	 .u.ended = {.stream = 9, .reason = WIRE_NO_SUCH_CHANNEL, .text = TEXT("gone")}},
	{.type = WIRE_EVENT,
	 .u.event = {.id = 43,
				 .op = WIRE_OP_UPDATE,
				 .more = 1,
				 .nstreams = 2,
				 .streams = streams,
				 .audience = TEXT("{\"exclude\":[7]}"),
				 .body = TEXT("{\"a\":1}")}},
	{.type = WIRE_REPLAY_EVENT,
	 .u.replay_event =
		 {.id = 41, .op = WIRE_OP_DELETE, .nsubs = 2, .subs = streams, .body = TEXT("{}")}},
	{.type = WIRE_REPLAY_DONE, .u.replay_done = {.sub = 7, .id = 42}},
	{.type = WIRE_RESET,
	 .u.reset = {.sub = 7,
				 .kind = WIRE_KIND_NOTIFICATIONS,
				 .position = {2, 99},
				 .reason = TEXT("retention")}},
	{.type = WIRE_POSITION, .u.position = {.id = 44, .renew = 40, .behind_ms = 1500}},
	{.type = WIRE_GOODBYE, .u.goodbye = {.reason = TEXT("dropped")}},
	{.type = WIRE_CLIENT,
	 .u.client = {.connected_at = 1700000000000001,
				  .position = {2, 42},
				  .lag = 3,
				  .queued = 4,
				  .queued_us = 6,
				  .messages = 5,
				  .bytes = UINT64_MAX,
				  .expires_at = 1700000000000002,
				  .number = UINT64_C(1) << 53,
				  .port = 50000,
				  .address = TEXT("2001:db8::1"),
				  .database = TEXT("shop"),
				  .role = TEXT("reader"),
				  .subject = TEXT("7"),
				  .claims = TEXT("e30"),
				  .subprotocol = TEXT("pg_notifyd.v1"),
				  .channels = TEXT("\6\0\0\0orders\0\0\0\0\4\0\0\0caf\xe9")}},
	{.type = WIRE_CLIENTS_END},
	{.type = WIRE_HEALTH, .u.health = {.looking = 1, .trouble = TEXT("a feed is silent")}},
	{.type = WIRE_ALIVE},
	{.type = WIRE_ASLEEP, .u.asleep = {.position = {2, 42}, .database = TEXT("shop")}},
	{.type = WIRE_WAKE, .u.wake = {.database = TEXT("shop")}},
	{.type = WIRE_AUTH, .u.auth = {.session = 5, .token = TEXT("e30.e30.c2ln")}},
	{.type = WIRE_AUTH_USER,
	 .u.auth_user = {.session = 5, .number = 9007199254740992, .user = TEXT("joe")}},
	{.type = WIRE_AUTH_SIGNATURE,
	 .u.auth_signature = {.session = 5, .signature = TEXT("c2lnbmF0dXJl")}},
	{.type = WIRE_CHALLENGE,
	 .u.challenge = {.session = 5,
					 .iterations = 10000,
					 .keylen = 32,
					 .text = TEXT("{\"nonce\":1}"),
					 .salt = TEXT("c2FsdA==")}},
	{.type = WIRE_ISSUED, .u.issued = {.session = 5, .token = TEXT("e30.e30.c2ln")}},
	{.type = WIRE_FORGET, .u.forget = {.session = 5}},
	{.type = WIRE_IDENTITY,
	 .u.identity = {.session = 5,
					.identity = 11,
					.expires_at = 1700000000000002,
					.lifetime_ms = WIRE_NEVER,
					.role = TEXT("reader"),
					.subject = TEXT("7")}},
	{.type = WIRE_AUTH_REFUSED,
	 .u.auth_refused = {.session = 5, .reason = WIRE_EXPIRED, .text = TEXT("expired")}},
	{.type = WIRE_IDENTITY_ENDED,
	 .u.identity_ended =
		 {.session = 5, .identity = 11, .reason = WIRE_DISCONNECTED, .text = TEXT("disconnected")}},
	{.type = WIRE_SANDBOX, .u.sandbox = {.missing = WIRE_SANDBOX_LANDLOCK}},
	{.type = WIRE_MOVED, .u.moved = {.sub = 7, .stream = 10}},
	{.type = WIRE_SUBSCRIPTION_ENDED,
	 .u.subscription_ended = {.sub = 7, .reason = WIRE_POLICY_FAILED, .text = TEXT("failed")}},
	{.type = WIRE_REPLAY_BEGIN, .u.replay_begin = {.sub = 7}},
	{.type = WIRE_GROUP_READY, .u.group_ready = TEXT("mailers")},
	{.type = WIRE_NO_WORKER, .u.no_worker = {.database = TEXT("shop"), .reason = TEXT("no slot")}},
	{.type = WIRE_WANT_WORKER, .u.want_worker = {.database = TEXT("shop")}},
	{.type = WIRE_HELLO_WORKER,
	 .u.hello =
		 {.version = WIRE_VERSION, .gateway = 3, .database_oid = 16384, .database = TEXT("shop")}},
	{.type = WIRE_JOIN,
	 .u.join = {.sub = 7,
				.window = 24576,
				.seen = {.until = 44,
						 .xmin = 700,
						 .xmax = UINT64_MAX,
						 .xip = TEXT("\1\2\3\4\5\6\7\10"),
						 .policies = TEXT("\1\2\3\4\1\2\3\4\5\6\7\10")}}},
	{.type = WIRE_QUERY,
	 .u.query = {.request = 3,
				 .kind = WIRE_QUERY_REST,
				 .read_only = 1,
				 .progressive = 1,
				 .window = 24576,
				 .token = TEXT("e30.e30.c2ln"),
				 .method = TEXT("GET"),
				 .path = TEXT("/notes/"),
				 .query = TEXT("take=2"),
				 .headers = TEXT("\6\0\0\0prefer\0\0\0\0"),
				 .name = TEXT("orders"),
				 .filter = TEXT("id=eq.7"),
				 .has_columns = 1,
				 .columns = TEXT("\2\0\0\0id"),
				 .order = TEXT("id.desc"),
				 .limit = 100,
				 .body = TEXT("{}"),
				 .named = TEXT("{\"b\":2}")}},
	{.type = WIRE_QUERY_CREDIT, .u.query_credit = {.request = 3, .bytes = 32768}},
	{.type = WIRE_QUERY_CANCEL, .u.query_cancel = {.request = 3}},
	{.type = WIRE_ROWS,
	 .u.rows = {.request = 3,
				.schema = TEXT("public"),
				.table = TEXT("orders"),
				.key = TEXT("\2\0\0\0id"),
				.rows = TEXT("{\"id\":1},{\"id\":2}")}},
	{.type = WIRE_SPOOLED, .u.spooled = {.request = 3}},
	{.type = WIRE_SNAPSHOT_DONE,
	 .u.snapshot_done = {.request = 3, .seen = {.until = 44, .xmin = 700, .xmax = 701}}},
	{.type = WIRE_RESULT,
	 .u.result = {.request = 3,
				  .status = 201,
				  .event = 44,
				  .headers = TEXT("\10\0\0\0location\0\0\0\0"),
				  .body = TEXT("[]")}},
	{.type = WIRE_FAILED,
	 .u.failed = {.request = 3,
				  .reason = WIRE_QUERY_BAD_PARAMETER,
				  .sqlstate = TEXT("22P02"),
				  .message = TEXT("invalid"),
				  .detail = TEXT("detail"),
				  .hint = TEXT("hint"),
				  .name = TEXT("id")}},
	{.type = WIRE_METRICS, .u.metrics = {.text = TEXT("pg_notifyd_up 1\n")}},
	{.type = WIRE_WANT_METRICS},
	{.type = WIRE_LOAD, .u.load = {.load = {1, 2, 3, UINT64_MAX}, .database = TEXT("shop")}},
	{.type = WIRE_ROUTE_UP,
	 .u.route = {.kind = ROUTE_YIELD,
				 .flags = ROUTE_PROGRESS,
				 .session = 5,
				 .identity = 11,
				 .request = 7713,
				 .id = 9007199254740992,
				 .registration = 8,
				 .position = {2, 42},
				 .name = TEXT("com.shop.add"),
				 .options = TEXT("{}"),
				 .payload = TEXT("[1],{\"a\":2}")}},
	{.type = WIRE_ROUTE_DOWN,
	 .u.route = {.kind = ROUTE_INVOKE,
				 .session = 5,
				 .identity = 11,
				 .request = 7713,
				 .id = 9007199254740992,
				 .registration = 8,
				 .position = {2, 42},
				 .name = TEXT("com.shop.add"),
				 .options = TEXT("{}"),
				 .payload = TEXT("[1],{\"a\":2}")}},
};

static size_t
encode_all(uint8_t *buf)
{
	size_t len = 0;

	wire_store_u32(streams, 9);
	wire_store_u32(streams + 4, 0xdeadbeef);
	for (size_t i = 0; i < UNIT_COUNT(messages); i++)
		len += wire_encode(&messages[i], buf + len, MAX_SIZE - len);
	assert_true(len < MAX_SIZE);
	return len;
}

static void
test_fixture(void **state)
{
	static uint8_t expected[MAX_SIZE];
	static uint8_t actual[MAX_SIZE];
	FILE *file = fopen(FIXTURE, "rb");
	size_t len;

	(void) state;
	assert_non_null(file);
	len = fread(expected, 1, sizeof(expected), file);
	fclose(file);
	assert_int_equal(encode_all(actual), len);
	assert_memory_equal(actual, expected, len);
}

static void
test_round_trip(void **state)
{
	static uint8_t buf[MAX_SIZE];
	static uint8_t again[MAX_SIZE];
	size_t len = encode_all(buf);
	size_t done = 0;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(messages); i++)
	{
		WireMessage message;
		size_t used;

		assert_int_equal(wire_decode(buf + done, len - done, &message, &used), WIRE_OK);
		assert_int_equal(message.type, messages[i].type);
		assert_int_equal(wire_encode(&message, again, sizeof(again)), used);
		assert_memory_equal(again, buf + done, used);
		done += used;
	}
	assert_int_equal(done, len);
}

static void
test_values(void **state)
{
	static uint8_t buf[MAX_SIZE];
	WireMessage m;
	size_t used;

	(void) state;
	wire_store_u32(streams, 9);
	wire_store_u32(streams + 4, 0xdeadbeef);
	used = wire_encode(&messages[13], buf, sizeof(buf));
	assert_int_equal(wire_decode(buf, used, &m, &used), WIRE_OK);
	assert_int_equal(m.u.event.id, 43);
	assert_int_equal(m.u.event.op, WIRE_OP_UPDATE);
	assert_int_equal(m.u.event.more, 1);
	assert_int_equal(m.u.event.nstreams, 2);
	assert_int_equal(wire_stream(&m.u.event, 0), 9);
	assert_int_equal(wire_stream(&m.u.event, 1), 0xdeadbeef);
	assert_int_equal(m.u.event.body.len, 7);
	assert_memory_equal(m.u.event.body.data, "{\"a\":1}", 7);
	used = wire_encode(&messages[11], buf, sizeof(buf));
	assert_int_equal(wire_decode(buf, used, &m, &used), WIRE_OK);
	assert_int_equal(m.u.refused.reason, WIRE_BAD_FILTER);
	assert_int_equal(m.u.refused.name.len, 5);
}

/* A truncated frame needs more bytes; a payload that is truncated or too long is invalid. */
static void
test_truncated(void **state)
{
	uint8_t buf[1024];
	uint8_t *exact;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(messages); i++)
	{
		size_t len = wire_encode(&messages[i], buf, sizeof(buf));
		WireMessage m;
		size_t used;

		for (size_t cut = 0; cut < len; cut++)
		{
			/* Of the exact size, so that a sanitizer notices reads beyond it. */
			exact = malloc(cut > 0 ? cut : 1);
			memcpy(exact, buf, cut);
			assert_int_equal(wire_decode(exact, cut, &m, &used), WIRE_MORE);
			assert_int_equal(used, cut < WIRE_HEADER_SIZE ? 0 : len);
			if (cut >= WIRE_HEADER_SIZE)
			{
				wire_store_u32(exact, (uint32_t) (cut - WIRE_HEADER_SIZE));
				assert_int_equal(wire_decode(exact, cut, &m, &used), WIRE_BAD);
			}
			free(exact);
		}
		buf[len] = 0;
		wire_store_u32(buf, (uint32_t) (len + 1 - WIRE_HEADER_SIZE));
		assert_int_equal(wire_decode(buf, len + 1, &m, &used), WIRE_BAD);
	}
}

static void
test_bad_headers(void **state)
{
	static const uint8_t bad[][WIRE_HEADER_SIZE] = {
		{0, 0, 0, 0, 0, 0, 0, 0},                    /* type 0 */
		{0, 0, 0, 0, 99, 0, 0, 0},                   /* an unknown type */
		{0, 0, 0, 0, WIRE_READY, 1, 0, 0},           /* not zero */
		{0, 0, 0, 0, WIRE_READY, 0, 1, 0},           /* not zero */
		{0, 0, 0, 0, WIRE_READY, 0, 0, 1},           /* not zero */
		{1, 0, 0, 0x10, WIRE_GOODBYE, 0, 0, 0},      /* longer than WIRE_MAX_PAYLOAD */
		{0xff, 0xff, 0xff, 0xff, WIRE_LOG, 0, 0, 0}, /* much longer */
	};
	/* A string and a list of streams that claim to be longer than the payload. */
	static const uint8_t string[] = {4, 0, 0, 0, WIRE_GOODBYE, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t list[] = {12, 0, 0, 0, WIRE_EVENT, 0, 0, 0, 1,    0,
								   0,  0, 0, 0, 0,          0, 1, 0, 0xff, 0xff};
	WireMessage m;
	size_t used;

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
		assert_int_equal(wire_decode(bad[i], sizeof(bad[i]), &m, &used), WIRE_BAD);
	assert_int_equal(wire_decode(string, sizeof(string), &m, &used), WIRE_BAD);
	assert_int_equal(wire_decode(list, sizeof(list), &m, &used), WIRE_BAD);
}

/* Random bytes are decoded or rejected, and nothing beyond them is read. */
static void
test_garbage(void **state)
{
	unsigned int seed = 1;

	(void) state;
	for (int round = 0; round < 200000; round++)
	{
		size_t len = (size_t) rand_r(&seed) % 64;
		uint8_t *buf = malloc(len + WIRE_HEADER_SIZE);
		WireMessage m;
		size_t used;

		for (size_t i = 0; i < len + WIRE_HEADER_SIZE; i++)
			buf[i] = (uint8_t) (rand_r(&seed) % 8 ? rand_r(&seed) % 4 : rand_r(&seed));
		wire_store_u32(buf, (uint32_t) len);
		buf[4] = (uint8_t) (rand_r(&seed) % 90);
		memset(buf + 5, 0, 3);
		if (wire_decode(buf, len + WIRE_HEADER_SIZE, &m, &used) == WIRE_OK)
			assert_int_equal(wire_encode(&m, NULL, 0), used);
		free(buf);
	}
}

static void
test_encode_small(void **state)
{
	uint8_t buf[1024];

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(messages); i++)
	{
		size_t len = wire_encode(&messages[i], NULL, 0);

		for (size_t cap = 0; cap <= len; cap++)
		{
			uint8_t *exact = malloc(cap > 0 ? cap : 1);

			assert_int_equal(wire_encode(&messages[i], exact, cap), len);
			free(exact);
		}
		assert_int_equal(wire_encode(&messages[i], buf, sizeof(buf)), len);
	}
}

/* The list in a frame: its contents, and that a list with an incomplete string is invalid. */
static void
test_lists(void **state)
{
	uint8_t buf[1024];
	char list[16];
	WireMessage m;
	WireBytes item;
	size_t client = 0;
	size_t size;
	size_t used = 0;

	(void) state;
	while (messages[client].type != WIRE_CLIENT)
		client++;
	size = wire_encode(&messages[client], buf, sizeof(buf));
	assert_int_equal(wire_decode(buf, size, &m, &used), WIRE_OK);
	assert_true(wire_list_next(&m.u.client.channels, &item));
	assert_int_equal(item.len, 6);
	assert_memory_equal(item.data, "orders", 6);
	assert_true(wire_list_next(&m.u.client.channels, &item));
	assert_int_equal(item.len, 0);
	assert_true(wire_list_next(&m.u.client.channels, &item));
	assert_memory_equal(item.data, "caf\xe9", 4);
	assert_false(wire_list_next(&m.u.client.channels, &item));
	for (uint32_t length = 0; length < 10; length++)
	{
		/* Claim another length for the last string. */
		wire_store_u32(buf + size - 8, length);
		assert_int_equal(wire_decode(buf, size, &m, &used), length == 4 ? WIRE_OK : WIRE_BAD);
	}

	used = 0;
	assert_true(wire_list_append(list, sizeof(list), &used, (WireBytes) TEXT("abc")));
	assert_int_equal(used, 7);
	assert_false(wire_list_append(list, sizeof(list), &used, (WireBytes) TEXT("abcdef")));
	assert_int_equal(used, 7);
	assert_true(wire_list_append(list, sizeof(list), &used, (WireBytes) TEXT("abcde")));
	assert_memory_equal(list, "\3\0\0\0abc\5\0\0\0abcde", sizeof(list));
	assert_false(wire_list_append(list, sizeof(list), &used, (WireBytes) TEXT("")));
}

static void
test_positions(void **state)
{
	static const char *const bad[] = {
		"",
		"1",
		"1-",
		"-1",
		"0-1",
		"01-1",
		"1-01",
		"1-1 ",
		" 1-1",
		"1--1",
		"a-1",
		"1-a",
		"1-1-1",
		"+1-1",
		"1-+1",
		"4294967296-1",
		"1-9007199254740992",
		"1-99999999999999999999",
	};
	WirePosition position;
	char text[WIRE_POSITION_SIZE];

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
		assert_false(wire_position_parse(bad[i], strlen(bad[i]), &position));
	assert_true(wire_position_parse("4294967295-9007199254740991", 27, &position));
	assert_int_equal(position.timeline, UINT32_MAX);
	assert_int_equal(position.id, 9007199254740991);
	assert_int_equal(wire_position_format(position, text), 27);
	assert_string_equal(text, "4294967295-9007199254740991");
	assert_true(wire_position_parse("1-0", 3, &position));
	assert_int_equal(position.id, 0);
	position = (WirePosition){UINT32_MAX, UINT64_MAX};
	assert_int_equal(wire_position_format(position, text), 31);
}

static void
test_ops(void **state)
{
	(void) state;
	for (int op = 1; op <= WIRE_OP_NOTIFY; op <<= 1)
		assert_int_equal(
			wire_op_parse(wire_op_name((uint8_t) op), strlen(wire_op_name((uint8_t) op))), op);
	assert_null(wire_op_name(0));
	assert_null(wire_op_name(0x40));
	assert_int_equal(wire_op_parse("insert", 6), 0);
	assert_int_equal(wire_op_parse("INSERTS", 7), 0);
	assert_int_equal(wire_op_parse("", 0), 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixture),      cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_values),       cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_bad_headers),  cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_encode_small), cmocka_unit_test(test_positions),
		cmocka_unit_test(test_ops),          cmocka_unit_test(test_lists),
	};

	if (argc == 2 && strcmp(argv[1], "write") == 0)
	{
		static uint8_t buf[MAX_SIZE];
		size_t len = encode_all(buf);
		FILE *file = fopen(FIXTURE, "wb");

		return file == NULL || fwrite(buf, 1, len, file) != len || fclose(file) != 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
