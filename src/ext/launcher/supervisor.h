/*-------------------------------------------------------------------------
 *
 * supervisor.h
 *	  The launcher's view of the gateways: all of them, and the sockets that they listen on.
 *
 * Everything here runs in the launcher's process. Times are in ms of a monotonic clock, see
 * supervisor_clock().
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SUPERVISOR_H
#define PG_NOTIFYD_SUPERVISOR_H

#include "postgres.h"

#include "ext/launcher/gateway_process.h"
#include "wire/wire.h"

/* Return the time. The launcher reads it once in each round of its loop, and passes it on. */
extern int64 supervisor_clock(void);

/*
 * Initialise: the directory of the sockets, the handler of SIGCHLD, and a callback that ends the
 * gateways when this process exits. Starts no gateway yet. *callbacks must stay valid.
 */
extern void supervisor_start(const GatewayCallbacks *callbacks, int64 now);

/* The settings may have changed. */
extern void supervisor_reload(int64 now);

/* Send a frame to every gateway. */
extern void supervisor_send_all(const WireMessage *message);

/* Return how many gateways do not respond. */
extern int supervisor_count_silent(void);

/*
 * Called every few seconds: send the gateways the present problem (empty: none), and ask each
 * whether it is alive. Kills those that have not answered for long.
 */
extern void supervisor_send_health(bool looking, const char *trouble, int64 now);

/* Exchange frames with the gateways, without waiting. */
extern void supervisor_communicate(int64 now);

/* Do everything that is due. Returns the number of ms after which to call this again. */
extern long supervisor_tend(int64 now);

/*
 * Wait until the latch is set, supervisor_communicate() has something to do, or timeout ms have
 * passed.
 */
extern void supervisor_wait(long timeout);

#endif /* PG_NOTIFYD_SUPERVISOR_H */
