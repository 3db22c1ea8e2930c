/*-------------------------------------------------------------------------
 *
 * serializer_internal.h
 *	  What serializer_read.c and serializer_write.c have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_SERIALIZER_INTERNAL_H
#define GATEWAY_WAMP_SERIALIZER_INTERNAL_H

#include <string.h>

#include "gateway/base/memory.h"
#include "gateway/wamp/serializer.h"

/* Converting a bignum takes time that grows with the square of its length. */
#define SERIALIZER_BIGNUM        128 /* maximum bytes, */
#define SERIALIZER_BIGNUM_DIGITS 309 /* which have at most so many digits */

/* CBOR: the tags that are accepted, all of byte strings (RFC 8949, 3.4.3; RFC 8746, 2.1). */
#define CBOR_BIGNUM          2
#define CBOR_NEGATIVE_BIGNUM 3
#define CBOR_UINT8_ARRAY     64 /* node-cbor puts it before an Uint8Array */

/* CBOR: the first byte of an item has its kind in the upper three bits. */
#define CBOR_KIND     5
#define CBOR_UNSIGNED 0
#define CBOR_NEGATIVE 1 /* -1 - value */
#define CBOR_BYTES    2
#define CBOR_STRING   3
#define CBOR_ARRAY    4
#define CBOR_MAP      5
#define CBOR_TAG      6
#define CBOR_OTHER    7

/* CBOR: the lower bits are the value, or say how many bytes the value has, from 1 to 8. */
#define CBOR_BYTE       24
#define CBOR_INDEFINITE 31

/* CBOR: the lower bits of CBOR_OTHER. */
#define CBOR_FALSE     20
#define CBOR_TRUE      21
#define CBOR_NULL      22
#define CBOR_UNDEFINED 23
#define CBOR_HALF      25
#define CBOR_SINGLE    26
#define CBOR_DOUBLE    27

/*
 * MessagePack: the first byte of an item. Those with the same meaning follow each other: with a small value
 * inside, or by how many bytes of a value are behind, 1, 2, 4 and 8.
 */
#define MSGPACK_FIXMAP   0x80 /* below: 0 to 127; from here on: 16 maps, with their lengths */
#define MSGPACK_FIXARRAY 0x90
#define MSGPACK_FIXSTR   0xa0 /* 32 */
#define MSGPACK_NIL      0xc0
#define MSGPACK_FALSE    0xc2
#define MSGPACK_TRUE     0xc3
#define MSGPACK_BIN8     0xc4
#define MSGPACK_FLOAT32  0xca
#define MSGPACK_FLOAT64  0xcb
#define MSGPACK_UINT8    0xcc
#define MSGPACK_INT8     0xd0
#define MSGPACK_FIXEXT1  0xd4 /* an extension type, and a byte */
#define MSGPACK_STR8     0xd9
#define MSGPACK_ARRAY16  0xdc
#define MSGPACK_MAP16    0xde
#define MSGPACK_FIXNEG   0xe0 /* -32 to -1 */

/* Bytes that become more. All zero: none. Its owner frees data. */
typedef struct SerializerBuffer
{
	char *data;
	size_t len;
	size_t size;
} SerializerBuffer;

/* Return room for len bytes behind the others. The caller adds what it writes to buffer->len. */
static inline char *
serializer_room(SerializerBuffer *buffer, size_t len)
{
	if (len > buffer->size - buffer->len)
	{
		buffer->size = 2 * buffer->size + len + 64;
		buffer->data = memory_resize(buffer->data, buffer->size);
	}
	return buffer->data + buffer->len;
}

static inline void
serializer_append(SerializerBuffer *buffer, const void *data, size_t len)
{
	if (len > 0)
		memcpy(serializer_room(buffer, len), data, len);
	buffer->len += len;
}

#endif /* GATEWAY_WAMP_SERIALIZER_INTERNAL_H */
