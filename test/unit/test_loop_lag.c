/* How long a turn of the loop takes: all of its phases, but not the time in which it waits. */
#include <unistd.h>

#include "gateway/net/loop_lag.h"
#include "unit.h"

#define STALL_MS 30
#define WAIT_MS  300

static LoopLag lag;
static uv_prepare_t prepare;
static uv_timer_t timer;
static uv_poll_t reader;
static uv_check_t check;
static uv_idle_t idle;
static int stalled; /* the phase that takes long, once */
static int ends[2];

enum
{
	NOWHERE,
	TIMER,
	IDLE,
	PREPARE,
	POLL,
	CHECK,
};

static void
pass(int phase)
{
	uint64_t end = uv_hrtime() + STALL_MS * 1000000ull;

	if (phase != stalled)
		return;
	stalled = NOWHERE;
	while (uv_hrtime() < end)
		;
}

static void
on_timer(uv_timer_t *handle)
{
	(void) handle;
	pass(TIMER);
}

static void
on_idle(uv_idle_t *handle)
{
	pass(IDLE);
	(void) uv_idle_stop(handle);
}

static void
on_prepare(uv_prepare_t *handle)
{
	(void) handle;
	pass(PREPARE);
	loop_lag_turn(&lag);
}

static void
on_poll(uv_poll_t *handle, int status, int events)
{
	char byte;

	(void) handle;
	(void) events;
	assert_int_equal(status, 0);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	pass(POLL);
}

static void
on_check(uv_check_t *handle)
{
	(void) handle;
	pass(CHECK);
}

/* Let the loop have something to do in each phase, and end the turn. Returns its lag. */
static uint32_t
lag_of(uv_loop_t *loop, int phase)
{
	stalled = phase;
	(void) loop_lag_take(&lag);
	assert_int_equal(write(ends[1], "", 1), 1);
	assert_int_equal(uv_timer_start(&timer, on_timer, 0, 0), 0);
	assert_int_equal(uv_idle_start(&idle, on_idle), 0);
	(void) uv_run(loop, UV_RUN_NOWAIT);
	(void) uv_run(loop, UV_RUN_NOWAIT);
	assert_int_equal(stalled, NOWHERE);
	return loop_lag_take(&lag);
}

static void
test_phases(void **state)
{
	uv_loop_t loop;

	(void) state;
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(pipe(ends), 0);
	loop_lag_start(&lag, &loop);
	(void) uv_prepare_init(&loop, &prepare);
	(void) uv_timer_init(&loop, &timer);
	(void) uv_idle_init(&loop, &idle);
	(void) uv_check_init(&loop, &check);
	assert_int_equal(uv_poll_init(&loop, &reader, ends[0]), 0);
	assert_int_equal(uv_poll_start(&reader, UV_READABLE, on_poll), 0);
	(void) uv_prepare_start(&prepare, on_prepare);
	(void) uv_check_start(&check, on_check);
	for (int phase = TIMER; phase <= CHECK; phase++)
		assert_true(lag_of(&loop, phase) >= STALL_MS);

	/* Waiting is no lag. */
	assert_int_equal(uv_timer_start(&timer, on_timer, WAIT_MS, 0), 0);
	(void) uv_run(&loop, UV_RUN_ONCE);
	(void) uv_run(&loop, UV_RUN_NOWAIT);
	assert_true(loop_lag_take(&lag) < WAIT_MS);

	uv_close((uv_handle_t *) &prepare, NULL);
	uv_close((uv_handle_t *) &timer, NULL);
	uv_close((uv_handle_t *) &reader, NULL);
	uv_close((uv_handle_t *) &check, NULL);
	uv_close((uv_handle_t *) &idle, NULL);
	(void) uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	close(ends[0]);
	close(ends[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_phases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
