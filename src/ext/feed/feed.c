/*-------------------------------------------------------------------------
 *
 * feed.c
 *	  The feed: one background worker per database that has the extension.
 *
 * It reads the log in order of id, LISTENs, decides who may see what, and sends events to the
 * gateways.
 *
 *	  feed.c			life, main loop, retention
 *	  feed_link.c			sockets to the gateways, one link each
 *	  feed_stream.c		subscriptions, and what a role may see of a channel
 *	  feed_change.c		what these decisions depend on has changed
 *	  feed_recheck.c	when they are made anew
 *	  feed_position.c	where links are in the log
 *	  feed_event.c		what an event of the log is for a client
 *	  feed_read.c		from log rows to frames, as they come
 *	  feed_replay.c		the same for replays; turns.c: which is read for next
 *	  listen.c			raw notifications
 *
 * One loop, and nothing in it waits: not for a gateway (sockets do not block; what is not taken
 * stays in the log), not for a client (replays have credit), not for a lock that a user could hold
 * (retention takes its lock only if it is free; catalogs are read under the weakest lock). Each
 * round is bounded, and between rounds there is no transaction and no snapshot, so nothing keeps
 * vacuum from its work.
 *
 * What wakes it: a commit with events, through log_decided(), but only if feed_asleep is set;
 * NOTIFY, by its signal; frames from a gateway; a gateway that has become ready; DDL that may
 * change decisions, through at_end.c. All of them set the latch; and it looks by itself once a
 * second, should one be lost.
 *
 * It exits 0 on SIGTERM and when there is nothing to do for it (no extension; somebody needs the database to
 * himself; nobody has been subscribed for pg_notifyd.idle_timeout) and lets errors end it
 * otherwise; the launcher starts another one. Nothing is lost by that: what has been sent is known
 * by the gateways, which subscribe anew from there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "storage/pmsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ext/base/compat.h"
#include "ext/base/extension.h"
#include "ext/feed/feed.h"
#include "ext/feed/listen.h"
#include "ext/feed/feed_due.h"
#include "ext/feed/gather.h"
#include "ext/launcher/launcher.h"
#include "ext/base/settings.h"
#include "ext/watch/watch.h"
#include "ext/base/worker.h"

#define FEED_TICK_MS    1000 /* it looks by itself at least this often */
#define FEED_STANDBY_MS 10   /* and this often while a synchronous standby has not confirmed */
#define FEED_LOCKED_MS  20   /* or while somebody has the extension's tables to himself */
#define FEED_VISIT_MS                                                                              \
	2000 /* one that has come for retention stays so long, should somebody subscribe */

PGDLLEXPORT void pg_notifyd_feed_main(Datum main_arg);

/* ---------------- coming and going ---------------- */

/* The end: what is queued is not waited for. */
static void
feed_leave(Feed *feed, FeedEvent why, const char *goodbye)
{
	if (goodbye != NULL)
		link_goodbye_all(feed, goodbye);
	launcher_feed_detach(feed->database, why);
	proc_exit(0);
}

static bool
feed_extension_there(void)
{
	bool there;

	StartTransactionCommand();
	there = OidIsValid(extension_oid(true));
	CommitTransactionCommand();
	return there;
}

/*
 * The extension was dropped, or dropped and made anew: then another feed begins with the new
 * tables. Needs a transaction.
 */
static void
feed_check_extension(Feed *feed)
{
	bool there = OidIsValid(extension_oid(true));

	if (there && log_table(0) == feed->incarnation)
	{
		extension_report_version();
		return;
	}
	CommitTransactionCommand();
	if (there)
		feed_leave(feed, FEED_EVENT_ENDED, NULL);
	feed_leave(feed, FEED_EVENT_NO_EXTENSION, "the extension has been dropped from this database");
}

/*
 * The feed touches the extension's tables only between these two. DROP EXTENSION waits for it to
 * leave (watch_uninstall.c), and while a command has the tables to itself, or is about to, the
 * feed does not enter: false. Otherwise one of both could meet a deadlock, or the feed a table that
 * is gone. The lock is held by the session, because a round may have several transactions.
 */
static void
feed_lock_tag(Feed *feed, LOCKTAG *tag)
{
	SET_LOCKTAG_RELATION(*tag, MyDatabaseId, feed->incarnation);
}

static bool
feed_enter(Feed *feed)
{
	LOCKTAG tag;

	feed_lock_tag(feed, &tag);
	return LockAcquire(&tag, AccessShareLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

static void
feed_exit(Feed *feed)
{
	LOCKTAG tag;

	feed_lock_tag(feed, &tag);
	LockRelease(&tag, AccessShareLock, true);
}

static Feed *
feed_begin(Oid database)
{
	MemoryContext context;
	Feed *feed;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	worker_connect(database);

	context = AllocSetContextCreate(TopMemoryContext, "pg_notifyd feed", ALLOCSET_DEFAULT_SIZES);
	feed = MemoryContextAllocZero(context, sizeof(Feed));
	feed->context = context;
	feed->database = shared_database(database);
	feed->first = launcher_feed_attached(feed->database);
	if (!feed_extension_there())
		feed_leave(feed, FEED_EVENT_NO_EXTENSION, NULL);

	StartTransactionCommand();
	feed->incarnation = log_table(0);
	if (!feed_enter(feed))
	{
		CommitTransactionCommand();
		feed_leave(feed, FEED_EVENT_ENDED, NULL);
	}
	log_attach();
	extension_report_version();
	feed->database_name = MemoryContextStrdup(context, get_database_name(database));
	CommitTransactionCommand();
	log_begin(feed->database, &feed->map);
	log_begin_timeline(feed->database, &feed->map);
	feed->timeline = feed->database->timeline;
	watch_reset_unlogged();
	feed_exit(feed);

	MemoryContextSwitchTo(context);
	initStringInfo(&feed->text);
	stream_init(feed);
	recheck_init(feed);
	listen_init(feed_notify, feed);
	feed->now = GetCurrentTimestamp();
	feed->idle_since = feed->now;
	ereport(DEBUG1,
			(errmsg_internal("pg_notifyd feed for database \"%s\" started", feed->database_name)));
	return feed;
}

/* ---------------- leaving while nobody is subscribed ---------------- */

/*
 * After the server's start each database gets a feed that finds out whether the extension is there.
 * Where slots are short, such a feed leaves its slot to the next one as soon as it knows.
 */
static bool
feed_makes_room(const Feed *feed)
{
	return feed->first && !feed->needed && pg_atomic_read_u32(&notifyd_shared->slots_short) != 0 &&
		   (notifyd_idle_timeout != 0 || feed->database->life.excluded);
}

/* How long the feed stays while nobody is subscribed, in ms; -1: for ever. */
static int
feed_patience(const Feed *feed)
{
	/* A gateway that has a link and does not know it yet would not hear that the feed is gone. */
	if (feed_makes_room(feed) && link_all_greeted(feed))
		return 0;
	if (feed->database->life.excluded || (feed->database->life.visit && !feed->needed))
		return FEED_VISIT_MS;
	if (notifyd_idle_timeout == 0)
		return -1;
	if (pg_atomic_read_u32(&notifyd_shared->slots_short) != 0)
		return Min(notifyd_idle_timeout, FEED_VISIT_MS);
	return notifyd_idle_timeout;
}

/*
 * Whether the database can do without a feed: then the launcher tells the gateways, which ask for
 * another one when it is needed.
 */
static bool
feed_may_leave(Feed *feed)
{
	if (feed->nsubs > 0)
		feed->needed = true;
	return due_leave(&feed->idle_since, feed->nsubs > 0, feed->now, feed_patience(feed)) &&
		   !log_retention_due(feed->database);
}

/*
 * Leave for now. Gateways that have not met this feed have to know a position for their clients.
 * Retention needs another feed later if anything is in the log.
 */
static void
feed_fall_asleep(Feed *feed)
{
	NotifydDatabase *database = feed->database;
	TimestampTz visit_at = 0;
	uint64 watermark;
	uint64 position;

	StartTransactionCommand();
	position = position_last(feed, &watermark);
	CommitTransactionCommand();
	pg_atomic_write_u64(&database->position, position);
	if (pg_atomic_read_u64(&database->log_bytes) > 0 || feed->map.n > 1)
		visit_at = TimestampTzPlusMilliseconds(feed->now, log_visit_ms());
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	database->visit_at = visit_at;
	LWLockRelease(&notifyd_shared->lock);
	ereport(DEBUG1,
			(errmsg_internal("pg_notifyd feed for database \"%s\" leaves", feed->database_name)));
	feed_leave(feed, FEED_EVENT_NOT_NEEDED,
			   database->life.excluded ? "this database is no longer served" : NULL);
}

/* ---------------- the loop ---------------- */

static void
feed_reload(void)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);

	/* pg_notifyd.anonymous_role may be another one. */
	change_all();
}

/*
 * Look for what there is to do, in one transaction. Its beginning takes invalidations in, after the
 * watermark was taken: a REVOKE that had ended before an event was committed counts for that event.
 */
static FeedProgress
feed_look(Feed *feed)
{
	FeedProgress progress = FEED_IDLE;
	XLogRecPtr lsn;

	lag_begin_round(feed->database);
	feed->watermark = log_watermark(feed->database, &lsn);
	StartTransactionCommand();
	if (change_due())
	{
		feed_check_extension(feed);
		recheck_look(feed);
	}
	if (feed->nsubs > 0)
		progress = feed_read(feed, lsn);
	else
		position_jump_all(feed);
	CommitTransactionCommand();
	return progress;
}

/* Note, for whoever reads the statistics, what has been delivered and that we are alive. */
static void
feed_note_delivered(Feed *feed)
{
	uint64 delivered = PG_UINT64_MAX;
	TimestampTz last_at = 0;

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];

		if (link == NULL || !link->greeted)
			continue;
		link_note_delivered(link);
		if (link->delivered >= delivered)
			continue;
		delivered = link->delivered;
		last_at = link->last_event_at;
	}
	if (delivered != PG_UINT64_MAX)
		lag_end_round(feed->database, delivered, last_at);
	pg_atomic_write_u64(&feed->database->alive_at, (uint64) feed->now);
}

static void
feed_tell_positions(Feed *feed)
{
	uint64 slowest = PG_UINT64_MAX;

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];

		if (link == NULL || !link->greeted)
			continue;
		link_tell_position(link, feed->nsubs > 0 && link->reader.after < feed->watermark);
		slowest = Min(slowest, link->position);
		stream_tell_notifies_lost(link);
	}
	if (slowest != PG_UINT64_MAX)
		pg_atomic_write_u64(&feed->database->position, slowest);
}

/*
 * Lie down, unless something has come meanwhile. Whoever commits looks at feed_asleep after it has
 * published its work, and we look for work after we have set it: one of us sees the other.
 */
static void
feed_sleep(Feed *feed, long timeout)
{
	/* Where nobody is subscribed, nobody has to wake us. */
	pg_atomic_write_u32(&feed->database->feed_asleep, feed->nsubs > 0);
	pg_memory_barrier();
	if (!position_behind(feed))
	{
		pgstat_report_activity(STATE_IDLE, NULL);
		link_wait(feed, timeout);
		pgstat_report_activity(STATE_RUNNING, "pg_notifyd: sending events");
	}
	pg_atomic_write_u32(&feed->database->feed_asleep, 0);
}

/*
 * Let events gather if time for it is owed, after a round that has sent some (gather.h). What wakes
 * the feed has to wait, but for the postmaster's end. Returns whether it waited.
 */
static bool
feed_gather(Feed *feed, int64 now)
{
	int64 pause = gather_pause(&feed->free_at, now, now - feed->began, feed->found);

	if (pause == 0)
		return false;
	pg_usleep((long) pause);
	if (!PostmasterIsAlive())
		proc_exit(1);
	return true;
}

/* Retention, where it is due. Returns after how many ms it wants to be called again. */
static long
feed_retain(Feed *feed)
{
	static TimestampTz next = 0;
	TimestampTz now = feed->now;
	long wait;

	if (now < next && TimestampDifferenceMilliseconds(now, next) <= FEED_TICK_MS &&
		!log_retention_due(feed->database))
		return TimestampDifferenceMilliseconds(now, next);
	wait = log_retain(feed->database, &feed->map, feed_read_by_all(feed), now);
	next = TimestampTzPlusMilliseconds(now, wait);
	return wait;
}

void
pg_notifyd_feed_main(Datum main_arg)
{
	Feed *feed = feed_begin(DatumGetObjectId(main_arg));
	TimestampTz looked = 0;

	for (;;)
	{
		FeedProgress progress;
		bool gathered = false;
		long timeout;
		bool tick;

		ResetLatch(MyLatch);
		/* A shutdown, or pg_terminate_backend(): that is no error, and is not logged as one. */
		if (ProcDiePending)
			proc_exit(0);
		feed->now = GetCurrentTimestamp();
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			feed_reload();
		if (launcher_database_held(feed->database))
			feed_leave(feed, FEED_EVENT_ENDED, NULL);

		if (!feed_enter(feed))
		{
			pg_atomic_write_u64(&feed->database->alive_at, (uint64) feed->now);
			link_wait(feed, FEED_LOCKED_MS);
			continue;
		}
		tick = due_since(looked, feed->now, FEED_TICK_MS);
		listen_drain();
		feed->found = 0;
		progress = feed_look(feed);
		if (!feed->database->life.excluded && (feed->links[0] != NULL || !feed_makes_room(feed)))
			link_connect_all(feed, tick);
		else if (feed->database->life.excluded && feed->links[0] != NULL)
			feed_fall_asleep(feed);
		if (link_receive_all(feed) && progress == FEED_IDLE)
			progress = FEED_MORE;
		if (feed->first && pg_atomic_read_u32(&feed->database->links) > 0 && link_all_greeted(feed))
			launcher_database_looked(feed->database);
		feed_tell_positions(feed);
		link_send_all(feed);
		feed_note_delivered(feed);
		timeout = feed_retain(feed);
		if (tick)
		{
			feed->held_ms = log_report_in_flight(feed->database, feed->now);
			looked = feed->now;
		}
		if ((tick || feed_makes_room(feed)) && feed_may_leave(feed))
			feed_fall_asleep(feed);
		feed_exit(feed);

		MemoryContextSwitchTo(feed->context);
		if (progress == FEED_IDLE && feed->found > 0)
			gathered = feed_gather(feed, feed_clock());
		if (progress == FEED_IDLE && !gathered)
			feed_sleep(feed, Min(timeout, FEED_TICK_MS));
		else if (progress == FEED_STANDBY)
			link_wait(feed, FEED_STANDBY_MS);
	}
}
