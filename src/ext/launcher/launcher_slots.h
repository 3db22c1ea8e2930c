/*-------------------------------------------------------------------------
 *
 * launcher_slots.h
 *	  Handles a lack of background worker slots for feeds.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LAUNCHER_SLOTS_H
#define PG_NOTIFYD_LAUNCHER_SLOTS_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* Return in how many ms to try again to get a slot; 0: now. */
extern long slots_retry(TimestampTz now);

/*
 * slots_found(): a slot was found for a feed. slots_none(): there was none, and feeds without
 * subscribers are asked to end.
 */
extern void slots_found(void);
extern void slots_none(TimestampTz now);

/* A feed has ended: its slot is free. */
extern void slots_freed(void);

/* Return true if databases wait for a slot. */
extern bool slots_are_short(void);

/* Log the databases that have waited long, each once until it has got a slot. */
extern void slots_report(TimestampTz now);

/* Called in the postmaster: log if it has not accepted the launcher with this name. */
extern void slots_check_launcher(const char *name);

/*
 * Called in backends: warn if the launcher got no slot when the server started, because then
 * pg_notifyd does not run.
 */
extern void slots_warn_missing(void);

#endif /* PG_NOTIFYD_LAUNCHER_SLOTS_H */
