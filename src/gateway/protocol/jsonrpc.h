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

#include <jansson.h>

#include "gateway/protocol/protocol.h"

#define JSONRPC_MAX_DEPTH 32
#define JSONRPC_MAX_ID    256

extern const Protocol jsonrpc_protocol;

/*
 * The same for clients that connect with ?bigint=string: numbers that a double does not hold, see numbers.h, are strings
 * in events, rows and results.
 */
extern const Protocol jsonrpc_bigint_protocol;

/*
 * Make a request from the params of "subscribe". Returns NULL, or what is wrong with them, as the
 * error of an answer; then there is no request.
 */
extern json_t *
jsonrpc_subscribe(json_t *params, Request *request) __attribute__((warn_unused_result));

#endif /* GATEWAY_JSONRPC_H */
