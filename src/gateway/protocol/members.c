/*-------------------------------------------------------------------------
 *
 * members.c
 *	  Members of JSON objects, found in their text without reading the values. See members.h.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/protocol/members.h"

#include <stdlib.h>
#include <string.h>

static bool
members_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void
members_advance(WireBytes *text, uint32_t len)
{
	text->data += len;
	text->len -= len;
}

/* The length of the string that begins here, with its quotes. */
static uint32_t
members_string(WireBytes text)
{
	for (uint32_t i = 1; i < text.len; i++)
	{
		if (text.data[i] == '\\')
			i++;
		else if (text.data[i] == '"')
			return i + 1;
	}
	return text.len;
}

/* The length of the value that begins here. */
static uint32_t
members_value(WireBytes text)
{
	int depth = 0;

	for (uint32_t i = 0; i < text.len; i++)
	{
		char c = text.data[i];

		if (c == '"')
			i += members_string((WireBytes){.data = text.data + i, .len = text.len - i}) - 1;
		else if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']' || c == ',') && depth == 0)
			return i;
		else if (c == '}' || c == ']')
			depth--;
	}
	return text.len;
}

bool
members_next(WireBytes *rest, WireBytes *name, WireBytes *value)
{
	uint32_t len;

	while (rest->len > 0 && *rest->data != '"')
		members_advance(rest, 1);
	if (rest->len < 2)
		return false;
	len = members_string(*rest);
	*name = (WireBytes){.data = rest->data + 1, .len = len - 2};
	members_advance(rest, len);
	while (rest->len > 0 && (members_is_space(*rest->data) || *rest->data == ':'))
		members_advance(rest, 1);
	len = members_value(*rest);
	*value = (WireBytes){.data = rest->data, .len = len};
	members_advance(rest, len);
	while (value->len > 0 && members_is_space(value->data[value->len - 1]))
		value->len--;
	return true;
}

bool
members_find(WireBytes object, const char *name, WireBytes *value)
{
	WireBytes found;

	while (members_next(&object, &found, value))
	{
		if (found.len == strlen(name) && memcmp(found.data, name, found.len) == 0)
			return true;
	}
	return false;
}

uint64_t
members_excluded(WireBytes event)
{
	WireBytes publisher;
	WireBytes mark;

	if (!members_find(event, "publisher", &publisher) || !members_find(publisher, "mark", &mark))
		return 0;
	/* A character that is no digit follows the number. */
	return strtoull(mark.data, NULL, 10);
}
