/* The procedures that the router answers itself, and callers in SQL. */
#include "unit.h"

#include <inttypes.h>

#include "router_host.h"
#include "wire/uri.h"

/* What a session is answered; an error begins with "ERROR". */
static void
asks(const char *name, const char *payload, const char *wanted)
{
	char line[1024];

	sent[0] = '\0';
	call(1, 1, 77, name, "", payload);
	if (strncmp(wanted, "ERROR", 5) == 0)
		snprintf(line, sizeof(line), "1.1 %s\n", wanted);
	else
		snprintf(line, sizeof(line), "1.1 RESULT 77 %s\n", wanted);
	expect(line);
}

static void
test_session_meta(void **state)
{
	(void) state;
	join(1, 1);
	asks("wamp.session.count", "", "[1]");
	join(1, 2);
	join(2, 1);
	asks("wamp.session.count", "[]", "[3]");
	asks("wamp.session.count", "[[\"web\"]]", "[2]");
	asks("wamp.session.count", "[null]", "[3]");
	asks("wamp.session.count", "[1]", "ERROR 77 wamp.error.invalid_argument");
	asks("wamp.session.count", "{}", "ERROR 77 wamp.error.invalid_argument");
	asks("wamp.session.count", "[", "ERROR 77 wamp.error.invalid_argument");
	asks("wamp.session.list", "[[\"app\",\"x\"]]", "[[2001]]");
	asks("wamp.session.list", "", "[[1001,1002,2001]]");
	asks("wamp.session.get", "[2001]",
		 "[{\"session\":2001,\"authid\":\"a1\",\"authrole\":\"app\",\"authmethod\":\"ticket\"}]");
	asks("wamp.session.get", "[5]", "ERROR 77 wamp.error.no_such_session");
	asks("wamp.session.get", "[\"5\"]", "ERROR 77 wamp.error.invalid_argument");
	asks("wamp.session.get", "", "ERROR 77 wamp.error.invalid_argument");
	asks("wamp.session.unknown", "", "ERROR? 77 wamp.error.no_such_procedure");
	asks("wamp.mine", "", "[1001]");
	asks("wamp.fail", "", "ERROR 77 wamp.error.mine");
	/* kill */
	asks("wamp.session.kill", "[1001]", "ERROR 77 wamp.error.no_such_session");
	asks("wamp.session.kill", "[2001],{\"reason\":\"no uri\"}", "ERROR 77 wamp.error.invalid_uri");
	forget();
	call(1, 1, 78, "wamp.session.kill", "", "[2001],{\"reason\":\"com.bye\",\"message\":\"Go\"}");
	expect("2.1 KILL com.bye Go\n1.1 RESULT 78 [null]\n");
	assert_string_equal(published, "wamp.session.on_leave [2001,\"a1\",\"app\"]\n");
	assert_false(router_has(router, 2, 1));
	join(1, 3);
	join(2, 1);
	call(1, 1, 79, "wamp.session.kill_by_authid", "", "[\"a1\"]");
	expect("2.1 KILL wamp.close.normal\n1.1 RESULT 79 [[2001]]\n");
	join(2, 1);
	call(1, 1, 80, "wamp.session.kill_by_authrole", "", "[\"web\"]");
	expect("1.2 KILL wamp.close.normal\n1.3 KILL wamp.close.normal\n1.1 RESULT 80 [2]\n");
	forget();
	call(1, 1, 81, "wamp.session.kill_all", "", "");
	expect("2.1 KILL wamp.close.normal\n1.1 RESULT 81 [1]\n");
	assert_string_equal(published, "");
	assert_int_equal(router_sessions(router), 1);
}

static void
test_registration_meta(void **state)
{
	char payload[64];
	char wanted[256];
	uint64_t a = uri_id(URI_EXACT, "com.a", 5);
	uint64_t b = uri_id(URI_PREFIX, "com.b", 5);

	(void) state;
	join(1, 1);
	join(2, 1);
	asks("wamp.registration.list", "", "[{\"exact\":[],\"prefix\":[],\"wildcard\":[]}]");
	do_register(1, 1, "com.a", "{\"invoke\":\"roundrobin\"}");
	do_register(2, 1, "com.a", "{\"invoke\":\"roundrobin\"}");
	do_register(2, 1, "com.b", "{\"match\":\"prefix\"}");
	snprintf(wanted, sizeof(wanted),
			 "[{\"exact\":[%" PRIu64 "],\"prefix\":[%" PRIu64 "],\"wildcard\":[]}]", a, b);
	asks("wamp.registration.list", "", wanted);
	snprintf(wanted, sizeof(wanted), "[%" PRIu64 "]", a);
	asks("wamp.registration.lookup", "[\"com.a\"]", wanted);
	asks("wamp.registration.match", "[\"com.a\"]", wanted);
	snprintf(wanted, sizeof(wanted), "[%" PRIu64 "]", b);
	asks("wamp.registration.lookup", "[\"com.b\",{\"match\":\"prefix\"}]", wanted);
	asks("wamp.registration.match", "[\"com.bx\"]", wanted);
	asks("wamp.registration.lookup", "[\"com.b\"]", "[null]");
	asks("wamp.registration.lookup", "[\"com.b\",{\"match\":\"x\"}]",
		 "ERROR 77 wamp.error.invalid_argument");
	asks("wamp.registration.match", "[\"com.c\"]", "[null]");
	snprintf(payload, sizeof(payload), "[%" PRIu64 "]", b);
	snprintf(wanted, sizeof(wanted),
			 "[{\"id\":%" PRIu64 ",\"created\":\"1970-01-01T00:00:00.000Z\",\"uri\":\"com.b\","
			 "\"match\":\"prefix\",\"invoke\":\"single\"}]",
			 b);
	asks("wamp.registration.get", payload, wanted);
	asks("wamp.registration.get", "[7]", "ERROR 77 wamp.error.no_such_registration");
	snprintf(payload, sizeof(payload), "[%" PRIu64 "]", a);
	asks("wamp.registration.list_callees", payload, "[[1001,2001]]");
	asks("wamp.registration.count_callees", payload, "[2]");
	asks("wamp.registration.count_callees", "[7]", "ERROR 77 wamp.error.no_such_registration");
}

/* Callers in SQL have no id, and the meta API does not know them. */
static void
test_local(void **state)
{
	(void) state;
	join(1, 1);
	do_register(1, 1, "com.a", "{\"disclose_caller\":true}");
	assert_true(router_join(router, &(RouterJoin){.link = ROUTER_LOCAL,
												  .session = 3,
												  .authid = bytes("postgres"),
												  .authrole = bytes("postgres")}));
	assert_int_equal(router_sessions(router), 1);
	asks("wamp.session.list", "", "[[1001]]");
	asks("wamp.session.kill_all", "", "[0]");
	call(ROUTER_LOCAL, 3, 1, "com.a", "", "[1]");
	expect("1.1 INVOKE #1 {\"caller_authid\":\"postgres\",\"caller_authrole\":\"postgres\"} [1]\n");
	yield(1, 1, 1, 0, "[2]");
	expect("-1.3 RESULT 1 [2]\n");
	forget();
	router_leave(router, ROUTER_LOCAL, 3);
	assert_string_equal(published, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_session_meta, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_registration_meta, router_begin, router_end),
		cmocka_unit_test_setup_teardown(test_local, router_begin, router_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
