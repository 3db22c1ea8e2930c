/*-------------------------------------------------------------------------
 *
 * gateway_life.h
 *	  The states of a gateway's process, and what leads from one to another.
 *
 *		 ABSENT ---- started ----> STARTING ---- said ready ----> READY
 *		   ^  |						  |	 |						   |  |
 *		   |  | start failed		  |	 | unwanted, shutdown,	   |  |
 *		   |  v						  |	 | or its pipe is broken   |  |
 *		BACKING_OFF					  |	 ------> STOPPING <---------  |
 *		   ^						  |				 |				  |
 *		   |				  time	  v		time	 v		 question |
 *		   |				 is up	KILLED <---------- (too many unanswered)
 *		   |						  |
 *		   ------- exited ------------- (and from STARTING, READY and STOPPING)
 *
 * Each round of the supervisor's loop says whether the gateway is WANTED or UNWANTED, and that TIME
 * has passed. A state that is not in a line below ignores that line's event.
 *
 *	  event			states that it concerns				next state		action
 *	  WANTED		ABSENT								the same		START
 *	  UNWANTED		STARTING, READY						STOPPING		STOP
 *	  STARTED		ABSENT								STARTING
 *	  START_FAILED	ABSENT								BACKING_OFF
 *	  SAID_READY	STARTING							READY			ANNOUNCE
 *	  QUESTION		READY								the same		ASK
 *					READY, too many unanswered			KILLED			KILL
 *	  ANSWERED		READY								the same
 *	  PIPE_BROKEN	STARTING, READY						STOPPING
 *	  TIME, if up	BACKING_OFF							ABSENT
 *					STARTING, STOPPING					KILLED			KILL
 *	  EXITED		all with a process					BACKING_OFF
 *	  LEFT			all with a process					BACKING_OFF		REPORT_VERSION
 *	  RELOAD		BACKING_OFF							ABSENT
 *	  SHUTDOWN		STARTING, READY						STOPPING		STOP
 *	  ABANDONED		STARTING, READY, STOPPING			KILLED			KILL
 *
 * This file and gateway_life.c need nothing of PostgreSQL, and the time comes from the caller, so
 * that they are tested alone and without waiting (test/unit/test_gateway_life.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_GATEWAY_LIFE_H
#define PG_NOTIFYD_GATEWAY_LIFE_H

#include <stdbool.h>
#include <stdint.h>

/* In ms. */
#define GATEWAY_READY_TIME  10000 /* from the start until it says that it is ready */
#define GATEWAY_STOP_TIME   2000  /* from the request to stop until the process has ended */
#define GATEWAY_BROKEN_TIME 1000  /* from the end of its control pipe until the process has ended */
#define GATEWAY_GOOD_TIME   5000  /* a gateway that has run this long has started successfully */

/* A gateway with this many unanswered questions is considered not responding, and is killed. */
#define GATEWAY_SILENT 3
#define GATEWAY_DEAD   5

typedef enum GatewayState
{
	GATEWAY_ABSENT = 0,  /* no process */
	GATEWAY_BACKING_OFF, /* no process, and none is started before the deadline */
	GATEWAY_STARTING,    /* must be ready before the deadline */
	GATEWAY_READY,
	GATEWAY_STOPPING, /* must end before the deadline */
	GATEWAY_KILLED,   /* was sent SIGKILL */
} GatewayState;
#define GATEWAY_STATES (GATEWAY_KILLED + 1)

typedef enum GatewayEvent
{
	GATEWAY_WANTED = 0,   /* the settings ask for it, and its sockets are the current ones */
	GATEWAY_UNWANTED,     /* the settings do not ask for it, or it has old sockets */
	GATEWAY_STARTED,      /* the action START was done */
	GATEWAY_START_FAILED, /* the action START could not be done */
	GATEWAY_SAID_READY,
	GATEWAY_QUESTION, /* it is time to ask whether it is alive */
	GATEWAY_ANSWERED,
	GATEWAY_PIPE_BROKEN, /* its control pipe has ended, or carried an invalid frame */
	GATEWAY_TIME,        /* time has passed */
	GATEWAY_EXITED,      /* the process has ended */
	GATEWAY_LEFT, /* it has ended with an exit code that can mean another version: EXITED, unless it was never ready and not stopped */
	GATEWAY_RELOAD,    /* the settings may have changed */
	GATEWAY_SHUTDOWN,  /* the launcher ends */
	GATEWAY_ABANDONED, /* the launcher ends, and the postmaster is gone */
} GatewayEvent;
#define GATEWAY_EVENTS (GATEWAY_ABANDONED + 1)

/* What the caller has to do. */
typedef enum GatewayAction
{
	GATEWAY_NO_ACTION = 0,
	GATEWAY_START,          /* start the process, then report STARTED or START_FAILED */
	GATEWAY_STOP,           /* ask it to close its clients and to end */
	GATEWAY_KILL,           /* send SIGKILL */
	GATEWAY_ANNOUNCE,       /* tell the feeds that it is ready */
	GATEWAY_ASK,            /* ask it whether it is alive */
	GATEWAY_REPORT_VERSION, /* its program is of another version than the library */
} GatewayAction;

/* All zeros: never started. Times are in ms of the caller's clock. */
typedef struct GatewayLife
{
	GatewayState state;
	bool stopped;     /* STOP was done, or the launcher ends */
	bool was_ready;   /* it has been READY */
	int unanswered;   /* questions since its last answer */
	int failures;     /* consecutive starts that failed or ended soon */
	int64_t started;  /* when the process was started */
	int64_t deadline; /* BACKING_OFF, STARTING, STOPPING: the time limit */
} GatewayLife;

/* Process an event that happened at this time: change to the next state, and return what to do. */
extern GatewayAction gateway_life_step(GatewayLife *life, GatewayEvent event, int64_t now);

/* Return when TIME must be reported next, or INT64_MAX. */
extern int64_t gateway_life_due(const GatewayLife *life);

/* Return true if so many questions are unanswered that it is considered not responding. */
extern bool gateway_life_is_silent(const GatewayLife *life);

#endif /* PG_NOTIFYD_GATEWAY_LIFE_H */
