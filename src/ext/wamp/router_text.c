/*-------------------------------------------------------------------------
 *
 * router_text.c
 *	  Text that the router builds, and options that it reads.
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ext/wamp/router_internal.h"

void
text_append(RouterText *text, const char *data, size_t len)
{
	if (text->len + len > text->size)
	{
		size_t size = (text->len + len) * 2 + 64;
		char *larger = router_allocate(text->router, size);

		if (text->len > 0)
			memcpy(larger, text->data, text->len);
		router_release(text->router, text->data);
		text->data = larger;
		text->size = size;
	}
	if (len > 0)
		memcpy(text->data + text->len, data, len);
	text->len += len;
}

void
text_append_string(RouterText *text, const char *string)
{
	text_append(text, string, strlen(string));
}

void
text_append_number(RouterText *text, uint64_t number)
{
	char buf[24];

	text_append(text, buf, (size_t) snprintf(buf, sizeof(buf), "%" PRIu64, number));
}

void
text_append_json(RouterText *text, const char *data, size_t len)
{
	text_append(text, "\"", 1);
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) data[i];
		char escape[8];

		if (c >= 0x20 && c != '"' && c != '\\')
			text_append(text, data + i, 1);
		else if (c >= 0x20)
			text_append(text, (char[]){'\\', (char) c}, 2);
		else
			text_append(text, escape, (size_t) snprintf(escape, sizeof(escape), "\\u%04x", c));
	}
	text_append(text, "\"", 1);
}

void
text_reset(RouterText *text)
{
	router_release(text->router, text->data);
	text->data = NULL;
	text->len = 0;
	text->size = 0;
}

WireBytes
text_bytes(const RouterText *text)
{
	return (WireBytes){.data = text->data, .len = (uint32_t) text->len};
}

bool
options_read(WireBytes text, RouterOptions *options)
{
	options->object = (JsonSlice){0};
	return text.len == 0 || (slice_parse(text.data, text.len, &options->object) &&
							 slice_kind(options->object) == '{');
}

static bool
options_member(const RouterOptions *options, const char *name, JsonSlice *value)
{
	return options->object.text != NULL &&
		   slice_member(options->object, name, value) == SLICE_FOUND;
}

bool
options_text(const RouterOptions *options, const char *name, char *buf, size_t size)
{
	JsonSlice value;

	return options_member(options, name, &value) && slice_string(value, buf, size);
}

bool
options_true(const RouterOptions *options, const char *name)
{
	JsonSlice value;

	return options_member(options, name, &value) && slice_kind(value) == 't';
}

bool
options_number(const RouterOptions *options, const char *name, double *number)
{
	JsonSlice value;

	return options_member(options, name, &value) && slice_number(value, number);
}

static const char *const options_opaque_names[] = {ROUTE_OPAQUE_OPTIONS};

bool
options_opaque(const RouterOptions *options)
{
	JsonSlice scheme;

	return options_member(options, options_opaque_names[0], &scheme) && slice_kind(scheme) == '"' &&
		   scheme.length > 2;
}

void
text_append_name(RouterText *text, const char *name)
{
	text_append_string(text, text->len == 1 ? "\"" : ",\"");
	text_append_string(text, name);
	text_append_string(text, "\":");
}

void
text_append_opaque(RouterText *text, const RouterOptions *options)
{
	JsonSlice value;

	if (!options_opaque(options))
		return;
	for (size_t i = 0; i < sizeof(options_opaque_names) / sizeof(options_opaque_names[0]); i++)
	{
		if (!options_member(options, options_opaque_names[i], &value) || slice_kind(value) != '"')
			continue;
		text_append_name(text, options_opaque_names[i]);
		text_append(text, value.text, value.length);
	}
}
