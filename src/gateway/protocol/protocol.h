/*-------------------------------------------------------------------------
 *
 * protocol.h
 *	  A client protocol: the functions that read a client's messages and build the frames it gets.
 *
 * The hub knows requests, events and refusals. Each protocol has its own syntax for them, its own
 * error codes, and a file of its own in this folder. Its functions keep no state, and frames name no
 * client, so that all clients of a protocol share the frame of an event.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_PROTOCOL_H
#define GATEWAY_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/ws/frame.h"
#include "wire/wire.h"

#define PROTOCOL_MAX         4  /* protocols */
#define PROTOCOL_MAX_CHANNEL 63 /* bytes of a channel's name */

typedef enum RequestMethod
{
	REQUEST_SUBSCRIBE,
	REQUEST_UNSUBSCRIBE,
	REQUEST_PING,
} RequestMethod;

typedef struct Request
{
	RequestMethod method;
	/*
	 * What the client calls its request, as the protocol writes it in the answer; NULL: the client
	 * wants no answer. Whoever has the request frees it.
	 */
	char *id;
	char channel[PROTOCOL_MAX_CHANNEL + 1];
	uint8_t channel_len;
	uint8_t ops; /* WIRE_OP_ bits */
	bool has_since;
	WirePosition since;
} Request;

typedef struct ProtocolEvent
{
	uint8_t op;            /* one WIRE_OP_ bit */
	WirePosition position; /* not of a raw notification */
	WireBytes channel;
	WireBytes body; /* a JSON object */
} ProtocolEvent;

/* Why a subscription is refused or has ended: for reasons of the feed, or of the hub. */
typedef enum ProtocolReason
{
	PROTOCOL_NOT_PERMITTED = WIRE_NOT_PERMITTED,
	PROTOCOL_NO_SUCH_CHANNEL = WIRE_NO_SUCH_CHANNEL,
	/* These are on no wire. */
	PROTOCOL_SUBSCRIBED_ALREADY = UINT8_MAX + 1,
	PROTOCOL_NOT_SUBSCRIBED,
	PROTOCOL_TOO_MANY_SUBSCRIPTIONS,
	PROTOCOL_CANCELLED, /* the client has unsubscribed before the subscription began */
} ProtocolReason;

/* The frames that the functions return are the caller's. All texts are UTF-8. */
typedef struct Protocol
{
	uint8_t number; /* its own, below PROTOCOL_MAX */

	/*
	 * Read a request from one message of the client, which is len bytes of valid UTF-8. False: it
	 * is none, request->id is NULL, and *answer says what is wrong with it.
	 */
	bool (*parse)(const char *text, size_t len, Request *request, Frame **answer)
		__attribute__((warn_unused_result));

	/* An event. */
	Frame *(*event)(const ProtocolEvent *event);

	/*
	 * The answer to a request that has succeeded. The position is where a new subscription begins,
	 * or up to where the client has been sent everything before the answer to its ping.
	 */
	Frame *(*result)(RequestMethod method, const char *id, WireBytes channel,
					 WirePosition position);

	/*
	 * A request about this channel has failed; without id: it wanted no answer, or a subscription
	 * has ended later.
	 */
	Frame *(*refusal)(const char *id, ProtocolReason reason, WireBytes text, WireBytes channel);

	/* Events of the channel before the position are missing. */
	Frame *(*reset)(WireBytes channel, WireBytes reason, WirePosition position);

	/* A bookmark: everything up to the position has been sent. */
	Frame *(*position)(WirePosition position);
} Protocol;

#endif /* GATEWAY_PROTOCOL_H */
