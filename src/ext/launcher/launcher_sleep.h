/*-------------------------------------------------------------------------
 *
 * launcher_sleep.h
 *	  Databases without a feed, because they have no subscribers, and what gateways know about
 *	  them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LAUNCHER_SLEEP_H
#define PG_NOTIFYD_LAUNCHER_SLEEP_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* Set whether the database is excluded by pg_notifyd.databases. If it is, its feed ends. */
extern void sleep_exclude(int index, bool excluded);

/* Tell the gateways that no database with this name is served any more. */
extern void sleep_announce_gone(const char *name);

/* A gateway has become ready: send it the databases that are asleep. */
extern void sleep_gateway_ready(void);

/* A gateway needs the feed of the database with this name, which may be asleep. */
extern void sleep_database_needed(const char *name, size_t length);

/*
 * Tell the gateways which databases are asleep, and start feeds for those whose log needs
 * retention. Returns the number of ms after which to call this again.
 */
extern long sleep_tend(TimestampTz now);

#endif /* PG_NOTIFYD_LAUNCHER_SLEEP_H */
