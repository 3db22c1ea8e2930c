/*-------------------------------------------------------------------------
 *
 * launcher_slots.c
 *	  When there are fewer worker slots (max_worker_processes) than databases.
 *
 * Feeds that nobody needs are asked to leave at once, and a database that still waits after some
 * time is logged by its name. The launcher needs a slot itself, which it gets when the server
 * starts or not at all: then the postmaster says so, and later whoever installs the extension or
 * watches a table is warned.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/backoff.h"
#include "ext/base/compat.h"
#include "ext/launcher/databases.h"
#include "ext/launcher/launcher_slots.h"
#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#define SLOTS_LATE_MS 10000 /* a database that has waited so long is logged */
#define SLOTS_NAMED   10    /* so many of them by name */

static TimestampTz slots_retry_at = 0; /* try again then */
static int slots_failures = 0;         /* so often in a row there was none */

/* Set in the postmaster, so every process has it: the launcher could not be registered. */
static bool slots_no_launcher = false;

long
slots_retry(TimestampTz now)
{
	return databases_ms_until(slots_retry_at, now);
}

bool
slots_are_short(void)
{
	return slots_failures > 0;
}

void
slots_found(void)
{
	slots_failures = 0;
}

void
slots_freed(void)
{
	slots_retry_at = 0;
}

void
slots_none(TimestampTz now)
{
	slots_failures++;
	slots_retry_at = TimestampTzPlusMilliseconds(now, backoff_delay(slots_failures));
	pg_atomic_write_u32(&notifyd_shared->slots_short, 1);
	shared_wake_all_feeds();
}

/*
 * Does somebody miss the feed that the database waits for? Not where it is only to look whether the
 * extension is there, or to come for retention.
 */
static bool
slots_has_clients(int index)
{
	const NotifydDatabase *database = &notifyd_shared->databases[index];

	return databases[index].asked ||
		   (database->looked && !database->life.visit && !database->life.excluded);
}

/*
 * Append the names of the databases that wait. Returns how many there are, and whether one was not
 * logged yet.
 */
static int
slots_name_waiting(StringInfo names, TimestampTz now, bool *news)
{
	int n = 0;

	*news = false;
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		LauncherDatabase *mine = &databases[i];

		if (mine->waits_since == 0 || !slots_has_clients(i) ||
			!TimestampDifferenceExceeds(mine->waits_since, now, SLOTS_LATE_MS))
			continue;
		*news |= !mine->waits_logged;
		mine->waits_logged = true;
		if (n++ < SLOTS_NAMED)
			appendStringInfo(names, "%s\"%s\"", n > 1 ? ", " : "", NameStr(mine->name));
	}
	if (n > SLOTS_NAMED)
		appendStringInfo(names, ", and %d more", n - SLOTS_NAMED);
	return n;
}

void
slots_report(TimestampTz now)
{
	StringInfoData names;
	bool news;

	if (!slots_are_short())
		return;
	initStringInfo(&names);
	if (slots_name_waiting(&names, now, &news) > 0 && news)
		ereport(
			LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("pg_notifyd could not start a feed: there is no free background worker slot"),
			 errdetail("These databases wait for one: %s.", names.data),
			 errhint("Increase max_worker_processes, now %d: each database with subscribers needs "
					 "one worker, and pg_notifyd one more. Or set pg_notifyd.databases to serve "
					 "fewer databases. pg_notifyd will retry.",
					 max_worker_processes)));
	pfree(names.data);
}

void
slots_check_launcher(const char *name)
{
	slots_no_launcher = !compat_worker_registered(name);
	if (slots_no_launcher)
		ereport(
			LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("pg_notifyd cannot run: there is no background worker slot for its launcher"),
			 errdetail("Changes are captured, but clients do not receive them."),
			 errhint("Increase max_worker_processes, now %d, and restart the server.",
					 max_worker_processes)));
}

void
slots_warn_missing(void)
{
	if (slots_no_launcher)
		ereport(
			WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg(
				 "pg_notifyd is not running: there was no background worker slot for its launcher"),
			 errdetail("Changes are captured, but clients do not receive them."),
			 errhint("Increase max_worker_processes, now %d, and restart the server.",
					 max_worker_processes)));
}
