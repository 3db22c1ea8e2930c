/*-------------------------------------------------------------------------
 *
 * sse.h
 *	  Server-sent events (the HTML standard's text/event-stream), as described in doc/events.md.
 *
 * A message has the params of JSON-RPC's notifications as its data. Its id is an opaque text, from
 * which all channels of the stream resume: a position and, for each channel that resumes elsewhere,
 * its name and position. Most events have the position alone, and are shared.
 *
 *	  1-700						all channels
 *	  1-700;orders=1-600		orders resumes at 1-600, the others at 1-700
 *	  1-700;orders=1-600s		orders is inside of a snapshot
 *
 * Names are percent-encoded. The id is the last line of a message, so that it counts only if the
 * client has got all of the message.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_SSE_H
#define GATEWAY_SSE_H

#include <jansson.h>

#include "gateway/protocol/protocol.h"

extern const Protocol sse_protocol;

/* The same for clients that want bigint=string, as jsonrpc_bigint_protocol. */
extern const Protocol sse_bigint_protocol;

/* The last event has this id if the client must not come back. */
#define SSE_ID_END "end"

/* What a client ignores. */
#define SSE_COMMENT ":\n\n"

/* The last message of a stream that ends with this code and reason; see SessionIo.close. */
extern Frame *sse_close(uint16_t code, const char *reason);

/* A message that only tells the client after how many milliseconds to come back. */
extern Frame *sse_retry(uint32_t ms);

/* An error, a JSON object that stays the caller's, as a message. final: with SSE_ID_END. */
extern Frame *sse_error(json_t *error, bool final);

/*
 * Read the error of a message that sse_error() or sse_close() has made, whose reference is passed on, and
 * find the status of an HTTP response that has it instead of a stream.
 */
extern json_t *sse_error_read(const Frame *frame, int *status);

/* Maximum length of an id for a client's requests. */
extern size_t sse_id_max(const Request *requests, size_t count);

/*
 * Find in an id from where a channel resumes: the text of a position. Returns false if the id is
 * malformed. The position may be malformed, too.
 */
extern bool sse_id_find(const char *id, size_t len, WireBytes channel, WireBytes *position)
	__attribute__((warn_unused_result));

#endif /* GATEWAY_SSE_H */
