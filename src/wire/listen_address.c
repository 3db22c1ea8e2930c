/*-------------------------------------------------------------------------
 *
 * listen_address.c
 *	  The entries of pg_notifyd.listen_addresses. See listen_address.h.
 *
 *-------------------------------------------------------------------------
 */
#include "wire/listen_address.h"

#include <arpa/inet.h>
#include <string.h>

#include "wire/network.h"

static bool
listen_address_is_host(const char *host, size_t len)
{
	static const char characters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%";

	if (len == 1 && *host == '*')
		return true;
	for (size_t i = 0; i < len; i++)
	{
		if (memchr(characters, host[i], sizeof(characters) - 1) == NULL)
			return false;
	}
	return len > 0 && len <= LISTEN_ADDRESS_MAX_HOST;
}

bool
listen_address_parse(const char *text, size_t len, ListenAddress *address)
{
	const char *colon = memchr(text, ':', len);
	const char *bracket = len > 0 && *text == '[' ? memchr(text, ']', len) : NULL;
	const char *end = text + len;
	in_port_t port = 0;

	*address = (ListenAddress){.host = text, .host_len = len};
	if (len > 0 && *text == '/')
	{
		address->host = NULL;
		return true;
	}
	if (bracket != NULL)
	{
		if (colon == NULL || colon > bracket)
			return false;
		address->host = text + 1;
		address->host_len = (size_t) (bracket - address->host);
		colon = bracket + 1 < end ? bracket + 1 : NULL;
		if (colon != NULL && *colon != ':')
			return false;
	}
	/* A text with several colons is an IPv6 address. */
	else if (colon != NULL && memchr(colon + 1, ':', (size_t) (end - colon - 1)) == NULL)
		address->host_len = (size_t) (colon - text);
	else
		colon = NULL;
	if (colon != NULL &&
		(!network_parse_port(colon + 1, (size_t) (end - colon - 1), &port) || port == 0))
		return false;
	address->port = ntohs(port);
	return listen_address_is_host(address->host, address->host_len);
}
