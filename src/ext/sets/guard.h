/*-------------------------------------------------------------------------
 *
 * guard.h
 *	  Running the code of users in the feed: as a role, restricted, and for a bounded time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_GUARD_H
#define PG_NOTIFYD_GUARD_H

#include "postgres.h"

#include "ext/sets/set_error.h"

/* Whose code runs. */
typedef struct GuardActor
{
	Oid role;
	const char *claims; /* for request.jwt.claims; NULL: none */
	bool opaque;        /* the code may read any setting: functions, and what is parsed */
} GuardActor;

/*
 * Call function(arg) in a subtransaction that is always rolled back, as the actor. Returns false if it
 * raised an error or took too long, and sets *error, which says that what has failed: "row security
 * of table \"t\"". What the function leaves must be in memory of the caller's. Raises the error of a
 * cancellation that comes from elsewhere.
 */
extern bool guard_run(const GuardActor *actor, void (*function)(void *arg), void *arg,
					  const char *what, SetError *error);

/* Within guard_run(): go on as another actor. */
extern void guard_become(const GuardActor *actor);

#endif /* PG_NOTIFYD_GUARD_H */
