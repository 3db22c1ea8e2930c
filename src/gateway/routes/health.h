/*-------------------------------------------------------------------------
 *
 * health.h
 *	  The answer to GET /healthz.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HEALTH_H
#define GATEWAY_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/hub/hub.h"

/*
 * Check whether the database with this name is served and current. With name NULL: whether the
 * launcher reports no problem, at least one database is served, and all known ones are current. If
 * not, reason is the problem, without database names.
 */
extern bool
health_check(Hub *hub, const char *name, size_t name_len, uint64_t now, char *reason, size_t size);

#endif /* GATEWAY_HEALTH_H */
