/*-------------------------------------------------------------------------
 *
 * jws.h
 *	  Signed tokens: JSON Web Signature in the compact form (RFC 7515), verified with OpenSSL.
 *
 * Needs nothing of PostgreSQL. Rules beyond RFC 7515 and 7518 come from RFC 8725: a key serves one
 * family of algorithms only, "none" and unknown algorithms are refused, and a token's own header
 * never supplies a key.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_JWS_H
#define PG_NOTIFYD_JWS_H

#include <stdbool.h>
#include <stddef.h>

#include "ext/access/json_slice.h"

/* Longer tokens are refused unread, in bytes. */
#define JWS_MAX_SIZE 8192

/* Keys of one set, and the bytes of a JWKS document. */
#define JWS_MAX_KEYS     32
#define JWS_MAX_SET_SIZE (128 * 1024)

/* The least bytes of a secret. An algorithm needs at least as many as its hash has. */
#define JWS_MIN_SECRET 32

/* RSA keys have from ... to ... bits. */
#define JWS_MIN_RSA 2048
#define JWS_MAX_RSA 8192

typedef enum JwsAlgorithm
{
	JWS_HS256,
	JWS_HS384,
	JWS_HS512,
	JWS_RS256,
	JWS_RS384,
	JWS_RS512,
	JWS_ES256,
	JWS_ES384,
	JWS_EDDSA,
	JWS_ALGORITHMS
} JwsAlgorithm;

/* Why something is refused: a text in ASCII for a developer, without any part of a secret. */
typedef struct JwsRefusal
{
	char text[256];
} JwsRefusal;

/* A token as split and decoded. It points into itself and into the token's text. */
typedef struct JwsToken
{
	JwsAlgorithm algorithm;
	char kid[SLICE_MAX_NAME + 1]; /* empty if the header has none */
	const unsigned char *payload;
	size_t payload_length;
	const unsigned char *signature;
	size_t signature_length;
	const char *signed_text; /* header.payload as in the token */
	size_t signed_length;
	unsigned char decoded[JWS_MAX_SIZE];
} JwsToken;

/* Keys to verify with. */
typedef struct JwsKeys JwsKeys;

/*
 * Split a token, decode it, and read its header. False with *refusal if it is no compact JWS, or
 * demands what is not supported. Neither signature nor payload is looked at.
 */
extern bool jws_parse(const char *text, size_t length, JwsToken *token, JwsRefusal *refusal);

/* The payload as a JSON object, which lives as long as the token; false with *refusal if it is none. */
extern bool jws_claims(const JwsToken *token, JsonSlice *claims, JwsRefusal *refusal);

/* An empty set of keys; NULL if there is no memory. jws_keys_free() overwrites secrets. */
extern JwsKeys *jws_keys_new(void);
extern void jws_keys_free(JwsKeys *keys);

extern int jws_keys_count(const JwsKeys *keys);

/* Add a secret for HS256, HS384 and HS512. False with *refusal if it is too short. */
extern bool
jws_keys_add_secret(JwsKeys *keys, const void *secret, size_t length, JwsRefusal *refusal);

/*
 * Add the keys of a JWKS document, or a single JWK (RFC 7517). Keys that are for something else
 * than these algorithms are left out, as RFC 7517 section 5 demands. False with *refusal if the
 * document or one of its other keys is wrong, or if none is left.
 */
extern bool jws_keys_add_set(JwsKeys *keys, const char *text, size_t length, JwsRefusal *refusal);

/*
 * Whether one of the keys has made the token's signature. Only keys for the token's algorithm are
 * tried, and of those with a kid only the one that the token names, if it names one. Takes at most
 * JWS_MAX_KEYS verifications.
 */
extern bool jws_verify(const JwsToken *token, const JwsKeys *keys, JwsRefusal *refusal);

/*
 * Decode base64url without padding (RFC 4648 section 5, RFC 7515 section 2), into at least
 * length * 3 / 4 bytes. Returns the number of bytes, or -1 if a character is not of the alphabet,
 * the length is impossible, or the last character has bits that no encoder sets.
 */
extern int jws_decode(const char *text, size_t length, unsigned char *to);

#endif /* PG_NOTIFYD_JWS_H */
