/*-------------------------------------------------------------------------
 *
 * shared.c
 *	  The shared memory: databases, ids in flight, gateways. See shared.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/compat.h"
#include "ext/base/shared.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

NotifydShared *notifyd_shared = NULL;

static compat_shmem_request_hook_type shared_prev_request = NULL;
static shmem_startup_hook_type shared_prev_startup = NULL;

static Size
shared_size(void)
{
	return add_size(offsetof(NotifydShared, backends),
					mul_size(compat_proc_count(), sizeof(NotifydBackend)));
}

static void
shared_request(void)
{
	COMPAT_SHMEM_REQUEST_CHAIN(shared_prev_request);
	RequestAddinShmemSpace(shared_size());
}

/* Initialise an unused entry for a database. The lock is left alone. */
static void
shared_reset_database(NotifydDatabase *database, Oid oid)
{
	database->life = (FeedLife){.state = FEED_WANTED};
	database->feed_pid = 0;
	database->feed_latch = NULL;
	database->hold_pid = 0;
	database->hold_level = 0;
	database->looked = false;
	database->visit_at = 0;

	database->incarnation = InvalidOid;
	database->next_id = 0;
	database->next_bulk = 0;
	database->segment = 0;
	database->first_at_start = 0;
	database->watermark_at_start = 0;
	database->timeline = 0;

	pg_atomic_write_u64(&database->recent_watermark, 0);
	pg_atomic_write_u64(&database->tail, 0);
	database->tail_room = 0;
	database->tail_end = 0;
	pg_atomic_write_u64(&database->commit_lsn, InvalidXLogRecPtr);
	pg_atomic_write_u32(&database->feed_asleep, 0);
	pg_atomic_write_u32(&database->consumers_waiting, 0);
	pg_atomic_write_u64(&database->events_written, 0);
	pg_atomic_write_u64(&database->events_sent, 0);
	pg_atomic_write_u64(&database->refused_tokens, 0);
	pg_atomic_write_u64(&database->bytes_sent, 0);
	pg_atomic_write_u64(&database->notifies_sent, 0);
	pg_atomic_write_u64(&database->position, 0);
	pg_atomic_write_u64(&database->oldest, 0);
	pg_atomic_write_u64(&database->log_written, 0);
	pg_atomic_write_u64(&database->log_bytes, 0);
	pg_atomic_write_u32(&database->segments, 0);
	pg_atomic_write_u64(&database->waiting_since, 0);
	pg_atomic_write_u64(&database->reading_since, 0);
	pg_atomic_write_u64(&database->delivered, 0);
	pg_atomic_write_u64(&database->alive_at, 0);
	pg_atomic_write_u64(&database->locked_since, 0);
	pg_atomic_write_u64(&database->oldest_since, 0);
	pg_atomic_write_u64(&database->next_since, 0);
	pg_atomic_write_u32(&database->subscriptions, 0);
	pg_atomic_write_u32(&database->links, 0);
	pg_atomic_write_u64(&database->queries, 0);
	pg_atomic_write_u64(&database->failed_queries, 0);
	for (int i = 0; i < NOTIFYD_RESETS; i++)
		pg_atomic_write_u64(&database->resets[i], 0);
	for (int i = 0; i < WIRE_QUERY_KINDS; i++)
	{
		for (int j = 0; j < NOTIFYD_ANSWERS; j++)
			pg_atomic_write_u64(&database->answers[i][j], 0);
	}
	pg_atomic_write_u64(&database->policy_us, 0);
	pg_atomic_write_u64(&database->policy_errors, 0);
	pg_atomic_write_u64(&database->replays, 0);
	pg_atomic_write_u64(&database->worker_restarts, 0);
	database->load = (WireLoad){0};

	/* Set this last, because stats_database_name() reads it without the lock, and then the rest. */
	pg_write_barrier();
	database->oid = oid;
}

static void
shared_init_database(NotifydDatabase *database, int tranche)
{
	LWLockInitialize(&database->lock, tranche);
	pg_atomic_init_u64(&database->commit_lsn, InvalidXLogRecPtr);
	pg_atomic_init_u64(&database->recent_watermark, 0);
	pg_atomic_init_u64(&database->tail, 0);
	pg_atomic_init_u32(&database->feed_asleep, 0);
	pg_atomic_init_u32(&database->consumers_waiting, 0);
	pg_atomic_init_u64(&database->events_written, 0);
	pg_atomic_init_u64(&database->events_sent, 0);
	pg_atomic_init_u64(&database->refused_tokens, 0);
	pg_atomic_init_u64(&database->bytes_sent, 0);
	pg_atomic_init_u64(&database->notifies_sent, 0);
	pg_atomic_init_u64(&database->position, 0);
	pg_atomic_init_u64(&database->oldest, 0);
	pg_atomic_init_u64(&database->unmeasured, 0);
	pg_atomic_init_u64(&database->log_written, 0);
	pg_atomic_init_u64(&database->log_bytes, 0);
	pg_atomic_init_u32(&database->segments, 0);
	pg_atomic_init_u64(&database->waiting_since, 0);
	pg_atomic_init_u64(&database->reading_since, 0);
	pg_atomic_init_u64(&database->delivered, 0);
	pg_atomic_init_u64(&database->alive_at, 0);
	pg_atomic_init_u64(&database->locked_since, 0);
	pg_atomic_init_u64(&database->oldest_since, 0);
	pg_atomic_init_u64(&database->next_since, 0);
	pg_atomic_init_u32(&database->subscriptions, 0);
	pg_atomic_init_u32(&database->links, 0);
	pg_atomic_init_u64(&database->queries, 0);
	pg_atomic_init_u64(&database->failed_queries, 0);
	for (int i = 0; i < NOTIFYD_RESETS; i++)
		pg_atomic_init_u64(&database->resets[i], 0);
	for (int i = 0; i < WIRE_QUERY_KINDS; i++)
	{
		for (int j = 0; j < NOTIFYD_ANSWERS; j++)
			pg_atomic_init_u64(&database->answers[i][j], 0);
	}
	pg_atomic_init_u64(&database->policy_us, 0);
	pg_atomic_init_u64(&database->policy_errors, 0);
	pg_atomic_init_u64(&database->replays, 0);
	pg_atomic_init_u64(&database->worker_restarts, 0);
	shared_reset_database(database, InvalidOid);
}

/*
 * Runs in the postmaster, when it starts and again after a crash. Every process inherits the
 * pointer and the tranches.
 */
static void
shared_startup(void)
{
	bool found;
	int tranche;
	int database_tranche;

	if (shared_prev_startup)
		shared_prev_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	notifyd_shared = ShmemInitStruct("pg_notifyd", shared_size(), &found);
	if (!found)
	{
		memset(notifyd_shared, 0, shared_size());

		tranche = LWLockNewTrancheId();
		database_tranche = LWLockNewTrancheId();
		LWLockRegisterTranche(tranche, "pg_notifyd");
		LWLockRegisterTranche(database_tranche, "pg_notifyd_database");

		LWLockInitialize(&notifyd_shared->lock, tranche);
		pg_atomic_init_u32(&notifyd_shared->gateway_generation, 0);
		pg_atomic_init_u32(&notifyd_shared->database_generation, 0);
		pg_atomic_init_u32(&notifyd_shared->slots_short, 0);
		pg_atomic_init_u32(&notifyd_shared->gateway_clients, 0);
		pg_atomic_init_u32(&notifyd_shared->gateway_anonymous, 0);
		for (int i = 0; i < NOTIFYD_MAX_WORKERS; i++)
			pg_atomic_init_u64(&notifyd_shared->workers[i].busy_since, 0);
		for (int i = 0; i < NOTIFYD_MAX_WATCHES; i++)
			pg_atomic_init_u64(&notifyd_shared->watches[i].events, 0);
		for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
			shared_init_database(&notifyd_shared->databases[i], database_tranche);
		if (!pg_strong_random(notifyd_shared->token_key, NOTIFYD_TOKEN_KEY))
			elog(FATAL, "could not generate random bytes");
		notifyd_shared->nbackends = compat_proc_count();
		for (int i = 0; i < notifyd_shared->nbackends; i++)
		{
			pg_atomic_init_u64(&notifyd_shared->backends[i].first_id, 0);
			pg_atomic_init_u32(&notifyd_shared->backends[i].database, 0);
			pg_atomic_init_u32(&notifyd_shared->backends[i].bulk_segment, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

void
shared_init(void)
{
	COMPAT_SHMEM_REQUEST(shared_request, shared_prev_request);
	shared_prev_startup = shmem_startup_hook;
	shmem_startup_hook = shared_startup;
}

void
shared_require(void)
{
	if (notifyd_shared == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("pg_notifyd is not loaded"),
						errhint("Set shared_preload_libraries = 'pg_notifyd' in postgresql.conf "
								"and restart the server.")));
}

static NotifydDatabase *
shared_search(Oid oid)
{
	Assert(LWLockHeldByMe(&notifyd_shared->lock));

	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		if (notifyd_shared->databases[i].oid == oid)
			return &notifyd_shared->databases[i];
	}
	return NULL;
}

NotifydDatabase *
shared_find_database(Oid oid)
{
	NotifydDatabase *database;

	shared_require();
	Assert(OidIsValid(oid));

	LWLockAcquire(&notifyd_shared->lock, LW_SHARED);
	database = shared_search(oid);
	LWLockRelease(&notifyd_shared->lock);
	return database;
}

NotifydDatabase *
shared_add_database(Oid oid)
{
	NotifydDatabase *database = shared_find_database(oid);

	if (database != NULL)
		return database;

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	database = shared_search(oid);
	if (database == NULL)
	{
		database = shared_search(InvalidOid);
		if (database != NULL)
			shared_reset_database(database, oid);
	}
	LWLockRelease(&notifyd_shared->lock);
	return database;
}

NotifydDatabase *
shared_database(Oid oid)
{
	NotifydDatabase *database = shared_add_database(oid);

	if (database == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("pg_notifyd cannot serve more than %d databases", NOTIFYD_MAX_DATABASES)));
	return database;
}

void
shared_forget_database(NotifydDatabase *database)
{
	Assert(LWLockHeldByMeInMode(&notifyd_shared->lock, LW_EXCLUSIVE));
	Assert(database->life.state != FEED_STARTING && database->life.state != FEED_RUNNING);

	for (int i = 0; i < NOTIFYD_MAX_WATCHES; i++)
	{
		if (notifyd_shared->watches[i].database == database->oid)
			notifyd_shared->watches[i].database = InvalidOid;
	}
	shared_reset_database(database, InvalidOid);
}

int
shared_database_index(const NotifydDatabase *database)
{
	return (int) (database - notifyd_shared->databases);
}

/* The number of a watch's entry; of a free one if it has none; 0: there are too many. */
static int
shared_find_watch(Oid relation, const char *channel)
{
	int unused = 0;

	for (int i = 0; i < NOTIFYD_MAX_WATCHES; i++)
	{
		NotifydWatch *watch = &notifyd_shared->watches[i];

		if (watch->relation == relation && watch->database == MyDatabaseId &&
			strcmp(NameStr(watch->channel), channel) == 0)
			return i + 1;
		if (unused == 0 && !OidIsValid(watch->database))
			unused = i + 1;
	}
	return unused;
}

int
shared_watch(Oid relation, const char *channel, const char *schema, const char *table)
{
	NotifydWatch *watch;
	int number;

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	number = shared_find_watch(relation, channel);
	if (number != 0)
	{
		watch = &notifyd_shared->watches[number - 1];
		if (!OidIsValid(watch->database))
			pg_atomic_write_u64(&watch->events, 0);
		watch->database = MyDatabaseId;
		watch->relation = relation;
		namestrcpy(&watch->channel, channel);
		namestrcpy(&watch->schema, schema);
		namestrcpy(&watch->table, table);
	}
	LWLockRelease(&notifyd_shared->lock);
	return number;
}

void
shared_count_watch(int watch, uint32 events)
{
	(void) pg_atomic_fetch_add_u64(&notifyd_shared->watches[watch - 1].events, events);
}

NotifydBackend *
shared_my_backend(void)
{
	int number = compat_proc_number();
	NotifydBackend *backend;

	Assert(number >= 0 && number < notifyd_shared->nbackends);
	backend = &notifyd_shared->backends[number];
	backend->pid = MyProcPid;
	return backend;
}

/*
 * The process that is woken clears the latch pointer, perhaps between our read and SetLatch(). The
 * latch is in a PGPROC, whose memory is never freed, so at worst another process is woken in vain.
 */
static void
shared_set_latch(Latch *volatile *where)
{
	Latch *latch = *where;

	if (latch != NULL)
		SetLatch(latch);
}

void
shared_wake_launcher(void)
{
	if (notifyd_shared != NULL)
		shared_set_latch((Latch *volatile *) &notifyd_shared->launcher_latch);
}

void
shared_wake_feed(NotifydDatabase *database)
{
	shared_set_latch((Latch *volatile *) &database->feed_latch);
}

void
shared_wake_all_feeds(void)
{
	if (notifyd_shared == NULL)
		return;
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
		shared_wake_feed(&notifyd_shared->databases[i]);
}

void
shared_want_feed(Oid oid)
{
	NotifydDatabase *database = shared_find_database(oid);

	if (database == NULL)
		return; /* the entry existed before the commit, so the database was dropped since */

	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	feed_life_step(&database->life, FEED_EVENT_CREATED, GetCurrentTimestamp());
	LWLockRelease(&notifyd_shared->lock);

	shared_wake_feed(database);
	shared_wake_launcher();
}

void
shared_visit(Oid oid)
{
	NotifydDatabase *database = shared_find_database(oid);

	if (database == NULL)
		return;
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	database->visit_at = GetCurrentTimestamp();
	LWLockRelease(&notifyd_shared->lock);
	shared_wake_launcher();
}

/*
 * The sockets' names begin like those of PostgreSQL's temporary files, because base backups and
 * pg_rewind skip such files. With other names a base backup would warn of the sockets, and
 * pg_rewind would fail.
 */
void
shared_gateway_socket(int gateway, char *path, size_t size)
{
	Assert(size >= NOTIFYD_SOCKET_SIZE);
	snprintf(path, size, NOTIFYD_SOCKET_DIR "/pgsql_tmp.gateway.%d.sock", gateway);
}
