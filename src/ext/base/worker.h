/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  What every background worker of pg_notifyd does when it connects.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WORKER_H
#define PG_NOTIFYD_WORKER_H

#include "postgres.h"

/*
 * Connect this background worker to a database as the bootstrap superuser; InvalidOid: to the
 * shared catalogs alone. What is set for the database, for the role or in postgresql.conf does not
 * change what the worker needs, neither now nor at a reload. To be called instead of
 * BackgroundWorkerInitializeConnectionByOid().
 */
extern void worker_connect(Oid database);

#endif /* PG_NOTIFYD_WORKER_H */
