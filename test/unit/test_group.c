/* Takers of consumer groups: turns, windows, takers that leave, and who is asked again. */
#include "unit.h"

#include "gateway/query/group.h"

#define GROUP      TEXT("mailers")
#define TEXT(text) ((WireBytes){.data = (text), .len = sizeof(text) - 1})

typedef struct Owner
{
	GroupTaker taker;
	const char *token;
	unsigned taken; /* answers */
	unsigned got;   /* deliveries */
	unsigned failed;
	bool leaves; /* when it is answered */
} Owner;

static uint64_t now;
static Pools pools;
static Pool pool;
static Groups groups;
static PoolWorker *worker;
static WireQuery last; /* sent to the worker; its texts are not valid */
static char token[32];
static char released[128];
static unsigned takes;
static unsigned releases;
static Owner owners[3];

static uint64_t
test_now(void)
{
	return now;
}

static void
test_send(void *link, const WireMessage *message)
{
	(void) link;
	if (message->type != WIRE_QUERY)
		return;
	last = message->u.query;
	if (last.kind == WIRE_QUERY_TAKE)
	{
		takes++;
		snprintf(token, sizeof(token), "%.*s", (int) last.token.len, last.token.data);
	}
	else
	{
		releases++;
		snprintf(released, sizeof(released), "%.*s", (int) last.body.len, last.body.data);
	}
}

static void
test_want(WireBytes database)
{
	(void) database;
}

static void
test_drop(void *link)
{
	(void) link;
}

static WireBytes
owner_token(void *arg)
{
	const Owner *owner = arg;

	return (WireBytes){.data = owner->token, .len = (uint32_t) strlen(owner->token)};
}

static void
owner_taken(void *arg, WireBytes deliveries)
{
	Owner *owner = arg;
	WireBytes id;
	WireBytes delivery;

	owner->taken++;
	while (group_next_delivery(&deliveries, &id, &delivery))
		owner->got++;
	if (owner->leaves)
		group_leave(&owner->taker);
}

static void
owner_failed(void *arg, const WireFailed *failed)
{
	Owner *owner = arg;

	(void) failed;
	owner->failed++;
}

static const GroupTakerEvents events = {
	.token = owner_token, .taken = owner_taken, .failed = owner_failed};

static int
setup(void **state)
{
	(void) state;
	now = 100000;
	takes = 0;
	releases = 0;
	released[0] = '\0';
	memset(owners, 0, sizeof(owners));
	pools = (Pools){.now = test_now, .send = test_send, .want = test_want, .drop = test_drop};
	pool_init(&pool, &pools, TEXT("postgres"));
	memset(&groups, 0, sizeof(groups));
	groups_init(&groups, &pool);
	groups.looked_at = now;
	worker = pool_worker(&pool, &pools);
	for (size_t i = 0; i < UNIT_COUNT(owners); i++)
	{
		owners[i].taker.events = &events;
		owners[i].taker.owner = &owners[i];
		owners[i].token = i < 2 ? "same" : "other";
	}
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(owners); i++)
		group_leave(&owners[i].taker);
	groups_end(&groups);
	pool_end(&pool);
	assert_true(LIST_EMPTY(&groups.groups));
	assert_int_equal(groups.releaser.count, 0);
	return 0;
}

/* The worker answers the query that it runs, with so many deliveries. */
static void
answer(unsigned n, bool more)
{
	WireMessage message = {.type = WIRE_RESULT};
	char list[256];
	size_t used = 0;

	for (unsigned i = 0; i < n; i++)
	{
		char id[2] = {(char) ('1' + i), '\0'};

		assert_true(wire_list_append(list, sizeof(list), &used, (WireBytes){.data = id, .len = 1}));
		assert_true(wire_list_append(list, sizeof(list), &used, TEXT("{}")));
	}
	message.u.result.request = last.request;
	message.u.result.status = more ? WIRE_TAKE_MORE : 0;
	message.u.result.body = (WireBytes){.data = list, .len = (uint32_t) used};
	assert_true(pool_message(worker, &message));
}

static void
refuse(WireQueryReason reason)
{
	WireMessage message = {.type = WIRE_FAILED};

	message.u.failed.request = last.request;
	message.u.failed.reason = (uint8_t) reason;
	assert_true(pool_message(worker, &message));
}

static void
join(int i, uint32_t wanted)
{
	group_join(&groups, GROUP, &owners[i].taker);
	group_want(&owners[i].taker, wanted);
}

/* Each takes once at first; then the feed says when. One event is one take, by turns. */
static void
test_turns(void **state)
{
	(void) state;
	join(0, 5);
	join(1, 5);
	assert_int_equal(takes, 1);
	assert_int_equal(last.limit, 5);
	answer(0, false);
	assert_int_equal(takes, 2);
	answer(0, false);
	assert_int_equal(takes, 2);
	groups_ready(&groups, GROUP);
	assert_int_equal(takes, 3);
	answer(1, false);
	assert_int_equal(takes, 3);
	assert_int_equal(owners[0].got, 1);
	groups_ready(&groups, TEXT("others"));
	assert_int_equal(takes, 3);
	groups_ready(&groups, GROUP);
	answer(1, false);
	assert_int_equal(owners[1].got, 1);
	assert_int_equal(takes, 4);
}

/* Whoever has no room is left out, until it has. */
static void
test_windows(void **state)
{
	(void) state;
	join(0, 2);
	answer(2, true);
	assert_int_equal(takes, 2);
	group_want(&owners[0].taker, 0);
	answer(0, true);
	assert_int_equal(takes, 2);
	group_want(&owners[0].taker, 1);
	assert_int_equal(takes, 3);
	assert_int_equal(last.limit, 1);
	answer(1, false);
	group_want(&owners[0].taker, 2);
	assert_int_equal(takes, 3);
}

/* Where one sees nothing, another token may; the same one does not. */
static void
test_tokens(void **state)
{
	(void) state;
	for (int i = 0; i < 3; i++)
	{
		join(i, 1);
		answer(0, false);
	}
	assert_int_equal(takes, 3);
	groups_ready(&groups, GROUP);
	assert_string_equal(token, "same");
	answer(0, false);
	assert_string_equal(token, "other");
	answer(1, false);
	assert_int_equal(takes, 5);
	assert_int_equal(owners[2].got, 1);
}

/* What a taker that has left gets is given back, and others take. */
static void
test_leaves(void **state)
{
	(void) state;
	join(0, 2);
	join(1, 2);
	group_leave(&owners[0].taker);
	group_leave(&owners[1].taker);
	assert_true(groups_busy(&groups));
	join(1, 2);
	answer(2, false);
	assert_int_equal(owners[0].got, 0);
	assert_int_equal(last.kind, WIRE_QUERY_RELEASE);
	assert_string_equal(released, "{\"ids\":[1,2],\"failed\":false}");
	answer(0, false);
	assert_int_equal(takes, 2);
	owners[1].leaves = true;
	answer(1, false);
	assert_int_equal(owners[1].got, 1);
	assert_true(LIST_EMPTY(&groups.groups));
}

/* A take that has failed is repeated after a while, and not at once. */
static void
test_fails(void **state)
{
	(void) state;
	join(0, 1);
	refuse(WIRE_QUERY_BUSY);
	assert_int_equal(owners[0].failed, 1);
	assert_int_equal(takes, 1);
	groups_tick(&groups, now);
	assert_int_equal(takes, 2);
	answer(0, false);
	now += GROUP_LOOK_MS - 1;
	groups_tick(&groups, now);
	assert_int_equal(takes, 2);
	groups_tick(&groups, now + 1);
	assert_int_equal(takes, 3);
}

/* The database goes. */
static void
test_ends(void **state)
{
	(void) state;
	join(0, 1);
	join(1, 1);
	groups_end(&groups);
	assert_int_equal(owners[0].failed + owners[1].failed, 2);
	assert_null(owners[0].taker.group);
}

/* What is given back while a query does that is gathered, by group and by whether it counts. */
static void
test_releases_gather(void **state)
{
	(void) state;
	groups_release(&groups, GROUP, TEXT("1"), true);
	groups_release(&groups, GROUP, TEXT("2,3"), true);
	groups_release(&groups, TEXT("others"), TEXT("4"), true);
	groups_release(&groups, GROUP, TEXT("5"), false);
	groups_release(&groups, GROUP, TEXT("6"), true);
	assert_string_equal(released, "{\"ids\":[1],\"failed\":true}");
	assert_int_equal(releases, 1);
	answer(0, false);
	assert_string_equal(released, "{\"ids\":[2,3,6],\"failed\":true}");
	answer(0, false);
	assert_string_equal(released, "{\"ids\":[4],\"failed\":true}");
	answer(0, false);
	assert_string_equal(released, "{\"ids\":[5],\"failed\":false}");
	assert_true(groups_busy(&groups));
	answer(0, false);
	assert_int_equal(releases, 4);
	assert_false(groups_busy(&groups));
}

/* Without a worker they wait, for however long. */
static void
test_releases_busy(void **state)
{
	(void) state;
	pool.nwaiting = POOL_MAX_WAITING;
	groups_release(&groups, GROUP, TEXT("1"), true);
	for (int i = 0; i < 100; i++)
		groups_tick(&groups, now);
	groups_release(&groups, GROUP, TEXT("2"), true);
	assert_int_equal(releases, 0);
	pool.nwaiting = 0;
	groups_tick(&groups, now);
	assert_int_equal(releases, 1);
	assert_string_equal(released, "{\"ids\":[1,2],\"failed\":true}");
	answer(0, false);
	groups_tick(&groups, now);
	assert_int_equal(releases, 1);
}

/* If it is not known whether they were given back, this is repeated, but not for ever. */
static void
test_releases_unknown(void **state)
{
	(void) state;
	groups_release(&groups, GROUP, TEXT("1"), true);
	refuse(WIRE_QUERY_INTERNAL);
	assert_int_equal(releases, 1);
	groups_tick(&groups, now);
	assert_int_equal(releases, 2);
	for (int i = 0; i < 100 && releases == (unsigned) i + 2; i++)
	{
		refuse(WIRE_QUERY_INTERNAL);
		groups_tick(&groups, now);
	}
	assert_int_equal(releases, 10);
	groups_release(&groups, GROUP, TEXT("2"), true);
	refuse(WIRE_QUERY_UNKNOWN);
	groups_tick(&groups, now);
	assert_int_equal(releases, 11);
}

/* The database goes while there is something to give back. */
static void
test_releases_end(void **state)
{
	(void) state;
	groups_release(&groups, GROUP, TEXT("1"), true);
	groups_release(&groups, GROUP, TEXT("2"), true);
	groups_end(&groups);
	answer(0, false);
	groups_tick(&groups, now);
	assert_int_equal(releases, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_windows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tokens, setup, teardown),
		cmocka_unit_test_setup_teardown(test_leaves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_releases_gather, setup, teardown),
		cmocka_unit_test_setup_teardown(test_releases_busy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_releases_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(test_releases_end, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
