/*-------------------------------------------------------------------------
 *
 * relation_change.h
 *	  Tells parts of the library that the definition of a relation has changed.
 *
 * PostgreSQL has room for only ten callbacks in a process (MAX_RELCACHE_CALLBACKS in
 * utils/cache/inval.c), and uses some itself. All parts of this library share one of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_RELATION_CHANGE_H
#define PG_NOTIFYD_RELATION_CHANGE_H

#include "postgres.h"

#include "utils/inval.h"

/*
 * Call a function whenever the relation cache entry of a relation (InvalidOid: of all) is
 * invalidated, until the process ends, with the argument 0. As CacheRegisterRelcacheCallback(), but
 * without its limit. Call it once for each function.
 */
extern void relation_change_register(RelcacheCallbackFunction function);

#endif /* PG_NOTIFYD_RELATION_CHANGE_H */
