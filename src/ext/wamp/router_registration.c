/*-------------------------------------------------------------------------
 *
 * router_registration.c
 *	  Registrations, and which of them a call is for.
 *
 * The best match of a name is the registration of exactly this name, then the longest prefix, then
 * a wildcard: of two of them, the one that has a part where the other one has none, at the first
 * place where they differ in this (WAMP, Advanced Profile, pattern-based registrations). So one
 * order of all wildcards is right for every name, and the list has them in this order.
 *
 * The id of a registration is the hash of its name, so that it stays the same when another feed
 * gets the registrations again. Two names with one hash cannot be registered at the same time.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>
#include <stdio.h>
#include <time.h>

#include "ext/wamp/router_internal.h"

static const char *const registration_policies[] = {
	[INVOKE_SINGLE] = "single", [INVOKE_ROUNDROBIN] = "roundrobin",
	[INVOKE_RANDOM] = "random", [INVOKE_FIRST] = "first",
	[INVOKE_LAST] = "last",
};

#define REGISTRATION_POLICIES (sizeof(registration_policies) / sizeof(registration_policies[0]))

/* ---------------- finding ---------------- */

RouterRegistration *
registration_find(const Router *router, uint64_t id)
{
	RouterNode *node = table_find(&router->registrations, id);

	return node != NULL ? ring_member(RouterRegistration, by_id, node) : NULL;
}

static bool
registration_is(const RouterRegistration *registration, UriMatch match, const char *name,
				size_t len)
{
	return registration->match == match && registration->len == len &&
		   memcmp(registration->name, name, len) == 0;
}

RouterRegistration *
registration_lookup(const Router *router, UriMatch match, const char *name, size_t len)
{
	RouterRegistration *registration = registration_find(router, uri_id(match, name, len));

	return registration != NULL && registration_is(registration, match, name, len) ? registration
																				   : NULL;
}

static RouterRegistration *
registration_longest_prefix(const Router *router, const char *name, size_t len)
{
	for (; len > 0; len--)
	{
		RouterRegistration *registration =
			router->prefixes[len] > 0 ? registration_lookup(router, URI_PREFIX, name, len) : NULL;

		if (registration != NULL)
			return registration;
	}
	return NULL;
}

/* The first wildcard after a member of their list that matches. */
static RouterRegistration *
registration_next_wildcard(const Router *router, const RouterRing *after, const char *name,
						   size_t len)
{
	const RouterRing *head = &router->matches[URI_WILDCARD];

	for (RouterRing *node = after->first; node != head; node = node->first)
	{
		RouterRegistration *registration = ring_member(RouterRegistration, in_match, node);

		if (uri_matches(URI_WILDCARD, registration->name, registration->len, name, len))
			return registration;
	}
	return NULL;
}

RouterRegistration *
registration_next_match(const Router *router, const RouterRegistration *after, const char *name,
						size_t len)
{
	RouterRegistration *found = NULL;

	if (after == NULL)
		found = registration_lookup(router, URI_EXACT, name, len);
	if (found == NULL && (after == NULL || after->match == URI_EXACT))
		found = registration_longest_prefix(router, name, len);
	else if (found == NULL && after->match == URI_PREFIX)
		found = registration_longest_prefix(router, name, after->len - 1);
	if (found != NULL)
		return found;
	return registration_next_wildcard(router,
									  after != NULL && after->match == URI_WILDCARD
										  ? &after->in_match
										  : &router->matches[URI_WILDCARD],
									  name, len);
}

/* ---------------- order of wildcards ---------------- */

/* Whether a wildcard applies before another one, if both match a name. */
static bool
registration_precedes(const char *a, const char *b)
{
	for (;;)
	{
		bool any_a = *a == '.' || *a == '\0';
		bool any_b = *b == '.' || *b == '\0';

		if (any_a != any_b)
			return any_b;
		a = strchr(a, '.');
		b = strchr(b, '.');
		if (a == NULL || b == NULL)
			return false;
		a++;
		b++;
	}
}

static void
registration_sort_in(Router *router, RouterRegistration *registration)
{
	RouterRing *head = &router->matches[registration->match];
	RouterRing *before = head->first;

	if (registration->match != URI_WILDCARD)
		before = head;
	while (before != head &&
		   !registration_precedes(registration->name,
								  ring_member(RouterRegistration, in_match, before)->name))
		before = before->first;
	ring_append(before, &registration->in_match);
}

/* ---------------- beginning and ending ---------------- */

static RouterRegistration *
registration_create(Router *router, UriMatch match, RouterInvoke invoke, WireBytes name)
{
	RouterRegistration *registration =
		router_allocate(router, sizeof(RouterRegistration) + (size_t) name.len + 1);

	memset(registration, 0, sizeof(*registration));
	registration->match = match;
	registration->invoke = invoke;
	registration->created = router->unix_now;
	registration->len = name.len;
	memcpy(registration->name, name.data, name.len);
	registration->name[name.len] = '\0';
	ring_init(&registration->callees);
	registration_sort_in(router, registration);
	table_add(router, &router->registrations, &registration->by_id,
			  uri_id(match, name.data, name.len));
	if (match == URI_PREFIX)
		router->prefixes[name.len]++;
	router->nwildcards += match == URI_WILDCARD;
	return registration;
}

static void
registration_remove(Router *router, RouterRegistration *registration)
{
	if (registration->match == URI_PREFIX)
		router->prefixes[registration->len]--;
	router->nwildcards -= registration->match == URI_WILDCARD;
	ring_remove(&registration->in_match);
	table_remove(&router->registrations, &registration->by_id);
	router_release(router, registration);
}

static void
registration_add(Router *router, RouterRegistration *registration, RouterSession *session,
				 bool discloses)
{
	RouterCallee *callee = router_allocate(router, sizeof(RouterCallee));

	*callee = (RouterCallee){.registration = registration,
							 .session = session,
							 .discloses = discloses,
							 .check = router->check};
	ring_append(&registration->callees, &callee->in_registration);
	ring_append(&session->callees, &callee->in_session);
	ring_append(&router->callees, &callee->in_router);
	registration->ncallees++;
	session->ncallees++;
	router->ncallees++;
}

void
registration_end(Router *router, RouterCallee *callee, bool quietly)
{
	RouterRegistration *registration = callee->registration;

	ring_remove(&callee->in_registration);
	ring_remove(&callee->in_session);
	ring_remove(&callee->in_router);
	registration->ncallees--;
	callee->session->ncallees--;
	router->ncallees--;
	if (!quietly)
		meta_registration(router, "wamp.registration.on_unregister", callee->session, registration,
						  false);
	if (registration->ncallees == 0)
	{
		if (!quietly)
			meta_registration(router, "wamp.registration.on_delete", callee->session, registration,
							  false);
		registration_remove(router, registration);
	}
	router_release(router, callee);
}

/* ---------------- REGISTER ---------------- */

typedef struct RegistrationWish
{
	UriMatch match;
	RouterInvoke invoke;
	bool discloses;
} RegistrationWish;

/* Returns false if an option has a value that does not exist. */
static bool
registration_read_options(WireBytes text, RegistrationWish *wish)
{
	RouterOptions options;
	JsonSlice value;
	char name[16];

	*wish = (RegistrationWish){.match = URI_EXACT, .invoke = INVOKE_SINGLE};
	if (!options_read(text, &options))
		return false;
	if (options.object.text == NULL)
		return true;
	wish->discloses = options_true(&options, "disclose_caller");
	if (slice_member(options.object, "match", &value) != SLICE_ABSENT &&
		!(options_text(&options, "match", name, sizeof(name)) &&
		  uri_match_parse(name, strlen(name), &wish->match)))
		return false;
	if (slice_member(options.object, "invoke", &value) == SLICE_ABSENT)
		return true;
	if (!options_text(&options, "invoke", name, sizeof(name)))
		return false;
	for (size_t i = 0; i < REGISTRATION_POLICIES; i++)
	{
		wish->invoke = (RouterInvoke) i;
		if (strcmp(name, registration_policies[i]) == 0)
			return true;
	}
	return false;
}

static bool
registration_has(const RouterRegistration *registration, const RouterSession *session)
{
	const RouterRing *node = session->callees.first;

	for (; node != &session->callees; node = node->first)
	{
		if (ring_member(RouterCallee, in_session, node)->registration == registration)
			return true;
	}
	return false;
}

typedef struct RegistrationProblem
{
	const char *error; /* NULL: there is none */
	const char *message;
} RegistrationProblem;

/* Whether a session may join the one that exists. */
static RegistrationProblem
registration_conflict(const RouterRegistration *existing, const RouterSession *session,
					  RouterInvoke invoke)
{
	if (existing->invoke == INVOKE_SINGLE || registration_has(existing, session))
		return (RegistrationProblem){"wamp.error.procedure_already_exists",
									 "the procedure is registered already"};
	if (existing->invoke != invoke)
		return (RegistrationProblem){
			"wamp.error.procedure_exists_with_different_invocation_policy",
			"the procedure is registered with another value of the option \"invoke\""};
	return (RegistrationProblem){NULL, NULL};
}

/* Whether a session may have one more. */
static RegistrationProblem
registration_no_room(const Router *router, const RouterSession *session, UriMatch match)
{
	if (session->ncallees >= ROUTE_MAX_REGISTRATIONS)
		return (RegistrationProblem){ROUTER_UNAVAILABLE, "the session has too many registrations"};
	if (router->ncallees >= ROUTER_MAX_CALLEES ||
		(match == URI_WILDCARD && router->nwildcards >= ROUTER_MAX_WILDCARDS))
		return (RegistrationProblem){ROUTER_UNAVAILABLE, "there are too many registrations"};
	return (RegistrationProblem){NULL, NULL};
}

static RegistrationProblem
registration_bad_name(const Router *router, const RouterSession *session, UriMatch match,
					  WireBytes name)
{
	if (name.len > ROUTER_MAX_NAME || !uri_is_valid(match, name.data, name.len))
		return (RegistrationProblem){
			ROUTER_BAD_URI, "the name of the procedure is no valid URI of up to 255 bytes"};
	if (uri_is_reserved(name.data, name.len))
		return (RegistrationProblem){ROUTER_BAD_URI, "URIs that begin with \"wamp.\" are reserved"};
	if (!router_may(router, session, ROUTER_REGISTER, name))
		return (RegistrationProblem){ROUTER_NOT_AUTHORIZED, router_lacks("register", name)};
	if (match == URI_EXACT && router->host.taken(router->host.arg, name))
		return (RegistrationProblem){"wamp.error.procedure_already_exists",
									 "a function of the database is exposed with this name"};
	return (RegistrationProblem){NULL, NULL};
}

/* What is registered again was lost with the feed that had it: nobody has noticed. */
static void
registration_publish(Router *router, const RouterSession *session,
					 const RouterRegistration *registration, bool created)
{
	if (created)
		meta_registration(router, "wamp.registration.on_create", session, registration, true);
	meta_registration(router, "wamp.registration.on_register", session, registration, false);
}

void
registration_register(Router *router, RouterSession *session, const WireRoute *route)
{
	WireRoute answer = {.kind = ROUTE_REGISTERED, .request = route->request};
	RegistrationProblem problem = {ROUTER_BAD_ARGUMENT, "an option of REGISTER is not valid"};
	RouterRegistration *registration = NULL;
	RegistrationWish wish;
	bool created;

	if (registration_read_options(route->options, &wish))
		problem = registration_bad_name(router, session, wish.match, route->name);
	if (problem.error == NULL)
	{
		registration =
			registration_find(router, uri_id(wish.match, route->name.data, route->name.len));
		problem = registration_no_room(router, session, wish.match);
	}
	if (problem.error == NULL && registration != NULL &&
		!registration_is(registration, wish.match, route->name.data, route->name.len))
		problem = (RegistrationProblem){ROUTER_UNAVAILABLE, "another procedure has the same id"};
	else if (problem.error == NULL && registration != NULL)
		problem = registration_conflict(registration, session, wish.invoke);
	if (problem.error != NULL)
	{
		router_refuse(router, session, route->request, problem.error, problem.message);
		return;
	}
	created = registration == NULL;
	if (created)
		registration = registration_create(router, wish.match, wish.invoke, route->name);
	registration_add(router, registration, session, wish.discloses);
	answer.id = registration->by_id.key;
	router_send(router, session, &answer);
	if ((route->flags & ROUTE_AGAIN) == 0)
		registration_publish(router, session, registration, created);
}

void
registration_unregister(Router *router, RouterSession *session, const WireRoute *route)
{
	WireRoute answer = {.kind = ROUTE_UNREGISTERED, .request = route->request, .id = route->id};
	RouterRing *node = session->callees.first;

	while (node != &session->callees &&
		   ring_member(RouterCallee, in_session, node)->registration->by_id.key != route->id)
		node = node->first;
	if (node == &session->callees)
	{
		router_refuse(router, session, route->request, "wamp.error.no_such_registration",
					  "the session has no registration with this id");
		return;
	}
	router_send(router, session, &answer);
	registration_end(router, ring_member(RouterCallee, in_session, node), false);
}

/* ---------------- description ---------------- */

void
registration_describe(RouterText *text, const RouterRegistration *registration)
{
	time_t seconds = (time_t) (registration->created / 1000);
	struct tm tm;
	char created[64];
	size_t len;

	gmtime_r(&seconds, &tm);
	len = strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%S", &tm);
	(void) snprintf(created + len, sizeof(created) - len, ".%03dZ",
					(int) (registration->created % 1000));
	text_append_string(text, "{\"id\":");
	text_append_number(text, registration->by_id.key);
	text_append_string(text, ",\"created\":\"");
	text_append_string(text, created);
	text_append_string(text, "\",\"uri\":");
	text_append_json(text, registration->name, registration->len);
	text_append_string(text, ",\"match\":\"");
	text_append_string(text, uri_match_name(registration->match));
	text_append_string(text, "\",\"invoke\":\"");
	text_append_string(text, registration_policies[registration->invoke]);
	text_append_string(text, "\"}");
}
