/*-------------------------------------------------------------------------
 *
 * databases.h
 *	  What the launcher knows about each database, in addition to the shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_DATABASES_H
#define PG_NOTIFYD_DATABASES_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "ext/base/shared.h"
#include "postmaster/bgworker.h"

/* The launcher reads pg_database this often even if nothing asks it to. In ms. */
#define DATABASES_SCAN_MS 60000

typedef struct LauncherDatabase
{
	Oid oid; /* as last read from pg_database; otherwise InvalidOid */
	NameData name;
	bool connectable;        /* neither a template nor closed to connections */
	bool closed;             /* ALLOW_CONNECTIONS is false, and it is not a template */
	bool announced;          /* the gateways know that it is asleep */
	bool asked;              /* a gateway has asked for its feed, and none was started since */
	bool needed;             /* a gateway needs its feed, until sleep_tend() has seen it */
	TimestampTz waits_since; /* since when its feed could be started; 0: not waiting */
	bool waits_logged;
	BackgroundWorkerHandle *handle; /* of the feed that the launcher has started; NULL: none */
	Oid started;                    /* its database */
} LauncherDatabase;

/* By the index of the database's entry in the shared memory. */
extern LauncherDatabase databases[NOTIFYD_MAX_DATABASES];

/* The name of the database at this index, or NULL if there is none that may have a feed. */
extern const char *databases_name(int index);

/* Return the index of the database with this name, or -1 if there is none that may have a feed. */
extern int databases_find(const char *name, size_t length);

/*
 * How many ms are left until then? 0 also for a time further away than the launcher ever sets,
 * because then the clock has been set back.
 */
extern long databases_ms_until(TimestampTz then, TimestampTz now);

#endif /* PG_NOTIFYD_DATABASES_H */
