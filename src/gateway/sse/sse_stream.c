/*-------------------------------------------------------------------------
 *
 * sse_stream.c
 *	  The response to GET /events: a stream of server-sent events, which is a session's connection.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/sse/sse_stream.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/base/text.h"
#include "wire/network.h"
#include "gateway/protocol/notification.h"
#include "gateway/protocol/sse.h"

#define SSE_TYPE "text/event-stream"

/* Seconds, for clients that are not sent a time in a stream. */
#define SSE_RETRY_AFTER "1"

/*
 * Clients come back after a random time between these, in milliseconds, so that they do not all come
 * at once after a restart; after a refusal later.
 */
#define SSE_RETRY_MIN   1000
#define SSE_RETRY_MAX   5000
#define SSE_REFUSED_MIN 5000
#define SSE_REFUSED_MAX 15000

typedef struct SseStream
{
	HttpConnection *http;
	Session *session;
	bool accepts;   /* text/event-stream, see sse_stream_refusal() */
	bool begun;     /* the head of the stream was sent */
	bool ending;    /* everything was written */
	Frame *refusal; /* instead of a stream; NULL: none */
} SseStream;

/* Numbers in a row are spread evenly, see session.c. */
static uint32_t
sse_spread(uint32_t min, uint32_t max)
{
	static uint32_t count;

	return min + (uint32_t) ((uint64_t) (++count * 2654435769u) * (max - min) >> 32);
}

/* ---------------- responses ---------------- */

void
sse_stream_head(HttpResponse *response)
{
	http_response_stream(response, 200, SSE_TYPE);
	/* Otherwise nginx collects the events before it passes them on. */
	(void) http_response_header(response, "X-Accel-Buffering", "no");
}

bool
sse_stream_accepts(const HttpRequest *request)
{
	for (size_t i = 0; i < request->nheaders; i++)
	{
		const HttpHeader *header = &request->headers[i];

		if (text_equal_nocase(header->name.data, header->name.len, "accept") &&
			memmem(header->value.data, header->value.len, SSE_TYPE, strlen(SSE_TYPE)) != NULL)
			return true;
	}
	return false;
}

void
sse_stream_refusal(HttpResponse *response, int status, json_t *error, bool accepts)
{
	if (status == 503 && accepts)
	{
		Frame *retry = sse_retry(sse_spread(SSE_REFUSED_MIN, SSE_REFUSED_MAX));
		Frame *frame = sse_error(error, false);
		char *body = memory_new(retry->len + frame->len);

		memcpy(body, retry->data, retry->len);
		memcpy(body + retry->len, frame->data, frame->len);
		http_response_bytes(response, 200, SSE_TYPE, body, retry->len + frame->len);
		response->owned = body;
		frame_unref(retry);
		frame_unref(frame);
		json_decref(error);
		return;
	}
	http_response_json(response, status, error);
	if (status == 503)
		(void) http_response_header(response, "Retry-After", SSE_RETRY_AFTER);
	else if (status == 401)
		(void) http_response_header(response, "WWW-Authenticate", "Bearer error=\"invalid_token\"");
}

/* ---------------- the session's connection ---------------- */

static bool
sse_ready(void *io)
{
	const SseStream *stream = io;

	return stream->refusal != NULL || http_ready(stream->http);
}

static bool
sse_write(void *io, const uint8_t *data, size_t len)
{
	const SseStream *stream = io;

	return stream->refusal != NULL || http_write(stream->http, data, len);
}

/* The HTTP server reads what a client sends, and limits it. */
static void
sse_pause(void *io, bool pause)
{
	(void) io;
	(void) pause;
}

static void
sse_wake(void *io)
{
	const SseStream *stream = io;

	http_wake(stream->http);
}

static void
sse_drop(void *io)
{
	const SseStream *stream = io;

	http_abort(stream->http);
}

/* The HTTP server always reads, so it notices when the client has left. */
static void
sse_probe(void *io)
{
	(void) io;
}

static void
sse_begin(void *io)
{
	SseStream *stream = io;
	HttpResponse response;

	stream->begun = true;
	sse_stream_head(&response);
	http_begin(stream->http, &response);
	session_send_own(stream->session, sse_retry(sse_spread(SSE_RETRY_MIN, SSE_RETRY_MAX)),
					 FRAME_NO_POSITION);
}

static void
sse_closing(void *io, Frame *last)
{
	SseStream *stream = io;

	if (!stream->begun)
		stream->refusal = frame_ref(last);
}

static void
sse_finish(void *io)
{
	SseStream *stream = io;

	stream->ending = true;
	http_wake(stream->http);
}

const SessionIo sse_stream_io = {
	.ready = sse_ready,
	.write = sse_write,
	.pause = sse_pause,
	.wake = sse_wake,
	.drop = sse_drop,
	.probe = sse_probe,
	.ping = {.data = SSE_COMMENT, .len = sizeof(SSE_COMMENT) - 1},
	.whole = true,
	.close = sse_close,
	.begin = sse_begin,
	.closing = sse_closing,
	.finish = sse_finish,
};

/* ---------------- the HTTP connection ---------------- */

static void
sse_free(SseStream *stream)
{
	session_closed(stream->session);
	if (stream->refusal != NULL)
		frame_unref(stream->refusal);
	free(stream);
}

static void
sse_refuse(SseStream *stream)
{
	HttpResponse response;
	int status;
	json_t *error = sse_error_read(stream->refusal, &status);

	sse_stream_refusal(&response, status, error, stream->accepts);
	http_respond(stream->http, &response);
}

static void
sse_on_writable(void *owner)
{
	SseStream *stream = owner;

	if (!stream->ending)
	{
		session_writable(stream->session);
		return;
	}
	if (stream->refusal != NULL)
		sse_refuse(stream);
	else
		http_finish(stream->http);
	sse_free(stream);
}

static void
sse_on_closed(void *owner)
{
	sse_free(owner);
}

/* A client that has left answers the comment by a reset. */
static void
sse_on_ended(void *owner)
{
	SseStream *stream = owner;

	if (stream->session->queue.count == 0 && http_ready(stream->http))
		(void) http_write(stream->http, (const uint8_t *) SSE_COMMENT, strlen(SSE_COMMENT));
}

static const HttpOwner sse_http_events = {
	.writable = sse_on_writable,
	.closed = sse_on_closed,
	.half_closed = true,
	.ended = sse_on_ended,
};

/* ---------------- opening ---------------- */

static void
sse_subscribe(HubClient *client, SseRequest *request)
{
	for (size_t i = 0; i < request->count && client->session.state == SESSION_OPEN; i++)
		hub_request(client, &request->requests[i]);
	sse_request_free(request);
}

void
sse_stream_open(const SseOpening *opening)
{
	SseStream *stream = memory_zeroed(sizeof(SseStream));
	char address[NETWORK_TEXT];
	HubClient *client;

	network_text(http_client(opening->connection), address);
	stream->http = opening->connection;
	stream->accepts = sse_stream_accepts(opening->http);
	client = hub_open(opening->hub, opening->database, SESSION_SSE,
					  opening->request->bigint ? &sse_bigint_protocol : &sse_protocol, address,
					  opening->anonymous && opening->token.len == 0, stream);
	stream->session = &client->session;
	client->connected_at = opening->connected_at;
	client->subprotocol = SSE_TYPE;
	client->from = http_from(opening->connection);
	client->queries.from = client->from;
	if (opening->token.len > 0)
		hub_offer(opening->hub, client, opening->token.data, opening->token.len, false, NULL);
	http_keep(opening->connection, &sse_http_events, stream);
	sse_subscribe(client, opening->request);
}
