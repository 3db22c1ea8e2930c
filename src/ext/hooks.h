/*-------------------------------------------------------------------------
 *
 * hooks.h
 *	  The hook for utility commands, which handles DDL that concerns the workers and watches.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_HOOKS_H
#define PG_NOTIFYD_HOOKS_H

#include "postgres.h"

/* Install the hook. Called by _PG_init() under shared_preload_libraries. */
extern void hooks_init(void);

#endif /* PG_NOTIFYD_HOOKS_H */
