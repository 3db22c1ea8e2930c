/*-------------------------------------------------------------------------
 *
 * watchdog.c
 *	  The launcher's look at feeds and gateways. See watchdog.h.
 *
 * What happens to a feed that shows no sign of life is in pulse.h. A gateway has to answer a frame
 * on its control pipe, and one that does not is killed (gateway_life.h): it shares no memory, and
 * the next gateway takes over the connections that wait in the sockets' backlogs.
 *
 * The gateways are told what is wrong, for GET /healthz. Anybody may ask for that, so it names no
 * database. The names are in the server's log and in notifyd.stats.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "ext/base/shared.h"
#include "ext/launcher/databases.h"
#include "ext/launcher/pulse.h"
#include "ext/launcher/supervisor.h"
#include "ext/launcher/watchdog.h"
#include "storage/procarray.h"

/* What was seen of the database at the same index in shared memory. */
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

/* Look at the feed of one database, and send it the signal that it needs. */
static PulseState
watchdog_look_at(int index)
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

/* Look at all of them. What is wrong is in text then, or nothing. */
static void
watchdog_look(char *text, size_t size)
{
	int silent_gateways = supervisor_count_silent();
	int silent = 0;
	int missing = 0;

	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		PulseState state = databases_name(i) == NULL ? PULSE_IS_WELL : watchdog_look_at(i);

		silent += state == PULSE_IS_SILENT;
		missing += state == PULSE_IS_MISSING;
	}
	text[0] = '\0';
	if (missing > 0)
		snprintf(text, size, "databases that are not served: %d", missing);
	else if (silent > 0)
		snprintf(text, size, "feeds that do not respond: %d", silent);
	else if (silent_gateways > 0)
		snprintf(text, size, "gateways that do not respond: %d", silent_gateways);
}

long
watchdog_tend(int64 now)
{
	static int64 due = 0;
	char trouble[128];

	if (now < due)
		return (long) (due - now);
	due = now + PULSE_LOOK_MS;
	watchdog_look(trouble, sizeof(trouble));
	supervisor_send_health(trouble, now);
	return PULSE_LOOK_MS;
}
