/*-------------------------------------------------------------------------
 *
 * transport.h
 *	  What carries a connection's bytes, behind a small table of functions.
 *
 * HTTP and WebSocket connections know nothing else of what is below them, a socket or TLS. A
 * transport never waits. It reports by events what happens to it, to the owner that it
 * has at the time; the events of a transport without owner reach nobody.
 *
 *	  transport_poll.c	a socket that the loop watches: from accept() on, and cheap to end
 *	  transport_lws.c	a socket that libwebsockets watches: those of clients
 *
 * A transport that comes to lie between these and their owner (TLS) is the owner of the one
 * below, and has functions of its own for the one above.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_TRANSPORT_H
#define GATEWAY_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

typedef struct Transport Transport;

typedef struct TransportEvents
{
	/* At least one byte has come. The owner may change the bytes in place, until it returns. */
	void (*received)(void *owner, char *data, size_t len);
	/* It may take more, as wake() asked to be told. */
	void (*writable)(void *owner);
	/*
	 * The other side has ended the connection, or it is broken, or drop() was called. The transport
	 * is no more.
	 */
	void (*closed)(void *owner);
} TransportEvents;

typedef struct TransportFunctions
{
	/* Write as much as it takes now; *taken is how much. False: the connection is broken. */
	bool (*write)(Transport *transport, const uint8_t *data, size_t len, size_t *taken);
	/* Call writable() as soon as it takes more, but not before this returns. */
	void (*wake)(Transport *transport);
	/* Read no more, or read on: then what waits is received after this returns. */
	void (*pause)(Transport *transport, bool pause);
	/* Nothing more is written: let the other side see the end. It is still read. */
	void (*finish)(Transport *transport);
	/* End it at once. closed() follows, but not before this returns. */
	void (*drop)(Transport *transport);
	/* Drop it if the other side is gone, also where it is not read at present. */
	void (*probe)(Transport *transport);
	/* The address of the other side. False: that cannot be had (any more). */
	bool (*peer)(const Transport *transport, struct sockaddr_storage *address);
	/*
	 * The connection is to live long: give the transport that carries it from now on, which has no
	 * owner, in place of this one. NULL: that failed, and the connection is closed. No event is
	 * reported to this one's owner.
	 */
	Transport *(*keep)(Transport *transport);
} TransportFunctions;

struct Transport
{
	const TransportFunctions *functions;
	const TransportEvents *events;
	void *owner; /* NULL: nobody */
};

extern void transport_own(Transport *transport, const TransportEvents *events, void *owner);

/* End it at once, without any event. */
extern void transport_abandon(Transport *transport);

/* Of what was sent, this the transport has not taken yet. One that is all zero has nothing. */
typedef struct TransportRest
{
	uint8_t *data; /* NULL: nothing */
	size_t len;
	size_t done; /* bytes of it that were taken since */
} TransportRest;

/*
 * Send data, and keep in rest, where nothing may be kept, what is not taken. writable() is called
 * for it: then the owner flushes. Both return false where the connection is broken.
 */
extern bool transport_send(Transport *transport, TransportRest *rest, const uint8_t *data,
						   size_t len) __attribute__((warn_unused_result));
extern bool
transport_flush(Transport *transport, TransportRest *rest) __attribute__((warn_unused_result));
extern void transport_rest_free(TransportRest *rest);

#endif /* GATEWAY_TRANSPORT_H */
