/*-------------------------------------------------------------------------
 *
 * protocol.h
 *	  A client protocol: functions that read a client's messages and build the frames for it.
 *
 * The hub has requests, events and refusals. Each protocol has its own syntax and error codes for
 * them, and a file in this folder. Its functions keep no state, and frames do not depend on the
 * client, so all clients of a protocol share the frame of an event.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_PROTOCOL_H
#define GATEWAY_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "gateway/protocol/selection.h"
#include "gateway/ws/frame.h"
#include "wire/wire.h"

#define PROTOCOL_MAX         4   /* maximum number of protocols */
#define PROTOCOL_MAX_CHANNEL 63  /* maximum length of a channel's name, in bytes */
#define PROTOCOL_MAX_NAME    255 /* and of a function's */

typedef enum RequestMethod
{
	REQUEST_SUBSCRIBE,
	REQUEST_UNSUBSCRIBE,
	REQUEST_PING,
	REQUEST_AUTH,
	REQUEST_CALL,
	REQUEST_SEND,
} RequestMethod;

/* Its owner calls request_free(). */
typedef struct Request
{
	RequestMethod method;
	/*
	 * The request's id, as the protocol writes it in the answer; NULL: the client wants no answer.
	 */
	char *id;
	char channel[PROTOCOL_MAX_CHANNEL + 1];
	uint8_t channel_len;
	uint8_t ops; /* WIRE_OP_ bits */
	bool has_since;
	WirePosition since;
	bool since_inside;    /* since is a position inside a snapshot, see hub_snapshot.c */
	bool snapshot;        /* of SUBSCRIBE: begin with the rows, */
	char *order;          /* in this order (NULL: by key), */
	uint64_t limit;       /* at most so many (0: all) */
	Selection *selection; /* of SUBSCRIBE and UNSUBSCRIBE; NULL: everything */
	char *token;          /* of AUTH */
	char *name;           /* of CALL */
	char *body;           /* JSON: the arguments of CALL, the payload of SEND */
} Request;

/* Free what a request owns. */
static inline void
request_free(Request *request)
{
	free(request->id);
	free(request->selection);
	free(request->token);
	free(request->name);
	free(request->order);
	free(request->body);
	request->id = NULL;
	request->selection = NULL;
	request->token = NULL;
	request->name = NULL;
	request->order = NULL;
	request->body = NULL;
}

/* Which of a client's subscriptions a message is about. */
typedef struct ProtocolName
{
	WireBytes channel; /* data is NULL: about none */
	WireBytes tag;     /* empty: it has no tag */
} ProtocolName;

typedef struct ProtocolEvent
{
	uint8_t op;                /* one WIRE_OP_ bit */
	WirePosition position;     /* not set for a raw notification */
	bool inside;               /* position is inside a snapshot */
	WirePosition own_position; /* that body has, if position is to replace it; id 0: no */
	ProtocolName name;         /* without a tag, the frame is for all subscriptions without one */
	WireBytes body;            /* a JSON object */
} ProtocolEvent;

/* Why a subscription is refused or has ended: the feed's reasons, and the hub's. */
typedef enum ProtocolReason
{
	PROTOCOL_NOT_PERMITTED = WIRE_NOT_PERMITTED,
	PROTOCOL_NO_SUCH_CHANNEL = WIRE_NO_SUCH_CHANNEL,
	PROTOCOL_NOT_AUTHENTICATED = WIRE_NOT_AUTHENTICATED,
	PROTOCOL_EXPIRED = WIRE_EXPIRED,
	PROTOCOL_REVOKED = WIRE_REVOKED,
	PROTOCOL_DISCONNECTED = WIRE_DISCONNECTED,
	PROTOCOL_BAD_FILTER = WIRE_BAD_FILTER,
	PROTOCOL_POLICY_FAILED = WIRE_POLICY_FAILED,
	/* These are not in wire.h. */
	PROTOCOL_SUBSCRIBED_ALREADY = UINT8_MAX + 1,
	PROTOCOL_NOT_SUBSCRIBED,
	PROTOCOL_TOO_MANY_SUBSCRIPTIONS,
	PROTOCOL_CANCELLED, /* the client has unsubscribed before the subscription began */
} ProtocolReason;

/* The caller owns the returned frames. All texts are UTF-8. */
typedef struct Protocol
{
	uint8_t number; /* unique, less than PROTOCOL_MAX */

	/*
	 * Read a request from one message of the client, len bytes of valid UTF-8. Returns false if it
	 * is not a request: request->id is NULL, and *answer is the error message.
	 */
	bool (*parse)(const char *text, size_t len, Request *request, Frame **answer)
		__attribute__((warn_unused_result));

	/* Build an event. */
	Frame *(*event)(const ProtocolEvent *event);

	/*
	 * Build the answer to a successful request. The position is the one at which a new subscription
	 * begins or, for ping, the one up to which everything was sent before the answer.
	 */
	Frame *(*result)(RequestMethod method, const char *id, ProtocolName name, WirePosition position,
					 bool inside);

	/* The answer to an AUTH that has succeeded; expires_at in microseconds since 1970, 0: never. */
	Frame *(*identity)(const char *id, const char *role, uint64_t expires_at);

	/*
	 * Build the refusal of a request about this subscription, or about none. Without an id, the client wanted no answer, or a subscription has ended later.
	 */
	Frame *(*refusal)(const char *id, ProtocolReason reason, WireBytes text, ProtocolName name);

	/* The answer to a query: the worker's result, a JSON value, or why it has failed. */
	Frame *(*query_result)(const char *id, WireBytes body);
	Frame *(*query_failure)(const char *id, const WireFailed *failed, ProtocolName name);

	/*
	 * A part of the rows of a subscription's set; NULL: the end, with the position from which the
	 * stream goes on.
	 */
	Frame *(*rows)(ProtocolName name, const WireRows *rows, WirePosition position, bool inside);

	/* Build a reset: events of the channel before the position are missing. */
	Frame *(*reset)(ProtocolName name, WireBytes reason, WirePosition position, bool inside);

	/* Build a bookmark: everything up to the position was sent. */
	Frame *(*position)(WirePosition position);
} Protocol;

#endif /* GATEWAY_PROTOCOL_H */
