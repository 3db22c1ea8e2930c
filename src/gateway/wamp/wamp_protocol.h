/*-------------------------------------------------------------------------
 *
 * wamp_protocol.h
 *	  The protocol wamp.2.json.
 *
 * Each file uses only those below it:
 *
 *	  wamp_protocol.c	tables of functions, and which file processes a message
 *	  wamp_broker.c		topics: SUBSCRIBE, UNSUBSCRIBE, EVENT
 *	  wamp_publish.c	topics: PUBLISH
 *	  wamp_dealer.c		procedures: CALL, RESULT
 *	  wamp_route.c		procedures of sessions: REGISTER, INVOCATION, YIELD
 *	  wamp_session.c	HELLO to GOODBYE
 *	  wamp_failure.c	answers of workers that are errors
 *	  wamp_build.c		builds messages
 *	  wamp_message.c	reads messages
 *	  wamp_options.c	types of options
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_PROTOCOL_H
#define GATEWAY_WAMP_PROTOCOL_H

#include "gateway/hub/hub.h"

/* A client of it is opened without a database, because HELLO names it. */
extern const Protocol wamp_protocol;

/* The same with numbers that a double does not hold as strings. */
extern const Protocol wamp_bigint_protocol;

/* The client's handshake has brought a token, which HELLO will present. */
extern void wamp_present(HubClient *client, const char *token, size_t len);

#endif /* GATEWAY_WAMP_PROTOCOL_H */
