/*-------------------------------------------------------------------------
 *
 * tls_records.h
 *	  What a client sends during a handshake, before OpenSSL reads it.
 *
 * OpenSSL accepts a ClientHello of 128 kB, and allocates memory for it when the first four bytes
 * say so. Real ones take up to about 4 kB. So this module finds the ClientHello in the records
 * (RFC 8446, 5.1), the second one after a HelloRetryRequest too, and limits its size. The other
 * messages that OpenSSL accepts from a client are short.
 *
 * This module has no socket, loop or clock, and allocates nothing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_TLS_RECORDS_H
#define GATEWAY_TLS_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_RECORD_MAX (16 * 1024)    /* plain bytes of a record (RFC 8446, 5.1) */
#define TLS_HELLO_MAX  TLS_RECORD_MAX /* bytes of a ClientHello that is accepted */

/* All zero: nothing has been taken. */
typedef struct TlsRecords
{
	size_t hello_left; /* bytes of the ClientHello that follow in further records */
	bool hello_over;   /* another message has begun: no ClientHello follows */
	bool foreign;      /* what follows is no TLS */
} TlsRecords;

/*
 * data has what was taken and not consumed, *whole bytes of it, and what has arrived since. Adds the
 * whole records among that to *whole. What is no record of TLS counts as whole with all that follows,
 * because OpenSSL refuses it. Returns false if a ClientHello is too large, or goes on with something else.
 */
extern bool tls_records_take(TlsRecords *records, const uint8_t *data, size_t len, size_t *whole)
	__attribute__((warn_unused_result));

#endif /* GATEWAY_TLS_RECORDS_H */
