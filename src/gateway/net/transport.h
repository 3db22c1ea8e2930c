/*-------------------------------------------------------------------------
 *
 * transport.h
 *	  The lower end of a connection, behind a small table of functions.
 *
 * HTTP and WebSocket connections know nothing else about what is below them, a socket or TLS. A
 * transport never waits. It reports events to its present owner; without an owner they are ignored.
 *
 *	  transport_poll.c	a socket that the loop watches: from accept() on, cheap to close
 *	  transport_lws.c	a socket that libwebsockets watches: for clients
 *
 *	  tls/transport_tls.c	TLS over one of these: their owner, with functions of its own for its own
 *						owner
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
	/* At least one byte has arrived. The owner may change the bytes in place until it returns. */
	void (*received)(void *owner, char *data, size_t len);
	/* The transport accepts more data, after wake(). */
	void (*writable)(void *owner);
	/*
	 * The peer will send nothing more. It may have closed the connection, or only its own side of
	 * it and still read what is written. NULL: closed() is called instead.
	 */
	void (*ended)(void *owner);
	/*
	 * The peer has closed the connection, it is broken, or drop() was called. The transport becomes
	 * invalid.
	 */
	void (*closed)(void *owner);
} TransportEvents;

typedef struct TransportFunctions
{
	/*
	 * Write as much as possible now; *taken is the number of bytes. The next write begins with those
	 * that were not taken, all of them. Returns false if the connection is broken.
	 */
	bool (*write)(Transport *transport, const uint8_t *data, size_t len, size_t *taken);
	/* Call writable() when more data is accepted, after this has returned. */
	void (*wake)(Transport *transport);
	/* Stop or resume reading. After resuming, waiting data is delivered when this has returned. */
	void (*pause)(Transport *transport, bool pause);
	/* Nothing more will be written: send the end to the peer. Reading continues. */
	void (*finish)(Transport *transport);
	/* Close the connection at once. closed() is called after this has returned. */
	void (*drop)(Transport *transport);
	/* Drop the connection if the peer is gone, even if it is not being read. */
	void (*probe)(Transport *transport);
	/*
	 * Get the address of the peer, before keep(). Returns false if it is not available (any more).
	 */
	bool (*peer)(const Transport *transport, struct sockaddr_storage *address);
	/* The peer is a proxy: peer() returns this address of its client. Only of sockets. */
	void (*set_peer)(Transport *transport, const struct sockaddr_storage *address);
	/*
	 * Prepare for a long life: return the transport that replaces this one, without an owner.
	 * Returns NULL if that failed, and closes the connection. Reports no event to the owner of this
	 * one.
	 */
	Transport *(*keep)(Transport *transport);
} TransportFunctions;

struct Transport
{
	const TransportFunctions *functions;
	const TransportEvents *events;
	void *owner; /* NULL: none */
};

extern void transport_own(Transport *transport, const TransportEvents *events, void *owner);

/* Close the connection at once, without an event. */
extern void transport_abandon(Transport *transport);

/* Data that the transport has not accepted yet. All zero: none. */
typedef struct TransportRest
{
	uint8_t *data; /* NULL: none */
	size_t len;
	size_t done; /* bytes of it that were accepted since */
} TransportRest;

/*
 * transport_send() sends data, after what is in rest, and keeps what is not accepted there. When
 * writable() is called, the owner calls transport_flush(). Both return false if the connection is
 * broken.
 */
extern bool transport_send(Transport *transport, TransportRest *rest, const uint8_t *data,
						   size_t len) __attribute__((warn_unused_result));
extern bool
transport_flush(Transport *transport, TransportRest *rest) __attribute__((warn_unused_result));
extern void transport_rest_free(TransportRest *rest);

#endif /* GATEWAY_TRANSPORT_H */
