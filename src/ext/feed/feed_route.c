/*-------------------------------------------------------------------------
 *
 * feed_route.c
 *	  Sessions of WAMP, and calls between them: what the router of ext/wamp/ needs of the feed.
 *
 * Who a session is, is not what the gateway says. Its role is that of its connection's identity. So
 * is its authid, if the token has a subject. It ends with its identity.
 *
 * Decisions about rights are kept in a table of bounded size, as in feed_rights.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "ext/access/json_slice.h"
#include "ext/base/extension.h"
#include "ext/base/utf8.h"
#include "ext/channel/grant.h"
#include "ext/expose/expose.h"
#include "ext/feed/feed_local.h"
#include "ext/feed/feed_publish.h"
#include "ext/feed/feed_rights.h"
#include "ext/feed/feed_route.h"
#include "ext/feed/feed_topic.h"
#include "ext/wamp/router.h"

#define ROUTE_RIGHTS_MAX 4096
#define ROUTE_CHECKS     200 /* registrations that are checked again in one round */

/* Bytes of the longest name and options that a gateway passes on, besides those of PUBLISH. */
#define ROUTE_MAX_NAME    1024
#define ROUTE_MAX_OPTIONS 8192

/* What gateways tell clients without a token that their role is. */
#define ROUTE_ANONYMOUS "anonymous"

typedef struct RouteRightKey
{
	RouterRight right;
	char role[NAMEDATALEN];         /* as in ViewKey */
	char name[ROUTER_MAX_NAME + 1]; /* UTF-8 */
} RouteRightKey;

typedef struct RouteRight
{
	RouteRightKey key;
	bool given;
} RouteRight;

static Router *route_router;
static HTAB *route_rights; /* NULL: there are no decisions */

/* ---------------- rights ---------------- */

static void
route_forget_rights(void)
{
	if (route_rights != NULL)
		hash_destroy(route_rights);
	route_rights = NULL;
}

/* Allocates in the current memory context. */
static bool
route_decide(const RouteRightKey *key)
{
	char *name = view_server_text(frames_bytes(key->name));
	AccessReason reason;
	Oid role = access_role(key->role, &reason);

	return name != NULL && OidIsValid(role) && rights_connect(key->role, &reason) &&
		   access_may_use(role, name, (int) strlen(name),
						  key->right == ROUTER_CALL ? GRANT_CALL : GRANT_REGISTER);
}

static bool
route_look_up(const RouteRightKey *key)
{
	HASHCTL control = {.keysize = sizeof(RouteRightKey),
					   .entrysize = sizeof(RouteRight),
					   .hcxt = TopMemoryContext};
	RouteRight *right =
		route_rights != NULL ? hash_search(route_rights, key, HASH_FIND, NULL) : NULL;
	MemoryContext context;
	MemoryContext outer;
	bool given;

	if (right != NULL)
		return right->given;
	sub_begin();
	context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd rights", ALLOCSET_SMALL_SIZES);
	outer = MemoryContextSwitchTo(context);
	given = route_decide(key);
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(context);
	/* It may be right only for a state that no longer exists. */
	if (change_due())
		return given;
	if (route_rights != NULL && hash_get_num_entries(route_rights) >= ROUTE_RIGHTS_MAX)
		route_forget_rights();
	if (route_rights == NULL)
		route_rights = hash_create("pg_notifyd rights on procedures", 64, &control,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	right = hash_search(route_rights, key, HASH_ENTER, NULL);
	right->given = given;
	return given;
}

/* ---------------- what the router needs ---------------- */

static void *
route_allocate(void *arg, size_t size)
{
	return MemoryContextAllocExtended(((Feed *) arg)->context, size, MCXT_ALLOC_HUGE);
}

static void
route_release(void *arg pg_attribute_unused(), void *block)
{
	pfree(block);
}

static uint64_t
route_random(void *arg pg_attribute_unused())
{
	uint64 number;

	if (!pg_strong_random(&number, sizeof(number)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a random number")));
	return number;
}

static void
route_send(void *arg, int link, const WireRoute *route)
{
	WireMessage message = {.type = WIRE_ROUTE_DOWN, .u.route = *route};

	if (link == ROUTER_LOCAL)
		local_send(arg, route);
	else
		frames_queue(&((Feed *) arg)->links[link]->socket, &message);
}

static bool
route_full(void *arg, int link)
{
	if (link == ROUTER_LOCAL)
		return local_full();
	return frames_unsent(&((Feed *) arg)->links[link]->socket) > LINK_NOTIFY_LIMIT;
}

static bool
route_may(void *arg, int link, uint32_t session, RouterRight right, WireBytes name)
{
	const FeedIdentity *identity;
	RouteRightKey key;

	/* notify_call() has checked it. */
	if (link == ROUTER_LOCAL)
		return right == ROUTER_CALL;
	identity = identity_find(((Feed *) arg)->links[link], session);

	/* An identity that has ended leaves a session that is about to end. */
	if (identity != NULL && identity->number != 0 && identity->context == NULL)
		return false;
	memset(&key, 0, sizeof(key));
	key.right = right;
	if (identity != NULL && identity->context != NULL)
		strlcpy(key.role, identity->role, sizeof(key.role));
	memcpy(key.name, name.data, name.len);
	return route_look_up(&key);
}

static bool
route_taken(void *arg pg_attribute_unused(), WireBytes name)
{
	char *server;

	sub_begin();
	/* Version 1.0 does not expose functions. */
	if (!OidIsValid(extension_find_relation("exposed_function")))
		return false;
	server = view_server_text(name);
	return server != NULL && strlen(server) < EXPOSE_NAME_SIZE &&
		   expose_find_function(server) != NULL;
}

static bool
route_answer(void *arg pg_attribute_unused(), const RouterQuestion *question, RouterText *result,
			 const char **error)
{
	StringInfoData text;
	bool found;

	initStringInfo(&text);
	found = topic_answer(question->name, question->payload, &text, error);
	text_append(result, text.data, (size_t) text.len);
	pfree(text.data);
	return found;
}

static void
route_publish(void *arg pg_attribute_unused(), const char *topic, WireBytes payload)
{
	(void) publish_own(topic, payload);
}

static void
route_init(Feed *feed)
{
	RouterHost host = {.arg = feed,
					   .allocate = route_allocate,
					   .release = route_release,
					   .random = route_random,
					   .send = route_send,
					   .full = route_full,
					   .may = route_may,
					   .taken = route_taken,
					   .answer = route_answer,
					   .publish = route_publish};

	route_router = router_create(&host);
}

/* ---------------- frames ---------------- */

/* The place behind the array or object that begins a payload, NULL if it has no end. */
static const char *
route_value_end(const char *p, const char *end)
{
	bool string = false;
	int depth = 0;

	for (; p < end; p++)
	{
		if (string && *p == '\\')
			p++;
		else if (*p == '"')
			string = !string;
		else if (!string && (*p == '[' || *p == '{'))
			depth++;
		else if (!string && (*p == ']' || *p == '}') && --depth == 0)
			return p + 1;
	}
	return NULL;
}

static const char *
route_skip_spaces(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/*
 * Return true if a payload is an array, or that, a comma and an object, so that it can become a part of a
 * client's message. Whether these are valid is for the client to find out.
 */
static bool
route_is_payload(WireBytes payload)
{
	const char *end = payload.data + payload.len;
	const char *p;

	if (payload.len == 0)
		return true;
	if (*payload.data != '[' || (p = route_value_end(payload.data, end)) == NULL)
		return false;
	p = route_skip_spaces(p, end);
	if (p == end)
		return true;
	p = *p == ',' ? route_skip_spaces(p + 1, end) : end;
	return p < end && *p == '{' && route_value_end(p, end) == end;
}

static const char *
route_problem(const Link *link, const WireRoute *route)
{
	if (route->name.len > ROUTE_MAX_NAME || route->options.len > ROUTE_MAX_OPTIONS)
		return "The name or the options of a ROUTE are too long.";
	if (!pg_verify_mbstr(PG_UTF8, route->name.data, (int) route->name.len, true) ||
		!pg_verify_mbstr(PG_UTF8, route->payload.data, (int) route->payload.len, true))
		return "The name or the payload of a ROUTE is not valid UTF-8.";
	if (!route_is_payload(route->payload))
		return "The payload of a ROUTE is no array and object.";
	if (route->kind == ROUTE_JOIN && router_has(route_router, link->gateway, route->session))
		return "JOIN names a session that has joined.";
	if (route->kind == ROUTE_JOIN && router_link_sessions(route_router, link->gateway) >=
										 pg_atomic_read_u32(&notifyd_shared->gateway_clients))
		return "More sessions have joined than the gateway may have clients.";
	return NULL;
}

/* The authid of a session: the subject of its token, or what the gateway calls it. */
static void
route_append_authid(StringInfo authid, const FeedIdentity *identity, WireBytes options)
{
	JsonSlice object;
	JsonSlice value;
	char text[1024];

	if (identity != NULL && identity->subject != NULL)
		utf8_append(authid, identity->subject, (int) strlen(identity->subject));
	else if (slice_parse(options.data, options.len, &object) && slice_kind(object) == '{' &&
			 slice_member(object, "authid", &value) == SLICE_FOUND &&
			 slice_string(value, text, sizeof(text)))
		appendStringInfoString(authid, text);
}

/*
 * The gateway chooses ids at random. If it has not, or has another session with this id, the newer one ends.
 */
static void
route_join(Link *link, const WireRoute *route)
{
	const FeedIdentity *identity = identity_find(link, route->session);
	bool known = identity != NULL && identity->context != NULL;
	const char *role = known ? identity->role : ROUTE_ANONYMOUS;
	WireRoute kill = {.kind = ROUTE_KILL,
					  .session = route->session,
					  .name = frames_bytes("wamp.error.unavailable")};
	RouterJoin join = {.link = link->gateway,
					   .session = route->session,
					   .id = route->id,
					   .flags = route->flags,
					   .details = route->options};
	StringInfoData authid;
	StringInfoData authrole;

	initStringInfo(&authid);
	initStringInfo(&authrole);
	route_append_authid(&authid, known ? identity : NULL, route->options);
	utf8_append(&authrole, role, (int) strlen(role));
	join.authid = (WireBytes){.data = authid.data, .len = (uint32_t) authid.len};
	join.authrole = (WireBytes){.data = authrole.data, .len = (uint32_t) authrole.len};
	if (!router_join(route_router, &join))
		route_send(link->feed, link->gateway, &kill);
	pfree(authid.data);
	pfree(authrole.data);
}

const char *
route_receive(Link *link, const WireRoute *route)
{
	const char *problem = route_problem(link, route);

	if (problem != NULL)
		return problem;
	link->feed->idle_since = link->feed->now;
	if (route->kind == ROUTE_JOIN)
		route_join(link, route);
	else if (route->kind == ROUTE_LEAVE)
		router_leave(route_router, link->gateway, route->session);
	else if (!router_receive(route_router, link->gateway, route))
		return "A gateway does not send routes of this kind to a feed.";
	return NULL;
}

/* ---------------- ends and rounds ---------------- */

void
route_end_session(Link *link, uint32 session)
{
	if (route_router != NULL)
		router_leave(route_router, link->gateway, session);
}

void
route_drop_link(Link *link)
{
	if (route_router != NULL)
		router_drop_link(route_router, link->gateway);
}

void
route_recheck(void)
{
	route_forget_rights();
	if (route_router != NULL)
		router_recheck(route_router);
}

void
route_begin_round(Feed *feed)
{
	if (route_router == NULL)
		route_init(feed);
	router_set_time(route_router, feed_clock() / 1000, (feed->now + NOTIFYD_UNIX_EPOCH) / 1000);
}

/* The rights that have changed are checked after recheck_look(), which has the roles of sessions. */
void
route_end_round(Feed *feed)
{
	int64 local = local_round(feed, route_router);
	int64 next = router_expire(route_router);

	feed->nrouted = (int) router_sessions(route_router);
	feed->needed |= feed->nrouted > 0;
	feed->nrouted += local_calls();
	if (next < 0 || (local >= 0 && local < next))
		next = local;
	feed->route_due = router_check(route_router, ROUTE_CHECKS) ? 0 : (int) Min(next, 1000);
}
