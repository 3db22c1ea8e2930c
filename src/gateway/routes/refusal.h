/*-------------------------------------------------------------------------
 *
 * refusal.h
 *	  Log lines that say which setting has caused a refusal.
 *
 * A page sees nothing of a refused handshake but that it has failed. So the server's log says why:
 * the origin or host name, and what to set if it is one of ours.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_REFUSAL_H
#define GATEWAY_REFUSAL_H

#include <sys/socket.h>

#include "gateway/base/log_throttle.h"
#include "gateway/http/http_request.h"
#include "wire/wire.h"

/*
 * Log why a client's request was refused, if a setting is the reason. Without a request, the refusal
 * is WIRE_REFUSED_PROXY, and the client the proxy. throttles: WIRE_REFUSALS of them.
 */
extern void refusal_log(LogThrottle *throttles, WireRefusal refusal, const HttpRequest *request,
						const struct sockaddr_storage *client, uint64_t now);

#endif /* GATEWAY_REFUSAL_H */
