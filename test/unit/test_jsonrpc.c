/*
 * JSON-RPC: parsing requests and building messages. test/gateway/003_malformed.t also tests its
 * errors as clients see them.
 */
#include "unit.h"

#include "gateway/protocol/jsonrpc.h"

#define BYTES(s)                                                                                   \
	(WireBytes)                                                                                    \
	{                                                                                              \
		.data = (s), .len = sizeof(s) - 1                                                          \
	}

static const WirePosition position = {3, 42};

/* Check the text of a frame with one fragment, and free the frame. */
static void
expect_text(Frame *frame, const char *text)
{
	size_t head = frame->data[1] == 126 ? 4 : 2;

	assert_int_equal(frame->data[0], 0x81);
	assert_int_equal(frame->len - head, strlen(text));
	assert_memory_equal(frame->data + head, text, strlen(text));
	frame_unref(frame);
}

static void
expect_request(const char *text, const char *id)
{
	Request request;
	Frame *answer;

	assert_true(jsonrpc_protocol.parse(text, strlen(text), &request, &answer));
	assert_int_equal(request.id == NULL, id == NULL);
	if (id != NULL)
		assert_string_equal(request.id, id);
	free(request.id);
}

static void
expect_no_request(const char *text, const char *answer_text)
{
	Request request;
	Frame *answer;

	assert_false(jsonrpc_protocol.parse(text, strlen(text), &request, &answer));
	assert_null(request.id);
	expect_text(answer, answer_text);
}

static void
test_subscribe(void **state)
{
	static const char text[] =
		"{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"subscribe\",\"params\":"
		"{\"channel\":\"caf\xc3\xa9\",\"ops\":[\"insert\",\"NOTIFY\"],"
		"\"since\":\"3-42\"}}";
	Request request;
	Frame *answer;

	(void) state;
	assert_true(jsonrpc_protocol.parse(text, sizeof(text) - 1, &request, &answer));
	assert_int_equal(request.method, REQUEST_SUBSCRIBE);
	assert_string_equal(request.id, "\"a\"");
	assert_int_equal(request.channel_len, 5);
	assert_memory_equal(request.channel, "caf\xc3\xa9", 5);
	assert_int_equal(request.ops, WIRE_OP_INSERT | WIRE_OP_NOTIFY);
	assert_true(request.has_since);
	assert_int_equal(request.since.timeline, 3);
	assert_int_equal(request.since.id, 42);
	free(request.id);
}

/* The answer contains the request's id unchanged; without an id there is no answer. */
static void
test_ids(void **state)
{
	(void) state;
	expect_request("{\"method\":\"ping\"}", NULL);
	expect_request("{\"method\":\"ping\",\"id\":null}", "null");
	expect_request("{\"method\":\"ping\",\"id\":-7}", "-7");
	expect_request("{\"method\":\"ping\",\"id\":9007199254740992}", "9007199254740992");
	expect_request("{\"method\":\"ping\",\"id\":\"caf\\u00e9 \\\"\\n\"}",
				   "\"caf\xc3\xa9 \\\"\\n\"");
}

/* The id of an invalid request is null, unless it can be read. */
static void
test_failures(void **state)
{
	(void) state;
	expect_no_request("[]", "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,"
							"\"message\":\"batches are not supported\"}}");
	expect_no_request(
		"{\"id\":{},\"method\":\"ping\"}",
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"id "
		"must be a string of at most 256 bytes, an integer of at most 2^53, or null\","
		"\"data\":{\"member\":\"id\"}}}");
	expect_no_request(
		"{\"id\":7,\"method\":\"x\"}",
		"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32601,\"message\":\"method "
		"not found\",\"data\":{\"method\":\"x\"}}}");
	expect_no_request("{\"method\":\"x\"}",
					  "{\"jsonrpc\":\"2.0\",\"method\":\"error\",\"params\":{\"code\":-32601,"
					  "\"message\":\"method not found\",\"data\":{\"method\":\"x\"}}}");
}

static void
test_messages(void **state)
{
	ProtocolEvent event = {
		.op = WIRE_OP_INSERT, .position = position, .body = BYTES("{\"id\":42}")};

	(void) state;
	expect_text(jsonrpc_protocol.event(&event),
				"{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"id\":42}}");
	expect_text(
		jsonrpc_protocol.result(REQUEST_SUBSCRIBE, "1", BYTES("c"), position),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"channel\":\"c\",\"position\":\"3-42\"}}");
	expect_text(jsonrpc_protocol.result(REQUEST_UNSUBSCRIBE, "\"x\"", BYTES("c"), position),
				"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{\"channel\":\"c\"}}");
	expect_text(jsonrpc_protocol.result(REQUEST_PING, "null", BYTES(""), position),
				"{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{\"position\":\"3-42\"}}");
	expect_text(jsonrpc_protocol.reset(BYTES("c"), BYTES("too old"), position),
				"{\"jsonrpc\":\"2.0\",\"method\":\"reset\",\"params\":{\"channel\":\"c\","
				"\"reason\":\"too old\",\"position\":\"3-42\"}}");
	expect_text(jsonrpc_protocol.position(position),
				"{\"jsonrpc\":\"2.0\",\"method\":\"position\",\"params\":{\"position\":\"3-42\"}}");
}

/* Each reason has its code; an unknown one is an internal error. */
static void
test_refusals(void **state)
{
	static const struct
	{
		int reason;
		int code;
	} codes[] = {
		{PROTOCOL_NOT_PERMITTED, -32003},
		{PROTOCOL_NO_SUCH_CHANNEL, -32004},
		{PROTOCOL_SUBSCRIBED_ALREADY, -32602},
		{PROTOCOL_NOT_SUBSCRIBED, -32602},
		{PROTOCOL_CANCELLED, -32603},
		{PROTOCOL_TOO_MANY_SUBSCRIPTIONS, -32010},
		{200, -32603},
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(codes); i++)
	{
		char text[200];

		snprintf(text, sizeof(text),
				 "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":%d,\"message\":\"no\",\"data\":"
				 "{\"channel\":\"c\"}}}",
				 codes[i].code);
		expect_text(jsonrpc_protocol.refusal("1", (ProtocolReason) codes[i].reason, BYTES("no"),
											 BYTES("c")),
					text);
	}
	expect_text(jsonrpc_protocol.refusal(NULL, PROTOCOL_NOT_PERMITTED, BYTES("no"), BYTES("c")),
				"{\"jsonrpc\":\"2.0\",\"method\":\"error\",\"params\":{\"code\":-32003,"
				"\"message\":\"no\",\"data\":{\"channel\":\"c\"}}}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subscribe), cmocka_unit_test(test_ids),
		cmocka_unit_test(test_failures),  cmocka_unit_test(test_messages),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
