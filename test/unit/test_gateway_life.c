/*
 * The states of a gateway's process: every event in every state, and what depends on time.
 */
#include "unit.h"

#include "ext/base/backoff.h"
#include "ext/launcher/gateway_life.h"

#define T 1000000 /* some time, in ms */

/* A gateway in this state, started at T; its deadline was T + GATEWAY_READY_TIME. */
static GatewayLife
in_state(GatewayState state)
{
	return (GatewayLife){
		.state = state,
		.was_ready = state == GATEWAY_READY,
		.started = T,
		.deadline = T + GATEWAY_READY_TIME,
	};
}

typedef struct Expected
{
	GatewayState next;
	GatewayAction action;
} Expected;

#define SAME                                                                                       \
	{                                                                                              \
		-1, GATEWAY_NO_ACTION                                                                      \
	}
#define A GATEWAY_ABSENT
#define B GATEWAY_BACKING_OFF
#define S GATEWAY_STARTING
#define R GATEWAY_READY
#define P GATEWAY_STOPPING
#define K GATEWAY_KILLED

/* In the order of GatewayState, at the deadline. */
static const Expected expected[GATEWAY_EVENTS][GATEWAY_STATES] = {
	[GATEWAY_WANTED] = {{A, GATEWAY_START}, SAME, SAME, SAME, SAME, SAME},
	[GATEWAY_UNWANTED] = {SAME, SAME, {P, GATEWAY_STOP}, {P, GATEWAY_STOP}, SAME, SAME},
	[GATEWAY_STARTED] = {{S, 0}, SAME, SAME, SAME, SAME, SAME},
	[GATEWAY_START_FAILED] = {{B, 0}, SAME, SAME, SAME, SAME, SAME},
	[GATEWAY_SAID_READY] = {SAME, SAME, {R, GATEWAY_ANNOUNCE}, SAME, SAME, SAME},
	[GATEWAY_QUESTION] = {SAME, SAME, SAME, {R, GATEWAY_ASK}, SAME, SAME},
	[GATEWAY_ANSWERED] = {SAME, SAME, SAME, SAME, SAME, SAME},
	[GATEWAY_PIPE_BROKEN] = {SAME, SAME, {P, 0}, {P, 0}, SAME, SAME},
	[GATEWAY_TIME] = {SAME, {A, 0}, {K, GATEWAY_KILL}, SAME, {K, GATEWAY_KILL}, SAME},
	[GATEWAY_EXITED] = {SAME, SAME, {B, 0}, {B, 0}, {B, 0}, {B, 0}},
	[GATEWAY_LEFT] = {SAME,
					  SAME,
					  {B, GATEWAY_REPORT_VERSION},
					  {B, 0},
					  {B, GATEWAY_REPORT_VERSION},
					  {B, GATEWAY_REPORT_VERSION}},
	[GATEWAY_RELOAD] = {SAME, {A, 0}, SAME, SAME, SAME, SAME},
	[GATEWAY_SHUTDOWN] = {SAME, SAME, {P, GATEWAY_STOP}, {P, GATEWAY_STOP}, SAME, SAME},
	[GATEWAY_ABANDONED] =
		{SAME, SAME, {K, GATEWAY_KILL}, {K, GATEWAY_KILL}, {K, GATEWAY_KILL}, SAME},
};

static void
test_every_event_in_every_state(void **state)
{
	(void) state;
	for (int event = 0; event < GATEWAY_EVENTS; event++)
	{
		for (int from = 0; from < GATEWAY_STATES; from++)
		{
			GatewayLife life = in_state((GatewayState) from);
			GatewayAction action =
				gateway_life_step(&life, (GatewayEvent) event, T + GATEWAY_READY_TIME);
			Expected want = expected[event][from];

			if ((int) want.next == -1)
				want.next = (GatewayState) from;
			if (life.state != want.next || action != want.action)
				fail_msg("event %d in state %d: state %d, action %d", event, from, life.state,
						 action);
		}
	}
}

/* A gateway started at this time, after this many failures. */
static GatewayLife
started_at(int64_t time, int failures)
{
	GatewayLife life = {.failures = failures};

	assert_int_equal(gateway_life_step(&life, GATEWAY_WANTED, time), GATEWAY_START);
	(void) gateway_life_step(&life, GATEWAY_STARTED, time);
	return life;
}

static GatewayLife
ready_at(int64_t time, int failures)
{
	GatewayLife life = started_at(time, failures);

	assert_int_equal(gateway_life_step(&life, GATEWAY_SAID_READY, time), GATEWAY_ANNOUNCE);
	return life;
}

/* Check that it is killed at this time, and not before. */
static void
assert_killed_at(GatewayLife *life, int64_t time)
{
	assert_int_equal(gateway_life_due(life), time);
	assert_int_equal(gateway_life_step(life, GATEWAY_TIME, time - 1), GATEWAY_NO_ACTION);
	assert_int_equal(gateway_life_step(life, GATEWAY_TIME, time), GATEWAY_KILL);
	assert_int_equal(life->state, GATEWAY_KILLED);
	assert_true(gateway_life_due(life) == INT64_MAX);
}

/* Check that it may be started again at this time, and not before. */
static void
assert_back_at(GatewayLife *life, int64_t time)
{
	assert_int_equal(life->state, GATEWAY_BACKING_OFF);
	assert_int_equal(gateway_life_due(life), time);
	(void) gateway_life_step(life, GATEWAY_TIME, time - 1);
	assert_int_equal(gateway_life_step(life, GATEWAY_WANTED, time - 1), GATEWAY_NO_ACTION);
	(void) gateway_life_step(life, GATEWAY_TIME, time);
	assert_int_equal(gateway_life_step(life, GATEWAY_WANTED, time), GATEWAY_START);
}

static void
test_deadlines(void **state)
{
	GatewayLife life = started_at(T, 0);

	(void) state;
	assert_killed_at(&life, T + GATEWAY_READY_TIME);

	life = ready_at(T, 0);
	assert_true(gateway_life_due(&life) == INT64_MAX);
	assert_int_equal(gateway_life_step(&life, GATEWAY_UNWANTED, T + 10), GATEWAY_STOP);
	assert_killed_at(&life, T + 10 + GATEWAY_STOP_TIME);

	life = ready_at(T, 0);
	(void) gateway_life_step(&life, GATEWAY_PIPE_BROKEN, T + 10);
	assert_killed_at(&life, T + 10 + GATEWAY_BROKEN_TIME);

	life = (GatewayLife){0};
	assert_true(gateway_life_due(&life) == INT64_MAX);
}

/* A gateway that was asked to stop, or has run long, is replaced at once. */
static void
test_restart_at_once(void **state)
{
	GatewayLife life = ready_at(T, 5);

	(void) state;
	(void) gateway_life_step(&life, GATEWAY_UNWANTED, T + 1);
	(void) gateway_life_step(&life, GATEWAY_LEFT, T + 2);
	assert_int_equal(life.failures, 0);
	assert_back_at(&life, T + 2);

	life = ready_at(T, 5);
	(void) gateway_life_step(&life, GATEWAY_EXITED, T + GATEWAY_GOOD_TIME);
	assert_int_equal(life.failures, 1);
	assert_back_at(&life, T + GATEWAY_GOOD_TIME);
}

static void
test_backing_off(void **state)
{
	GatewayLife life = {0};
	int64_t now = T;

	(void) state;
	/* Gateways that end soon: the first one is replaced at once. */
	for (int i = 1; i < 8; i++)
	{
		(void) gateway_life_step(&life, GATEWAY_STARTED, now);
		(void) gateway_life_step(&life, GATEWAY_EXITED, now + GATEWAY_GOOD_TIME - 1);
		now += GATEWAY_GOOD_TIME - 1 + backoff_restart_delay(i);
		assert_back_at(&life, now);
	}

	/* A reload forgets the failures. */
	(void) gateway_life_step(&life, GATEWAY_STARTED, now);
	(void) gateway_life_step(&life, GATEWAY_EXITED, now);
	assert_int_equal(life.state, GATEWAY_BACKING_OFF);
	(void) gateway_life_step(&life, GATEWAY_RELOAD, now);
	assert_int_equal(life.failures, 0);
	assert_int_equal(gateway_life_step(&life, GATEWAY_WANTED, now), GATEWAY_START);

	/* A process that cannot be started. */
	(void) gateway_life_step(&life, GATEWAY_START_FAILED, now);
	assert_back_at(&life, now + backoff_delay(1));
	now += backoff_delay(1);
	(void) gateway_life_step(&life, GATEWAY_START_FAILED, now);
	assert_back_at(&life, now + backoff_delay(2));
}

/* An exit code that can mean another version does so only without another explanation. */
static void
test_other_version(void **state)
{
	GatewayLife life = started_at(T, 0);

	(void) state;
	(void) gateway_life_step(&life, GATEWAY_PIPE_BROKEN, T + 1);
	assert_int_equal(gateway_life_step(&life, GATEWAY_LEFT, T + 2), GATEWAY_REPORT_VERSION);
	assert_back_at(&life, T + 2 + backoff_delay(1));

	life = started_at(T, 0);
	(void) gateway_life_step(&life, GATEWAY_SHUTDOWN, T + 1);
	assert_int_equal(gateway_life_step(&life, GATEWAY_LEFT, T + 2), GATEWAY_NO_ACTION);

	life = ready_at(T, 0);
	(void) gateway_life_step(&life, GATEWAY_PIPE_BROKEN, T + 1);
	assert_int_equal(gateway_life_step(&life, GATEWAY_LEFT, T + 2), GATEWAY_NO_ACTION);
}

static void
test_questions(void **state)
{
	GatewayLife life = ready_at(T, 0);

	(void) state;
	for (int i = 0; i < 100; i++)
	{
		assert_int_equal(gateway_life_step(&life, GATEWAY_QUESTION, T), GATEWAY_ASK);
		assert_false(gateway_life_is_silent(&life));
		(void) gateway_life_step(&life, GATEWAY_ANSWERED, T);
	}
	for (int i = 1; i <= GATEWAY_DEAD; i++)
	{
		assert_int_equal(gateway_life_step(&life, GATEWAY_QUESTION, T), GATEWAY_ASK);
		assert_int_equal(gateway_life_is_silent(&life), i >= GATEWAY_SILENT);
	}

	/* A late answer counts. */
	(void) gateway_life_step(&life, GATEWAY_ANSWERED, T);
	assert_false(gateway_life_is_silent(&life));
	for (int i = 1; i <= GATEWAY_DEAD; i++)
		(void) gateway_life_step(&life, GATEWAY_QUESTION, T);
	assert_int_equal(gateway_life_step(&life, GATEWAY_QUESTION, T), GATEWAY_KILL);
	assert_int_equal(life.state, GATEWAY_KILLED);
	assert_false(gateway_life_is_silent(&life));

	/* The next process starts from the beginning. */
	(void) gateway_life_step(&life, GATEWAY_EXITED, T + GATEWAY_GOOD_TIME);
	(void) gateway_life_step(&life, GATEWAY_TIME, T + GATEWAY_GOOD_TIME);
	(void) gateway_life_step(&life, GATEWAY_STARTED, T + GATEWAY_GOOD_TIME);
	(void) gateway_life_step(&life, GATEWAY_SAID_READY, T + GATEWAY_GOOD_TIME);
	assert_false(gateway_life_is_silent(&life));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_event_in_every_state),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_restart_at_once),
		cmocka_unit_test(test_backing_off),
		cmocka_unit_test(test_other_version),
		cmocka_unit_test(test_questions),
	};

	return cmocka_run_group_tests_name("gateway_life", tests, NULL, NULL);
}
