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

/* Install the hook; from _PG_init under shared_preload_libraries. */
extern void hooks_init(void);

#endif /* PG_NOTIFYD_HOOKS_H */
