/*-------------------------------------------------------------------------
 *
 * clients.h
 *	  Asking the gateways for the connected clients.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_CLIENTS_H
#define PG_NOTIFYD_CLIENTS_H

#include "wire/wire.h"

/* Called with a client of a gateway, in a memory context that is reset afterwards. */
typedef void (*ClientsHandler)(void *arg, int gateway, const WireClient *client);

/*
 * Call handler for each client of each gateway. Needs the library's shared memory. A gateway that
 * does not answer in time causes a warning, and an invalid frame an error.
 */
extern void clients_read(ClientsHandler handler, void *arg);

#endif /* PG_NOTIFYD_CLIENTS_H */
