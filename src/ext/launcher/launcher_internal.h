/*-------------------------------------------------------------------------
 *
 * launcher_internal.h
 *	  What the launcher's own files share: launcher.c, launcher_sleep.c and launcher_slots.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LAUNCHER_INTERNAL_H
#define PG_NOTIFYD_LAUNCHER_INTERNAL_H

#include "postgres.h"

#include "ext/launcher/launcher.h"
#include "postmaster/bgworker.h"

#define LAUNCHER_SCAN_MS 60000 /* pg_database is looked at this often even if nobody asks for it */

/* What the launcher itself knows of the database at the same index in shared memory. */
typedef struct LauncherDatabase
{
	Oid oid; /* as last seen in pg_database; else InvalidOid */
	NameData name;
	bool connectable; /* neither a template nor closed to connections */
	bool announced;   /* gateways have been told that it is asleep */
	TimestampTz
		waits_since; /* since when it has waited for its feed to be started; 0: it does not */
	bool waits_logged;
	BackgroundWorkerHandle *handle; /* of the feed that we have started; NULL: none */
	Oid started;                    /* its database */
} LauncherDatabase;

extern LauncherDatabase launcher_databases[NOTIFYD_MAX_DATABASES];

/*
 * How many ms until then? A time further away than any that the launcher sets is due: the clock has
 * been set back.
 */
extern long launcher_ms_until(TimestampTz then, TimestampTz now);

/*
 * ---------------- what gateways know of databases; those that are asleep (launcher_sleep.c)
 * ----------------
 */

/* Is the database left out of pg_notifyd.databases? Its feed, if there is one, then leaves. */
extern void sleep_exclude(int index, bool excluded);

/*
 * Tell the gateways that there is no database of this name any more, or none that they may serve.
 */
extern void sleep_tell_gone(const char *name);

/*
 * Tell gateways which databases are asleep, and wake those whose log needs it. Returns in how many
 * ms one may be due.
 */
extern long sleep_tend(TimestampTz now);

/* ---------------- worker slots (launcher_slots.c) ---------------- */

/* In how many ms to try again to get a slot; 0: now. */
extern long slots_retry(TimestampTz now);

/* A feed was registered; there was no slot for it: feeds that nobody needs are asked to leave. */
extern void slots_found(void);
extern void slots_none(TimestampTz now);

/*
 * Do databases wait for a slot? Tells the log which have done so for long: once for each, until it
 * has had one.
 */
extern bool slots_are_short(void);
extern void slots_report(TimestampTz now);

/* In the postmaster: has it taken the launcher of this name? */
extern void slots_check_launcher(const char *name);

#endif /* PG_NOTIFYD_LAUNCHER_INTERNAL_H */
