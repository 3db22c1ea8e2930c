/*-------------------------------------------------------------------------
 *
 * link.c
 *	  The feed's connections to the gateways.
 *
 * All sockets are non-blocking: the feed never waits for a gateway. What a gateway does not take
 * stays queued here, and beyond LINK_HIGH_WATER in the log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "miscadmin.h"
#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "ext/base/compat.h"
#include "ext/base/failpoint.h"
#include "ext/feed/feed.h"
#include "ext/base/settings.h"

#define LINK_READ_SIZE (16 * 1024)
#define LINK_READS     4 /* of a link in one round */

/* A buffer that has grown beyond this is given back when it is empty. */
#define LINK_RETAIN (4 * LINK_HIGH_WATER)

/* What the latch is waited for with; made anew whenever the set of sockets changes. */
static WaitEventSet *link_wait_set;
static bool link_wait_set_stale = true;
static int link_wait_positions[NOTIFYD_MAX_GATEWAYS];

WireBytes
link_bytes(const char *string)
{
	return (WireBytes){.data = string, .len = (uint32_t) strlen(string)};
}

bool
link_version_ok(int gateway, int version, int elevel)
{
	if (version == WIRE_VERSION)
		return true;
	ereport(
		elevel,
		(errcode(ERRCODE_PROTOCOL_VIOLATION),
		 errmsg("gateway %d uses version %d of the link protocol, but the library uses version %d",
				gateway, version, WIRE_VERSION),
		 errhint(
			 "Install the gateway and the library of the same release, and restart the server.")));
	return false;
}

/* Nothing is in the buffer any more. */
static void
link_empty(StringInfo buffer)
{
	MemoryContext context;

	resetStringInfo(buffer);
	if (buffer->maxlen <= LINK_RETAIN)
		return;
	context = MemoryContextSwitchTo(GetMemoryChunkContext(buffer->data));
	pfree(buffer->data);
	initStringInfo(buffer);
	MemoryContextSwitchTo(context);
}

static int
link_unsent(const Link *link)
{
	return link->out.len - link->out_sent;
}

static void
link_close(Link *link, const char *why)
{
	if (link->fd == PGINVALID_SOCKET)
		return;
	ereport(DEBUG1, (errmsg_internal("link to gateway %d closed: %s", link->gateway, why)));
	close(link->fd);
	link->fd = PGINVALID_SOCKET;
	link->greeted = false;
	link->notifies_lost = false;
	link->out_sent = 0;
	link->queued = 0;
	link->sent = 0;
	link->delivered = 0;
	link->mark = 0;
	link->mark_bytes = 0;
	link_empty(&link->in);
	link_empty(&link->out);
	stream_drop_link(link);
	link_wait_set_stale = true;
}

void
link_send(Link *link, const WireMessage *message)
{
	size_t room;
	size_t size;

	if (link->fd == PGINVALID_SOCKET)
		return;
	if (link->out_sent > 0 && link->out_sent == link->out.len)
	{
		resetStringInfo(&link->out);
		link->out_sent = 0;
	}
	room = link->out.maxlen - link->out.len;
	size = wire_encode(message, link->out.data + link->out.len, room);
	if (size > room)
	{
		enlargeStringInfo(&link->out, (int) size);
		size = wire_encode(message, link->out.data + link->out.len, size);
	}
	link->out.len += (int) size;
	link->queued += size;
}

static void
link_send_hello(Link *link)
{
	WireMessage message = {.type = WIRE_HELLO};

	message.u.hello.version = WIRE_VERSION;
	message.u.hello.database_oid = MyDatabaseId;
	message.u.hello.database = link_bytes(link->feed->database_name);
	message.u.hello.position =
		(WirePosition){.timeline = link->feed->timeline, .id = link->position};
	link_send(link, &message);
}

static Link *
link_create(Feed *feed, int gateway)
{
	MemoryContext context = MemoryContextSwitchTo(feed->context);
	Link *link = palloc0(sizeof(Link));
	HASHCTL subs = {.keysize = sizeof(uint32), .entrysize = sizeof(Sub), .hcxt = feed->context};
	HASHCTL sessions = {
		.keysize = sizeof(uint32), .entrysize = sizeof(Session), .hcxt = feed->context};

	link->feed = feed;
	link->gateway = gateway;
	link->fd = PGINVALID_SOCKET;
	initStringInfo(&link->in);
	initStringInfo(&link->out);
	dlist_init(&link->replays);
	link->subs =
		hash_create("pg_notifyd subscriptions", 256, &subs, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	link->sessions =
		hash_create("pg_notifyd sessions", 256, &sessions, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	MemoryContextSwitchTo(context);
	return link;
}

/* A gateway that is not there yet is no error: the launcher tells when it is. */
static void
link_connect(Link *link)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
	{
		ereport(LOG, (errmsg("could not create socket for gateway %d: %m", link->gateway)));
		return;
	}
	shared_gateway_socket(link->gateway, address.sun_path, sizeof(address.sun_path));
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
	{
		close(fd);
		return;
	}
	link->fd = fd;
	link_wait_set_stale = true;

	StartTransactionCommand();
	feed_jump(link);
	CommitTransactionCommand();
	link_send_hello(link);
}

void
link_connect_all(Feed *feed, bool retry)
{
	uint32 generation = pg_atomic_read_u32(&notifyd_shared->gateway_generation);
	int links = 0;

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (i >= notifyd_gateways)
		{
			if (feed->links[i] != NULL)
				link_close(feed->links[i], "there are fewer gateways now");
			continue;
		}
		if (feed->links[i] == NULL)
			feed->links[i] = link_create(feed, i);
		if (feed->links[i]->fd == PGINVALID_SOCKET &&
			(retry || generation != feed->gateway_generation))
			link_connect(feed->links[i]);
		links += feed->links[i]->greeted;
	}
	feed->gateway_generation = generation;
	pg_atomic_write_u32(&feed->database->links, links);
}

static void
link_handle(Link *link, const WireMessage *message)
{
	switch (message->type)
	{
		case WIRE_HELLO:
			if (link_version_ok(link->gateway, message->u.hello.version, LOG))
				link->greeted = true;
			else
				link_close(link, "other version");
			break;
		case WIRE_SUBSCRIBE:
			stream_subscribe(link, &message->u.subscribe);
			break;
		case WIRE_UNSUBSCRIBE:
			stream_unsubscribe(link, message->u.unsubscribe.sub);
			break;
		case WIRE_REPLAY_CREDIT:
			stream_credit(link, &message->u.credit);
			break;
		default:
			link_close(link, "unexpected frame");
			break;
	}
}

/* Handle the complete frames that are in the buffer and keep the rest. */
static void
link_dispatch(Link *link)
{
	size_t at = 0;

	while (link->fd != PGINVALID_SOCKET)
	{
		WireMessage message;
		size_t used;
		WireResult result = wire_decode(link->in.data + at, link->in.len - at, &message, &used);

		if (result == WIRE_MORE)
			break;
		if (result == WIRE_BAD)
		{
			link_close(link, "malformed frame");
			return;
		}
		link_handle(link, &message);
		at += used;
	}
	if (link->fd == PGINVALID_SOCKET || at == 0)
		return;
	memmove(link->in.data, link->in.data + at, link->in.len - at);
	link->in.len -= (int) at;
}

static bool
link_receive(Link *link)
{
	bool received = false;

	for (int reads = 0; reads < LINK_READS && link->fd != PGINVALID_SOCKET; reads++)
	{
		ssize_t got;

		enlargeStringInfo(&link->in, LINK_READ_SIZE);
		got = recv(link->fd, link->in.data + link->in.len, LINK_READ_SIZE, 0);
		if (got == 0)
			link_close(link, "end of file");
		else if (got < 0 && errno == EINTR)
			continue;
		else if (got < 0)
		{
			if (errno != EAGAIN && errno != EWOULDBLOCK)
				link_close(link, strerror(errno));
			break;
		}
		else
		{
			received = true;
			link->in.len += (int) got;
			link_dispatch(link);
			if (got < LINK_READ_SIZE)
				break;
		}
	}
	return received;
}

bool
link_receive_all(Feed *feed)
{
	bool received = false;

	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
		received |= feed->links[i] != NULL && link_receive(feed->links[i]);
	stream_settle(feed);
	return received;
}

static void
link_flush(Link *link)
{
	if (link->fd == PGINVALID_SOCKET || link_unsent(link) == 0)
		return;
	FAIL_POINT("feed-before-send");
	while (link->fd != PGINVALID_SOCKET && link_unsent(link) > 0)
	{
		ssize_t sent =
			send(link->fd, link->out.data + link->out_sent, link_unsent(link), MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
		{
			if (errno != EAGAIN && errno != EWOULDBLOCK)
				link_close(link, strerror(errno));
			break;
		}
		link->out_sent += (int) sent;
		link->sent += (uint64) sent;
	}
	if (link_unsent(link) == 0)
	{
		link_empty(&link->out);
		link->out_sent = 0;
	}
	else if (link->out_sent > LINK_HIGH_WATER)
	{
		memmove(link->out.data, link->out.data + link->out_sent, link_unsent(link));
		link->out.len -= link->out_sent;
		link->out_sent = 0;
	}
}

void
link_send_all(Feed *feed)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (feed->links[i] != NULL)
			link_flush(feed->links[i]);
	}
}

bool
link_ready(const Link *link)
{
	return link != NULL && link->fd != PGINVALID_SOCKET && link->greeted &&
		   link_unsent(link) < LINK_HIGH_WATER;
}

void
link_note_delivered(Link *link)
{
	if (link->sent < link->mark_bytes)
		return;
	link->delivered = Max(link->delivered, link->mark);
	link->mark = link->reader.after;
	link->mark_bytes = link->queued;
	if (link->sent == link->queued)
		link->delivered = Max(link->delivered, link->mark);
}

/*
 * For how long the oldest event that the link has not been sent has waited, or the commit that it
 * waits for. In ms.
 */
static uint32
link_behind_ms(Link *link, bool behind, TimestampTz now)
{
	NotifydDatabase *database = link->feed->database;
	TimestampTz since;

	if (!behind)
		return link->feed->held_ms;
	/* Where the event read last is from long ago, what has come since is younger. */
	since = Max(link->last_event_at, (TimestampTz) pg_atomic_read_u64(&database->reading_since));
	return Max(link->feed->held_ms, (uint32) TimestampDifferenceMilliseconds(since, now));
}

void
link_tell_position(Link *link, bool behind)
{
	TimestampTz now = GetCurrentTimestamp();
	WireMessage message = {.type = WIRE_POSITION};

	if (link->told == link->position &&
		!TimestampDifferenceExceeds(link->told_at, now, WIRE_HEARTBEAT_MS))
		return;
	message.u.position.id = link->position;
	message.u.position.renew = log_middle(&link->feed->map);
	message.u.position.behind_ms = link_behind_ms(link, behind, now);
	link_send(link, &message);
	link->told = link->position;
	link->told_at = now;
}

static void
link_make_wait_set(Feed *feed)
{
	if (link_wait_set != NULL)
		FreeWaitEventSet(link_wait_set);
	link_wait_set = compat_create_wait_event_set(2 + NOTIFYD_MAX_GATEWAYS);
	AddWaitEventToSet(link_wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(link_wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];

		if (link != NULL && link->fd != PGINVALID_SOCKET)
			link_wait_positions[i] =
				AddWaitEventToSet(link_wait_set, WL_SOCKET_READABLE, link->fd, NULL, NULL);
	}
	link_wait_set_stale = false;
}

void
link_wait(Feed *feed, long timeout)
{
	static uint32 wait_event = 0;
	WaitEvent event;

	if (wait_event == 0)
		COMPAT_WAIT_EVENT(wait_event, "NotifydFeedMain");
	if (link_wait_set_stale)
		link_make_wait_set(feed);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];

		if (link != NULL && link->fd != PGINVALID_SOCKET)
			ModifyWaitEvent(link_wait_set, link_wait_positions[i],
							WL_SOCKET_READABLE | (link_unsent(link) > 0 ? WL_SOCKET_WRITEABLE : 0),
							NULL);
	}
	(void) WaitEventSetWait(link_wait_set, timeout, &event, 1, wait_event);
}

void
link_goodbye_all(Feed *feed, const char *reason)
{
	WireMessage message = {.type = WIRE_GOODBYE};

	message.u.goodbye.reason = link_bytes(reason);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];

		if (link == NULL)
			continue;
		link_send(link, &message);
		link_flush(link);
		link_close(link, reason);
	}
}
