/*-------------------------------------------------------------------------
 *
 * launcher_workers.h
 *	  Starts the workers that run clients' queries.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LAUNCHER_WORKERS_H
#define PG_NOTIFYD_LAUNCHER_WORKERS_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* A gateway's queries wait for a worker of the database with this name, which may not exist. */
extern void workers_wanted(const char *name, size_t length);

/* Notice the workers that have ended, and start those that are wanted. */
extern void workers_tend(TimestampTz now);

/* Free the entries of workers that ended while there was no launcher. */
extern void workers_take_over(void);

#endif /* PG_NOTIFYD_LAUNCHER_WORKERS_H */
