/*-------------------------------------------------------------------------
 *
 * jws_internal.h
 *	  What jws.c and jws_key.c share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_JWS_INTERNAL_H
#define PG_NOTIFYD_JWS_INTERNAL_H

#include <openssl/evp.h>

#include "ext/access/jws.h"

/* What a key is for. P-256 and P-384 are two kinds, because an algorithm has one curve. */
typedef enum JwsKind
{
	JWS_SECRET,
	JWS_RSA,
	JWS_P256,
	JWS_P384,
	JWS_ED25519,
} JwsKind;

typedef struct JwsKey
{
	JwsKind kind;
	int algorithm;                /* a JwsAlgorithm; -1: every one of its kind */
	char kid[SLICE_MAX_NAME + 1]; /* empty: none */
	EVP_PKEY *public_key;         /* NULL for a secret */
	unsigned char *secret;
	size_t secret_length;
} JwsKey;

struct JwsKeys
{
	int n;
	JwsKey keys[JWS_MAX_KEYS];
};

/* An algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1). */
typedef struct JwsAlgorithmRow
{
	const char *name;
	JwsKind kind;
	const EVP_MD *(*hash)(void); /* NULL: the algorithm has its own */
} JwsAlgorithmRow;

extern const JwsAlgorithmRow jws_algorithms[JWS_ALGORITHMS];

/* Number of the algorithm with this name, or -1. */
extern int jws_algorithm_number(const char *name);

/* Set *refusal, and return false. */
extern bool
jws_refuse(JwsRefusal *refusal, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * A member of a header or key, which is optional and a string of less than size bytes. An absent
 * one is the empty string. False with *refusal otherwise.
 */
extern bool
jws_text(JsonSlice object, const char *name, char *buf, size_t size, JwsRefusal *refusal);

#endif /* PG_NOTIFYD_JWS_INTERNAL_H */
