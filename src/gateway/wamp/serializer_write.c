/*-------------------------------------------------------------------------
 *
 * serializer_write.c
 *	  JSON as CBOR and MessagePack, for clients. See serializer.h.
 *
 * A binary array or map begins with the number of its values. So the text is walked through twice: first
 * the values are counted, then the items are written, without regard to how they are nested.
 *
 * The text was built here and is valid. Were it not, the message would not be either. But both walks find
 * the same strings, arrays and maps in any text.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/serializer.h"

#include <math.h>
#include <stdlib.h>

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/evp.h>

#include "gateway/wamp/serializer_internal.h"

#define WRITER_OUTSIDE UINT32_MAX

/* An array or an object: how many values or pairs it has, and in which other one it is. */
typedef struct WriterContainer
{
	uint32_t count;
	uint32_t parent;
} WriterContainer;

typedef struct Writer
{
	SerializerFormat format;
	WireBytes json;
	SerializerBuffer containers; /* of WriterContainer, in the order in which they begin */
	uint32_t ncontainers;        /* of these written */
	SerializerBuffer to;
} Writer;

/* ---------------- counting ---------------- */

static bool
writer_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Return where the string ends that begins at this quotation mark: at the other one. */
static size_t
writer_string_end(WireBytes json, size_t at)
{
	for (at++; at < json.len && json.data[at] != '"'; at++)
		at += json.data[at] == '\\';
	return at < json.len ? at : json.len;
}

static WriterContainer *
writer_container(const Writer *writer, uint32_t number)
{
	return (WriterContainer *) writer->containers.data + number;
}

static void
writer_count(Writer *writer)
{
	uint32_t inside = WRITER_OUTSIDE;
	uint32_t count = 0;
	bool empty = false; /* nothing of the container has come yet */

	for (size_t i = 0; i < writer->json.len; i++)
	{
		char c = writer->json.data[i];
		bool begins = c == '[' || c == '{';
		bool ends = (c == ']' || c == '}') && inside != WRITER_OUTSIDE;

		if (begins)
		{
			WriterContainer container = {.parent = inside};

			serializer_append(&writer->containers, &container, sizeof(container));
			inside = count++;
		}
		else if (inside != WRITER_OUTSIDE && (c == ',' || (ends && !empty)))
			writer_container(writer, inside)->count++;
		if (c == '"')
			i = writer_string_end(writer->json, i);
		if (ends)
			inside = writer_container(writer, inside)->parent;
		if (!writer_is_space(c))
			empty = begins;
	}
}

/* ---------------- items ---------------- */

/* Write a first byte, and a value of size bytes behind it, the highest first. */
static void
writer_put(Writer *writer, unsigned int first, uint64_t value, unsigned int size)
{
	char *to = serializer_room(&writer->to, 1 + size);

	*to++ = (char) first;
	for (unsigned int i = size; i > 0; i--)
		*to++ = (char) (value >> (8 * (i - 1)));
	writer->to.len += 1 + size;
}

/* Return how many bytes a value takes, as power of two. */
static unsigned int
writer_size(uint64_t value)
{
	return value <= UINT8_MAX ? 0 : value <= UINT16_MAX ? 1 : value <= UINT32_MAX ? 2 : 3;
}

static void
cbor_put(Writer *writer, unsigned int kind, uint64_t value)
{
	unsigned int size = writer_size(value);

	if (value < CBOR_BYTE)
		writer_put(writer, kind << CBOR_KIND | (unsigned int) value, 0, 0);
	else
		writer_put(writer, kind << CBOR_KIND | (CBOR_BYTE + size), value, 1u << size);
}

/*
 * Write an item with its value in the first byte, fixed + value, if it is less than limit. first is the
 * first byte for a value of 1 << least bytes behind it.
 */
static void
msgpack_put(Writer *writer, unsigned int fixed, unsigned int limit, unsigned int first,
			unsigned int least, uint64_t value)
{
	unsigned int size = writer_size(value);

	if (size < least)
		size = least;
	if (value < limit)
		writer_put(writer, fixed + (unsigned int) value, 0, 0);
	else
		writer_put(writer, first + size - least, value, 1u << size);
}

/* Write true, false or null, as the byte that stands for it in each format. */
static void
writer_simple(Writer *writer, unsigned int cbor, unsigned int msgpack)
{
	if (writer->format == SERIALIZER_CBOR)
		cbor_put(writer, CBOR_OTHER, cbor);
	else
		writer_put(writer, msgpack, 0, 0);
}

/* negative: -1 - value. value is at most INT64_MAX then. */
static void
writer_integer(Writer *writer, bool negative, uint64_t value)
{
	if (writer->format == SERIALIZER_CBOR)
		cbor_put(writer, negative ? CBOR_NEGATIVE : CBOR_UNSIGNED, value);
	else if (!negative)
		msgpack_put(writer, 0, MSGPACK_FIXMAP, MSGPACK_UINT8, 0, value);
	else if (value < 32)
		writer_put(writer, 0xff - (unsigned int) value, 0, 0);
	else
	{
		/* One bit is for the sign. */
		unsigned int size = writer_size(value << 1);

		writer_put(writer, MSGPACK_INT8 + size, ~value, 1u << size);
	}
}

static void
writer_double(Writer *writer, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	writer_put(writer,
			   writer->format == SERIALIZER_CBOR ? CBOR_OTHER << CBOR_KIND | CBOR_DOUBLE
												 : MSGPACK_FLOAT64,
			   bits, sizeof(bits));
}

static void
writer_text(Writer *writer, const char *text, size_t len)
{
	if (writer->format == SERIALIZER_CBOR)
		cbor_put(writer, CBOR_STRING, len);
	else
		msgpack_put(writer, MSGPACK_FIXSTR, 32, MSGPACK_STR8, 0, len);
	serializer_append(&writer->to, text, len);
}

static void
writer_bytes(Writer *writer, const void *bytes, size_t len)
{
	if (writer->format == SERIALIZER_CBOR)
		cbor_put(writer, CBOR_BYTES, len);
	else
		msgpack_put(writer, 0, 0, MSGPACK_BIN8, 0, len);
	serializer_append(&writer->to, bytes, len);
}

/* The head of an array of count values, or a map of count pairs. */
static void
writer_head(Writer *writer, bool map, uint32_t count)
{
	if (writer->format == SERIALIZER_CBOR)
		cbor_put(writer, map ? CBOR_MAP : CBOR_ARRAY, count);
	else if (map)
		msgpack_put(writer, MSGPACK_FIXMAP, 16, MSGPACK_MAP16, 1, count);
	else
		msgpack_put(writer, MSGPACK_FIXARRAY, 16, MSGPACK_ARRAY16, 1, count);
}

/* ---------------- strings ---------------- */

/* Write the bytes whose base64 this is. Returns false if it is not exactly that. */
static bool
writer_base64(Writer *writer, const char *base64, size_t len)
{
	unsigned char *bytes;
	char *again;
	int size;
	bool same;

	if (len % 4 != 0)
		return false;
	bytes = memory_new(len / 4 * 3 + 1);
	again = memory_new(len + 1);
	size = EVP_DecodeBlock(bytes, (const unsigned char *) base64, (int) len);
	for (size_t i = len; size > 0 && i > len - 2 && base64[i - 1] == '='; i--)
		size--;
	/* EVP_DecodeBlock() skips spaces, and takes padding for zeros. */
	same = size >= 0 && EVP_EncodeBlock((unsigned char *) again, bytes, size) == (int) len &&
		   memcmp(again, base64, len) == 0;
	if (same)
		writer_bytes(writer, bytes, (size_t) size);
	free(bytes);
	free(again);
	return same;
}

/* A string of JSON, len bytes with its quotation marks. A key is never binary. */
static void
writer_string(Writer *writer, const char *json, size_t len, bool key)
{
	json_t *string = NULL;
	const char *text = json + 1;

	len -= 2;
	if (memchr(text, '\\', len) != NULL)
		string = json_loadb(json, len + 2, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	/* If this fails: PostgreSQL's json may have half of a surrogate pair, which stays an escape. */
	if (string != NULL)
	{
		text = json_string_value(string);
		len = json_string_length(string);
	}
	if (key || len == 0 || text[0] != '\0' || !writer_base64(writer, text + 1, len - 1))
		writer_text(writer, text, len);
	json_decref(string);
}

/* ---------------- numbers ---------------- */

/* Write an integer of more than 64 bits. Returns false if the format does not have it. */
static bool
writer_bignum(Writer *writer, const char *digits, size_t len)
{
	unsigned char bytes[SERIALIZER_BIGNUM];
	BIGNUM *number = NULL;
	bool negative = digits[0] == '-';
	bool fits;

	if (writer->format != SERIALIZER_CBOR || len > SERIALIZER_BIGNUM_DIGITS + 1 ||
		BN_dec2bn(&number, digits) == 0)
		return false;
	if (negative)
		BN_add_word(number, 1);
	fits = BN_num_bytes(number) <= SERIALIZER_BIGNUM;
	if (fits)
	{
		cbor_put(writer, CBOR_TAG, negative ? CBOR_NEGATIVE_BIGNUM : CBOR_BIGNUM);
		writer_bytes(writer, bytes, (size_t) BN_bn2bin(number, bytes));
	}
	BN_free(number);
	return fits;
}

/* Read an integer of 64 bits. negative: *value is -1 - the number. */
static bool
writer_read_integer(const char *digits, bool negative, uint64_t *value)
{
	*value = 0;
	for (digits += negative; *digits >= '0' && *digits <= '9'; digits++)
	{
		if (__builtin_mul_overflow(*value, 10, value) ||
			__builtin_add_overflow(*value, (uint64_t) (*digits - '0'), value))
			return false;
	}
	*value -= negative;
	return !negative || *value <= INT64_MAX;
}

static void
writer_number(Writer *writer, const char *json, size_t len)
{
	char *text = memory_string(json, len);
	bool negative = text[0] == '-';
	uint64_t value;
	double real;

	if (strpbrk(text, ".eE") != NULL || strcmp(text, "-0") == 0)
	{
		real = strtod(text, NULL);
		if (isfinite(real))
			writer_double(writer, real);
		else
			writer_text(writer, text, len);
	}
	else if (writer_read_integer(text, negative, &value))
		writer_integer(writer, negative, value);
	else if (!writer_bignum(writer, text, len))
		writer_text(writer, text, len);
	free(text);
}

/* ---------------- messages ---------------- */

/*
 * Write the item that begins at this place, if any does, and return where the next one may begin. Of true, false
 * and null, the first letter is enough.
 */
static size_t
writer_item(Writer *writer, size_t at)
{
	WireBytes json = writer->json;
	char c = json.data[at];
	size_t end = at + 1;
	size_t colon;

	switch (c)
	{
		case '"':
			end = writer_string_end(json, at) + 1;
			if (end > json.len)
				return end;
			for (colon = end; colon < json.len && writer_is_space(json.data[colon]); colon++)
				;
			writer_string(writer, json.data + at, end - at,
						  colon < json.len && json.data[colon] == ':');
			return end;
		case '[':
		case '{':
			writer_head(writer, c == '{', writer_container(writer, writer->ncontainers++)->count);
			return end;
		case 't':
			writer_simple(writer, CBOR_TRUE, MSGPACK_TRUE);
			return end;
		case 'f':
			writer_simple(writer, CBOR_FALSE, MSGPACK_FALSE);
			return end;
		case 'n':
			writer_simple(writer, CBOR_NULL, MSGPACK_NIL);
			return end;
		case '-':
		case '0' ... '9':
			while (end < json.len && json.data[end] != '\0' &&
				   strchr("+-.eE0123456789", json.data[end]) != NULL)
				end++;
			writer_number(writer, json.data + at, end - at);
			return end;
		default:
			return end;
	}
}

Frame *
serializer_frame(SerializerFormat format, Frame *frame)
{
	Writer writer = {.format = format};
	SerializerBuffer whole = {.data = NULL};
	WireBytes part;
	size_t offset = 0;

	while (frame_next(frame, &offset, &part))
		serializer_append(&whole, part.data, part.len);
	frame_unref(frame);
	writer.json = (WireBytes){.data = whole.data, .len = (uint32_t) whole.len};
	writer_count(&writer);
	for (size_t at = 0; at < whole.len;)
		at = writer_item(&writer, at);
	part = (WireBytes){.data = writer.to.data, .len = (uint32_t) writer.to.len};
	frame = frame_binary(&part, 1);
	free(whole.data);
	free(writer.containers.data);
	free(writer.to.data);
	return frame;
}
