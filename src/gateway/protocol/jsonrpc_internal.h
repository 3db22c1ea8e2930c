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

#include <jansson.h>

#include "gateway/protocol/jsonrpc.h"
#include "gateway/protocol/notification.h"

#define JSONRPC_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * An error in a request. Its "data" names what was wrong. Strings that are too long are truncated.
 */
typedef struct JsonrpcError
{
	int code;
	char message[256];
	const char *key; /* NULL: no "data" */
	char value[128];
} JsonrpcError;

/* Fill in an error. key and value (len bytes of UTF-8) may be NULL. */
extern void jsonrpc_set_error(JsonrpcError *error, int code, const char *message,
							  size_t message_len, const char *key, const char *value, size_t len);

/*
 * Read the params of "subscribe" into a request, which has none yet.
 */
extern bool jsonrpc_read_subscribe(json_t *params, Request *request, JsonrpcError *error);

/*
 * Read a request, whose id is null at first. Returns false with *error if it is not one; its id may be set then, too.
 */
extern bool jsonrpc_read(const char *text, size_t len, Request *request, JsonrpcError *error);

#endif /* GATEWAY_JSONRPC_INTERNAL_H */
