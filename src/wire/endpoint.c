/*-------------------------------------------------------------------------
 *
 * endpoint.c
 *	  The paths for WebSockets, and the formats of messages. See endpoint.h.
 *
 *-------------------------------------------------------------------------
 */
#include "wire/endpoint.h"

#include <string.h>

#define ENDPOINT_DEFAULT "/ws"

const char *const endpoint_formats[ENDPOINT_FORMATS] = {
	[ENDPOINT_JSONRPC] = "jsonrpc",
	[ENDPOINT_PAYLOAD] = "payload",
};

const char *const endpoint_own[ENDPOINT_OWN] = {
	"", "client.js", "events", "groups", "healthz", "metrics", "openapi.json", "rpc", "send", "ws",
};

static bool
endpoint_equal(const char *text, size_t len, const char *wanted)
{
	return len == strlen(wanted) && memcmp(text, wanted, len) == 0;
}

bool
endpoint_format(const char *name, size_t len, EndpointFormat *format)
{
	for (int i = 0; i < ENDPOINT_FORMATS; i++)
	{
		if (!endpoint_equal(name, len, endpoint_formats[i]))
			continue;
		*format = (EndpointFormat) i;
		return true;
	}
	return false;
}

bool
endpoint_is_reserved(const char *path, size_t len)
{
	const char *first = len > 0 ? path + 1 : path;
	const char *end = path + len;
	const char *slash = memchr(first, '/', (size_t) (end - first));

	for (int i = 0; i < ENDPOINT_OWN; i++)
	{
		if (endpoint_equal(first, (size_t) ((slash != NULL ? slash : end) - first),
						   endpoint_own[i]))
			return true;
	}
	return false;
}

/* Characters that clients do not percent-encode, so that a path has one spelling. */
static bool
endpoint_is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
		   c == '_' || c == '.' || c == '~';
}

/* No segment is empty, "." or "..", which clients would leave out. */
static bool
endpoint_is_path(const char *path, size_t len)
{
	size_t start = 1;

	if (len == 0 || len > ENDPOINT_MAX_PATH || path[0] != '/')
		return false;
	for (size_t i = 1; i <= len; i++)
	{
		size_t segment = i - start;

		if (i < len && endpoint_is_plain(path[i]))
			continue;
		if ((i < len && path[i] != '/') || segment == 0 ||
			endpoint_equal(path + start, segment, ".") ||
			endpoint_equal(path + start, segment, ".."))
			return false;
		start = i + 1;
	}
	return true;
}

/* Split an entry at its "=". Returns the length of the path. */
static size_t
endpoint_split(const SettingItem *item, SettingItem *name)
{
	const char *equals = memchr(item->data, '=', item->len);
	size_t len = equals != NULL ? (size_t) (equals - item->data) : item->len;

	*name = (SettingItem){.data = item->data + item->len};
	if (equals != NULL)
		*name = (SettingItem){.data = equals + 1, .len = item->len - len - 1};
	return len;
}

bool
endpoint_find(const char *list, const char *path, size_t len, EndpointFormat *format)
{
	SettingItem item;
	SettingItem name;
	EndpointFormat found;

	while (setting_list_next(&list, &item))
	{
		if (endpoint_split(&item, &name) != len || memcmp(item.data, path, len) != 0 ||
			!endpoint_format(name.data, name.len, &found))
			continue;
		if (format != NULL)
			*format = found;
		return true;
	}
	return false;
}

const char *
endpoint_first_bad(const char *list, SettingItem *item)
{
	const char *start = list;
	EndpointFormat format;
	SettingItem name;
	SettingItem before;

	while (setting_list_next(&list, item))
	{
		size_t len = endpoint_split(item, &name);
		const char *p = start;

		if (!endpoint_is_path(item->data, len))
			return "does not begin with a path of letters, digits, \"-\", \"_\", \".\", \"~\" and "
				   "\"/\"";
		if (!endpoint_format(name.data, name.len, &format))
			return "does not end with \"=\" and the name of a format";
		if (endpoint_equal(item->data, len, ENDPOINT_DEFAULT) && format != ENDPOINT_JSONRPC)
			return "changes the format of \"/ws\"";
		if (endpoint_is_reserved(item->data, len) &&
			!endpoint_equal(item->data, len, ENDPOINT_DEFAULT))
			return "has a path that pg_notifyd uses itself";
		while (setting_list_next(&p, &before) && before.data < item->data)
		{
			SettingItem other;

			if (endpoint_split(&before, &other) == len && memcmp(before.data, item->data, len) == 0)
				return "has the path of an earlier entry";
		}
	}
	return NULL;
}
