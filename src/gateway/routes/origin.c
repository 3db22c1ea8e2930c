/*-------------------------------------------------------------------------
 *
 * origin.c
 *	  Decides which web pages may connect, and which host names are ours.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/routes/origin.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "gateway/base/text.h"
#include "wire/listen_address.h"
#include "wire/setting_list.h"

/* host[:port]; for an IPv6 address, host excludes the brackets. */
typedef struct Authority
{
	const char *host;
	size_t host_len;
	bool ipv6;
	int port; /* -1: none */
} Authority;

typedef struct Origin
{
	const char *scheme;
	size_t scheme_len;
	Authority authority;
} Origin;

/* Return true if the text, which is not a C string, is an address of this family. */
static bool
origin_is_address(int family, const char *text, size_t len)
{
	char copy[INET6_ADDRSTRLEN];
	unsigned char address[sizeof(struct in6_addr)];

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return inet_pton(family, copy, address) == 1;
}

static bool
origin_parse_port(const char *p, const char *end, int *port)
{
	*port = 0;
	if (p == end || end - p > 5)
		return false;
	for (; p < end; p++)
	{
		if (*p < '0' || *p > '9')
			return false;
		*port = *port * 10 + (*p - '0');
	}
	return *port <= 65535;
}

static bool
origin_host_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
		   c == '.' || c == '_';
}

static bool
origin_parse_authority(const char *p, size_t len, Authority *authority)
{
	const char *end = p + len;
	const char *rest;

	*authority = (Authority){.port = -1};
	if (len > 0 && *p == '[')
	{
		const char *bracket = memchr(p, ']', len);

		if (bracket == NULL || !origin_is_address(AF_INET6, p + 1, (size_t) (bracket - p - 1)))
			return false;
		authority->ipv6 = true;
		authority->host = p + 1;
		authority->host_len = (size_t) (bracket - p - 1);
		rest = bracket + 1;
	}
	else
	{
		for (rest = p; rest < end && origin_host_char(*rest); rest++)
			;
		authority->host = p;
		authority->host_len = (size_t) (rest - p);
	}
	if (authority->host_len == 0)
		return false;
	if (rest == end)
		return true;
	return *rest == ':' && origin_parse_port(rest + 1, end, &authority->port);
}

/* Parse scheme://host[:port], without a path. */
static bool
origin_parse(const char *text, size_t len, Origin *origin)
{
	const char *colon = memchr(text, ':', len);
	const char *authority;

	if (colon == NULL || colon == text || len - (size_t) (colon - text) < 3 ||
		memcmp(colon, "://", 3) != 0)
		return false;
	origin->scheme = text;
	origin->scheme_len = (size_t) (colon - text);
	authority = colon + 3;
	if (!origin_parse_authority(authority, len - (size_t) (authority - text), &origin->authority))
		return false;
	if (origin->authority.port < 0 && text_equal_nocase(text, origin->scheme_len, "http"))
		origin->authority.port = 80;
	else if (origin->authority.port < 0 && text_equal_nocase(text, origin->scheme_len, "https"))
		origin->authority.port = 443;
	return true;
}

static bool
origin_same_host(const Authority *a, const Authority *b)
{
	return a->ipv6 == b->ipv6 && a->host_len == b->host_len &&
		   strncasecmp(a->host, b->host, a->host_len) == 0;
}

static bool
origin_is_local(const Origin *origin)
{
	const Authority *host = &origin->authority;

	if (!text_equal_nocase(origin->scheme, origin->scheme_len, "http") &&
		!text_equal_nocase(origin->scheme, origin->scheme_len, "https"))
		return false;
	if (host->ipv6)
		return text_equal_nocase(host->host, host->host_len, "::1");
	return text_equal_nocase(host->host, host->host_len, "localhost") ||
		   text_equal_nocase(host->host, host->host_len, "127.0.0.1");
}

bool
origin_allowed(const char *origin, size_t len, const char *allowed)
{
	Origin theirs;
	Origin entry;
	SettingItem item;
	bool parsed = origin_parse(origin, len, &theirs);

	if (parsed && origin_is_local(&theirs))
		return true;
	while (setting_list_next(&allowed, &item))
	{
		if (item.len == 1 && *item.data == '*')
			return true;
		if (!parsed)
		{
			if (len == 4 && item.len == 4 && memcmp(origin, "null", 4) == 0 &&
				memcmp(item.data, "null", 4) == 0)
				return true;
			continue;
		}
		if (origin_parse(item.data, item.len, &entry) && entry.scheme_len == theirs.scheme_len &&
			strncasecmp(entry.scheme, theirs.scheme, entry.scheme_len) == 0 &&
			origin_same_host(&entry.authority, &theirs.authority) &&
			entry.authority.port == theirs.authority.port)
			return true;
	}
	return false;
}

bool
origin_is_host(const char *origin, size_t len, const char *host, size_t host_len)
{
	Origin page;
	Authority ours;

	if (!origin_parse(origin, len, &page) || !origin_parse_authority(host, host_len, &ours))
		return false;
	if (ours.port < 0)
		ours.port = text_equal_nocase(page.scheme, page.scheme_len, "https") ? 443 : 80;
	return (text_equal_nocase(page.scheme, page.scheme_len, "http") ||
			text_equal_nocase(page.scheme, page.scheme_len, "https")) &&
		   origin_same_host(&page.authority, &ours) && page.authority.port == ours.port;
}

/* Return true if the host is in listen_addresses. "*" there means all addresses, not all names. */
static bool
origin_in_addresses(const Authority *host, const char *addresses)
{
	SettingItem item;
	ListenAddress entry;

	while (setting_list_next(&addresses, &item))
		if (listen_address_parse(item.data, item.len, &entry) && entry.host != NULL &&
			entry.host_len == host->host_len &&
			strncasecmp(entry.host, host->host, host->host_len) == 0)
			return true;
	return false;
}

bool
origin_host_allowed(const char *host, size_t len, const char *listen_addresses, const char *allowed)
{
	Authority name;
	Origin entry;
	SettingItem item;

	if (!origin_parse_authority(host, len, &name))
		return false;
	if (name.ipv6 || origin_is_address(AF_INET, name.host, name.host_len) ||
		text_equal_nocase(name.host, name.host_len, "localhost") ||
		origin_in_addresses(&name, listen_addresses))
		return true;
	while (setting_list_next(&allowed, &item))
	{
		if (item.len == 1 && *item.data == '*')
			return true;
		if (origin_parse(item.data, item.len, &entry) && origin_same_host(&entry.authority, &name))
			return true;
	}
	return false;
}

const char *
origin_first_bad(const char *allowed, size_t *len)
{
	Origin entry;
	SettingItem item;

	while (setting_list_next(&allowed, &item))
	{
		bool special = (item.len == 1 && *item.data == '*') ||
					   (item.len == 4 && memcmp(item.data, "null", 4) == 0);

		if (!special && !origin_parse(item.data, item.len, &entry))
		{
			*len = item.len;
			return item.data;
		}
	}
	return NULL;
}
