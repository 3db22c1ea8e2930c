/*-------------------------------------------------------------------------
 *
 * jsonrpc_internal.h
 *	  Declarations shared by the files of the protocol pg_notifyd.v1.
 *
 *	  jsonrpc.c				builds messages
 *	  jsonrpc_request.c		reads requests
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_JSONRPC_INTERNAL_H
#define GATEWAY_JSONRPC_INTERNAL_H

#include <string.h>

#include <jansson.h>

#include "gateway/protocol/jsonrpc.h"

/* Behind a position inside a snapshot. */
#define JSONRPC_INSIDE 's'

#define JSONRPC_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Error codes, see doc/protocol.md. */
typedef enum JsonrpcCode
{
	JSONRPC_PARSE_ERROR = -32700,
	JSONRPC_INVALID_REQUEST = -32600,
	JSONRPC_METHOD_NOT_FOUND = -32601,
	JSONRPC_INVALID_PARAMS = -32602,
	JSONRPC_INTERNAL_ERROR = -32603,
	JSONRPC_NOT_AUTHENTICATED = -32001,
	JSONRPC_NOT_PERMITTED = -32003,
	JSONRPC_NO_SUCH_CHANNEL = -32004,
	JSONRPC_LIMIT_EXCEEDED = -32010,
	JSONRPC_BUSY = -32011,
	JSONRPC_SQL_ERROR = -32012,
	JSONRPC_TIMEOUT = -32013,
} JsonrpcCode;

/*
 * An error. Its "data" names what was wrong, and the tag of the subscription. Strings that are too
 * long are truncated.
 */
typedef struct JsonrpcError
{
	int code;
	char message[256];
	const char *key; /* NULL: no "data" */
	char value[128];
	WireBytes tag; /* of the subscription; empty: none */
} JsonrpcError;

static inline WireBytes
jsonrpc_bytes(const char *text)
{
	return (WireBytes){.data = text, .len = (uint32_t) strlen(text)};
}

/* The text of a value, which the caller frees. */
extern char *jsonrpc_dump(const json_t *json);

/* Fill in an error. key and value (len bytes of UTF-8) may be NULL. */
extern void jsonrpc_set_error(JsonrpcError *error, int code, const char *message,
							  size_t message_len, const char *key, const char *value, size_t len);

/*
 * Read a request, whose id is null at first. Returns false with *error if it is not one; its id may be set then, too.
 */
extern bool jsonrpc_read(const char *text, size_t len, Request *request, JsonrpcError *error);

#endif /* GATEWAY_JSONRPC_INTERNAL_H */
