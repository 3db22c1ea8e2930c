/*-------------------------------------------------------------------------
 *
 * origin.h
 *	  Decides which web pages may connect, and which host names are ours.
 *
 * A browser sends the origin of the page with every WebSocket handshake (RFC 6455, 10.2). Unlike
 * with fetch(), only this check prevents any page of any site from using a server on the user's
 * machine. The check of the Host header prevents DNS rebinding: a foreign name that resolves to our
 * address is not one of ours.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_ORIGIN_H
#define GATEWAY_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Return true if a page of this origin may connect. allowed is pg_notifyd.allowed_origins: origins
 * separated by commas, or "*" for all. http and https pages of localhost, 127.0.0.1 and [::1] are
 * allowed on any port. Other origins must match scheme, host (ignoring case) and port (by default
 * 80 for http and 443 for https) of an entry. The origin "null" needs the entry "null".
 */
extern bool origin_allowed(const char *origin, size_t len, const char *allowed);

/*
 * Return true if a page of this origin came from the server that this value of a Host header names:
 * the live page, for example. The caller has checked that the name is one of ours.
 */
extern bool origin_is_host(const char *origin, size_t len, const char *host, size_t host_len);

/*
 * Return true if this value of a Host header is one of our names: localhost, an IP address, a name
 * in listen_addresses or the host of an allowed origin. With "*" among those, every name is.
 */
extern bool origin_host_allowed(const char *host, size_t len, const char *listen_addresses,
								const char *allowed);

/*
 * Return the first entry that is not an origin, and set *len to its length, or NULL if all are
 * valid.
 */
extern const char *origin_first_bad(const char *allowed, size_t *len);

#endif /* GATEWAY_ORIGIN_H */
