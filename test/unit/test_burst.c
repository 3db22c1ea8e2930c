/* Bursts: what a turn of the loop has no time for is done in the next ones, in order. */
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/net/peer.h"
#include "play.h"

#define CLIENTS 8

/* ---------------- sessions ---------------- */

static uint64_t nanoseconds;

/* A clock by which four sessions fill the time of a turn. */
static uint64_t
busy_clock(void)
{
	nanoseconds += 6000000;
	return nanoseconds;
}

static size_t
number_written(const PlayPipe *pipes)
{
	size_t n = 0;

	for (int i = 0; i < CLIENTS; i++)
		n += pipes[i].len > 0;
	return n;
}

/* Open sessions that are subscribed, with empty queues. */
static void
open_all(Database *database, Session **sessions, PlayPipe *pipes)
{
	for (int i = 0; i < CLIENTS; i++)
	{
		sessions[i] = play_open(database, &pipes[i]);
		play_subscribe(sessions[i], PLAY_SUBSCRIBE_A, 1, false, 100);
		sessions_flush(&play_sessions);
		pipes[i].len = 0;
	}
}

static void
test_sessions(void **state)
{
	static PlayPipe pipes[CLIENTS];
	Database *database = play_hello(&play_link_a, 1, 100);
	Session *sessions[CLIENTS];

	(void) state;
	open_all(database, sessions, pipes);
	assert_false(sessions_wait(&play_sessions));
	play_sessions.clock = busy_clock;
	play_event(database, 1, 110, "110");
	sessions_flush(&play_sessions);
	assert_int_equal(number_written(pipes), 4);
	assert_true(sessions_wait(&play_sessions));

	/* Those that wait get what has come since at the same time; one of them is freed later. */
	for (int i = 0; i < CLIENTS; i++)
	{
		if (pipes[i].len == 0)
		{
			session_closed(sessions[i]);
			break;
		}
	}
	play_event(database, 1, 120, "120");
	while (sessions_wait(&play_sessions))
		sessions_flush(&play_sessions);
	assert_int_equal(number_written(pipes), CLIENTS - 1);
	play_sessions.clock = NULL;
	for (int i = 0; i < CLIENTS; i++)
	{
		if (pipes[i].len == 0)
			continue;
		play_expect(&pipes[i], 1, "110");
		play_expect(&pipes[i], 1, "120");
		play_expect_nothing(&pipes[i]);
	}
}

/*
 * When all clients together have too much, an event that finds all queues full writes as many as there
 * is time for. The others get it from the log.
 */
static void
test_scarce_memory(void **state)
{
	static PlayPipe pipes[CLIENTS];
	static char filler[4000000];
	Frame *much;
	Database *database = play_hello(&play_link_a, 1, 100);
	Session *sessions[CLIENTS];

	(void) state;
	play_config.client_buffer = 100000;
	much = frame_plain(&(WireBytes){.data = filler, .len = sizeof(filler)}, 1);
	assert_true(frame_memory() > SESSION_TOTAL * play_config.client_buffer);
	open_all(database, sessions, pipes);
	play_sessions.clock = busy_clock;
	play_nsent = 0;
	play_event(database, 1, 110, play_text(40000));
	assert_int_equal(number_written(pipes), 0);
	play_event(database, 1, 120, play_text(40000));
	assert_int_equal(number_written(pipes), 4);
	assert_int_equal(play_nsent, CLIENTS - 4);
	frame_unref(much);
}

/* A client whose socket accepts more is written in its turn, beside all others of which that is true. */
static void
test_writable(void **state)
{
	static PlayPipe pipes[CLIENTS];
	Database *database = play_hello(&play_link_a, 1, 100);
	Session *sessions[CLIENTS];

	(void) state;
	open_all(database, sessions, pipes);
	for (int i = 0; i < CLIENTS; i++)
		pipes[i].blocked = true;
	play_event(database, 1, 110, "110");
	sessions_flush(&play_sessions);
	play_sessions.clock = busy_clock;
	for (int i = 0; i < CLIENTS; i++)
	{
		pipes[i].blocked = false;
		session_writable(sessions[i]);
	}
	assert_int_equal(number_written(pipes), 0);
	sessions_flush(&play_sessions);
	assert_int_equal(number_written(pipes), 4);
	sessions_flush(&play_sessions);
	assert_int_equal(number_written(pipes), CLIENTS);
	assert_false(sessions_wait(&play_sessions));
}

/* ---------------- requests ---------------- */

#define PING   "{\"id\":1,\"method\":\"ping\"}"
#define ANSWER "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"position\":\"1-100\"}}"

/* A turn of the loop, in which the sessions have time for four requests, and as many queues. */
static void
turn(void)
{
	sessions_work(&play_sessions);
	sessions_flush(&play_sessions);
}

/* The clients send a request each. Return which of them wait, as bits. */
static unsigned
ask_all(Session *const *sessions, const PlayPipe *pipes)
{
	unsigned waiting = 0;

	for (int i = 0; i < CLIENTS; i++)
	{
		if (!pipes[i].paused)
			play_receive(sessions[i], PING);
	}
	for (int i = 0; i < CLIENTS; i++)
		waiting |= (unsigned) pipes[i].paused << i;
	return waiting;
}

/*
 * Clients that send requests all the time get their turns in the order of arrival, and none is forgotten.
 */
static void
test_requests(void **state)
{
	static PlayPipe pipes[CLIENTS];
	Database *database = play_hello(&play_link_a, 1, 100);
	Session *sessions[CLIENTS];

	(void) state;
	play_config.client_buffer = 100000;
	for (int i = 0; i < CLIENTS; i++)
		sessions[i] = play_open(database, &pipes[i]);
	play_sessions.clock = busy_clock;
	turn();
	assert_int_equal(ask_all(sessions, pipes), 0xf0);
	assert_true(sessions_wait(&play_sessions));

	/* Those that wait are first in the next turn. Others find no time left. */
	sessions_work(&play_sessions);
	assert_int_equal(ask_all(sessions, pipes), 0xff);
	play_sessions.clock = NULL;
	turn();
	for (int i = 0; i < CLIENTS; i++)
	{
		assert_false(pipes[i].paused);
		play_expect(&pipes[i], 1, ANSWER);
		play_expect(&pipes[i], 1, ANSWER);
		play_expect_nothing(&pipes[i]);
	}
	assert_false(sessions_wait(&play_sessions));
}

/* A client whose request waits may be held, may leave, or be closed. */
static void
test_waiting_request(void **state)
{
	static PlayPipe pipes[CLIENTS];
	Database *database = play_hello(&play_link_a, 1, 100);
	Session *sessions[CLIENTS];

	(void) state;
	for (int i = 0; i < CLIENTS; i++)
		sessions[i] = play_open(database, &pipes[i]);
	play_sessions.clock = busy_clock;
	turn();
	assert_int_equal(ask_all(sessions, pipes), 0xf0);
	play_sessions.clock = NULL;
	session_hold(sessions[4], true);
	session_hold(sessions[5], true);
	session_closed(sessions[5]);
	session_closed(sessions[6]);
	session_close(sessions[7], SESSION_CLOSE_GOING_AWAY, "");
	turn();
	assert_false(sessions_wait(&play_sessions));
	play_expect_nothing(&pipes[4]);
	assert_true(pipes[4].paused);
	assert_int_equal(pipes[7].out[0] & 0xf, FRAME_OPCODE_CLOSE);
	session_hold(sessions[4], false);
	assert_true(sessions_wait(&play_sessions));
	turn();
	play_expect(&pipes[4], 1, ANSWER);
	assert_false(pipes[4].paused);
}

/* ---------------- peers ---------------- */

#define FRAMES 12

typedef struct Reader
{
	Peer *peer;
	uint32_t seen;
	uint32_t close_at; /* 0: never */
	bool closed;
} Reader;

/* Process a frame, which takes 4 ms. */
static bool
on_message(void *arg, const WireMessage *message, const WireMessage *next)
{
	Reader *reader = arg;
	uint64_t end = uv_hrtime() + 4000000;

	assert_int_equal(message->type, WIRE_UNSUBSCRIBE);
	assert_int_equal(message->u.unsubscribe.sub, ++reader->seen);
	assert_true(next == NULL || next->u.unsubscribe.sub == reader->seen + 1);
	while (uv_hrtime() < end)
		;
	return reader->seen != reader->close_at;
}

static void
on_closed(void *arg, const char *why)
{
	Reader *reader = arg;

	(void) why;
	reader->closed = true;
}

/* Send frames to a peer, which is closed after one of them or at the end. */
static void
read_burst(uint32_t close_at)
{
	static const PeerEvents events = {.message = on_message, .closed = on_closed};
	Reader reader = {.close_at = close_at};
	uint32_t in_turn = 0;
	int turns = 0;
	uv_loop_t loop;
	int ends[2];

	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	reader.peer = peer_new(&loop, &events, &reader);
	assert_int_equal(uv_pipe_open(peer_stream(reader.peer), ends[0]), 0);
	assert_true(peer_start(reader.peer));
	for (uint32_t i = 1; i <= FRAMES; i++)
	{
		WireMessage message = {.type = WIRE_UNSUBSCRIBE, .u.unsubscribe.sub = i};
		char frame[64];
		size_t len = wire_encode(&message, frame, sizeof(frame));

		assert_int_equal(write(ends[1], frame, len), len);
	}
	close(ends[1]);
	while (!reader.closed)
	{
		uint32_t before = reader.seen;

		peers_work();
		(void) uv_run(&loop, peers_wait() ? UV_RUN_NOWAIT : UV_RUN_ONCE);
		if (reader.seen - before > in_turn)
			in_turn = reader.seen - before;
		turns++;
	}
	assert_between(in_turn, 1, 5);
	assert_true(turns >= 3);
	assert_int_equal(reader.seen, close_at != 0 ? close_at : FRAMES);
	assert_false(peers_wait());
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void
test_peer(void **state)
{
	(void) state;
	read_burst(0);
	read_burst(FRAMES - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sessions, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_scarce_memory, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_writable, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_requests, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_waiting_request, play_setup, play_teardown),
		cmocka_unit_test(test_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
