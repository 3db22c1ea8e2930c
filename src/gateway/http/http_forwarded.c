/*-------------------------------------------------------------------------
 *
 * http_forwarded.c
 *	  The client's address in requests that a proxy passes on.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/http/http_forwarded.h"

#include <netinet/in.h>
#include <string.h>

#include "gateway/base/text.h"
#include "wire/network.h"

/* Maximum bytes of "[address]:port". A longer text is no address. */
#define FORWARDED_NODE 64

typedef enum ForwardedState
{
	FORWARDED_NONE,   /* no entry, or the last proxy does not say */
	FORWARDED_CLIENT, /* address is the client's */
	FORWARDED_BAD,    /* an entry is malformed, unless a later one is the client's */
} ForwardedState;

/* What the entries of one kind of header, up to now, say. */
typedef struct Forwarded
{
	const char *proxies;
	bool present;
	ForwardedState state;
	struct sockaddr_storage address;
} Forwarded;

static bool
forwarded_port(const char *text, size_t len, in_port_t *port)
{
	*port = 0;
	/* An identifier of the proxy's own (RFC 7239, 6.2) */
	return (len > 1 && text[0] == '_') || network_parse_port(text, len, port);
}

/*
 * Parse an address with or without a port, as Forwarded has it (RFC 7239, 6), or an IPv6 address
 * without brackets.
 */
static bool
forwarded_address(HttpSlice node, struct sockaddr_storage *address)
{
	const char *end = node.data + node.len;
	bool brackets = node.len > 0 && *node.data == '[';
	const char *host = brackets ? node.data + 1 : node.data;
	const char *host_end = memchr(host, brackets ? ']' : ':', (size_t) (end - host));
	const char *colon;
	in_port_t port = 0;

	if (brackets && host_end == NULL)
		return false;
	/* With more than one colon, it is IPv6. */
	if (!brackets && (host_end == NULL || host_end != memrchr(host, ':', node.len)))
		host_end = end;
	colon = host_end + brackets;
	if (colon < end &&
		(*colon != ':' || !forwarded_port(colon + 1, (size_t) (end - colon - 1), &port)))
		return false;
	if (!network_parse_address(host, (size_t) (host_end - host), address) ||
		(brackets && address->ss_family != AF_INET6))
		return false;
	if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *) address)->sin6_port = port;
	else
		((struct sockaddr_in *) address)->sin_port = port;
	return true;
}

/* Take the next entry. One that is not trusted is the client, whatever was before it. */
static void
forwarded_take(Forwarded *forwarded, HttpSlice node)
{
	struct sockaddr_storage address;

	forwarded->present = true;
	if (text_equal_nocase(node.data, node.len, "unknown") || (node.len > 1 && *node.data == '_'))
		forwarded->state = FORWARDED_NONE;
	else if (!forwarded_address(node, &address))
		forwarded->state = FORWARDED_BAD;
	else if (forwarded->state == FORWARDED_NONE ||
			 !network_list_contains(forwarded->proxies, &address))
	{
		forwarded->state = FORWARDED_CLIENT;
		forwarded->address = address;
	}
}

static const char *
forwarded_skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

/* X-Forwarded-For: addresses separated by commas. */
static void
forwarded_list(Forwarded *forwarded, HttpSlice value)
{
	const char *end = value.data + value.len;

	for (const char *p = value.data; p < end; p++)
	{
		const char *comma = memchr(p, ',', (size_t) (end - p));
		const char *last = comma != NULL ? comma : end;
		const char *first = forwarded_skip_space(p, last);

		p = last;
		while (last > first && (last[-1] == ' ' || last[-1] == '\t'))
			last--;
		if (last > first)
			forwarded_take(forwarded, (HttpSlice){.data = first, .len = (size_t) (last - first)});
	}
}

/*
 * Read a token or quoted string at *p (RFC 9110, 5.6.4). At most FORWARDED_NODE bytes of it are kept.
 * Returns false if there is none.
 */
static bool
forwarded_value(const char **p, const char *end, char *text, size_t *len)
{
	bool quoted = *p < end && **p == '"';
	const char *start = *p + quoted;

	*len = 0;
	for (*p = start; *p < end && (quoted ? **p != '"' : http_token_char(**p)); (*p)++)
	{
		if (quoted && **p == '\\' && ++*p == end)
			return false;
		if (*len < FORWARDED_NODE)
			text[(*len)++] = **p;
	}
	if (!quoted)
		return *p > start;
	return *p < end && *(*p)++ == '"';
}

/* Read name=value at *p, and take the entry if it is "for". *named: the element has had one. */
static bool
forwarded_pair(Forwarded *forwarded, const char **p, const char *end, bool *named)
{
	const char *name = *p;
	char text[FORWARDED_NODE];
	size_t name_len;
	size_t len;

	while (*p < end && http_token_char(**p))
		(*p)++;
	name_len = (size_t) (*p - name);
	if (name_len == 0 || *p == end || *(*p)++ != '=' || !forwarded_value(p, end, text, &len))
		return false;
	if (!text_equal_nocase(name, name_len, "for"))
		return true;
	if (*named)
		return false;
	*named = true;
	forwarded_take(forwarded, (HttpSlice){.data = text, .len = len});
	return true;
}

/* Read the pairs of an element at *p. One without "for" is of a proxy that does not say. */
static bool
forwarded_element(Forwarded *forwarded, const char **p, const char *end)
{
	bool named = false;

	do
	{
		*p = forwarded_skip_space(*p, end);
		if (!forwarded_pair(forwarded, p, end, &named))
			return false;
		*p = forwarded_skip_space(*p, end);
	} while (*p < end && **p == ';' && (*p)++);
	if (!named)
		forwarded_take(forwarded, (HttpSlice){.data = "unknown", .len = strlen("unknown")});
	return *p == end || **p == ',';
}

/* Forwarded (RFC 7239, 4): elements separated by commas. Returns false if it is malformed. */
static bool
forwarded_elements(Forwarded *forwarded, HttpSlice value)
{
	const char *end = value.data + value.len;

	for (const char *p = value.data; p < end;)
	{
		p = forwarded_skip_space(p, end);
		if (p < end && *p == ',')
			p++;
		else if (p < end && !forwarded_element(forwarded, &p, end))
			return false;
	}
	return true;
}

/* Compare the addresses of two clients, not their ports. */
static bool
forwarded_same(const Forwarded *a, const Forwarded *b)
{
	struct in6_addr one;
	struct in6_addr other;

	if (a->state == FORWARDED_NONE || b->state == FORWARDED_NONE)
		return a->state == b->state;
	return network_in6(&a->address, &one) && network_in6(&b->address, &other) &&
		   IN6_ARE_ADDR_EQUAL(&one, &other);
}

const char *
http_forwarded(const HttpRequest *request, const char *proxies, struct sockaddr_storage *address)
{
	Forwarded list = {.proxies = proxies};
	Forwarded elements = {.proxies = proxies};
	const Forwarded *found;

	if (!network_list_contains(proxies, address))
		return NULL;
	for (size_t i = 0; i < request->nheaders; i++)
	{
		const HttpHeader *header = &request->headers[i];

		if (text_equal_nocase(header->name.data, header->name.len, "x-forwarded-for"))
			forwarded_list(&list, header->value);
		else if (text_equal_nocase(header->name.data, header->name.len, "forwarded") &&
				 !forwarded_elements(&elements, header->value))
			return "malformed header Forwarded";
	}
	if (list.state == FORWARDED_BAD)
		return "malformed address in the header X-Forwarded-For";
	if (elements.state == FORWARDED_BAD)
		return "malformed address in the header Forwarded";
	if (list.present && elements.present && !forwarded_same(&list, &elements))
		return "Forwarded and X-Forwarded-For name different clients";
	found = list.present ? &list : &elements;
	if (found->state == FORWARDED_CLIENT)
		*address = found->address;
	return NULL;
}
