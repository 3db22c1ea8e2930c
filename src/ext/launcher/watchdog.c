/*-------------------------------------------------------------------------
 *
 * watchdog.c
 *	  Checks feeds and gateways. See watchdog.h.
 *
 * pulse.h describes what happens to a feed that shows no sign of life. A gateway must answer a
 * frame on its control pipe, and one that does not is killed (gateway_life.h): it shares no memory,
 * and the next gateway takes over the connections waiting in the sockets' backlogs.
 *
 * The gateways get the present problem for GET /healthz. Its answer is public, so it names no
 * database. The names are in the server's log and in notifyd.stats.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "ext/base/shared.h"
#include "ext/figures/figures.h"
#include "ext/launcher/databases.h"
#include "ext/launcher/pulse.h"
#include "ext/launcher/supervisor.h"
#include "ext/launcher/watchdog.h"
#include "storage/procarray.h"

/*
 * After the server has started, a feed must check every database once. That is not a problem as
 * long as it makes progress. If no check has ended between two rounds, the remaining databases
 * count as missing.
 */
static bool watchdog_progress = true;

static bool watchdog_gateway_waits = false; /* for the present problem */

/* The pulse of the database at the same index in shared memory. */
typedef struct WatchdogDatabase
{
	Oid oid;
	Pulse pulse;
} WatchdogDatabase;

static WatchdogDatabase watchdog_databases[NOTIFYD_MAX_DATABASES];

static void
watchdog_signal_feed(int index, pid_t pid, int signum)
{
	if (BackendPidGetProc(pid) == NULL)
		return;
	ereport(LOG, (errmsg("the feed of database \"%s\" (PID %d) has not responded for %d seconds",
						 databases_name(index), (int) pid,
						 watchdog_databases[index].pulse.silent * PULSE_LOOK_MS / 1000),
				  signum == SIGCONT
					  ? errdetail("The launcher sends SIGCONT, in case the process is stopped.")
					  : errdetail("The launcher ends the process and starts another one.")));
	kill(pid, signum);
}

/* Check the feed of one database, and send it a signal if necessary. */
static PulseState
watchdog_look_at(int index, bool *looking)
{
	NotifydDatabase *database = &notifyd_shared->databases[index];
	WatchdogDatabase *seen = &watchdog_databases[index];
	PulseSign sign = {.alive_at = pg_atomic_read_u64(&database->alive_at)};
	FeedState state;
	pid_t pid;
	Oid oid;

	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	oid = database->oid;
	pid = database->feed_pid;
	state = database->life.state;
	sign.running = state == FEED_RUNNING && sign.alive_at != 0;
	sign.expected = !database->life.excluded && state != FEED_ABSENT && state != FEED_ASLEEP;
	*looking = sign.expected && !database->looked;
	if (*looking && watchdog_progress)
		sign.expected = false;
	LWLockRelease(&notifyd_shared->lock);

	if (seen->oid != oid)
		*seen = (WatchdogDatabase){.oid = oid};
	switch (pulse_look(&seen->pulse, sign))
	{
		case PULSE_SEND_CONTINUE:
			watchdog_signal_feed(index, pid, SIGCONT);
			break;
		case PULSE_SEND_TERMINATE:
			watchdog_signal_feed(index, pid, SIGTERM);
			break;
		case PULSE_NO_ACTION:
			break;
	}
	return seen->pulse.state;
}

/* Return how many databases no feed has checked since the server started. */
static int
watchdog_count_unlooked(void)
{
	int unlooked = 0;

	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		const NotifydDatabase *database = &notifyd_shared->databases[i];

		unlooked += OidIsValid(database->oid) && databases_name(i) != NULL &&
					!database->life.excluded && !database->looked;
	}
	LWLockRelease(&notifyd_shared->lock);
	return unlooked;
}

/* Return true if a feed has waited for its lock for long. It sends nothing meanwhile. */
static bool
watchdog_is_locked(int index)
{
	NotifydDatabase *database = &notifyd_shared->databases[index];
	DatabaseFigures figures;

	if (pg_atomic_read_u64(&database->locked_since) == 0)
		return false;
	figures_database(database, &figures);
	return figures.state == FIGURE_LOCKED;
}

/*
 * Check all databases. Sets text to the problem, or to an empty string. Returns how many databases
 * are still to be checked.
 */
static int
watchdog_look(char *text, size_t size)
{
	int silent_gateways = supervisor_count_silent();
	int silent = 0;
	int missing = 0;
	int locked = 0;
	int looking = 0;

	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		bool unlooked = false;
		PulseState state =
			databases_name(i) == NULL ? PULSE_IS_WELL : watchdog_look_at(i, &unlooked);

		silent += state == PULSE_IS_SILENT;
		missing += state == PULSE_IS_MISSING;
		locked += databases_name(i) != NULL && watchdog_is_locked(i);
		looking += unlooked && state != PULSE_IS_MISSING;
	}
	text[0] = '\0';
	if (missing > 0)
		snprintf(text, size, "databases that are not served: %d", missing);
	else if (silent > 0)
		snprintf(text, size, "feeds that do not respond: %d", silent);
	else if (locked > 0)
		snprintf(text, size, "feeds that wait for a lock: %d", locked);
	else if (silent_gateways > 0)
		snprintf(text, size, "gateways that do not respond: %d", silent_gateways);
	return looking;
}

void
watchdog_gateway_ready(void)
{
	watchdog_gateway_waits = true;
}

long
watchdog_tend(int64 now)
{
	static int64 due = 0;
	static bool starting = true; /* not all databases were checked since the start */
	static int looking = 0;      /* databases still to be checked, as the gateways know */
	static int before = 0;       /* unchecked databases in the last round */
	static char trouble[128];
	int unlooked = watchdog_count_unlooked();
	char text[128];

	if (now < due && !watchdog_gateway_waits && (looking == 0 || unlooked > 0))
		return (long) (due - now);
	if (now >= due)
	{
		watchdog_progress = unlooked < before || before == 0;
		before = unlooked;
		due = now + PULSE_LOOK_MS;
		looking = watchdog_look(trouble, sizeof(trouble));
	}
	watchdog_gateway_waits = false;
	looking = Min(looking, unlooked);
	starting &= unlooked > 0;
	strlcpy(text, trouble, sizeof(text));
	if (trouble[0] == '\0' && starting && looking > 0)
		snprintf(text, sizeof(text), "databases that have not been looked at since the start: %d",
				 looking);
	supervisor_send_health(looking > 0, text, now);
	return (long) (due - now);
}
