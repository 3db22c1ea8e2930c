/*-------------------------------------------------------------------------
 *
 * sockets.h
 *	  The listening sockets over time: following the settings, trying again.
 *
 * For the supervisor alone. Times are its: ms.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SOCKETS_H
#define PG_NOTIFYD_SOCKETS_H

#include "postgres.h"

#include "ext/launcher/bind.h"

typedef struct SocketsBound
{
	BindSet set;
	uint32 generation; /* changes with the set: gateways with another one have to be replaced */
	char *addresses;   /* what the set was bound for; NULL: nothing yet */
	int port;
	bool releasing; /* all gateways have to end, and sockets_release() to be called then */
} SocketsBound;

/* Written by sockets.c alone. */
extern SocketsBound sockets_bound;

/* At the beginning, and when the settings have changed: bind when sockets_tend() is called next. */
extern void sockets_start(int64 now);
extern void sockets_reload(int64 now);

/* Bind, if that is due. True if sockets_bound has been changed. */
extern bool sockets_tend(int64 now);

/* When sockets_tend() should be called again; PG_INT64_MAX: no need. */
extern int64 sockets_due(void);

/* No gateway has the sockets any more: close them, and bind when sockets_tend() is called next. */
extern void sockets_release(int64 now);

/* Close them, at the end. */
extern void sockets_close(void);

#endif /* PG_NOTIFYD_SOCKETS_H */
