/*-------------------------------------------------------------------------
 *
 * serializer.h
 *	  Messages of WAMP in CBOR (RFC 8949) and MessagePack: wamp.2.cbor and wamp.2.msgpack.
 *
 * Everything else in this folder reads and builds JSON. A message from a client becomes JSON before it
 * is read, and a message to a client becomes binary after it was built, once for all that get it.
 *
 *	  JSON							CBOR								MessagePack
 *	  a number without fraction		an integer, or a bignum (tags 2, 3)	an integer of 64 bits, or a string
 *	  and exponent
 *	  any other number				a double, or a string if that would be infinite
 *	  "\u0000" and base64			a byte string						bin
 *	  any other string				a text string						str
 *
 * Numbers from clients become text without loss: a double with the digits that it needs. What JSON does
 * not have is refused: NaN, infinities, keys that are not strings, strings that are not UTF-8, tags and
 * extension types. Tag 64 before a byte string is accepted. CBOR's undefined becomes null, and so does
 * what libraries for JavaScript write for it in MessagePack. Strings in chunks, which CBOR has, are refused.
 *
 * No library is used. libcbor's only reader that does not allocate what a message merely announces calls
 * one of 24 functions for each item, which take more code than its 12 kinds of heads. msgpack-c has no
 * such reader, and knows 32 levels.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_SERIALIZER_H
#define GATEWAY_WAMP_SERIALIZER_H

#include "gateway/ws/frame.h"

/* Values are nested at most so deeply, the message's array included. */
#define SERIALIZER_MAX_DEPTH 2048

typedef enum SerializerFormat
{
	SERIALIZER_CBOR,
	SERIALIZER_MSGPACK,
} SerializerFormat;

typedef enum SerializerResult
{
	SERIALIZER_DONE,
	SERIALIZER_BAD,     /* *problem says what is wrong, a constant */
	SERIALIZER_TOO_BIG, /* the JSON would have more than max bytes */
} SerializerResult;

/*
 * Turn a client's message, len bytes of anything, into JSON in UTF-8, in which an object may have a key
 * twice. If the result is SERIALIZER_DONE, *text has *text_len bytes, at most max, which the caller frees.
 */
extern SerializerResult
serializer_read(SerializerFormat format, const char *data, size_t len, size_t max, char **text,
				size_t *text_len, const char **problem) __attribute__((warn_unused_result));

/* Turn a text message, which is JSON and taken over, into a binary one. */
extern Frame *serializer_frame(SerializerFormat format, Frame *frame);

#endif /* GATEWAY_WAMP_SERIALIZER_H */
