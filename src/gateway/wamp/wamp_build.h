/*-------------------------------------------------------------------------
 *
 * wamp_build.h
 *	  Builds the messages of WAMP that a router sends (wamp.2.json).
 *
 * JSON that others have written goes into a message as it is: details, arguments, results.
 * The caller owns the returned frames. Texts are UTF-8; of a text that is not, the beginning is used.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_BUILD_H
#define GATEWAY_WAMP_BUILD_H

#include <jansson.h>

#include "gateway/wamp/wamp_message.h"
#include "gateway/ws/frame.h"

/* The end of a message. */
typedef struct WampPayload
{
	WireBytes args;   /* an array, or that, a comma and an object, as in WireRoute; empty: [] */
	WireBytes kwargs; /* an object; empty: none */
	bool
		bigint; /* numbers that a double does not hold become strings, see gateway/protocol/numbers.h */
} WampPayload;

/* Nothing behind the details. */
#define WAMP_NO_PAYLOAD                                                                            \
	(WampPayload)                                                                                  \
	{                                                                                              \
		.bigint = false                                                                            \
	}

/* details, extra and options are JSON objects; empty: {}. */
extern Frame *wamp_welcome(uint64_t session, WireBytes details);
extern Frame *wamp_challenge(const char *method, WireBytes extra);

/* Details have the message, unless it is NULL. */
extern Frame *wamp_abort(const char *reason, const char *message);
extern Frame *wamp_goodbye(const char *reason, const char *message);

/* The request of this type has failed. */
extern Frame *wamp_error(WampType failed, uint64_t request, WireBytes details, WireBytes uri,
						 const WampPayload *payload);

/* The same with [message] and these keyword arguments, which may be NULL and stay the caller's. */
extern Frame *wamp_failure(WampType failed, uint64_t request, const char *uri, WireBytes message,
						   const json_t *kwargs);

extern Frame *wamp_published(uint64_t request, uint64_t publication);
extern Frame *wamp_subscribed(uint64_t request, uint64_t subscription);
extern Frame *wamp_unsubscribed(uint64_t request);
extern Frame *wamp_registered(uint64_t request, uint64_t registration);
extern Frame *wamp_unregistered(uint64_t request);

/* The router itself has ended a subscription or a registration. */
extern Frame *wamp_unsubscribed_by_router(uint64_t subscription, const char *reason);
extern Frame *wamp_unregistered_by_router(uint64_t registration, const char *reason);

extern Frame *wamp_event(uint64_t subscription, uint64_t publication, WireBytes details,
						 const WampPayload *payload);

/* With details "progress": true is the caller's to write. */
extern Frame *wamp_result(uint64_t request, WireBytes details, const WampPayload *payload);

/* A result with one argument, the JSON of a value. progress: more results follow. */
extern Frame *wamp_result_value(uint64_t request, WireBytes value, bool progress, bool bigint);

extern Frame *wamp_invocation(uint64_t request, uint64_t registration, WireBytes details,
							  const WampPayload *payload);
extern Frame *wamp_interrupt(uint64_t request, WireBytes options);

/* Arguments and ArgumentsKw of a message, as WampPayload.args and WireRoute.payload have them. */
extern WireBytes wamp_tail(const WampMessage *message);

/* The id of a Request: "TYPE,REQUEST". The caller frees the text. */
extern char *wamp_request_id(WampType type, uint64_t request);

/* Read such an id, which is one. */
extern void wamp_request_read(const char *id, WampType *type, uint64_t *request);

#endif /* GATEWAY_WAMP_BUILD_H */
