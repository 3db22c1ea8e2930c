/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  Connects background workers of pg_notifyd to databases.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WORKER_H
#define PG_NOTIFYD_WORKER_H

#include "postgres.h"

/*
 * Connect this background worker to a database as the bootstrap superuser; InvalidOid: only to the
 * shared catalogs. Settings of the database, of the role and in postgresql.conf do not change what
 * the worker needs, now or after a reload. Call this instead of
 * BackgroundWorkerInitializeConnectionByOid().
 */
extern void worker_connect(Oid database);

/*
 * Begin a transaction, like StartTransactionCommand(), whose now() is the present time. PostgreSQL
 * sets the time that now() returns when a client's statement arrives, so in a background worker it
 * would stand still (xactStartTimestamp in access/transam/xact.c, in 14 to 18).
 */
extern void worker_begin_transaction(void);

#endif /* PG_NOTIFYD_WORKER_H */
