/*-------------------------------------------------------------------------
 *
 * supervisor.h
 *	  The launcher's care for the gateways: listening sockets, processes, control pipes.
 *
 * All of this is called by the launcher, and runs in its process.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SUPERVISOR_H
#define PG_NOTIFYD_SUPERVISOR_H

#include "postgres.h"

#include "wire/wire.h"

/*
 * Get ready: the directory of the sockets, the handler of SIGCHLD, and a callback that
 * ends the gateways whenever this process exits. Starts nothing yet.
 */
extern void supervisor_start(void);

/* The settings may have changed. */
extern void supervisor_reload(void);

/* Send a frame to every gateway. */
extern void supervisor_tell_all(const WireMessage *message);

/*
 * Every few seconds: kill the gateways that have not answered for long, and return how many do not
 * answer; then tell all of them what is wrong (empty: nothing), and wait for their answers.
 */
extern int supervisor_check_gateways(void);
extern void supervisor_tell_health(const char *trouble);

/* Do everything that is due. Returns after how many ms something is due again. */
extern long supervisor_tend(void);

/* Wait until the latch is set, a gateway has something to say, or timeout ms have passed. */
extern void supervisor_wait(long timeout);

#endif /* PG_NOTIFYD_SUPERVISOR_H */
