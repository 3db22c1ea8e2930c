/*-------------------------------------------------------------------------
 *
 * proxy_header.h
 *	  A strict parser for the header of the PROXY protocol, versions 1 and 2.
 *
 * A proxy sends it before the client's bytes; HAProxy's doc/proxy-protocol.txt defines it. Version 1 is
 * a line of at most 107 bytes, version 2 is binary. What version 2 adds to the addresses is skipped.
 *
 * The client is of no known address (AF_UNSPEC) if the header says UNKNOWN or AF_UNSPEC, or names a
 * Unix socket, which is one of the proxy's and not one of ours. With the command LOCAL the
 * connection is the proxy's own, for example a health check.
 *
 * This module has no socket, memory or clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_PROXY_HEADER_H
#define GATEWAY_PROXY_HEADER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define PROXY_HEADER_LINE 107  /* maximum bytes of version 1, including the line end */
#define PROXY_HEADER_MAX  8192 /* maximum bytes of version 2 */

/* What has arrived of a header. All zero: nothing. */
typedef struct ProxyHeader
{
	size_t len;  /* of bytes */
	size_t skip; /* bytes that follow and mean nothing here */
	uint8_t bytes[PROXY_HEADER_LINE];
	struct sockaddr_storage client; /* once skip is set */
} ProxyHeader;

typedef enum ProxyHeaderResult
{
	PROXY_HEADER_MORE, /* everything is consumed, and the header is incomplete */
	PROXY_HEADER_DONE, /* *address is the client's */
	PROXY_HEADER_NONE, /* there is none: header->bytes are the client's first bytes */
	PROXY_HEADER_BAD,  /* it is malformed, or too large */
} ProxyHeaderResult;

/*
 * Continue with data, of which *used bytes are consumed. *address is the proxy's, and stays with
 * the command LOCAL.
 */
extern ProxyHeaderResult proxy_header_read(ProxyHeader *header, const uint8_t *data, size_t len,
										   size_t *used, struct sockaddr_storage *address);

#endif /* GATEWAY_PROXY_HEADER_H */
