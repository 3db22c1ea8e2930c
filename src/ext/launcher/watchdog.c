/*-------------------------------------------------------------------------
 *
 * watchdog.c
 *	  How feeds and gateways are, as the launcher finds them. See watchdog.h.
 *
 * A feed leaves the time in shared memory whenever it goes through its loop, which it does once a
 * second at least. A gateway answers a frame on its control pipe. What does not show a sign of life is
 * helped on as far as that is safe:
 *
 *	  gateway	SIGKILL. It shares no memory, and another one takes the connections that wait for it.
 *	  feed		SIGCONT first: nothing is lost if it had only been stopped. Then SIGTERM, which a feed that is busy obeys
 *				when it is back in its loop. Never SIGKILL, because the postmaster would restart the whole server.
 *
 * Rounds of this look are counted, not time. So a launcher that was itself stopped, or a machine
 * that was, does not take everybody else for dead.
 *
 * What is wrong goes to the gateways, for GET /healthz, without the names of databases: anybody may
 * ask for that. The names are in the server's log and in notifyd.stats.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "ext/base/shared.h"
#include "ext/launcher/databases.h"
#include "ext/launcher/supervisor.h"
#include "ext/launcher/watchdog.h"
#include "storage/procarray.h"

#define WATCHDOG_MS        2000 /* between two looks */
#define WATCHDOG_MISSING   3 /* looks at which a database had no feed: it is said not to be served */
#define WATCHDOG_SILENT    3 /* looks without a sign of life of a feed: it is said not to respond, */
#define WATCHDOG_CONTINUE  5  /* is told to continue, */
#define WATCHDOG_TERMINATE 30 /* and to end */

/* What was seen of the database at the same index in shared memory. */
typedef struct WatchdogDatabase
{
	Oid oid;
	uint64 alive_at; /* at the last look */
	int silent;      /* looks since that has changed */
	int missing;     /* looks at which it had no feed */
} WatchdogDatabase;

static WatchdogDatabase watchdog_databases[NOTIFYD_MAX_DATABASES];

static void
watchdog_signal_feed(int index, pid_t pid, int signum)
{
	if (BackendPidGetProc(pid) == NULL)
		return;
	ereport(LOG, (errmsg("the feed of database \"%s\" (PID %d) has not responded for %d seconds",
						 databases_name(index), (int) pid,
						 watchdog_databases[index].silent * WATCHDOG_MS / 1000),
				  signum == SIGCONT
					  ? errdetail("The launcher sends SIGCONT, in case the process is stopped.")
					  : errdetail("The launcher ends the process and starts another one.")));
	kill(pid, signum);
}

/* A database that is to have a feed. True if that feed is there and shows signs of life. */
static bool
watchdog_look_at(int index, bool *missing)
{
	NotifydDatabase *database = &notifyd_shared->databases[index];
	WatchdogDatabase *seen = &watchdog_databases[index];
	uint64 alive_at = pg_atomic_read_u64(&database->alive_at);
	FeedState state;
	bool expected;
	pid_t pid;
	Oid oid;

	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	oid = database->oid;
	state = database->life.state;
	pid = database->feed_pid;
	expected = !database->life.excluded && state != FEED_ABSENT && state != FEED_ASLEEP;
	LWLockRelease(&notifyd_shared->lock);
	if (seen->oid != oid)
		*seen = (WatchdogDatabase){.oid = oid};

	*missing = false;
	if (state == FEED_RUNNING && alive_at != 0)
	{
		seen->missing = 0;
		seen->silent = alive_at == seen->alive_at ? seen->silent + 1 : 0;
		seen->alive_at = alive_at;
		if (seen->silent == WATCHDOG_CONTINUE)
			watchdog_signal_feed(index, pid, SIGCONT);
		if (seen->silent == WATCHDOG_TERMINATE)
			watchdog_signal_feed(index, pid, SIGTERM);
		return seen->silent < WATCHDOG_SILENT;
	}
	seen->silent = 0;
	seen->missing = expected ? seen->missing + 1 : 0;
	*missing = seen->missing >= WATCHDOG_MISSING;
	return !*missing;
}

/* Say what is wrong, or nothing, in text. */
static void
watchdog_look(char *text, size_t size)
{
	int silent_gateways = supervisor_count_silent();
	int silent = 0;
	int missing = 0;

	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		bool is_missing;

		if (databases_name(i) == NULL || watchdog_look_at(i, &is_missing))
			continue;
		if (is_missing)
			missing++;
		else
			silent++;
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
	due = now + WATCHDOG_MS;
	watchdog_look(trouble, sizeof(trouble));
	supervisor_send_health(trouble, now);
	return WATCHDOG_MS;
}
