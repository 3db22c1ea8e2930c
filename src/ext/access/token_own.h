/*-------------------------------------------------------------------------
 *
 * token_own.h
 *	  Tokens that the server issues itself, for users of WAMP-CRA.
 *
 * Feeds and workers verify them like those of clients, with these differences: a token whose header has
 * the kid TOKEN_OWN is verified only with a key that the server makes when it starts, and that key
 * verifies no others. The issuer is TOKEN_OWN, which others must not be. A token is for one database. And it is
 * valid only until its user is changed or dropped. Gateways keep these tokens, and clients do not get them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_TOKEN_OWN_H
#define PG_NOTIFYD_TOKEN_OWN_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "ext/access/jws.h"
#include "ext/access/wamp_user.h"

#define TOKEN_OWN "pg_notifyd.wampcra"

/* Issue a token for a user who has authenticated, and whose role has this name. */
extern char *token_own_issue(const WampUser *user, const char *role, TimestampTz now);

/* Return true if the token says to be one of these. */
extern bool token_own_is(const JwsToken *token);

/* Return true if the server has signed it. Otherwise sets *refusal. */
extern bool token_own_verify(const JwsToken *token, JwsRefusal *refusal);

/*
 * Return true if claims are for this database and have the right issuer; own: the server has signed them. Otherwise sets
 * *refusal.
 */
extern bool token_own_check(JsonSlice claims, bool own, JwsRefusal *refusal);

/* The claim that says which state of a user a token is for: WampUser.salt. */
#define TOKEN_OWN_USER "user"

#endif /* PG_NOTIFYD_TOKEN_OWN_H */
