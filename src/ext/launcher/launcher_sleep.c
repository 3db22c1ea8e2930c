/*-------------------------------------------------------------------------
 *
 * launcher_sleep.c
 *	  Databases without a feed, because they have no subscribers.
 *
 * A feed without a subscription for pg_notifyd.idle_timeout ends (feed_fall_asleep()), and its
 * state is FEED_ASLEEP. The launcher then sends the gateways the database's name and a position
 * (frame ASLEEP), so that they accept clients. It starts a feed again when
 *
 *	  - a gateway requests it (frame WAKE), because a client subscribes. The client waits until the
 *		feed has connected to the gateway. If a feed ends while a client subscribes, the gateway sends
 *		the request when it receives ASLEEP;
 *	  - retention must check the log, because much was written or events are old enough.
 *		Such a feed runs only for a moment (FeedLife.visit).
 *
 * A database that is not in pg_notifyd.databases is treated the same, but the launcher does not
 * tell the gateways about it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/frames.h"
#include "ext/launcher/databases.h"
#include "ext/launcher/launcher_sleep.h"
#include "ext/launcher/supervisor.h"
#include "ext/log/log.h"
#include "utils/timestamp.h"

void
sleep_announce_gone(const char *name)
{
	WireMessage gone = {.type = WIRE_GONE, .u.gone.database = frames_bytes(name)};

	supervisor_send_all(&gone);
}

static void
sleep_announce_asleep(const char *name, NotifydDatabase *database)
{
	WireMessage asleep = {.type = WIRE_ASLEEP, .u.asleep.database = frames_bytes(name)};

	asleep.u.asleep.position.timeline = database->timeline;
	asleep.u.asleep.position.id = pg_atomic_read_u64(&database->position);
	supervisor_send_all(&asleep);
}

void
sleep_exclude(int index, bool excluded)
{
	NotifydDatabase *database = &notifyd_shared->databases[index];
	LauncherDatabase *mine = &databases[index];
	bool changed = false;
	bool known = false;

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	if (database->oid == mine->oid && database->life.excluded != excluded)
	{
		database->life.excluded = excluded;
		mine->announced = false;
		/* A running feed tells the gateways itself. */
		known = database->life.state != FEED_RUNNING;
		changed = true;
	}
	LWLockRelease(&notifyd_shared->lock);
	if (changed)
		shared_wake_feed(database);
	if (known && excluded)
		sleep_announce_gone(NameStr(mine->name));
}

void
sleep_gateway_ready(void)
{
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
		databases[i].announced = false;
}

void
sleep_database_needed(const char *name, size_t length)
{
	int index = databases_find(name, length);

	if (index >= 0)
		databases[index].needed = databases[index].asked = true;
}

/*
 * Return in how many ms to check again whether retention needs a feed for a database that is
 * asleep; 0: now. If the log was empty when its feed ended, retention is needed only after
 * something was written.
 */
static long
sleep_visit_due(NotifydDatabase *database, TimestampTz now)
{
	TimestampTz latest = TimestampTzPlusMilliseconds(now, log_visit_ms());

	Assert(LWLockHeldByMeInMode(&notifyd_shared->lock, LW_EXCLUSIVE));

	if (log_retention_due(database))
		return 0;
	if (database->visit_at == 0 && pg_atomic_read_u64(&database->unmeasured) > 0)
		database->visit_at = latest;
	if (database->visit_at == 0)
		return DATABASES_SCAN_MS;
	if (database->visit_at <= now)
		return 0;
	/* Retention may have been shortened, or the clock set back. */
	database->visit_at = Min(database->visit_at, latest);
	return (long) Min((database->visit_at - now) / 1000 + 1, DATABASES_SCAN_MS);
}

long
sleep_tend(TimestampTz now)
{
	bool announce[NOTIFYD_MAX_DATABASES] = {false};
	long next = DATABASES_SCAN_MS;

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		NotifydDatabase *database = &notifyd_shared->databases[i];
		LauncherDatabase *mine = &databases[i];
		long wait;

		if (mine->needed && database->oid == mine->oid)
		{
			/* Nobody has waited for what was committed while it was asleep. */
			if (database->life.state == FEED_ASLEEP)
				lag_forget(database);
			feed_life_step(&database->life, FEED_EVENT_NEEDED, now);
		}
		mine->needed = false;
		if (!OidIsValid(database->oid) || database->oid != mine->oid || !mine->connectable ||
			database->life.state != FEED_ASLEEP)
		{
			mine->announced = false;
			continue;
		}
		announce[i] = !mine->announced && !database->life.excluded;
		wait = sleep_visit_due(database, now);
		if (wait == 0)
			feed_life_step(&database->life, FEED_EVENT_RETENTION_DUE, now);
		next = Min(next, wait);
	}
	LWLockRelease(&notifyd_shared->lock);

	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		if (!announce[i])
			continue;
		databases[i].announced = true;
		sleep_announce_asleep(NameStr(databases[i].name), &notifyd_shared->databases[i]);
	}
	return next;
}
