/*-------------------------------------------------------------------------
 *
 * launcher_sleep.h
 *	  Databases that have no feed because nobody needs one, and what gateways know of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LAUNCHER_SLEEP_H
#define PG_NOTIFYD_LAUNCHER_SLEEP_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* pg_notifyd.databases leaves the database out, or does not: its feed ends if it is left out. */
extern void sleep_exclude(int index, bool excluded);

/* Tell the gateways that no database of this name is served any more. */
extern void sleep_announce_gone(const char *name);

/* A gateway has become ready: it has to be told which databases are asleep. */
extern void sleep_gateway_ready(void);

/* A gateway needs the feed of the database of this name, which may be asleep. */
extern void sleep_database_needed(const char *name, size_t length);

/*
 * Tell the gateways which databases are asleep, and wake those whose log needs retention. Returns
 * after how many ms to call again.
 */
extern long sleep_tend(TimestampTz now);

#endif /* PG_NOTIFYD_LAUNCHER_SLEEP_H */
