/*-------------------------------------------------------------------------
 *
 * transport_tls.h
 *	  TLS between a transport and its owner.
 *
 *	  owner of the connection, for example the HTTP server
 *		 │ ▲	plain bytes
 *		 ▼ │
 *	  transport_tls
 *		 │ ▲	records
 *		 ▼ │
 *	  transport below: a socket
 *
 * It belongs to its owner from the start, so the owner's limits on number and time of connections
 * hold for handshakes too. The owner gets no event before the handshake is complete, except closed().
 *
 * Handshakes cost far more than anything else here. So what arrives for them waits, and
 * tls_work(), which is called in each round of the loop, spends a limited time on it. A flood of
 * handshakes then delays other handshakes, and events only by that time.
 *
 * They also need much memory, up to 60 kB each. A handshake gets it when a whole record has arrived,
 * so a client that sends less costs only what it has sent. If TLS_MAX_BEGUN handshakes have begun,
 * one more ends the oldest of them: it has waited for its client for as long as the gateway needs
 * to begin so many.
 *
 * A connection that begins with an HTTP request instead of TLS is answered in plain text, and closed.
 *
 * This module has no socket and no loop. The clock is passed through TlsServer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_TRANSPORT_TLS_H
#define GATEWAY_TRANSPORT_TLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <openssl/ssl.h>

#include "gateway/base/turn.h"
#include "gateway/net/transport.h"

#define TLS_WORK_NS   2000000 /* that tls_work() takes, besides the handshake that exceeds it */
#define TLS_MAX_BEGUN 1024    /* handshakes that have memory for OpenSSL */

struct TlsTransport;

typedef struct TlsServer
{
	/* Set by the caller of tls_server_init(). */
	uint64_t (*now)(void); /* nanoseconds of a clock that never goes back */
	uint64_t *refused;     /* number of handshakes that failed */
	/* Set by tls_server_init(). */
	SSL_CTX *context; /* for new connections; NULL: they are closed */
	BIO_METHOD *method;
	TAILQ_HEAD(, TlsTransport) waiting; /* handshakes that can go on, in the order of arrival */
	TAILQ_HEAD(, TlsTransport) begun;   /* and those that have begun, the oldest first */
	uint32_t nbegun;
	Turn turn; /* of tls_work() */
} TlsServer;

/* Initialise the server's own members. */
extern void tls_server_init(TlsServer *server);

/* Use this context for connections from now on, and free the last one when none uses it. */
extern void tls_server_use(TlsServer *server, SSL_CTX *context);

/*
 * Return a transport without owner over this one, which it owns and which has none. Returns NULL if
 * there is no context; the transport below is then closed.
 */
extern Transport *transport_tls_new(TlsServer *server, Transport *below);

/* Continue waiting handshakes. */
extern void tls_work(TlsServer *server);

/* Return true if some still wait. */
extern bool tls_waits(const TlsServer *server);

#endif /* GATEWAY_TRANSPORT_TLS_H */
