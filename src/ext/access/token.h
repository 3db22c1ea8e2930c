/*-------------------------------------------------------------------------
 *
 * token.h
 *	  Who a client is, by its token: a JSON Web Token (RFC 7519), with PostgREST's rules.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_TOKEN_H
#define PG_NOTIFYD_TOKEN_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "ext/base/digest.h"

/* The clocks of an issuer and of this server may differ by so many seconds. */
#define TOKEN_SKEW 30

#define TOKEN_HASH_SIZE DIGEST_SIZE

/* What a valid token says. Text is in the encoding of the database. */
typedef struct Identity
{
	Oid role;
	char role_name[NAMEDATALEN];
	char *subject;           /* claim "sub"; NULL: none */
	char *session_id;        /* claim "session_id"; NULL: none */
	TimestampTz issued_at;   /* claim "iat"; DT_NOBEGIN: none */
	TimestampTz expires_at;  /* claim "exp"; DT_NOEND: never */
	TimestampTz valid_until; /* TOKEN_SKEW later: from then on the token is refused */
	Jsonb *claims;
	uint8 hash[TOKEN_HASH_SIZE]; /* SHA-256 of the token's text */
	char *user; /* of a token of token_own.h: which state of its user; NULL: another token */
} Identity;

/*
 * Verify a token at the time now: its signature, times and audience, and that pg_notifyd's
 * authenticator_role may SET ROLE to the role that it names. Returns true with *identity, or false
 * with *refusal: one line of text for a developer, without any part of the token but names. Both are
 * allocated in the current memory context.
 *
 * Needs a transaction, and must not run in a parallel worker. Raises no error for what the token
 * contains; errors such as a cancelled query or a lack of memory pass through. Takes at most
 * JWS_MAX_KEYS verifications of a signature.
 */
extern bool
token_verify(const char *token, size_t length, TimestampTz now, Identity *identity, char **refusal);

/*
 * The claims of a token that was verified before, from its second part, with *issued_at as above;
 * NULL if that is not base64url of a JSON object. Raises errors about the object.
 */
extern Jsonb *token_claims(const char *part, size_t length, TimestampTz *issued_at);

/*
 * Whether tokens may choose a role: it exists, and pg_notifyd.authenticator_role exists, may LOGIN
 * and may SET ROLE to it. Returns the role, or InvalidOid with *refusal. Needs a transaction. The
 * answer holds until a role, a membership or the setting changes.
 */
extern Oid token_role(const char *name, char **refusal);

#endif /* PG_NOTIFYD_TOKEN_H */
