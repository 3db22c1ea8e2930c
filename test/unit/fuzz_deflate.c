/*
 * Fuzz target for compressed messages from a client, and for what the gateway compresses.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "fuzz.h"
#include "gateway/ws/deflate.h"

#define FUZZ_MAX 20000 /* maximum bytes of a message */

/*
 * Decompress a message byte by byte. Returns its length, or -1 if it is not valid, or -2 if it is
 * too long.
 */
static long
fuzz_inflate(const uint8_t *data, size_t size, uint8_t *text)
{
	static const uint8_t tail[] = {0, 0, 0xff, 0xff};
	z_stream stream = {.next_out = text, .avail_out = FUZZ_MAX + 1};
	long length = 0;

	assert(inflateInit2(&stream, -15) == Z_OK);
	for (size_t i = 0; i < size + sizeof(tail) && length >= 0; i++)
	{
		int result = Z_OK;

		stream.next_in = (Bytef *) (i < size ? data + i : tail + (i - size));
		stream.avail_in = 1;
		while (result == Z_OK && stream.avail_in > 0 && stream.avail_out > 0)
		{
			result = inflate(&stream, Z_NO_FLUSH);
			if (result == Z_STREAM_END)
				result = inflateReset(&stream);
		}
		length = FUZZ_MAX + 1 - (long) stream.avail_out;
		if (result != Z_OK && result != Z_BUF_ERROR)
			length = -1;
		else if (length > FUZZ_MAX)
			length = -2;
	}
	if (length >= 0 && (stream.data_type & 128) == 0)
		length = -1;
	inflateEnd(&stream);
	return length;
}

/* Compress a text, and decompress it again. */
static void
fuzz_deflate_text(const uint8_t *data, size_t size)
{
	WireBytes bytes = {.data = (const char *) data, .len = (uint32_t) size};
	Frame *frame = deflate_frame(frame_text(&bytes, 1));
	bool compressed = (frame->data[0] & 0x40) != 0;
	char *joined = malloc(frame->len);
	size_t joined_len = 0;
	size_t offset = 0;
	WireBytes part;
	char *text;
	size_t text_len;

	assert(joined != NULL && compressed == (frame_payload(frame) < size));
	while (frame_next(frame, &offset, &part))
	{
		memcpy(joined + joined_len, part.data, part.len);
		joined_len += part.len;
	}
	if (compressed)
	{
		assert(inflate_message(joined, joined_len, size, &text, &text_len) == INFLATE_DONE);
		assert(text_len == size && memcmp(text, data, size) == 0);
		free(text);
		assert(inflate_message(joined, joined_len, size - 1, &text, &text_len) == INFLATE_TOO_BIG);
	}
	free(joined);
	frame_unref(frame);
	assert(frame_memory() == 0);
}

int
fuzz_deflate(const uint8_t *data, size_t size)
{
	static uint8_t expected[FUZZ_MAX + 1];
	long length = fuzz_inflate(data, size, expected);
	char *text;
	size_t text_len;

	switch (inflate_message((const char *) data, size, FUZZ_MAX, &text, &text_len))
	{
		case INFLATE_DONE:
			assert((long) text_len == length && memcmp(text, expected, text_len) == 0);
			free(text);
			break;
		case INFLATE_BAD:
			assert(length == -1);
			break;
		case INFLATE_TOO_BIG:
			assert(length == -2);
			break;
	}
	fuzz_deflate_text(data, size);
	return 0;
}
