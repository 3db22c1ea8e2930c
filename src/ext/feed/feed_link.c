/*-------------------------------------------------------------------------
 *
 * feed_link.c
 *	  The feed's connections to the gateways.
 *
 * All sockets are non-blocking, so the feed never waits for a gateway. What a gateway does not
 * accept stays queued here and, beyond LINK_HIGH_WATER, in the log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "ext/base/compat.h"
#include "ext/base/failpoint.h"
#include "ext/base/utf8.h"
#include "ext/feed/feed.h"
#include "ext/feed/feed_auth.h"
#include "ext/feed/feed_due.h"
#include "ext/feed/feed_identity.h"
#include "ext/feed/feed_publish.h"
#include "ext/feed/feed_route.h"
#include "ext/base/settings.h"
#include "ext/base/worker.h"
#include "wire/uri.h"

#define LINK_READS 4 /* maximum reads from a link in one round */

/* The wait event set of the latch and the sockets. It is created again when the sockets change. */
static WaitEventSet *link_wait_set;
static bool link_wait_set_stale = true;
static int link_wait_positions[NOTIFYD_MAX_GATEWAYS];

static void
link_close(Link *link, const char *why)
{
	if (link->socket.fd == PGINVALID_SOCKET)
		return;
	ereport(DEBUG1, (errmsg_internal("link to gateway %d closed: %s", link->gateway, why)));
	frames_close(&link->socket);
	link->greeted = false;
	link->notifies_lost = false;
	link->delivered = 0;
	link->mark = 0;
	link->mark_bytes = 0;
	sub_drop_link(link);
	publish_drop_link(link);
	route_drop_link(link);
	auth_drop_link(link);
	identity_drop_link(link);
	link_wait_set_stale = true;
}

/*
 * End a link on which a frame arrived that a gateway of this version does not send. The gateway may
 * have been taken over. The feed connects again, as after any other end of a link.
 */
static void
link_reject(Link *link, const char *what)
{
	ereport(LOG, (errcode(ERRCODE_PROTOCOL_VIOLATION),
				  errmsg("gateway %d sent an invalid frame to the feed of database \"%s\"",
						 link->gateway, link->feed->database_name),
				  errdetail("%s", what)));
	link_close(link, what);
}

static void
link_send_hello(Link *link)
{
	WireMessage message = {.type = WIRE_HELLO};

	message.u.hello.version = WIRE_VERSION;
	message.u.hello.database_oid = MyDatabaseId;
	message.u.hello.database = frames_bytes(link->feed->database_name);
	message.u.hello.position =
		(WirePosition){.timeline = link->feed->timeline, .id = link->position};
	frames_queue(&link->socket, &message);
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
	frames_init(&link->socket, WIRE_MAX_ROUTE_FRAME);
	dlist_init(&link->replays);
	dlist_init(&link->patterns);
	dlist_init(&link->kept);
	link->subs =
		hash_create("pg_notifyd subscriptions", 256, &subs, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	link->sessions =
		hash_create("pg_notifyd sessions", 256, &sessions, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	link->identities = identity_table(feed);
	dlist_init(&link->auths);
	MemoryContextSwitchTo(context);
	return link;
}

/* It is not an error if a gateway is not running: the launcher wakes the feed when it is. */
static void
link_connect(Link *link)
{
	if (!frames_open(&link->socket))
	{
		ereport(LOG, (errmsg("could not create socket for gateway %d: %m", link->gateway)));
		return;
	}
	if (!frames_connect(&link->socket, link->gateway))
	{
		frames_close(&link->socket);
		return;
	}
	link_wait_set_stale = true;

	worker_begin_transaction();
	position_jump(link);
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
		if (feed->links[i]->socket.fd == PGINVALID_SOCKET &&
			(retry || generation != feed->gateway_generation))
			link_connect(feed->links[i]);
		links += feed->links[i]->greeted;
	}
	feed->gateway_generation = generation;
	pg_atomic_write_u32(&feed->database->links, links);
}

/*
 * Return true if a table has room for one more connection. A gateway has at most max_clients; when
 * the setting is lowered it keeps those it has.
 */
static bool
link_has_room(HTAB *connections)
{
	return (uint32) hash_get_num_entries(connections) <
		   pg_atomic_read_u32(&notifyd_shared->gateway_clients);
}

/* Process AUTH, AUTH_USER or AUTH_SIGNATURE. */
static void
link_auth(Link *link, WireType type, uint32 session, uint64 number, WireBytes text)
{
	uint32 limit = type == WIRE_AUTH_USER ? WIRE_MAX_USER : WIRE_MAX_TOKEN;
	const char *problem = NULL;

	if (text.len == 0 || text.len > limit)
		problem = "The token, user or signature is empty or too long.";
	else if (type == WIRE_AUTH_USER && !pg_verify_mbstr(PG_UTF8, text.data, (int) text.len, true))
		problem = "The user is not valid UTF-8.";
	else if (identity_find(link, session) == NULL && !link_has_room(link->identities))
		problem = "More sessions have tokens than the gateway may have clients.";
	else if (!auth_has_room(link))
		problem = "More tokens wait for an answer than a gateway sends.";
	if (problem != NULL)
	{
		link_reject(link, problem);
		return;
	}
	auth_receive(link, type, session, number, text);
}

/* Process HELLO, which is the first frame and comes once. */
static void
link_hello(Link *link, const WireHello *hello)
{
	if (!frames_version_ok(link->gateway, hello->version, LOG))
		link_close(link, "other version");
	else if (link->greeted)
		link_reject(link, "The gateway sent HELLO twice.");
	else if (hello->gateway != link->gateway || hello->database.len > 0)
		link_reject(link, "HELLO names another gateway or a database.");
	else
		link->greeted = true;
}

static bool
link_selection_is_text(const WireSubscribe *request)
{
	WireBytes columns = request->columns;
	WireBytes column;

	while (wire_list_next(&columns, &column))
	{
		if (!pg_verify_mbstr(PG_UTF8, column.data, (int) column.len, true))
			return false;
	}
	return pg_verify_mbstr(PG_UTF8, request->filter.data, (int) request->filter.len, true);
}

/*
 * Return what is wrong with the identity of a request, or NULL. identity is the session's entry. A
 * number that the session was given is right, even if the identity has ended.
 */
static const char *
link_identity_problem(const FeedIdentity *identity, uint32 number)
{
	if (number != (identity != NULL ? identity->number : 0))
		return "A request has another identity than its session.";
	if (number == 0 && pg_atomic_read_u32(&notifyd_shared->gateway_anonymous) == 0)
		return "A request has no identity, and anonymous access is disabled.";
	return NULL;
}

/* Return what is wrong with the session and the identity of a SUBSCRIBE, or NULL. */
static const char *
link_session_problem(const Link *link, const WireSubscribe *request)
{
	const Session *session = hash_search(link->sessions, &request->session, HASH_FIND, NULL);
	const Sub *before = hash_search(link->subs, &request->sub, HASH_FIND, NULL);
	const char *problem =
		link_identity_problem(identity_find(link, request->session), request->identity);
	int limit = WIRE_MAX_SUBSCRIPTIONS;

	if (problem != NULL)
		return problem;
	/* A pattern may have ended here, and the gateway does not know yet. */
	if (session != NULL && session->patterned)
		limit += WIRE_MAX_CHILDREN;
	if (before != NULL && before->session->number != request->session)
		return "The number of SUBSCRIBE belongs to another session.";
	if (session == NULL && !link_has_room(link->sessions))
		return "More sessions have subscriptions than the gateway may have clients.";
	if (session != NULL && session->nsubs >= limit && before == NULL)
		return "A session has too many subscriptions.";
	if (request->match != URI_EXACT && session != NULL && session->npatterns >= WIRE_MAX_PATTERNS &&
		before == NULL)
		return "A session has too many subscriptions of patterns.";
	return NULL;
}

/* Return what is wrong with a SUBSCRIBE of a pattern for any client, or NULL. */
static const char *
link_pattern_problem(const WireSubscribe *request)
{
	if (request->match > URI_WILDCARD ||
		!uri_is_valid(request->match, request->channel.data, request->channel.len))
		return "SUBSCRIBE has an invalid pattern.";
	if (request->kinds != WIRE_KIND_NOTIFICATIONS || request->hold || request->filter.len > 0 ||
		request->has_columns)
		return "SUBSCRIBE of a pattern has what only those of a channel have.";
	return NULL;
}

/* Return what is wrong with a SUBSCRIBE for any client, or NULL. */
static const char *
link_subscribe_problem(const Link *link, const WireSubscribe *request)
{
	if (request->kinds == 0 || (request->kinds & ~WIRE_KIND_ALL) != 0 ||
		(request->ops & ~(WIRE_OP_ALL & ~WIRE_OP_NOTIFY)) != 0)
		return "SUBSCRIBE has unknown kinds or operations.";
	if (request->hold && (request->has_since || (request->kinds & WIRE_KIND_EVENTS) == 0))
		return "SUBSCRIBE is to be held, but has since or no events.";
	if (request->channel.len == 0 || request->channel.len >= NAMEDATALEN)
		return "The channel of SUBSCRIBE is empty or too long.";
	if (!pg_verify_mbstr(PG_UTF8, request->channel.data, (int) request->channel.len, true))
		return "The channel of SUBSCRIBE is not valid UTF-8.";
	if (request->filter.len > WIRE_MAX_FILTER || request->columns.len > WIRE_MAX_COLUMNS)
		return "The filter or the columns of SUBSCRIBE are too long.";
	if (!link_selection_is_text(request))
		return "The filter or a column of SUBSCRIBE is not valid UTF-8.";
	if (request->match != URI_EXACT && link_pattern_problem(request) != NULL)
		return link_pattern_problem(request);
	return link_session_problem(link, request);
}

static void
link_subscribe(Link *link, const WireSubscribe *request)
{
	const char *problem = link_subscribe_problem(link, request);

	if (problem != NULL)
	{
		link_reject(link, problem);
		return;
	}
	sub_begin();
	recheck_look(link->feed);
	sub_subscribe(link, request);
}

static void
link_unsubscribe(Link *link, const WireUnsubscribe *request)
{
	if (request->kinds == WIRE_KIND_ALL || request->kinds == WIRE_KIND_EVENTS)
		sub_unsubscribe(link, request);
	else
		link_reject(link, "UNSUBSCRIBE has unknown kinds.");
}

/* Requests that need a privilege name the identity of their session. */
static void
link_route(Link *link, const WireRoute *route)
{
	const FeedIdentity *identity = identity_find(link, route->session);
	const char *problem = NULL;

	if (route->kind == ROUTE_PUBLISH || route->kind == ROUTE_JOIN ||
		route->kind == ROUTE_REGISTER || route->kind == ROUTE_CALL)
		problem = link_identity_problem(identity, route->identity);
	if (problem == NULL)
	{
		sub_begin();
		recheck_look(link->feed);
		if (route->kind == ROUTE_PUBLISH)
			publish_receive(link, route->identity != 0 ? identity : NULL, route);
		else
			problem = route_receive(link, route);
	}
	if (problem != NULL)
		link_reject(link, problem);
}

/*
 * Process a frame without trusting the gateway. UNSUBSCRIBE and REPLAY_CREDIT with a number that is
 * not in use are ignored: the feed may have ended the subscription while the frame was on its way.
 */
static void
link_handle(Link *link, const WireMessage *message)
{
	if (!link->greeted && message->type != WIRE_HELLO)
	{
		link_reject(link, "The first frame is not HELLO.");
		return;
	}
	switch (message->type)
	{
		case WIRE_HELLO:
			link_hello(link, &message->u.hello);
			break;
		case WIRE_SUBSCRIBE:
			link_subscribe(link, &message->u.subscribe);
			break;
		case WIRE_UNSUBSCRIBE:
			link_unsubscribe(link, &message->u.unsubscribe);
			break;
		case WIRE_JOIN:
			if (!sub_join(link, &message->u.join))
				link_reject(link, "JOIN names a subscription that is not held.");
			break;
		case WIRE_REPLAY_CREDIT:
			sub_credit(link, &message->u.credit);
			break;
		case WIRE_AUTH:
			link_auth(link, message->type, message->u.auth.session, 0, message->u.auth.token);
			break;
		case WIRE_AUTH_USER:
			link_auth(link, message->type, message->u.auth_user.session,
					  message->u.auth_user.number, message->u.auth_user.user);
			break;
		case WIRE_AUTH_SIGNATURE:
			link_auth(link, message->type, message->u.auth_signature.session, 0,
					  message->u.auth_signature.signature);
			break;
		case WIRE_ROUTE_UP:
			link_route(link, &message->u.route);
			break;
		case WIRE_FORGET:
			if (!auth_forget(link, &message->u.forget))
				link_reject(link, "FORGET names a session that has presented no token.");
			break;
		default:
			link_reject(link, "A gateway does not send frames of this type to a feed.");
			break;
	}
}

/* Process the complete frames that have arrived. */
static void
link_dispatch(Link *link)
{
	WireMessage message;
	WireResult result = WIRE_MORE;

	while (link->socket.fd != PGINVALID_SOCKET &&
		   (result = frames_next(&link->socket, &message)) == WIRE_OK)
		link_handle(link, &message);
	if (result == WIRE_BAD)
		link_reject(link, "The frame is malformed.");
}

static bool
link_receive(Link *link)
{
	bool received = false;

	for (int reads = 0; reads < LINK_READS && link->socket.fd != PGINVALID_SOCKET; reads++)
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
	return received;
}

bool
link_receive_all(Feed *feed)
{
	bool received = false;

	route_begin_round(feed);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
		received |= feed->links[i] != NULL && link_receive(feed->links[i]);
	route_end_round(feed);
	publish_flush(feed);
	sub_commit(feed);
	return received;
}

static void
link_flush(Link *link)
{
	if (frames_unsent(&link->socket) == 0)
		return;
	FAIL_POINT("feed-before-send");
	if (!frames_flush(&link->socket))
		link_close(link, strerror(errno));
}

void
link_send_all(Feed *feed)
{
	if (feed->applied_unsaved)
		return;
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (feed->links[i] != NULL)
			link_flush(feed->links[i]);
	}
}

void
link_note_delivered(Link *link)
{
	if (link->socket.sent < link->mark_bytes)
		return;
	link->delivered = Max(link->delivered, link->mark);
	link->mark = link->reader.after;
	link->mark_bytes = link->socket.queued;
	if (link->socket.sent == link->socket.queued)
		link->delivered = Max(link->delivered, link->mark);
}

/*
 * Return how long the link's oldest unsent event has waited, or the commit that it waits for, in
 * ms.
 */
static uint32
link_behind_ms(Link *link, bool behind, TimestampTz now)
{
	NotifydDatabase *database = link->feed->database;
	TimestampTz since;

	if (!behind)
		return link->feed->held_ms;
	/* If the last event that was read is old, later ones are younger. */
	since = Max(link->last_event_at, (TimestampTz) pg_atomic_read_u64(&database->reading_since));
	return Max(link->feed->held_ms, (uint32) TimestampDifferenceMilliseconds(since, now));
}

void
link_send_position(Link *link, bool behind)
{
	TimestampTz now = link->feed->now;
	WireMessage message = {.type = WIRE_POSITION};

	if (!due_position(link->announced, link->position, link->announced_at, now))
		return;
	message.u.position.id = link->position;
	message.u.position.renew = log_middle(&link->feed->map);
	message.u.position.behind_ms = link_behind_ms(link, behind, now);
	frames_queue(&link->socket, &message);
	link->announced = link->position;
	link->announced_at = now;
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

		if (link != NULL && link->socket.fd != PGINVALID_SOCKET)
			link_wait_positions[i] =
				AddWaitEventToSet(link_wait_set, WL_SOCKET_READABLE, link->socket.fd, NULL, NULL);
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

		if (link != NULL && link->socket.fd != PGINVALID_SOCKET)
			ModifyWaitEvent(link_wait_set, link_wait_positions[i],
							WL_SOCKET_READABLE |
								(frames_unsent(&link->socket) > 0 ? WL_SOCKET_WRITEABLE : 0),
							NULL);
	}
	(void) WaitEventSetWait(link_wait_set, timeout, &event, 1, wait_event);
}

bool
link_all_greeted(const Feed *feed)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		const Link *link = feed->links[i];

		if (link != NULL && link->socket.fd != PGINVALID_SOCKET && !link->greeted)
			return false;
	}
	return true;
}

void
link_group_ready(void *arg, int gateway, const char *group)
{
	Link *link = gateway < NOTIFYD_MAX_GATEWAYS ? ((Feed *) arg)->links[gateway] : NULL;
	WireMessage message = {.type = WIRE_GROUP_READY};
	StringInfoData name;

	if (link == NULL || !link->greeted)
		return;
	initStringInfo(&name);
	utf8_append(&name, group, (int) strlen(group));
	message.u.group_ready = (WireBytes){.data = name.data, .len = (uint32_t) name.len};
	frames_queue(&link->socket, &message);
	pfree(name.data);
}

void
link_goodbye_all(Feed *feed, const char *reason)
{
	WireMessage message = {.type = WIRE_GOODBYE};

	message.u.goodbye.reason = frames_bytes(reason);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[i];

		if (link == NULL)
			continue;
		frames_queue(&link->socket, &message);
		link_flush(link);
		link_close(link, reason);
	}
}
