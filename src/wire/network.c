/*-------------------------------------------------------------------------
 *
 * network.c
 *	  Lists of addresses and networks, as settings have them.
 *
 *-------------------------------------------------------------------------
 */
#include "wire/network.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "wire/setting_list.h"

#define NETWORK_MAPPED 96 /* bits before the IPv4 address in an IPv4-mapped one */

typedef enum NetworkKind
{
	NETWORK_BAD,
	NETWORK_ALL,
	NETWORK_UNIX,
	NETWORK_IP,
} NetworkKind;

typedef struct Network
{
	NetworkKind kind;
	struct in6_addr in6; /* of NETWORK_IP */
	unsigned bits;
} Network;

bool
network_in6(const struct sockaddr_storage *address, struct in6_addr *in6)
{
	if (address->ss_family == AF_INET6)
		*in6 = ((const struct sockaddr_in6 *) address)->sin6_addr;
	else if (address->ss_family == AF_INET)
	{
		*in6 = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
		memcpy(in6->s6_addr + 12, &((const struct sockaddr_in *) address)->sin_addr, 4);
	}
	else
		return false;
	return true;
}

void
network_text(const struct sockaddr_storage *address, char *text)
{
	char host[INET6_ADDRSTRLEN] = "";
	const struct sockaddr_in *in = (const struct sockaddr_in *) address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) address;

	if (address->ss_family == AF_INET && inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host)))
		snprintf(text, NETWORK_TEXT, "%s:%d", host, ntohs(in->sin_port));
	else if (address->ss_family == AF_INET6 &&
			 inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)))
		snprintf(text, NETWORK_TEXT, "[%s]:%d", host, ntohs(in6->sin6_port));
	else
		strcpy(text, address->ss_family == AF_UNIX ? "unix" : "?");
}

bool
network_parse_address(const char *text, size_t len, struct sockaddr_storage *address)
{
	char copy[INET6_ADDRSTRLEN];

	if (len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	memset(address, 0, sizeof(*address));
	address->ss_family = memchr(text, ':', len) != NULL ? AF_INET6 : AF_INET;
	return inet_pton(address->ss_family, copy,
					 address->ss_family == AF_INET6
						 ? (void *) &((struct sockaddr_in6 *) address)->sin6_addr
						 : (void *) &((struct sockaddr_in *) address)->sin_addr) == 1;
}

/* Parse a decimal number. Returns false if it is none with so many digits, or larger than max. */
static bool
network_parse_number(const char *text, size_t len, size_t digits, unsigned max, unsigned *number)
{
	*number = 0;
	if (len == 0 || len > digits)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		*number = *number * 10 + (unsigned) (text[i] - '0');
	}
	return *number <= max;
}

bool
network_parse_port(const char *text, size_t len, in_port_t *port)
{
	unsigned number;
	bool valid = network_parse_number(text, len, 5, 65535, &number);

	*port = htons((uint16_t) number);
	return valid;
}

static Network
network_parse(SettingItem item)
{
	const char *slash = memchr(item.data, '/', item.len);
	size_t len = slash != NULL ? (size_t) (slash - item.data) : item.len;
	Network network = {.kind = NETWORK_BAD, .bits = 128};
	struct sockaddr_storage address;
	bool ipv4;

	if (item.len == 1 && *item.data == '*')
		network.kind = NETWORK_ALL;
	else if (item.len == 4 && strncasecmp(item.data, "unix", 4) == 0)
		network.kind = NETWORK_UNIX;
	else if (network_parse_address(item.data, len, &address))
	{
		ipv4 = address.ss_family == AF_INET;
		(void) network_in6(&address, &network.in6);
		if (slash != NULL &&
			!network_parse_number(slash + 1, item.len - len - 1, 3, ipv4 ? 32 : 128, &network.bits))
			return network;
		if (slash != NULL && ipv4)
			network.bits += NETWORK_MAPPED;
		network.kind = NETWORK_IP;
	}
	return network;
}

static bool
network_contains_in6(const Network *network, const struct in6_addr *in6)
{
	unsigned bytes = network->bits / 8;
	unsigned rest = network->bits % 8;
	uint8_t mask = (uint8_t) (0xff00 >> rest);

	if (IN6_IS_ADDR_V4MAPPED(in6) &&
		!(IN6_IS_ADDR_V4MAPPED(&network->in6) && network->bits >= NETWORK_MAPPED))
		return false;
	return memcmp(network->in6.s6_addr, in6->s6_addr, bytes) == 0 &&
		   (rest == 0 || ((network->in6.s6_addr[bytes] ^ in6->s6_addr[bytes]) & mask) == 0);
}

bool
network_list_contains(const char *list, const struct sockaddr_storage *address)
{
	struct in6_addr in6;
	bool ip = network_in6(address, &in6);
	SettingItem item;

	while (setting_list_next(&list, &item))
	{
		Network network = network_parse(item);

		if (network.kind == NETWORK_ALL ||
			(network.kind == NETWORK_UNIX && address->ss_family == AF_UNIX) ||
			(network.kind == NETWORK_IP && ip && network_contains_in6(&network, &in6)))
			return true;
	}
	return false;
}

const char *
network_list_first_bad(const char *list, size_t *len)
{
	SettingItem item;

	while (setting_list_next(&list, &item))
	{
		if (network_parse(item).kind != NETWORK_BAD)
			continue;
		*len = item.len;
		return item.data;
	}
	return NULL;
}
