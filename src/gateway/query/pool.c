/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  The workers of a database, and the queries of clients that wait for them.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/query/pool.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"

struct PoolQuery
{
	TAILQ_ENTRY(PoolQuery) in_client;  /* while it waits */
	TAILQ_ENTRY(PoolQuery) in_waiting; /* the same */
	LIST_ENTRY(PoolQuery) in_worker;   /* when a worker has it */
	Pool *pool;
	PoolClient *client; /* NULL: cancelled */
	PoolWorker *worker; /* NULL: it waits */
	PoolSource *source; /* while it is the one that its worker executes */
	const PoolEvents *events;
	void *owner;
	uint64_t since;
	uint32_t credit; /* bytes that were written and not returned to the worker yet */
	WireQuery wire;
	char text[]; /* of wire */
};

struct PoolWorker
{
	LIST_ENTRY(PoolWorker) in_pool;
	Pool *pool;
	void *link;
	LIST_HEAD(, PoolQuery) queries; /* sent and not answered */
	PoolQuery *running;             /* the one that it executes; NULL: it takes another */
	uint32_t last_number;
};

/* Credit is returned in pieces of at least this size. */
#define POOL_CREDIT_PIECE (WIRE_REPLAY_WINDOW / 4)

/* ---------------- queries ---------------- */

static WireBytes
pool_copy(char **to, WireBytes bytes)
{
	WireBytes copy = {.data = *to, .len = bytes.len};

	if (bytes.len > 0)
		memcpy(*to, bytes.data, bytes.len);
	*to += bytes.len;
	return copy;
}

static PoolQuery *
pool_new_query(const WireQuery *wire)
{
	size_t size = (size_t) wire->token.len + wire->method.len + wire->path.len + wire->query.len +
				  wire->headers.len + wire->name.len + wire->filter.len + wire->columns.len +
				  wire->order.len + wire->body.len + wire->named.len;
	PoolQuery *query = memory_zeroed(sizeof(PoolQuery) + size);
	char *to = query->text;

	query->wire = *wire;
	query->wire.token = pool_copy(&to, wire->token);
	query->wire.method = pool_copy(&to, wire->method);
	query->wire.path = pool_copy(&to, wire->path);
	query->wire.query = pool_copy(&to, wire->query);
	query->wire.headers = pool_copy(&to, wire->headers);
	query->wire.name = pool_copy(&to, wire->name);
	query->wire.filter = pool_copy(&to, wire->filter);
	query->wire.columns = pool_copy(&to, wire->columns);
	query->wire.order = pool_copy(&to, wire->order);
	query->wire.body = pool_copy(&to, wire->body);
	query->wire.named = pool_copy(&to, wire->named);
	return query;
}

/* ---------------- turns ---------------- */

static int
pool_compare_sources(const PoolSource *a, const PoolSource *b)
{
	return memcmp(a->address, b->address, sizeof(a->address));
}

RB_GENERATE_STATIC(PoolSourceTree, PoolSource, in_pool, pool_compare_sources)

static PoolSource *
pool_find_or_create_source(Pool *pool, const PoolClient *client)
{
	PoolSource key = {.running = 0};
	PoolSource *source;

	if (client->from != NULL)
		memcpy(key.address, client->from->key, sizeof(key.address));
	source = RB_FIND(PoolSourceTree, &pool->sources, &key);
	if (source != NULL)
		return source;
	source = memory_zeroed(sizeof(PoolSource));
	*source = key;
	TAILQ_INIT(&source->turns);
	RB_INSERT(PoolSourceTree, &pool->sources, source);
	return source;
}

/* Let the source take turns if it has clients that wait. Frees it if it has nothing. */
static void
pool_file_source(Pool *pool, PoolSource *source)
{
	bool may = !TAILQ_EMPTY(&source->turns);

	if (may && !source->in_turn)
		TAILQ_INSERT_TAIL(&pool->turns, source, in_turns);
	else if (!may && source->in_turn)
		TAILQ_REMOVE(&pool->turns, source, in_turns);
	source->in_turn = may;
	if (!may && source->running == 0)
	{
		RB_REMOVE(PoolSourceTree, &pool->sources, source);
		free(source);
	}
}

/* The source whose turn it is, or NULL. Those that have queries running are at most as many as there are workers. */
static PoolSource *
pool_next_source(const Pool *pool)
{
	PoolSource *best = TAILQ_FIRST(&pool->turns);
	PoolSource *source;

	TAILQ_FOREACH(source, &pool->turns, in_turns)
	{
		if (source->running < best->running)
			best = source;
		if (best->running == 0)
			break;
	}
	return best;
}

/* Let the client take a turn if it may. */
static void
pool_enter_turns(Pool *pool, PoolClient *client)
{
	if (client->source != NULL || client->blocked || client->running != NULL ||
		TAILQ_EMPTY(&client->queries))
		return;
	client->source = pool_find_or_create_source(pool, client);
	TAILQ_INSERT_TAIL(&client->source->turns, client, in_turns);
	pool_file_source(pool, client->source);
}

static void
pool_leave_turns(Pool *pool, PoolClient *client)
{
	PoolSource *source = client->source;

	if (source == NULL)
		return;
	client->source = NULL;
	TAILQ_REMOVE(&source->turns, client, in_turns);
	pool_file_source(pool, source);
}

/* ---------------- queries that wait and run ---------------- */

/* A waiting query waits no more. */
static void
pool_stop_waiting(PoolQuery *query)
{
	TAILQ_REMOVE(&query->client->queries, query, in_client);
	TAILQ_REMOVE(&query->pool->waiting, query, in_waiting);
	query->pool->nwaiting--;
	if (TAILQ_EMPTY(&query->client->queries))
		pool_leave_turns(query->pool, query->client);
}

/* The query runs no more: its client may run another. */
static void
pool_stop_running(PoolQuery *query)
{
	PoolClient *client = query->client;

	if (query->worker->running == query)
	{
		query->worker->running = NULL;
		query->source->running--;
		pool_file_source(query->pool, query->source);
	}
	if (client != NULL && client->running == query)
	{
		client->running = NULL;
		pool_enter_turns(query->pool, client);
	}
}

/* End a query that is in no queue, and give its owner the answer. */
static void
pool_answer(PoolQuery *query, const WireMessage *answer)
{
	const PoolEvents *events = query->events;
	void *owner = query->owner;
	bool wanted = query->client != NULL;

	if (wanted)
		query->client->count--;
	free(query);
	if (wanted)
		events->answer(owner, answer);
}

static void
pool_fail(PoolQuery *query, WireQueryReason reason, WireBytes message)
{
	WireMessage answer = {.type = WIRE_FAILED};

	answer.u.failed.reason = (uint8_t) reason;
	answer.u.failed.message = message;
	pool_answer(query, &answer);
}

static WireBytes
pool_bytes(const char *text)
{
	return (WireBytes){.data = text, .len = (uint32_t) strlen(text)};
}

/* ---------------- workers ---------------- */

static PoolWorker *
pool_idle_worker(const Pool *pool)
{
	PoolWorker *worker;

	LIST_FOREACH(worker, &pool->workers, in_pool)
	{
		if (worker->running == NULL)
			return worker;
	}
	return NULL;
}

static void
pool_send(Pool *pool, PoolWorker *worker, PoolQuery *query)
{
	WireMessage message = {.type = WIRE_QUERY};

	query->worker = worker;
	query->source = query->client->source;
	query->source->running++;
	query->wire.request = ++worker->last_number;
	LIST_INSERT_HEAD(&worker->queries, query, in_worker);
	worker->running = query;
	query->client->running = query;
	pool_stop_waiting(query);
	pool_leave_turns(pool, query->client);
	message.u.query = query->wire;
	pool->pools->send(worker->link, &message);
}

static void
pool_ask(Pool *pool)
{
	uint64_t now = pool->pools->now();

	if (pool->asked_at != 0 && now - pool->asked_at < POOL_ASK_MS)
		return;
	pool->asked_at = now;
	pool->pools->want(pool->database);
}

/* Give queries to idle workers, and ask for more workers if some queries wait. */
static void
pool_dispatch(Pool *pool)
{
	PoolSource *source;
	PoolWorker *worker;

	while ((source = pool_next_source(pool)) != NULL && (worker = pool_idle_worker(pool)) != NULL)
	{
		/* Its next turn is after all others. */
		TAILQ_REMOVE(&pool->turns, source, in_turns);
		TAILQ_INSERT_TAIL(&pool->turns, source, in_turns);
		pool_send(pool, worker, TAILQ_FIRST(&TAILQ_FIRST(&source->turns)->queries));
	}
	if (source != NULL)
		pool_ask(pool);
}

PoolWorker *
pool_worker(Pool *pool, void *link)
{
	PoolWorker *worker = memory_zeroed(sizeof(PoolWorker));

	worker->pool = pool;
	worker->link = link;
	LIST_INIT(&worker->queries);
	LIST_INSERT_HEAD(&pool->workers, worker, in_pool);
	pool->asked_at = 0;
	pool_dispatch(pool);
	return worker;
}

/* Let a query that no worker has executed wait again, before the others. */
static void
pool_requeue(PoolQuery *query)
{
	Pool *pool = query->pool;

	query->worker = NULL;
	query->source = NULL;
	TAILQ_INSERT_HEAD(&query->client->queries, query, in_client);
	TAILQ_INSERT_HEAD(&pool->waiting, query, in_waiting);
	pool->nwaiting++;
	pool_enter_turns(pool, query->client);
}

void
pool_worker_lost(PoolWorker *worker, bool goodbye)
{
	Pool *pool = worker->pool;
	PoolQuery *query;

	LIST_REMOVE(worker, in_pool);
	worker->link = NULL;
	while ((query = LIST_FIRST(&worker->queries)) != NULL)
	{
		bool running = worker->running == query;

		LIST_REMOVE(query, in_worker);
		pool_stop_running(query);
		if (goodbye && running && query->client != NULL)
			pool_requeue(query);
		else if (query->wire.kind == WIRE_QUERY_SNAPSHOT)
			pool_fail(query, WIRE_QUERY_BUSY, pool_bytes("the worker has ended"));
		else
			pool_fail(
				query, WIRE_QUERY_INTERNAL,
				pool_bytes("the worker has ended; it is not known whether the query was executed"));
	}
	free(worker);
	pool_dispatch(pool);
}

static PoolQuery *
pool_find(const PoolWorker *worker, uint32_t number)
{
	PoolQuery *query;

	LIST_FOREACH(query, &worker->queries, in_worker)
	{
		if (query->wire.request == number)
			return query;
	}
	return NULL;
}

static bool
pool_answered(PoolWorker *worker, uint32_t number, const WireMessage *message)
{
	PoolQuery *query = pool_find(worker, number);
	Pool *pool = worker->pool;

	if (query == NULL)
		return false;
	LIST_REMOVE(query, in_worker);
	pool_stop_running(query);
	pool_answer(query, message);
	pool_dispatch(pool);
	return true;
}

static bool
pool_rows(PoolWorker *worker, const WireRows *rows)
{
	PoolQuery *query = pool_find(worker, rows->request);

	if (query == NULL)
		return false;
	if (query->client != NULL)
		query->events->rows(query->owner, rows);
	return true;
}

static bool
pool_spooled(PoolWorker *worker, uint32_t number)
{
	PoolQuery *query = pool_find(worker, number);

	if (query == NULL)
		return false;
	pool_stop_running(query);
	pool_dispatch(worker->pool);
	return true;
}

bool
pool_message(PoolWorker *worker, const WireMessage *message)
{
	switch (message->type)
	{
		case WIRE_ROWS:
			return pool_rows(worker, &message->u.rows);
		case WIRE_SPOOLED:
			return pool_spooled(worker, message->u.spooled.request);
		case WIRE_SNAPSHOT_DONE:
			return pool_answered(worker, message->u.snapshot_done.request, message);
		case WIRE_RESULT:
			return pool_answered(worker, message->u.result.request, message);
		case WIRE_FAILED:
			return pool_answered(worker, message->u.failed.request, message);
		default:
			return false;
	}
}

/* ---------------- clients ---------------- */

void
pool_init(Pool *pool, const Pools *pools, WireBytes database)
{
	pool->pools = pools;
	pool->database = database;
	LIST_INIT(&pool->workers);
	RB_INIT(&pool->sources);
	TAILQ_INIT(&pool->turns);
	TAILQ_INIT(&pool->waiting);
	pool->nwaiting = 0;
	pool->asked_at = 0;
}

/* Answer the queries that have waited since then or longer. */
static void
pool_fail_waiting(Pool *pool, uint64_t since, WireBytes message)
{
	PoolQuery *query;

	while ((query = TAILQ_FIRST(&pool->waiting)) != NULL && query->since <= since)
	{
		pool_stop_waiting(query);
		pool_fail(query, WIRE_QUERY_BUSY, message);
	}
}

void
pool_end(Pool *pool)
{
	PoolWorker *worker;

	while ((worker = LIST_FIRST(&pool->workers)) != NULL)
	{
		pool->pools->drop(worker->link);
		pool_worker_lost(worker, false);
	}
	pool_fail_waiting(pool, UINT64_MAX, pool_bytes("the database is not served any more"));
}

void
pool_no_worker(Pool *pool, WireBytes reason)
{
	if (LIST_EMPTY(&pool->workers))
		pool_fail_waiting(pool, UINT64_MAX, reason);
}

void
pool_client_init(PoolClient *client)
{
	memset(client, 0, sizeof(*client));
	TAILQ_INIT(&client->queries);
}

PoolQuery *
pool_submit(Pool *pool, PoolClient *client, const WireQuery *wire, const PoolEvents *events,
			void *owner)
{
	PoolQuery *query = pool_new_query(wire);

	query->pool = pool;
	query->client = client;
	query->events = events;
	query->owner = owner;
	query->since = pool->pools->now();
	client->pool = pool;
	client->count++;
	if (pool->nwaiting >= POOL_MAX_WAITING)
	{
		pool_fail(query, WIRE_QUERY_BUSY, pool_bytes("too many queries wait for a worker"));
		return NULL;
	}
	TAILQ_INSERT_TAIL(&client->queries, query, in_client);
	TAILQ_INSERT_TAIL(&pool->waiting, query, in_waiting);
	pool->nwaiting++;
	pool_enter_turns(pool, client);
	pool_dispatch(pool);
	return query;
}

void
pool_cancel(PoolQuery *query)
{
	PoolClient *client = query->client;
	PoolWorker *worker = query->worker;
	WireMessage message = {.type = WIRE_QUERY_CANCEL};

	if (worker == NULL)
	{
		pool_stop_waiting(query);
		client->count--;
		free(query);
		return;
	}
	/* The worker answers all the same, and gets no other query before. */
	client->count--;
	query->client = NULL;
	if (client->running == query)
	{
		client->running = NULL;
		pool_enter_turns(query->pool, client);
	}
	message.u.query_cancel.request = query->wire.request;
	if (worker->link != NULL)
		query->pool->pools->send(worker->link, &message);
}

void
pool_cancel_all(PoolClient *client)
{
	PoolWorker *worker;
	PoolQuery *query;

	client->blocked = true;
	while ((query = TAILQ_FIRST(&client->queries)) != NULL)
		pool_cancel(query);
	if (client->count == 0)
		return;
	LIST_FOREACH(worker, &client->pool->workers, in_pool)
	{
		LIST_FOREACH(query, &worker->queries, in_worker)
		{
			if (query->client == client)
				pool_cancel(query);
		}
	}
}

void
pool_credit(PoolQuery *query, uint32_t bytes)
{
	WireMessage message = {.type = WIRE_QUERY_CREDIT};
	uint32_t piece = query->wire.window / 4;

	if (query->worker == NULL || query->worker->link == NULL)
		return;
	query->credit += bytes;
	/* What is not returned yet leaves the worker most of its window. */
	if (query->credit < (piece < POOL_CREDIT_PIECE ? piece : POOL_CREDIT_PIECE))
		return;
	message.u.query_credit.request = query->wire.request;
	message.u.query_credit.bytes = query->credit;
	query->credit = 0;
	query->pool->pools->send(query->worker->link, &message);
}

void
pool_block(PoolClient *client)
{
	client->blocked = true;
	pool_leave_turns(client->pool, client);
}

void
pool_unblock(PoolClient *client)
{
	client->blocked = false;
	pool_enter_turns(client->pool, client);
	pool_dispatch(client->pool);
}

void
pool_tick(Pool *pool)
{
	uint64_t now;

	if (pool->nwaiting == 0)
		return;
	now = pool->pools->now();
	if (now >= POOL_WAIT_MS)
		pool_fail_waiting(pool, now - POOL_WAIT_MS, pool_bytes("no worker was free for too long"));
	if (!TAILQ_EMPTY(&pool->turns))
		pool_ask(pool);
}
