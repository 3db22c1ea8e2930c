/*-------------------------------------------------------------------------
 *
 * shared.h
 *	  The fixed piece of shared memory that the processes of pg_notifyd use.
 *
 * It has an entry for each database (ids, feed, counters), for each backend (ids in flight) and for
 * each gateway (counters). Nothing in it survives a restart, and nothing has to: the log tables
 * contain what must survive.
 *
 * Locks, in the order in which a process may take them together:
 *
 *	  NotifydShared.lock		the set of databases; states of feeds and gateways
 *	  NotifydDatabase.lock		the id counter, the current segment and its tail; held for a few
 *								instructions, never across I/O or an error
 *
 * A backend writes its own ids in flight, and the feed reads them without a lock, see log.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SHARED_H
#define PG_NOTIFYD_SHARED_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "ext/base/feed_life.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "wire/wire.h"

/*
 * PostgreSQL counts time from 2000 on. This many microseconds lie between 1970, where ids and the
 * gateways start to count, and then.
 */
#define NOTIFYD_UNIX_EPOCH ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

#define NOTIFYD_MAX_DATABASES 1024
#define NOTIFYD_LOG_SEGMENTS  8
#define NOTIFYD_MAX_GATEWAYS  64
#define NOTIFYD_MAX_WORKERS   64   /* of all databases together */
#define NOTIFYD_MAX_WATCHES   1024 /* that are counted by themselves, of all databases together */
#define NOTIFYD_TOKEN_KEY     32   /* bytes of the key of the server's own tokens */

/*
 * A feed that has not completed a round for this long, in ms, is reported as not responding. It
 * completes at least one round a second.
 */
#define NOTIFYD_SILENT_MS 5000

/* Why subscriptions get resets, for the statistics. */
typedef enum NotifydReset
{
	NOTIFYD_RESET_RETENTION = 0, /* events were removed before they were sent */
	NOTIFYD_RESET_POSITION,      /* the client's position is not one of this server's history */
	NOTIFYD_RESET_ROWS,          /* the rows that the subscription may see have changed */
	NOTIFYD_RESET_TABLE,         /* DDL, or a change that was not captured, see watch_reset.c */
	NOTIFYD_RESET_NOTIFICATIONS, /* raw notifications were lost */
} NotifydReset;
#define NOTIFYD_RESETS (NOTIFYD_RESET_NOTIFICATIONS + 1)

/* How queries of clients have ended. */
typedef enum NotifydAnswer
{
	NOTIFYD_ANSWER_DONE = 0,
	NOTIFYD_ANSWER_REFUSED, /* token, privilege, name or parameter */
	NOTIFYD_ANSWER_ERROR,
	NOTIFYD_ANSWER_TIMEOUT,
	NOTIFYD_ANSWER_CANCELLED,
} NotifydAnswer;
#define NOTIFYD_ANSWERS (NOTIFYD_ANSWER_CANCELLED + 1)

/*
 * Data that different processors write at the same time is in different cache lines, because
 * fetching a line that another processor has written takes as long as a few hundred instructions.
 */
#define NOTIFYD_CACHE_LINE pg_attribute_aligned(64)

typedef struct NotifydDatabase
{
	Oid oid; /* InvalidOid: unused entry. Written under NotifydShared.lock */

	/* The feed, under NotifydShared.lock. */
	FeedLife life;
	pid_t feed_pid;
	Latch *feed_latch; /* of the running feed; otherwise NULL */
	pid_t
		hold_pid; /* backend that needs the database without our processes: the feed ends, and none is started */
	int hold_level; /* nesting level of the (sub)transaction that holds it */
	bool
		looked; /* a feed has checked whether the extension is installed, and gateways know the result */
	TimestampTz visit_at; /* FEED_ASLEEP: when retention needs a feed; 0: not at present */

	/*
	 * Ids, and the log's tail (log_ids.c, log_tail.c). All are written under lock; incarnation,
	 * recent_watermark and tail are read without it, too.
	 */
	NOTIFYD_CACHE_LINE LWLock lock;
	Oid incarnation; /* OID of notifyd.log_0 when the rest was read from the log; InvalidOid: not read yet */
	int segment;                       /* the log table being written */
	uint64 next_id;                    /* the next id to assign */
	pg_atomic_uint64 recent_watermark; /* an earlier watermark, which rows record */
	pg_atomic_uint64 tail;             /* file and block that rows are added to; 0: unknown */
	uint32 tail_room;                  /* unreserved bytes of that block */
	uint32 tail_end;                   /* the file has at least this many blocks */

	/* Written by commits, read by the feed. */
	NOTIFYD_CACHE_LINE pg_atomic_uint64
		commit_lsn;                  /* end of the newest commit record with events */
	pg_atomic_uint64 unmeasured;     /* bytes written to the log since retention last measured it */
	pg_atomic_uint64 events_written; /* counter for notifyd.stats, as below */
	pg_atomic_uint64 waiting_since;  /* see log_lag.c; 0: no commit waits */
	pg_atomic_uint32 feed_asleep;    /* 1: a commit must set the feed's latch */
	pg_atomic_uint32 consumers_waiting; /* waiting consumers of groups, see src/ext/group/ */

	/* Set from the log with the incarnation. */
	NOTIFYD_CACHE_LINE uint64 first_at_start; /* the first value of next_id */
	uint64 watermark_at_start; /* the last watermark recorded in the log's rows at that time */
	uint32 timeline;           /* of this start, see log_timeline.c; 0: none yet */
	uint64 next_bulk;          /* the next provisional id of a bulk write, under lock */

	/* Counters for notifyd.stats. Each has one writer or is atomic. */
	pg_atomic_uint64 events_sent;
	pg_atomic_uint64 bytes_sent;
	pg_atomic_uint64 notifies_sent;
	pg_atomic_uint64 refused_tokens;
	pg_atomic_uint64 position;      /* the slowest link has been sent everything up to this id */
	pg_atomic_uint64 oldest;        /* events up to this id are not available any more */
	pg_atomic_uint64 log_written;   /* bytes written to the log, without unmeasured */
	pg_atomic_uint64 log_bytes;     /* of all segments, measured from time to time */
	pg_atomic_uint32 segments;      /* number of segments in use */
	pg_atomic_uint64 reading_since; /* see log_lag.c, also for the next one */
	pg_atomic_uint64
		delivered;             /* the slowest link has been sent all decided events up to this id */
	pg_atomic_uint64 alive_at; /* when the feed last completed a round; 0: not yet */
	pg_atomic_uint64 locked_since; /* since when the feed waits for its lock; 0: it does not */
	pg_atomic_uint64 oldest_since; /* when the oldest segment began, and the next one; 0: unknown */
	pg_atomic_uint64 next_since;
	pg_atomic_uint32 subscriptions;
	pg_atomic_uint32 links;
	pg_atomic_uint64 queries;        /* of clients, that workers have run */
	pg_atomic_uint64 failed_queries; /* those that were refused or ended with an error */
	pg_atomic_uint64 answers[WIRE_QUERY_KINDS][NOTIFYD_ANSWERS];
	pg_atomic_uint64 replays; /* that have begun */
	pg_atomic_uint64 resets[NOTIFYD_RESETS];
	pg_atomic_uint64 policy_errors;
	pg_atomic_uint64 policy_us;       /* time that the feed has spent with policies and filters */
	pg_atomic_uint64 worker_restarts; /* workers that have ended although they were needed */
	WireLoad load; /* of all gateways, as they last reported it. Under NotifydShared.lock */
} NotifydDatabase;

/* One for each PGPROC. Only its own backend writes it. */
typedef struct NotifydBackend
{
	NOTIFYD_CACHE_LINE pg_atomic_uint64
		first_id;                  /* smallest id that is reserved and not decided yet; 0: none */
	pg_atomic_uint32 database;     /* index of the database of these ids */
	pg_atomic_uint32 bulk_segment; /* 1 + segment of this backend's bulk write; 0: none */
	int pid;
	TimestampTz since; /* when first_id was last set to an id */
} NotifydBackend;

typedef struct NotifydGateway
{
	pid_t pid; /* 0: not running. Under NotifydShared.lock, like the rest */
	bool ready;
	bool silent; /* it does not respond */
	TimestampTz started_at;
	TimestampTz seen_at;   /* when it last sent something to the launcher; 0: not yet */
	uint8 sandbox_missing; /* WIRE_SANDBOX_ bits */
	int restarts;
	WireStats stats; /* as it last reported them */
} NotifydGateway;

/* A worker that runs clients' queries. The launcher assigns the entry, the worker fills it in. */
typedef struct NotifydWorker
{
	Oid database;                /* InvalidOid: unused. Under NotifydShared.lock, like pid */
	pid_t pid;                   /* 0: it has not started, or has ended */
	bool ready;                  /* it was connected to its database */
	pg_atomic_uint64 busy_since; /* a TimestampTz; 0: it runs no query */
	uint8 kind;                  /* WireQueryKind of the query that it runs, or has run last */
} NotifydWorker;

/* The events of a watch. Under NotifydShared.lock, except for the counter. */
typedef struct NotifydWatch
{
	Oid database; /* InvalidOid: unused */
	Oid relation;
	NameData channel;
	NameData schema; /* names of the relation, in the database's encoding */
	NameData table;
	pg_atomic_uint64 events; /* committed */
} NotifydWatch;

typedef struct NotifydShared
{
	LWLock lock;
	pid_t launcher_pid;
	Latch *launcher_latch; /* NULL: not running */
	int launcher_starts;
	pg_atomic_uint32
		gateway_generation; /* increased when a gateway becomes ready: feeds connect again */
	pg_atomic_uint32
		slots_short; /* 1: databases wait for a worker slot, so feeds that are not needed end soon */
	pg_atomic_uint32
		database_generation;          /* increased when the launcher must read pg_database again */
	pg_atomic_uint32 gateway_clients; /* largest max_clients that gateways were given */
	pg_atomic_uint32 gateway_anonymous; /* 1: gateways were told to accept anonymous clients */
	uint8 token_key[NOTIFYD_TOKEN_KEY]; /* random, see token_own.h; never changes */
	int nbackends;
	NotifydGateway gateways[NOTIFYD_MAX_GATEWAYS];
	NotifydWorker workers[NOTIFYD_MAX_WORKERS];
	NotifydWatch watches[NOTIFYD_MAX_WATCHES];
	NotifydDatabase databases[NOTIFYD_MAX_DATABASES];
	NotifydBackend backends[FLEXIBLE_ARRAY_MEMBER];
} NotifydShared;

/* NULL unless the library was loaded by shared_preload_libraries. */
extern NotifydShared *notifyd_shared;

/* Install the shared memory hooks. Called by _PG_init() under shared_preload_libraries. */
extern void shared_init(void);

/*
 * Raise ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE if there is no shared memory. The hint is the line
 * for postgresql.conf.
 */
extern void shared_require(void);

/*
 * shared_database() returns the entry of a database, and creates it if necessary. If the table is
 * full it raises ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, while shared_add_database() returns NULL.
 * shared_find_database() returns NULL instead of creating an entry. All take NotifydShared.lock.
 * shared_forget_database() frees the entry of a dropped database without a feed; its caller holds
 * that lock exclusively.
 */
extern NotifydDatabase *shared_database(Oid oid);
extern NotifydDatabase *shared_add_database(Oid oid);
extern NotifydDatabase *shared_find_database(Oid oid);
extern void shared_forget_database(NotifydDatabase *database);
extern int shared_database_index(const NotifydDatabase *database);

/*
 * CREATE EXTENSION has committed in a database: start its feed or, if it runs, make it look again.
 * Does nothing for a database without an entry. Never raises an error, so commit callbacks may call
 * it.
 */
extern void shared_want_feed(Oid oid);

/*
 * If a database is asleep, start its feed for a moment, which looks whether the extension is still
 * installed. Never raises an error.
 */
extern void shared_visit(Oid oid);

/*
 * Return the number of the entry that counts the events of a table on a channel in this database, from 1;
 * 0: there are too many. The entry gets the table's present name.
 */
extern int shared_watch(Oid relation, const char *channel, const char *schema, const char *table);

/* Count events of the watch with this number. Never fails. */
extern void shared_count_watch(int watch, uint32 events);

/* Return this backend's entry. */
extern NotifydBackend *shared_my_backend(void);

/*
 * Wake the launcher, a database's feed, or all feeds, if they run. They never raise an error, take
 * no lock and need no memory, so commit callbacks may call them. A process may be woken in vain.
 */
extern void shared_wake_launcher(void);
extern void shared_wake_feed(NotifydDatabase *database);
extern void shared_wake_all_feeds(void);

/*
 * The relative paths of the sockets that gateways bind and feeds connect to. Always call
 * shared_gateway_socket() for the path. It fits into sun_path; size is at least
 * NOTIFYD_SOCKET_SIZE.
 */
#define NOTIFYD_SOCKET_SIZE 64
#define NOTIFYD_SOCKET_DIR  "pg_notifyd"
extern void shared_gateway_socket(int gateway, char *path, size_t size);

#endif /* PG_NOTIFYD_SHARED_H */
