/*-------------------------------------------------------------------------
 *
 * network.h
 *	  Lists of addresses and networks, as settings have them.
 *
 * A list is separated by commas. An entry is an IPv4 or IPv6 address, a network as address/bits
 * (RFC 4632, RFC 4291 2.3), "unix" for the clients of Unix sockets, or "*" for everybody. Bits of
 * a network's address beyond its length do not count, as in pg_hba.conf. An IPv4-mapped IPv6
 * address (RFC 4291, 2.5.5.2) is the IPv4 address, here and at the client; other IPv6 networks
 * contain no IPv4 address, so ::/0 is all of IPv6 only.
 *
 * This module has no socket, memory or clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_NETWORK_H
#define GATEWAY_NETWORK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/*
 * Return true if an entry of the list contains this address, whose port does not count. Entries
 * that are malformed contain nothing.
 */
extern bool network_list_contains(const char *list, const struct sockaddr_storage *address);

/*
 * Return the first malformed entry, and set *len to its length, or NULL if all are valid.
 */
extern const char *network_list_first_bad(const char *list, size_t *len);

/*
 * Parse an IPv4 or IPv6 address of len bytes, without brackets, port and zone. The port of *address
 * becomes 0. Returns false if it is none.
 */
extern bool network_parse_address(const char *text, size_t len, struct sockaddr_storage *address)
	__attribute__((warn_unused_result));

/* Parse the decimal number of a port, at most five digits. Returns false if it is none. */
extern bool network_parse_port(const char *text, size_t len, in_port_t *port)
	__attribute__((warn_unused_result));

/* Write an address as "host:port", "[host]:port" or "unix", or "?" if it is of another family. */
#define NETWORK_TEXT 64 /* bytes, including the NUL */
extern void network_text(const struct sockaddr_storage *address, char *text);

/*
 * Get an IPv4 or IPv6 address as an IPv6 one: an IPv4 address becomes IPv4-mapped. Returns false for
 * other families.
 */
extern bool network_in6(const struct sockaddr_storage *address, struct in6_addr *in6);

#endif /* GATEWAY_NETWORK_H */
