/*-------------------------------------------------------------------------
 *
 * router_call.c
 *	  Calls under way.
 *
 * A call is in two tables: by the caller and its number for the CALL, and by the callee and the
 * number of the INVOKE. Calls with a timeout are in a heap, by their deadlines.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "ext/wamp/router_internal.h"

#define CALL_MAX_TIMEOUT (INT64_C(1000) * 60 * 60 * 24 * 365) /* ms */

/* ---------------- the heap ---------------- */

static void
heap_put(Router *router, size_t place, RouterCall *call)
{
	router->heap[place] = call;
	call->place = place;
}

/* Move a call from this place to where it belongs. */
static void
heap_settle(Router *router, size_t place, RouterCall *call)
{
	while (place > 0 && router->heap[(place - 1) / 2]->deadline > call->deadline)
	{
		heap_put(router, place, router->heap[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	for (;;)
	{
		size_t child = 2 * place + 1;

		if (child + 1 < router->heap_used &&
			router->heap[child + 1]->deadline < router->heap[child]->deadline)
			child++;
		if (child >= router->heap_used || router->heap[child]->deadline >= call->deadline)
			break;
		heap_put(router, place, router->heap[child]);
		place = child;
	}
	heap_put(router, place, call);
}

static void
heap_add(Router *router, RouterCall *call)
{
	if (router->heap_used == router->heap_size)
	{
		size_t size = router->heap_size * 2 + 64;
		RouterCall **larger = router_allocate(router, size * sizeof(RouterCall *));

		if (router->heap_used > 0)
			memcpy(larger, router->heap, router->heap_used * sizeof(RouterCall *));
		router_release(router, router->heap);
		router->heap = larger;
		router->heap_size = size;
	}
	heap_settle(router, router->heap_used++, call);
}

static void
heap_remove(Router *router, RouterCall *call)
{
	RouterCall *last = router->heap[--router->heap_used];

	if (last != call)
		heap_settle(router, call->place, last);
}

/* ---------------- finding, and ending without a message ---------------- */

/* Sessions number their requests from 1 on, so the keys of all sessions have to differ well. */
static uint64_t
call_key(const RouterSession *session, uint64_t number)
{
	return (session->serial * UINT64_C(0xff51afd7ed558ccd)) ^ number;
}

static RouterCall *
call_by_request(const Router *router, const RouterSession *caller, uint64_t request)
{
	RouterNode *node = table_find(&router->requests, call_key(caller, request));

	for (; node != NULL; node = table_next(node))
	{
		RouterCall *call = ring_member(RouterCall, by_request, node);

		if (call->caller == caller && call->request == request)
			return call;
	}
	return NULL;
}

static RouterCall *
call_by_invocation(const Router *router, const RouterSession *callee, uint64_t invocation)
{
	RouterNode *node = table_find(&router->invocations, call_key(callee, invocation));

	for (; node != NULL; node = table_next(node))
	{
		RouterCall *call = ring_member(RouterCall, by_invocation, node);

		if (call->callee == callee && call->invocation == invocation)
			return call;
	}
	return NULL;
}

static void
call_remove(Router *router, RouterCall *call)
{
	table_remove(&router->requests, &call->by_request);
	table_remove(&router->invocations, &call->by_invocation);
	ring_remove(&call->in_caller);
	ring_remove(&call->in_callee);
	if (call->timeout > 0)
		heap_remove(router, call);
	call->caller->ncalls--;
	router_release(router, call);
}

/* ---------------- cancelling ---------------- */

/* Tell the callee, if it can be told and does not know. mode: an option of INTERRUPT. */
static void
call_interrupt(Router *router, RouterCall *call, const char *mode, const char *reason)
{
	WireRoute route = {.kind = ROUTE_INTERRUPT, .id = call->invocation};
	RouterText options = {.router = router};

	if (call->interrupted || (call->callee->flags & ROUTE_CANCELS) == 0)
		return;
	call->interrupted = true;
	text_append_string(&options, "{\"mode\":\"");
	text_append_string(&options, mode);
	text_append_string(&options, "\",\"reason\":\"");
	text_append_string(&options, reason);
	text_append_string(&options, "\"}");
	route.options = text_bytes(&options);
	router_send(router, call->callee, &route);
	text_reset(&options);
}

/* End a call with an error, and tell its callee. */
static void
call_abandon(Router *router, RouterCall *call, const char *error, const char *message)
{
	call_interrupt(router, call, "killnowait", error);
	router_refuse(router, call->caller, call->request, error, message);
	call_remove(router, call);
}

void
call_cancel(Router *router, RouterSession *session, const WireRoute *route)
{
	RouterCall *call = call_by_request(router, session, route->request);
	RouterOptions options = {{0}};
	char mode[16] = "";

	if (call == NULL || !options_read(route->options, &options))
		return;
	(void) options_text(&options, "mode", mode, sizeof(mode));
	if (strcmp(mode, "kill") == 0 && (call->callee->flags & ROUTE_CANCELS) != 0)
	{
		call_interrupt(router, call, "kill", ROUTER_CANCELED);
		return;
	}
	if (strcmp(mode, "skip") == 0)
		call->interrupted = true;
	call_abandon(router, call, ROUTER_CANCELED, "the call was cancelled");
}

int64_t
router_expire(Router *router)
{
	while (router->heap_used > 0 && router->heap[0]->deadline <= router->now)
		call_abandon(router, router->heap[0], ROUTER_TIMEOUT, "the call has timed out");
	return router->heap_used > 0 ? router->heap[0]->deadline - router->now : -1;
}

void
call_end_session(Router *router, RouterSession *session)
{
	while (!ring_is_empty(&session->calls))
	{
		RouterCall *call = ring_member(RouterCall, in_caller, session->calls.first);

		if (call->callee != session)
			call_interrupt(router, call, "killnowait", ROUTER_CANCELED);
		call_remove(router, call);
	}
	while (!ring_is_empty(&session->invocations))
	{
		RouterCall *call = ring_member(RouterCall, in_callee, session->invocations.first);

		router_refuse(router, call->caller, call->request, ROUTER_CANCELED,
					  "the session that answers the call has ended");
		call_remove(router, call);
	}
}

/* ---------------- which callee ---------------- */

/*
 * A call that matches a pattern is only for those who may register its very name. busy: some could
 * have been called, but for their links.
 */
static bool
call_may_invoke(const Router *router, const RouterCallee *callee, WireBytes name, bool *busy)
{
	const RouterSession *session = callee->session;

	if (callee->registration->match != URI_EXACT &&
		!router_may(router, session, ROUTER_REGISTER, name))
		return false;
	if (router->host.full == NULL || !router->host.full(router->host.arg, session->link))
		return true;
	*busy = true;
	return false;
}

/* Where to begin in the list of callees. */
static RouterRing *
call_first_callee(const Router *router, const RouterRegistration *registration)
{
	RouterRing *node = registration->callees.first;

	if (registration->invoke == INVOKE_RANDOM)
	{
		for (uint64_t n = router->host.random(router->host.arg) % registration->ncallees; n > 0;
			 n--)
			node = node->first;
	}
	return registration->invoke == INVOKE_LAST ? registration->callees.last : node;
}

/* Return the callee that is to answer a call, NULL: there is none. */
static RouterCallee *
call_pick(Router *router, RouterRegistration *registration, WireBytes name, bool *busy)
{
	RouterRing *node = call_first_callee(router, registration);

	for (size_t n = registration->ncallees; n > 0; n--)
	{
		RouterCallee *callee;

		if (node == &registration->callees)
			node = registration->invoke == INVOKE_LAST ? node->last : node->first;
		callee = ring_member(RouterCallee, in_registration, node);
		node = registration->invoke == INVOKE_LAST ? node->last : node->first;
		if (!call_may_invoke(router, callee, name, busy))
			continue;
		if (registration->invoke == INVOKE_ROUNDROBIN)
		{
			ring_remove(&callee->in_registration);
			ring_append(&registration->callees, &callee->in_registration);
		}
		return callee;
	}
	return NULL;
}

static RouterCallee *
call_find_callee(Router *router, WireBytes name, bool *busy)
{
	RouterRegistration *registration = NULL;
	RouterCallee *callee = NULL;

	*busy = false;
	while (callee == NULL && !*busy &&
		   (registration = registration_next_match(router, registration, name.data, name.len)) !=
			   NULL)
		callee = call_pick(router, registration, name, busy);
	return callee;
}

/* ---------------- beginning ---------------- */

typedef struct CallWish
{
	bool disclosed;
	bool progressive;
	int64_t timeout;
	RouterOptions options;
} CallWish;

static bool
call_read_options(WireBytes text, CallWish *wish)
{
	double timeout = 0;

	*wish = (CallWish){0};
	if (!options_read(text, &wish->options))
		return false;
	wish->disclosed = options_true(&wish->options, "disclose_me");
	wish->progressive = options_true(&wish->options, "receive_progress");
	if (options_number(&wish->options, "timeout", &timeout) && timeout >= 1)
		wish->timeout = timeout < (double) CALL_MAX_TIMEOUT ? (int64_t) timeout : CALL_MAX_TIMEOUT;
	return true;
}

/* The details of INVOCATION. */
static void
call_describe(RouterText *text, const RouterCall *call, const RouterCallee *callee,
			  const CallWish *wish, WireBytes name)
{
	const RouterSession *caller = call->caller;
	bool disclosed = wish->disclosed || callee->discloses;

	text_append_string(text, "{");
	if (callee->registration->match != URI_EXACT)
	{
		text_append_name(text, "procedure");
		text_append_json(text, name.data, name.len);
	}
	if (disclosed && caller->id != 0)
	{
		text_append_name(text, "caller");
		text_append_number(text, caller->id);
	}
	if (disclosed)
	{
		text_append_name(text, "caller_authid");
		text_append_json(text, caller->authid, strlen(caller->authid));
		text_append_name(text, "caller_authrole");
		text_append_json(text, caller->authrole, strlen(caller->authrole));
	}
	/*
	 * Callees need not have announced that they have progressive results: the specification wants them
	 * to ignore this then. Wampy.js 8.0.2 has them and does not announce them, AutobahnJS 26.3.1 announces
	 * them but takes no INTERRUPT.
	 */
	if (call->progressive)
	{
		text_append_name(text, "receive_progress");
		text_append_string(text, "true");
	}
	text_append_opaque(text, &wish->options);
	text_append_string(text, "}");
}

static void
call_invoke(Router *router, RouterSession *caller, const RouterCallee *callee,
			const WireRoute *route, const CallWish *wish)
{
	RouterCall *call = router_allocate(router, sizeof(RouterCall));
	RouterSession *session = callee->session;
	WireRoute invoke = {.kind = ROUTE_INVOKE, .payload = route->payload};
	WireRoute called = {.kind = ROUTE_CALLED, .request = route->request};
	RouterText details = {.router = router};

	*call = (RouterCall){.caller = caller,
						 .callee = session,
						 .request = route->request,
						 .invocation = ++session->invocation,
						 .progressive = wish->progressive,
						 .timeout = wish->timeout};
	table_add(router, &router->requests, &call->by_request, call_key(caller, call->request));
	table_add(router, &router->invocations, &call->by_invocation,
			  call_key(session, call->invocation));
	ring_append(&caller->calls, &call->in_caller);
	ring_append(&session->invocations, &call->in_callee);
	caller->ncalls++;
	if (call->timeout > 0)
	{
		call->deadline = router->now + call->timeout;
		heap_add(router, call);
	}
	call_describe(&details, call, callee, wish, route->name);
	if ((route->flags & ROUTE_ASKS) != 0)
		router_send(router, caller, &called);
	invoke.id = call->invocation;
	invoke.registration = callee->registration->by_id.key;
	invoke.options = text_bytes(&details);
	router_send(router, session, &invoke);
	text_reset(&details);
}

/* The caller does not have the privilege. */
static void
call_not_allowed(Router *router, const RouterSession *session, const WireRoute *route)
{
	router_refuse(router, session, route->request, ROUTER_NOT_AUTHORIZED,
				  router_lacks("call", route->name));
}

/* Nobody can be called by this name. */
static void
call_unknown(Router *router, const RouterSession *session, uint64_t request)
{
	static const char text[] = "[\"no session has registered the procedure\"]";
	WireRoute route = {.kind = ROUTE_ERROR, .flags = ROUTE_UNKNOWN, .request = request};

	route.name =
		(WireBytes){.data = ROUTER_NO_PROCEDURE, .len = (uint32_t) strlen(ROUTER_NO_PROCEDURE)};
	route.payload = (WireBytes){.data = text, .len = (uint32_t) strlen(text)};
	router_send(router, session, &route);
}

/* A call of a procedure that the router or its host answers. */
static void
call_meta(Router *router, RouterSession *session, const WireRoute *route)
{
	if (!router_may(router, session, ROUTER_CALL, route->name))
		call_not_allowed(router, session, route);
	else if (!meta_call(router, session, route))
		call_unknown(router, session, route->request);
}

/* A call of a procedure that sessions may have registered. */
static void
call_registered(Router *router, RouterSession *session, const WireRoute *route,
				const CallWish *wish)
{
	WireBytes name = route->name;
	RouterCallee *callee;
	bool busy;

	if (options_opaque(&wish->options) && router->host.taken(router->host.arg, name))
		router_refuse(router, session, route->request, ROUTER_NO_FEATURE,
					  "functions of the database do not have payload passthru");
	else if (registration_next_match(router, NULL, name.data, name.len) == NULL ||
			 ((route->flags & ROUTE_ASKS) != 0 && router->host.taken(router->host.arg, name)))
		call_unknown(router, session, route->request);
	else if (!router_may(router, session, ROUTER_CALL, name))
		call_not_allowed(router, session, route);
	else if ((callee = call_find_callee(router, name, &busy)) != NULL &&
			 options_opaque(&wish->options) && (callee->session->flags & ROUTE_OPAQUE) == 0)
		router_refuse(router, session, route->request, ROUTER_NO_FEATURE,
					  "the session that would answer the call does not have payload passthru");
	else if (callee != NULL)
		call_invoke(router, session, callee, route, wish);
	else if (busy)
		router_refuse(router, session, route->request, ROUTER_UNAVAILABLE,
					  "the gateway of the procedure takes no more calls at present");
	else
		call_unknown(router, session, route->request);
}

void
call_begin(Router *router, RouterSession *session, const WireRoute *route)
{
	CallWish wish;

	if (route->name.len > ROUTER_MAX_NAME ||
		!uri_is_valid(URI_EXACT, route->name.data, route->name.len))
		router_refuse(router, session, route->request, ROUTER_BAD_URI,
					  "the name of the procedure is no valid URI of up to 255 bytes");
	else if (!call_read_options(route->options, &wish))
		router_refuse(router, session, route->request, ROUTER_BAD_ARGUMENT,
					  "an option of CALL is not valid");
	else if (call_by_request(router, session, route->request) != NULL)
		router_refuse(router, session, route->request, "wamp.error.protocol_violation",
					  "a call with this number is under way");
	else if (session->ncalls >= ROUTE_MAX_CALLS)
		router_refuse(router, session, route->request, ROUTER_UNAVAILABLE,
					  "the session has too many calls under way");
	else if (uri_is_reserved(route->name.data, route->name.len))
		call_meta(router, session, route);
	else
		call_registered(router, session, route, &wish);
}

/* ---------------- results ---------------- */

/* Whether the caller's link takes one more result. Otherwise the call has ended. */
static bool
call_has_room(Router *router, RouterCall *call)
{
	if (router->host.full == NULL || !router->host.full(router->host.arg, call->caller->link))
		return true;
	call_abandon(router, call, ROUTER_UNAVAILABLE,
				 "the gateway of the caller takes no more results at present");
	return false;
}

/*
 * Begin the details of a result or an error, by the options of the callee's message. Returns false if the caller cannot
 * read it; then the call has ended.
 */
static bool
call_begin_details(Router *router, RouterCall *call, WireBytes text, RouterText *details)
{
	RouterOptions options = {{0}};

	if (!options_read(text, &options))
		options = (RouterOptions){{0}};
	if (options_opaque(&options) && (call->caller->flags & ROUTE_OPAQUES) == 0)
	{
		call_abandon(
			router, call, ROUTER_NO_FEATURE,
			"the answer needs payload passthru, which the session of the caller does not have");
		return false;
	}
	*details = (RouterText){.router = router};
	text_append_string(details, "{");
	text_append_opaque(details, &options);
	return true;
}

/* End them. */
static WireBytes
call_details(RouterText *details)
{
	if (details->len == 1)
		return (WireBytes){.len = 0};
	text_append_string(details, "}");
	return text_bytes(details);
}

void
call_yield(Router *router, RouterSession *session, const WireRoute *route)
{
	RouterCall *call = call_by_invocation(router, session, route->id);
	bool more = (route->flags & ROUTE_PROGRESS) != 0;
	WireRoute result = {
		.kind = ROUTE_RESULT, .flags = route->flags & ROUTE_PROGRESS, .payload = route->payload};
	RouterText details;

	if (call == NULL || (more && !call->progressive))
		return;
	/* A final result is not followed by an interrupt. */
	call->interrupted |= !more;
	if (!call_has_room(router, call) || !call_begin_details(router, call, route->options, &details))
		return;
	if (more)
	{
		text_append_name(&details, "progress");
		text_append_string(&details, "true");
	}
	result.request = call->request;
	result.options = call_details(&details);
	router_send(router, call->caller, &result);
	text_reset(&details);
	if (!more)
		call_remove(router, call);
	else if (call->timeout > 0)
	{
		call->deadline = router->now + call->timeout;
		heap_settle(router, call->place, call);
	}
}

void
call_fail(Router *router, RouterSession *session, const WireRoute *route)
{
	RouterCall *call = call_by_invocation(router, session, route->id);
	WireRoute error = {.kind = ROUTE_ERROR, .name = route->name, .payload = route->payload};
	RouterText details;

	if (call == NULL)
		return;
	call->interrupted = true;
	if (!call_has_room(router, call) || !call_begin_details(router, call, route->options, &details))
		return;
	if (!uri_is_valid(URI_EXACT, error.name.data, error.name.len))
		error.name = (WireBytes){.data = "wamp.error.runtime_error", .len = 24};
	error.request = call->request;
	error.options = call_details(&details);
	router_send(router, call->caller, &error);
	text_reset(&details);
	call_remove(router, call);
}
