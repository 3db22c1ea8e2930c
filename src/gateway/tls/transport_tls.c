/*-------------------------------------------------------------------------
 *
 * transport_tls.c
 *	  TLS between a transport and its owner. See transport_tls.h.
 *
 * OpenSSL reads the records that have arrived, and writes records to the transport below, through a
 * BIO of ours. A record that the transport does not accept completely stays in OpenSSL, which
 * continues it when the same bytes are written again; this is what transport.h demands of owners.
 * So there is no queue here.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/tls/transport_tls.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "gateway/base/memory.h"
#include "gateway/tls/tls_records.h"

typedef enum TlsState
{
	TLS_NEW,       /* nothing has arrived */
	TLS_HANDSHAKE, /* not complete */
	TLS_OPEN,
	TLS_REFUSED, /* answered without OpenSSL: what arrives is discarded */
	TLS_DROPPED, /* closed() follows */
} TlsState;

typedef struct TlsTransport
{
	Transport base;
	Transport *below;
	TlsServer *server;
	SSL *ssl; /* NULL: no record of the handshake is complete */
	TlsState state;
	TAILQ_ENTRY(TlsTransport) in_waiting;
	TAILQ_ENTRY(TlsTransport) in_begun;
	bool waiting;   /* it is in the list */
	bool begun;     /* so is it here: the handshake has begun, and is not complete */
	bool running;   /* tls_read() uses it: don't free the memory */
	bool gone;      /* to be freed when it is not running */
	bool paused;    /* by the owner */
	bool blocked;   /* OpenSSL reads only after it has written what it answers by itself */
	bool woken;     /* the owner has called wake() */
	bool ended;     /* the peer will send nothing more, and the owner has been told */
	bool finishing; /* the owner has called finish(), and that is not done */
	/* What has arrived and OpenSSL has not read: in kept, or in the data just received. */
	const char *in;
	size_t in_len;
	size_t in_whole; /* of these, during the handshake: bytes of whole records, which it may read */
	char *kept;      /* NULL: none */
	TlsRecords records;
} TlsTransport;

#define TLS_PLAIN_BODY "this port speaks TLS: use https:// or wss://\n"
_Static_assert(sizeof(TLS_PLAIN_BODY) - 1 == 45, "the Content-Length below");

static const char tls_plain_answer[] =
	"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
	"Content-Length: 45\r\nConnection: close\r\n\r\n" TLS_PLAIN_BODY;

/* A fatal alert, illegal_parameter (RFC 8446, 6): what OpenSSL sends if a message is too large. */
static const char tls_large_answer[] = {0x15, 0x03, 0x03, 0, 2, 2, 47};

static const TransportEvents tls_below_events;

/*
 * The BIO: what OpenSSL reads and writes
 */

static int
tls_bio_read(BIO *bio, char *data, size_t len, size_t *done)
{
	TlsTransport *tls = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	*done = tls->state == TLS_HANDSHAKE ? tls->in_whole : tls->in_len;
	*done = len < *done ? len : *done;
	if (*done == 0)
	{
		BIO_set_retry_read(bio);
		return 0;
	}
	memcpy(data, tls->in, *done);
	tls->in += *done;
	tls->in_len -= *done;
	if (tls->state == TLS_HANDSHAKE)
		tls->in_whole -= *done;
	return 1;
}

static int
tls_bio_write(BIO *bio, const char *data, size_t len, size_t *done)
{
	TlsTransport *tls = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (tls->state == TLS_DROPPED ||
		!tls->below->functions->write(tls->below, (const uint8_t *) data, len, done))
		return 0;
	if (*done > 0)
		return 1;
	BIO_set_retry_write(bio);
	return 0;
}

static long
tls_bio_control(BIO *bio, int command, long number, void *pointer)
{
	(void) bio;
	(void) number;
	(void) pointer;
	return command == BIO_CTRL_FLUSH;
}

/*
 * The end
 */

/* The handshake is complete, or the connection ends. */
static void
tls_leave_begun(TlsTransport *tls)
{
	if (!tls->begun)
		return;
	TAILQ_REMOVE(&tls->server->begun, tls, in_begun);
	tls->server->nbegun--;
	tls->begun = false;
}

static void
tls_free(TlsTransport *tls)
{
	tls_leave_begun(tls);
	if (tls->waiting)
		TAILQ_REMOVE(&tls->server->waiting, tls, in_waiting);
	tls->waiting = false;
	tls->gone = true;
	if (tls->running)
		return;
	SSL_free(tls->ssl);
	free(tls->kept);
	free(tls);
}

static void
tls_drop(Transport *transport)
{
	TlsTransport *tls = (TlsTransport *) transport;

	if (tls->state == TLS_DROPPED)
		return;
	tls->state = TLS_DROPPED;
	tls->below->functions->drop(tls->below);
}

static void
tls_on_closed(void *owner)
{
	TlsTransport *tls = owner;

	tls->state = TLS_DROPPED;
	if (tls->base.owner != NULL)
		tls->base.events->closed(tls->base.owner);
	tls_free(tls);
}

/* The peer has closed its side of TLS, or of the connection below. */
static void
tls_end(TlsTransport *tls)
{
	if (tls->ended || tls->state == TLS_DROPPED)
		return;
	tls->ended = true;
	if (tls->base.owner == NULL || tls->base.events->ended == NULL)
		tls_drop(&tls->base);
	else
		tls->base.events->ended(tls->base.owner);
}

/* Send our end: of TLS, and then of the connection below. */
static void
tls_send_end(TlsTransport *tls)
{
	ERR_clear_error();
	if (tls->state == TLS_OPEN && SSL_shutdown(tls->ssl) < 0 &&
		SSL_get_error(tls->ssl, -1) == SSL_ERROR_WANT_WRITE)
	{
		tls->below->functions->wake(tls->below);
		return;
	}
	tls->finishing = false;
	tls->below->functions->finish(tls->below);
}

/*
 * Input
 */

/* Keep what OpenSSL has not read, and len more bytes. */
static void
tls_keep_input(TlsTransport *tls, const char *data, size_t len)
{
	char *kept = NULL;

	if (tls->in_len + len > 0)
		kept = memory_new(tls->in_len + len);
	if (tls->in_len > 0)
		memcpy(kept, tls->in, tls->in_len);
	if (len > 0)
		memcpy(kept + tls->in_len, data, len);
	free(tls->kept);
	tls->in = tls->kept = kept;
	tls->in_len += len;
}

/*
 * Stop what is below while the owner does not want to read, or OpenSSL cannot. Otherwise a client
 * that asks for new keys again and again, and does not read the answers, would fill the memory.
 */
static void
tls_regulate(TlsTransport *tls)
{
	if (tls->state != TLS_DROPPED)
		tls->below->functions->pause(tls->below, tls->paused || tls->blocked);
}

/* OpenSSL cannot go on. Returns true if that is only because of what is below. */
static bool
tls_waits_for_below(TlsTransport *tls, int result)
{
	int error = SSL_get_error(tls->ssl, result);

	if (error == SSL_ERROR_WANT_WRITE)
		tls->below->functions->wake(tls->below);
	return error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ;
}

/* Deliver one record. Returns false if there is none. */
static bool
tls_read_record(TlsTransport *tls)
{
	static char plain[TLS_RECORD_MAX];
	int n;

	ERR_clear_error();
	n = SSL_read(tls->ssl, plain, sizeof(plain));
	tls->blocked = n <= 0 && SSL_get_error(tls->ssl, n) == SSL_ERROR_WANT_WRITE;
	if (n > 0)
		tls->base.events->received(tls->base.owner, plain, (size_t) n);
	else if (tls_waits_for_below(tls, n))
		return false;
	else if (SSL_get_error(tls->ssl, n) == SSL_ERROR_ZERO_RETURN)
		tls_end(tls);
	else
		tls_drop(&tls->base);
	return n > 0;
}

/* Deliver what has arrived. Returns false if the transport is invalid. */
static bool
tls_read(TlsTransport *tls)
{
	bool blocked = tls->blocked;
	bool gone;

	tls->running = true;
	while (!tls->gone && tls->state == TLS_OPEN && !tls->paused && tls->base.owner != NULL &&
		   tls_read_record(tls))
		;
	tls->running = false;
	gone = tls->gone;
	if (gone)
	{
		tls_free(tls);
		return false;
	}
	/* OpenSSL reads nothing behind the peer's end of TLS, which must be ignored (RFC 8446, 6.1). */
	if (tls->ssl != NULL && (SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN) != 0)
		tls->in_len = 0;
	tls_keep_input(tls, NULL, 0);
	if (tls->blocked != blocked)
		tls_regulate(tls);
	return true;
}

/* Let tls_work() continue the handshake. Nothing more is read until then. */
static void
tls_wait(TlsTransport *tls)
{
	if (tls->waiting)
		return;
	tls->waiting = true;
	TAILQ_INSERT_TAIL(&tls->server->waiting, tls, in_waiting);
	tls->below->functions->pause(tls->below, true);
}

/* The handshake has failed. */
static void
tls_fail(TlsTransport *tls)
{
	(*tls->server->refused)++;
	tls_drop(&tls->base);
}

/* Refuse the connection with this answer, which needs no OpenSSL. */
static void
tls_refuse(TlsTransport *tls, const char *answer, size_t len)
{
	size_t taken;

	(*tls->server->refused)++;
	tls->state = TLS_REFUSED;
	tls->in_len = 0;
	tls_keep_input(tls, NULL, 0);
	(void) tls->below->functions->write(tls->below, (const uint8_t *) answer, len, &taken);
	tls->below->functions->finish(tls->below);
}

/* Give the handshake the memory that it needs. Returns false if there is none. */
static bool
tls_begin(TlsTransport *tls)
{
	TlsServer *server = tls->server;
	BIO *bio = BIO_new(server->method);

	tls->ssl = SSL_new(server->context);
	if (tls->ssl == NULL || bio == NULL)
	{
		BIO_free(bio);
		return false;
	}
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_accept_state(tls->ssl);
	if (server->nbegun == TLS_MAX_BEGUN)
	{
		TlsTransport *oldest = TAILQ_FIRST(&server->begun);

		tls_leave_begun(oldest);
		tls_fail(oldest);
	}
	TAILQ_INSERT_TAIL(&server->begun, tls, in_begun);
	server->nbegun++;
	return tls->begun = true;
}

/* Continue the handshake. */
static void
tls_handshake(TlsTransport *tls)
{
	int result;

	if (tls->ssl == NULL && !tls_begin(tls))
	{
		tls_fail(tls);
		return;
	}
	ERR_clear_error();
	result = SSL_do_handshake(tls->ssl);
	if (result == 1)
	{
		tls->state = TLS_OPEN;
		tls_leave_begun(tls);
	}
	else if (!tls_waits_for_below(tls, result))
	{
		tls_fail(tls);
		return;
	}
	if (tls_read(tls))
		tls_regulate(tls);
}

/* Bytes of the handshake. Whole records wait for their turn. */
static void
tls_take_handshake(TlsTransport *tls, const char *data, size_t len)
{
	tls->state = TLS_HANDSHAKE;
	tls_keep_input(tls, data, len);
	if (!tls_records_take(&tls->records, (const uint8_t *) tls->in, tls->in_len, &tls->in_whole))
		tls_refuse(tls, tls_large_answer, sizeof(tls_large_answer));
	else if (tls->in_whole > 0)
		tls_wait(tls);
}

static void
tls_on_received(void *owner, char *data, size_t len)
{
	TlsTransport *tls = owner;

	if (tls->state == TLS_NEW && *data >= 'A' && *data <= 'Z')
		tls_refuse(tls, tls_plain_answer, sizeof(tls_plain_answer) - 1);
	else if (tls->state == TLS_NEW || tls->state == TLS_HANDSHAKE)
		tls_take_handshake(tls, data, len);
	else if (tls->state == TLS_OPEN && tls->in_len > 0)
	{
		tls_keep_input(tls, data, len);
		(void) tls_read(tls);
	}
	else if (tls->state == TLS_OPEN)
	{
		tls->in = data;
		tls->in_len = len;
		(void) tls_read(tls);
	}
}

static void
tls_on_ended(void *owner)
{
	TlsTransport *tls = owner;

	if (tls->state == TLS_NEW || tls->state == TLS_HANDSHAKE)
		tls_drop(&tls->base);
	else if (tls_read(tls))
		tls_end(tls);
}

/*
 * Output
 */

static bool
tls_write(Transport *transport, const uint8_t *data, size_t len, size_t *taken)
{
	TlsTransport *tls = (TlsTransport *) transport;

	*taken = 0;
	/* Before the handshake there is nothing to answer. */
	if (tls->state != TLS_OPEN)
		return false;
	while (*taken < len)
	{
		size_t room = len - *taken < TLS_RECORD_MAX ? len - *taken : TLS_RECORD_MAX;
		int n;

		ERR_clear_error();
		n = SSL_write(tls->ssl, data + *taken, (int) room);
		if (n <= 0)
			return tls_waits_for_below(tls, n);
		*taken += (size_t) n;
	}
	return true;
}

static void
tls_wake(Transport *transport)
{
	TlsTransport *tls = (TlsTransport *) transport;

	tls->woken = true;
	tls->below->functions->wake(tls->below);
}

static void
tls_on_writable(void *owner)
{
	TlsTransport *tls = owner;

	if (tls->state == TLS_HANDSHAKE)
		tls_wait(tls);
	if (tls->state != TLS_OPEN)
		return;
	if (tls->finishing)
		tls_send_end(tls);
	if (tls->woken && tls->base.owner != NULL)
	{
		tls->woken = false;
		tls->running = true;
		tls->base.events->writable(tls->base.owner);
		tls->running = false;
	}
	if (tls->gone)
		tls_free(tls);
	else if (tls->in_len > 0 || tls->blocked)
		(void) tls_read(tls);
}

static void
tls_pause(Transport *transport, bool pause)
{
	TlsTransport *tls = (TlsTransport *) transport;

	tls->paused = pause;
	tls_regulate(tls);
	if (!pause && tls->in_len > 0)
		tls->below->functions->wake(tls->below);
}

static void
tls_finish(Transport *transport)
{
	TlsTransport *tls = (TlsTransport *) transport;

	tls->finishing = true;
	tls_send_end(tls);
}

static void
tls_probe(Transport *transport)
{
	Transport *below = ((TlsTransport *) transport)->below;

	below->functions->probe(below);
}

static bool
tls_peer(const Transport *transport, struct sockaddr_storage *address)
{
	Transport *below = ((const TlsTransport *) transport)->below;

	return below->functions->peer(below, address);
}

static Transport *
tls_keep(Transport *transport)
{
	TlsTransport *tls = (TlsTransport *) transport;
	Transport *kept = tls->below->functions->keep(tls->below);

	transport->owner = NULL;
	if (kept == NULL)
	{
		tls->state = TLS_DROPPED;
		tls_free(tls);
		return NULL;
	}
	tls->below = kept;
	tls->paused = tls->blocked = false;
	transport_own(kept, &tls_below_events, tls);
	if (tls->in_len > 0 && !tls->running)
		kept->functions->wake(kept);
	return transport;
}

static const TransportFunctions tls_functions = {
	.write = tls_write,
	.wake = tls_wake,
	.pause = tls_pause,
	.finish = tls_finish,
	.drop = tls_drop,
	.probe = tls_probe,
	.peer = tls_peer,
	.keep = tls_keep,
};

static const TransportEvents tls_below_events = {
	.received = tls_on_received,
	.writable = tls_on_writable,
	.ended = tls_on_ended,
	.closed = tls_on_closed,
};

/*
 * The server
 */

void
tls_server_init(TlsServer *server)
{
	server->context = NULL;
	TAILQ_INIT(&server->waiting);
	TAILQ_INIT(&server->begun);
	server->nbegun = 0;
	server->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "transport");
	(void) BIO_meth_set_read_ex(server->method, tls_bio_read);
	(void) BIO_meth_set_write_ex(server->method, tls_bio_write);
	(void) BIO_meth_set_ctrl(server->method, tls_bio_control);
}

void
tls_server_use(TlsServer *server, SSL_CTX *context)
{
	SSL_CTX_free(server->context);
	server->context = context;
}

Transport *
transport_tls_new(TlsServer *server, Transport *below)
{
	TlsTransport *tls;

	if (server->context == NULL)
	{
		transport_abandon(below);
		return NULL;
	}
	tls = memory_zeroed(sizeof(TlsTransport));
	tls->base.functions = &tls_functions;
	tls->below = below;
	tls->server = server;
	transport_own(below, &tls_below_events, tls);
	return &tls->base;
}

void
tls_work(TlsServer *server)
{
	TlsTransport *tls;

	turn_begin(&server->turn);
	while ((tls = TAILQ_FIRST(&server->waiting)) != NULL &&
		   !turn_is_over(&server->turn, server->now(), TLS_WORK_NS))
	{
		TAILQ_REMOVE(&server->waiting, tls, in_waiting);
		tls->waiting = false;
		if (tls->state == TLS_HANDSHAKE)
			tls_handshake(tls);
	}
}

bool
tls_waits(const TlsServer *server)
{
	return !TAILQ_EMPTY(&server->waiting);
}
