/*-------------------------------------------------------------------------
 *
 * wamp_protocol.h
 *	  The protocols wamp.2.json, wamp.2.cbor and wamp.2.msgpack.
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
 *	  serializer_*.c	CBOR and MessagePack as JSON, and JSON as these
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_PROTOCOL_H
#define GATEWAY_WAMP_PROTOCOL_H

#include "gateway/hub/hub.h"

/*
 * Return the protocol with the name of this subprotocol, or NULL. bigint: with numbers that a double does
 * not hold as strings. A client of it is opened without a database, because HELLO names it.
 */
extern const Protocol *wamp_protocol(const char *subprotocol, bool bigint);

/* The client's handshake has brought a token, which HELLO will present. */
extern void wamp_present(HubClient *client, const char *token, size_t len);

#endif /* GATEWAY_WAMP_PROTOCOL_H */
