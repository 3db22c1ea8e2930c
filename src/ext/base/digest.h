/*-------------------------------------------------------------------------
 *
 * digest.h
 *	  SHA-256.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_DIGEST_H
#define PG_NOTIFYD_DIGEST_H

#include "postgres.h"

#define DIGEST_SIZE 32

/* Compute the SHA-256 of length bytes. digest has DIGEST_SIZE bytes. Raises an error if OpenSSL fails. */
extern void digest_sha256(const char *data, size_t length, uint8 *digest);

#endif /* PG_NOTIFYD_DIGEST_H */
