/*-------------------------------------------------------------------------
 *
 * feed_life.h
 *	  The states of a database's feed, and what leads from one to another.
 *
 *				  started			  attached
 *		WANTED ------------> STARTING -----------------> RUNNING
 *		 ^	^					|							|
 *		 |	|  ended before		|	ended, or gave way		|
 *		 |	-----------------------------------------------	| no extension: ABSENT
 *		 |													| nobody needs it: ASLEEP
 *		 |	CREATE EXTENSION, a subscription, retention		v
 *		 --------------------------------------------- ABSENT, ASLEEP
 *
 * A state that is not in a line below ignores that line's event.
 *
 *	  event				states that it concerns			next state
 *	  STARTED			WANTED							STARTING
 *	  NO_SLOT			STARTING						WANTED
 *	  ATTACHED			all								RUNNING
 *	  ENDED				STARTING, RUNNING				WANTED, after a back-off if it has ended soon
 *	  GAVE_WAY			STARTING, RUNNING				WANTED
 *	  NO_EXTENSION		RUNNING							ABSENT, but WANTED after CREATED
 *	  NOT_NEEDED		RUNNING							ASLEEP, but WANTED after CREATED
 *	  CREATED			WANTED, ABSENT, ASLEEP			WANTED
 *						STARTING, RUNNING				the same, and remembered until STARTED
 *	  NEEDED			ASLEEP, unless excluded			WANTED
 *	  RETENTION_DUE		ASLEEP							WANTED, for a visit
 *
 * Two more things keep a WANTED feed from being started, and are looked at by the launcher: a
 * backend holds the database (NotifydDatabase.hold_pid), or there is no worker slot. An excluded
 * database, which pg_notifyd.databases leaves out, still has a feed at times, for retention.
 *
 * This file and feed_life.c need nothing of PostgreSQL, and the time comes from the caller, so that
 * they are tested alone and without waiting (test/unit/test_feed_life.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_LIFE_H
#define PG_NOTIFYD_FEED_LIFE_H

#include <stdbool.h>
#include <stdint.h>

/* A feed that has run this long has started successfully. In microseconds. */
#define FEED_GOOD_TIME 5000000

typedef enum FeedState
{
	FEED_WANTED = 0, /* to be started; also to find out whether the extension is installed */
	FEED_STARTING,   /* registered with the postmaster */
	FEED_RUNNING,    /* attached; feed_pid and feed_latch are valid */
	FEED_ABSENT,     /* the extension is not installed */
	FEED_ASLEEP,     /* not needed at present */
} FeedState;
#define FEED_STATES (FEED_ASLEEP + 1)

typedef enum FeedEvent
{
	FEED_EVENT_STARTED = 0,   /* the launcher registers it with the postmaster */
	FEED_EVENT_NO_SLOT,       /* the postmaster had no worker slot for it */
	FEED_EVENT_ATTACHED,      /* the process has connected to the database */
	FEED_EVENT_ENDED,         /* the process has ended, and a new one is needed */
	FEED_EVENT_GAVE_WAY,      /* the same, but it did not fail */
	FEED_EVENT_NO_EXTENSION,  /* the process has ended because the extension is not installed */
	FEED_EVENT_NOT_NEEDED,    /* the process has ended because it was not needed */
	FEED_EVENT_CREATED,       /* CREATE EXTENSION has committed */
	FEED_EVENT_NEEDED,        /* a client wants to subscribe */
	FEED_EVENT_RETENTION_DUE, /* retention must check the log */
} FeedEvent;
#define FEED_EVENTS (FEED_EVENT_RETENTION_DUE + 1)

/* All zeros: a feed to be started. Times are in microseconds of the caller's clock. */
typedef struct FeedLife
{
	FeedState state;
	bool created; /* CREATE EXTENSION has committed since the feed was started */
	bool
		excluded; /* the feed is started only for retention, because the database is not in pg_notifyd.databases, allows no connections, or is a template */
	bool visit;   /* this feed too, because the database has no subscribers */
	int failures; /* consecutive starts that ended soon */
	int restarts; /* times that it has ended although it was needed */
	int64_t started_at; /* when the feed was registered, later when it attached */
	int64_t retry_at;   /* WANTED: earliest time of the next start */
} FeedLife;

/* Process an event that happened at this time: change to the next state. */
extern void feed_life_step(FeedLife *life, FeedEvent event, int64_t now);

#endif /* PG_NOTIFYD_FEED_LIFE_H */
