/*
 * WAMP: reading what a client sends, one case for each type of message and each rule about its form.
 */
#include "unit.h"

#include "gateway/wamp/wamp_message.h"

static WampMessage message;

/* Read a message from memory of exactly its size, so that a sanitizer notices reads beyond it. */
static char *
copy_of(const char *text)
{
	size_t len = strlen(text);
	char *copy = malloc(len + (len == 0));

	assert_non_null(copy);
	memcpy(copy, text, len);
	return copy;
}

/* The slices of *message remain valid: they are moved into text. */
static void
accept(const char *text)
{
	char *copy = copy_of(text);
	char error[200] = "";

	if (!wamp_read(copy, strlen(text), &message, error, sizeof(error)))
		fail_msg("%s: %s", text, error);
	if (message.args.data != NULL)
		message.args.data = text + (message.args.data - copy);
	if (message.kwargs.data != NULL)
		message.kwargs.data = text + (message.kwargs.data - copy);
	free(copy);
}

static void
refuse(const char *text, const char *problem)
{
	char *copy = copy_of(text);
	char error[200] = "";

	if (wamp_read(copy, strlen(text), &message, error, sizeof(error)))
		fail_msg("%s was accepted", text);
	if (strcmp(error, problem) != 0)
		fail_msg("%s: %s, not %s", text, error, problem);
	assert_null(message.root);
	free(copy);
}

static void
expect_bytes(WireBytes bytes, const char *text)
{
	assert_int_equal(bytes.len, strlen(text));
	assert_memory_equal(bytes.data, text, bytes.len);
}

static void
expect(WampType type, uint64_t request, uint64_t id, const char *uri, const char *details)
{
	assert_int_equal(message.type, type);
	assert_int_equal(message.request, request);
	assert_int_equal(message.id, id);
	assert_int_equal(message.uri == NULL, uri == NULL);
	assert_int_equal(message.uri_len, uri != NULL ? strlen(uri) : 0);
	if (uri != NULL)
		assert_string_equal(message.uri, uri);
	assert_int_equal(message.details == NULL, details == NULL);
	if (details != NULL)
	{
		char *dump = json_dumps(message.details, JSON_COMPACT);

		assert_string_equal(dump, details);
		free(dump);
	}
}

static void
expect_arguments(const char *args, const char *kwargs)
{
	expect_bytes(message.args, args);
	expect_bytes(message.kwargs, kwargs);
	wamp_message_free(&message);
}

/* ---------------- the types ---------------- */

static void
test_session(void **state)
{
	(void) state;
	accept("[1,\"realm1\",{\"roles\":{\"caller\":{}}}]");
	expect(WAMP_HELLO, 0, 0, "realm1", "{\"roles\":{\"caller\":{}}}");
	expect_arguments("", "");
	accept("[3,{},\"wamp.close.normal\"]");
	expect(WAMP_ABORT, 0, 0, "wamp.close.normal", "{}");
	expect_arguments("", "");
	accept("[3,{},\"wamp.error.x\",[1],{\"a\":2}]");
	expect(WAMP_ABORT, 0, 0, "wamp.error.x", "{}");
	expect_arguments("[1]", "{\"a\":2}");
	accept("[5,\"a.b.c\",{\"x\":1}]");
	expect(WAMP_AUTHENTICATE, 0, 0, NULL, "{\"x\":1}");
	assert_string_equal(message.signature, "a.b.c");
	expect_arguments("", "");
	accept("[6,{\"message\":\"bye\"},\"wamp.close.close_realm\"]");
	expect(WAMP_GOODBYE, 0, 0, "wamp.close.close_realm", "{\"message\":\"bye\"}");
	expect_arguments("", "");
}

static void
test_topics(void **state)
{
	(void) state;
	accept("[16,1,{},\"com.shop.orders\"]");
	expect(WAMP_PUBLISH, 1, 0, "com.shop.orders", "{}");
	expect_arguments("", "");
	accept("[16,1,{\"acknowledge\":true},\"com.shop.orders\",[]]");
	expect(WAMP_PUBLISH, 1, 0, "com.shop.orders", "{\"acknowledge\":true}");
	expect_arguments("[]", "");
	accept("[16,1,{},\"com.shop.orders\",[1,[2]],{\"a\":[{}]}]");
	expect(WAMP_PUBLISH, 1, 0, "com.shop.orders", "{}");
	expect_arguments("[1,[2]]", "{\"a\":[{}]}");
	accept("[32,713845233,{\"match\":\"prefix\"},\"com.shop.\"]");
	expect(WAMP_SUBSCRIBE, 713845233, 0, "com.shop.", "{\"match\":\"prefix\"}");
	expect_arguments("", "");
	accept("[34,85346237,5512315355]");
	expect(WAMP_UNSUBSCRIBE, 85346237, 5512315355, NULL, NULL);
	expect_arguments("", "");
}

static void
test_procedures(void **state)
{
	(void) state;
	accept("[48,7814135,{\"timeout\":10},\"com.shop.add\",[2,3],{\"b\":4}]");
	expect(WAMP_CALL, 7814135, 0, "com.shop.add", "{\"timeout\":10}");
	expect_arguments("[2,3]", "{\"b\":4}");
	accept("[48,1,{},\"com.shop.add\"]");
	expect(WAMP_CALL, 1, 0, "com.shop.add", "{}");
	expect_arguments("", "");
	accept("[49,7814135,{\"mode\":\"kill\"}]");
	expect(WAMP_CANCEL, 7814135, 0, NULL, "{\"mode\":\"kill\"}");
	expect_arguments("", "");
	accept("[64,25349185,{\"invoke\":\"first\"},\"com.shop.add\"]");
	expect(WAMP_REGISTER, 25349185, 0, "com.shop.add", "{\"invoke\":\"first\"}");
	expect_arguments("", "");
	accept("[66,788923562,2103333224]");
	expect(WAMP_UNREGISTER, 788923562, 2103333224, NULL, NULL);
	expect_arguments("", "");
	accept("[70,6131533,{\"progress\":true},[5],{}]");
	expect(WAMP_YIELD, 6131533, 0, NULL, "{\"progress\":true}");
	expect_arguments("[5]", "{}");
	accept("[70,6131533,{}]");
	expect(WAMP_YIELD, 6131533, 0, NULL, "{}");
	expect_arguments("", "");
	accept("[8,68,6131533,{},\"com.shop.error\",[\"no\"],{\"a\":1}]");
	expect(WAMP_ERROR, 6131533, 0, "com.shop.error", "{}");
	assert_int_equal(message.failed, WAMP_INVOCATION);
	expect_arguments("[\"no\"]", "{\"a\":1}");
}

/* A client does not send what a router sends, and ERROR only for what the router sends it. */
static void
test_router(void **state)
{
	(void) state;
	refuse("[2,9129137332,{\"roles\":{\"broker\":{}}}]", "WELCOME: clients do not send it");
	refuse("[4,\"ticket\",{}]", "CHALLENGE: clients do not send it");
	refuse("[17,1,2]", "PUBLISHED: clients do not send it");
	refuse("[33,1,2]", "SUBSCRIBED: clients do not send it");
	refuse("[35,1]", "UNSUBSCRIBED: clients do not send it");
	refuse("[36,1,2,{}]", "EVENT: clients do not send it");
	refuse("[50,1,{}]", "RESULT: clients do not send it");
	refuse("[65,1,2]", "REGISTERED: clients do not send it");
	refuse("[67,1]", "UNREGISTERED: clients do not send it");
	refuse("[68,1,2,{}]", "INVOCATION: clients do not send it");
	refuse("[69,1,{}]", "INTERRUPT: clients do not send it");
	refuse("[8,48,1,{},\"a.b\"]", "ERROR: a client may send it for INVOCATION only");
	refuse("[8,\"68\",1,{},\"a.b\"]", "ERROR: a client may send it for INVOCATION only");
}

/* ---------------- the form ---------------- */

static void
test_not_an_array(void **state)
{
	static const char *const texts[] = {"", " ", "[", "]", "{}", "\"[1]\"", "1", "null", "x[1]"};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(texts); i++)
		refuse(texts[i], "a message must be a JSON array");
}

/* Neither in a head nor in arguments, which would go on to others. */
static void
test_nul(void **state)
{
	static const char head[] = "[49,1\0,{}]";
	static const char arguments[] = "[70,1,{},[1\0]]";
	char error[100];

	(void) state;
	assert_false(wamp_read(head, sizeof(head) - 1, &message, error, sizeof(error)));
	assert_false(wamp_read(arguments, sizeof(arguments) - 1, &message, error, sizeof(error)));
	assert_string_equal(error, "a message must be a JSON array");
}

static void
test_not_only_an_array(void **state)
{
	static const char *const texts[] = {
		"[49,1,{}",      "[49,1,{}]]", "[49,1,{}][49,1,{}]", "[49,1,{}] x", "[49,1,{}],",
		"[49,1,{\"a}]]", "[49,1,{}}",  "[49,1,{\"\\\"}]",    "[49,1,",      "[49,1,{}]\\",
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(texts); i++)
		refuse(texts[i], "a message must be a JSON array and nothing else");
}

static void
test_type(void **state)
{
	static const char *const texts[] = {"[]",     "[ ]",      "[\"1\"]", "[null]",
										"[-1]",   "[1.0]",    "[1e0]",   "[+1]",
										"[01]",   "[1 2]",    "[[1]]",   "[,1,{}]",
										"[0x10]", "[true]",   "[{}]",    "[1\"]",
										"[00]",   "[32 32]",  "[--1]",   "[9007199254740993]",
										"[/]",    "[\\u0031]"};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(texts); i++)
	{
		if (strcmp(texts[i], "[1\"]") == 0)
			refuse(texts[i], "a message must be a JSON array and nothing else");
		else
			refuse(texts[i], "the type of a message must be an integer");
	}
	refuse("[0]", "there is no such type of message");
	refuse("[7,{}]", "there is no such type of message");
	refuse("[9007199254740992]", "there is no such type of message");
}

/* Of each type, one element less and one more than it has. */
static void
test_count(void **state)
{
	static const struct
	{
		const char *less;
		const char *more;
		const char *name;
	} cases[] = {
		{"[1,\"r\"]", "[1,\"r\",{},{}]", "HELLO"},
		{"[3,{}]", "[3,{},\"u\",[],{},1]", "ABORT"},
		{"[5,\"s\"]", "[5,\"s\",{},1]", "AUTHENTICATE"},
		{"[6,{}]", "[6,{},\"u\",[]]", "GOODBYE"},
		{"[8,68,1,{}]", "[8,68,1,{},\"u\",[],{},1]", "ERROR"},
		{"[16,1,{}]", "[16,1,{},\"u\",[],{},1]", "PUBLISH"},
		{"[32,1,{}]", "[32,1,{},\"u\",[]]", "SUBSCRIBE"},
		{"[34,1]", "[34,1,2,{}]", "UNSUBSCRIBE"},
		{"[48,1,{}]", "[48,1,{},\"u\",[],{},1]", "CALL"},
		{"[49,1]", "[49,1,{},1]", "CANCEL"},
		{"[64,1,{}]", "[64,1,{},\"u\",[]]", "REGISTER"},
		{"[66,1]", "[66,1,2,3]", "UNREGISTER"},
		{"[70,1]", "[70,1,{},[],{},1]", "YIELD"},
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
	{
		char problem[100];

		snprintf(problem, sizeof(problem), "%s: the number of elements is wrong", cases[i].name);
		refuse(cases[i].less, problem);
		refuse(cases[i].more,
			   strcmp(cases[i].name, "ERROR") == 0 ? "the message has too many elements" : problem);
	}
}

static void
test_ids(void **state)
{
	static const char *const bad[] = {"0",  "-1",   "1.0",   "1e3",  "9007199254740993",
									  "01", "null", "\"1\"", "true", "18446744073709551617",
									  "",   "[1]",  "{}",    "+1",   "1 1"};

	(void) state;
	accept("[34,9007199254740992,1]");
	expect(WAMP_UNSUBSCRIBE, UINT64_C(9007199254740992), 1, NULL, NULL);
	expect_arguments("", "");
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
	{
		char text[100];

		snprintf(text, sizeof(text), "[34,%s,1]", bad[i]);
		refuse(text, "UNSUBSCRIBE: the request's id must be an integer from 1 to 2^53");
		snprintf(text, sizeof(text), "[66,1,%s]", bad[i]);
		refuse(text, "UNREGISTER: the id must be an integer from 1 to 2^53");
	}
}

static void
test_strings(void **state)
{
	static const char *const bad[] = {
		"1",      "null",     "[]",          "{}",          "\"\\u0000\"",
		"",       "\"a",      "\"\\ud800\"", "\"\xff\"",    "'a'",
		"\"a\"b", "\"a\nb\"", "\"\\x\"",     "\"a\" \"b\"", "true"};

	(void) state;
	accept("[32,1,{},\"\"]");
	expect(WAMP_SUBSCRIBE, 1, 0, "", "{}");
	expect_arguments("", "");
	accept(" [ 32 , 1 ,\t{ } ,\r\n\"a\\u002eb\\\",[\" ] ");
	expect(WAMP_SUBSCRIBE, 1, 0, "a.b\",[", "{}");
	expect_arguments("", "");
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
	{
		char text[100];
		bool open = strcmp(bad[i], "\"a") == 0;

		snprintf(text, sizeof(text), "[32,1,{},%s]", bad[i]);
		refuse(text, open ? "a message must be a JSON array and nothing else"
						  : "SUBSCRIBE: the URI must be a string");
		snprintf(text, sizeof(text), "[1,%s,{}]", bad[i]);
		refuse(text, open ? "a message must be a JSON array and nothing else"
						  : "HELLO: the realm must be a string");
		snprintf(text, sizeof(text), "[5,%s,{}]", bad[i]);
		refuse(text, open ? "a message must be a JSON array and nothing else"
						  : "AUTHENTICATE: the signature must be a string");
	}
}

static void
test_details(void **state)
{
	static const char *const bad[] = {"[]",
									  "null",
									  "1",
									  "\"{}\"",
									  "",
									  "{\"a\":1,\"a\":2}",
									  "{\"a\":{\"b\":1,\"b\":1}}",
									  "{a:1}",
									  "{\"a\"}",
									  "{\"a\":1,}",
									  "{\"a\":\"\\u0000\"}",
									  "{} {}",
									  "{\"a\":[}]"};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
	{
		char text[100];

		snprintf(text, sizeof(text), "[49,1,%s]", bad[i]);
		refuse(text, "CANCEL: details or options must be an object");
	}
}

/* Options that are known have a type; others are ignored. */
static void
test_options(void **state)
{
	static const struct
	{
		const char *before; /* the value */
		const char *after;
		const char *good;
		const char *bad;
		const char *problem;
	} cases[] = {
		{"[1,\"r\",{\"roles\":", "}]", "{} {\"caller\":{}}", "[] 1",
		 "HELLO: roles must be an object"},
		{"[1,\"r\",{\"authmethods\":", "}]", "[] [\"ticket\"]", "\"ticket\" [1] {}",
		 "HELLO: authmethods must be an array of strings"},
		{"[1,\"r\",{\"authid\":", "}]", "\"joe\"", "1 []", "HELLO: authid must be a string"},
		{"[16,1,{\"acknowledge\":", "},\"t\"]", "true false", "1 \"true\" []",
		 "PUBLISH: acknowledge must be true or false"},
		{"[16,1,{\"exclude\":", "},\"t\"]", "[] [1,9007199254740992]",
		 "1 [0] [-1] [1.5] [\"1\"] [9007199254740993] {} [[1]]",
		 "PUBLISH: exclude must be an array of integers from 1 to 2^53"},
		{"[16,1,{\"eligible_authrole\":", "},\"t\"]", "[\"a\",\"b\"]", "\"a\" [1] [[\"a\"]]",
		 "PUBLISH: eligible_authrole must be an array of strings"},
		{"[16,1,{\"ppt_scheme\":", "},\"t\"]", "\"mqtt\" \"\"", "1 [\"mqtt\"]",
		 "PUBLISH: ppt_scheme must be a string of at most 255 bytes"},
		{"[48,1,{\"ppt_keyid\":", "},\"t\"]", "\"k\"", "{}",
		 "CALL: ppt_keyid must be a string of at most 255 bytes"},
		{"[70,1,{\"ppt_cipher\":", "}]", "\"k\"", "true",
		 "YIELD: ppt_cipher must be a string of at most 255 bytes"},
		{"[8,68,1,{\"ppt_serializer\":", "},\"e\"]", "\"cbor\"", "7",
		 "ERROR: ppt_serializer must be a string of at most 255 bytes"},
		/* Features that there are not */
		{"[16,1,{\"retain\":", "},\"t\"]", "true false", "\"hello\" 1",
		 "PUBLISH: retain must be true or false"},
		{"[16,1,{\"transaction_hash\":", "},\"t\"]", "\"abc123\"", "123",
		 "PUBLISH: transaction_hash must be a string"},
		{"[16,1,{\"forward_for\":", "},\"t\"]", "[] [{\"session\":123}]", "\"hello\" {} [1] [[]]",
		 "PUBLISH: forward_for must be an array of objects"},
		{"[32,1,{\"forward_for\":", "},\"t\"]", "[] [{\"session\":123}]", "\"hello\" [{},1]",
		 "SUBSCRIBE: forward_for must be an array of objects"},
		{"[32,1,{\"get_retained\":", "},\"t\"]", "true false", "\"hello\"",
		 "SUBSCRIBE: get_retained must be true or false"},
		{"[32,1,{\"match\":", "},\"t\"]", "\"exact\" \"prefix\" \"wildcard\"",
		 "\"\" \"exac\" \"exact2\" 1 [\"exact\"]",
		 "SUBSCRIBE: match must be \"exact\", \"prefix\" or \"wildcard\""},
		{"[48,1,{\"timeout\":", "},\"t\"]", "0 1000 9007199254740992",
		 "-1 1.5 \"1\" 9007199254740993", "CALL: timeout must be an integer from 0 to 2^53"},
		{"[49,1,{\"mode\":", "}]", "\"skip\" \"kill\" \"killnowait\"", "\"killno\" 1",
		 "CANCEL: mode must be \"skip\", \"kill\" or \"killnowait\""},
		{"[64,1,{\"invoke\":", "},\"t\"]",
		 "\"single\" \"roundrobin\" \"random\" \"first\" \"last\"", "\"all\" \"la\" 1",
		 "REGISTER: invoke must be \"single\", \"roundrobin\", \"random\", \"first\" or \"last\""},
		{"[70,1,{\"progress\":", "}]", "true false", "1 \"\"",
		 "YIELD: progress must be true or false"},
		{"[70,1,{\"retain\":", "}]", "1 \"x\" {}", "", ""},
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
	{
		char values[200];
		char text[300];
		char *next;

		snprintf(values, sizeof(values), "%s", cases[i].good);
		for (char *value = strtok_r(values, " ", &next); value != NULL;
			 value = strtok_r(NULL, " ", &next))
		{
			snprintf(text, sizeof(text), "%s%s%s", cases[i].before, value, cases[i].after);
			accept(text);
			wamp_message_free(&message);
		}
		snprintf(values, sizeof(values), "%s", cases[i].bad);
		for (char *value = strtok_r(values, " ", &next); value != NULL;
			 value = strtok_r(NULL, " ", &next))
		{
			snprintf(text, sizeof(text), "%s%s%s", cases[i].before, value, cases[i].after);
			refuse(text, cases[i].problem);
		}
		snprintf(text, sizeof(text), "%snull%s", cases[i].before, cases[i].after);
		accept(text);
		assert_int_equal(json_object_size(message.details), 0);
		wamp_message_free(&message);
	}
}

/* ---------------- arguments ---------------- */

/* They go on as they were written. */
static void
test_slices(void **state)
{
	static const char *const args[] = {
		"[123456789012345678901234567890,-0.10,1E400,-1e-999,0]",
		"[ 1 ,\t\"]},\\\"\" ]",
		"[\"\\u0000AQI=\"]",
		"[1.0,1.00000000000000000000000000000001,2e+5]",
		"[\"123456789012345678901234567890\",\"\\\\\",12345678901234567890]",
	};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(args); i++)
	{
		char text[300];
		char kwargs[200];

		snprintf(kwargs, sizeof(kwargs), "{\"a\":%s}", args[i]);
		snprintf(text, sizeof(text), "[48,1,{},\"u\", %s ,%s ]", args[i], kwargs);
		accept(text);
		expect_arguments(args[i], kwargs);
	}
}

static void
test_bad_arguments(void **state)
{
	static const char *const bad[] = {"null",
									  "{}",
									  "1",
									  "\"[]\"",
									  "",
									  "[1,]",
									  "[01]",
									  "[1e]",
									  "[1.]",
									  "[.1]",
									  "[+1]",
									  "[-]",
									  "[00000000000000000000]",
									  "[1234567890123456789.]",
									  "[1e400e1]",
									  "[--1e400]",
									  "[1234567890123456789x]",
									  "[NaN]",
									  "[1e400",
									  "[1}",
									  "[1 2]",
									  "[1e999 1e999]",
									  "[{\"a\":1,\"a\":2}]",
									  "[{\"a\":12345678901234567890,\"a\":2}]",
									  "[\"\\ud800\"]",
									  "[1e+]",
									  "[true1234567890123456789012]",
									  "[\"\xc3\"]",
									  "[{\"\\u0000\":1}]"};

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(bad); i++)
	{
		char text[100];
		bool open =
			bad[i][0] == '[' && bad[i][strlen(bad[i]) - 1] != ']' && strcmp(bad[i], "[1}") != 0;

		snprintf(text, sizeof(text), "[48,1,{},\"u\",%s]", bad[i]);
		refuse(text, open ? "a message must be a JSON array and nothing else"
						  : "CALL: the arguments must be an array");
	}
	refuse("[48,1,{},\"u\",[],[]]", "CALL: the keyword arguments must be an object");
	refuse("[48,1,{},\"u\",[],null]", "CALL: the keyword arguments must be an object");
	refuse("[48,1,{},\"u\",[],{\"a\":1,\"a\":1}]", "CALL: the keyword arguments must be an object");
	refuse("[48,1,{},\"u\",[],]", "CALL: the keyword arguments must be an object");
}

/* Deep values are read up to jansson's limit, and none is too deep for the stack. */
static void
test_depth(void **state)
{
	static char text[1000100];
	char error[200];

	(void) state;
	for (size_t depth = 16; depth <= 500000; depth *= 5)
	{
		size_t len = (size_t) sprintf(text, "[48,1,{},\"u\",");

		memset(text + len, '[', depth);
		memset(text + len + depth, ']', depth);
		strcpy(text + len + 2 * depth, "]");
		assert_int_equal(wamp_read(text, len + 2 * depth + 1, &message, error, sizeof(error)),
						 depth <= JSON_PARSER_MAX_DEPTH);
		wamp_message_free(&message);
	}
}

/* A short buffer cuts the error, and names are those of the specification. */
static void
test_errors(void **state)
{
	char error[8];

	(void) state;
	assert_false(wamp_read("[34,0,0]", 8, &message, error, sizeof(error)));
	assert_string_equal(error, "UNSUBSC");
	assert_string_equal(wamp_type_name(WAMP_INTERRUPT), "INTERRUPT");
	assert_string_equal(wamp_type_name((WampType) 7), "UNKNOWN");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),       cmocka_unit_test(test_topics),
		cmocka_unit_test(test_procedures),    cmocka_unit_test(test_router),
		cmocka_unit_test(test_not_an_array),  cmocka_unit_test(test_not_only_an_array),
		cmocka_unit_test(test_type),          cmocka_unit_test(test_count),
		cmocka_unit_test(test_ids),           cmocka_unit_test(test_strings),
		cmocka_unit_test(test_details),       cmocka_unit_test(test_slices),
		cmocka_unit_test(test_bad_arguments), cmocka_unit_test(test_depth),
		cmocka_unit_test(test_errors),        cmocka_unit_test(test_nul),
		cmocka_unit_test(test_options),
	};

	return cmocka_run_group_tests_name("wamp_message", tests, NULL, NULL);
}
