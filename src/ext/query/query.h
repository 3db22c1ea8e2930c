/*-------------------------------------------------------------------------
 *
 * query.h
 *	  Declarations shared by the files of the worker: the process that runs clients' queries.
 *
 *	  query_worker.c	the process: start, loop, end
 *	  query_link.c		sockets to the gateways; queries that wait, and their answers
 *	  query_run.c		one query: its transaction, and the error that ends it
 *	  query_caller.c	the client: its token, its role, what it may read as settings
 *	  query_cancel.c	ends queries whose client has left or that run too long
 *	  query_rows.c		rows of a result as JSON
 *	  query_value.c		values that clients send as JSON
 *	  query_call.c		calls of exposed functions
 *	  query_response.c	status and headers of the HTTP response that a function has set
 *	  query_history.c	the last events of a channel
 *	  query_snapshot.c	snapshots: the first rows of a subscription
 *	  query_filter.c	filters as SQL; query_order.c: the order of rows
 *	  query_spool.c		rows for which the client has no room yet
 *	  query_send.c		messages
 *	  query_group.c		events of consumer groups
 *
 * Each file uses only those below it, and query_link.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_QUERY_H
#define PG_NOTIFYD_QUERY_H

#include "postgres.h"

#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "tcop/dest.h"
#include "utils/jsonb.h"

#include "ext/base/frames.h"
#include "ext/base/shared.h"
#include "wire/wire.h"

typedef struct QueryLink QueryLink;

/* A query of a client. It belongs to its own memory context. */
typedef struct ClientQuery
{
	dlist_node node; /* among those that wait */
	QueryLink *link;
	WireQuery wire; /* its texts are in the query's context */
	MemoryContext context;
	StringInfoData body; /* of the answer, as UTF-8 */
	int64 event;         /* of SEND: its number among the transaction's events, from 1; 0: none */
	uint16 status;       /* of the HTTP response; 0: 200 */
	StringInfoData headers;
	bool answered;       /* the answer was sent by its function itself */
	struct Spool *spool; /* of rows; NULL: none */
} ClientQuery;

/* ---------------- links (query_link.c) ---------------- */

extern void query_link_init(const char *database);

/* Connect to the gateways that are running. retry: also to those that could not be reached. */
extern void query_link_connect_all(bool retry);

/* Read what has arrived, without waiting. Returns true if there was anything. */
extern bool query_link_receive_all(void);

/* Send as much as possible without waiting. */
extern void query_link_send_all(void);

/* Wait for the latch or a socket, at most timeout ms. */
extern void query_link_wait(long timeout);

/* Tell the gateways that this worker ends, and has executed no query that it has not answered. */
extern void query_link_goodbye_all(const char *reason);

/* Remove and return the query that has waited longest, or NULL. */
extern ClientQuery *query_link_next_query(void);

/* Return true if the query's client still wants the answer: its link exists. */
extern bool query_link_wants(const ClientQuery *query);

/* Return true if there is room for rows on the link. */
extern bool query_link_has_room(const ClientQuery *query);

/* Queue a frame for the query's gateway. */
extern void query_link_answer(const ClientQuery *query, const WireMessage *message);

/* The number of the query's gateway. */
extern int query_link_gateway(const ClientQuery *query);

/* The socket of the query's link, and how many bytes of an incomplete frame were read from it. */
extern FrameSocket *query_link_socket(const ClientQuery *query);

/* ---------------- running (query_run.c) ---------------- */

/* Run a query, send the answer, and free the query. */
extern void query_run(ClientQuery *query);

/* The process ends: answer the query that it runs, if it does. */
extern void query_abandon(void);

/*
 * Raise an error that becomes this answer. name is the function, channel or parameter, in the server's
 * encoding, or NULL.
 */
extern void query_refuse(WireQueryReason reason, int sqlstate, const char *name, const char *format,
						 ...) __attribute__((format(printf, 4, 5), noreturn));

/*
 * In PG_CATCH(): the error becomes this answer, with its own SQLSTATE and texts. Raise it again afterwards. name as
 * in query_refuse().
 */
extern void query_blame(WireQueryReason reason, const char *name);

/* A text of the query in the server's encoding. Raises an error if it cannot be converted without loss. */
extern char *query_text(WireBytes bytes);

/* Append a header to the query's answer. Name and value are UTF-8. */
extern void query_header(ClientQuery *query, const char *name, const char *value);

/* ---------------- the client (query_caller.c) ---------------- */

/* Start to collect what makes known tokens invalid. */
extern void caller_init(void);

/*
 * Verify the query's token, and become the client for the rest of the transaction: role, claims and
 * settings of the request. Raises an error by query_refuse().
 */
extern void caller_become(const ClientQuery *query);

/* Return true if the session's role cannot be used any more, so that the worker has to end. */
extern bool caller_is_gone(void);

/* Undo what a client may have left in this session. Outside of a transaction. */
extern void caller_clean(void);

/* ---------------- ending queries early (query_cancel.c) ---------------- */

/* Watch a query that runs for at most ms. cancel_end() returns true if the time was over. */
extern void cancel_begin(const ClientQuery *query, int ms);
extern bool cancel_end(void);

/* A QUERY_CANCEL has arrived on this socket: if it is for the query that is watched, cancel that. */
extern void cancel_received(const FrameSocket *socket, uint32 request);

/* Do not look at the sockets, because they are being read. */
extern void cancel_pause(bool pause);

/* Return true if the time of the query that is watched is over. */
extern bool cancel_is_over(void);

/* ---------------- rows as JSON (query_rows.c) ---------------- */

typedef enum RowsForm
{
	ROWS_OBJECTS, /* an object for each row, separated by commas */
	ROWS_VALUES,  /* the first column of each row, separated by commas */
} RowsForm;

/* Rows are passed on in pieces of about this many bytes. */
#define ROWS_PIECE (32 * 1024)

/*
 * A receiver that appends rows to *out as UTF-8. limit: an error is raised when *out is longer, in bytes.
 * The caller reads *count, the number of rows. With a function, it is called when *out has a piece, and *out is then
 * empty again; the caller passes the last piece on itself.
 */
extern DestReceiver *rows_receiver(RowsForm form, StringInfo out, Size limit, uint64 *count);
extern DestReceiver *
rows_receiver_pieces(StringInfo out, uint64 *count, void (*piece)(void *arg), void *arg);

/* The same for a list as in wire.h, with an item for each row, which has at most limit bytes. */
extern DestReceiver *rows_receiver_list(RowsForm form, StringInfo out, Size limit, uint64 *count,
										void (*piece)(void *arg), void *arg);

/* ---------------- values that clients send as JSON (query_value.c) ---------------- */

/*
 * Read JSON from a client, in the server's encoding. Raises an error for which query_value_is_wrong() is true if it is
 * malformed, or has numbers whose texts would be huge.
 */
extern Jsonb *query_json(const char *text);

/* Convert valid JSON to a value of a type as json_to_record() does: arrays and composite values too. */
extern Datum query_value(const char *json, Oid type, int32 typmod, bool *isnull);

/* Return true if an error with this SQLSTATE, raised while a value was read, means that the value is wrong. */
extern bool query_value_is_wrong(int sqlstate);

/* ---------------- snapshots and events (query_snapshot.c, query_history.c) ---------------- */

/* Wait until what the transaction has seen is as safe as an event before it is sent. */
extern void query_make_durable(void);

/*
 * Answer a call of QUERY_HISTORY, whose body is {"channel": ..., "limit": ...}: an object of the last
 * events of the channel that a subscriber with this role would get, the newest one last, by their ids.
 */
#define QUERY_HISTORY "wamp.subscription.get_events"
extern void query_history(ClientQuery *query);

/* ---------------- rows that wait for credit (query_spool.c) ---------------- */

/* Begin to send rows with as much credit as the query has. */
extern void spool_begin(ClientQuery *query);

/* Send a frame that takes so many bytes of credit, now or later. Raises errors about temporary files. */
extern void spool_send(ClientQuery *query, const WireMessage *message, uint32 bytes);

/*
 * Read credit and cancellations that have arrived, and send what was queued. Raises an error by query_refuse() if the
 * client has left.
 */
extern void spool_attend(ClientQuery *query);

/* Send this frame after all others, when spool_end() was called. It takes no credit and cannot fail. */
extern void spool_set_last(const ClientQuery *query, const WireMessage *message);

/*
 * There are no more frames. Returns true if all of them were sent. Otherwise the query lives on until they are, and
 * belongs to the spool.
 */
extern bool spool_end(ClientQuery *query);

/* Drop what was not sent. */
extern void spool_drop(ClientQuery *query);

/* The client has taken so many bytes, or does not want the rest. Return false if there is no such spool. */
extern bool spool_credit(const QueryLink *link, uint32 request, uint32 bytes);
extern bool spool_cancel(const QueryLink *link, uint32 request);

/* A link was lost: drop its spools. */
extern void spool_drop_link(const QueryLink *link);

/* Send what may be sent. */
extern void spool_serve(void);

/* Return true if there are any. */
extern bool spool_any(void);

/* ---------------- the order of rows (query_order.c) ---------------- */

/*
 * Translate an order as in PostgREST, such as "price.desc.nullslast,name", to a list for ORDER BY. columns
 * has the numbers of the columns that it may use. Raises an error by query_refuse().
 */
extern char *order_sql(const char *order, Oid relation, const Bitmapset *columns);

/* ---------------- filters (query_filter.c) ---------------- */

/*
 * Translate a filter of the table t to SQL, with all names qualified. columns has the numbers of the columns that it may
 * use. Returns NULL if there is no filter, or, unless all is set, if it has other columns. Raises an error by
 * query_refuse().
 */
extern char *query_filter(WireBytes text, Oid relation, const Bitmapset *columns, bool all);

/* Append an operator with its schema, as SQL in which search_path has no influence. */
extern void query_append_operator(StringInfo sql, Oid operator);

/* ---------------- functions that clients may call (query_call.c) ---------------- */

typedef struct CallFunction
{
	char name[NAMEDATALEN * 4]; /* for clients; the key */
	Oid oid;
	int narguments;
	char **names; /* "" for one without a name */
	Oid *types;
	int nrequired; /* the others have defaults */
	bool variadic;
	bool whole; /* its only argument gets all of what the client sends */
	bool set;
	bool scalar;
	bool composite; /* it returns one value of a named type */
	bool is_void;
	bool is_volatile;
	List *plans; /* CallPlans, of query_call.c */
} CallFunction;

/* Fill in what pg_proc says about the function, whose oid is set. */
extern void call_describe(CallFunction *function);

/* ---------------- kinds of queries ---------------- */

/*
 * HTTP requests for rows, which are processed in ext/rest, and for the description of what a role may use, in
 * ext/openapi. Set before the first worker starts.
 */
extern void (*query_rest)(ClientQuery *query);
extern void (*query_openapi)(ClientQuery *query);

extern void query_call(ClientQuery *query);

/*
 * Give the HTTP response the status and headers that the function has set. Raises
 * ERRCODE_EXTERNAL_ROUTINE_EXCEPTION if they are not valid.
 */
extern void query_response(ClientQuery *query);

extern void query_snapshot(ClientQuery *query);

/*
 * Lock the channel's tables. This must happen before the transaction's snapshot is taken, because TRUNCATE and a
 * rewrite of a table are not invisible to older snapshots.
 */
extern void query_snapshot_lock(const ClientQuery *query);
extern void query_send(ClientQuery *query);

/* Of consumer groups: TAKE; ACK, NACK and RELEASE */
extern void query_take(ClientQuery *query);
extern void query_return(ClientQuery *query);

#endif /* PG_NOTIFYD_QUERY_H */
