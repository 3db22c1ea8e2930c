/*-------------------------------------------------------------------------
 *
 * wamp_user.h
 *	  Users who authenticate by WAMP-CRA, in the table notifyd.wamp_user.
 *
 * The table does not have their secrets, but what clients derive of these by PBKDF2. That is the key with
 * which clients sign challenges, so it is as good as the secret for this server, and for no other.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WAMP_USER_H
#define PG_NOTIFYD_WAMP_USER_H

#include "postgres.h"

/* Bytes that are derived of a secret. */
#define WAMP_USER_KEY_SIZE 32

/* Bytes of base64 of so many bytes, with a NUL at the end. */
#define WAMP_USER_BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)

typedef struct WampUser
{
	char *authid;
	Oid role;       /* InvalidOid: nobody can sign for the user, who does not exist */
	char *salt;     /* ASCII, another one after each change of the user */
	int iterations; /* of PBKDF2 */
	int keylen;     /* bytes that it makes */
	char *key;      /* these, in base64: the key of HMAC-SHA256 */
} WampUser;

/*
 * Look a user up. A user who does not exist is made up, always with the same salt, so that a challenge does
 * not tell who exists; the key is then a random one. Needs a transaction.
 */
extern void wamp_user_find(const char *authid, WampUser *user);

/* Return true if the user exists, with this salt and a role of this name. Needs a transaction. */
extern bool wamp_user_is(const char *authid, const char *salt, const char *role);

/* Write size bytes as base64, with a NUL at the end, into WAMP_USER_BASE64_SIZE(size) bytes. */
extern void wamp_user_base64(const uint8 *bytes, int size, char *to);

/* Compute HMAC-SHA256 of a text, DIGEST_SIZE bytes. Raises an error if OpenSSL fails. */
extern void
wamp_user_hmac(const char *key, int key_length, const char *text, int length, uint8 *digest);

#endif /* PG_NOTIFYD_WAMP_USER_H */
