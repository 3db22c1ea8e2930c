/* CALL with a timeout, while a worker has it: the gateway measures it, and cancels the query. */
#include "play_wamp.h"

#define NOTHING  UINT64_MAX
#define TIMEOUT1 "[8,48,1,{},\"wamp.error.timeout\",[\"the call has timed out\"]]"

static uint32_t queries[8]; /* numbers of those that the worker got */
static size_t nqueries;
static int cancels;
static PoolWorker *worker;
static Database *database;

static void
worker_send(void *link, const WireMessage *message)
{
	(void) link;
	if (message->type == WIRE_QUERY)
		queries[nqueries++] = message->u.query.request;
	else if (message->type == WIRE_QUERY_CANCEL)
		cancels++;
}

static void
worker_want(WireBytes name)
{
	(void) name;
}

static void
worker_drop(void *link)
{
	(void) link;
}

static uint64_t
worker_now(void)
{
	return play_clock;
}

static int
setup_worker(void **state)
{
	static int link;
	int result = setup(state);

	nqueries = 0;
	cancels = 0;
	play_hub.pools =
		(Pools){.now = worker_now, .send = worker_send, .want = worker_want, .drop = worker_drop};
	database = play_hello(&play_link_a, 1, 100);
	worker = pool_worker(&database->pool, &link);
	return result;
}

static Session *
welcome(PlayPipe *pipe)
{
	Session *session = dial(pipe);

	play_receive(session, "[1,\"db\",{\"roles\":{}}]");
	sessions_flush(&play_sessions);
	assert_non_null(memmem(pipe->out, pipe->len, "\"call_timeout\":true", 19));
	pipe->len = 0;
	play_nsent = 0;
	return session;
}

static void
call(Session *session, int request, const char *options)
{
	char text[128];

	snprintf(text, sizeof(text), "[48,%d,%s,\"com.f\"]", request, options);
	play_receive(session, text);
}

/* The feed says that the call is for a worker. The gateway keeps that for later calls. */
static void
known(uint64_t request)
{
	const WireRoute *asked = &play_sent[play_nsent - 1].u.route;

	assert_int_equal(play_sent[play_nsent - 1].type, WIRE_ROUTE_UP);
	assert_int_equal(asked->kind, ROUTE_CALL);
	play_frame(database,
			   (WireMessage){.type = WIRE_ROUTE_DOWN,
							 .u.route = {.kind = ROUTE_ERROR,
										 .flags = ROUTE_UNKNOWN,
										 .session = asked->session,
										 .request = request,
										 .name = play_bytes("wamp.error.no_such_procedure")}});
}

/* The worker has the result of a query, or does not know the function. */
static void
result(size_t query)
{
	WireMessage message = {.type = WIRE_RESULT,
						   .u.result = {.request = queries[query], .body = play_bytes("7")}};

	assert_true(pool_message(worker, &message));
}

static void
failure(size_t query, WireQueryReason reason)
{
	WireMessage message = {.type = WIRE_FAILED,
						   .u.failed = {.request = queries[query],
										.reason = (uint8_t) reason,
										.message = play_bytes("why"),
										.name = play_bytes("com.f")}};

	assert_true(pool_message(worker, &message));
}

static uint64_t
pass(uint64_t ms)
{
	play_clock += ms;
	return hub_run_due(&play_hub);
}

static void
test_times_out(void **state)
{
	PlayPipe pipe;
	Session *session = welcome(&pipe);

	(void) state;
	assert_true(pass(0) == NOTHING);
	call(session, 1, "{\"timeout\":500}");
	known(1);
	assert_int_equal(nqueries, 1);
	assert_int_equal(pass(0), 500);
	assert_int_equal(pass(499), 1);
	play_expect_nothing(&pipe);
	assert_true(pass(1) == NOTHING);
	play_expect(&pipe, 1, TIMEOUT1);
	assert_int_equal(cancels, 1);
	failure(0, WIRE_QUERY_CANCELLED);
	play_expect_nothing(&pipe);
	assert_int_equal(session->unanswered, 0);
}

/* Also if the name is known to be that of a function. */
static void
test_answered(void **state)
{
	PlayPipe pipe;
	Session *session = welcome(&pipe);

	(void) state;
	call(session, 1, "{\"timeout\":500}");
	known(1);
	result(0);
	play_expect(&pipe, 1, "[50,1,{},[7]]");
	assert_true(pass(1000) == NOTHING);
	call(session, 2, "{\"timeout\":300}");
	assert_int_equal(pass(0), 300);
	result(1);
	play_expect(&pipe, 1, "[50,2,{},[7]]");
	assert_true(pass(1000) == NOTHING);
	call(session, 3, "{\"timeout\":0}");
	assert_true(pass(1000) == NOTHING);
	result(2);
	play_expect(&pipe, 1, "[50,3,{},[7]]");
	assert_int_equal(cancels, 0);
	play_expect_nothing(&pipe);
}

static void
test_order(void **state)
{
	PlayPipe pipe;
	Session *session = welcome(&pipe);

	(void) state;
	call(session, 2, "{\"timeout\":9007199254740992}");
	known(2);
	call(session, 1, "{\"timeout\":100}");
	assert_int_equal(pass(0), 100);
	assert_int_equal(pass(150), UINT64_C(9007199254740992) - 150);
	play_expect(&pipe, 1, TIMEOUT1);
	play_expect_nothing(&pipe);
}

/* The feed measures the timeouts of its calls by itself. */
static void
test_feed(void **state)
{
	PlayPipe pipe;
	Session *session = welcome(&pipe);

	(void) state;
	call(session, 1, "{\"timeout\":500}");
	assert_true(pass(1000) == NOTHING);
	play_expect_nothing(&pipe);
	assert_int_equal(nqueries, 0);
}

/* A client's queries run one by one. The time that a call waits counts, and no worker gets it afterwards. */
static void
test_waits(void **state)
{
	PlayPipe pipe;
	Session *session = welcome(&pipe);

	(void) state;
	call(session, 2, "{}");
	known(2);
	call(session, 1, "{\"timeout\":500}");
	assert_int_equal(nqueries, 1);
	assert_true(pass(500) == NOTHING);
	play_expect(&pipe, 1, TIMEOUT1);
	result(0);
	play_expect(&pipe, 1, "[50,2,{},[7]]");
	assert_int_equal(nqueries, 1);
	assert_int_equal(cancels, 0);
	assert_int_equal(session->unanswered, 0);
}

static void
test_leaves(void **state)
{
	PlayPipe pipe;
	Session *session = welcome(&pipe);

	(void) state;
	call(session, 1, "{\"timeout\":500}");
	known(1);
	play_receive(session, "[6,{},\"wamp.close.close_realm\"]");
	assert_true(pass(1000) == NOTHING);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_times_out, setup_worker, play_teardown),
		cmocka_unit_test_setup_teardown(test_answered, setup_worker, play_teardown),
		cmocka_unit_test_setup_teardown(test_order, setup_worker, play_teardown),
		cmocka_unit_test_setup_teardown(test_feed, setup_worker, play_teardown),
		cmocka_unit_test_setup_teardown(test_waits, setup_worker, play_teardown),
		cmocka_unit_test_setup_teardown(test_leaves, setup_worker, play_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
