/*-------------------------------------------------------------------------
 *
 * link.c
 *	  The connections of feeds and backends.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/link/link.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/link/clients.h"
#include "gateway/base/log.h"
#include "gateway/base/memory.h"
#include "gateway/net/peer.h"

#define LINK_BACKLOG 128

typedef struct Link
{
	LIST_ENTRY(Link) in_all;
	Peer *peer;
	Database *database; /* NULL before HELLO, and after another link has replaced this one */
	Clients *clients;   /* of a backend: the rest of its list */
	PoolWorker *worker; /* of a worker */
	uint64_t opened_at;
} Link;

static uv_loop_t *link_loop;
static uv_pipe_t link_listener;
static uint16_t link_gateway;
static Hub *link_hub;
static LIST_HEAD(, Link) link_all = LIST_HEAD_INITIALIZER(link_all);

void
link_send(void *link, const WireMessage *message)
{
	peer_send(((Link *) link)->peer, message);
}

/* Answer HELLO. The frames of the hub come after it. */
static bool
link_greet(Link *link, const WireHello *hello)
{
	WireMessage answer = {.type = WIRE_HELLO};

	if (hello->version != WIRE_VERSION)
	{
		log_write(WIRE_LOG_ERROR,
				  "a feed speaks version %u of the wire format, the gateway version %u",
				  hello->version, WIRE_VERSION);
		return false;
	}
	answer.u.hello = (WireHello){
		.version = WIRE_VERSION,
		.gateway = link_gateway,
		.database = {.data = "", .len = 0},
	};
	peer_send(link->peer, &answer);
	return true;
}

static bool
link_hello(Link *link, const WireHello *hello)
{
	void *replaced;

	if (!link_greet(link, hello))
		return false;
	if (hello->database.len == 0)
	{
		/* Not a feed: a backend asks for the clients. link_on_drained() continues. */
		link->clients = clients_begin(link_hub->sessions);
		return true;
	}
	link->database = hub_hello(link_hub, hello, link, &replaced);
	if (replaced != NULL)
	{
		((Link *) replaced)->database = NULL;
		peer_close(((Link *) replaced)->peer, "replaced by a new connection");
	}
	log_write(WIRE_LOG_DEBUG, "the feed of database \"%s\" is connected", link->database->name);
	return true;
}

static bool
link_hello_worker(Link *link, const WireHello *hello)
{
	if (!link_greet(link, hello))
		return false;
	link->worker = hub_worker(link_hub, hello, link);
	return link->worker != NULL;
}

/* A frame of a worker. */
static bool
link_worker_message(Link *link, const WireMessage *message)
{
	if (message->type == WIRE_GOODBYE)
	{
		pool_worker_lost(link->worker, true);
		link->worker = NULL;
		peer_close(link->peer, "the worker has said goodbye");
		return true;
	}
	if (pool_message(link->worker, message))
		return true;
	log_write(WIRE_LOG_ERROR, "unexpected frame of type %d from a worker", (int) message->type);
	return false;
}

void
link_drop(void *link)
{
	((Link *) link)->worker = NULL;
	peer_close(((Link *) link)->peer, "the database is gone");
}

static bool
link_on_message(void *arg, const WireMessage *message, const WireMessage *next)
{
	Link *link = arg;

	if (link->clients != NULL)
		return false;
	if (link->worker != NULL)
		return link_worker_message(link, message);
	if (link->database == NULL && message->type == WIRE_HELLO_WORKER)
		return link_hello_worker(link, &message->u.hello);
	if (link->database == NULL)
		return message->type == WIRE_HELLO && link_hello(link, &message->u.hello);
	/* A POSITION causes no writes to clients. */
	sessions_expect(link_hub->sessions, next != NULL && next->type != WIRE_POSITION);
	switch (hub_message(link_hub, link->database, message))
	{
		case HUB_OK:
			return true;
		case HUB_GOODBYE:
			link->database = NULL;
			peer_close(link->peer, "the feed has said goodbye");
			return true;
		case HUB_BAD:
			log_write(WIRE_LOG_ERROR,
					  "unexpected frame of type %d from the feed of database \"%s\"",
					  (int) message->type, link->database->name);
			return false;
	}
	return false;
}

void
link_database_gone(WireBytes name)
{
	Link *link = hub_gone(link_hub, name);

	if (link != NULL)
	{
		link->database = NULL;
		peer_close(link->peer, "the database is gone");
	}
}

/*
 * A backend has taken a piece of the list: send the next one. The backend closes the connection at
 * the end.
 */
static void
link_on_drained(void *arg)
{
	Link *link = arg;

	if (link->clients != NULL)
		clients_send(link->clients, link_send, link);
}

static void
link_on_closed(void *arg, const char *why)
{
	Link *link = arg;

	if (link->clients != NULL)
		clients_end(link->clients);
	if (link->worker != NULL)
		pool_worker_lost(link->worker, false);
	if (link->database != NULL)
	{
		log_write(WIRE_LOG_DEBUG, "the feed of database \"%s\" is gone: %s", link->database->name,
				  why);
		hub_lost(link->database);
	}
	LIST_REMOVE(link, in_all);
	free(link);
}

static const PeerEvents link_events = {
	.message = link_on_message, .drained = link_on_drained, .closed = link_on_closed};

/* Return true if the peer's process runs as our own user (unix(7)). */
static bool
link_peer_trusted(Peer *peer)
{
	struct ucred peer_is;
	socklen_t size = sizeof(peer_is);
	uv_os_fd_t fd;

	if (uv_fileno((uv_handle_t *) peer_stream(peer), &fd) != 0 ||
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer_is, &size) != 0)
		return false;
	if (peer_is.uid == geteuid())
		return true;
	log_write(WIRE_LOG_WARNING, "user %d may not connect to the feeds' socket", (int) peer_is.uid);
	return false;
}

static void
link_on_connection(uv_stream_t *listener, int status)
{
	Link *link;

	if (status != 0)
	{
		log_write(WIRE_LOG_WARNING, "could not accept a feed: %s", uv_strerror(status));
		return;
	}
	link = memory_zeroed(sizeof(Link));
	link->peer = peer_new(link_loop, &link_events, link);
	link->opened_at = uv_now(link_loop);
	LIST_INSERT_HEAD(&link_all, link, in_all);
	if (uv_accept(listener, (uv_stream_t *) peer_stream(link->peer)) != 0 ||
		!link_peer_trusted(link->peer) || !peer_start(link->peer))
		peer_close(link->peer, "not accepted");
}

bool
link_start(uv_loop_t *loop, int listener, uint16_t gateway, Hub *hub)
{
	int result;

	link_loop = loop;
	link_gateway = gateway;
	link_hub = hub;
	(void) uv_pipe_init(loop, &link_listener, 0);
	result = uv_pipe_open(&link_listener, listener);
	if (result == 0)
		result = uv_listen((uv_stream_t *) &link_listener, LINK_BACKLOG, link_on_connection);
	if (result != 0)
		log_write(WIRE_LOG_ERROR, "could not accept feeds on descriptor %d: %s", listener,
				  uv_strerror(result));
	return result == 0;
}

void
link_tick(void)
{
	Link *link;

	LIST_FOREACH(link, &link_all, in_all)
	{
		/* It has sent no HELLO, or is a backend that does not close the connection. */
		if (link->database == NULL && link->worker == NULL &&
			uv_now(link_loop) - link->opened_at > LINK_HELLO_MS)
			peer_close(link->peer, "it has not become a feed in time");
	}
}

bool
link_waits(void)
{
	const Link *link;

	LIST_FOREACH(link, &link_all, in_all)
	{
		if (link->database == NULL && link->worker == NULL)
			return true;
	}
	return false;
}
