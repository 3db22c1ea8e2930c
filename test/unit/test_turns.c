/* Which replay is read for next: the duration of a replay beside others, counted in turns. */
#include "unit.h"

#include "ext/feed/turns.h"

#define LOG_ROWS  100000 /* rows in the log */
#define TURN_ROWS 500
#define OTHERS    300

/* A replay: one of each rows is for it, and it may be sent a limited number at a time. */
typedef struct Play
{
	TurnsSession session;
	TurnsReplay replay;
	uint64_t from;
	uint64_t after;
	uint64_t each; /* 0: none */
	uint64_t window;
	uint64_t credit;
	bool again; /* starts again at its end */
	bool done;
} Play;

static Turns turns;
static Play plays[OTHERS + 1];
static unsigned nplays;
static uint64_t scanned; /* rows */

static void
begin(Play *play)
{
	play->after = play->from;
	play->credit = play->window;
	turns_begin(&turns, &play->replay, &play->session, LOG_ROWS - play->after);
}

static Play *
add(uint64_t from, uint64_t each, uint64_t window, bool again)
{
	Play *play = &plays[nplays++];

	*play = (Play){.from = from, .each = each, .window = window, .again = again};
	turns_open(&turns, &play->session);
	begin(play);
	return play;
}

static void
reset(void)
{
	turns = (Turns){0};
	nplays = 0;
	scanned = 0;
}

/* Let a replay take part in a scan, from where the scan began to end, as far as it has credit. */
static void
join_scan(Play *play, const TurnsReplay *lead, uint64_t end)
{
	uint64_t rows = end - play->after;
	uint64_t sent = play->each > 0 ? rows / play->each : 0;

	if (sent > play->credit)
	{
		sent = play->credit;
		rows = sent * play->each;
	}
	play->credit -= sent;
	play->after += rows;
	turns_served(&turns, &play->replay, lead, LOG_ROWS - play->after, TURN_ROWS, sent,
				 play->credit == 0);
	if (play->after < LOG_ROWS)
		return;
	play->done = true;
	if (play->again)
		begin(play);
}

/* Do a turn; before it, some clients read what was sent. */
static void
turn(void)
{
	TurnsChoice choice = {0};
	TurnsReplay *chosen;
	TurnsReplay lead;
	uint64_t begins = 0;
	uint64_t end;

	for (unsigned i = 0; i < nplays; i++)
	{
		if (plays[i].credit == 0)
			plays[i].credit = plays[i].window;
		if (plays[i].after < LOG_ROWS)
			turns_enter(&turns, &choice, &plays[i].replay, plays[i].after);
	}
	chosen = turns_choose(&turns, &choice);
	assert_non_null(chosen);
	lead = *chosen;
	for (unsigned i = 0; i < nplays; i++)
	{
		if (&plays[i].replay == chosen)
			begins = plays[i].after;
	}
	end = begins + TURN_ROWS < LOG_ROWS ? begins + TURN_ROWS : LOG_ROWS;
	scanned += end - begins;
	for (unsigned i = 0; i < nplays; i++)
	{
		if (plays[i].after >= begins && plays[i].after < end)
			join_scan(&plays[i], &lead, end);
	}
}

/* Return after how many rows a replay is done. */
static uint64_t
until_done(const Play *play)
{
	uint64_t before = scanned;

	while (!play->done)
	{
		turn();
		assert_true(scanned - before < (uint64_t) LOG_ROWS * OTHERS);
	}
	return scanned - before;
}

/*
 * Other replays that want nothing of what they read, and start again and again, at the oldest event
 * or anywhere.
 */
static void
play_others(bool anywhere)
{
	for (unsigned i = 0; i < OTHERS; i++)
		add(anywhere ? (uint64_t) i * 7919 % LOG_ROWS : 0, 0, 1, true);

	/* Let them run for a while. */
	for (int i = 0; i < 2000; i++)
		turn();
}

static void
test_alone(void **state)
{
	(void) state;
	reset();
	assert_int_equal(until_done(add(0, 1, TURN_ROWS, false)), LOG_ROWS);
	reset();
	assert_int_equal(until_done(add(0, 0, 1, false)), LOG_ROWS);
	reset();
	assert_int_equal(until_done(add(LOG_ROWS - 10, 0, 1, false)), 10);
}

/* A client that wants the whole log gets every other turn. */
static void
test_receiving(void **state)
{
	(void) state;
	for (int anywhere = 0; anywhere < 2; anywhere++)
	{
		reset();
		play_others(anywhere);
		assert_true(until_done(add(0, 1, 1000, false)) <= 3 * LOG_ROWS);
	}
}

/* A replay that wants little waits for the group before it, while other sections have turns too. */
static void
test_searching(void **state)
{
	(void) state;
	for (int anywhere = 0; anywhere < 2; anywhere++)
	{
		reset();
		play_others(anywhere);
		assert_true(until_done(add(0, 0, 1, false)) <= 8 * LOG_ROWS);
		reset();
		play_others(anywhere);
		assert_true(until_done(add(0, 100, 2, false)) <= 12 * LOG_ROWS);
	}
}

/*
 * Replays that end and start again at the oldest event, one in every turn, do not keep the scan
 * there.
 */
static void
test_restless(void **state)
{
	Play *play;
	uint64_t before;

	(void) state;
	reset();
	play_others(false);
	play = add(0, 0, 1, false);
	before = scanned;
	for (unsigned i = 0; !play->done; i++)
	{
		begin(&plays[i % OTHERS]);
		turn();
		assert_true(scanned - before <= 8 * LOG_ROWS);
	}
}

/* A replay that is almost done does not wait for those far behind. */
static void
test_near(void **state)
{
	(void) state;
	for (int anywhere = 0; anywhere < 2; anywhere++)
	{
		reset();
		play_others(anywhere);
		assert_true(until_done(add(LOG_ROWS - 1000, 0, 1, false)) <= 50 * 1000);
	}
}

/* All others make progress too, at the cost of a few scans. */
static void
test_all(void **state)
{
	uint64_t before;

	(void) state;
	reset();
	play_others(true);
	for (unsigned i = 0; i < nplays; i++)
		plays[i].done = false;
	before = scanned;
	for (unsigned i = 0; i < nplays; i++)
		(void) until_done(&plays[i]);
	assert_true(scanned - before <= 16 * LOG_ROWS);
}

/* A session has one turn, however many of its replays are receiving. */
static void
test_sessions(void **state)
{
	TurnsReplay many[10];
	TurnsReplay one;
	TurnsSession busy;
	TurnsSession calm;
	unsigned calm_turns = 0;

	(void) state;
	reset();
	turns_open(&turns, &busy);
	turns_open(&turns, &calm);
	turns_begin(&turns, &one, &calm, LOG_ROWS);
	turns_served(&turns, &one, &one, LOG_ROWS, 1, 1, false);
	for (unsigned i = 0; i < UNIT_COUNT(many); i++)
	{
		turns_begin(&turns, &many[i], &busy, LOG_ROWS);
		turns_served(&turns, &many[i], &many[i], LOG_ROWS, 1, 1, false);
	}
	for (unsigned i = 0; i < 40; i++)
	{
		TurnsChoice choice = {0};
		TurnsReplay *chosen;

		turns_enter(&turns, &choice, &one, 0);
		for (unsigned j = 0; j < UNIT_COUNT(many); j++)
			turns_enter(&turns, &choice, &many[j], 0);
		chosen = turns_choose(&turns, &choice);
		calm_turns += chosen == &one;
		turns_served(&turns, chosen, chosen, LOG_ROWS, 1, 1, false);
	}
	assert_int_equal(calm_turns, 20);
	for (unsigned i = 0; i < UNIT_COUNT(many); i++)
		assert_true(many[i].served > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone),     cmocka_unit_test(test_receiving),
		cmocka_unit_test(test_searching), cmocka_unit_test(test_near),
		cmocka_unit_test(test_all),       cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_restless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
