/*-------------------------------------------------------------------------
 *
 * wamp_message.h
 *	  Reads the messages of WAMP that a client sends (wamp.2.json).
 *
 * A message is a JSON array that begins with a number, its type. The types that only a router sends
 * are refused, and so is everything that does not have exactly the form of its type, or has options
 * of wrong types (wamp_options.h). An option that is null counts as absent: clients in JavaScript send
 * so, in CBOR and MessagePack, the options that their users did not set.
 *
 * Arguments and ArgumentsKw are not made into values: they go on as they were written, so that
 * numbers keep their digits. They are checked to be an array and an object all the same.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_MESSAGE_H
#define GATEWAY_WAMP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "gateway/wamp/wamp_type.h"
#include "wire/wire.h"

/* Its owner calls wamp_message_free(). */
typedef struct WampMessage
{
	json_t *root; /* owns details and the strings */
	WampType type;
	WampType failed;       /* of ERROR: the type of the request, which is INVOCATION */
	uint64_t request;      /* 1 to WAMP_MAX_ID; 0: the type has none */
	uint64_t id;           /* of the subscription or registration, likewise */
	const char *uri;       /* realm, topic, procedure, error or reason, with a NUL; NULL: none */
	size_t uri_len;        /* may be 0: whether it is a URI is not checked */
	const char *signature; /* of AUTHENTICATE, with a NUL; else NULL */
	json_t *details;       /* Details, Options or Extra: an object; NULL: the type has none */
	WireBytes args;        /* Arguments, an array in the message's own text; empty: none */
	WireBytes kwargs;      /* ArgumentsKw, an object there; empty: none. Not without args */
} WampMessage;

/*
 * Read a message, len bytes of text. Strings outside of the arguments have no NUL, and no object
 * has a key twice. Returns false if it is not one that a client sends: *error, size bytes, says
 * in UTF-8 what is wrong, and there is nothing to free.
 *
 * Values may be nested as deeply as jansson reads them, JSON_PARSER_MAX_DEPTH.
 */
extern bool wamp_read(const char *text, size_t len, WampMessage *message, char *error, size_t size)
	__attribute__((warn_unused_result));

extern void wamp_message_free(WampMessage *message);

/* The name of a type, such as "SUBSCRIBE"; "UNKNOWN" for other numbers. */
extern const char *wamp_type_name(WampType type);

#endif /* GATEWAY_WAMP_MESSAGE_H */
