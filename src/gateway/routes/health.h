/*-------------------------------------------------------------------------
 *
 * health.h
 *	  What GET /healthz answers.
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
 * Is the database of this name served and current; without one (name NULL): does the launcher find
 * nothing wrong, is any database served, and is each that is known current? If not, reason says
 * what is wrong, and names no database.
 */
extern bool
health_check(Hub *hub, const char *name, size_t name_len, uint64_t now, char *reason, size_t size);

#endif /* GATEWAY_HEALTH_H */
