/*-------------------------------------------------------------------------
 *
 * protocols.h
 *	  The protocols of WebSocket clients.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_PROTOCOLS_H
#define GATEWAY_PROTOCOLS_H

#include "gateway/protocol/protocol.h"
#include "wire/endpoint.h"

/* Get the protocol of a format. bigint: with large numbers as strings. */
extern const Protocol *protocol_for(EndpointFormat format, bool bigint);

#endif /* GATEWAY_PROTOCOLS_H */
