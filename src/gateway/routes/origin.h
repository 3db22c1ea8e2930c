/*-------------------------------------------------------------------------
 *
 * origin.h
 *	  Which web pages may connect, and under which name of ours.
 *
 * A browser sends the page's origin with every WebSocket handshake (RFC 6455, 10.2),
 * and unlike with fetch() nothing but this check keeps any page of any site from
 * talking to a server on the user's machine. The Host header is checked against DNS
 * rebinding: a foreign name that was made to point at us is not one of ours.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_ORIGIN_H
#define GATEWAY_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

/*
 * May a page of this origin connect? allowed is pg_notifyd.allowed_origins: origins
 * separated by commas, "*" for all. http and https pages of localhost, 127.0.0.1 and
 * [::1] may, on any port; any other origin only if scheme, host (without regard to
 * case) and port (80 and 443 being http's and https' own) are those of an entry. The
 * origin "null" needs the entry "null".
 */
extern bool origin_allowed(const char *origin, size_t len, const char *allowed);

/*
 * Is this value of a Host header one of our names: localhost, an IP address, a name in
 * listen_addresses or the host of an allowed origin? With "*" among those, any is.
 */
extern bool origin_host_allowed(const char *host, size_t len, const char *listen_addresses,
								const char *allowed);

/* The first entry that is no origin, or NULL where all are; *len is its length. */
extern const char *origin_first_bad(const char *allowed, size_t *len);

#endif /* GATEWAY_ORIGIN_H */
