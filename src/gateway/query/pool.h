/*-------------------------------------------------------------------------
 *
 * pool.h
 *	  The workers of a database, and the queries of clients that wait for them.
 *
 * A client's queries run one after the other. A free worker gets a query of the address that fewest workers run
 * queries for, so that many clients of one address do not keep out others; clients of an address take turns. A worker
 * gets one query at a time. Queries that wait too long, or of which there are too many, are answered with
 * WIRE_QUERY_BUSY.
 *
 * This module has no socket and no clock. It sends frames through Pools.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_POOL_H
#define GATEWAY_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv/tree.h>

#include "gateway/net/address.h"
#include "wire/wire.h"

#define POOL_MAX_WAITING 1000  /* queries of a database that wait for a worker */
#define POOL_WAIT_MS     10000 /* as long as each of them may wait */
#define POOL_ASK_MS      1000  /* how often the launcher is asked for a worker */

typedef struct PoolQuery PoolQuery;
typedef struct PoolWorker PoolWorker;

/* What a query's owner gets: parts, and then one answer. The frame is valid during the call. */
typedef struct PoolEvents
{
	/* A part of a snapshot, or of the result of a progressive call. */
	void (*rows)(void *owner, const WireRows *rows);
	/* The answer, after which the query does not exist any more: RESULT, SNAPSHOT_DONE or FAILED. */
	void (*answer)(void *owner, const WireMessage *answer);
} PoolEvents;

/* What all databases share. Set by the caller. */
typedef struct Pools
{
	uint64_t (*now)(void); /* milliseconds of a clock that never goes back */
	void (*send)(void *link, const WireMessage *message);
	void (*want)(WireBytes database); /* ask the launcher for a worker */
	void (*drop)(void *link); /* close a worker's link, which the pool does not know any more */
} Pools;

TAILQ_HEAD(PoolQueryQueue, PoolQuery);

/* An address with clients that wait, or whose queries workers run. */
typedef struct PoolSource
{
	RB_ENTRY(PoolSource) in_pool;
	TAILQ_ENTRY(PoolSource) in_turns; /* while clients wait */
	bool in_turn;
	TAILQ_HEAD(, PoolClient) turns; /* of its clients */
	uint32_t running;               /* workers that run its queries, also cancelled ones */
	uint8_t address[ADDRESS_SIZE];
} PoolSource;

/* Somebody with queries: a session, or an HTTP request. It is zero at first. */
typedef struct PoolClient
{
	struct Pool *pool;                /* of its queries; NULL: it had none yet */
	const Address *from;              /* set by the owner; NULL: none */
	TAILQ_ENTRY(PoolClient) in_turns; /* while it has waiting queries, and may run one */
	PoolSource *source;               /* whose turns these are; NULL: none */
	bool blocked;                     /* its owner has no room for an answer, see pool_block() */
	PoolQuery *running;               /* NULL: none */
	struct PoolQueryQueue queries;    /* waiting */
	unsigned int count;               /* all of its queries that were not answered */
} PoolClient;

RB_HEAD(PoolSourceTree, PoolSource);
TAILQ_HEAD(PoolTurns, PoolSource);
LIST_HEAD(PoolWorkerList, PoolWorker);

typedef struct Pool
{
	const Pools *pools;
	WireBytes database; /* owned by the caller */
	struct PoolWorkerList workers;
	struct PoolSourceTree sources;
	struct PoolTurns turns;        /* the last one that had a turn is last */
	struct PoolQueryQueue waiting; /* of all clients, oldest first */
	uint32_t nwaiting;
	uint64_t asked_at; /* when the launcher was last asked; 0: not since a worker came */
} Pool;

extern void pool_init(Pool *pool, const Pools *pools, WireBytes database);

/* Answer all queries, and drop the workers, at the end. */
extern void pool_end(Pool *pool);

/* A worker has connected on this link. */
extern PoolWorker *pool_worker(Pool *pool, void *link);

/*
 * The worker's link was lost. goodbye: the worker has said that it executed no query that it has not answered.
 */
extern void pool_worker_lost(PoolWorker *worker, bool goodbye);

/* Process a frame from a worker. Returns false if a worker may not send it. */
extern bool
pool_message(PoolWorker *worker, const WireMessage *message) __attribute__((warn_unused_result));

/* The launcher cannot start a worker, for this reason. */
extern void pool_no_worker(Pool *pool, WireBytes reason);

extern void pool_client_init(PoolClient *client);

/*
 * Run a query, which is copied; its number is assigned here. owner is the argument of the events. May answer at once.
 * Returns NULL if it has.
 */
extern PoolQuery *pool_submit(Pool *pool, PoolClient *client, const WireQuery *query,
							  const PoolEvents *events, void *owner);

/* The owner does not want the answer any more. There are no events after this. */
extern void pool_cancel(PoolQuery *query);

/* The same for all queries of a client. */
extern void pool_cancel_all(PoolClient *client);

/* The owner has written so many bytes of the query's rows to the client. */
extern void pool_credit(PoolQuery *query, uint32_t bytes);

/* Run no query of the client while its last answer waits for room; run them again. */
extern void pool_block(PoolClient *client);
extern void pool_unblock(PoolClient *client);

/* Called once a second: answer queries that have waited too long, and ask for workers. */
extern void pool_tick(Pool *pool);

#endif /* GATEWAY_POOL_H */
