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

#define PROTOCOL_MAX         12  /* maximum number of protocols */
#define PROTOCOL_MAX_CHANNEL 63  /* maximum length of a channel's name, in bytes */
#define PROTOCOL_MAX_NAME    255 /* and of a function's */
#define PROTOCOL_MAX_GROUP   63  /* and of a consumer group's */
#define PROTOCOL_MAX_WINDOW                                                                        \
	1000 /* deliveries that a consumer has without having acknowledged them */

/* The numbers of protocols. Odd are those with large numbers as strings, see numbers.h. */
#define PROTOCOL_JSONRPC        0
#define PROTOCOL_JSONRPC_BIGINT 1
#define PROTOCOL_SSE            2
#define PROTOCOL_SSE_BIGINT     3
#define PROTOCOL_PAYLOAD        4
#define PROTOCOL_PAYLOAD_BIGINT 5
#define PROTOCOL_WAMP           6
#define PROTOCOL_WAMP_BIGINT    7
#define PROTOCOL_CBOR           8 /* WAMP in CBOR */
#define PROTOCOL_CBOR_BIGINT    9
#define PROTOCOL_MSGPACK        10 /* and in MessagePack */
#define PROTOCOL_MSGPACK_BIGINT 11

typedef enum RequestMethod
{
	REQUEST_SUBSCRIBE,
	REQUEST_UNSUBSCRIBE,
	REQUEST_PING,
	REQUEST_AUTH,
	REQUEST_CALL,
	REQUEST_SEND,
	REQUEST_CONSUME,
	REQUEST_ACK,
	REQUEST_NACK,
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
	uint8_t match; /* UriMatch: channel is a pattern, of SUBSCRIBE and UNSUBSCRIBE */
	uint8_t ops;   /* WIRE_OP_ bits */
	bool has_since;
	WirePosition since;
	bool since_inside;    /* since is a position inside a snapshot, see hub_snapshot.c */
	bool snapshot;        /* of SUBSCRIBE: begin with the rows, */
	char *order;          /* in this order (NULL: by key), */
	uint64_t limit;       /* at most so many (0: all) */
	Selection *selection; /* of SUBSCRIBE and UNSUBSCRIBE; NULL: everything */
	char *token;          /* of AUTH */
	char *name;           /* of CALL: the function; of CONSUME, ACK and NACK: the group */
	char *body;           /* JSON: the arguments of CALL, ACK and NACK, the payload of SEND */
	char *named;          /* as WireQuery.named; NULL: none */
	bool progressive;     /* of CALL: Protocol.progress for each row of a set */
	uint32_t window;      /* of CONSUME */
	uint64_t *ids;        /* of ACK and NACK */
	size_t nids;
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
	free(request->named);
	free(request->ids);
	request->id = NULL;
	request->selection = NULL;
	request->token = NULL;
	request->name = NULL;
	request->order = NULL;
	request->body = NULL;
	request->named = NULL;
	request->ids = NULL;
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
	PROTOCOL_NO_SNAPSHOTS,    /* the protocol has no message for rows, or deliveries */
	PROTOCOL_TOO_MANY_TOKENS, /* from the address were refused; try again later */
	PROTOCOL_CANCELLED,       /* the client has unsubscribed before the subscription began */
} ProtocolReason;

/* From where a subscription resumes; inside: inside of a snapshot. */
typedef struct ProtocolPlace
{
	ProtocolName name;
	WirePosition position;
	bool inside;
} ProtocolPlace;

/* From where all subscriptions of a client resume: at base, but for those that are elsewhere. */
typedef struct ProtocolPlaces
{
	WirePosition base;
	size_t count;
	ProtocolPlace elsewhere[WIRE_MAX_SUBSCRIPTIONS];
} ProtocolPlaces;

struct HubClient;

/*
 * What a protocol does itself whose clients have sessions with a state: HubClient.state. Such a client
 * is in no database at first, see hub_enter(). The client's session is OPEN in all calls but left(), and a
 * call may close it.
 */
typedef struct ProtocolHooks
{
	/*
	 * The client has sent a message, len bytes of valid UTF-8; of anything if the protocol has encode(). In
	 * place of parse().
	 */
	void (*message)(struct HubClient *client, const char *text, size_t len);
	/*
	 * The feed has verified what the client has presented by hub_offer() with requested: its identity is
	 * KNOWN, or it stays what it was, for this reason.
	 */
	void (*identified)(struct HubClient *client);
	void (*not_identified)(struct HubClient *client, uint8_t reason, WireBytes text);
	/* The feed has answered what the client has presented by hub_offer_user(). */
	void (*challenged)(struct HubClient *client, const WireChallenge *challenge);
	/* A request to subscribe was answered; it was refused, or the subscription has ended later. */
	void (*subscribed)(struct HubClient *client, ProtocolName name);
	void (*ended)(struct HubClient *client, ProtocolName name, ProtocolReason reason,
				  WireBytes text);
	/*
	 * A worker has answered a request, by RESULT or FAILED. Return true if the client is not to get the answer
	 * that query_result() or query_failure() builds.
	 */
	bool (*answered)(struct HubClient *client, const char *id, const WireMessage *answer);
	/* The feed has sent a ROUTE for the client. */
	void (*routed)(struct HubClient *client, const WireRoute *route);
	/* A feed is connected, which knows nothing of the client yet; or its link was lost. */
	void (*linked)(struct HubClient *client, bool linked);
	/* The client is in no database; databases may be served now, or a second has passed. */
	void (*outside)(struct HubClient *client);
	/* The connection is about to be closed. Return a message to send before, or NULL. */
	Frame *(*farewell)(struct HubClient *client, uint16_t code, const char *reason);
	/* The session is not OPEN any more: free the state. The client's database, if any, is still set. */
	void (*left)(struct HubClient *client);
} ProtocolHooks;

/* The caller owns the returned frames. All texts are UTF-8. */
typedef struct Protocol
{
	uint8_t number; /* unique, less than PROTOCOL_MAX */

	const ProtocolHooks *hooks; /* NULL: none */

	/*
	 * Messages are binary, in both directions. Turn a text message that the functions below have built, and
	 * which is taken over, into a binary one. NULL: messages are text.
	 */
	Frame *(*encode)(Frame *frame);

	/*
	 * Clients cannot be told why a request fails, or why a subscription ends, without the end of
	 * the connection: that frame is the last one. The same for resets.
	 */
	bool refusals_end;
	bool resets_end;

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

	/* The answer to a query: the worker's result, whose body is a JSON value, or why it has failed. */
	Frame *(*query_result)(const char *id, const WireResultMsg *result);
	Frame *(*query_failure)(const char *id, const WireFailed *failed, ProtocolName name);

	/* A row of a set before the answer to its CALL, a JSON value. NULL: the answer has all rows. */
	Frame *(*progress)(const char *id, WireBytes row);

	/*
	 * A part of the rows of a subscription's set; NULL: the end, with the position from which the
	 * stream goes on. A protocol without this function has no snapshots.
	 */
	Frame *(*rows)(ProtocolName name, const WireRows *rows, WirePosition position, bool inside);

	/*
	 * The answer to a CONSUME that has succeeded, and a delivery of a group, a JSON object. A protocol
	 * without these functions has no consumers.
	 */
	Frame *(*consuming)(const char *id, WireBytes group);
	Frame *(*delivery)(WireBytes group, WireBytes delivery);

	/* Build a reset: events of the channel before the position are missing. */
	Frame *(*reset)(ProtocolName name, WireBytes reason, WirePosition position, bool inside);

	/* Build a bookmark: everything up to the position was sent. NULL: clients get none. */
	Frame *(*position)(WirePosition position);

	/*
	 * NULL: a client's subscriptions are independent of each other. Otherwise they begin and end
	 * together, and a client resumes all of them from one text, which each frame with a position
	 * has. If they do not all resume from that position, this makes a copy of the frame that names
	 * their places.
	 */
	Frame *(*resume)(const Frame *frame, const ProtocolPlaces *places);
} Protocol;

#endif /* GATEWAY_PROTOCOL_H */
