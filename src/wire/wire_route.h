/*-------------------------------------------------------------------------
 *
 * wire_route.h
 *	  Frames for what clients of WAMP ask of each other.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WIRE_ROUTE_H
#define PG_NOTIFYD_WIRE_ROUTE_H

#include "wire/wire_types.h"

/*
 * What a ROUTE is about. session is the gateway's number for a client's connection, request the
 * client's number for its request, and the result repeats both. Errors are URIs of WAMP.
 */
typedef enum WireRouteKind
{
	/* gateway to feed */
	ROUTE_JOIN = 1,   /* a session has been welcomed: id is the session's own, flags, options its
					 * details: authid, authmethod, authprovider, transport; not answered */
	ROUTE_LEAVE,      /* it has ended, with its registrations and calls; not answered */
	ROUTE_REGISTER,   /* name is the procedure, options those of REGISTER */
	ROUTE_UNREGISTER, /* id is the registration */
	ROUTE_CALL,       /* name is the procedure, options those of CALL */
	ROUTE_CANCEL,     /* the CALL with this request; options those of CANCEL; not answered */
	ROUTE_YIELD,      /* the result of the INVOKE with this id; flags, options; not answered */
	ROUTE_FAIL,       /* that INVOKE has failed: name is the error; options; not answered */
	ROUTE_PUBLISH,    /* name is the topic, id the session's own, options as in WireEvent.audience,
					   * position that of the session's last message in the log; id 0: none */
	/* feed to gateway */
	ROUTE_REGISTERED = 40, /* id is the registration */
	ROUTE_UNREGISTERED, /* request 0: the feed has ended the registration with this id; name is why */
	ROUTE_INVOKE,    /* id is the invocation, registration the registration, options its details */
	ROUTE_INTERRUPT, /* the INVOKE with this id; options */
	ROUTE_RESULT,    /* of the CALL; flags; options its details */
	ROUTE_PUBLISHED, /* id is the publication */
	ROUTE_DURABLE,   /* the topic's messages are in the log: a worker is to send it */
	ROUTE_ERROR,     /* the request has failed: name is the error; with flags ROUTE_UNKNOWN, nobody
					  * has registered the procedure */
	ROUTE_CHANNEL,   /* to the subscription with the number session: name is a channel that has its
					  * first event after position */
	ROUTE_KILL,      /* end the session: name is the reason, payload a message */
	ROUTE_CALLED,    /* the CALL, which had ROUTE_ASKS, was passed on; its results follow */
} WireRouteKind;

/* Bits of flags. */
#define ROUTE_PROGRESS 0x1 /* more results follow */
#define ROUTE_UNKNOWN  0x2
#define ROUTE_CANCELS  0x4  /* of JOIN: the session takes INTERRUPT; */
#define ROUTE_OPAQUE   0x8  /* calls, */
#define ROUTE_OPAQUES  0x40 /* and results whose payload the router does not understand */
#define ROUTE_AGAIN    0x10 /* of JOIN and REGISTER: repeated for a new feed */
#define ROUTE_ASKS     0x20 /* of CALL: ROUTE_UNKNOWN, too, if the name is that of a function */
#define ROUTE_DISCLOSE 0x80 /* of PUBLISH: subscribers may know who has published it */

/*
 * WAMP's payload passthru: options that say how a payload is to be read, by its receiver alone. They
 * are in the options of CALL, INVOKE, YIELD, FAIL, RESULT, ERROR and PUBLISH, and in the member
 * "publisher" of events. Without the first one there are none.
 */
#define ROUTE_OPAQUE_OPTIONS "ppt_scheme", "ppt_serializer", "ppt_cipher", "ppt_keyid"

/* Bytes of the longest payload. */
#define WIRE_MAX_ROUTE (32u * 1024 * 1024)

/* What a session may have. The gateway refuses more, and so does the feed, which does not trust it. */
#define ROUTE_MAX_REGISTRATIONS 1000
#define ROUTE_MAX_CALLS         1000 /* under way, that it has made */

/* A message between clients' sessions, or from one to the feed. Fields that a kind does not use are
 * empty. */
typedef struct WireRoute
{
	uint8_t kind; /* WireRouteKind */
	uint8_t flags;
	uint32_t session;
	uint32_t identity; /* as in WireSubscribe, of requests that need a privilege */
	uint64_t request;
	uint64_t id;
	uint64_t registration;
	WirePosition position;
	WireBytes name;
	WireBytes options; /* a JSON object; empty: {} */
	WireBytes payload; /* JSON: an array of arguments, or that and a comma and an object */
} WireRoute;

#endif /* PG_NOTIFYD_WIRE_ROUTE_H */
