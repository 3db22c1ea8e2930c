/*-------------------------------------------------------------------------
 *
 * router.c
 *	  Sessions of the router, and which function gets which message. See router.h.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "ext/wamp/router_internal.h"

void *
router_allocate(Router *router, size_t size)
{
	return router->host.allocate(router->host.arg, size);
}

void
router_release(Router *router, void *block)
{
	if (block != NULL)
		router->host.release(router->host.arg, block);
}

Router *
router_create(const RouterHost *host)
{
	Router *router = memset(host->allocate(host->arg, sizeof(Router)), 0, sizeof(Router));

	router->host = *host;
	ring_init(&router->sessions);
	ring_init(&router->callees);
	for (int i = 0; i < 3; i++)
		ring_init(&router->matches[i]);
	return router;
}

void
router_set_time(Router *router, int64_t now, int64_t unix_now)
{
	router->now = now;
	router->unix_now = unix_now;
}

size_t
router_sessions(const Router *router)
{
	return router->nsessions;
}

size_t
router_link_sessions(const Router *router, int link)
{
	return router->by_link[link];
}

size_t
router_calls(const Router *router)
{
	return router->requests.n;
}

/* ---------------- sending ---------------- */

void
router_send(Router *router, const RouterSession *session, WireRoute *route)
{
	route->session = session->number;
	router->host.send(router->host.arg, session->link, route);
}

void
router_refuse(Router *router, const RouterSession *session, uint64_t request, const char *error,
			  const char *message)
{
	WireRoute route = {.kind = ROUTE_ERROR, .request = request};
	RouterText payload = {.router = router};

	text_append_string(&payload, "[");
	text_append_json(&payload, message, strlen(message));
	text_append_string(&payload, "]");
	route.name = (WireBytes){.data = error, .len = (uint32_t) strlen(error)};
	route.payload = text_bytes(&payload);
	router_send(router, session, &route);
	text_reset(&payload);
}

const char *
router_lacks(const char *privilege, WireBytes name)
{
	static char message[ROUTER_MAX_NAME + 100];

	snprintf(message, sizeof(message), "the role does not have the privilege \"%s\" on \"%.*s\"",
			 privilege, (int) name.len, name.data);
	return message;
}

/* ---------------- finding sessions ---------------- */

static uint64_t
session_key(int link, uint32_t number)
{
	return (uint64_t) (uint32_t) link << 32 | number;
}

static RouterSession *
session_find(const Router *router, int link, uint32_t number)
{
	RouterNode *node = table_find(&router->by_number, session_key(link, number));

	return node != NULL ? ring_member(RouterSession, by_number, node) : NULL;
}

RouterSession *
router_session(const Router *router, uint64_t id)
{
	RouterNode *node = table_find(&router->by_id, id);

	return node != NULL ? ring_member(RouterSession, by_id, node) : NULL;
}

bool
router_has(const Router *router, int link, uint32_t session)
{
	return session_find(router, link, session) != NULL;
}

/* ---------------- beginning ---------------- */

static char *
session_copy(Router *router, WireBytes text)
{
	char *copy = router_allocate(router, (size_t) text.len + 1);

	if (text.len > 0)
		memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	return copy;
}

/* What wamp.session.get answers. Of the details it has what WAMP names. */
static char *
session_describe(Router *router, const RouterJoin *join, const RouterOptions *details)
{
	static const char *const names[] = {"authmethod", "authprovider", "transport"};
	RouterText text = {.router = router};
	char *copy;

	text_append_string(&text, "{\"session\":");
	text_append_number(&text, join->id);
	text_append_string(&text, ",\"authid\":");
	text_append_json(&text, join->authid.data, join->authid.len);
	text_append_string(&text, ",\"authrole\":");
	text_append_json(&text, join->authrole.data, join->authrole.len);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		JsonSlice value;

		if (details->object.text == NULL ||
			slice_member(details->object, names[i], &value) != SLICE_FOUND)
			continue;
		text_append_string(&text, ",\"");
		text_append_string(&text, names[i]);
		text_append_string(&text, "\":");
		text_append(&text, value.text, value.length);
	}
	text_append_string(&text, "}");
	copy = session_copy(router, text_bytes(&text));
	text_reset(&text);
	return copy;
}

bool
router_join(Router *router, const RouterJoin *join)
{
	RouterSession *session;
	RouterOptions details;

	if (!options_read(join->details, &details) ||
		session_find(router, join->link, join->session) != NULL || join->id > URI_MAX_ID ||
		(join->link == ROUTER_LOCAL) != (join->id == 0) || join->link >= ROUTER_MAX_LINKS ||
		(join->id != 0 && router_session(router, join->id) != NULL))
		return false;
	session = memset(router_allocate(router, sizeof(RouterSession)), 0, sizeof(RouterSession));
	session->link = join->link;
	session->number = join->session;
	session->id = join->id;
	session->flags = join->flags;
	session->serial = ++router->serials;
	/* It may still answer what an earlier feed has asked, with numbers from 1 on. */
	if ((join->flags & ROUTE_AGAIN) != 0)
		session->invocation = router->host.random(router->host.arg) % (URI_MAX_ID / 2);
	session->authid = session_copy(router, join->authid);
	session->authrole = session_copy(router, join->authrole);
	session->details = session_describe(router, join, &details);
	ring_init(&session->callees);
	ring_init(&session->calls);
	ring_init(&session->invocations);
	ring_append(&router->sessions, &session->in_router);
	table_add(router, &router->by_number, &session->by_number,
			  session_key(join->link, join->session));
	if (join->id == 0)
		return true;
	table_add(router, &router->by_id, &session->by_id, join->id);
	router->nsessions++;
	router->by_link[join->link]++;
	if ((join->flags & ROUTE_AGAIN) == 0)
		meta_joined(router, session);
	return true;
}

/* ---------------- ending ---------------- */

/* Others learn of it when the session does not exist any more. */
static void
session_end(Router *router, RouterSession *session, bool quietly)
{
	table_remove(&router->by_number, &session->by_number);
	if (session->id != 0)
	{
		table_remove(&router->by_id, &session->by_id);
		router->nsessions--;
		router->by_link[session->link]--;
	}
	ring_remove(&session->in_router);
	call_end_session(router, session);
	while (!ring_is_empty(&session->callees))
		registration_end(router, ring_member(RouterCallee, in_session, session->callees.first),
						 quietly);
	if (session->id != 0 && !quietly)
		meta_left(router, session);
	router_release(router, session->details);
	router_release(router, session->authid);
	router_release(router, session->authrole);
	router_release(router, session);
}

void
router_leave(Router *router, int link, uint32_t number)
{
	RouterSession *session = session_find(router, link, number);

	if (session != NULL)
		session_end(router, session, false);
}

void
router_drop_link(Router *router, int link)
{
	RouterRing *next;

	for (RouterRing *node = router->sessions.first; node != &router->sessions; node = next)
	{
		RouterSession *session = ring_member(RouterSession, in_router, node);

		next = node->first;
		if (session->link == link)
			session_end(router, session, false);
	}
}

void
router_kill(Router *router, RouterSession *session, WireBytes reason, WireBytes message,
			bool quietly)
{
	WireRoute route = {.kind = ROUTE_KILL, .name = reason, .payload = message};

	router_send(router, session, &route);
	session_end(router, session, quietly);
}

/* Nobody may get a message because of it, so the host is not called but to release memory. */
static void
router_send_nothing(void *arg, int link, const WireRoute *route)
{
	(void) arg;
	(void) link;
	(void) route;
}

void
router_free(Router *router)
{
	router->host.send = router_send_nothing;
	while (!ring_is_empty(&router->sessions))
		session_end(router, ring_member(RouterSession, in_router, router->sessions.first), true);
	router_release(router, router->by_number.buckets);
	router_release(router, router->by_id.buckets);
	router_release(router, router->registrations.buckets);
	router_release(router, router->requests.buckets);
	router_release(router, router->invocations.buckets);
	router_release(router, router->heap);
	router->host.release(router->host.arg, router);
}

/* ---------------- messages ---------------- */

bool
router_receive(Router *router, int link, const WireRoute *route)
{
	static void (*const functions[])(Router *, RouterSession *, const WireRoute *) = {
		[ROUTE_REGISTER] = registration_register,
		[ROUTE_UNREGISTER] = registration_unregister,
		[ROUTE_CALL] = call_begin,
		[ROUTE_CANCEL] = call_cancel,
		[ROUTE_YIELD] = call_yield,
		[ROUTE_FAIL] = call_fail,
	};
	RouterSession *session;

	if (route->kind >= sizeof(functions) / sizeof(functions[0]) || functions[route->kind] == NULL)
		return false;
	session = session_find(router, link, route->session);
	if (session != NULL)
		functions[route->kind](router, session, route);
	return true;
}

/* ---------------- rights that have changed ---------------- */

void
router_recheck(Router *router)
{
	router->check++;
}

bool
router_check(Router *router, unsigned n)
{
	for (; n > 0 && !ring_is_empty(&router->callees); n--)
	{
		RouterCallee *callee = ring_member(RouterCallee, in_router, router->callees.first);
		RouterRegistration *registration = callee->registration;
		WireRoute route = {.kind = ROUTE_UNREGISTERED, .id = registration->by_id.key};
		WireBytes name = {.data = registration->name, .len = (uint32_t) registration->len};

		if (callee->check == router->check)
			return false;
		callee->check = router->check;
		ring_remove(&callee->in_router);
		ring_append(&router->callees, &callee->in_router);
		if (router_may(router, callee->session, ROUTER_REGISTER, name))
			continue;
		route.name = (WireBytes){.data = ROUTER_NOT_AUTHORIZED,
								 .len = (uint32_t) strlen(ROUTER_NOT_AUTHORIZED)};
		router_send(router, callee->session, &route);
		registration_end(router, callee, false);
	}
	return !ring_is_empty(&router->callees) &&
		   ring_member(RouterCallee, in_router, router->callees.first)->check != router->check;
}
