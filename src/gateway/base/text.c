/*-------------------------------------------------------------------------
 *
 * text.c
 *	  Functions for text from clients and settings.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/base/text.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

/* Return the length of the character at p, or 0 if it is not well-formed (Unicode, table 3-7). */
static size_t
text_utf8_char(const uint8_t *p, const uint8_t *end)
{
	uint8_t low = 0x80; /* minimum of the second byte */
	uint8_t high = 0xbf;
	size_t size;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	size = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if ((size_t) (end - p) < size)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < size; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return size;
}

bool
text_utf8_valid(const char *text, size_t len)
{
	return text_utf8_cut(text, len, len) == len;
}

size_t
text_utf8_cut(const char *text, size_t len, size_t max)
{
	const uint8_t *start = (const uint8_t *) text;
	const uint8_t *end = start + len;
	const uint8_t *p = start;

	while (p < end)
	{
		size_t size = text_utf8_char(p, end);

		if (size == 0 || (size_t) (p - start) + size > max)
			break;
		p += size;
	}
	return (size_t) (p - start);
}

int
text_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
text_percent_decode(const char *text, size_t len, char *out, size_t *out_len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
	{
		int high;
		int low;

		if (text[i] != '%')
		{
			out[n++] = text[i];
			continue;
		}
		if (len - i < 3)
			return false;
		high = text_hex(text[i + 1]);
		low = text_hex(text[i + 2]);
		if (high < 0 || low < 0)
			return false;
		out[n++] = (char) (high << 4 | low);
		i += 2;
	}
	*out_len = n;
	return true;
}

bool
text_equal_nocase(const char *text, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(text, name, len) == 0;
}
