/*-------------------------------------------------------------------------
 *
 * serializer_read.c
 *	  CBOR and MessagePack of clients as JSON. See serializer.h.
 *
 * A message is read item by item. An item is a value, or the head of an array or a map, which says how
 * many values follow. Nothing is allocated for those before they have come.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/wamp/serializer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/evp.h>

#include "gateway/base/text.h"
#include "gateway/wamp/serializer_internal.h"

#define READER_EXACT 9007199254740992.0 /* 2^53: smaller integers are written without exponent */

/* An array or a map that is not complete. */
typedef struct ReaderLevel
{
	uint64_t count;    /* of values so far; a key is one */
	uint64_t expected; /* unless it is indefinite */
	bool indefinite;   /* it ends with a break */
	bool map;
} ReaderLevel;

typedef struct Reader
{
	const char *at;
	const char *end;
	uint64_t tag;        /* of the next item; 0: none */
	const char *problem; /* NULL: none */
	bool too_big;        /* that is it */
	size_t max;          /* bytes of text */
	SerializerBuffer text;
	ReaderLevel *levels;
	size_t depth;
	size_t nlevels; /* allocated */
} Reader;

static void
reader_problem(Reader *reader, const char *problem)
{
	if (reader->problem == NULL)
		reader->problem = problem;
}

static bool
reader_complete(const Reader *reader)
{
	return reader->depth == 0 && reader->text.len > 0;
}

/* ---------------- JSON ---------------- */

/* Check that the text may have len bytes more. */
static bool
reader_fits(Reader *reader, size_t len)
{
	if (reader->problem == NULL && len > reader->max - reader->text.len)
	{
		reader->too_big = true;
		reader_problem(reader, "the message is too big");
	}
	return reader->problem == NULL;
}

static void
reader_put(Reader *reader, const char *data, size_t len)
{
	if (reader_fits(reader, len))
		serializer_append(&reader->text, data, len);
}

/* A value begins. Returns false if there can be none, or only a string. */
static bool
reader_begin(Reader *reader, bool string)
{
	const ReaderLevel *level;

	if (reader_complete(reader))
		reader_problem(reader, "something follows the message");
	if (reader->problem != NULL || reader->depth == 0)
		return reader->problem == NULL;
	level = &reader->levels[reader->depth - 1];
	if (level->map && level->count % 2 == 0 && !string)
		reader_problem(reader, "a key must be a string");
	else if (level->count > 0)
		reader_put(reader, level->map && level->count % 2 == 1 ? ":" : ",", 1);
	return reader->problem == NULL;
}

/* A value ends, and with it each array and map of which it is the last one. */
static void
reader_end(Reader *reader)
{
	while (reader->depth > 0)
	{
		ReaderLevel *level = &reader->levels[reader->depth - 1];

		level->count++;
		if (level->indefinite || level->count < level->expected)
			return;
		reader_put(reader, level->map ? "}" : "]", 1);
		reader->depth--;
	}
}

/* A value whose JSON this is. */
static void
reader_literal(Reader *reader, const char *json)
{
	if (!reader_begin(reader, false))
		return;
	reader_put(reader, json, strlen(json));
	reader_end(reader);
}

/* negative: -1 - value. */
static void
reader_integer(Reader *reader, bool negative, uint64_t value)
{
	char digits[24];

	if (negative && value == UINT64_MAX)
		snprintf(digits, sizeof(digits), "-18446744073709551616");
	else
		snprintf(digits, sizeof(digits), "%s%" PRIu64, negative ? "-" : "", value + negative);
	reader_literal(reader, digits);
}

static void
reader_double(Reader *reader, double value)
{
	char digits[32];
	int precision = 15;

	if (!isfinite(value))
	{
		reader_problem(reader, "a number is infinite or not a number");
		return;
	}
	if (fabs(value) < READER_EXACT && value == (double) (int64_t) value)
		snprintf(digits, sizeof(digits), "%.0f", value);
	else
	{
		do
			snprintf(digits, sizeof(digits), "%.*g", precision, value);
		while (precision++ < 17 && strtod(digits, NULL) != value);
	}
	reader_literal(reader, digits);
}

static void
reader_string(Reader *reader, const char *data, size_t len)
{
	char *to;

	if (!reader_begin(reader, true) || !reader_fits(reader, len + 2))
		return;
	if (!text_utf8_valid(data, len))
	{
		reader_problem(reader, "a string is not UTF-8");
		return;
	}
	/* A byte becomes at most six, and sprintf() adds a NUL. */
	to = serializer_room(&reader->text, 6 * len + 3);
	*to++ = '"';
	for (size_t i = 0; i < len; i++)
	{
		if ((unsigned char) data[i] < ' ')
		{
			to += sprintf(to, "\\u%04x", (unsigned int) data[i]);
			continue;
		}
		if (data[i] == '"' || data[i] == '\\')
			*to++ = '\\';
		*to++ = data[i];
	}
	*to++ = '"';
	len = (size_t) (to - reader->text.data) - reader->text.len;
	if (reader_fits(reader, len))
		reader->text.len += len;
	reader_end(reader);
}

/* WAMP, "Binary support in JSON" */
static void
reader_bytes(Reader *reader, const char *data, size_t len)
{
	static const char start[] = "\"\\u0000";
	size_t size = (len + 2) / 3 * 4;

	if (!reader_begin(reader, false) || !reader_fits(reader, size + sizeof(start)))
		return;
	reader_put(reader, start, sizeof(start) - 1);
	(void) EVP_EncodeBlock((unsigned char *) serializer_room(&reader->text, size + 1),
						   (const unsigned char *) data, (int) len);
	reader->text.len += size;
	reader_put(reader, "\"", 1);
	reader_end(reader);
}

/* negative: -1 - the number. */
static void
reader_bignum(Reader *reader, bool negative, const char *data, size_t len)
{
	BIGNUM *number;
	char *digits;

	if (len > SERIALIZER_BIGNUM)
	{
		reader_problem(reader, "a bignum has more than 128 bytes");
		return;
	}
	number = BN_bin2bn((const unsigned char *) data, (int) len, NULL);
	if (negative)
	{
		BN_add_word(number, 1);
		BN_set_negative(number, 1);
	}
	digits = BN_bn2dec(number);
	reader_literal(reader, digits);
	OPENSSL_free(digits);
	BN_free(number);
}

/* An array of count values begins, or a map of count pairs; or an indefinite one. */
static void
reader_open(Reader *reader, bool map, bool indefinite, uint64_t count)
{
	if (!reader_begin(reader, false))
		return;
	if (count == 0 && !indefinite)
	{
		reader_put(reader, map ? "{}" : "[]", 2);
		reader_end(reader);
		return;
	}
	/* Each value takes a byte at least. */
	if (!indefinite && count > (uint64_t) (reader->end - reader->at))
		reader_problem(reader, "the message is not complete");
	else if (reader->depth == SERIALIZER_MAX_DEPTH)
		reader_problem(reader, "values are nested too deeply");
	reader_put(reader, map ? "{" : "[", 1);
	if (reader->problem != NULL)
		return;
	if (reader->depth == reader->nlevels)
	{
		reader->nlevels = 2 * reader->nlevels + 8;
		reader->levels = memory_resize(reader->levels, reader->nlevels * sizeof(ReaderLevel));
	}
	reader->levels[reader->depth++] =
		(ReaderLevel){.map = map, .indefinite = indefinite, .expected = map ? 2 * count : count};
}

static void
reader_break(Reader *reader)
{
	const ReaderLevel *level = reader->depth > 0 ? &reader->levels[reader->depth - 1] : NULL;

	if (level == NULL || !level->indefinite || (level->map && level->count % 2 == 1))
	{
		reader_problem(reader, "a break where there can be none");
		return;
	}
	reader_put(reader, level->map ? "}" : "]", 1);
	reader->depth--;
	reader_end(reader);
}

/* ---------------- parts of items ---------------- */

/* Return the next len bytes, or NULL if there are not so many. */
static const char *
reader_take(Reader *reader, uint64_t len)
{
	const char *data = reader->at;

	if (len > (uint64_t) (reader->end - data))
	{
		reader_problem(reader, "the message is not complete");
		return NULL;
	}
	reader->at += len;
	return data;
}

/* Read a value of size bytes, the highest first. After a problem, it is 0. */
static uint64_t
reader_value(Reader *reader, unsigned int size)
{
	const char *data = reader_take(reader, size);
	uint64_t value = 0;

	for (unsigned int i = 0; data != NULL && i < size; i++)
		value = value << 8 | (uint8_t) data[i];
	return value;
}

/* A string of text or of bytes, whose len bytes follow. */
static void
reader_take_string(Reader *reader, bool text, uint64_t len)
{
	const char *data = reader_take(reader, len);

	if (data != NULL)
		(text ? reader_string : reader_bytes)(reader, data, (size_t) len);
}

static void
reader_single(Reader *reader, uint64_t bits)
{
	uint32_t narrow = (uint32_t) bits;
	float value;

	memcpy(&value, &narrow, sizeof(value));
	reader_double(reader, (double) value);
}

static void
reader_bits(Reader *reader, uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof(value));
	reader_double(reader, value);
}

/* ---------------- CBOR ---------------- */

/* IEEE 754: 1 bit of sign, 5 of the exponent, 10 of the fraction */
static void
cbor_half(Reader *reader, uint64_t bits)
{
	int exponent = (int) (bits >> 10 & 0x1f);
	int fraction = (int) (bits & 0x3ff);
	double value = exponent == 0x1f ? HUGE_VAL
				   : exponent == 0  ? ldexp(fraction, -24)
									: ldexp(fraction + 0x400, exponent - 25);

	reader_double(reader, (bits & 0x8000) != 0 ? -value : value);
}

/* Process an item of the kind CBOR_OTHER. */
static void
cbor_other(Reader *reader, unsigned int which, uint64_t value)
{
	switch (which)
	{
		case CBOR_FALSE:
		case CBOR_TRUE:
			reader_literal(reader, which == CBOR_TRUE ? "true" : "false");
			break;
		case CBOR_NULL:
		case CBOR_UNDEFINED:
			reader_literal(reader, "null");
			break;
		case CBOR_HALF:
			cbor_half(reader, value);
			break;
		case CBOR_SINGLE:
			reader_single(reader, value);
			break;
		case CBOR_DOUBLE:
			reader_bits(reader, value);
			break;
		case CBOR_INDEFINITE:
			reader_break(reader);
			break;
		default:
			reader_problem(reader, "a value is of an unknown type");
			break;
	}
}

static void
cbor_bytes(Reader *reader, uint64_t tag, uint64_t len)
{
	const char *data;

	if (tag != CBOR_BIGNUM && tag != CBOR_NEGATIVE_BIGNUM)
		reader_take_string(reader, false, len);
	else if ((data = reader_take(reader, len)) != NULL)
		reader_bignum(reader, tag == CBOR_NEGATIVE_BIGNUM, data, (size_t) len);
}

/* Process an item with the lower bits of its first byte, and its value. */
static void
cbor_process(Reader *reader, unsigned int kind, unsigned int low, uint64_t value)
{
	uint64_t tag = reader->tag;

	reader->tag = 0;
	if (tag != 0 && kind != CBOR_BYTES)
		reader_problem(reader, "a tag of something else than a byte string");
	switch (kind)
	{
		case CBOR_UNSIGNED:
		case CBOR_NEGATIVE:
			reader_integer(reader, kind == CBOR_NEGATIVE, value);
			break;
		case CBOR_BYTES:
			cbor_bytes(reader, tag, value);
			break;
		case CBOR_STRING:
			reader_take_string(reader, true, value);
			break;
		case CBOR_ARRAY:
		case CBOR_MAP:
			reader_open(reader, kind == CBOR_MAP, low == CBOR_INDEFINITE, value);
			break;
		case CBOR_TAG:
			if (value != CBOR_BIGNUM && value != CBOR_NEGATIVE_BIGNUM && value != CBOR_UINT8_ARRAY)
				reader_problem(reader, "tags are not supported, except 2, 3 and 64");
			reader->tag = value;
			break;
		default:
			cbor_other(reader, low, value);
			break;
	}
}

static void
cbor_item(Reader *reader)
{
	unsigned int first = (uint8_t) *reader->at++;
	unsigned int kind = first >> CBOR_KIND;
	unsigned int low = first & CBOR_INDEFINITE;
	uint64_t value = low;

	if (low >= CBOR_BYTE && low < CBOR_BYTE + 4)
		value = reader_value(reader, 1u << (low - CBOR_BYTE));
	else if (low == CBOR_INDEFINITE && (kind == CBOR_BYTES || kind == CBOR_STRING))
		reader_problem(reader, "strings in chunks are not supported");
	else if (low >= CBOR_BYTE && (low != CBOR_INDEFINITE || kind < CBOR_BYTES || kind == CBOR_TAG))
		reader_problem(reader, "the message is not CBOR");
	if (reader->problem == NULL)
		cbor_process(reader, kind, low, value);
}

/* ---------------- MessagePack ---------------- */

static void
msgpack_signed(Reader *reader, unsigned int size)
{
	uint64_t value = reader_value(reader, size);
	uint64_t sign = UINT64_C(1) << (8 * size - 1);
	bool negative = (value & sign) != 0;

	/* With the bits above the sign, ~n is -1 - n. */
	reader_integer(reader, negative, negative ? ~(value | ~(sign - 1)) : value);
}

/* Process an item whose first byte has no value in it. */
static void
msgpack_long(Reader *reader, unsigned int first)
{
	switch (first)
	{
		case MSGPACK_NIL:
			reader_literal(reader, "null");
			break;
		case MSGPACK_FALSE:
		case MSGPACK_TRUE:
			reader_literal(reader, first == MSGPACK_TRUE ? "true" : "false");
			break;
		case MSGPACK_BIN8 ... MSGPACK_BIN8 + 2:
			reader_take_string(reader, false, reader_value(reader, 1u << (first - MSGPACK_BIN8)));
			break;
		case MSGPACK_FLOAT32:
			reader_single(reader, reader_value(reader, 4));
			break;
		case MSGPACK_FLOAT64:
			reader_bits(reader, reader_value(reader, 8));
			break;
		case MSGPACK_UINT8 ... MSGPACK_UINT8 + 3:
			reader_integer(reader, false, reader_value(reader, 1u << (first - MSGPACK_UINT8)));
			break;
		case MSGPACK_INT8 ... MSGPACK_INT8 + 3:
			msgpack_signed(reader, 1u << (first - MSGPACK_INT8));
			break;
		case MSGPACK_FIXEXT1:
			/* Libraries for JavaScript write undefined as type 0 with the byte 0. */
			if (reader_value(reader, 2) == 0)
				reader_literal(reader, "null");
			else
				reader_problem(reader, "extension types are not supported");
			break;
		case MSGPACK_STR8 ... MSGPACK_STR8 + 2:
			reader_take_string(reader, true, reader_value(reader, 1u << (first - MSGPACK_STR8)));
			break;
		case MSGPACK_ARRAY16 ... MSGPACK_ARRAY16 + 1:
			reader_open(reader, false, false,
						reader_value(reader, 2u << (first - MSGPACK_ARRAY16)));
			break;
		case MSGPACK_MAP16 ... MSGPACK_MAP16 + 1:
			reader_open(reader, true, false, reader_value(reader, 2u << (first - MSGPACK_MAP16)));
			break;
		default:
			reader_problem(reader, "extension types are not supported");
			break;
	}
}

static void
msgpack_item(Reader *reader)
{
	unsigned int first = (uint8_t) *reader->at++;

	if (first < MSGPACK_FIXMAP)
		reader_integer(reader, false, first);
	else if (first < MSGPACK_FIXARRAY)
		reader_open(reader, true, false, first - MSGPACK_FIXMAP);
	else if (first < MSGPACK_FIXSTR)
		reader_open(reader, false, false, first - MSGPACK_FIXARRAY);
	else if (first < MSGPACK_NIL)
		reader_take_string(reader, true, first - MSGPACK_FIXSTR);
	else if (first >= MSGPACK_FIXNEG)
		reader_integer(reader, true, 0xff - first);
	else
		msgpack_long(reader, first);
}

/* ---------------- messages ---------------- */

SerializerResult
serializer_read(SerializerFormat format, const char *data, size_t len, size_t max, char **text,
				size_t *text_len, const char **problem)
{
	Reader reader = {.at = data, .end = data + len, .max = max};

	while (reader.at < reader.end && reader.problem == NULL)
		(format == SERIALIZER_CBOR ? cbor_item : msgpack_item)(&reader);
	if (!reader_complete(&reader) || reader.tag != 0)
		reader_problem(&reader, "the message is not complete");
	free(reader.levels);
	*text = reader.text.data;
	*text_len = reader.text.len;
	*problem = reader.problem;
	if (reader.problem == NULL)
		return SERIALIZER_DONE;
	free(reader.text.data);
	return reader.too_big ? SERIALIZER_TOO_BIG : SERIALIZER_BAD;
}
