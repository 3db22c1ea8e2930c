/* Calls whose rows are sent one by one, to a client that reads in small pieces. */
#include "play.h"

#include "gateway/hub/hub_internal.h"

#define ROWS 200

static WireQuery query; /* the last one that the worker got */
static uint32_t credit;
static int cancels;

static void
worker_send(void *link, const WireMessage *message)
{
	(void) link;
	if (message->type == WIRE_QUERY)
		query = message->u.query;
	else if (message->type == WIRE_QUERY_CREDIT)
		credit += message->u.query_credit.bytes;
	else if (message->type == WIRE_QUERY_CANCEL)
		cancels++;
}

static void
worker_want(WireBytes database)
{
	(void) database;
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

static Frame *
row_frame(const char *id, WireBytes row)
{
	WireBytes parts[] = {play_bytes(id), play_bytes(":"), row, play_bytes(";")};

	return frame_text(parts, UNIT_COUNT(parts));
}

static Frame *
result_frame(const char *id, const WireResultMsg *result)
{
	(void) result;
	return row_frame(id, play_bytes("result"));
}

static PoolWorker *
begin(Database **database)
{
	static int link;

	credit = 0;
	cancels = 0;
	play_plain.progress = row_frame;
	play_plain.query_result = result_frame;
	play_hub.pools =
		(Pools){.now = worker_now, .send = worker_send, .want = worker_want, .drop = worker_drop};
	*database = play_hello(&play_link_a, 1, 100);
	return pool_worker(&(*database)->pool, &link);
}

static void
call(Session *session, const char *id)
{
	Request request = {.method = REQUEST_CALL, .progressive = true};

	request.id = strdup(id);
	request.name = strdup("f");
	request.body = strdup("[]");
	request.named = strdup("{\"b\":2}");
	hub_request(play_client(session), &request);
	request_free(&request);
}

/* The worker sends these rows, whose texts are numbers. */
static void
rows(PoolWorker *worker, int first, int last)
{
	WireMessage message = {.type = WIRE_ROWS};
	char list[ROWS * 8];
	size_t used = 0;

	for (int i = first; i <= last; i++)
	{
		char text[8];

		snprintf(text, sizeof(text), "%03d", i);
		assert_true(wire_list_append(list, sizeof(list), &used, play_bytes(text)));
	}
	message.u.rows.request = query.request;
	message.u.rows.rows = (WireBytes){.data = list, .len = (uint32_t) used};
	assert_true(pool_message(worker, &message));
}

static void
result(PoolWorker *worker)
{
	WireMessage message = {.type = WIRE_RESULT, .u.result = {.request = query.request}};

	assert_true(pool_message(worker, &message));
}

/* Let the client read so many bytes, again and again, until nothing more comes. */
static void
read_slowly(Session *session, PlayPipe *pipe, size_t room)
{
	size_t before;

	do
	{
		before = pipe->len;
		pipe->blocked = false;
		pipe->limited = true;
		pipe->room = room;
		session_writable(session);
		sessions_flush(&play_sessions);
	} while (pipe->len > before);
}

/* Check the payloads of what was written, which are short. */
static void
expect_frames(PlayPipe *pipe, const char *id, int last, bool end)
{
	char *at = pipe->out;

	for (int i = 1; i <= last; i++)
	{
		char text[16];
		size_t len = (size_t) snprintf(text, sizeof(text), "%s:%03d;", id, i);

		assert_int_equal(at[1], len);
		assert_memory_equal(at + 2, text, len);
		at += 2 + len;
	}
	if (end)
	{
		assert_memory_equal(at + 2 + strlen(id), ":result;", 8);
		at += 2 + strlen(id) + 8;
	}
	assert_int_equal(at - pipe->out, pipe->len);
	pipe->len = 0;
}

static void
test_slow_reader(void **state)
{
	Database *database;
	PoolWorker *worker = begin(&database);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	call(session, "1");
	assert_int_equal(query.progressive, 1);
	assert_int_equal(query.window, hub_window(play_client(session)));
	assert_int_equal(query.named.len, strlen("{\"b\":2}"));
	pipe.blocked = true;
	rows(worker, 1, ROWS / 2);
	sessions_flush(&play_sessions);
	assert_true(credit < ROWS / 2 * 7);
	rows(worker, ROWS / 2 + 1, ROWS);
	result(worker);
	read_slowly(session, &pipe, 100);
	expect_frames(&pipe, "1", ROWS, true);

	/* The next call is as if nothing had been. */
	call(session, "2");
	rows(worker, 1, 3);
	result(worker);
	read_slowly(session, &pipe, 1000);
	expect_frames(&pipe, "2", 3, true);
}

/* The worker gets all credit back while rows come, but for a part of its window. */
static void
test_progress_credit(void **state)
{
	Database *database;
	PoolWorker *worker = begin(&database);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	call(session, "1");
	pipe.blocked = true;
	rows(worker, 1, ROWS);
	assert_true(credit < ROWS * 7 / 2);
	read_slowly(session, &pipe, 100);
	assert_true(credit > ROWS * 7 - query.window / 2);
	expect_frames(&pipe, "1", ROWS, false);
	result(worker);
}

/* Rows of a cancelled call that wait are not sent, and it has no answer. */
static void
test_cancel(void **state)
{
	Database *database;
	PoolWorker *worker = begin(&database);
	PlayPipe pipe;
	Session *session = play_open(database, &pipe);

	(void) state;
	call(session, "1");
	call(session, "2");
	pipe.blocked = true;
	rows(worker, 1, ROWS);
	assert_false(hub_cancel(play_client(session), "3"));
	assert_true(hub_cancel(play_client(session), "1"));
	assert_false(hub_cancel(play_client(session), "1"));
	assert_int_equal(cancels, 1);
	read_slowly(session, &pipe, 100);
	assert_true(pipe.len > 0 && pipe.len < ROWS / 2 * 8);
	pipe.len = 0;
	result(worker);
	assert_int_equal(query.request, 2);
	rows(worker, 1, 2);
	result(worker);
	read_slowly(session, &pipe, 100);
	expect_frames(&pipe, "2", 2, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_slow_reader, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_progress_credit, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_cancel, play_setup, play_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
