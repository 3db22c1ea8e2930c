/* Sessions, registrations and calls of the router. */
#include "unit.h"

#include "router_host.h"
#include "wire/uri.h"

/* ---------------- sessions ---------------- */

static void
test_sessions(void **state)
{
	(void) state;
	join(1, 5);
	assert_string_equal(published, "wamp.session.on_join [{\"session\":1005,\"authid\":\"a5\","
								   "\"authrole\":\"web\",\"authmethod\":\"ticket\"}]\n");
	forget();
	assert_true(router_has(router, 1, 5));
	assert_false(router_has(router, 2, 5));
	/* the number and the id are in use; no id; a bad one; bad details */
	assert_false(router_join(router, &(RouterJoin){.link = 1, .session = 5, .id = 77}));
	assert_false(router_join(router, &(RouterJoin){.link = 2, .session = 5, .id = 1005}));
	assert_false(router_join(router, &(RouterJoin){.link = 2, .session = 5}));
	assert_false(router_join(router, &(RouterJoin){.link = 2, .session = 5, .id = URI_MAX_ID + 1}));
	assert_false(router_join(
		router, &(RouterJoin){.link = 2, .session = 5, .id = 7, .details = bytes("[]")}));
	assert_int_equal(router_sessions(router), 1);
	router_leave(router, 1, 6);
	router_leave(router, 1, 5);
	assert_string_equal(published, "wamp.session.on_leave [1005,\"a5\",\"web\"]\n");
	forget();
	/* Nobody hears of a session that is back after the feed was replaced. */
	join_with(1, 5, ROUTE_AGAIN);
	assert_string_equal(published, "");
	join(1, 6);
	join(2, 5);
	forget();
	router_drop_link(router, 1);
	assert_string_equal(published, "wamp.session.on_leave [1005,\"a5\",\"web\"]\n"
								   "wamp.session.on_leave [1006,\"a6\",\"web\"]\n");
	assert_int_equal(router_sessions(router), 1);
	assert_false(router_receive(router, 1, &(WireRoute){.kind = ROUTE_JOIN, .session = 5}));
	assert_false(router_receive(router, 1, &(WireRoute){.kind = 200, .session = 5}));
	/* A session that does not exist. */
	call(1, 5, 1, "com.a", "", "");
	expect("");
}

/* ---------------- registrations ---------------- */

static void
test_registrations(void **state)
{
	uint64_t id = uri_id(URI_EXACT, "com.a", 5);

	(void) state;
	join(1, 1);
	join(2, 1);
	forget();
	do_register(1, 1, "com.a", "");
	expect("1.1 REGISTERED 1\n");
	assert_non_null(strstr(published, "wamp.registration.on_create [1001,{\"id\":"));
	assert_non_null(strstr(published, "\"created\":\"1970-01-01T00:00:00.000Z\",\"uri\":\"com.a\","
									  "\"match\":\"exact\",\"invoke\":\"single\"}]\n"
									  "wamp.registration.on_register [1001,"));
	do_register(2, 1, "com.a", "");
	expect("2.1 ERROR 1 wamp.error.procedure_already_exists\n");
	do_register(2, 1, "com.a", "{\"invoke\":\"random\"}");
	expect("2.1 ERROR 1 wamp.error.procedure_already_exists\n");
	do_register(2, 1, "wamp.a", "");
	expect("2.1 ERROR 1 wamp.error.invalid_uri\n");
	do_register(2, 1, "a..b", "");
	expect("2.1 ERROR 1 wamp.error.invalid_uri\n");
	do_register(2, 1, "exposed", "");
	expect("2.1 ERROR 1 wamp.error.procedure_already_exists\n");
	do_register(2, 1, "com.b", "{\"invoke\":\"all\"}");
	expect("2.1 ERROR 1 wamp.error.invalid_argument\n");
	do_register(2, 1, "com.b", "{\"match\":1}");
	expect("2.1 ERROR 1 wamp.error.invalid_argument\n");
	do_register(2, 1, "com.b", "{");
	expect("2.1 ERROR 1 wamp.error.invalid_argument\n");
	forbidden = "com.b";
	do_register(2, 1, "com.b", "");
	expect("2.1 ERROR 1 wamp.error.not_authorized\n");
	receive(2, (WireRoute){.kind = ROUTE_UNREGISTER, .session = 1, .request = 2, .id = id});
	expect("2.1 ERROR 2 wamp.error.no_such_registration\n");
	forget();
	receive(1, (WireRoute){.kind = ROUTE_UNREGISTER, .session = 1, .request = 2, .id = id});
	expect("1.1 UNREGISTERED 2\n");
	assert_non_null(strstr(published, "wamp.registration.on_unregister [1001,"));
	assert_non_null(
		strstr(strstr(published, "on_unregister"), "wamp.registration.on_delete [1001,"));
	do_register(2, 1, "com.a", "");
	expect("2.1 REGISTERED 1\n");
}

static void
test_shared(void **state)
{
	static const struct
	{
		const char *invoke;
		const char *order;
	} cases[] = {{"roundrobin", "1231"}, {"first", "1111"}, {"last", "3333"}, {"random", "1231"}};
	char options[64];

	(void) state;
	for (uint32_t i = 1; i <= 3; i++)
		join(1, i);
	for (size_t i = 0; i < UNIT_COUNT(cases); i++)
	{
		snprintf(options, sizeof(options), "{\"invoke\":\"%s\"}", cases[i].invoke);
		for (uint32_t session = 1; session <= 3; session++)
			do_register(1, session, cases[i].invoke, options);
		do_register(1, 1, cases[i].invoke, options);
		do_register(1, 2, cases[i].invoke, "{\"invoke\":\"single\"}");
		expect("1.1 REGISTERED 1\n1.2 REGISTERED 1\n1.3 REGISTERED 1\n"
			   "1.1 ERROR 1 wamp.error.procedure_already_exists\n"
			   "1.2 ERROR 1 wamp.error.procedure_already_exists\n");
		join(2, 1);
		do_register(2, 1, cases[i].invoke, "");
		expect("2.1 ERROR 1 wamp.error.procedure_exists_with_different_invocation_policy\n");
		for (size_t n = 0; n < strlen(cases[i].order); n++)
		{
			char wanted[8];

			call(2, 1, n + 1, cases[i].invoke, "", "");
			snprintf(wanted, sizeof(wanted), "1.%c ", cases[i].order[n]);
			assert_memory_equal(sent, wanted, strlen(wanted));
			forget();
		}
		router_leave(router, 2, 1);
		forget();
	}
	/* It goes to another one if the link of the first takes nothing. */
	join(2, 1);
	do_register(2, 1, "first", "{\"invoke\":\"first\"}");
	forget();
	full_link = 1;
	call(2, 1, 9, "first", "", "");
	expect("2.1 INVOKE #1 {}\n");
	call(2, 1, 10, "last", "", "");
	expect("2.1 ERROR 10 wamp.error.unavailable\n");
}

/*
 * The examples of the specification, but with a dot at the end of prefixes: there a1.b2.c3 does not match
 * a1.b2.c33, although the text above them says that bytes count, not parts.
 */
static void
test_best_match(void **state)
{
	static const struct
	{
		const char *name;
		const char *match;
	} procedures[] = {{"a1.b2.c3.d4.e55", "exact"},    {"a1.b2.c3.", "prefix"},
					  {"a1.b2.c3.d4.", "prefix"},      {"a1.b2..d4.e5", "wildcard"},
					  {"a1.b2.c33..e5", "wildcard"},   {"a1.b2..d4.e5..g7", "wildcard"},
					  {"a1.b2..d4..f6.g7", "wildcard"}};
	static const struct
	{
		const char *name;
		int number;
	} calls[] = {{"a1.b2.c3.d4.e55", 1},      {"a1.b2.c3.d98.e74", 2}, {"a1.b2.c3.d4.e325", 3},
				 {"a1.b2.c55.d4.e5", 4},      {"a1.b2.c33.d4.e5", 5},  {"a1.b2.c88.d4.e5.f6.g7", 6},
				 {"a1.b2.c88.d4.x5.f6.g7", 7}};

	(void) state;
	join(2, 1);
	for (int turn = 0; turn < 2; turn++)
	{
		/* Registered in both orders. */
		for (uint32_t i = 0; i < UNIT_COUNT(procedures); i++)
		{
			uint32_t n = turn == 0 ? i : (uint32_t) UNIT_COUNT(procedures) - 1 - i;
			char options[64];

			join(1, n + 1);
			snprintf(options, sizeof(options), "{\"match\":\"%s\"}", procedures[n].match);
			do_register(1, n + 1, procedures[n].name, options);
		}
		forget();
		for (size_t i = 0; i < UNIT_COUNT(calls); i++)
		{
			char wanted[128] = "";

			call(2, 1, i + 1 + 10 * (size_t) turn, calls[i].name, "", "");
			snprintf(wanted, sizeof(wanted), "1.%d INVOKE ", calls[i].number);
			assert_memory_equal(sent, wanted, strlen(wanted));
			snprintf(wanted, sizeof(wanted), " {\"procedure\":\"%s\"}\n", calls[i].name);
			assert_int_equal(strstr(sent, wanted) != NULL, calls[i].number != 1);
			forget();
		}
		call(2, 1, 90, "a2.b2.c2.d2.e2", "", "");
		expect("2.1 ERROR? 90 wamp.error.no_such_procedure\n");
		router_drop_link(router, 1);
		forget();
	}
}

/* A pattern takes no calls of procedures that its callee may not register. */
static void
test_pattern_rights(void **state)
{
	(void) state;
	join(1, 1);
	join(2, 1);
	do_register(2, 1, "com.", "{\"match\":\"prefix\"}");
	do_register(1, 1, "com", "{\"match\":\"prefix\"}");
	forget();
	call(1, 1, 1, "com.secret", "", "");
	expect("2.1 INVOKE #1 {\"procedure\":\"com.secret\"}\n");
	forbidden = "com.secret";
	call(1, 1, 2, "com.secret", "", "");
	expect("1.1 INVOKE #1 {\"procedure\":\"com.secret\"}\n");
	call(1, 1, 3, "com.open", "", "");
	expect("2.1 INVOKE #2 {\"procedure\":\"com.open\"}\n");
}

/* Rights that have gone end registrations, a few at a time. */
static void
test_recheck(void **state)
{
	(void) state;
	join(1, 1);
	join(2, 1);
	do_register(1, 1, "com.a", "");
	do_register(2, 1, "com.b", "");
	do_register(2, 1, "com.c", "");
	forget();
	assert_false(router_check(router, 10));
	forbidden = "com.c";
	router_recheck(router);
	assert_true(router_check(router, 2));
	expect("");
	assert_false(router_check(router, 2));
	expect("2.1 UNREGISTERED wamp.error.not_authorized\n");
	assert_false(router_check(router, 2));
	call(1, 1, 1, "com.c", "", "");
	expect("1.1 ERROR? 1 wamp.error.no_such_procedure\n");
	call(1, 1, 2, "com.b", "", "");
	expect("2.1 INVOKE #1 {}\n");
}

static void
test_bounds(void **state)
{
	char name[300];

	(void) state;
	join(1, 1);
	join(2, 1);
	for (int i = 0; i < ROUTE_MAX_REGISTRATIONS; i++)
	{
		snprintf(name, sizeof(name), "com.p%d", i);
		do_register(1, 1, name, "");
		forget();
	}
	do_register(1, 1, "com.more", "");
	expect("1.1 ERROR 1 wamp.error.unavailable\n");
	for (int i = 0; i < ROUTE_MAX_CALLS; i++)
	{
		snprintf(name, sizeof(name), "com.p%d", i);
		call(2, 1, (uint64_t) i + 1, name, "", "");
		forget();
	}
	assert_int_equal(router_calls(router), ROUTE_MAX_CALLS);
	call(2, 1, 9999, "com.p0", "", "");
	expect("2.1 ERROR 9999 wamp.error.unavailable\n");
	yield(1, 1, 500, 0, "[]");
	call(2, 1, 9999, "com.p0", "", "");
	expect("2.1 RESULT 500 []\n1.1 INVOKE #1001 {}\n");
	memset(name, 'x', 256);
	name[256] = '\0';
	do_register(2, 1, name, "");
	expect("2.1 ERROR 1 wamp.error.invalid_uri\n");
	call(1, 1, 1, name, "", "");
	expect("1.1 ERROR 1 wamp.error.invalid_uri\n");
	name[255] = '\0';
	do_register(2, 1, name, "{\"match\":\"prefix\"}");
	call(1, 1, 2, name, "", "");
	forget();
	router_leave(router, 1, 1);
	assert_int_equal(router_calls(router), 0);
}

/* ---------------- calls ---------------- */

static void
ask(int link, uint32_t session, uint64_t request, const char *name)
{
	receive(link, (WireRoute){.kind = ROUTE_CALL,
							  .flags = ROUTE_ASKS,
							  .session = session,
							  .request = request,
							  .name = bytes(name)});
}

static void
test_calls(void **state)
{
	(void) state;
	join(1, 1);
	join(2, 7);
	do_register(1, 1, "com.a", "");
	forget();
	call(2, 7, 3, "com.a", "", "[1],{\"x\":2}");
	call(2, 7, 4, "com.a", "{\"disclose_me\":true}", "");
	call(2, 7, 4, "com.a", "", "");
	expect("1.1 INVOKE #1 {} [1],{\"x\":2}\n"
		   "1.1 INVOKE #2 {\"caller\":2007,\"caller_authid\":\"a7\",\"caller_authrole\":\"app\"}\n"
		   "2.7 ERROR 4 wamp.error.protocol_violation\n");
	/* Answers of others, of unknown invocations, and progress that nobody wants. */
	join(1, 2);
	yield(1, 2, 1, 0, "[\"forged\"]");
	yield(2, 7, 1, 0, "[\"forged\"]");
	yield(1, 1, 99, 0, "[]");
	yield(1, 1, 1, ROUTE_PROGRESS, "[]");
	expect("");
	yield(1, 1, 2, 0, "[\"second\"]");
	receive(1, (WireRoute){.kind = ROUTE_FAIL,
						   .session = 1,
						   .id = 1,
						   .name = bytes("com.error"),
						   .payload = bytes("[1]")});
	expect("2.7 RESULT 4 [\"second\"]\n2.7 ERROR 3 com.error\n");
	yield(1, 1, 2, 0, "[\"again\"]");
	expect("");
	assert_int_equal(router_calls(router), 0);
	call(2, 7, 5, "com.unknown", "", "");
	call(2, 7, 6, "com..a", "", "");
	call(2, 7, 7, "com.a", "1", "");
	expect("2.7 ERROR? 5 wamp.error.no_such_procedure\n2.7 ERROR 6 wamp.error.invalid_uri\n"
		   "2.7 ERROR 7 wamp.error.invalid_argument\n");
	/* Without the right. */
	forbidden = "com.a";
	call(2, 7, 8, "com.a", "", "");
	forbidden = "com.none";
	call(2, 7, 9, "com.none", "", "");
	expect("2.7 ERROR 8 wamp.error.not_authorized\n2.7 ERROR? 9 wamp.error.no_such_procedure\n");
	/* The gateway does not know yet whether a name is that of a function. */
	do_register(1, 2, "ex", "{\"match\":\"prefix\"}");
	forget();
	ask(2, 7, 11, "exposed");
	ask(2, 7, 12, "explain");
	expect("2.7 ERROR? 11 wamp.error.no_such_procedure\n"
		   "2.7 CALLED 12\n1.2 INVOKE #1 {\"procedure\":\"explain\"}\n");
	yield(1, 2, 1, 0, "[]");
	forget();
	/* The callee wants to know. */
	do_register(1, 2, "com.b", "{\"disclose_caller\":true}");
	forget();
	call(2, 7, 10, "com.b", "", "");
	expect(
		"1.2 INVOKE #2 {\"caller\":2007,\"caller_authid\":\"a7\",\"caller_authrole\":\"app\"}\n");
	/* An error that is no URI. */
	receive(1, (WireRoute){.kind = ROUTE_FAIL, .session = 2, .id = 2, .name = bytes("no uri")});
	expect("2.7 ERROR 10 wamp.error.runtime_error\n");
}

static void
test_progress(void **state)
{
	(void) state;
	join(1, 1);
	join_with(1, 2, 0);
	join(2, 1);
	do_register(1, 1, "com.a", "");
	do_register(1, 2, "com.b", "");
	forget();
	call(2, 1, 1, "com.a", "{\"receive_progress\":true,\"timeout\":100}", "");
	expect("1.1 INVOKE #1 {\"receive_progress\":true}\n");
	/* Each result begins the timeout again. */
	for (int i = 1; i <= 3; i++)
	{
		router_set_time(router, 1000 + 80 * i, 0);
		assert_int_equal(router_expire(router), 20);
		yield(1, 1, 1, ROUTE_PROGRESS, "[1]");
		expect("2.1 RESULT+ 1 {\"progress\":true} [1]\n");
	}
	yield(1, 1, 1, 0, "");
	expect("2.1 RESULT 1\n");
	assert_int_equal(router_expire(router), -1);
	/* A callee that has announced nothing. */
	call(2, 1, 2, "com.b", "{\"receive_progress\":true}", "");
	expect("1.2 INVOKE #1 {\"receive_progress\":true}\n");
	/* The caller's gateway takes nothing. */
	call(2, 1, 3, "com.a", "{\"receive_progress\":true}", "");
	forget();
	full_link = 2;
	yield(1, 1, 2, ROUTE_PROGRESS, "[1]");
	expect("1.1 INTERRUPT #2 {\"mode\":\"killnowait\",\"reason\":\"wamp.error.unavailable\"}\n"
		   "2.1 ERROR 3 wamp.error.unavailable\n");
	yield(1, 2, 1, 0, "[1]");
	expect("2.1 ERROR 2 wamp.error.unavailable\n");
	full_link = -2;
	call(2, 1, 4, "com.a", "", "");
	forget();
	full_link = 2;
	yield(1, 1, 3, 0, "[1]");
	expect("2.1 ERROR 4 wamp.error.unavailable\n");
}

/* Payload passthru: its options go with the payload, if both sessions have it. */
static void
test_opaque(void **state)
{
	static const char options[] = "{\"ppt_scheme\":\"x_a\",\"ppt_keyid\":\"\\u00e9\",\"other\":1,"
								  "\"ppt_cipher\":2,\"receive_progress\":true}";
	static const char passed[] = "\"ppt_scheme\":\"x_a\",\"ppt_keyid\":\"\\u00e9\"}";
	char wanted[500];

	(void) state;
	join_with(1, 1, ROUTE_OPAQUE);
	join_with(1, 2, ROUTE_OPAQUES);
	join_with(2, 1, ROUTE_OPAQUES);
	do_register(1, 1, "com.a", "");
	do_register(1, 2, "com.b", "");
	forget();
	call(2, 1, 1, "com.a", options, "[\"AQ\"]");
	snprintf(wanted, sizeof(wanted), "1.1 INVOKE #1 {\"receive_progress\":true,%s [\"AQ\"]\n",
			 passed);
	expect(wanted);
	receive(1, (WireRoute){.kind = ROUTE_YIELD,
						   .session = 1,
						   .id = 1,
						   .flags = ROUTE_PROGRESS,
						   .options = bytes(options),
						   .payload = bytes("[1]")});
	snprintf(wanted, sizeof(wanted), "2.1 RESULT+ 1 {%.*s,\"progress\":true} [1]\n",
			 (int) strlen(passed) - 1, passed);
	expect(wanted);
	receive(1, (WireRoute){.kind = ROUTE_FAIL,
						   .session = 1,
						   .id = 1,
						   .name = bytes("com.error"),
						   .options = bytes(options)});
	snprintf(wanted, sizeof(wanted), "2.1 ERROR 1 com.error {%s\n", passed);
	expect(wanted);
	/* An empty scheme is none. */
	call(2, 1, 2, "com.a", "{\"ppt_scheme\":\"\",\"ppt_keyid\":\"k\"}", "");
	expect("1.1 INVOKE #2 {}\n");
	yield(1, 1, 2, 0, "");
	expect("2.1 RESULT 2\n");
	/* A function, a callee without it, and a caller. */
	call(2, 1, 3, "exposed", options, "");
	expect("2.1 ERROR 3 wamp.error.feature_not_supported\n");
	call(2, 1, 3, "com.b", options, "");
	expect("2.1 ERROR 3 wamp.error.feature_not_supported\n");
	join(2, 2);
	call(2, 2, 1, "com.a", "", "");
	forget();
	receive(1, (WireRoute){.kind = ROUTE_YIELD, .session = 1, .id = 3, .options = bytes(options)});
	expect("2.2 ERROR 1 wamp.error.feature_not_supported\n");
	/* The call has ended. */
	yield(1, 1, 3, 0, "");
	expect("");
}

static void
test_cancel(void **state)
{
	(void) state;
	join(1, 1);
	join_with(1, 2, 0);
	join(2, 1);
	do_register(1, 1, "com.a", "");
	do_register(1, 2, "com.b", "");
	for (uint64_t i = 1; i <= 5; i++)
		call(2, 1, i, "com.a", "", "");
	for (uint64_t i = 6; i <= 7; i++)
		call(2, 1, i, "com.b", "", "");
	forget();
	cancel(2, 1, 1, "{\"mode\":\"skip\"}");
	expect("2.1 ERROR 1 wamp.error.canceled\n");
	cancel(2, 1, 2, "{\"mode\":\"killnowait\"}");
	expect("1.1 INTERRUPT #2 {\"mode\":\"killnowait\",\"reason\":\"wamp.error.canceled\"}\n"
		   "2.1 ERROR 2 wamp.error.canceled\n");
	cancel(2, 1, 3, "");
	expect("1.1 INTERRUPT #3 {\"mode\":\"killnowait\",\"reason\":\"wamp.error.canceled\"}\n"
		   "2.1 ERROR 3 wamp.error.canceled\n");
	cancel(2, 1, 4, "{\"mode\":\"kill\"}");
	expect("1.1 INTERRUPT #4 {\"mode\":\"kill\",\"reason\":\"wamp.error.canceled\"}\n");
	cancel(2, 1, 4, "{\"mode\":\"kill\"}");
	expect("");
	receive(1,
			(WireRoute){
				.kind = ROUTE_FAIL, .session = 1, .id = 4, .name = bytes("wamp.error.canceled")});
	expect("2.1 ERROR 4 wamp.error.canceled\n");
	for (uint64_t i = 1; i <= 4; i++)
		yield(1, 1, i, 0, "[]");
	cancel(2, 1, 1, "");
	cancel(1, 1, 5, "");
	expect("");
	/* A callee that cannot be interrupted. */
	cancel(2, 1, 6, "{\"mode\":\"kill\"}");
	expect("2.1 ERROR 6 wamp.error.canceled\n");
	assert_int_equal(router_calls(router), 2);
}

static void
test_timeouts(void **state)
{
	char options[64];

	(void) state;
	join(1, 1);
	join(2, 1);
	do_register(1, 1, "com.a", "");
	/* They end in the order of their deadlines, whatever the order in which they began. */
	for (unsigned i = 0; i < 100; i++)
	{
		snprintf(options, sizeof(options), "{\"timeout\":%u}", 1 + i * 37 % 100);
		call(2, 1, 1 + i * 37 % 100, "com.a", options, "");
	}
	call(2, 1, 999, "com.a", "{\"timeout\":0}", "");
	for (uint64_t i = 0; i < 100; i += 3)
		yield(1, 1, i + 1, 0, "");
	forget();
	for (unsigned i = 0; i < 100; i++)
	{
		unsigned place = 0; /* when it began */
		char wanted[160] = "";

		while (1 + place * 37 % 100 != i + 1)
			place++;
		router_set_time(router, 1001 + (int64_t) i, 0);
		(void) router_expire(router);
		if (place % 3 != 0)
			snprintf(
				wanted, sizeof(wanted),
				"1.1 INTERRUPT #%u {\"mode\":\"killnowait\",\"reason\":\"wamp.error.timeout\"}\n"
				"2.1 ERROR %u wamp.error.timeout\n",
				place + 1, i + 1);
		expect(wanted);
	}
	assert_int_equal(router_expire(router), -1);
	assert_int_equal(router_calls(router), 1);
}

static void
test_gone(void **state)
{
	(void) state;
	join(1, 1);
	join(2, 1);
	join(2, 2);
	do_register(1, 1, "com.a", "");
	do_register(2, 2, "com.self", "");
	forget();
	call(2, 1, 1, "com.a", "", "");
	call(2, 2, 1, "com.a", "", "");
	call(2, 2, 2, "com.self", "", "");
	forget();
	/* the caller: also one that calls itself */
	router_leave(router, 2, 2);
	expect("1.1 INTERRUPT #2 {\"mode\":\"killnowait\",\"reason\":\"wamp.error.canceled\"}\n");
	yield(1, 1, 2, 0, "[]");
	expect("");
	/* the callee */
	router_drop_link(router, 1);
	expect("2.1 ERROR 1 wamp.error.canceled\n");
	call(2, 1, 2, "com.a", "", "");
	expect("2.1 ERROR? 2 wamp.error.no_such_procedure\n");
	assert_int_equal(router_calls(router), 0);
	/* A callee that has unregistered still answers. */
	join(1, 1);
	do_register(1, 1, "com.a", "");
	forget();
	call(2, 1, 3, "com.a", "", "");
	receive(1, (WireRoute){.kind = ROUTE_UNREGISTER,
						   .session = 1,
						   .request = 2,
						   .id = uri_id(URI_EXACT, "com.a", 5)});
	yield(1, 1, 1, 0, "[3]");
	expect("1.1 INVOKE #1 {}\n1.1 UNREGISTERED 2\n2.1 RESULT 3 [3]\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sessions, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_registrations, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_shared, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_best_match, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_pattern_rights, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_recheck, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_bounds, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_calls, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_progress, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_opaque, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_cancel, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_timeouts, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_gone, router_begin, router_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
