/*-------------------------------------------------------------------------
 *
 * listen.h
 *	  LISTEN inside the server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LISTEN_H
#define PG_NOTIFYD_LISTEN_H

#include "postgres.h"

/* Called with each notification, in the server's encoding. */
typedef void (*ListenCallback)(void *arg, const char *channel, const char *payload);

/* Set the callback for the notifications of this process. */
extern void listen_init(ListenCallback callback, void *arg);

/* Both take effect at the end of the current transaction. */
extern void listen_add(const char *channel);
extern void listen_remove(const char *channel);

/* Read the queue and call the callback. Called outside a transaction. */
extern void listen_drain(void);

#endif /* PG_NOTIFYD_LISTEN_H */
