/* The pool of a database's workers: turns of clients, answers that wait, credit, workers that come and go. */
#include "unit.h"

#include "gateway/query/pool.h"

typedef struct Link
{
	PoolWorker *worker;
	WireMessage last; /* sent to the worker; its texts are not valid */
	char name[8];     /* of the last query */
	uint32_t credit;  /* all that was returned */
	unsigned queries;
	unsigned cancels;
} Link;

/* A query's owner. */
typedef struct Owner
{
	PoolQuery *query;
	unsigned rows;
	int answer; /* its type; 0: none */
	uint8_t reason;
	PoolClient *blocks; /* the answer finds no room */
} Owner;

static uint64_t now;
static unsigned wanted;
static Pools pools;
static Pool pool;
static Link links[2];
static PoolClient clients[3];
static Owner owners[POOL_MAX_WAITING + 4];

static uint64_t
test_now(void)
{
	return now;
}

static void
test_send(void *arg, const WireMessage *message)
{
	Link *link = arg;

	link->last = *message;
	if (message->type == WIRE_QUERY)
	{
		link->queries++;
		snprintf(link->name, sizeof(link->name), "%.*s", (int) message->u.query.name.len,
				 message->u.query.name.data);
	}
	else if (message->type == WIRE_QUERY_CANCEL)
		link->cancels++;
	else if (message->type == WIRE_QUERY_CREDIT)
		link->credit += message->u.query_credit.bytes;
}

static void
test_want(WireBytes database)
{
	(void) database;
	wanted++;
}

static void
test_drop(void *link)
{
	(void) link;
}

static void
owner_rows(void *arg, const WireRows *rows)
{
	Owner *owner = arg;

	(void) rows;
	owner->rows++;
}

static void
owner_answer(void *arg, const WireMessage *answer)
{
	Owner *owner = arg;

	assert_int_equal(owner->answer, 0);
	owner->answer = answer->type;
	owner->query = NULL;
	if (answer->type == WIRE_FAILED)
		owner->reason = answer->u.failed.reason;
	if (owner->blocks != NULL)
		pool_block(owner->blocks);
}

static const PoolEvents events = {.rows = owner_rows, .answer = owner_answer};

static int
setup(void **state)
{
	(void) state;
	now = 1000;
	wanted = 0;
	memset(links, 0, sizeof(links));
	memset(owners, 0, sizeof(owners));
	pools = (Pools){.now = test_now, .send = test_send, .want = test_want, .drop = test_drop};
	pool_init(&pool, &pools, (WireBytes){.data = "postgres", .len = 8});
	for (size_t i = 0; i < UNIT_COUNT(clients); i++)
		pool_client_init(&clients[i]);
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	pool_end(&pool);
	for (size_t i = 0; i < UNIT_COUNT(clients); i++)
		assert_int_equal(clients[i].count, 0);
	return 0;
}

static void
submit(int client, int owner, WireQueryKind kind, const char *name, uint32_t window)
{
	WireQuery wire = {.kind = (uint8_t) kind, .window = window};

	wire.name = (WireBytes){.data = name, .len = (uint32_t) strlen(name)};
	owners[owner].query = pool_submit(&pool, &clients[client], &wire, &events, &owners[owner]);
}

static void
call(int client, int owner, const char *name)
{
	submit(client, owner, WIRE_QUERY_CALL, name, 0);
}

/* The worker answers the query that it runs. */
static void
answer(Link *link)
{
	WireMessage message = {.type = WIRE_RESULT};

	message.u.result.request = link->last.u.query.request;
	assert_true(pool_message(link->worker, &message));
}

static void
start(Link *link)
{
	link->worker = pool_worker(&pool, link);
}

/* A client with many queries does not keep out another, and its queries run in their order, one at a time. */
static void
test_turns(void **state)
{
	static const char *const order[] = {"a1", "b1", "a2", "a3"};

	(void) state;
	call(0, 0, "a1");
	call(0, 1, "a2");
	call(0, 2, "a3");
	call(1, 3, "b1");
	assert_int_equal(wanted, 1);
	start(&links[0]);
	for (size_t i = 0; i < UNIT_COUNT(order); i++)
	{
		assert_string_equal(links[0].name, order[i]);
		answer(&links[0]);
	}
	call(0, 4, "a4");
	call(0, 5, "a5");
	start(&links[1]);
	assert_int_equal(links[1].queries, 0);
	answer(&links[0]);
	answer(links[1].queries > 0 ? &links[1] : &links[0]);
	assert_int_equal(owners[5].answer, WIRE_RESULT);
}

/* No query of a client runs while its last answer waits for room. */
static void
test_blocked(void **state)
{
	(void) state;
	start(&links[0]);
	owners[0].blocks = &clients[0];
	call(0, 0, "a1");
	call(0, 1, "a2");
	answer(&links[0]);
	assert_int_equal(links[0].queries, 1);
	call(1, 2, "b1");
	assert_string_equal(links[0].name, "b1");
	answer(&links[0]);
	assert_int_equal(links[0].queries, 2);
	pool_unblock(&clients[0]);
	assert_string_equal(links[0].name, "a2");
	answer(&links[0]);
}

/* A full pool answers at once, and the query is not one that its owner may cancel. */
static void
test_full(void **state)
{
	(void) state;
	for (int i = 0; i < POOL_MAX_WAITING; i++)
		call(0, i, "a");
	call(1, POOL_MAX_WAITING, "b");
	assert_null(owners[POOL_MAX_WAITING].query);
	assert_int_equal(owners[POOL_MAX_WAITING].reason, WIRE_QUERY_BUSY);
	now += POOL_WAIT_MS;
	pool_tick(&pool);
	assert_int_equal(owners[0].reason, WIRE_QUERY_BUSY);
	assert_int_equal(owners[POOL_MAX_WAITING - 1].reason, WIRE_QUERY_BUSY);
}

/* A snapshot gets its credit back, however small its window is, and also after SPOOLED. */
static void
test_credit(void **state)
{
	static const uint32_t windows[] = {100, 16 * 1024, WIRE_REPLAY_WINDOW};

	(void) state;
	start(&links[0]);
	for (size_t i = 0; i < UNIT_COUNT(windows); i++)
	{
		WireMessage rows = {.type = WIRE_ROWS};
		WireMessage spooled = {.type = WIRE_SPOOLED};
		WireMessage done = {.type = WIRE_SNAPSHOT_DONE};
		uint32_t number;

		links[0].credit = 0;
		submit(0, (int) i, WIRE_QUERY_SNAPSHOT, "s", windows[i]);
		number = links[0].last.u.query.request;
		rows.u.rows.request = spooled.u.spooled.request = done.u.snapshot_done.request = number;
		assert_true(pool_message(links[0].worker, &rows));
		for (uint32_t given = 0; given < windows[i]; given += windows[i] / 50)
			pool_credit(owners[i].query, windows[i] / 50);
		assert_between(links[0].credit, windows[i] / 2, windows[i]);
		assert_true(pool_message(links[0].worker, &spooled));
		/* The worker runs others meanwhile, of the same client too. */
		call(0, 10 + (int) i, "a");
		assert_int_equal(links[0].last.type, WIRE_QUERY);
		answer(&links[0]);
		pool_credit(owners[i].query, windows[i]);
		assert_true(links[0].credit > windows[i]);
		assert_true(pool_message(links[0].worker, &done));
		assert_int_equal(owners[i].answer, WIRE_SNAPSHOT_DONE);
		assert_int_equal(owners[i].rows, 1);
	}
}

/* A worker that says goodbye gives its query back; one that is lost may have executed it. */
static void
test_lost(void **state)
{
	(void) state;
	start(&links[0]);
	call(0, 0, "a1");
	call(0, 1, "a2");
	pool_worker_lost(links[0].worker, true);
	assert_int_equal(owners[0].answer, 0);
	start(&links[1]);
	assert_string_equal(links[1].name, "a1");
	pool_worker_lost(links[1].worker, false);
	assert_int_equal(owners[0].reason, WIRE_QUERY_INTERNAL);
	assert_int_equal(owners[1].answer, 0);
	submit(1, 2, WIRE_QUERY_SNAPSHOT, "s", 100);
	start(&links[0]);
	assert_string_equal(links[0].name, "a2");
	answer(&links[0]);
	assert_string_equal(links[0].name, "s");
	pool_worker_lost(links[0].worker, false);
	assert_int_equal(owners[2].reason, WIRE_QUERY_BUSY);
	call(0, 3, "a3");
	pool_no_worker(&pool, (WireBytes){.data = "none", .len = 4});
	assert_int_equal(owners[3].reason, WIRE_QUERY_BUSY);
}

/* The worker of a cancelled query gets another one when it has answered; its client runs others at once. */
static void
test_cancelled(void **state)
{
	(void) state;
	start(&links[0]);
	call(0, 0, "a1");
	call(0, 1, "a2");
	call(0, 2, "a3");
	pool_cancel(owners[1].query);
	pool_cancel(owners[0].query);
	assert_int_equal(links[0].cancels, 1);
	assert_int_equal(links[0].queries, 1);
	start(&links[1]);
	assert_string_equal(links[1].name, "a3");
	links[0].last.u.query.request = 1;
	answer(&links[0]);
	assert_int_equal(owners[0].answer, 0);
	call(1, 3, "b1");
	assert_string_equal(links[0].name, "b1");
	pool_cancel_all(&clients[0]);
	assert_int_equal(links[1].cancels, 1);
	answer(&links[0]);
	assert_int_equal(owners[3].answer, WIRE_RESULT);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_turns),  TEST(test_blocked), TEST(test_full),
		TEST(test_credit), TEST(test_lost),    TEST(test_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
