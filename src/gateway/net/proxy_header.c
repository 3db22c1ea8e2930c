/*-------------------------------------------------------------------------
 *
 * proxy_header.c
 *	  A strict parser for the header of the PROXY protocol.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/net/proxy_header.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "wire/network.h"

static const char proxy_header_v1[] = "PROXY ";
static const uint8_t proxy_header_v2[] = {'\r', '\n', '\r', '\n', 0,   '\r',
										  '\n', 'Q',  'U',  'I',  'T', '\n'};

/* The parts of version 2. */
#define PROXY_HEADER_FIXED   16 /* bytes before the addresses */
#define PROXY_HEADER_VERSION 0x20
#define PROXY_HEADER_LOCAL   0
#define PROXY_HEADER_PROXY   1

enum
{
	PROXY_HEADER_UNSPEC,
	PROXY_HEADER_INET,
	PROXY_HEADER_INET6,
	PROXY_HEADER_UNIX,
	PROXY_HEADER_FAMILIES
};

/* The bytes of both addresses and ports. */
static const size_t proxy_header_sizes[PROXY_HEADER_FAMILIES] = {
	[PROXY_HEADER_INET] = 12,
	[PROXY_HEADER_INET6] = 36,
	[PROXY_HEADER_UNIX] = 216,
};

/* ---------------- version 1 ---------------- */

/* Take the next word of a line that has exactly one space before it. */
static bool
proxy_header_word(const char **p, const char *end, const char **word, size_t *len)
{
	if (*p == end || *(*p)++ != ' ')
		return false;
	*word = *p;
	while (*p < end && **p != ' ')
		(*p)++;
	*len = (size_t) (*p - *word);
	return *len > 0;
}

static bool
proxy_header_port(const char *word, size_t len, in_port_t *port)
{
	return (len == 1 || *word != '0') && network_parse_port(word, len, port);
}

/* The words after "PROXY TCP4" or "PROXY TCP6": two addresses and two ports. */
static bool
proxy_header_words(const char *p, const char *end, int family, struct sockaddr_storage *client)
{
	struct sockaddr_storage ours;
	const char *word[4];
	size_t len[4];
	in_port_t port;
	in_port_t our_port;

	for (int i = 0; i < 4; i++)
		if (!proxy_header_word(&p, end, &word[i], &len[i]))
			return false;
	if (p != end || !network_parse_address(word[0], len[0], client) ||
		!network_parse_address(word[1], len[1], &ours) ||
		!proxy_header_port(word[2], len[2], &port) ||
		!proxy_header_port(word[3], len[3], &our_port) || client->ss_family != family ||
		ours.ss_family != family)
		return false;
	if (family == AF_INET)
		((struct sockaddr_in *) client)->sin_port = port;
	else
		((struct sockaddr_in6 *) client)->sin6_port = port;
	return true;
}

static bool
proxy_header_line(const ProxyHeader *header, struct sockaddr_storage *client)
{
	const char *line = (const char *) header->bytes;
	const char *end = line + header->len - 2;
	const char *p = line + strlen("PROXY");
	const char *protocol;
	size_t len;

	if (*end != '\r' || !proxy_header_word(&p, end, &protocol, &len))
		return false;
	if (len == 4 && memcmp(protocol, "TCP4", 4) == 0)
		return proxy_header_words(p, end, AF_INET, client);
	if (len == 4 && memcmp(protocol, "TCP6", 4) == 0)
		return proxy_header_words(p, end, AF_INET6, client);
	/* The rest of the line must be ignored. */
	return len == 7 && memcmp(protocol, "UNKNOWN", 7) == 0;
}

static ProxyHeaderResult
proxy_header_step1(const ProxyHeader *header, struct sockaddr_storage *address)
{
	struct sockaddr_storage client = {.ss_family = AF_UNSPEC};

	if (header->bytes[header->len - 1] != '\n')
		return header->len < PROXY_HEADER_LINE ? PROXY_HEADER_MORE : PROXY_HEADER_BAD;
	if (!proxy_header_line(header, &client))
		return PROXY_HEADER_BAD;
	*address = client;
	return PROXY_HEADER_DONE;
}

/* ---------------- version 2 ---------------- */

/* Get the client's address from a header that has as many bytes as its family needs. */
static void
proxy_header_addresses(const ProxyHeader *header, unsigned family, struct sockaddr_storage *client)
{
	const uint8_t *addresses = header->bytes + PROXY_HEADER_FIXED;
	struct sockaddr_in *in = (struct sockaddr_in *) client;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *) client;

	*client = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
	if (family == PROXY_HEADER_INET)
	{
		in->sin_family = AF_INET;
		memcpy(&in->sin_addr, addresses, 4);
		memcpy(&in->sin_port, addresses + 8, 2);
	}
	else if (family == PROXY_HEADER_INET6)
	{
		in6->sin6_family = AF_INET6;
		memcpy(&in6->sin6_addr, addresses, 16);
		memcpy(&in6->sin6_port, addresses + 32, 2);
	}
}

static ProxyHeaderResult
proxy_header_step2(ProxyHeader *header, struct sockaddr_storage *address)
{
	const uint8_t *fixed = header->bytes + sizeof(proxy_header_v2);
	unsigned command = fixed[0] & 0x0f;
	unsigned family = fixed[1] >> 4;
	size_t length = (size_t) fixed[2] << 8 | fixed[3];
	size_t needed;

	if (header->len < PROXY_HEADER_FIXED)
		return PROXY_HEADER_MORE;
	if ((fixed[0] & 0xf0) != PROXY_HEADER_VERSION || command > PROXY_HEADER_PROXY ||
		family >= PROXY_HEADER_FAMILIES || (fixed[1] & 0x0f) > 2 ||
		length > PROXY_HEADER_MAX - PROXY_HEADER_FIXED)
		return PROXY_HEADER_BAD;
	needed = command == PROXY_HEADER_LOCAL ? 0 : proxy_header_sizes[family];
	if (length < needed)
		return PROXY_HEADER_BAD;
	/* The names of Unix sockets are skipped. */
	if (family == PROXY_HEADER_UNIX)
		needed = 0;
	if (header->len < PROXY_HEADER_FIXED + needed)
		return PROXY_HEADER_MORE;
	header->client = *address;
	if (command == PROXY_HEADER_PROXY)
		proxy_header_addresses(header, family, &header->client);
	header->skip = length - needed;
	if (header->skip > 0)
		return PROXY_HEADER_MORE;
	*address = header->client;
	return PROXY_HEADER_DONE;
}

/* ---------------- both ---------------- */

/* Return true if what has arrived is the start of this, or begins with it. */
static bool
proxy_header_begins(const ProxyHeader *header, const void *start, size_t len)
{
	return memcmp(header->bytes, start, header->len < len ? header->len : len) == 0;
}

/* One more byte has arrived. */
static ProxyHeaderResult
proxy_header_step(ProxyHeader *header, struct sockaddr_storage *address)
{
	if (proxy_header_begins(header, proxy_header_v1, strlen(proxy_header_v1)))
		return proxy_header_step1(header, address);
	if (proxy_header_begins(header, proxy_header_v2, sizeof(proxy_header_v2)))
		return proxy_header_step2(header, address);
	return PROXY_HEADER_NONE;
}

ProxyHeaderResult
proxy_header_read(ProxyHeader *header, const uint8_t *data, size_t len, size_t *used,
				  struct sockaddr_storage *address)
{
	for (*used = 0; *used < len;)
	{
		ProxyHeaderResult result;

		if (header->skip > 0)
		{
			size_t skipped = len - *used < header->skip ? len - *used : header->skip;

			*used += skipped;
			header->skip -= skipped;
			if (header->skip > 0)
				return PROXY_HEADER_MORE;
			*address = header->client;
			return PROXY_HEADER_DONE;
		}
		header->bytes[header->len++] = data[(*used)++];
		result = proxy_header_step(header, address);
		if (result != PROXY_HEADER_MORE)
			return result;
	}
	return PROXY_HEADER_MORE;
}
