/*-------------------------------------------------------------------------
 *
 * launcher_slots.h
 *	  Feeds when there are fewer background worker slots than databases.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LAUNCHER_SLOTS_H
#define PG_NOTIFYD_LAUNCHER_SLOTS_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* In how many ms to try again to get a slot; 0: now. */
extern long slots_retry(TimestampTz now);

/* A slot was found for a feed; or there was none, and feeds that nobody needs are asked to end. */
extern void slots_found(void);
extern void slots_none(TimestampTz now);

/* A feed has ended: its slot is free. */
extern void slots_freed(void);

/* Do databases wait for a slot? */
extern bool slots_are_short(void);

/* Log the databases that have waited for long, each once until it has had a slot. */
extern void slots_report(TimestampTz now);

/* In the postmaster: has it accepted the launcher of this name? Logs that it has not. */
extern void slots_check_launcher(const char *name);

/*
 * For backends: warn if the launcher got no slot when the server started, because then nothing of
 * pg_notifyd runs.
 */
extern void slots_warn_missing(void);

#endif /* PG_NOTIFYD_LAUNCHER_SLOTS_H */
