/* The list of connected clients, sent in pieces while sessions come and go. */
#include "play.h"

#include "gateway/link/clients.h"

#define SESSIONS (2 * CLIENTS_PIECE + 5)

static PlayPipe pipes[SESSIONS + 1];
static char told[SESSIONS + 10]
				[64]; /* "address port channel,channel," for each frame, "end" for the last */
static size_t ntold;
static WireClient last; /* its strings are not kept */

static void
list_send(void *link, const WireMessage *message)
{
	WireBytes channels = message->u.client.channels;
	WireBytes channel;
	size_t len;

	assert_ptr_equal(link, &ntold);
	assert_true(ntold < UNIT_COUNT(told));
	if (message->type == WIRE_CLIENTS_END)
	{
		strcpy(told[ntold++], "end");
		return;
	}
	assert_int_equal(message->type, WIRE_CLIENT);
	last = message->u.client;
	len = (size_t) snprintf(told[ntold], sizeof(told[ntold]), "%.*s %d ", (int) last.address.len,
							last.address.data, last.port);
	while (wire_list_next(&channels, &channel))
		len += (size_t) snprintf(told[ntold] + len, sizeof(told[ntold]) - len, "%.*s,",
								 (int) channel.len, channel.data);
	ntold++;
}

static Session *
open_at(Database *database, PlayPipe *pipe, const char *address)
{
	return play_connect(database, &play_plain, address, pipe);
}

static Database *
open_many(void)
{
	Database *database = play_hello(&play_link_a, 1, 100);

	for (int i = 0; i < SESSIONS; i++)
	{
		char address[32];

		snprintf(address, sizeof(address), "10.0.0.1:%d", i);
		(void) open_at(database, &pipes[i], address);
	}
	ntold = 0;
	return database;
}

static bool
is_told(int i)
{
	char text[64];

	snprintf(text, sizeof(text), "10.0.0.1 %d ", i);
	for (size_t j = 0; j < ntold; j++)
		if (strcmp(told[j], text) == 0)
			return true;
	return false;
}

static void
test_pieces(void **state)
{
	Clients *clients;

	(void) state;
	(void) open_many();
	clients = clients_begin(&play_sessions);
	assert_int_equal(ntold, 0);
	clients_send(clients, list_send, &ntold);
	assert_int_equal(ntold, CLIENTS_PIECE);
	clients_send(clients, list_send, &ntold);
	assert_int_equal(ntold, 2 * CLIENTS_PIECE);
	clients_send(clients, list_send, &ntold);
	assert_int_equal(ntold, SESSIONS + 1);
	assert_string_equal(told[SESSIONS], "end");
	for (int i = 0; i < SESSIONS; i++)
		assert_true(is_told(i));
	/* Nothing follows the end. */
	clients_send(clients, list_send, &ntold);
	assert_int_equal(ntold, SESSIONS + 1);
	clients_end(clients);
}

/* Sessions that leave between two pieces: the last one sent, the next one, and later ones. */
static void
test_leaving(void **state)
{
	Database *database = open_many();
	Clients *clients = clients_begin(&play_sessions);
	Clients *other = clients_begin(&play_sessions);
	int next = SESSIONS - 1;

	(void) state;
	clients_send(clients, list_send, &ntold);
	while (is_told(next))
		next--;
	for (int i = next + 1; i >= next - 2; i--)
		session_closed(pipes[i].session);
	(void) open_at(database, &pipes[SESSIONS], "10.0.0.1:9999");
	sessions_flush(&play_sessions);
	/* A session that is closing is not listed. */
	session_close(pipes[0].session, 1001, "away");
	for (int i = 0; i < 3; i++)
		clients_send(clients, list_send, &ntold);
	assert_int_equal(ntold, SESSIONS - 3 - 1 + 1);
	assert_string_equal(told[ntold - 1], "end");
	assert_true(is_told(1));
	assert_false(is_told(0));
	assert_false(is_told(next));
	assert_true(is_told(next - 3));
	clients_end(clients);

	/* Another list that is not started yet, and is freed after all have left. */
	for (int i = 0; i < SESSIONS; i++)
		if (i > next + 1 || i < next - 2)
			session_closed(pipes[i].session);
	session_closed(pipes[SESSIONS].session);
	sessions_flush(&play_sessions);
	ntold = 0;
	clients_send(other, list_send, &ntold);
	assert_int_equal(ntold, 1);
	clients_end(other);
	/* A session that ends now must not use the freed list. */
	session_closed(open_at(database, &pipes[0], "10.0.0.1:1"));
}

static void
tell(void)
{
	Clients *clients = clients_begin(&play_sessions);

	ntold = 0;
	clients_send(clients, list_send, &ntold);
	clients_end(clients);
	assert_int_equal(ntold, 2);
}

static void
test_addresses(void **state)
{
	static const char *const addresses[][2] = {
		{"[2001:db8::1]:443", "2001:db8::1 443 "},
		{"[fe80::1%eth0]:65535", "fe80::1%eth0 65535 "},
		{"unix", " 0 "},
		{"?", " 0 "},
	};
	Database *database = play_hello(&play_link_a, 1, 100);

	(void) state;
	for (size_t i = 0; i < UNIT_COUNT(addresses); i++)
	{
		(void) open_at(database, &pipes[0], addresses[i][0]);
		tell();
		assert_string_equal(told[0], addresses[i][1]);
		session_closed(pipes[0].session);
	}
}

/* The position is that of what was written, not of what was queued. */
static void
test_numbers(void **state)
{
	Database *database = play_hello(&play_link_a, 1, 100);
	Session *session = play_open(database, &pipes[0]);

	(void) state;
	(void) play_subscribe(session, "{\"method\":\"subscribe\",\"channel\":\"c\"}", 1, false, 100);
	sessions_flush(&play_sessions);
	pipes[0].blocked = true;
	play_event(database, 1, 105, "five");
	play_event(database, 1, 107, "seven");
	sessions_flush(&play_sessions);
	play_position(database, 110);
	tell();
	assert_int_equal(last.position.id, 100);
	assert_int_equal(last.lag, 10);
	assert_int_equal(last.queued, 2 + 4 + 2 + 5 + 2 * sizeof(QueueEntry));
	assert_int_equal(last.messages, 2);
	assert_int_equal(last.bytes, 0);
	play_unblock(&pipes[0]);
	tell();
	assert_int_equal(last.position.id, 110);
	assert_int_equal(last.lag, 0);
	assert_int_equal(last.queued, 0);
	assert_int_equal(last.messages, 2);
	assert_int_equal(last.bytes, 2 + 4 + 2 + 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pieces, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_leaving, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_addresses, play_setup, play_teardown),
		cmocka_unit_test_setup_teardown(test_numbers, play_setup, play_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
