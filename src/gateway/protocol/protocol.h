/*-------------------------------------------------------------------------
 *
 * protocol.h
 *	  The clients' protocol: JSON-RPC 2.0, its requests read and its answers built.
 *
 * Two things are left out of JSON-RPC: batches, and ids that are no integers of at most
 * 2^53 or strings of at most PROTOCOL_MAX_ID bytes (or null). Both are -32600.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_PROTOCOL_H
#define GATEWAY_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "gateway/ws/frame.h"
#include "wire/wire.h"

#define PROTOCOL_MAX_DEPTH   32
#define PROTOCOL_MAX_ID      256
#define PROTOCOL_MAX_CHANNEL 63

typedef enum ProtocolCode
{
	PROTOCOL_PARSE_ERROR = -32700,
	PROTOCOL_INVALID_REQUEST = -32600,
	PROTOCOL_METHOD_NOT_FOUND = -32601,
	PROTOCOL_INVALID_PARAMS = -32602,
	PROTOCOL_INTERNAL_ERROR = -32603,
	PROTOCOL_LIMIT_EXCEEDED = -32010,
} ProtocolCode;

/*
 * An error, with one member of "data" that names what was wrong. The strings are cut where they are
 * too long.
 */
typedef struct ProtocolError
{
	int code;
	char message[256];
	const char *key; /* NULL: no data */
	char value[128];
} ProtocolError;

typedef enum RequestMethod
{
	REQUEST_SUBSCRIBE,
	REQUEST_UNSUBSCRIBE,
	REQUEST_PING,
} RequestMethod;

/* Whom an answer goes to. */
typedef struct RequestId
{
	bool absent;  /* the request had none: no answer, and an error is a notification */
	json_t *json; /* NULL for null; owned by whoever has the struct */
} RequestId;

typedef struct Request
{
	RequestMethod method;
	RequestId id;
	char channel[PROTOCOL_MAX_CHANNEL + 1];
	uint8_t channel_len;
	uint8_t ops; /* WIRE_OP_ bits */
	bool has_since;
	WirePosition since;
} Request;

/*
 * Read a request from one message, which is valid UTF-8. On false *error says why;
 * request->id is valid in either case, and protocol_release() frees it.
 */
extern bool protocol_parse(const char *text, size_t len, Request *request, ProtocolError *error)
	__attribute__((warn_unused_result));

extern void protocol_release(RequestId *id);

/* Fill in an error; key and value (len bytes of UTF-8) may be NULL. */
extern void protocol_set_error(ProtocolError *error, int code, const char *message,
							   size_t message_len, const char *key, const char *value, size_t len);

/*
 * Messages to a client, ready to be sent. result and params are taken over. An error
 * for an absent id is the notification "error".
 */
extern Frame *protocol_result(const RequestId *id, json_t *result);
extern Frame *protocol_failure(const RequestId *id, const ProtocolError *error);
extern Frame *protocol_notification(const char *method, json_t *params);

/* A position as a JSON string. */
extern json_t *protocol_position(WirePosition position);

#endif /* GATEWAY_PROTOCOL_H */
