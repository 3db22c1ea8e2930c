/*-------------------------------------------------------------------------
 *
 * sockets.h
 *	  The listening sockets over time: follows the settings, and tries again.
 *
 * Used only by the supervisor. Times are in ms of its clock.
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
	uint32 generation; /* changes with the set: gateways with another one must be replaced */
	char *addresses;   /* the setting that the set was bound for; NULL: none yet */
	int port;
	bool releasing; /* all gateways must end, and then sockets_release() is called */
} SocketsBound;

/* Only sockets.c writes it. */
extern SocketsBound sockets_bound;

/*
 * Called at start, and when the settings have changed: the next sockets_tend() binds the sockets.
 */
extern void sockets_start(int64 now);
extern void sockets_reload(int64 now);

/* Bind sockets, if that is due. Returns true if sockets_bound has changed. */
extern bool sockets_tend(int64 now);

/* Return when to call sockets_tend() again, or PG_INT64_MAX. */
extern int64 sockets_due(void);

/* No gateway has the sockets any more: close them. The next sockets_tend() binds the new ones. */
extern void sockets_release(int64 now);

/* Close them at the end. */
extern void sockets_close(void);

#endif /* PG_NOTIFYD_SOCKETS_H */
