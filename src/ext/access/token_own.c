/*-------------------------------------------------------------------------
 *
 * token_own.c
 *	  Tokens that the server issues itself. See token_own.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "ext/access/token_own.h"
#include "ext/access/token_settings.h"
#include "ext/base/digest.h"
#include "ext/base/shared.h"
#include "ext/base/utf8.h"

#define TOKEN_OWN_HEADER "{\"alg\":\"HS256\",\"kid\":\"" TOKEN_OWN "\"}"

/* Append bytes in base64url without padding. */
static void
token_own_append(StringInfo token, const char *bytes, int length)
{
	int begin = token->len;

	enlargeStringInfo(token, WAMP_USER_BASE64_SIZE(length));
	wamp_user_base64((const uint8 *) bytes, length, token->data + begin);
	token->len += (length + 2) / 3 * 4;
	while (token->len > begin && token->data[token->len - 1] == '=')
		token->data[--token->len] = '\0';
	for (char *c = token->data + begin; *c != '\0'; c++)
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
}

static void
token_own_text(StringInfo claims, const char *name, const char *value)
{
	appendStringInfo(claims, "\"%s\":", name);
	utf8_append_json_string(claims, value, (int) strlen(value));
	appendStringInfoChar(claims, ',');
}

/* For how long a token is valid, in s; 0: without an end. */
static int
token_own_lifetime(void)
{
	int lifetime = notifyd_wampcra_lifetime;

	if (notifyd_jwt_max_lifetime > 0 && (lifetime == 0 || lifetime > notifyd_jwt_max_lifetime))
		lifetime = notifyd_jwt_max_lifetime;
	return lifetime;
}

char *
token_own_issue(const WampUser *user, const char *role, TimestampTz now)
{
	int lifetime = token_own_lifetime();
	int64 us = now + NOTIFYD_UNIX_EPOCH;
	uint8 digest[DIGEST_SIZE];
	StringInfoData claims;
	StringInfoData token;

	initStringInfo(&claims);
	appendStringInfoChar(&claims, '{');
	token_own_text(&claims, "iss", TOKEN_OWN);
	token_own_text(&claims, "sub", user->authid);
	token_own_text(&claims, "role", role);
	token_own_text(&claims, TOKEN_OWN_USER, user->salt);
	/*
	 * With the microseconds, notify_disconnect() can tell what came before it. In full seconds, "exp" is never later
	 * than pg_notifyd.jwt_max_lifetime allows, however numbers are rounded.
	 */
	appendStringInfo(&claims, "\"iat\":" INT64_FORMAT ".%06d,", us / USECS_PER_SEC,
					 (int) (us % USECS_PER_SEC));
	if (lifetime > 0)
		appendStringInfo(&claims, "\"exp\":" INT64_FORMAT ",", us / USECS_PER_SEC + lifetime);
	appendStringInfo(&claims, "\"database\":%u}", MyDatabaseId);

	initStringInfo(&token);
	token_own_append(&token, TOKEN_OWN_HEADER, (int) strlen(TOKEN_OWN_HEADER));
	appendStringInfoChar(&token, '.');
	token_own_append(&token, claims.data, claims.len);
	wamp_user_hmac((const char *) notifyd_shared->token_key, NOTIFYD_TOKEN_KEY, token.data,
				   token.len, digest);
	appendStringInfoChar(&token, '.');
	token_own_append(&token, (const char *) digest, sizeof(digest));
	return token.data;
}

bool
token_own_is(const JwsToken *token)
{
	return strcmp(token->kid, TOKEN_OWN) == 0;
}

bool
token_own_verify(const JwsToken *token, JwsRefusal *refusal)
{
	JwsKeys *keys = notifyd_shared != NULL ? jws_keys_new() : NULL;
	bool right = false;

	strlcpy(refusal->text, "the server has no key for its own tokens", sizeof(refusal->text));
	if (keys != NULL)
		right = jws_keys_add_secret(keys, notifyd_shared->token_key, NOTIFYD_TOKEN_KEY, refusal) &&
				jws_verify(token, keys, refusal);
	jws_keys_free(keys);
	return right;
}

bool
token_own_check(JsonSlice claims, bool own, JwsRefusal *refusal)
{
	char issuer[sizeof(TOKEN_OWN)];
	JsonSlice value;
	double database;
	SliceFound found = slice_member(claims, "iss", &value);
	bool named = found == SLICE_FOUND && slice_string(value, issuer, sizeof(issuer)) &&
				 strcmp(issuer, TOKEN_OWN) == 0;

	if (found == SLICE_TWICE)
		strlcpy(refusal->text, "JWT claim \"iss\" is there twice", sizeof(refusal->text));
	else if (named != own)
		strlcpy(refusal->text, "JWT says to be the server's own (claim \"iss\")",
				sizeof(refusal->text));
	else if (own && (slice_member(claims, "database", &value) != SLICE_FOUND ||
					 !slice_number(value, &database) || database != (double) MyDatabaseId))
		strlcpy(refusal->text, "JWT is for another database", sizeof(refusal->text));
	else
		return true;
	return false;
}
