/*-------------------------------------------------------------------------
 *
 * sse_request.h
 *	  The parameters of GET /events: what a client subscribes to.
 *
 * The parameters that follow a channel belong to it, and those before the first channel to all. They
 * become the params of JSON-RPC's "subscribe", and are checked as such.
 *
 * This module has no socket and no clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_SSE_REQUEST_H
#define GATEWAY_SSE_REQUEST_H

#include <jansson.h>

#include "gateway/http/http_request.h"
#include "gateway/protocol/protocol.h"

typedef struct SseRequest
{
	bool bigint; /* large numbers are sent as strings */
	bool ended;  /* the client has come back though the last event has told it not to */
	size_t count;
	Request *requests; /* one for each channel */
} SseRequest;

/*
 * Read a query string. also (NULL: none) is a further parameter, which the caller reads itself; then
 * the text from which a client resumes is not SSE_ID_END. since (empty: none) is the header
 * Last-Event-ID, which is stronger than the parameter. Returns NULL, and then the caller calls
 * sse_request_free(), or what is wrong, as the error of a JSON-RPC answer.
 */
extern json_t *sse_request_read(HttpSlice query, HttpSlice since, const char *also,
								SseRequest *request) __attribute__((warn_unused_result));

extern void sse_request_free(SseRequest *request);

#endif /* GATEWAY_SSE_REQUEST_H */
