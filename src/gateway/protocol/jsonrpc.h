/*-------------------------------------------------------------------------
 *
 * jsonrpc.h
 *	  The protocol pg_notifyd.v1: JSON-RPC 2.0, as described in doc/protocol.md.
 *
 * Batches are not supported. An id must be null, an integer of at most 2^53, or a string of at most
 * JSONRPC_MAX_ID bytes. Otherwise the error is -32600.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_JSONRPC_H
#define GATEWAY_JSONRPC_H

#include "gateway/protocol/protocol.h"

#define JSONRPC_MAX_DEPTH 32
#define JSONRPC_MAX_ID    256

extern const Protocol jsonrpc_protocol;

#endif /* GATEWAY_JSONRPC_H */
