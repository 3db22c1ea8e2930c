/*-------------------------------------------------------------------------
 *
 * http_server.h
 *	  Connections from accept() to an answer, to a WebSocket, or to a response in parts.
 *
 * The server reads one request from each connection, with limits on size, time and number. The
 * router finds its handler, which answers with exactly one of
 *
 *	- http_respond(): a complete response;
 *	- http_take_over(): the connection uses another protocol from then on;
 *	- http_keep(), and later http_respond();
 *	- http_keep() and http_begin(), then http_write() and http_finish(): a response in parts, without a
 *	  time limit.
 *
 * A connection is pending until it is taken over or kept. The number of pending ones is limited;
 * address.h describes which one is closed. A kept connection counts as a client of its address.
 *
 * This module has no socket and no loop. The clock is passed through HttpServer.
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

#define HTTP_READ_MS   10000 /* for the whole head, and again for the whole body */
#define HTTP_SEND_MS   10000 /* for the client to accept a part of a response */
#define HTTP_LINGER_MS 2000  /* for the client to close the connection after it */
#define HTTP_MAX_PENDING                                                                           \
	4096 /* for one more, a connection of the address with most pending ones is closed */
#define HTTP_ADDRESS 64 /* bytes of "[address]:port" including the NUL */

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
	/* Set by the caller of http_server_init(). */
	uint64_t (*now)(void); /* milliseconds of a clock that never goes back */
	const HttpRoute *routes;
	size_t nroutes;
	const char *unknown_path; /* the text of 404 */
	/*
	 * Decide whether a request, whose route is known, goes to its handler. If it returns false, the
	 * response contains the reason.
	 */
	bool (*admit)(const HttpRequest *request, void *arg, HttpResponse *response);
	void *arg;         /* of admit and the handlers */
	uint64_t *refused; /* number of requests answered with a status of 400 or more */
	uint32_t max_pending;
	/* Set by the server. */
	TAILQ_HEAD(, HttpConnection) states[HTTP_STATES]; /* in the order of their time limits */
	uint32_t count_pending;
	Addresses addresses;
} HttpServer;

/* The functions of the owner of a kept connection. */
typedef struct HttpOwner
{
	/* Everything written was sent, or http_wake() was called. */
	void (*writable)(void *owner);
	/* The client has closed the connection. Not called after http_respond() and http_finish(). */
	void (*closed)(void *owner);
} HttpOwner;

/* A connection that uses another protocol from now on. */
typedef struct HttpTaken
{
	Transport *transport; /* without owner */
	Address *from;        /* the address that counts it as a client until http_server_left() */
	char address[HTTP_ADDRESS];
	char *rest; /* data after the request, valid until the handler returns */
	size_t rest_len;
} HttpTaken;

/* Initialise the server's own members. */
extern void http_server_init(HttpServer *server);

/* Read a request from this transport, whose ownership passes to the server. */
extern void http_server_accept(HttpServer *server, Transport *transport);

/*
 * Called once a second while http_server_waits(): close connections at the end of their time
 * limits.
 */
extern void http_server_tick(HttpServer *server);
extern bool http_server_waits(const HttpServer *server);

/* A connection that was taken over is closed: its address has one client less. */
extern void http_server_left(HttpServer *server, Address *from);

/* Close all connections that are neither taken over nor kept. */
extern void http_server_stop(HttpServer *server);

/* Return the address that would count the connection as a client. */
extern const Address *http_from(const HttpConnection *connection);

/* Answer, and end the connection. Releases the response; the request becomes invalid. */
extern void http_respond(HttpConnection *connection, HttpResponse *response);

/*
 * Pass the connection to the caller; it is no HttpConnection any more. Returns false if it is
 * broken, and closes it.
 */
extern bool
http_take_over(HttpConnection *connection, HttpTaken *taken) __attribute__((warn_unused_result));

/* Keep the connection after the handler has returned. */
extern void http_keep(HttpConnection *connection, const HttpOwner *events, void *owner);

/*
 * Send the head of a response, which is released, on a kept connection. The request becomes
 * invalid.
 */
extern void http_begin(HttpConnection *connection, HttpResponse *response);

/*
 * Write a part of the body. Only allowed while http_ready() returns true, which means that
 * everything before was sent. Returns false if the connection is broken; closed() follows. None of
 * these functions calls an event before it returns. connection is an HttpConnection.
 */
extern bool http_ready(void *connection);
extern bool http_write(void *connection, const uint8_t *data, size_t len);
extern void http_wake(void *connection);

/*
 * The response is complete: end the connection when the client has taken it. The owner must not use
 * it any more.
 */
extern void http_finish(HttpConnection *connection);

/* Close the connection at once. The owner must not use it any more. */
extern void http_drop(HttpConnection *connection);

#endif /* GATEWAY_HTTP_SERVER_H */
