/*-------------------------------------------------------------------------
 *
 * group_route.c
 *	  Consumer groups by HTTP. See group_route.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/group_route.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/base/text.h"
#include "gateway/routes/admission.h"

/* A request that takes. */
typedef struct TakeRequest
{
	LIST_ENTRY(TakeRequest) in_route;
	GroupRoute *route;
	HttpConnection *connection;
	GroupTaker taker;
	WireBytes token; /* in the request */
	uint64_t deadline;
} TakeRequest;

static void
take_free(TakeRequest *take)
{
	group_leave(&take->taker);
	LIST_REMOVE(take, in_route);
	take->route->queries->count--;
	free(take);
}

static void
take_respond(TakeRequest *take, HttpResponse *response)
{
	HttpConnection *connection = take->connection;

	take_free(take);
	http_respond(connection, response);
}

/* ---------------- what the group says ---------------- */

static WireBytes
take_token(void *owner)
{
	return ((TakeRequest *) owner)->token;
}

/* Answer with the deliveries as an array. */
static void
take_respond_deliveries(TakeRequest *take, WireBytes deliveries)
{
	char *body = memory_new(deliveries.len + sizeof("[]"));
	size_t len = 0;
	HttpResponse response;
	WireBytes id;
	WireBytes delivery;

	while (group_next_delivery(&deliveries, &id, &delivery))
	{
		body[len] = len == 0 ? '[' : ',';
		memcpy(body + len + 1, delivery.data, delivery.len);
		len += delivery.len + 1;
	}
	if (len == 0)
		body[len++] = '[';
	body[len++] = ']';
	http_response_bytes(&response, 200, "application/json", body, len);
	take_respond(take, &response);
	free(body);
}

static uint64_t
take_now(const TakeRequest *take)
{
	return take->route->queries->sessions->now();
}

static void
take_taken(void *owner, WireBytes deliveries)
{
	TakeRequest *take = owner;

	if (deliveries.len > 0 || take_now(take) >= take->deadline)
		take_respond_deliveries(take, deliveries);
}

static void
take_failed(void *owner, const WireFailed *failed)
{
	TakeRequest *take = owner;
	HttpResponse response;

	query_route_failed(take->route->queries, take->connection, failed, take->token.len == 0,
					   &response);
	take_respond(take, &response);
}

static const GroupTakerEvents take_taker_events = {
	.token = take_token, .taken = take_taken, .failed = take_failed};

/* ---------------- the connection ---------------- */

static void
take_writable(void *owner)
{
	(void) owner;
}

static void
take_closed(void *owner)
{
	take_free(owner);
}

/* A client that closes its side might not get its deliveries, so it is gone. */
static const HttpOwner take_http_events = {.writable = take_writable, .closed = take_closed};

void
group_route_init(GroupRoute *route, QueryRoute *queries)
{
	route->queries = queries;
	LIST_INIT(&route->requests);
}

void
group_route_tick(GroupRoute *route)
{
	TakeRequest *take;
	TakeRequest *next;

	for (take = LIST_FIRST(&route->requests); take != NULL; take = next)
	{
		next = LIST_NEXT(take, in_route);
		/* A take that is on its way answers. */
		if (take_now(take) >= take->deadline && !group_is_taking(&take->taker))
			take_respond_deliveries(take, (WireBytes){.data = "", .len = 0});
	}
}

/* ---------------- requests ---------------- */

/* Read a parameter that is a number. Returns false if it is malformed or too large. */
static bool
group_number(const HttpRequest *request, const char *name, uint32_t min, uint32_t max,
			 uint32_t *number)
{
	const HttpParameter *parameter = http_request_parameter(request, name, NULL);
	uint32_t value = 0;

	if (parameter == NULL)
		return true;
	if (parameter->value.len == 0 || parameter->value.len > 5)
		return false;
	for (size_t i = 0; i < parameter->value.len; i++)
	{
		if (parameter->value.data[i] < '0' || parameter->value.data[i] > '9')
			return false;
		value = value * 10 + (uint32_t) (parameter->value.data[i] - '0');
	}
	*number = value;
	return value >= min && value <= max;
}

/* Refuse a parameter that is none of a take's, which would be ignored. */
static bool
group_check_parameters(const HttpRequest *request, HttpResponse *response)
{
	static const char *const known[] = {"count", "wait", "database", "access_token"};

	for (size_t i = 0; i < request->nparameters; i++)
	{
		HttpSlice name = request->parameters[i].name;
		size_t k = 0;

		while (k < sizeof(known) / sizeof(known[0]) && !http_slice_is(name, known[k]))
			k++;
		if (k < sizeof(known) / sizeof(known[0]))
			continue;
		http_response_text(response, 400, "unknown parameter; there are count and wait");
		return false;
	}
	return true;
}

/* Return true if the name from the path can be one. */
static bool
group_check_name(const HttpRequest *request, HttpResponse *response)
{
	HttpSlice name = request->captures[0];

	if (text_utf8_valid(name.data, name.len) && memchr(name.data, '\0', name.len) == NULL &&
		name.len <= GROUP_MAX_NAME)
		return true;
	http_response_text(response, 404, "no consumer group has such a name");
	return false;
}

static WireBytes
group_bytes(HttpSlice slice)
{
	return (WireBytes){.data = slice.data != NULL ? slice.data : "", .len = (uint32_t) slice.len};
}

/* Keep the connection, and take. */
static void
group_take(GroupRoute *route, HttpConnection *connection, const HttpRequest *request,
		   const Admission *admission, uint32_t count, uint32_t wait)
{
	TakeRequest *take = memory_zeroed(sizeof(TakeRequest));

	take->route = route;
	take->connection = connection;
	take->token = group_bytes(admission->token);
	take->taker.events = &take_taker_events;
	take->taker.owner = take;
	take->deadline = take_now(take) + (uint64_t) wait * 1000;
	LIST_INSERT_HEAD(&route->requests, take, in_route);
	route->queries->count++;
	http_keep(connection, &take_http_events, take);
	group_join(&admission->database->groups, group_bytes(request->captures[0]), &take->taker);
	group_want(&take->taker, count);
}

void
group_route_take(GroupRoute *route, HttpConnection *connection, HttpRequest *request)
{
	QueryRoute *queries = route->queries;
	uint32_t count = 1;
	uint32_t wait = 0;
	Admission admission;
	HttpResponse response;

	if (!group_number(request, "count", 1, GROUP_MAX_COUNT, &count))
		http_response_text(&response, 400, "count must be a number from 1 to %d", GROUP_MAX_COUNT);
	else if (!group_number(request, "wait", 0, TAKE_MAX_WAIT, &wait))
		http_response_text(&response, 400, "wait must be a number of seconds from 0 to %d",
						   TAKE_MAX_WAIT);
	else if (group_check_parameters(request, &response) && group_check_name(request, &response) &&
			 admission_query(request,
							 admission_crowd(queries->sessions, queries->server, connection, false),
							 queries->config, queries->hub, &admission, &response))
	{
		group_take(route, connection, request, &admission, count, wait);
		return;
	}
	http_respond(connection, &response);
}

void
group_route_return(GroupRoute *route, HttpConnection *connection, HttpRequest *request,
				   WireQueryKind kind)
{
	WireQuery query = {
		.kind = (uint8_t) kind,
		.name = group_bytes(request->captures[0]),
		.body = group_bytes(request->body),
	};
	HttpResponse response;

	if (group_check_name(request, &response) && query_route_check_body(request, &response))
		query_route_run(route->queries, connection, request, &query);
	else
		http_respond(connection, &response);
}
