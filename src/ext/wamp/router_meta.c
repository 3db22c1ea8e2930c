/*-------------------------------------------------------------------------
 *
 * router_meta.c
 *	  The procedures wamp.session.* and wamp.registration.*, and their events (WAMP, Advanced
 *	  Profile, meta API).
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "ext/wamp/router_internal.h"

#define META_MAX_TEXT 1024 /* bytes of a name in an argument */

/* A call, as it is answered. */
typedef struct MetaCall
{
	Router *router;
	RouterSession *caller; /* NULL: it has ended itself */
	RouterQuestion question;
	JsonSlice args; /* text is NULL: there are none */
	RouterOptions kwargs;
	RouterText result;
	const char *error; /* NULL: the call has a result */
	const char *message;
} MetaCall;

static void
meta_fail(MetaCall *call, const char *error, const char *message)
{
	call->error = error;
	call->message = message;
}

/* ---------------- arguments ---------------- */

/* The argument with this number, from 0 on. */
static bool
meta_argument(const MetaCall *call, int number, JsonSlice *value)
{
	*value = (JsonSlice){0};
	if (call->args.text == NULL)
		return false;
	while (slice_next(call->args, value))
	{
		if (number-- == 0)
			return true;
	}
	return false;
}

/* An id, which is the first argument. */
static bool
meta_id(MetaCall *call, uint64_t *id)
{
	JsonSlice value;
	double number;

	if (meta_argument(call, 0, &value) && slice_number(value, &number) && number >= 1 &&
		number <= (double) URI_MAX_ID)
	{
		*id = (uint64_t) number;
		return true;
	}
	meta_fail(call, ROUTER_BAD_ARGUMENT, "the first argument must be an id");
	return false;
}

/* A text of up to META_MAX_TEXT bytes, which is the first argument. */
static bool
meta_text(MetaCall *call, char *text)
{
	JsonSlice value;

	if (meta_argument(call, 0, &value) && slice_string(value, text, META_MAX_TEXT))
		return true;
	meta_fail(call, ROUTER_BAD_ARGUMENT, "the first argument must be a string");
	return false;
}

/* ---------------- sessions ---------------- */

typedef struct MetaRoles
{
	bool any;
	JsonSlice list;
} MetaRoles;

static bool
meta_roles(MetaCall *call, MetaRoles *roles)
{
	roles->any = !meta_argument(call, 0, &roles->list) || slice_kind(roles->list) == 'n';
	if (roles->any || slice_kind(roles->list) == '[')
		return true;
	meta_fail(call, ROUTER_BAD_ARGUMENT, "the first argument must be an array of roles");
	return false;
}

static bool
meta_has_role(const MetaRoles *roles, const RouterSession *session)
{
	JsonSlice value = {0};
	char role[META_MAX_TEXT];

	while (!roles->any && slice_next(roles->list, &value))
	{
		if (slice_string(value, role, sizeof(role)) && strcmp(role, session->authrole) == 0)
			return true;
	}
	return roles->any;
}

/* The next session with an id. */
static RouterSession *
meta_next_session(const Router *router, const RouterSession *session)
{
	const RouterRing *node = session != NULL ? session->in_router.first : router->sessions.first;

	while (node != &router->sessions && ring_member(RouterSession, in_router, node)->id == 0)
		node = node->first;
	return node != &router->sessions ? ring_member(RouterSession, in_router, node) : NULL;
}

static void
meta_append_id(RouterText *text, uint64_t id, bool first)
{
	if (!first)
		text_append_string(text, ",");
	text_append_number(text, id);
}

static void
meta_session_count(MetaCall *call)
{
	RouterSession *session = NULL;
	MetaRoles roles;
	uint64_t n = 0;

	if (!meta_roles(call, &roles))
		return;
	while ((session = meta_next_session(call->router, session)) != NULL)
		n += meta_has_role(&roles, session);
	text_append_number(&call->result, n);
}

static void
meta_session_list(MetaCall *call)
{
	RouterSession *session = NULL;
	bool first = true;
	MetaRoles roles;

	if (!meta_roles(call, &roles))
		return;
	text_append_string(&call->result, "[");
	while ((session = meta_next_session(call->router, session)) != NULL)
	{
		if (!meta_has_role(&roles, session))
			continue;
		meta_append_id(&call->result, session->id, first);
		first = false;
	}
	text_append_string(&call->result, "]");
}

static void
meta_session_get(MetaCall *call)
{
	const RouterSession *session;
	uint64_t id;

	if (!meta_id(call, &id))
		return;
	session = router_session(call->router, id);
	if (session != NULL)
		text_append_string(&call->result, session->details);
	else
		meta_fail(call, "wamp.error.no_such_session", "there is no session with this id");
}

/* What a session that is killed is told. */
typedef struct MetaFarewell
{
	char reason[ROUTER_MAX_NAME + 1];
	char message[META_MAX_TEXT];
} MetaFarewell;

static bool
meta_farewell(MetaCall *call, MetaFarewell *farewell)
{
	JsonSlice value;

	strcpy(farewell->reason, "wamp.close.normal");
	farewell->message[0] = '\0';
	if (call->kwargs.object.text == NULL)
		return true;
	(void) options_text(&call->kwargs, "message", farewell->message, sizeof(farewell->message));
	if (slice_member(call->kwargs.object, "reason", &value) == SLICE_ABSENT ||
		slice_kind(value) == 'n' ||
		(slice_string(value, farewell->reason, sizeof(farewell->reason)) &&
		 uri_is_valid(URI_EXACT, farewell->reason, strlen(farewell->reason))))
		return true;
	meta_fail(call, ROUTER_BAD_URI, "the reason is no valid URI");
	return false;
}

static WireBytes
meta_bytes(const char *text)
{
	return (WireBytes){.data = text, .len = (uint32_t) strlen(text)};
}

static void
meta_kill_one(MetaCall *call, RouterSession *session, const MetaFarewell *farewell, bool quietly)
{
	router_kill(call->router, session, meta_bytes(farewell->reason), meta_bytes(farewell->message),
				quietly);
}

static void
meta_session_kill(MetaCall *call)
{
	RouterSession *session;
	MetaFarewell farewell;
	uint64_t id;

	if (!meta_id(call, &id) || !meta_farewell(call, &farewell))
		return;
	session = router_session(call->router, id);
	if (session == NULL || session == call->caller)
	{
		meta_fail(call, "wamp.error.no_such_session", "there is no other session with this id");
		return;
	}
	meta_kill_one(call, session, &farewell, false);
	text_append_string(&call->result, "null");
}

/* Kill the others whose property is this text, NULL: all. Appends their ids, if ids. Returns how many. */
static uint64_t
meta_kill(MetaCall *call, size_t property, const char *text, const MetaFarewell *farewell, bool ids)
{
	RouterSession *session = meta_next_session(call->router, NULL);
	uint64_t n = 0;

	while (session != NULL)
	{
		RouterSession *next = meta_next_session(call->router, session);

		if (session != call->caller &&
			(text == NULL || strcmp(*(char **) ((char *) session + property), text) == 0))
		{
			if (ids)
				meta_append_id(&call->result, session->id, n == 0);
			n++;
			meta_kill_one(call, session, farewell, text == NULL);
		}
		session = next;
	}
	return n;
}

static void
meta_session_kill_by_authid(MetaCall *call)
{
	MetaFarewell farewell;
	char authid[META_MAX_TEXT];

	if (!meta_text(call, authid) || !meta_farewell(call, &farewell))
		return;
	text_append_string(&call->result, "[");
	(void) meta_kill(call, offsetof(RouterSession, authid), authid, &farewell, true);
	text_append_string(&call->result, "]");
}

static void
meta_session_kill_by_authrole(MetaCall *call)
{
	MetaFarewell farewell;
	char authrole[META_MAX_TEXT];

	if (meta_text(call, authrole) && meta_farewell(call, &farewell))
		text_append_number(&call->result, meta_kill(call, offsetof(RouterSession, authrole),
													authrole, &farewell, false));
}

static void
meta_session_kill_all(MetaCall *call)
{
	MetaFarewell farewell;

	if (meta_farewell(call, &farewell))
		text_append_number(&call->result, meta_kill(call, 0, NULL, &farewell, false));
}

/* ---------------- registrations ---------------- */

static void
meta_registration_list(MetaCall *call)
{
	for (int match = URI_EXACT; match <= URI_WILDCARD; match++)
	{
		const RouterRing *head = &call->router->matches[match];

		text_append_string(&call->result, match == URI_EXACT ? "{\"" : ",\"");
		text_append_string(&call->result, uri_match_name((UriMatch) match));
		text_append_string(&call->result, "\":[");
		for (const RouterRing *node = head->first; node != head; node = node->first)
			meta_append_id(&call->result,
						   ring_member(RouterRegistration, in_match, node)->by_id.key,
						   node == head->first);
		text_append_string(&call->result, "]");
	}
	text_append_string(&call->result, "}");
}

static void
meta_append_registration(MetaCall *call, const RouterRegistration *registration)
{
	if (registration != NULL)
		text_append_number(&call->result, registration->by_id.key);
	else
		text_append_string(&call->result, "null");
}

static void
meta_registration_lookup(MetaCall *call)
{
	RouterOptions options = {{0}};
	UriMatch match = URI_EXACT;
	char name[META_MAX_TEXT];
	char text[16];

	if (!meta_text(call, name))
		return;
	if (meta_argument(call, 1, &options.object) && slice_kind(options.object) != '{')
		options.object.text = NULL;
	if (options_text(&options, "match", text, sizeof(text)) &&
		!uri_match_parse(text, strlen(text), &match))
		meta_fail(call, ROUTER_BAD_ARGUMENT, "there is no such value of the option \"match\"");
	else
		meta_append_registration(call,
								 registration_lookup(call->router, match, name, strlen(name)));
}

static void
meta_registration_match(MetaCall *call)
{
	char name[META_MAX_TEXT];

	if (!meta_text(call, name))
		return;
	meta_append_registration(call,
							 strlen(name) <= ROUTER_MAX_NAME
								 ? registration_next_match(call->router, NULL, name, strlen(name))
								 : NULL);
}

/* The registration whose id is the first argument. */
static const RouterRegistration *
meta_given_registration(MetaCall *call)
{
	const RouterRegistration *registration;
	uint64_t id;

	if (!meta_id(call, &id))
		return NULL;
	registration = registration_find(call->router, id);
	if (registration == NULL)
		meta_fail(call, "wamp.error.no_such_registration", "there is no registration with this id");
	return registration;
}

static void
meta_registration_get(MetaCall *call)
{
	const RouterRegistration *registration = meta_given_registration(call);

	if (registration != NULL)
		registration_describe(&call->result, registration);
}

static void
meta_registration_list_callees(MetaCall *call)
{
	const RouterRegistration *registration = meta_given_registration(call);
	const RouterRing *head = registration != NULL ? &registration->callees : NULL;

	if (registration == NULL)
		return;
	text_append_string(&call->result, "[");
	for (const RouterRing *node = head->first; node != head; node = node->first)
		meta_append_id(&call->result, ring_member(RouterCallee, in_registration, node)->session->id,
					   node == head->first);
	text_append_string(&call->result, "]");
}

static void
meta_registration_count_callees(MetaCall *call)
{
	const RouterRegistration *registration = meta_given_registration(call);

	if (registration != NULL)
		text_append_number(&call->result, registration->ncallees);
}

/* ---------------- calls ---------------- */

static const struct
{
	const char *name;
	void (*answer)(MetaCall *call);
} meta_procedures[] = {
	{"wamp.session.count", meta_session_count},
	{"wamp.session.list", meta_session_list},
	{"wamp.session.get", meta_session_get},
	{"wamp.session.kill", meta_session_kill},
	{"wamp.session.kill_by_authid", meta_session_kill_by_authid},
	{"wamp.session.kill_by_authrole", meta_session_kill_by_authrole},
	{"wamp.session.kill_all", meta_session_kill_all},
	{"wamp.registration.list", meta_registration_list},
	{"wamp.registration.lookup", meta_registration_lookup},
	{"wamp.registration.match", meta_registration_match},
	{"wamp.registration.get", meta_registration_get},
	{"wamp.registration.list_callees", meta_registration_list_callees},
	{"wamp.registration.count_callees", meta_registration_count_callees},
};

#define META_PROCEDURES (sizeof(meta_procedures) / sizeof(meta_procedures[0]))

static void
meta_answer_own(MetaCall *call, void (*answer)(MetaCall *))
{
	WireBytes payload = call->question.payload;

	text_append_string(&call->result, "[");
	if (!slice_arguments(payload.data, payload.len, &call->args, &call->kwargs.object))
		meta_fail(call, ROUTER_BAD_ARGUMENT, "the arguments are not valid");
	else
		answer(call);
	text_append_string(&call->result, "]");
}

/* Returns false if there is no such procedure. */
static bool
meta_answer(MetaCall *call)
{
	const RouterHost *host = &call->router->host;
	WireBytes name = call->question.name;

	for (size_t i = 0; i < META_PROCEDURES; i++)
	{
		if (strlen(meta_procedures[i].name) != name.len ||
			memcmp(meta_procedures[i].name, name.data, name.len) != 0)
			continue;
		meta_answer_own(call, meta_procedures[i].answer);
		return true;
	}
	if (host->answer == NULL ||
		!host->answer(host->arg, &call->question, &call->result, &call->error))
		return false;
	if (call->error != NULL)
	{
		text_append(&call->result, "", 1);
		call->message = call->result.data;
	}
	return true;
}

bool
meta_call(Router *router, RouterSession *session, const WireRoute *route)
{
	MetaCall call = {
		.router = router,
		.caller = session,
		.question = {.session = session->id, .name = route->name, .payload = route->payload},
		.result = {.router = router}};
	WireRoute result = {.kind = ROUTE_RESULT, .request = route->request};
	bool found = meta_answer(&call);

	if (found && call.error != NULL)
		router_refuse(router, session, route->request, call.error, call.message);
	else if (found)
	{
		result.payload = text_bytes(&call.result);
		router_send(router, session, &result);
	}
	text_reset(&call.result);
	return found;
}

/* ---------------- events ---------------- */

static void
meta_publish(Router *router, const char *topic, RouterText *payload)
{
	router->host.publish(router->host.arg, topic, text_bytes(payload));
	text_reset(payload);
}

void
meta_joined(Router *router, const RouterSession *session)
{
	RouterText payload = {.router = router};

	if (router->host.publish == NULL)
		return;
	text_append_string(&payload, "[");
	text_append_string(&payload, session->details);
	text_append_string(&payload, "]");
	meta_publish(router, "wamp.session.on_join", &payload);
}

void
meta_left(Router *router, const RouterSession *session)
{
	RouterText payload = {.router = router};

	if (router->host.publish == NULL)
		return;
	text_append_string(&payload, "[");
	text_append_number(&payload, session->id);
	text_append_string(&payload, ",");
	text_append_json(&payload, session->authid, strlen(session->authid));
	text_append_string(&payload, ",");
	text_append_json(&payload, session->authrole, strlen(session->authrole));
	text_append_string(&payload, "]");
	meta_publish(router, "wamp.session.on_leave", &payload);
}

void
meta_registration(Router *router, const char *topic, const RouterSession *session,
				  const RouterRegistration *registration, bool whole)
{
	RouterText payload = {.router = router};

	if (router->host.publish == NULL)
		return;
	text_append_string(&payload, "[");
	text_append_number(&payload, session->id);
	text_append_string(&payload, ",");
	if (whole)
		registration_describe(&payload, registration);
	else
		text_append_number(&payload, registration->by_id.key);
	text_append_string(&payload, "]");
	meta_publish(router, topic, &payload);
}
