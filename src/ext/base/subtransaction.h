/*-------------------------------------------------------------------------
 *
 * subtransaction.h
 *	  Calls a function that may raise an error, and goes on afterwards.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SUBTRANSACTION_H
#define PG_NOTIFYD_SUBTRANSACTION_H

#include "postgres.h"

/*
 * Call function(arg) in a subtransaction and in the current memory context. Returns NULL, or the
 * error that it raised, in the current memory context. The caller raises again, by ReThrowError(),
 * every error that it does not expect; at least a cancellation or shutdown.
 */
extern ErrorData *
subtransaction_try(void (*function)(void *arg), void *arg) __attribute__((warn_unused_result));

#endif /* PG_NOTIFYD_SUBTRANSACTION_H */
