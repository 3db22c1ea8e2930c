/*-------------------------------------------------------------------------
 *
 * query_link.c
 *	  The worker's connections to the gateways.
 *
 * All sockets are non-blocking. Queries that have arrived wait in one list, oldest first. A gateway sends a
 * worker one query at a time, so there are few.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "ext/base/compat.h"
#include "ext/base/settings.h"
#include "ext/query/query.h"

#define LINK_READS 16 /* maximum reads from a link in one round */

/* How long, and how often, the end of the worker waits for answers to be sent. */
#define LINK_GOODBYE_MS    50
#define LINK_GOODBYE_LOOKS 20

/* A link with more unsent bytes than this gets no more rows for now. */
#define LINK_HIGH_WATER (1024 * 1024)

struct QueryLink
{
	int gateway;
	FrameSocket socket;
	bool greeted;
};

static QueryLink *links[NOTIFYD_MAX_GATEWAYS];
static dlist_head link_queries = DLIST_STATIC_INIT(link_queries);
static char link_database[NAMEDATALEN];
static MemoryContext link_context;
static uint32 link_generation; /* of the gateways, at the last attempt to connect */
static WaitEventSet *link_wait_set;
static bool link_wait_set_stale = true;
static int link_wait_positions[NOTIFYD_MAX_GATEWAYS];

void
query_link_init(const char *database)
{
	strlcpy(link_database, database, sizeof(link_database));
	link_context = CurrentMemoryContext;
}

static void
link_free_query(ClientQuery *query)
{
	dlist_delete(&query->node);
	MemoryContextDelete(query->context);
}

static void
link_close(QueryLink *link, const char *why)
{
	dlist_mutable_iter iter;

	if (link->socket.fd == PGINVALID_SOCKET)
		return;
	ereport(DEBUG1, (errmsg_internal("link to gateway %d closed: %s", link->gateway, why)));
	frames_close(&link->socket);
	link->greeted = false;
	link_wait_set_stale = true;
	spool_drop_link(link);
	dlist_foreach_modify (iter, &link_queries)
	{
		ClientQuery *query = dlist_container(ClientQuery, node, iter.cur);

		if (query->link == link)
			link_free_query(query);
	}
}

/* End a link on which a frame arrived that a gateway of this version does not send. */
static void
link_reject(QueryLink *link, const char *what)
{
	ereport(LOG, (errcode(ERRCODE_PROTOCOL_VIOLATION),
				  errmsg("gateway %d sent an invalid frame to a worker of database \"%s\"",
						 link->gateway, link_database),
				  errdetail("%s", what)));
	link_close(link, what);
}

static void
link_connect(QueryLink *link)
{
	WireMessage hello = {.type = WIRE_HELLO_WORKER};

	if (!frames_open(&link->socket))
		return;
	if (!frames_connect(&link->socket, link->gateway))
	{
		frames_close(&link->socket);
		return;
	}
	hello.u.hello.version = WIRE_VERSION;
	hello.u.hello.database_oid = MyDatabaseId;
	hello.u.hello.database = frames_bytes(link_database);
	frames_queue(&link->socket, &hello);
	link_wait_set_stale = true;
}

void
query_link_connect_all(bool retry)
{
	uint32 generation = pg_atomic_read_u32(&notifyd_shared->gateway_generation);

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (i >= notifyd_gateways)
		{
			if (links[i] != NULL)
				link_close(links[i], "there are fewer gateways now");
			continue;
		}
		if (links[i] == NULL)
		{
			MemoryContext before = MemoryContextSwitchTo(link_context);

			links[i] = palloc0(sizeof(QueryLink));
			links[i]->gateway = i;
			frames_init(&links[i]->socket, WIRE_MAX_QUERY);
			MemoryContextSwitchTo(before);
		}
		if (links[i]->socket.fd == PGINVALID_SOCKET && (retry || generation != link_generation))
			link_connect(links[i]);
	}
	link_generation = generation;
}

int
query_link_gateway(const ClientQuery *query)
{
	return query->link->gateway;
}

/* ---------------- frames ---------------- */

static WireBytes
link_copy(WireBytes bytes)
{
	char *copy = palloc(bytes.len + 1);

	memcpy(copy, bytes.data, bytes.len);
	copy[bytes.len] = '\0';
	return (WireBytes){.data = copy, .len = bytes.len};
}

/* Return what is wrong with a query for any client, or NULL. */
static const char *
link_query_problem(const WireQuery *query)
{
	if (query->kind < WIRE_QUERY_SNAPSHOT || query->kind >= WIRE_QUERY_KINDS)
		return "QUERY has an unknown kind.";
	if (query->token.len > WIRE_MAX_TOKEN)
		return "The token of QUERY is too long.";
	if (!pg_verify_mbstr(PG_UTF8, query->name.data, (int) query->name.len, true) ||
		!pg_verify_mbstr(PG_UTF8, query->body.data, (int) query->body.len, true) ||
		!pg_verify_mbstr(PG_UTF8, query->filter.data, (int) query->filter.len, true) ||
		!pg_verify_mbstr(PG_UTF8, query->order.data, (int) query->order.len, true) ||
		!pg_verify_mbstr(PG_UTF8, query->path.data, (int) query->path.len, true) ||
		!pg_verify_mbstr(PG_UTF8, query->query.data, (int) query->query.len, true))
		return "A text of QUERY is not valid UTF-8.";
	return NULL;
}

static bool
link_has_waiting(const QueryLink *link)
{
	dlist_iter iter;

	dlist_foreach (iter, &link_queries)
	{
		if (dlist_container(ClientQuery, node, iter.cur)->link == link)
			return true;
	}
	return false;
}

static void
link_add_query(QueryLink *link, const WireQuery *wire)
{
	const char *problem = link_query_problem(wire);
	MemoryContext context;
	MemoryContext before;
	ClientQuery *query;

	if (problem == NULL && link_has_waiting(link))
		problem = "QUERY comes before the last one has been executed.";
	if (problem != NULL)
	{
		link_reject(link, problem);
		return;
	}
	context = AllocSetContextCreate(link_context, "pg_notifyd query", ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(context);
	query = palloc0(sizeof(ClientQuery));
	query->link = link;
	query->context = context;
	query->wire = *wire;
	query->wire.token = link_copy(wire->token);
	query->wire.method = link_copy(wire->method);
	query->wire.path = link_copy(wire->path);
	query->wire.query = link_copy(wire->query);
	query->wire.headers = link_copy(wire->headers);
	query->wire.name = link_copy(wire->name);
	query->wire.filter = link_copy(wire->filter);
	query->wire.columns = link_copy(wire->columns);
	query->wire.order = link_copy(wire->order);
	query->wire.body = link_copy(wire->body);
	initStringInfo(&query->body);
	initStringInfo(&query->headers);
	dlist_push_tail(&link_queries, &query->node);
	MemoryContextSwitchTo(before);
}

/* The client does not want the answer to a query that has not begun. */
static void
link_cancel_query(QueryLink *link, uint32 request)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &link_queries)
	{
		ClientQuery *query = dlist_container(ClientQuery, node, iter.cur);
		WireMessage failed = {.type = WIRE_FAILED};

		if (query->link != link || query->wire.request != request)
			continue;
		failed.u.failed.request = request;
		failed.u.failed.reason = WIRE_QUERY_CANCELLED;
		query_link_answer(query, &failed);
		link_free_query(query);
	}
}

static void
link_handle(QueryLink *link, const WireMessage *message)
{
	if (!link->greeted && message->type != WIRE_HELLO)
	{
		link_reject(link, "The first frame is not HELLO.");
		return;
	}
	switch (message->type)
	{
		case WIRE_HELLO:
			if (link->greeted)
				link_reject(link, "The gateway sent HELLO twice.");
			else if (!frames_version_ok(link->gateway, message->u.hello.version, LOG))
				link_close(link, "other version");
			else
				link->greeted = true;
			break;
		case WIRE_QUERY:
			link_add_query(link, &message->u.query);
			break;
		case WIRE_QUERY_CANCEL:
			link_cancel_query(link, message->u.query_cancel.request);
			if (!spool_cancel(link, message->u.query_cancel.request))
				cancel_received(&link->socket, message->u.query_cancel.request);
			break;
		case WIRE_QUERY_CREDIT:
			(void) spool_credit(link, message->u.query_credit.request,
								message->u.query_credit.bytes);
			break;
		default:
			link_reject(link, "A gateway does not send frames of this type to a worker.");
			break;
	}
}

static void
link_dispatch(QueryLink *link)
{
	WireMessage message;
	WireResult result = WIRE_MORE;

	while (link->socket.fd != PGINVALID_SOCKET &&
		   (result = frames_next(&link->socket, &message)) == WIRE_OK)
		link_handle(link, &message);
	if (result == WIRE_BAD)
		link_reject(link, "The frame is malformed.");
}

bool
query_link_receive_all(void)
{
	bool received = false;

	cancel_pause(true);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		QueryLink *link = links[i];

		for (int reads = 0;
			 link != NULL && link->socket.fd != PGINVALID_SOCKET && reads < LINK_READS; reads++)
		{
			int got = frames_receive(&link->socket);

			if (got < 0)
				link_close(link, errno != 0 ? strerror(errno) : "end of file");
			if (got <= 0)
				break;
			received = true;
			link_dispatch(link);
			if (got < FRAMES_READ_SIZE)
				break;
		}
	}
	cancel_pause(false);
	return received;
}

void
query_link_send_all(void)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		QueryLink *link = links[i];

		if (link != NULL && link->socket.fd != PGINVALID_SOCKET &&
			frames_unsent(&link->socket) > 0 && !frames_flush(&link->socket))
			link_close(link, strerror(errno));
	}
}

/* ---------------- queries ---------------- */

ClientQuery *
query_link_next_query(void)
{
	if (dlist_is_empty(&link_queries))
		return NULL;
	return dlist_container(ClientQuery, node, dlist_pop_head_node(&link_queries));
}

bool
query_link_wants(const ClientQuery *query)
{
	return query->link->socket.fd != PGINVALID_SOCKET;
}

bool
query_link_has_room(const ClientQuery *query)
{
	return query_link_wants(query) && frames_unsent(&query->link->socket) < LINK_HIGH_WATER;
}

void
query_link_answer(const ClientQuery *query, const WireMessage *message)
{
	frames_queue(&query->link->socket, message);
}

FrameSocket *
query_link_socket(const ClientQuery *query)
{
	return &query->link->socket;
}

/* ---------------- waiting and ending ---------------- */

static void
link_make_wait_set(void)
{
	if (link_wait_set != NULL)
		FreeWaitEventSet(link_wait_set);
	link_wait_set = compat_create_wait_event_set(2 + NOTIFYD_MAX_GATEWAYS);
	AddWaitEventToSet(link_wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(link_wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (links[i] != NULL && links[i]->socket.fd != PGINVALID_SOCKET)
			link_wait_positions[i] = AddWaitEventToSet(link_wait_set, WL_SOCKET_READABLE,
													   links[i]->socket.fd, NULL, NULL);
	}
	link_wait_set_stale = false;
}

void
query_link_wait(long timeout)
{
	static uint32 wait_event = 0;
	WaitEvent event;

	if (wait_event == 0)
		COMPAT_WAIT_EVENT(wait_event, "NotifydWorkerMain");
	if (link_wait_set_stale)
		link_make_wait_set();
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (links[i] != NULL && links[i]->socket.fd != PGINVALID_SOCKET)
			ModifyWaitEvent(link_wait_set, link_wait_positions[i],
							WL_SOCKET_READABLE |
								(frames_unsent(&links[i]->socket) > 0 ? WL_SOCKET_WRITEABLE : 0),
							NULL);
	}
	(void) WaitEventSetWait(link_wait_set, timeout, &event, 1, wait_event);
}

static bool
link_any_unsent(void)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (links[i] != NULL && links[i]->socket.fd != PGINVALID_SOCKET &&
			frames_unsent(&links[i]->socket) > 0)
			return true;
	}
	return false;
}

void
query_link_goodbye_all(const char *reason)
{
	WireMessage message = {.type = WIRE_GOODBYE};

	/* An answer that is on its way is the only thing that says that its query was executed. */
	for (int i = 0; i < LINK_GOODBYE_LOOKS && link_any_unsent(); i++)
	{
		query_link_wait(LINK_GOODBYE_MS);
		query_link_send_all();
	}
	message.u.goodbye.reason = frames_bytes(reason);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (links[i] == NULL || links[i]->socket.fd == PGINVALID_SOCKET)
			continue;
		frames_queue(&links[i]->socket, &message);
		if (!frames_flush(&links[i]->socket))
			link_close(links[i], strerror(errno));
	}
}
