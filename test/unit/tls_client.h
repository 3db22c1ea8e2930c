/* TLS over a transport that a test controls. The client is OpenSSL's, over memory. */
#ifndef TLS_CLIENT_H
#define TLS_CLIENT_H

#include "fake.h"

#include "gateway/tls/transport_tls.h"

#define LARGE 300000

/* A client, and the server's side of its connection. */
typedef struct Client
{
	SSL *ssl;
	BIO *from_server;
	BIO *to_server;
	Fake fake;
	Transport *transport;
} Client;

extern TlsServer tls_server;
extern uint64_t tls_refused;
extern uint64_t tls_step; /* that the clock goes with each look at it */
extern SSL_CTX *client_context;
extern char chain[4096];
extern int key_len;

/* What the owner of a connection got. */
extern char owned[LARGE + 1];
extern size_t owned_len;
extern int owned_writable;
extern int owned_ended;
extern int owned_closed;
extern Transport *owned_pause; /* is paused at the next data */

extern const TransportEvents owner_events;
extern const TransportEvents owner_without_end;

/* Make a certificate and its key, and a context with this much of them. */
extern void make_certificate(void);
extern SSL_CTX *make_context(const char *certificate, int len);

/* Begin a connection; carry the handshake to its end; let both be gone. */
extern void client_begin(Client *client, const TransportEvents *events);
extern void client_open(Client *client, const TransportEvents *events);
extern void client_end(Client *client);

/* Take what the server has sent. */
extern void client_take(Client *client);

/* Carry what both have sent, until nothing more is. */
extern void client_carry(Client *client);

extern void client_write(Client *client, const char *text);

/* Return how much memory is allocated; 0 under AddressSanitizer. */
extern size_t used_memory(void);

extern int tls_setup(void **state);
extern int tls_teardown(void **state);

#define TLS_TEST(test) cmocka_unit_test_setup_teardown(test, tls_setup, tls_teardown)

#endif /* TLS_CLIENT_H */
