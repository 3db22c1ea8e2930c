/*-------------------------------------------------------------------------
 *
 * wait_first.h
 *	  What a commit would wait for, done before its transaction delays others.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WAIT_FIRST_H
#define PG_NOTIFYD_WAIT_FIRST_H

#include "postgres.h"

#include "ext/base/shared.h"

/*
 * Do everything that the commit would wait for after our callback. notifies: the commit will call
 * Async_Notify(). Called at PRE_COMMIT, right before the transaction takes ids.
 */
extern void wait_first(NotifydDatabase *database, bool notifies);

#endif /* PG_NOTIFYD_WAIT_FIRST_H */
