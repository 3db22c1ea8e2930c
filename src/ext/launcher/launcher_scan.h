/*-------------------------------------------------------------------------
 *
 * launcher_scan.h
 *	  Which databases there are: the launcher's look at pg_database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LAUNCHER_SCAN_H
#define PG_NOTIFYD_LAUNCHER_SCAN_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* Read pg_database if that is due: if something has changed, or DATABASES_SCAN_MS have passed. */
extern void scan_tend(TimestampTz now);

/* The next scan_tend() has to read it. */
extern void scan_soon(void);

/* The settings may have changed: the next call does so, and logs those that name what is not there. */
extern void scan_reload(void);

#endif /* PG_NOTIFYD_LAUNCHER_SCAN_H */
