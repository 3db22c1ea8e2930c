/*-------------------------------------------------------------------------
 *
 * tls_context.h
 *	  What all TLS connections share: certificate, key, and what is offered.
 *
 * TLS 1.2 and 1.3. With TLS 1.2 only cipher suites with forward secrecy and authenticated
 * encryption (ECDHE with AES-GCM or ChaCha20-Poly1305); groups, signatures and the suites of TLS 1.3
 * are the library's defaults. http/1.1 is the only protocol of ALPN. There is no compression, no
 * renegotiation and no early data.
 *
 * Sessions are not resumed. Tickets would have to be shared by all gateways and their keys replaced
 * often, because whoever learns a key can read what its tickets protect. A resumed handshake saves
 * only the signature, which with an ECDSA key is a small part of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_TLS_CONTEXT_H
#define GATEWAY_TLS_CONTEXT_H

#include <stdint.h>

#include <openssl/ssl.h>

#include "wire/wire.h"

/*
 * Return a new context with this chain of certificates (PEM, the server's own first) and its private
 * key (DER). min_version is the lowest version of the protocol, as in its messages (RFC 8446, 4.2.1).
 * Returns NULL if they cannot be used, and sets *problem to the reason, for the log; it is valid
 * until the next call. Opens no file if another context was created before.
 */
extern SSL_CTX *tls_context_new(WireBytes chain, WireBytes key, uint16_t min_version,
								const char **problem) __attribute__((warn_unused_result));

/* The reason of the library's last error, for the log. Valid until the next call. Clears the errors. */
extern const char *tls_context_problem(void);

#endif /* GATEWAY_TLS_CONTEXT_H */
