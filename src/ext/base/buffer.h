/*-------------------------------------------------------------------------
 *
 * buffer.h
 *	  Functions to append to a StringInfo, for code that runs for every value of every event.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_BUFFER_H
#define PG_NOTIFYD_BUFFER_H

#include "postgres.h"

#include "lib/stringinfo.h"

/* Make room for length bytes and one more. */
static inline void
buffer_reserve(StringInfo buf, int length)
{
	Assert(length >= 0);
	if (unlikely(buf->len + length >= buf->maxlen))
		enlargeStringInfo(buf, length);
}

/* Like appendBinaryStringInfo(), but without a NUL after the data. */
static inline void
buffer_put(StringInfo buf, const void *data, int length)
{
	buffer_reserve(buf, length);
	memcpy(buf->data + buf->len, data, length);
	buf->len += length;
}

#define buffer_put_literal(buf, literal) buffer_put(buf, literal, sizeof(literal) - 1)

#endif /* PG_NOTIFYD_BUFFER_H */
