/*-------------------------------------------------------------------------
 *
 * http_server.h
 *	  HTTP/1 connections: requests, their answers, and what becomes a WebSocket or a stream.
 *
 * The server reads requests from each connection, with limits on size, time and number. The router
 * finds a request's handler, which answers with exactly one of
 *
 *	- http_respond(): a complete response;
 *	- http_take_over(): the connection uses another protocol from then on;
 *	- http_keep(), and later one of these;
 *	- http_keep() and http_begin(), then http_write() and http_finish(): a response in parts, without a
 *	  time limit.
 *
 * Then the connection is kept alive for the next request, if the client wants that and the server
 * has read all of the request. Requests that arrive meanwhile wait: they are answered one after the
 * other, and the server reads no more than HTTP_MAX_AHEAD bytes ahead.
 *
 * A connection is pending until it is taken over or kept, and again when a kept one has been
 * answered. The number of pending ones is limited; address.h describes which one is closed. A kept
 * connection counts as a client of its address, and its owner limits the number.
 *
 * The address is the peer's until a request of a trusted proxy names its client, see
 * http_forwarded.h. From then on the connection counts as that client's, until its next request.
 *
 * The bodies of requests and the responses that clients have not taken yet share HttpServer's
 * max_memory. An address may use as much of it as is free, so one address never uses more than
 * half, and leaves others something. A body for which there is no room is refused with 503; a
 * client that does not take a response for which there is no room is disconnected.
 *
 * A client may close its side of the connection after its last request, and is answered
 * nevertheless, if the owner of a kept one agrees. That looks as if the client had closed the
 * connection. If it is not answered within HTTP_PROBE_MS, the server sends it "100 Continue", which
 * clients ignore. A closed connection answers that with a reset, and the owner learns that the
 * client is gone. HTTP/1.0 has no such response, so there the owner learns it when it answers.
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
#include "wire/network.h"
#include "gateway/http/http_request.h"
#include "gateway/http/http_response.h"
#include "gateway/http/http_router.h"
#include "gateway/net/transport.h"

#define HTTP_READ_MS   10000 /* for the whole head, from its first byte */
#define HTTP_BODY_MS   30000 /* for the whole body */
#define HTTP_SEND_MS   10000 /* for the client to accept a part of a response */
#define HTTP_LINGER_MS 2000  /* for the client to close the connection after it */
#define HTTP_PROBE_MS  1000  /* after the client's end of the connection */
/*
 * Maximum bytes that the server discards meanwhile. It must be more than the buffers of both sockets
 * hold: a client that is reset before it has read the answer loses the answer.
 */
#define HTTP_LINGER_BYTES (16u * 1024 * 1024)
#define HTTP_MAX_PENDING                                                                           \
	4096 /* for one more, a connection of the address with most pending ones is closed */
#define HTTP_MAX_MEMORY (256u * 1024 * 1024) /* bytes of bodies and responses */
#define HTTP_MAX_AHEAD  16384                /* then the next piece is the last one */

typedef struct HttpConnection HttpConnection;

typedef enum HttpState
{
	HTTP_READING_HEAD,
	HTTP_READING_BODY,
	HTTP_KEPT,
	HTTP_KEPT_ENDED, /* kept, and the client has closed its side of the connection */
	HTTP_SENDING,
	HTTP_IDLE, /* between two requests */
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
	 * Decide whether a request goes to its handler. There is a route for it, or it is an OPTIONS
	 * that the server answers. If it returns false, the response contains the reason.
	 */
	bool (*admit)(const HttpConnection *connection, const HttpRequest *request,
				  const HttpMatch *match, void *arg, HttpResponse *response);
	/* Add headers to any response to a request whose path exists. */
	void (*complete)(const HttpRequest *request, const HttpMatch *match, void *arg,
					 HttpResponse *response);
	char *const *proxies; /* trusted proxies, see http_forwarded.h; NULL: none */
	void *arg;            /* of admit, complete and the handlers */
	/*
	 * Numbers of requests answered with a status of 400 or more, by HttpResponse.refusal. Those to
	 * the API do not count as WIRE_REFUSED_REQUEST.
	 */
	uint64_t *refused;
	/* Called for these requests, if refusal is not WIRE_REFUSED_REQUEST. NULL: nothing to do. */
	void (*refuse)(const HttpConnection *connection, const HttpRequest *request,
				   WireRefusal refusal, void *arg);
	uint32_t max_pending;
	size_t max_memory; /* bytes of the bodies of requests and of responses */
	/* Set by the server. */
	TAILQ_HEAD(, HttpConnection) states[HTTP_STATES]; /* in the order of their time limits */
	uint32_t count_pending;
	uint32_t count_kept;
	size_t memory; /* used of max_memory */
	bool stopping; /* no connection is kept alive any more */
	Addresses addresses;
} HttpServer;

/* The functions of the owner of a kept connection. */
typedef struct HttpOwner
{
	/* Everything written was sent, or http_wake() was called. May also be called without a reason. */
	void (*writable)(void *owner);
	/*
	 * The client is gone, or the connection was closed for lack of memory. The request is invalid.
	 * Not called after http_respond(), http_finish() and http_drop().
	 */
	void (*closed)(void *owner);
	/*
	 * The client may close its side of the connection and still read the answer. Otherwise it is
	 * then gone.
	 */
	bool half_closed;
	/*
	 * The client has closed its side after the response had begun. Whether it is gone only writing
	 * shows. NULL: the owner need not know.
	 */
	void (*ended)(void *owner);
} HttpOwner;

/* A connection that uses another protocol from now on. */
typedef struct HttpTaken
{
	Transport *transport; /* without owner */
	Address *from;        /* the address that counts it as a client until http_server_left() */
	char address[NETWORK_TEXT]; /* see network_text() */
	char *rest;                 /* data after the request, which the caller frees; NULL: none */
	size_t rest_len;
} HttpTaken;

/* Initialise the server's own members. */
extern void http_server_init(HttpServer *server);

/* Read requests from this transport, whose ownership passes to the server. */
extern void http_server_accept(HttpServer *server, Transport *transport);

/*
 * Called once a second while http_server_waits(): close connections at the end of their time
 * limits.
 */
extern void http_server_tick(HttpServer *server);
extern bool http_server_waits(const HttpServer *server);

/* A connection that was taken over is closed: its address has one client less. */
extern void http_server_left(HttpServer *server, Address *from);

/* Close all connections that are neither taken over nor kept; these are no longer kept alive. */
extern void http_server_stop(HttpServer *server);

/* Return the address of the present request's client: the peer's, or what trusted proxies say. */
extern const struct sockaddr_storage *http_client(const HttpConnection *connection);

/* Return the address that would count the connection as a client. */
extern Address *http_from(const HttpConnection *connection);

/* Get the address of the connection's other end, perhaps a proxy. Returns false if it is not available. */
extern bool http_peer(const HttpConnection *connection, struct sockaddr_storage *address);

/*
 * Answer, in the handler or later. Releases the response; request and connection become invalid for
 * the caller. No handler is called before it returns. On routes of the API, a line of text with a
 * status of 400 or more is sent as {"message": ...}.
 */
extern void http_respond(HttpConnection *connection, HttpResponse *response);

/*
 * Pass the connection to the caller; it is no HttpConnection any more, and the request becomes
 * invalid. Returns false if it is broken, and closes it.
 */
extern bool
http_take_over(HttpConnection *connection, HttpTaken *taken) __attribute__((warn_unused_result));

/*
 * Keep the connection after the handler has returned. The request stays valid until it is answered
 * or the connection is closed.
 */
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

/* End the connection, because the client is to get nothing more. closed() follows. */
extern void http_abort(void *connection);

/*
 * The response is complete. The owner must not use the connection any more. No handler is called
 * before it returns.
 */
extern void http_finish(HttpConnection *connection);

/*
 * Close the connection at once, for example because the rest of a response is not available. The
 * owner must not use it any more.
 */
extern void http_drop(HttpConnection *connection);

#endif /* GATEWAY_HTTP_SERVER_H */
