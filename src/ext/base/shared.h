/*-------------------------------------------------------------------------
 *
 * shared.h
 *	  What the processes of pg_notifyd share: one small fixed piece of shared memory.
 *
 * Three kinds of entry: one per database (ids, the feed, counters), one per backend
 * (the ids it has in flight) and one per gateway (counters). Nothing here survives a
 * restart, and nothing here has to: what must survive is in the log tables.
 *
 * Locks, in the order in which they may be taken together:
 *	  NotifydShared.lock		the set of databases; life of feeds and gateways
 *	  NotifydDatabase.lock		the id counter, the current segment and its tail; held for a few
 *								instructions, never across I/O or an error
 * In-flight marks are written by their backend and read by the feed without a lock,
 * see log.h.
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

/*
 * PostgreSQL counts time from 2000 on: so many microseconds after 1970, from which ids and the
 * gateways count.
 */
#define NOTIFYD_UNIX_EPOCH ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

#define NOTIFYD_MAX_DATABASES 1024
#define NOTIFYD_LOG_SEGMENTS  8
#define NOTIFYD_MAX_GATEWAYS  64

/*
 * A feed that has not gone through its loop for so long, in ms, is said not to respond. It does so
 * once a second at least.
 */
#define NOTIFYD_SILENT_MS 5000

/*
 * What processors write while others do is in a cache line of its own, or in one with what they
 * write at the same time: to get a line that another processor has written takes as long as some
 * hundred instructions.
 */
#define NOTIFYD_CACHE_LINE pg_attribute_aligned(64)

typedef struct NotifydDatabase
{
	Oid oid; /* InvalidOid: a free entry. Written under NotifydShared.lock */

	/* The feed, under NotifydShared.lock. */
	FeedLife life;
	pid_t feed_pid;
	Latch *feed_latch; /* of the running feed, else NULL */
	pid_t hold_pid;    /* a backend needs the database without us: the feed ends and stays away */
	int hold_level;    /* nesting level of the (sub)transaction in which it does */
	bool looked;       /* a feed has seen whether the extension is there, and gateways know of it */
	TimestampTz visit_at; /* FEED_ASLEEP: when retention needs it; 0: not as things are */

	/*
	 * Ids, and the log's tail (log_ids.c, log_tail.c). All are written under lock; incarnation,
	 * recent_watermark and tail are read without it, too.
	 */
	NOTIFYD_CACHE_LINE LWLock lock;
	Oid incarnation; /* OID of notifyd.log_0 when the rest was set from the log; InvalidOid: not yet */
	int segment;     /* the log table being written */
	uint64 next_id;                    /* the next id to be given out */
	pg_atomic_uint64 recent_watermark; /* an earlier watermark, which rows record */
	pg_atomic_uint64 tail;             /* file and block that rows are added to; 0: not known */
	uint32 tail_room;                  /* bytes of that block that nobody has reserved */
	uint32 tail_end;                   /* the file has at least so many blocks */

	/* Commit to feed. */
	NOTIFYD_CACHE_LINE pg_atomic_uint64
		commit_lsn;                  /* end of the newest commit record with events */
	pg_atomic_uint64 unmeasured;     /* bytes written to the log since retention looked at it */
	pg_atomic_uint64 events_written; /* counter for notifyd.stats, as below */
	pg_atomic_uint64 waiting_since;  /* see log_lag.c; 0: no commit waits */
	pg_atomic_uint32 feed_asleep;    /* 1: whoever commits has to set the feed's latch */

	/* Set from the log with the incarnation. */
	NOTIFYD_CACHE_LINE uint64 first_at_start; /* what next_id was set to */
	uint64 watermark_at_start; /* the last watermark that the log's rows recorded then */
	uint32 timeline;           /* of this start, see log_timeline.c; 0: none yet */
	uint64 next_bulk;          /* the next provisional number of a bulk write, under lock */

	/* Counters for notifyd.stats. Each has one writer or is atomic. */
	pg_atomic_uint64 events_sent;
	pg_atomic_uint64 bytes_sent;
	pg_atomic_uint64 notifies_sent;
	pg_atomic_uint64 position;      /* id up to which the slowest link has been sent everything */
	pg_atomic_uint64 oldest;        /* events up to and with this id can no longer be had */
	pg_atomic_uint64 log_bytes;     /* of all segments, measured now and then */
	pg_atomic_uint32 segments;      /* how many are in use */
	pg_atomic_uint64 reading_since; /* see log_lag.c, as the next one */
	pg_atomic_uint64
		delivered; /* id up to which the slowest link has been sent everything that was decided */
	pg_atomic_uint64 alive_at; /* when the feed last went through its loop; 0: not yet */
	pg_atomic_uint32 subscriptions;
	pg_atomic_uint32 links;
} NotifydDatabase;

/* One per PGPROC. Written by its own backend only. */
typedef struct NotifydBackend
{
	NOTIFYD_CACHE_LINE pg_atomic_uint64
		first_id;                  /* smallest id reserved and not yet decided; 0: none */
	pg_atomic_uint32 database;     /* index of the database those are of */
	pg_atomic_uint32 bulk_segment; /* 1 + the segment that a bulk write of ours goes to; 0: none */
	int pid;
} NotifydBackend;

typedef struct NotifydGateway
{
	pid_t pid; /* 0: not running. Under NotifydShared.lock, as all below */
	bool ready;
	bool silent; /* it does not answer */
	TimestampTz started_at;
	int restarts;
	uint32 clients;
	uint32 subscriptions;
	uint64 accepted;
	uint64 refused;
	uint64 closed_slow;
	uint64 events;
	uint64 messages;
	uint64 bytes;
	uint64 queued;
} NotifydGateway;

typedef struct NotifydShared
{
	LWLock lock;
	pid_t launcher_pid;
	Latch *launcher_latch; /* NULL: not running */
	pg_atomic_uint32
		gateway_generation; /* grows whenever a gateway becomes ready: feeds connect again */
	pg_atomic_uint32
		slots_short; /* 1: databases wait for a worker slot: feeds that nobody needs leave soon */
	pg_atomic_uint32
		database_generation; /* grows when the launcher has to look at pg_database again */
	int nbackends;
	NotifydGateway gateways[NOTIFYD_MAX_GATEWAYS];
	NotifydDatabase databases[NOTIFYD_MAX_DATABASES];
	NotifydBackend backends[FLEXIBLE_ARRAY_MEMBER];
} NotifydShared;

/* NULL where the library was not loaded by shared_preload_libraries. */
extern NotifydShared *notifyd_shared;

/* Install the shared memory hooks; from _PG_init under shared_preload_libraries. */
extern void shared_init(void);

/*
 * Raise ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, with the line for postgresql.conf as
 * the hint, unless the shared memory is there.
 */
extern void shared_require(void);

/*
 * The entry of a database, made if there is none. Errors with
 * ERRCODE_CONFIGURATION_LIMIT_EXCEEDED if the table is full, where add returns NULL.
 * find returns NULL instead of making one. All take NotifydShared.lock. forget frees the
 * entry of a database that is gone and has no feed; its caller holds that lock
 * exclusively.
 */
extern NotifydDatabase *shared_database(Oid oid);
extern NotifydDatabase *shared_add_database(Oid oid);
extern NotifydDatabase *shared_find_database(Oid oid);
extern void shared_forget_database(NotifydDatabase *database);
extern int shared_database_index(const NotifydDatabase *database);

/*
 * CREATE EXTENSION has committed in a database: its feed is to be started, or looks again where it
 * runs. Does nothing for a database without an entry. Cannot fail: fit for commit callbacks.
 */
extern void shared_want_feed(Oid oid);

/* This backend's entry. */
extern NotifydBackend *shared_my_backend(void);

/*
 * Wake the launcher, a database's feed, or every feed, if they run. Never error, take
 * no lock and no memory: fit for commit callbacks. Spurious wakes are possible.
 */
extern void shared_wake_launcher(void);
extern void shared_wake_feed(NotifydDatabase *database);
extern void shared_wake_all_feeds(void);

/*
 * Relative paths of the sockets that gateways bind and feeds connect to. Always take
 * the path from shared_gateway_socket(). Fits into sun_path; size: at least
 * NOTIFYD_SOCKET_SIZE.
 */
#define NOTIFYD_SOCKET_SIZE 64
#define NOTIFYD_SOCKET_DIR  "pg_notifyd"
extern void shared_gateway_socket(int gateway, char *path, size_t size);

#endif /* PG_NOTIFYD_SHARED_H */
