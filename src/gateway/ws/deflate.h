/*-------------------------------------------------------------------------
 *
 * deflate.h
 *	  Compresses messages to clients, and decompresses theirs (permessage-deflate, RFC 7692).
 *
 * Each message is compressed for itself, in both directions (7.1.1). So a client has no state here,
 * the process has one compressor and one decompressor, and a compressed event is shared by all
 * clients that get it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_DEFLATE_H
#define GATEWAY_DEFLATE_H

#include "gateway/ws/frame.h"

/* Compressed messages refer back to at most 2^DEFLATE_WINDOW bytes (7.1.2.1). */
#define DEFLATE_WINDOW 12

/* Shorter messages are sent as they are: compressing them saves less than it costs. */
#define DEFLATE_MIN 200

/*
 * Compress a message, which is taken over. Returns the same frame if it is too short, or if
 * compression makes it longer.
 */
extern Frame *deflate_frame(Frame *frame);

typedef enum InflateResult
{
	INFLATE_DONE,
	INFLATE_BAD, /* not what a compressor produces */
	INFLATE_TOO_BIG,
} InflateResult;

/*
 * Decompress a message from a client to at most max bytes. If the result is INFLATE_DONE, *text has
 * *text_len bytes, which the caller frees.
 */
extern InflateResult inflate_message(const char *data, size_t len, size_t max, char **text,
									 size_t *text_len) __attribute__((warn_unused_result));

#endif /* GATEWAY_DEFLATE_H */
