/*-------------------------------------------------------------------------
 *
 * jsonrpc.h
 *	  The protocol pg_notifyd.v1: JSON-RPC 2.0, as doc/protocol.md has it.
 *
 * Two things are left out of JSON-RPC: batches, and ids that are no integers of at most 2^53 or
 * strings of at most JSONRPC_MAX_ID bytes (or null). Both are -32600.
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
