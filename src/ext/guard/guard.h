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

#include "nodes/nodes.h"

/* Whose code runs. */
typedef struct GuardActor
{
	Oid role;
	const char *claims; /* for request.jwt.claims; NULL: none */
	bool opaque;        /* the code may read any setting, and have any effect */
} GuardActor;

/*
 * Whether this process runs the code of many users as a superuser, as the feed does: guard_run() then
 * changes the session's user, too, refuses functions that reach beyond the subtransaction, and
 * releases advisory locks. In a client's session such code cannot become more than that client is.
 */
extern bool guard_isolates;

/*
 * Call function(arg) in a subtransaction that is always rolled back, as the actor. Returns false if it
 * raised an error, which is *error then, or took too long: *error is NULL. What the function and the
 * error leave is in the caller's memory context. Raises the error of a cancellation that comes from
 * elsewhere.
 */
extern bool
guard_run(const GuardActor *actor, void (*function)(void *arg), void *arg, ErrorData **error);

/*
 * For the hook of utility commands: within guard_run(), raise an error for a command that reads or
 * writes files, loads libraries or runs programs of the server.
 */
extern void guard_check_statement(const Node *statement);

#endif /* PG_NOTIFYD_GUARD_H */
