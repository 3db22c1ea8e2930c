/*-------------------------------------------------------------------------
 *
 * http_chunked.c
 *	  A strict parser for bodies in chunks.
 *
 *	  SIZE ──► [SPACE ──►] [EXTENSION] ──► SIZE_END ──► DATA ──► DATA_CR ──► DATA_LF ──► SIZE ...
 *											  │ size 0
 *											  ▼
 *	  TRAILER ──► NAME ──► VALUE ──► VALUE_END ──► TRAILER ...
 *		 └──► END ──► done
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/http/http_chunked.h"

#include "gateway/base/text.h"

enum
{
	CHUNKED_SIZE,
	CHUNKED_SPACE, /* after the size: only an extension may follow */
	CHUNKED_EXTENSION,
	CHUNKED_SIZE_END, /* LF of a size */
	CHUNKED_DATA,
	CHUNKED_DATA_CR,
	CHUNKED_DATA_LF,
	CHUNKED_TRAILER, /* a trailer begins, or the line end that ends the body */
	CHUNKED_NAME,
	CHUNKED_VALUE,
	CHUNKED_VALUE_END, /* LF of a trailer */
	CHUNKED_END,       /* LF of the body */
	CHUNKED_BAD,
};

static int
chunked_size(HttpChunked *chunked, char c)
{
	int digit = text_hex(c);

	if (digit >= 0)
	{
		chunked->left = chunked->left * 16 + (uint64_t) digit;
		return ++chunked->digits <= HTTP_CHUNK_DIGITS ? CHUNKED_SIZE : CHUNKED_BAD;
	}
	if (chunked->digits == 0)
		return CHUNKED_BAD;
	chunked->digits = 0;
	if (c == '\r')
		return CHUNKED_SIZE_END;
	if (c == ';')
		return CHUNKED_EXTENSION;
	return c == ' ' || c == '\t' ? CHUNKED_SPACE : CHUNKED_BAD;
}

/* A character of an extension or of a trailer's value: return the state after it. */
static int
chunked_text(char c, int same, int end)
{
	if (c == '\r')
		return end;
	return ((unsigned char) c < ' ' && c != '\t') || c == 0x7f ? CHUNKED_BAD : same;
}

/* Return the state after a character that is not data. */
static int
chunked_step(HttpChunked *chunked, char c)
{
	switch (chunked->state)
	{
		case CHUNKED_SIZE:
			return chunked_size(chunked, c);
		case CHUNKED_SPACE:
			if (c == ';')
				return CHUNKED_EXTENSION;
			return c == ' ' || c == '\t' ? CHUNKED_SPACE : CHUNKED_BAD;
		case CHUNKED_EXTENSION:
			return chunked_text(c, CHUNKED_EXTENSION, CHUNKED_SIZE_END);
		case CHUNKED_SIZE_END:
			if (c != '\n')
				return CHUNKED_BAD;
			return chunked->left > 0 ? CHUNKED_DATA : CHUNKED_TRAILER;
		case CHUNKED_DATA_CR:
			return c == '\r' ? CHUNKED_DATA_LF : CHUNKED_BAD;
		case CHUNKED_DATA_LF:
			return c == '\n' ? CHUNKED_SIZE : CHUNKED_BAD;
		case CHUNKED_TRAILER:
			if (c == '\r')
				return CHUNKED_END;
			return http_token_char(c) ? CHUNKED_NAME : CHUNKED_BAD;
		case CHUNKED_NAME:
			if (c == ':')
				return CHUNKED_VALUE;
			return http_token_char(c) ? CHUNKED_NAME : CHUNKED_BAD;
		case CHUNKED_VALUE:
			return chunked_text(c, CHUNKED_VALUE, CHUNKED_VALUE_END);
		case CHUNKED_VALUE_END:
			return c == '\n' ? CHUNKED_TRAILER : CHUNKED_BAD;
		default:
			return CHUNKED_BAD;
	}
}

/* Take as much of the chunk's data as there is. */
static HttpSlice
chunked_take(HttpChunked *chunked, HttpSlice *input)
{
	size_t len = input->len < chunked->left ? input->len : (size_t) chunked->left;
	HttpSlice data = {.data = input->data, .len = len};

	chunked->left -= len;
	if (chunked->left == 0)
		chunked->state = CHUNKED_DATA_CR;
	input->data += len;
	input->len -= len;
	return data;
}

HttpChunkedResult
http_chunked_next(HttpChunked *chunked, HttpSlice *input, HttpSlice *data)
{
	while (input->len > 0 && chunked->state != CHUNKED_BAD)
	{
		char c = *input->data;
		int from = chunked->state;

		if (from == CHUNKED_DATA)
		{
			*data = chunked_take(chunked, input);
			return HTTP_CHUNKED_DATA;
		}
		input->data++;
		input->len--;
		if (from == CHUNKED_END && c == '\n')
			return HTTP_CHUNKED_DONE;
		chunked->state = chunked_step(chunked, c);
		if ((from == CHUNKED_SPACE || from == CHUNKED_EXTENSION || from >= CHUNKED_TRAILER) &&
			++chunked->extra > HTTP_CHUNKED_EXTRA)
			chunked->state = CHUNKED_BAD;
	}
	return chunked->state == CHUNKED_BAD ? HTTP_CHUNKED_BAD : HTTP_CHUNKED_MORE;
}

uint64_t
http_chunked_left(const HttpChunked *chunked)
{
	return chunked->state == CHUNKED_DATA ? chunked->left : 0;
}
