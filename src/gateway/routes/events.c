/*-------------------------------------------------------------------------
 *
 * events.c
 *	  GET and HEAD /events: a stream of server-sent events.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/events.h"

#include <string.h>

#include "gateway/protocol/notification.h"
#include "gateway/protocol/sse.h"
#include "gateway/routes/admission.h"
#include "gateway/sse/sse_request.h"
#include "gateway/sse/sse_stream.h"

/* What a client adds to its request when it comes back: the header without its value. */
#define EVENTS_ID_LINE "Last-Event-ID: \r\n"

/*
 * Return true if the client can come back with any id that it may get: the head of its request must
 * not become too large.
 */
static bool
events_id_fits(const HttpRequest *request, const SseRequest *sse)
{
	size_t size = strlen("GET  HTTP/1.1\r\n\r\n") + strlen(EVENTS_ID_LINE) + request->path.len + 1 +
				  request->query.len + sse_id_max(sse->requests, sse->count);

	for (size_t i = 0; i < request->nheaders; i++)
		size += request->headers[i].name.len + request->headers[i].value.len + strlen(": \r\n");
	size -= http_request_header(request, "last-event-id").len;
	return size <= HTTP_HEAD_MAX;
}

/*
 * Read the parameters. Returns false if the request is not for a stream, and the response says why.
 */
static bool
events_read(const HttpRequest *request, SseRequest *sse, HttpResponse *response)
{
	json_t *error =
		sse_request_read(request->query, http_request_header(request, "last-event-id"), NULL, sse);

	if (error != NULL)
		http_response_json(response, 400, error);
	/* EventSource does not come back after this. */
	else if (sse->ended)
		http_response_bytes(response, 204, NULL, NULL, 0);
	else if (!events_id_fits(request, sse))
		http_response_text(response, 431,
						   "the request leaves no room for an id of all channels; open several "
						   "streams");
	else
		return true;
	sse_request_free(sse);
	return false;
}

void
events_soften(EventsRoute *route, const HttpRequest *request, HttpResponse *response)
{
	HttpResponse refusal;

	if ((response->status != 503 && response->status != 429) || !sse_stream_accepts(request))
		return;
	/* The HTTP server counts only those with a status of 400 or more. */
	route->sessions->stats.refused[response->refusal]++;
	sse_stream_refusal(&refusal, 503,
					   notification_error(SESSION_CLOSE_NOT_SERVED,
										  (WireBytes){.data = response->body,
													  .len = (uint32_t) response->body_len - 1},
										  NULL, (WireBytes){.data = NULL},
										  (WireBytes){.data = NULL}),
					   true);
	http_response_release(response);
	*response = refusal;
}

/* All is well: open the stream, which takes over the requests. A HEAD gets its head. */
static void
events_open(EventsRoute *route, HttpConnection *connection, HttpRequest *request, SseRequest *sse,
			const Admission *admission)
{
	SseOpening opening = {
		.hub = route->hub,
		.database = admission->database,
		.connection = connection,
		.http = request,
		.request = sse,
		.token = admission->token,
		.anonymous = admission->anonymous,
		.connected_at = route->wall_clock(),
	};
	HttpResponse response;

	if (request->method != HTTP_HEAD)
	{
		sse_stream_open(&opening);
		return;
	}
	sse_request_free(sse);
	sse_stream_head(&response);
	http_respond(connection, &response);
}

/* Answer a request, unless its database may be served soon and this is not the last attempt. */
static bool
events_try(EventsRoute *route, HttpConnection *connection, HttpRequest *request, bool kept,
		   bool last)
{
	Crowd others = admission_crowd(route->sessions, route->server, connection, kept);
	Admission admission = {0};
	HttpResponse response;
	SseRequest sse;

	if (!events_read(request, &sse, &response))
		http_respond(connection, &response);
	else if (admission_client(request, others, route->config, route->hub, &admission, &response))
		events_open(route, connection, request, &sse, &admission);
	else
	{
		sse_request_free(&sse);
		if (admission.later && !last)
		{
			http_response_release(&response);
			if (!kept)
				hub_want(route->hub, admission.name, admission.name_len);
			return false;
		}
		events_soften(route, request, &response);
		http_respond(connection, &response);
	}
	return true;
}

static bool
events_try_again(HttpConnection *connection, HttpRequest *request, bool last, void *arg)
{
	return events_try(arg, connection, request, true, last);
}

void
events_init(EventsRoute *route)
{
	waiting_init(&route->waiting, events_try_again, route);
}

void
events_request(EventsRoute *route, HttpConnection *connection, HttpRequest *request)
{
	bool full = route->waiting.count >= WAITING_MAX;

	if (!events_try(route, connection, request, false, full))
		(void) !waiting_add(&route->waiting, connection, request, route->sessions->now());
}
