/*-------------------------------------------------------------------------
 *
 * notification.h
 *	  What several protocols send to clients without having been asked: its JSON.
 *
 * A notification has a method, such as "event", and params, a JSON object. Protocols differ in what
 * they put around them, so each passes its own function for that.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_NOTIFICATION_H
#define GATEWAY_NOTIFICATION_H

#include <string.h>

#include <jansson.h>

#include "gateway/protocol/protocol.h"

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

/* The maximum number of parts that params have. */
#define NOTIFICATION_PARTS 8

typedef struct Notification
{
	const char *method;
	const WireBytes *params; /* parts of a JSON object, at most NOTIFICATION_PARTS */
	size_t count;
	const char *position; /* that the params have; NULL: none */
} Notification;

/* Put a notification into a frame, which the caller owns. */
typedef Frame *(*NotificationFrame)(const Notification *notification);

/* The notifications; the parameters are those of the functions of Protocol. */
extern Frame *notification_event(const ProtocolEvent *event, NotificationFrame frame);
extern Frame *notification_rows(ProtocolName name, const WireRows *rows, WirePosition position,
								bool inside, NotificationFrame frame);
extern Frame *notification_reset(ProtocolName name, WireBytes reason, WirePosition position,
								 bool inside, NotificationFrame frame);
extern Frame *notification_position(WirePosition position, NotificationFrame frame);

/* The same with large numbers as strings, see numbers.h. */
extern Frame *notification_bigint_event(const ProtocolEvent *event, NotificationFrame frame);
extern Frame *notification_bigint_rows(ProtocolName name, const WireRows *rows,
									   WirePosition position, bool inside, NotificationFrame frame);

/* The same with any params, whose reference is passed on. */
extern Frame *notification_json(const char *method, json_t *params, NotificationFrame frame);

/* The error of a refused request, of a subscription that has ended, and of a query that has failed. */
extern json_t *notification_refusal(ProtocolReason reason, WireBytes text, ProtocolName name);
extern json_t *notification_query_failure(const WireFailed *failed, ProtocolName name);

/* The HTTP status for an error with this code. */
extern int notification_status(int code);

/* An error. key (NULL: none) and value say what was wrong, and tag of which subscription. */
extern json_t *
notification_error(int code, WireBytes message, const char *key, WireBytes value, WireBytes tag);

/* Behind a position inside a snapshot. */
#define POSITION_INSIDE 's'

/* Room for the text of a position. */
#define POSITION_TEXT (WIRE_POSITION_SIZE + 1)

/* Write the text of a position, and return its length. Inside of a snapshot it has a mark. */
extern size_t position_format(WirePosition position, bool inside, char *text);

/* Read such a text. */
extern bool position_parse(const char *text, size_t len, WirePosition *position, bool *inside)
	__attribute__((warn_unused_result));

/* The text of a value, which the caller frees. */
extern char *notification_dump(const json_t *json);

/* Add a string, or the channel and tag of a subscription, to an object. */
extern void notification_put_bytes(json_t *object, const char *key, WireBytes bytes);
extern void notification_put_name(json_t *object, ProtocolName name);
extern void notification_put_position(json_t *object, WirePosition position, bool inside);

static inline WireBytes
notification_bytes(const char *text)
{
	return (WireBytes){.data = text, .len = (uint32_t) strlen(text)};
}

#endif /* GATEWAY_NOTIFICATION_H */
