/*-------------------------------------------------------------------------
 *
 * launcher_slots.c
 *	  Handles a lack of worker slots (max_worker_processes).
 *
 * Feeds without subscribers are asked to end at once, and a database that still waits after some
 * time is logged. The launcher itself gets a slot when the server starts or not at all. In the
 * latter case the postmaster logs that, and later a session that installs the extension or watches
 * a table gets a warning.
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

#define SLOTS_LATE_MS 10000 /* a database that has waited this long is logged */
#define SLOTS_NAMED   10    /* at most this many by name */

static TimestampTz slots_retry_at = 0; /* time of the next attempt */
static int slots_failures = 0;         /* consecutive attempts without a slot */

/* Set in the postmaster, so every process inherits it: the launcher could not be registered. */
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
 * Return true if clients may wait for the database's feed: not if the feed is only to find out
 * whether the extension is installed, or for retention.
 */
static bool
slots_has_clients(int index)
{
	const NotifydDatabase *database = &notifyd_shared->databases[index];

	return databases[index].asked ||
		   (database->looked && !database->life.visit && !database->life.excluded);
}

/*
 * Append the names of the waiting databases. Returns their number, and sets *news if one was not
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
