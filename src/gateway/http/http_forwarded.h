/*-------------------------------------------------------------------------
 *
 * http_forwarded.h
 *	  The client's address in requests that a proxy passes on: X-Forwarded-For and Forwarded.
 *
 * Each proxy adds the address from which it has got the request at the end, so an entry is as true as the
 * one that wrote it: the proxy that the next entry names, and at last the peer. The client is the last
 * address that is not a trusted proxy, whatever stands before it. If all are trusted, it is the
 * first one. If a trusted proxy does not name whom it has got the request from ("unknown", or an
 * identifier of its own), the request counts as that proxy's.
 *
 * A request is refused if an address that matters is malformed; if Forwarded is malformed anywhere,
 * since a quotation mark of the client could hide the proxy's entry; and if both headers are present
 * and disagree, since a proxy that sets only one of them passes the other on as the client has
 * written it.
 *
 * This module has no socket, memory or clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HTTP_FORWARDED_H
#define GATEWAY_HTTP_FORWARDED_H

#include <sys/socket.h>

#include "gateway/http/http_request.h"

/*
 * Find the client of a request that has come from *address, and set *address to it. proxies are the
 * trusted proxies, see network.h; unless *address is one of them, it stays. The port is that of the
 * header, or 0. Returns NULL, or why the request must be refused.
 */
extern const char *
http_forwarded(const HttpRequest *request, const char *proxies, struct sockaddr_storage *address)
	__attribute__((warn_unused_result));

#endif /* GATEWAY_HTTP_FORWARDED_H */
