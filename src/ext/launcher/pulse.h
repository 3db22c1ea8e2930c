/*-------------------------------------------------------------------------
 *
 * pulse.h
 *	  Checks whether a feed is alive, and what to do if it is not.
 *
 * A feed writes the time into the shared memory in each round of its loop, at least once a second.
 * The watchdog checks every PULSE_LOOK_MS whether that time has changed:
 *
 *	  checks without a change
 *	  PULSE_SILENT			the feed counts as not responding
 *	  PULSE_CONTINUE		it gets SIGCONT. If it was only stopped, nothing is lost
 *	  PULSE_TERMINATE		it gets SIGTERM, which a busy feed obeys when it is back in its loop.
 *							Never SIGKILL: the postmaster would restart the whole server
 *
 * Checks are counted, not time. So a launcher or a machine that was stopped itself does not
 * consider every feed dead.
 *
 * This file and pulse.c do not depend on PostgreSQL and have no clock, so they can be tested alone
 * and without waiting (test/unit/test_pulse.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_PULSE_H
#define PG_NOTIFYD_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#define PULSE_LOOK_MS   2000
#define PULSE_MISSING   3 /* checks without a feed before the database counts as not served */
#define PULSE_SILENT    3
#define PULSE_CONTINUE  5
#define PULSE_TERMINATE 30

/* The result of one check. */
typedef struct PulseSign
{
	bool running;      /* there is a feed, and it has completed a round */
	uint64_t alive_at; /* when it last did so */
	bool expected;     /* if there is no feed: there should be one */
} PulseSign;

typedef enum PulseState
{
	PULSE_IS_WELL = 0,
	PULSE_IS_SILENT,  /* the feed does not respond */
	PULSE_IS_MISSING, /* the database has had no feed for long */
} PulseState;

typedef enum PulseAction
{
	PULSE_NO_ACTION = 0,
	PULSE_SEND_CONTINUE,
	PULSE_SEND_TERMINATE,
} PulseAction;

/* All zeros: not checked yet. */
typedef struct Pulse
{
	PulseState state;
	uint64_t alive_at; /* at the last check */
	int silent;        /* checks since it has changed */
	int missing;       /* checks without a feed that should exist */
} Pulse;

/* Process the result of a check: set pulse->state, and return what to do. */
extern PulseAction pulse_look(Pulse *pulse, PulseSign sign);

#endif /* PG_NOTIFYD_PULSE_H */
