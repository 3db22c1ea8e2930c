/*-------------------------------------------------------------------------
 *
 * http_server_internal.h
 *	  A connection of the HTTP server, for the files of this folder only.
 *
 *		 ┌──────────────────────────────────────────────────────────────┐
 *		 ▼                                                              │
 *	  READING_HEAD ──► READING_BODY ──┐                                 │
 *		 └───────────────────────────►┴─► handler ──► taken over        │
 *											│ └─► KEPT (◄─► KEPT_ENDED) │
 *											▼       │                   │
 *										 SENDING ◄──┘                   │
 *											├─► IDLE ───────────────────┘
 *											▼
 *										 LINGERING ──► ended
 *
 * A connection has a time limit in each state except KEPT. A LINGERING connection was answered, and
 * our side is shut down. The rest that the client sends is read and discarded, because otherwise a
 * TCP reset could overtake the answer.
 *
 * http_server.c has what concerns all connections; http_input.c reads requests; http_answer.c has
 * what handlers call.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HTTP_SERVER_INTERNAL_H
#define GATEWAY_HTTP_SERVER_INTERNAL_H

#include "gateway/http/http_chunked.h"
#include "gateway/http/http_server.h"

/* The body of a request, as far as it has arrived. */
typedef struct HttpBody
{
	char *data; /* size bytes */
	size_t size;
	size_t len;
	size_t limit;        /* its length, or if that is unknown, the maximum */
	HttpChunked chunked; /* if that is unknown */
} HttpBody;

struct HttpConnection
{
	TAILQ_ENTRY(HttpConnection) in_state;
	HttpServer *server;
	Pending pending; /* unless kept */
	Address *from;
	Transport *transport; /* NULL: closed */
	HttpState state;
	bool kept;
	bool running;    /* http_input.c uses it: don't free the memory */
	bool gone;       /* to be freed when it is not running */
	bool paused;     /* the transport does not read */
	bool ended;      /* the client will send nothing more */
	bool keep_alive; /* after the present request */
	bool head_only;  /* the response to a HEAD has no body */
	bool chunked;    /* the response is sent in chunks */
	uint64_t deadline;
	size_t memory;    /* counted in HttpServer and Address */
	size_t discarded; /* bytes, while lingering */
	/* What has arrived and is not consumed, in ahead or in the data just received. */
	char *in;
	size_t in_len;
	char *ahead; /* NULL: none */
	/* The present request. */
	char *head;
	size_t head_len; /* of a head that has not arrived completely */
	size_t scanned;
	HttpRequest *request; /* NULL: the head is not complete, or the response has begun */
	HttpMatch match;
	HttpBody body;
	/* Its answer. */
	TransportRest unsent;
	const HttpOwner *events; /* NULL: not kept, or answered */
	void *owner;
	struct sockaddr_storage client; /* of the present request, or the peer */
};

/* http_server.c */

/* Enter a state, whose time limit begins. */
extern void http_enter(HttpConnection *connection, HttpState state);

/* Close it. Its owner is not informed. */
extern void http_free(HttpConnection *connection);

/* The connection is closed: free it, and inform its owner. */
extern void http_lost(HttpConnection *connection);

/* Count a connection as pending, or as kept. */
extern void http_count_pending(HttpConnection *connection);
extern void http_count_kept(HttpConnection *connection);

/*
 * Find the client of the present request, which counts as its address's from now on. Returns NULL,
 * or why the request must be refused.
 */
extern const char *http_find_client(HttpConnection *connection) __attribute__((warn_unused_result));

/* Count the memory that it holds. Returns false if that is too much for its address. */
extern bool http_count_memory(HttpConnection *connection);

/* http_input.c */

/* The events of the transport. */
extern const TransportEvents http_transport_events;

/* Forget what is not consumed, and read more. */
extern void http_drop_input(HttpConnection *connection);

/* http_answer.c */

/* Free the present request. */
extern void http_forget_request(HttpConnection *connection);

/* Answer with a line of text, or on routes of the API its JSON. */
extern void http_refuse(HttpConnection *connection, int status, const char *reason);

/* Answer that the path has only the methods of connection->match; to an OPTIONS, which ones. */
extern void http_refuse_method(HttpConnection *connection);
extern void http_tell_methods(HttpConnection *connection);

/* Send "100 Continue". Returns false if the connection is broken. */
extern bool http_continue(HttpConnection *connection) __attribute__((warn_unused_result));

/* The response is complete. When all of it is sent, wait for the next request, or end. */
extern void http_end(HttpConnection *connection);

/* The client of a kept connection has closed its side of it, and may wait for its answer. */
extern void http_kept_ended(HttpConnection *connection);

/* A kept connection is broken: its owner is informed, but not by this function. */
extern void http_broken(HttpConnection *connection);

#endif /* GATEWAY_HTTP_SERVER_INTERNAL_H */
