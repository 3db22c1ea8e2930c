/* A feed without signs of life: when it counts as not responding, and which signals it gets. */
#include "unit.h"

#include "ext/launcher/pulse.h"

static PulseAction
look_at_feed(Pulse *pulse, uint64_t alive_at)
{
	return pulse_look(pulse, (PulseSign){.running = true, .alive_at = alive_at});
}

static PulseAction
look_at_gap(Pulse *pulse, bool expected)
{
	return pulse_look(pulse, (PulseSign){.expected = expected});
}

static void
test_well(void **state)
{
	Pulse pulse = {0};

	(void) state;
	for (uint64_t alive_at = 1; alive_at < 100; alive_at++)
	{
		assert_int_equal(look_at_feed(&pulse, alive_at), PULSE_NO_ACTION);
		assert_int_equal(pulse.state, PULSE_IS_WELL);
	}
}

/* It gets SIGCONT once and SIGTERM once, and nothing else. */
static void
test_silent(void **state)
{
	Pulse pulse = {0};

	(void) state;
	(void) look_at_feed(&pulse, 7);
	for (int looks = 1; looks < 200; looks++)
	{
		PulseAction expected = PULSE_NO_ACTION;

		if (looks == PULSE_CONTINUE)
			expected = PULSE_SEND_CONTINUE;
		if (looks == PULSE_TERMINATE)
			expected = PULSE_SEND_TERMINATE;
		assert_int_equal(look_at_feed(&pulse, 7), expected);
		assert_int_equal(pulse.state, looks >= PULSE_SILENT ? PULSE_IS_SILENT : PULSE_IS_WELL);
	}
	assert_int_equal(PULSE_TERMINATE * PULSE_LOOK_MS, 60000);

	/* After one sign of life everything starts again. The clock may have been set back. */
	assert_int_equal(look_at_feed(&pulse, 6), PULSE_NO_ACTION);
	assert_int_equal(pulse.state, PULSE_IS_WELL);
	for (int looks = 1; looks < PULSE_CONTINUE; looks++)
		assert_int_equal(look_at_feed(&pulse, 6), PULSE_NO_ACTION);
	assert_int_equal(look_at_feed(&pulse, 6), PULSE_SEND_CONTINUE);
}

static void
test_missing(void **state)
{
	Pulse pulse = {0};

	(void) state;
	/* A feed that is absent or asleep is not missing. */
	for (int looks = 0; looks < 100; looks++)
		(void) look_at_gap(&pulse, false);
	assert_int_equal(pulse.state, PULSE_IS_WELL);

	for (int looks = 1; looks < 100; looks++)
	{
		assert_int_equal(look_at_gap(&pulse, true), PULSE_NO_ACTION);
		assert_int_equal(pulse.state, looks >= PULSE_MISSING ? PULSE_IS_MISSING : PULSE_IS_WELL);
	}
	(void) look_at_feed(&pulse, 1);
	assert_int_equal(pulse.state, PULSE_IS_WELL);
	(void) look_at_gap(&pulse, true);
	assert_int_equal(pulse.state, PULSE_IS_WELL);
}

/* The silence of an earlier feed does not count against the next one. */
static void
test_replaced(void **state)
{
	Pulse pulse = {0};

	(void) state;
	for (int looks = 0; looks < PULSE_CONTINUE; looks++)
		(void) look_at_feed(&pulse, 7);
	(void) look_at_gap(&pulse, true);
	assert_int_equal(pulse.state, PULSE_IS_WELL);
	assert_int_equal(look_at_feed(&pulse, 7), PULSE_NO_ACTION);
	assert_int_equal(pulse.state, PULSE_IS_WELL);
	assert_int_equal(look_at_feed(&pulse, 9), PULSE_NO_ACTION);
	assert_int_equal(look_at_feed(&pulse, 9), PULSE_NO_ACTION);
	assert_int_equal(pulse.state, PULSE_IS_WELL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_well),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_replaced),
	};

	return cmocka_run_group_tests_name("pulse", tests, NULL, NULL);
}
