/*-------------------------------------------------------------------------
 *
 * deflate.c
 *	  Compresses messages to clients, and decompresses theirs.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/ws/deflate.h"

#include <stdlib.h>

#include <zlib.h>

#include "gateway/base/memory.h"

/* With larger values, messages become only a few per cent shorter, see doc/performance.md. */
#define DEFLATE_LEVEL  1
#define DEFLATE_MEMORY 5

/* The decompressor must accept what clients compress with the largest window. */
#define INFLATE_WINDOW 15
#define INFLATE_FIRST  1024 /* minimum bytes that are allocated for a decompressed message */

/* The end of each compressed message, which is not sent (7.2.1). */
static const uint8_t deflate_tail[4] = {0x00, 0x00, 0xff, 0xff};

/* Without memory, zlib's functions fail; then nothing else would go on either. */
static void
deflate_check(int result)
{
	if (result != Z_OK)
		abort();
}

static z_stream *
deflate_start(void)
{
	static z_stream stream;

	if (stream.state == NULL)
		deflate_check(deflateInit2(&stream, DEFLATE_LEVEL, Z_DEFLATED, -DEFLATE_WINDOW,
								   DEFLATE_MEMORY, Z_DEFAULT_STRATEGY));
	else
		deflate_check(deflateReset(&stream));
	return &stream;
}

static z_stream *
inflate_start(void)
{
	static z_stream stream;

	if (stream.state == NULL)
		deflate_check(inflateInit2(&stream, -INFLATE_WINDOW));
	else
		deflate_check(inflateReset(&stream));
	return &stream;
}

Frame *
deflate_frame(Frame *frame)
{
	size_t size = frame_payload(frame);
	size_t offset = 0;
	WireBytes part;
	z_stream *stream;
	uint8_t *packed;
	bool shorter;

	if (size < DEFLATE_MIN)
		return frame;
	packed = memory_new(size);
	stream = deflate_start();
	stream->next_out = packed;
	stream->avail_out = (uInt) size;
	while (stream->avail_out > 0 && frame_next(frame, &offset, &part))
	{
		stream->next_in = (Bytef *) part.data;
		stream->avail_in = part.len;
		(void) deflate(stream, offset == frame->len ? Z_SYNC_FLUSH : Z_NO_FLUSH);
	}
	shorter = stream->avail_out > 0;
	if (shorter)
	{
		WireBytes data = {
			.data = (char *) packed,
			.len = (uint32_t) (size - stream->avail_out - sizeof(deflate_tail)),
		};
		Frame *compressed = frame_compressed(frame, data);

		frame_unref(frame);
		frame = compressed;
	}
	free(packed);
	return frame;
}

/* The text that is being decompressed. */
typedef struct Inflated
{
	char *text;
	size_t size; /* allocated */
	size_t max;
} Inflated;

/* Give the stream more room for output. Returns false if it has had the maximum. */
static bool
inflate_grow(z_stream *stream, Inflated *inflated)
{
	size_t len = inflated->size - stream->avail_out;
	size_t size = inflated->size > 0 ? 2 * inflated->size : INFLATE_FIRST;

	/* One byte more than the maximum shows that it is exceeded. */
	if (size > inflated->max + 1)
		size = inflated->max + 1;
	if (size == inflated->size)
		return false;
	inflated->text = memory_resize(inflated->text, size);
	inflated->size = size;
	stream->next_out = (Bytef *) inflated->text + len;
	stream->avail_out = (uInt) (size - len);
	return true;
}

/* Decompress a part of a message. */
static InflateResult
inflate_part(z_stream *stream, const void *data, size_t len, Inflated *inflated)
{
	stream->next_in = (Bytef *) data;
	stream->avail_in = (uInt) len;
	do
	{
		int result;

		if (stream->avail_out == 0 && !inflate_grow(stream, inflated))
			return INFLATE_TOO_BIG;
		result = inflate(stream, Z_SYNC_FLUSH);
		/* A block that says that it is the last one may be followed by others (7.2.3.4). */
		if (result == Z_STREAM_END)
			result = inflateReset(stream);
		if (result != Z_OK && result != Z_BUF_ERROR)
			return INFLATE_BAD;
	} while (stream->avail_in > 0 || stream->avail_out == 0);
	return INFLATE_DONE;
}

InflateResult
inflate_message(const char *data, size_t len, size_t max, char **text, size_t *text_len)
{
	z_stream *stream = inflate_start();
	Inflated inflated = {.max = max};
	InflateResult result = INFLATE_DONE;

	stream->avail_out = 0;
	if (len > 0)
		result = inflate_part(stream, data, len, &inflated);
	if (result == INFLATE_DONE)
		result = inflate_part(stream, deflate_tail, sizeof(deflate_tail), &inflated);
	/* zlib.h: 128 is set between two blocks. Otherwise the message has ended inside of one. */
	if (result == INFLATE_DONE && (stream->data_type & 128) == 0)
		result = INFLATE_BAD;
	*text = inflated.text;
	*text_len = inflated.size - stream->avail_out;
	if (result == INFLATE_DONE && *text_len > max)
		result = INFLATE_TOO_BIG;
	if (result != INFLATE_DONE)
		free(inflated.text);
	return result;
}
