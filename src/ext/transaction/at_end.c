/*-------------------------------------------------------------------------
 *
 * at_end.c
 *	  What the end of the running transaction does for other processes.
 *
 * It wakes the feeds and the launcher, ends the holds on databases, and lets feeds read the events of
 * a transaction that has changed catalogs. A feed reads the catalogs again when it gets invalidation
 * messages. The server sends these after the XACT_EVENT_COMMIT callbacks, so this file uses a
 * resource release callback, whose phase AFTER_LOCKS comes later (CommitTransaction() in
 * access/transam/xact.c). The server calls it at the end of every transaction, also after an error
 * or when the process exits.
 *
 * It also keeps a transaction from being prepared that holds a lock which others wait for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/sinval.h"
#include "utils/resowner.h"

#include "ext/log/log.h"
#include "ext/transaction/at_end.h"

static int at_end_pending = 0;
static bool at_end_holding = false; /* this process is the hold_pid of some databases */
static bool at_end_unpreparable = false;
static NotifydDatabase *at_end_undecided = NULL; /* NULL: log_decided() was called */

/*
 * End the holds of this nesting level of transactions and of deeper ones, so that feeds may return.
 */
static void
at_end_end_hold(int level)
{
	at_end_holding = false;
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		NotifydDatabase *database = &notifyd_shared->databases[i];

		if (database->hold_pid != MyProcPid)
			continue;
		if (database->hold_level >= level)
			database->hold_pid = 0;
		else
			at_end_holding = true;
	}
	LWLockRelease(&notifyd_shared->lock);
	shared_wake_launcher();
}

/* A savepoint is released: its holds now belong to the surrounding level. */
static void
at_end_raise_hold(int level)
{
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		NotifydDatabase *database = &notifyd_shared->databases[i];

		if (database->hold_pid == MyProcPid && database->hold_level == level)
			database->hold_level--;
	}
	LWLockRelease(&notifyd_shared->lock);
}

static void
at_end_subtransaction(SubXactEvent event, SubTransactionId mine pg_attribute_unused(),
					  SubTransactionId parent pg_attribute_unused(),
					  void *arg pg_attribute_unused())
{
	if (!at_end_holding)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		at_end_end_hold(GetCurrentTransactionNestLevel());
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		at_end_raise_hold(GetCurrentTransactionNestLevel());
}

/*
 * The end of a transaction, after the point where a commit can still fail. Must not raise an error.
 */
static void
at_end_release(ResourceReleasePhase phase, bool isCommit, bool isTopLevel,
			   void *arg pg_attribute_unused())
{
	int what = at_end_pending;

	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !isTopLevel)
		return;
	if (at_end_undecided != NULL)
		log_decided(at_end_undecided, true);
	at_end_undecided = NULL;
	at_end_pending = 0;
	at_end_unpreparable = false;

	/* Before the hold ends, so that the launcher starts no feed for a dropped database. */
	if (isCommit && (what & AT_END_SCAN_DATABASES))
		(void) pg_atomic_fetch_add_u32(&notifyd_shared->database_generation, 1);
	if (at_end_holding)
		at_end_end_hold(0);
	if (!isCommit || what == 0)
		return;

	if (what & AT_END_WANT_FEED)
		shared_want_feed(MyDatabaseId);
	if (what & AT_END_VISIT)
		shared_visit(MyDatabaseId);
	if (what & AT_END_WAKE_ALL_FEEDS)
		shared_wake_all_feeds();
	else if (what & AT_END_WAKE_FEED)
	{
		NotifydDatabase *database = shared_find_database(MyDatabaseId);

		if (database != NULL)
			shared_wake_feed(database);
	}
	if (what & AT_END_SCAN_DATABASES)
		shared_wake_launcher();
}

static void
at_end_transaction(XactEvent event, void *arg pg_attribute_unused())
{
	if (event == XACT_EVENT_PRE_PREPARE && at_end_unpreparable)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot PREPARE a transaction that has watched or exposed something or changed "
					"privileges on a channel"),
			 errdetail("Other sessions that do the same wait for the end of the transaction."),
			 errhint("Use COMMIT, or call the functions of pg_notifyd in another transaction.")));
}

static void
at_end_register(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterResourceReleaseCallback(at_end_release, NULL);
	RegisterSubXactCallback(at_end_subtransaction, NULL);
	RegisterXactCallback(at_end_transaction, NULL);
	registered = true;
}

void
at_end_wake(int what)
{
	if (notifyd_shared == NULL || !OidIsValid(MyDatabaseId))
		return;
	at_end_register();
	at_end_pending |= what;
}

bool
at_end_invalidates(void)
{
	SharedInvalidationMessage *messages;
	bool init_file;

	if (xactGetCommittedInvalidationMessages(&messages, &init_file) == 0)
		return false;
	at_end_register();
	return true;
}

void
at_end_decide(NotifydDatabase *database)
{
	at_end_undecided = database;
}

void
at_end_hold(NotifydDatabase *database)
{
	at_end_register();
	at_end_holding = true;
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	/* If this transaction already holds the database, that hold lasts at least as long. */
	if (database->hold_pid != MyProcPid)
	{
		database->hold_pid = MyProcPid;
		database->hold_level = GetCurrentTransactionNestLevel();
	}
	LWLockRelease(&notifyd_shared->lock);
	shared_wake_feed(database);
}

void
at_end_refuse_prepare(void)
{
	at_end_register();
	at_end_unpreparable = true;
}
