/*-------------------------------------------------------------------------
 *
 * launcher_scan.h
 *	  The launcher's scan of pg_database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LAUNCHER_SCAN_H
#define PG_NOTIFYD_LAUNCHER_SCAN_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* Read pg_database if that is due: something has changed, or DATABASES_SCAN_MS have passed. */
extern void scan_tend(TimestampTz now);

/* Make the next scan_tend() read it. */
extern void scan_soon(void);

/*
 * The settings may have changed: make the next call read it, and log settings that name something
 * that does not exist.
 */
extern void scan_reload(void);

#endif /* PG_NOTIFYD_LAUNCHER_SCAN_H */
