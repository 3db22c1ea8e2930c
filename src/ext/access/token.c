/*-------------------------------------------------------------------------
 *
 * token.c
 *	  Who a client is, by its token.
 *
 * jws.c verifies the signature first. Only then are claims looked at, so that refusals tell nothing
 * to somebody without a valid token. A claim that counts is refused if the payload has it twice,
 * because JSON libraries disagree on which one to take (RFC 7519, section 4).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "pgtime.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "ext/base/subtransaction.h"
#include "ext/access/access.h"
#include "ext/access/jws.h"
#include "ext/access/token.h"
#include "ext/access/token_own.h"
#include "ext/access/token_settings.h"
#include "ext/base/compat.h"
#include "ext/base/digest.h"
#include "ext/base/settings.h"

/* Later times than the year 9999 are mistakes, such as milliseconds. In s since 1970. */
#define TOKEN_MAX_TIME 253402300799.0

/* In s, from the Unix epoch to PostgreSQL's. */
#define TOKEN_EPOCH ((double) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

static bool
token_refuse(char **refusal, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The name of a role may have any characters; a refusal is one line. */
static bool
token_refuse(char **refusal, const char *format, ...)
{
	char buf[512];
	va_list args;

	va_start(args, format);
	vsnprintf(buf, sizeof(buf), format, args);
	va_end(args);
	for (char *p = buf; *p != '\0'; p++)
	{
		if (iscntrl((unsigned char) *p) && !IS_HIGHBIT_SET(*p))
			*p = '?';
	}
	*refusal = pstrdup(buf);
	return false;
}

/* Look for a claim. *found says whether it is there; false with *refusal if it is there twice. */
static bool
token_claim(JsonSlice claims, const char *name, JsonSlice *value, bool *found, char **refusal)
{
	SliceFound result = slice_member(claims, name, value);

	*found = result == SLICE_FOUND;
	return result != SLICE_TWICE || token_refuse(refusal, "JWT claim \"%s\" is there twice", name);
}

static TimestampTz
token_timestamp(double seconds)
{
	return (TimestampTz) ((seconds - TOKEN_EPOCH) * USECS_PER_SEC);
}

/* A claim of a time (RFC 7519, section 2, NumericDate). *time stays as it is if there is none. */
static bool
token_time(JsonSlice claims, const char *name, TimestampTz *time, char **refusal)
{
	JsonSlice value;
	double seconds;
	bool found;

	if (!token_claim(claims, name, &value, &found, refusal))
		return false;
	if (!found)
		return true;
	if (!slice_number(value, &seconds))
		return token_refuse(refusal, "JWT claim \"%s\" is not a number of seconds", name);
	if (!(fabs(seconds) <= TOKEN_MAX_TIME))
		return token_refuse(
			refusal, "JWT claim \"%s\" is out of range: it must be in seconds since 1970", name);
	*time = token_timestamp(seconds);
	return true;
}

static char *
token_time_text(TimestampTz time)
{
	pg_time_t seconds = timestamptz_to_time_t(time);
	char buf[64];

	pg_strftime(buf, sizeof(buf), "%Y-%m-%d %H:%M:%S UTC", pg_gmtime(&seconds));
	return pstrdup(buf);
}

/* With a limit, notify_disconnect() knows when the tokens that it concerns have expired. */
static bool
token_check_lifetime(const Identity *identity, char **refusal)
{
	if (notifyd_jwt_max_lifetime == 0 ||
		(identity->issued_at != DT_NOBEGIN && identity->expires_at != DT_NOEND &&
		 identity->expires_at - identity->issued_at <= notifyd_jwt_max_lifetime * USECS_PER_SEC))
		return true;
	return token_refuse(refusal,
						"JWT must have the claims \"iat\" and \"exp\", at most %d s apart "
						"(pg_notifyd.jwt_max_lifetime)",
						notifyd_jwt_max_lifetime);
}

static bool
token_check_times(JsonSlice claims, TimestampTz now, Identity *identity, char **refusal)
{
	TimestampTz skew = TOKEN_SKEW * USECS_PER_SEC;
	TimestampTz not_before = DT_NOBEGIN;

	identity->issued_at = DT_NOBEGIN;
	identity->expires_at = DT_NOEND;
	if (!token_time(claims, "exp", &identity->expires_at, refusal) ||
		!token_time(claims, "nbf", &not_before, refusal) ||
		!token_time(claims, "iat", &identity->issued_at, refusal))
		return false;
	identity->valid_until =
		identity->expires_at == DT_NOEND ? DT_NOEND : identity->expires_at + skew;
	if (now >= identity->valid_until)
		return token_refuse(refusal, "JWT expired " INT64_FORMAT " s ago",
							(now - identity->expires_at) / USECS_PER_SEC);
	if (not_before > now + skew)
		return token_refuse(refusal, "JWT is not valid before %s", token_time_text(not_before));
	if (identity->issued_at > now + skew)
		return token_refuse(refusal, "JWT is issued in the future, at %s",
							token_time_text(identity->issued_at));
	return token_check_lifetime(identity, refusal);
}

/* A token without "aud" is for everybody, as in PostgREST. */
static bool
token_check_audience(JsonSlice claims, char **refusal)
{
	size_t size = strlen(notifyd_jwt_audience) + 1;
	char *audience = palloc(size);
	JsonSlice value;
	JsonSlice element = {NULL, 0};
	bool found;
	bool named;

	if (!token_claim(claims, "aud", &value, &found, refusal))
		return false;
	if (!found || notifyd_jwt_audience[0] == '\0')
		return true;
	named = slice_string(value, audience, size) && strcmp(audience, notifyd_jwt_audience) == 0;
	while (!named && slice_next(value, &element))
		named =
			slice_string(element, audience, size) && strcmp(audience, notifyd_jwt_audience) == 0;
	return named || token_refuse(refusal, "JWT is for another audience (claim \"aud\")");
}

/* A claim of text, in UTF-8; NULL if there is none. */
static bool
token_text(JsonSlice value, bool found, const char *what, char **text, char **refusal)
{
	*text = NULL;
	if (!found)
		return true;
	*text = palloc(value.length);
	return slice_string(value, *text, value.length) ||
		   token_refuse(refusal, "JWT claim \"%s\" is not a string", what);
}

/* The role, as the token names it; NULL if it names none. own: the server has issued it. */
static bool
token_role_claim(JsonSlice claims, bool own, char **name, char **refusal)
{
	const char *claim = own ? "role" : notifyd_jwt_role_claim;
	JsonSlice value;
	SliceFound found = slice_path(claims, claim, &value);

	if (found == SLICE_TWICE)
		return token_refuse(refusal, "JWT has the claim of the role (%s) twice", claim);
	if (found == SLICE_FOUND && slice_kind(value) == 'n')
		found = SLICE_ABSENT;
	return token_text(value, found == SLICE_FOUND, claim, name, refusal);
}

static char *
token_to_server(const char *text, int length)
{
	char *copy = pnstrdup(text, length);

	return pg_any_to_server(copy, length, PG_UTF8);
}

typedef struct TokenConversion
{
	JsonSlice claims;
	Identity *identity;
	char **role;
} TokenConversion;

/* Texts into the encoding of the database, claims into jsonb. Raises errors where that fails. */
static void
token_convert_or_error(void *arg)
{
	TokenConversion *conversion = arg;
	Identity *identity = conversion->identity;
	char **role = conversion->role;
	char *text = token_to_server(conversion->claims.text, conversion->claims.length);

	identity->claims = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	if (identity->subject != NULL)
		identity->subject = token_to_server(identity->subject, strlen(identity->subject));
	if (identity->session_id != NULL)
		identity->session_id = token_to_server(identity->session_id, strlen(identity->session_id));
	if (*role != NULL)
		*role = token_to_server(*role, strlen(*role));
}

/* Whether an error is about what the token contains, rather than about this process. */
static bool
token_is_about_data(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION):
		case ERRCODE_TO_CATEGORY(ERRCODE_FEATURE_NOT_SUPPORTED):
		case ERRCODE_TO_CATEGORY(ERRCODE_PROGRAM_LIMIT_EXCEEDED):
		case ERRCODE_TO_CATEGORY(ERRCODE_UNDEFINED_FUNCTION): /* no such conversion */
			return true;
		default:
			return false;
	}
}

/* The same, with a refusal instead of an error about the token. */
static bool
token_convert(JsonSlice claims, Identity *identity, char **role, char **refusal)
{
	TokenConversion conversion = {.claims = claims, .identity = identity, .role = role};
	ErrorData *error = subtransaction_try(token_convert_or_error, &conversion);

	if (error == NULL)
		return true;
	if (!token_is_about_data(error->sqlerrcode))
		ReThrowError(error);
	return token_refuse(refusal, "JWT claims cannot be stored in this database: %s",
						error->message);
}

/* A role that may LOGIN, by its name. */
static Oid
token_login_role(const char *name)
{
	HeapTuple tuple = SearchSysCache1(AUTHNAME, CStringGetDatum(name));
	Oid role = InvalidOid;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	if (((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin)
		role = ((Form_pg_authid) GETSTRUCT(tuple))->oid;
	ReleaseSysCache(tuple);
	return role;
}

Oid
token_role(const char *name, char **refusal)
{
	Oid role = strlen(name) < NAMEDATALEN ? get_role_oid(name, true) : InvalidOid;
	Oid authenticator;

	if (notifyd_authenticator_role[0] == '\0')
		token_refuse(refusal,
					 "JWT names a role, and the setting pg_notifyd.authenticator_role is empty");
	else if (!OidIsValid(role))
		token_refuse(refusal, "role \"%.*s\" does not exist",
					 pg_mbcliplen(name, strlen(name), NAMEDATALEN - 1), name);
	else if (!OidIsValid(authenticator = token_login_role(notifyd_authenticator_role)))
		token_refuse(refusal,
					 "role \"%s\" (pg_notifyd.authenticator_role) does not exist or may "
					 "not log in",
					 notifyd_authenticator_role);
	else if (!compat_may_set_role(authenticator, role))
		token_refuse(refusal, "role \"%s\" is not granted to \"%s\"", name,
					 notifyd_authenticator_role);
	else
		return role;
	return InvalidOid;
}

/* The role that the token names, or that of clients without a token. */
static bool
token_set_role(const char *name, Identity *identity, char **refusal)
{
	AccessReason reason;

	if (name != NULL)
		identity->role = token_role(name, refusal);
	else
	{
		name = notifyd_anonymous_role;
		identity->role = access_role("", &reason);
		if (!OidIsValid(identity->role))
			token_refuse(refusal, "JWT names no role (claim %s), and %s", notifyd_jwt_role_claim,
						 reason.message);
	}
	if (!OidIsValid(identity->role))
		return false;
	strlcpy(identity->role_name, name, sizeof(identity->role_name));
	return true;
}

/* Whether a token of the server's own is for the present state of its user. */
static bool
token_check_user(JsonSlice claims, bool own, Identity *identity, char **refusal)
{
	JsonSlice value;
	bool found;

	if (!own)
		return true;
	if (!token_claim(claims, TOKEN_OWN_USER, &value, &found, refusal) ||
		!token_text(value, found, TOKEN_OWN_USER, &identity->user, refusal))
		return false;
	return (identity->user != NULL && identity->subject != NULL &&
			wamp_user_is(identity->subject, identity->user, identity->role_name)) ||
		   token_refuse(refusal, "the user was changed or dropped");
}

/* Everything but the signature. */
static bool
token_check_claims(JsonSlice claims, bool own, TimestampTz now, Identity *identity, char **refusal)
{
	JwsRefusal reason;
	JsonSlice value;
	bool found;
	char *role;

	if (!token_own_check(claims, own, &reason))
		return token_refuse(refusal, "%s", reason.text);
	return token_check_times(claims, now, identity, refusal) &&
		   token_check_audience(claims, refusal) &&
		   token_claim(claims, "sub", &value, &found, refusal) &&
		   token_text(value, found, "sub", &identity->subject, refusal) &&
		   token_claim(claims, "session_id", &value, &found, refusal) &&
		   token_text(value, found, "session_id", &identity->session_id, refusal) &&
		   token_role_claim(claims, own, &role, refusal) &&
		   token_convert(claims, identity, &role, refusal) &&
		   token_set_role(role, identity, refusal) &&
		   token_check_user(claims, own, identity, refusal);
}

Jsonb *
token_claims(const char *part, size_t length, TimestampTz *issued_at)
{
	char *text = palloc(length + 1);
	int size = length <= JWS_MAX_SIZE ? jws_decode(part, length, (unsigned char *) text) : -1;
	JsonbValue iat;
	Jsonb *claims;

	if (size <= 0)
		return NULL;
	text = token_to_server(text, size);
	claims = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	if (!JB_ROOT_IS_OBJECT(claims))
		return NULL;
	*issued_at = DT_NOBEGIN;
	if (getKeyJsonValueFromContainer(&claims->root, "iat", strlen("iat"), &iat) != NULL &&
		iat.type == jbvNumeric)
		*issued_at = token_timestamp(
			DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(iat.val.numeric))));
	return claims;
}

/* A token that no key fits may have been signed with one that could not be loaded. */
static bool
token_check_signature(const JwsToken *token, JwsRefusal *reason)
{
	if (token_own_is(token))
		return token_own_verify(token, reason);
	if (jws_verify(token, token_keys(), reason))
		return true;
	if (token_keys_failed())
		strlcpy(reason->text, "configured keys could not be loaded; see the server's log",
				sizeof(reason->text));
	return false;
}

bool
token_verify(const char *token, size_t length, TimestampTz now, Identity *identity, char **refusal)
{
	JwsToken *parsed = palloc(sizeof(JwsToken));
	JwsRefusal reason;
	JsonSlice claims;
	bool good;

	memset(identity, 0, sizeof(*identity));
	if (jws_parse(token, length, parsed, &reason) && token_check_signature(parsed, &reason) &&
		jws_claims(parsed, &claims, &reason))
		good = token_check_claims(claims, token_own_is(parsed), now, identity, refusal);
	else
		good = token_refuse(refusal, "%s", reason.text);
	if (good)
		digest_sha256(token, length, identity->hash);
	pfree(parsed);
	return good;
}
