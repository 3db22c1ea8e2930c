/*-------------------------------------------------------------------------
 *
 * http_server.h
 *	  Connections from accept() to an answer, to a WebSocket, or to a response that goes on.
 *
 * One request is read from each connection, bounded in size, time and number. The router finds its
 * handler, which answers by exactly one of
 *	- http_respond(): a response that is complete;
 *	- http_take_over(): the connection speaks another protocol from then on;
 *	- http_keep(), and later http_respond();
 *	- http_keep() and http_begin(), then http_write() and http_finish(): a response in parts, as long as it likes.
 *
 * A connection is pending until it is taken over or kept; of pending ones there is a limited
 * number, see address.h for which has to go. What is kept counts as a client of its address.
 *
 * This module has neither socket nor loop; the clock comes in by HttpServer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HTTP_SERVER_H
#define GATEWAY_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gateway/net/address.h"
#include "gateway/http/http_request.h"
#include "gateway/http/http_response.h"
#include "gateway/http/http_router.h"
#include "gateway/net/transport.h"

#define HTTP_READ_MS     10000 /* for the whole head, and again for the whole body */
#define HTTP_SEND_MS     10000 /* for the client to take a part of a response */
#define HTTP_LINGER_MS   2000  /* for the client to end the connection behind it */
#define HTTP_MAX_PENDING 4096  /* at a time; for one more, one of the address with most has to go */
#define HTTP_ADDRESS     64    /* bytes of "[address]:port" with a NUL */

typedef struct HttpConnection HttpConnection;

typedef enum HttpState
{
	HTTP_READING_HEAD,
	HTTP_READING_BODY,
	HTTP_KEPT,
	HTTP_SENDING,
	HTTP_LINGERING,
	HTTP_STATES
} HttpState;

typedef struct HttpServer
{
	/* To be filled in by whoever starts it. */
	uint64_t (*now)(void); /* milliseconds of a clock that never goes back */
	const HttpRoute *routes;
	size_t nroutes;
	const char *unknown_path; /* the text of 404 */
	/* May a request, whose route is known, go to its handler? False: the response says why not. */
	bool (*admit)(const HttpRequest *request, void *arg, HttpResponse *response);
	void *arg; /* of admit and the handlers */
	uint64_t *
		refused; /* counts the requests that were not answered by a status below 400, nor taken over */
	uint32_t max_pending;
	/* Its own. */
	TAILQ_HEAD(, HttpConnection) states[HTTP_STATES]; /* in the order of their time limits */
	uint32_t count_pending;
	Addresses addresses;
} HttpServer;

/* What a connection that is kept tells its owner. */
typedef struct HttpOwner
{
	/* Everything that was written is taken, or http_wake() was called. */
	void (*writable)(void *owner);
	/*
	 * The client is gone, and with it the connection. Not called behind http_respond() and
	 * http_finish().
	 */
	void (*closed)(void *owner);
} HttpOwner;

/* A connection that speaks another protocol from now on. */
typedef struct HttpTaken
{
	Transport *transport; /* without owner */
	Address *from;        /* whose clients it is one of, until http_server_left() */
	char address[HTTP_ADDRESS];
	char *rest; /* what the client has sent behind its request, until the handler returns */
	size_t rest_len;
} HttpTaken;

/* Fill in its own part. */
extern void http_server_init(HttpServer *server);

/* Read a request from this transport, which is given away. */
extern void http_server_accept(HttpServer *server, Transport *transport);

/* Once a second, while http_server_waits(): end what has had its time. */
extern void http_server_tick(HttpServer *server);
extern bool http_server_waits(const HttpServer *server);

/* One that was taken over is closed: its address has a client less. */
extern void http_server_left(HttpServer *server, Address *from);

/* End every connection that is neither taken over nor kept. */
extern void http_server_stop(HttpServer *server);

/* Whose client it would be, with the number of those there are. */
extern const Address *http_from(const HttpConnection *connection);

/* Answer, and end the connection. The response is released, and the request is gone. */
extern void http_respond(HttpConnection *connection, HttpResponse *response);

/*
 * The connection is the caller's, and no HttpConnection any more. False: it is broken, and closed.
 */
extern bool
http_take_over(HttpConnection *connection, HttpTaken *taken) __attribute__((warn_unused_result));

/* Keep it beyond the handler. */
extern void http_keep(HttpConnection *connection, const HttpOwner *events, void *owner);

/* Send the head of a response, which is released, on one that is kept. The request is gone then. */
extern void http_begin(HttpConnection *connection, HttpResponse *response);

/*
 * Write a part of the body. Not unless http_ready(): everything before is taken. False: the
 * connection is broken, and closed() follows. Nothing of these calls an event before it returns;
 * connection is an HttpConnection.
 */
extern bool http_ready(void *connection);
extern bool http_write(void *connection, const uint8_t *data, size_t len);
extern void http_wake(void *connection);

/*
 * The response is complete: end the connection, once the client has taken it. It is the owner's no
 * longer.
 */
extern void http_finish(HttpConnection *connection);

/* End it at once; likewise. */
extern void http_drop(HttpConnection *connection);

#endif /* GATEWAY_HTTP_SERVER_H */
