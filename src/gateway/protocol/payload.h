/*-------------------------------------------------------------------------
 *
 * payload.h
 *	  The format "payload": messages are the payloads of events and nothing else, see doc/raw.md.
 *
 * Requests are those of JSON-RPC. No request is answered: one that fails ends the connection by a
 * close frame that says why, and so does a reset.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_PAYLOAD_H
#define GATEWAY_PAYLOAD_H

#include <jansson.h>

#include "gateway/protocol/protocol.h"

extern const Protocol payload_protocol;

/* The same for clients that want bigint=string, as jsonrpc_bigint_protocol. */
extern const Protocol payload_bigint_protocol;

/* The close frame for an error of JSON-RPC, whose reference is passed on. */
extern Frame *payload_error(json_t *error);

#endif /* GATEWAY_PAYLOAD_H */
