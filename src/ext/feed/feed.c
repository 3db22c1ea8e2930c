/*-------------------------------------------------------------------------
 *
 * feed.c
 *	  The feed: one background worker for each database that has the extension.
 *
 * It reads the log in the order of ids, LISTENs, decides who may see what, and sends events to the
 * gateways.
 *
 *	  feed.c			start and end, main loop, retention
 *	  feed_lock.c		the lock on the extension's tables
 *	  feed_link.c		sockets to the gateways, one link each
 *	  feed_sub.c		subscriptions
 *	  feed_identity.c	identities
 *	  feed_auth.c		tokens that wait to be verified
 *	  feed_stream.c		streams: subscriptions that get the same
 *	  feed_view.c		what a role may see of a channel; feed_columns.c: lists of columns
 *	  feed_set.c		which rows a subscription gets: binds policies and filters
 *	  feed_place.c		does that again when what it depends on has changed
 *	  feed_filter.c		which columns filters may name
 *	  feed_applied.c	whether clients that resume have the right rows
 *	  feed_match.c		which streams get what of an event; event_body.c of ext/sets writes it
 *	  feed_pattern.c	subscriptions of patterns
 *	  feed_publish.c	messages that are not in the log
 *	  feed_topic.c		what clients of WAMP have subscribed to
 *	  feed_route.c		sessions of WAMP, and calls between them
 *	  feed_local.c		calls that SQL makes with notify_call()
 *	  feed_rights.c		what roles may do with channels that no view is of
 *	  feed_change.c		changes that these decisions depend on
 *	  feed_recheck.c	when decisions are repeated
 *	  feed_position.c	the positions of links in the log
 *	  feed_event.c		how events of the log are sent to clients
 *	  feed_read.c		reads live events and sends them as frames
 *	  feed_replay.c		the same for replays; turns.c chooses the next one
 *	  throttle.c		how long the feed pauses under load
 *	  listen.c			raw notifications
 *
 * Nothing in the main loop waits: not for a gateway (sockets do not block, and events that a
 * gateway does not accept stay in the log), not for a client (replays have credit), and not for a
 * lock that a user could hold (retention takes its lock only if it is free, and catalogs are read
 * with the weakest lock). Each round is bounded. Between rounds there is no transaction and no
 * snapshot, so the feed does not hold back VACUUM.
 *
 * The feed is woken by a commit with events, through log_decided(), but only if feed_asleep is set;
 * by NOTIFY, with its signal; by frames from a gateway; by a gateway that becomes ready; and by DDL
 * that may change decisions, through at_end.c. All of them set the latch. Once a second the feed
 * also looks by itself, in case a wake-up is lost.
 *
 * It exits with 0 on SIGTERM and when it is not needed: the extension is not installed, a session
 * needs the database without other processes, or there were no subscribers for
 * pg_notifyd.idle_timeout. Errors end it too, and the launcher starts a new one. Nothing is lost:
 * the gateways know what was sent, and subscribe again from there.
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
#include "ext/feed/throttle.h"
#include "ext/group/group.h"
#include "ext/guard/guard.h"
#include "ext/launcher/launcher.h"
#include "ext/base/settings.h"
#include "ext/watch/watch.h"
#include "ext/base/worker.h"

#define FEED_TICK_MS    1000 /* the feed looks for work at least this often */
#define FEED_STANDBY_MS 10   /* and this often while a synchronous standby has not confirmed */
#define FEED_HOLD_MS    20   /* and this often while replays wait for locks or time */
#define FEED_VISIT_MS   2000 /* a feed started for retention waits this long for a subscription */

PGDLLEXPORT void pg_notifyd_feed_main(Datum main_arg);

/* ---------------- coming and going ---------------- */

/* End the feed, without waiting for queued frames. */
static void
feed_end(Feed *feed, FeedEvent why, const char *goodbye)
{
	if (goodbye != NULL)
		link_goodbye_all(feed, goodbye);
	launcher_feed_detach(feed->database, why);
	proc_exit(0);
}

/*
 * End the feed if the extension was dropped, or dropped and created again; the next feed starts
 * with the new tables. Needs a transaction.
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
		feed_end(feed, FEED_EVENT_ENDED, NULL);
	feed_end(feed, FEED_EVENT_NO_EXTENSION, "the extension has been dropped from this database");
}

static void
feed_reload(void)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);

	/* pg_notifyd.anonymous_role may have changed. */
	change_all();
}

/* Begin a round: end the feed if it has to end now, and read changed settings. */
static void
feed_begin_round(Feed *feed)
{
	ResetLatch(MyLatch);
	/* A shutdown or pg_terminate_backend() is not an error, and must not be logged as one. */
	if (ProcDiePending)
		proc_exit(0);
	feed->now = GetCurrentTimestamp();
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
		feed_reload();
	if (launcher_database_held(feed->database))
		feed_end(feed, FEED_EVENT_ENDED, NULL);
}

/*
 * Enter for the first time: wait until the tables may be used, and end the feed if there is no
 * extension. Returns in a transaction.
 */
static void
feed_enter_first(Feed *feed)
{
	for (;;)
	{
		feed_begin_round(feed);
		worker_begin_transaction();
		if (!OidIsValid(extension_oid(true)))
		{
			CommitTransactionCommand();
			feed_end(feed, FEED_EVENT_NO_EXTENSION, NULL);
		}
		feed->incarnation = log_table(0);
		if (feed_enter(feed))
			return;
		CommitTransactionCommand();
		feed_wait_to_enter(feed);
	}
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
	guard_isolates = true;

	context = AllocSetContextCreate(TopMemoryContext, "pg_notifyd feed", ALLOCSET_DEFAULT_SIZES);
	feed = MemoryContextAllocZero(context, sizeof(Feed));
	feed->context = context;
	feed->database = shared_database(database);
	feed->first = launcher_feed_attached(feed->database);
	worker_begin_transaction();
	feed->database_name = MemoryContextStrdup(context, get_database_name(database));
	CommitTransactionCommand();
	feed_lock_init();
	feed_enter_first(feed);
	log_attach();
	extension_report_version();
	CommitTransactionCommand();
	log_begin(feed->database, &feed->map);
	log_begin_timeline(feed->database, &feed->map);
	feed->timeline = feed->database->timeline;
	watch_reset_unlogged();
	feed_exit(feed);

	MemoryContextSwitchTo(context);
	initStringInfo(&feed->text);
	columns_init(feed);
	view_init(feed);
	stream_init(feed);
	dlist_init(&feed->waiting);
	applied_init(feed);
	match_init(feed);
	recheck_init(feed);
	listen_init(feed_notify, feed);
	feed->now = GetCurrentTimestamp();
	feed->idle_since = feed->now;
	feed->next_expiry = DT_NOEND;
	ereport(DEBUG1,
			(errmsg_internal("pg_notifyd feed for database \"%s\" started", feed->database_name)));
	return feed;
}

/* ---------------- ending without subscribers ---------------- */

/*
 * After the server has started, each database gets a feed to find out whether the extension is
 * installed. If there are too few worker slots, such a feed ends as soon as it knows.
 */
static bool
feed_yields_slot(const Feed *feed)
{
	return feed->first && !feed->needed && pg_atomic_read_u32(&notifyd_shared->slots_short) != 0 &&
		   (notifyd_idle_timeout != 0 || feed->database->life.excluded);
}

/* Return how long the feed continues without subscribers, in ms; -1: forever. */
static int
feed_idle_limit(const Feed *feed)
{
	/* A gateway that has not answered yet would not learn that the feed ends. */
	if (feed_yields_slot(feed) && link_all_greeted(feed))
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
 * Return true if the database does not need a feed now. The launcher then informs the gateways,
 * which request another feed when they need one.
 */
static bool
feed_may_end(Feed *feed)
{
	bool used = feed->nsubs > 0 || feed->nidentities > 0 || feed->nrouted > 0;

	if (used)
		feed->needed = true;
	return due_end(&feed->idle_since, used, feed->now, feed_idle_limit(feed)) &&
		   !log_retention_due(feed->database) && !group_needs_feed(feed->database);
}

/*
 * End the feed until it is needed. Gateways that have not met this feed need a position for their
 * clients. If the log contains events, retention needs a feed later.
 */
static void
feed_fall_asleep(Feed *feed)
{
	NotifydDatabase *database = feed->database;
	TimestampTz visit_at = 0;
	uint64 watermark;
	uint64 position;

	worker_begin_transaction();
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
	feed_end(feed, FEED_EVENT_NOT_NEEDED,
			 database->life.excluded ? "this database is no longer served" : NULL);
}

/* ---------------- the loop ---------------- */

/*
 * Do the work of one round in one transaction. The transaction begins after the watermark was taken
 * and processes invalidations: a REVOKE that was committed before an event applies to that event.
 */
static FeedProgress
feed_look(Feed *feed)
{
	FeedProgress progress = FEED_IDLE;
	XLogRecPtr lsn;

	lag_begin_round(feed->database);
	feed->watermark = log_watermark(feed->database, &lsn);
	worker_begin_transaction();
	if (change_due())
	{
		feed_check_extension(feed);
		recheck_look(feed);
	}
	if (feed->nsubs > 0)
		progress = feed_read(feed, lsn);
	else
		position_jump_all(feed);
	applied_commit(feed);
	return progress;
}

/* Add what policies and filters have taken since the last call to the statistics. */
static void
feed_note_sets(Feed *feed)
{
	static SetTotals noted;

	if (set_totals.us == noted.us && set_totals.errors == noted.errors)
		return;
	(void) pg_atomic_fetch_add_u64(&feed->database->policy_us, (int64) (set_totals.us - noted.us));
	(void) pg_atomic_fetch_add_u64(&feed->database->policy_errors,
								   (int64) (set_totals.errors - noted.errors));
	noted = set_totals;
}

/* Publish what was delivered, and that the feed is alive, for the statistics. */
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
	feed_note_sets(feed);
	pg_atomic_write_u64(&feed->database->alive_at, (uint64) feed->now);
}

static void
feed_send_positions(Feed *feed)
{
	uint64 slowest = PG_UINT64_MAX;

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];

		if (link == NULL || !link->greeted)
			continue;
		link_send_position(link, feed->nsubs > 0 && link->reader.after < feed->watermark);
		slowest = Min(slowest, link->position);
		sub_reset_notifies(link);
	}
	if (slowest != PG_UINT64_MAX)
		pg_atomic_write_u64(&feed->database->position, slowest);
}

/*
 * Wait, unless there is work. A commit reads feed_asleep after it has published its events, and the
 * feed looks for events after it has set feed_asleep, so at least one of them sees the other.
 */
static void
feed_sleep(Feed *feed, long timeout)
{
	bool listeners = group_has_listeners(feed->database);

	/* Without subscribers, commits need not wake the feed. */
	pg_atomic_write_u32(&feed->database->feed_asleep, feed->nsubs > 0 || listeners);
	pg_memory_barrier();
	if (!position_behind(feed) && !(listeners && group_behind(feed->database)))
	{
		pgstat_report_activity(STATE_IDLE, NULL);
		link_wait(feed, timeout);
		pgstat_report_activity(STATE_RUNNING, "pg_notifyd: sending events");
	}
	pg_atomic_write_u32(&feed->database->feed_asleep, 0);
}

/*
 * Pause after a round with events, if the feed owes time (throttle.h), so that more events come
 * together. Only the postmaster's death ends the pause. Returns true if it paused.
 */
static bool
feed_throttle(Feed *feed, int64 now)
{
	int64 pause =
		throttle_pause(&feed->pause_until, now, now - feed->read_began, feed->transactions);

	if (pause == 0)
		return false;
	pg_usleep((long) pause);
	if (!PostmasterIsAlive())
		proc_exit(1);
	return true;
}

/* Run retention if it is due. Returns the number of ms after which to call this again. */
static long
feed_retain(Feed *feed)
{
	static TimestampTz next = 0;
	TimestampTz now = feed->now;
	LogProgress read;
	long wait;

	if (now < next && TimestampDifferenceMilliseconds(now, next) <= FEED_TICK_MS &&
		!log_retention_due(feed->database))
		return TimestampDifferenceMilliseconds(now, next);
	read = feed_read_progress(feed);
	read.groups = group_needed(&feed->map);
	wait = log_retain(feed->database, &feed->map, read, now);
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
		bool paused = false;
		long timeout;
		bool tick;

		feed_begin_round(feed);
		if (!feed_enter(feed))
		{
			feed_wait_to_enter(feed);
			continue;
		}
		tick = due_since(looked, feed->now, FEED_TICK_MS);
		listen_drain();
		feed->transactions = 0;
		identity_expire(feed);
		progress = feed_look(feed);
		if (!feed->database->life.excluded && (feed->links[0] != NULL || !feed_yields_slot(feed)))
			link_connect_all(feed, tick);
		else if (feed->database->life.excluded && feed->links[0] != NULL)
			feed_fall_asleep(feed);
		if (link_receive_all(feed) && progress == FEED_IDLE)
			progress = FEED_MORE;
		if (feed->first && pg_atomic_read_u32(&feed->database->links) > 0 && link_all_greeted(feed))
			launcher_database_looked(feed->database);
		feed_send_positions(feed);
		link_send_all(feed);
		feed_note_delivered(feed);
		if (auth_verify_some(feed) && progress == FEED_IDLE)
			progress = FEED_MORE;
		timeout = feed_retain(feed);
		if (feed->route_due == 0 && progress == FEED_IDLE)
			progress = FEED_MORE;
		else if (feed->route_due > 0)
			timeout = Min(timeout, feed->route_due);
		group_maintain(feed->database, feed->now,
					   &(GroupFeed){.ready = link_group_ready, .arg = feed});
		if (tick)
		{
			feed->held_ms = log_report_in_flight(feed->database, feed->now);
			identity_end_disconnected(feed);
			applied_retain(feed);
			looked = feed->now;
		}
		if ((tick || feed_yields_slot(feed)) && feed_may_end(feed))
			feed_fall_asleep(feed);
		feed_exit(feed);

		MemoryContextSwitchTo(feed->context);
		if (progress == FEED_IDLE && feed->transactions > 0)
			paused = feed_throttle(feed, feed_clock());
		if (progress == FEED_IDLE && !paused)
			feed_sleep(feed, Min(timeout, feed->holds ? FEED_HOLD_MS : FEED_TICK_MS));
		else if (progress == FEED_STANDBY)
			link_wait(feed, FEED_STANDBY_MS);
	}
}
