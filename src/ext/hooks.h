/*-------------------------------------------------------------------------
 *
 * hooks.h
 *	  DDL that concerns the workers: databases, privileges, what is watched.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_HOOKS_H
#define PG_NOTIFYD_HOOKS_H

#include "postgres.h"

/* What has to be done once the transaction has committed. Bits. */
#define HOOKS_WAKE_FEED         0x01 /* this database's feed has to look at the catalogs again */
#define HOOKS_WAKE_ALL_FEEDS    0x02 /* every feed has */
#define HOOKS_EXTENSION_CREATED 0x04 /* launcher_database_wanted() for this database */
#define HOOKS_SCAN_DATABASES    0x08 /* the launcher has to look at pg_database again */

/* Install the hook; from _PG_init under shared_preload_libraries. */
extern void hooks_init(void);

/*
 * Have this done when the current transaction commits, once its locks are released and
 * its invalidation messages are sent; if it aborts, nothing is done. Where only a
 * savepoint is rolled back it is done all the same: all of it may be done in vain.
 */
extern void hooks_at_commit(int what);

#endif /* PG_NOTIFYD_HOOKS_H */
