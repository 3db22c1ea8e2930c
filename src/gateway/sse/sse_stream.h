/*-------------------------------------------------------------------------
 *
 * sse_stream.h
 *	  The response to GET /events: a stream of server-sent events, which is a session's connection.
 *
 *	  WAITING ──► STREAMING ──► ENDING		all subscriptions have begun; the session is closed
 *		 └──────► REFUSING ───► ENDING		one is refused before: an ordinary response
 *
 * EventSource gives up after any response with another status than 200. A client that accepts
 * text/event-stream gets a refusal that is temporary as a stream, which says why and ends, so that
 * it comes back.
 *
 * This module has no socket and no clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_SSE_STREAM_H
#define GATEWAY_SSE_STREAM_H

#include "gateway/http/http_server.h"
#include "gateway/hub/hub.h"
#include "gateway/sse/sse_request.h"

/* The kind of connections that sessions of streams have. */
extern const SessionIo sse_stream_io;

/* A stream that is to be opened. */
typedef struct SseOpening
{
	Hub *hub;
	Database *database;
	HttpConnection *connection; /* which may be kept already */
	HttpRequest *http;          /* its request */
	SseRequest *request;
	HttpSlice token; /* data NULL: none */
	bool anonymous;  /* the client needs none */
	uint64_t connected_at;
} SseOpening;

/* Open a stream. The connection is kept, and answered later. Takes over the requests. */
extern void sse_stream_open(const SseOpening *opening);

/* Fill in the head of a stream. */
extern void sse_stream_head(HttpResponse *response);

/*
 * Fill in a refusal, with a JSON object that is freed. If the status is 503 and the client accepts
 * text/event-stream, this is a stream that ends.
 */
extern void sse_stream_refusal(HttpResponse *response, int status, json_t *error, bool accepts);

/* Return true if the client accepts text/event-stream by name, as EventSource does. */
extern bool sse_stream_accepts(const HttpRequest *request);

#endif /* GATEWAY_SSE_STREAM_H */
