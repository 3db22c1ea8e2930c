/*
 * WAMP: building what a router sends, one case for each type of message.
 */
#include "unit.h"

#include "gateway/wamp/wamp_build.h"

#define BYTES(s)                                                                                   \
	(WireBytes)                                                                                    \
	{                                                                                              \
		.data = (s), .len = sizeof(s) - 1                                                          \
	}

#define NO_BYTES                                                                                   \
	(WireBytes)                                                                                    \
	{                                                                                              \
		.len = 0                                                                                   \
	}

#define MAX UINT64_C(9007199254740992)

/* Check the text of a frame with one fragment, and free the frame. */
static void
expect(Frame *frame, const char *text)
{
	WireBytes part;
	size_t offset = 0;
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);

	assert_true(json_is_array(json));
	json_decref(json);
	assert_int_equal(frame->data[0], 0x81);
	assert_true(frame_next(frame, &offset, &part));
	if (part.len != strlen(text) || memcmp(part.data, text, part.len) != 0)
		fail_msg("%.*s, not %s", (int) part.len, part.data, text);
	assert_false(frame_next(frame, &offset, &part));
	frame_unref(frame);
}

static void
test_session(void **state)
{
	(void) state;
	expect(wamp_welcome(MAX, BYTES("{\"realm\":\"a\"}")), "[2,9007199254740992,{\"realm\":\"a\"}]");
	expect(wamp_welcome(1, NO_BYTES), "[2,1,{}]");
	expect(wamp_challenge("ticket", NO_BYTES), "[4,\"ticket\",{}]");
	expect(wamp_challenge("wampcra", BYTES("{\"challenge\":\"x\"}")),
		   "[4,\"wampcra\",{\"challenge\":\"x\"}]");
	expect(wamp_abort("wamp.error.no_such_realm", "\"b\" is not served"),
		   "[3,{\"message\":\"\\\"b\\\" is not served\"},\"wamp.error.no_such_realm\"]");
	expect(wamp_abort("wamp.error.canceled", NULL), "[3,{},\"wamp.error.canceled\"]");
	expect(wamp_goodbye("wamp.close.goodbye_and_out", NULL),
		   "[6,{},\"wamp.close.goodbye_and_out\"]");
	expect(wamp_goodbye("wamp.close.system_shutdown", "the server \xc3 ends"),
		   "[6,{\"message\":\"the server \"},\"wamp.close.system_shutdown\"]");
}

static void
test_topics(void **state)
{
	WampPayload payload = {.kwargs = BYTES("{\"id\":12345678901234567890}")};

	(void) state;
	expect(wamp_published(1, MAX), "[17,1,9007199254740992]");
	expect(wamp_subscribed(MAX, 2), "[33,9007199254740992,2]");
	expect(wamp_unsubscribed(3), "[35,3]");
	expect(wamp_unsubscribed_by_router(4, "wamp.error.not_authorized"),
		   "[35,0,{\"subscription\":4,\"reason\":\"wamp.error.not_authorized\"}]");
	expect(wamp_event(5, 6, NO_BYTES, &WAMP_NO_PAYLOAD), "[36,5,6,{}]");
	expect(wamp_event(MAX, MAX, BYTES("{\"position\":\"1-2\"}"), &payload),
		   "[36,9007199254740992,9007199254740992,{\"position\":\"1-2\"},[],"
		   "{\"id\":12345678901234567890}]");
	payload.bigint = true;
	expect(wamp_event(5, 6, NO_BYTES, &payload),
		   "[36,5,6,{},[],{\"id\":\"12345678901234567890\"}]");
	payload.args = BYTES("[1,9007199254740993]");
	expect(wamp_event(5, 6, NO_BYTES, &payload),
		   "[36,5,6,{},[1,\"9007199254740993\"],{\"id\":\"12345678901234567890\"}]");
}

static void
test_procedures(void **state)
{
	WampPayload payload = {.args = BYTES("[1],{\"a\":[]}")};

	(void) state;
	expect(wamp_result(1, NO_BYTES, &payload), "[50,1,{},[1],{\"a\":[]}]");
	expect(wamp_result(1, BYTES("{\"progress\":true}"), &WAMP_NO_PAYLOAD),
		   "[50,1,{\"progress\":true}]");
	expect(wamp_result_value(2, BYTES("null"), false, true), "[50,2,{},[null]]");
	expect(wamp_result_value(2, BYTES("12345678901234567890"), true, false),
		   "[50,2,{\"progress\":true},[12345678901234567890]]");
	expect(wamp_result_value(2, BYTES("12345678901234567890"), true, true),
		   "[50,2,{\"progress\":true},[\"12345678901234567890\"]]");
	expect(wamp_registered(3, 4), "[65,3,4]");
	expect(wamp_unregistered(5), "[67,5]");
	expect(wamp_unregistered_by_router(6, "wamp.close.x"),
		   "[67,0,{\"registration\":6,\"reason\":\"wamp.close.x\"}]");
	expect(wamp_invocation(7, 8, BYTES("{\"caller\":9}"), &payload),
		   "[68,7,8,{\"caller\":9},[1],{\"a\":[]}]");
	expect(wamp_interrupt(9, BYTES("{\"mode\":\"kill\"}")), "[69,9,{\"mode\":\"kill\"}]");
}

static void
test_errors(void **state)
{
	json_t *kwargs = json_pack("{s:s}", "sqlstate", "22012");
	WampPayload payload = {.args = BYTES("[\"no\"]"), .kwargs = BYTES("{}")};

	(void) state;
	expect(wamp_error(WAMP_CALL, 1, NO_BYTES, BYTES("com.\"x\\"), &payload),
		   "[8,48,1,{},\"com.\\\"x\\\\\",[\"no\"],{}]");
	expect(wamp_error(WAMP_REGISTER, 2, BYTES("{\"a\":1}"), BYTES("a"), &WAMP_NO_PAYLOAD),
		   "[8,64,2,{\"a\":1},\"a\"]");
	expect(wamp_failure(WAMP_CALL, MAX, "wamp.error.runtime_error", BYTES("division by \"0\""),
						kwargs),
		   "[8,48,9007199254740992,{},\"wamp.error.runtime_error\",[\"division by \\\"0\\\"\"],"
		   "{\"sqlstate\":\"22012\"}]");
	expect(wamp_failure(WAMP_SUBSCRIBE, 4, "wamp.error.invalid_uri", NO_BYTES, NULL),
		   "[8,32,4,{},\"wamp.error.invalid_uri\",[\"\"]]");
	json_decref(kwargs);
}

/* The tail of a message is that of the next one, as it was written. */
static void
test_tail(void **state)
{
	static const struct
	{
		const char *text;
		const char *tail;
	} cases[] = {
		{"[70,1,{}]", ""},
		{"[70,1,{}, [1, 2] ]", "[1, 2]"},
		{"[70,1,{},[12345678901234567890] , {\"a\" : 2} ]", "[12345678901234567890] , {\"a\" : 2}"},
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
	{
		WampMessage message;
		WampPayload payload = {.bigint = false};
		char expected[100];
		char error[100];

		assert_true(
			wamp_read(cases[i].text, strlen(cases[i].text), &message, error, sizeof(error)));
		payload.args = wamp_tail(&message);
		assert_int_equal(payload.args.len, strlen(cases[i].tail));
		snprintf(expected, sizeof(expected), "[50,2,{}%s%s]", payload.args.len > 0 ? "," : "",
				 cases[i].tail);
		expect(wamp_result(2, NO_BYTES, &payload), expected);
		wamp_message_free(&message);
	}
}

static void
test_request_id(void **state)
{
	char *id = wamp_request_id(WAMP_UNSUBSCRIBE, MAX);
	WampType type;
	uint64_t request;

	(void) state;
	assert_string_equal(id, "34,9007199254740992");
	wamp_request_read(id, &type, &request);
	assert_int_equal(type, WAMP_UNSUBSCRIBE);
	assert_int_equal(request, MAX);
	free(id);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),    cmocka_unit_test(test_topics),
		cmocka_unit_test(test_procedures), cmocka_unit_test(test_errors),
		cmocka_unit_test(test_tail),       cmocka_unit_test(test_request_id),
	};

	return cmocka_run_group_tests_name("wamp_build", tests, NULL, NULL);
}
