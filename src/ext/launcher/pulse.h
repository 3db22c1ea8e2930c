/*-------------------------------------------------------------------------
 *
 * pulse.h
 *	  Does a feed show signs of life, and what is to be done if it does not?
 *
 * A feed writes the time into the shared memory whenever it goes through its loop, once a second at
 * least. The watchdog looks every PULSE_LOOK_MS whether that time has changed:
 *
 *	  looks without a change
 *	  PULSE_SILENT			the feed counts as not responding
 *	  PULSE_CONTINUE		it is sent SIGCONT. If it had only been stopped, nothing is lost
 *	  PULSE_TERMINATE		it is sent SIGTERM, which a busy feed obeys when it is back in its loop.
 *							Never SIGKILL: the postmaster would restart the whole server
 *
 * Looks are counted, not time. So a launcher that was stopped itself, or a machine that was, does
 * not take every feed for dead.
 *
 * This file and pulse.c need nothing of PostgreSQL and no clock, so that they are tested alone and
 * without waiting (test/unit/test_pulse.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_PULSE_H
#define PG_NOTIFYD_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#define PULSE_LOOK_MS   2000
#define PULSE_MISSING   3 /* looks without a feed, after which the database is not served */
#define PULSE_SILENT    3
#define PULSE_CONTINUE  5
#define PULSE_TERMINATE 30

/* What one look has found. */
typedef struct PulseSign
{
	bool running;      /* there is a feed, and it has gone through its loop */
	uint64_t alive_at; /* when it last did so */
	bool expected;     /* where there is none: there should be one */
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

/* All zeros: nothing was seen yet. */
typedef struct Pulse
{
	PulseState state;
	uint64_t alive_at; /* at the last look */
	int silent;        /* looks since that has changed */
	int missing;       /* looks at which a feed should have been there and was not */
} Pulse;

/* One look has found this: set pulse->state, and return what to do. */
extern PulseAction pulse_look(Pulse *pulse, PulseSign sign);

#endif /* PG_NOTIFYD_PULSE_H */
