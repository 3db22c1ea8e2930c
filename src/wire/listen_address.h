/*-------------------------------------------------------------------------
 *
 * listen_address.h
 *	  The entries of pg_notifyd.listen_addresses.
 *
 * An entry is a host name, an IP address or "*" for all addresses, with or without ":" and a port,
 * before which an IPv6 address stands in brackets; or the absolute path of a Unix socket.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_LISTEN_ADDRESS_H
#define PG_NOTIFYD_LISTEN_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LISTEN_ADDRESS_MAX_HOST 255 /* bytes */

typedef struct ListenAddress
{
	const char *host; /* a part of the entry, without brackets; NULL: the entry is a path */
	size_t host_len;
	uint16_t port; /* 0: none is given */
} ListenAddress;

/*
 * Parse an entry. Returns false if it is malformed. The length of a path is not checked, and neither
 * is whether the host exists.
 */
extern bool listen_address_parse(const char *text, size_t len, ListenAddress *address)
	__attribute__((warn_unused_result));

#endif /* PG_NOTIFYD_LISTEN_ADDRESS_H */
