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

#define NAME(s)                                                                                    \
	(ProtocolName)                                                                                 \
	{                                                                                              \
		.channel = BYTES(s)                                                                        \
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
		jsonrpc_protocol.result(REQUEST_SUBSCRIBE, "1", NAME("c"), position, false),
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"channel\":\"c\",\"position\":\"3-42\"}}");
	expect_text(jsonrpc_protocol.result(REQUEST_UNSUBSCRIBE, "\"x\"", NAME("c"), position, false),
				"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{\"channel\":\"c\"}}");
	expect_text(jsonrpc_protocol.result(REQUEST_PING, "null", NAME(""), position, false),
				"{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{\"position\":\"3-42\"}}");
	expect_text(jsonrpc_protocol.reset(NAME("c"), BYTES("too old"), position, false),
				"{\"jsonrpc\":\"2.0\",\"method\":\"reset\",\"params\":{\"channel\":\"c\","
				"\"reason\":\"too old\",\"position\":\"3-42\"}}");
	expect_text(jsonrpc_protocol.position(position),
				"{\"jsonrpc\":\"2.0\",\"method\":\"position\",\"params\":{\"position\":\"3-42\"}}");
}

/* Numbers that a double does not hold are strings for those who want them so. */
static void
test_bigint(void **state)
{
	const Protocol *protocol = &jsonrpc_bigint_protocol;
	WireRows rows = {
		.schema = BYTES("s"), .table = BYTES("t"), .rows = BYTES("{\"n\":9007199254740993}")};
	ProtocolEvent event = {
		.op = WIRE_OP_INSERT,
		.position = position,
		.body = BYTES("{\"position\":\"3-42\",\"id\":42,\"new\":{\"n\":-9007199254740993}}")};

	(void) state;
	expect_text(
		protocol->event(&event),
		"{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"position\":\"3-42\",\"id\":42,"
		"\"new\":{\"n\":\"-9007199254740993\"}}}");
	event.name.tag = BYTES("x");
	event.own_position = position;
	event.position.id = 43;
	expect_text(
		protocol->event(&event),
		"{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{\"tag\":\"x\",\"position\":\"3-43\","
		"\"id\":42,\"new\":{\"n\":\"-9007199254740993\"}}}");
	expect_text(
		protocol->rows(NAME("c"), &rows, position, false),
		"{\"jsonrpc\":\"2.0\",\"method\":\"rows\",\"params\":{\"channel\":\"c\",\"schema\":\"s\","
		"\"table\":\"t\",\"key\":[],\"rows\":[{\"n\":\"9007199254740993\"}]}}");
	expect_text(
		protocol->rows(NAME("c"), NULL, position, false),
		"{\"jsonrpc\":\"2.0\",\"method\":\"rows\",\"params\":{\"channel\":\"c\",\"done\":true,"
		"\"position\":\"3-42\",\"rows\":[]}}");
	expect_text(protocol->query_result("1", &(WireResultMsg){.body = BYTES("9007199254740993")}),
				"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"9007199254740993\"}");
	expect_text(protocol->query_result("1", &(WireResultMsg){.body = BYTES("[1]")}),
				"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[1]}");
	expect_text(protocol->query_result("1", &(WireResultMsg){.body = BYTES("")}),
				"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":null}");
}

/* Filter, columns and tag of a subscription; null is as if the parameter were not there. */
static void
test_selection(void **state)
{
	static const char text[] = "{\"method\":\"subscribe\",\"channel\":\"c\",\"filter\":\"a=eq.1\","
							   "\"columns\":[\"a\",\"b\"],\"tag\":\"t\"}";
	static const char nulls[] = "{\"method\":\"unsubscribe\",\"params\":{\"channel\":\"c\","
								"\"filter\":null,\"columns\":null,\"tag\":null}}";
	static const char empty[] = "{\"method\":\"subscribe\",\"channel\":\"c\",\"columns\":[]}";
	static const char *const bad[][2] = {
		{"\"filter\":\"\"",
		 "filter must be a string of 1 to 8192 bytes\",\"data\":{\"parameter\":\"filter"},
		{"\"filter\":7",
		 "filter must be a string of 1 to 8192 bytes\",\"data\":{\"parameter\":\"filter"},
		{"\"columns\":\"a\"", "columns must be an array of names, of at most 8192 "
							  "bytes\",\"data\":{\"parameter\":\"columns"},
		{"\"columns\":[\"\"]", "columns must be an array of names, of at most 8192 "
							   "bytes\",\"data\":{\"parameter\":\"columns"},
		{"\"tag\":[]", "tag must be a string of 1 to 63 bytes\",\"data\":{\"parameter\":\"tag"},
	};
	Request request;
	Frame *answer;

	(void) state;
	assert_true(jsonrpc_protocol.parse(text, sizeof(text) - 1, &request, &answer));
	assert_int_equal(request.selection->filter.len, 6);
	assert_memory_equal(request.selection->filter.data, "a=eq.1", 6);
	assert_true(request.selection->has_columns);
	assert_int_equal(request.selection->columns.len, 10);
	assert_memory_equal(request.selection->columns.data, "\1\0\0\0a\1\0\0\0b", 10);
	assert_int_equal(request.selection->tag.len, 1);
	request_free(&request);
	assert_true(jsonrpc_protocol.parse(nulls, sizeof(nulls) - 1, &request, &answer));
	assert_null(request.selection);
	request_free(&request);
	assert_true(jsonrpc_protocol.parse(empty, sizeof(empty) - 1, &request, &answer));
	assert_true(request.selection->has_columns);
	assert_int_equal(request.selection->columns.len, 0);
	request_free(&request);
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
	{
		char message[200];
		char expected[300];

		snprintf(message, sizeof(message),
				 "{\"id\":1,\"method\":\"subscribe\",\"channel\":\"c\",%s}", bad[i][0]);
		snprintf(expected, sizeof(expected),
				 "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32602,\"message\":\"%s\"}}}",
				 bad[i][1]);
		expect_no_request(message, expected);
	}
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
		expect_text(
			jsonrpc_protocol.refusal("1", (ProtocolReason) codes[i].reason, BYTES("no"), NAME("c")),
			text);
	}
	expect_text(jsonrpc_protocol.refusal(NULL, PROTOCOL_NOT_PERMITTED, BYTES("no"), NAME("c")),
				"{\"jsonrpc\":\"2.0\",\"method\":\"error\",\"params\":{\"code\":-32003,"
				"\"message\":\"no\",\"data\":{\"channel\":\"c\"}}}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subscribe), cmocka_unit_test(test_ids),
		cmocka_unit_test(test_failures),  cmocka_unit_test(test_messages),
		cmocka_unit_test(test_refusals),  cmocka_unit_test(test_selection),
		cmocka_unit_test(test_bigint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
