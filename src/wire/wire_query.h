/*-------------------------------------------------------------------------
 *
 * wire_query.h
 *	  Frames between the gateway and the workers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WIRE_QUERY_H
#define PG_NOTIFYD_WIRE_QUERY_H

#include "wire/wire_types.h"

/* What a snapshot has seen. Transaction ids are those of WireSnapshotDone. */
typedef struct WireSnapshotIds
{
	uint64_t until; /* events with later ids are of transactions that it has not seen */
	uint64_t xmin;  /* it has seen all earlier transactions, */
	uint64_t xmax;  /* and none from here on */
	WireBytes xip;  /* nor these in between: u64 each, little-endian, ascending */

	/*
	 * By which policies its rows were read: for each table its OID and a hash, 0 for all rows, as
	 * WIRE_POLICY_SIZE bytes. A table is missing if that is not known.
	 */
	WireBytes policies;
} WireSnapshotIds;

#define WIRE_POLICY_SIZE (sizeof(uint32_t) + sizeof(uint64_t))

typedef enum WireQueryKind
{
	WIRE_QUERY_SNAPSHOT = 1, /* the rows of a channel that a subscription may see */
	WIRE_QUERY_CALL = 2,     /* an exposed function */
	WIRE_QUERY_SEND = 3,     /* a message */
	WIRE_QUERY_REST = 4,     /* a path of an exposed table */
	WIRE_QUERY_OPENAPI = 5,  /* the description of what the role may use */
	WIRE_QUERY_TAKE = 6,     /* events of a consumer group, which are leased */
	WIRE_QUERY_ACK = 7,      /* acknowledge deliveries, */
	WIRE_QUERY_NACK = 8,     /* or give them back */
	WIRE_QUERY_RELEASE = 9,  /* give deliveries back that a client did not answer */
} WireQueryKind;
#define WIRE_QUERY_KINDS (WIRE_QUERY_RELEASE + 1)

/*
 * A request of a client, for which the worker verifies the client's token. Fields that a kind does
 * not use are empty.
 */
typedef struct WireQuery
{
	uint32_t request; /* assigned by the gateway, unique on this link while in use */
	uint8_t kind;     /* WireQueryKind */
	uint8_t read_only;
	uint8_t
		progressive; /* CALL: the rows of a set are sent as ROWS, before the RESULT; needs window */
	uint32_t window; /* initial credit in bytes, for ROWS; TAKE: about so many bytes at most */
	WireBytes token; /* empty: the client is anonymous */
	WireBytes method;  /* of the HTTP request; empty: the client uses a WebSocket */
	WireBytes path;    /* not decoded */
	WireBytes query;   /* the query string, without the question mark, not decoded */
	WireBytes headers; /* a list: names in lower case, each followed by its value */
	WireBytes name;    /* of the channel, function or consumer group */
	WireBytes filter;
	uint8_t has_columns; /* 0: all columns */
	WireBytes columns;   /* a list */
	WireBytes order;     /* as in PostgREST's parameter */
	uint64_t limit;      /* rows; 0: all; TAKE: events */
	/* CALL: arguments, a JSON object or array; SEND: payload; ACK, NACK, RELEASE: arguments, a JSON object */
	WireBytes body;
	/*
	 * CALL: arguments by name beside those of the array in body, a JSON object.
	 * SEND: the member "publisher" of the event, a JSON object, as query_publisher() of ext/query reads it. It says
	 * what the gateway knows of the client; the worker verifies only the role, which is the event's "by".
	 * Empty: none.
	 */
	WireBytes named;
} WireQuery;

typedef struct WireQueryCredit
{
	uint32_t request;
	uint32_t bytes;
} WireQueryCredit;

/* Also SPOOLED. */
typedef struct WireQueryCancel
{
	uint32_t request;
} WireQueryCancel;

/*
 * Rows of one table; of CALL, rows of its result, without schema, table and key. They take as many bytes of credit as
 * rows has.
 */
typedef struct WireRows
{
	uint32_t request;
	WireBytes schema;
	WireBytes table;
	WireBytes key;  /* names of the columns, a list */
	WireBytes rows; /* JSON objects, separated by commas; of CALL: a list of JSON values */
} WireRows;

typedef struct WireSnapshotDone
{
	uint32_t request;
	WireSnapshotIds seen;
} WireSnapshotDone;

/*
 * The body of the result of TAKE is a list: for each delivery its number in decimal, and a JSON object.
 * With the status WIRE_TAKE_MORE there may be more now; otherwise GROUP_READY follows some time.
 */
#define WIRE_TAKE_MORE     206
#define WIRE_RELEASE_AGAIN 202 /* a transaction is about to end some of the leases: repeat it */
typedef struct WireResultMsg
{
	uint32_t request;
	uint16_t status;   /* of the HTTP response; 0: the usual one */
	uint64_t event;    /* of SEND: the event's id; 0: none */
	WireBytes headers; /* of the HTTP response, a list as in WireQuery */
	WireBytes body;    /* JSON; empty: none */
} WireResultMsg;

typedef enum WireQueryReason
{
	WIRE_QUERY_NOT_AUTHENTICATED = 1, /* the token is not valid, or the role may not be used */
	WIRE_QUERY_NOT_PERMITTED = 2,     /* the role does not have a privilege */
	WIRE_QUERY_UNKNOWN = 3,           /* there is no such function, channel or path */
	WIRE_QUERY_BAD_PARAMETER = 4,     /* name is the parameter */
	WIRE_QUERY_SQL_ERROR = 5,
	WIRE_QUERY_TIMEOUT = 6,   /* statement_timeout or snapshot_timeout */
	WIRE_QUERY_TOO_LARGE = 7, /* the result is larger than max_response_size */
	WIRE_QUERY_CANCELLED = 8,
	WIRE_QUERY_INTERNAL = 9, /* the server's log has the error */
	WIRE_QUERY_BUSY = 10,
} WireQueryReason;

typedef struct WireFailed
{
	uint32_t request;
	uint8_t reason;     /* WireQueryReason */
	WireBytes sqlstate; /* five characters; empty: none */
	WireBytes message;
	WireBytes detail;
	WireBytes hint;
	WireBytes name; /* of the parameter, function, channel or table; may be empty */
} WireFailed;

#endif /* PG_NOTIFYD_WIRE_QUERY_H */
