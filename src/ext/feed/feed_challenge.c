/*-------------------------------------------------------------------------
 *
 * feed_challenge.c
 *	  Challenges of WAMP-CRA, and their signatures (WAMP, Advanced Profile, "Challenge Response Authentication").
 *
 * A connection gets one challenge, and for a short time. It is used up by the first signature, right or wrong, so
 * a signature that somebody has seen is of no use for another connection or later: each challenge has its own
 * nonce.
 *
 * What a client learns does not depend on whether the user exists: there is a challenge in any case, and one
 * reason for all refusals. So the challenge lacks the role of the user.
 *
 * If the signature is right, the connection gets a token of the server's own, which the gateway then presents like
 * any other.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgtime.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include <openssl/crypto.h>

#include "ext/access/token_own.h"
#include "ext/access/wamp_user.h"
#include "ext/base/digest.h"
#include "ext/base/utf8.h"
#include "ext/feed/feed_challenge.h"
#include "ext/feed/feed_identity.h"

/* The gateway gives clients IDENTITY_TOKEN_MS from the beginning of their sessions. */
#define CHALLENGE_MS 15000

#define CHALLENGE_NONCE 32

struct FeedChallenge
{
	char *authid; /* in the encoding of the database */
	char *salt;   /* of the user at that time */
	char *text;
	TimestampTz until;
};

/* Append "YYYY-MM-DDThh:mm:ss.mmmZ". */
static void
challenge_append_time(StringInfo text, TimestampTz time)
{
	pg_time_t seconds = timestamptz_to_time_t(time);
	char buf[64];

	pg_strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%S", pg_gmtime(&seconds));
	appendStringInfo(text, "%s.%03dZ", buf,
					 (int) ((time + NOTIFYD_UNIX_EPOCH) % USECS_PER_SEC / 1000));
}

static char *
challenge_text(const char *name, uint32 len, uint64 number, TimestampTz now)
{
	uint8 nonce[CHALLENGE_NONCE];
	char base64[WAMP_USER_BASE64_SIZE(CHALLENGE_NONCE)];
	StringInfoData text;
	StringInfoData user;

	if (!pg_strong_random(nonce, sizeof(nonce)))
		elog(ERROR, "could not generate random bytes");
	wamp_user_base64(nonce, sizeof(nonce), base64);
	initStringInfo(&text);
	initStringInfo(&user);
	utf8_append_server(&user, name, (int) len);
	appendStringInfoString(&text, "{\"authid\":");
	utf8_append_json_string(&text, user.data, user.len);
	appendStringInfo(&text,
					 ",\"authmethod\":\"wampcra\",\"authprovider\":\"pg_notifyd\",\"nonce\":\"%s\","
					 "\"session\":" UINT64_FORMAT ",\"timestamp\":\"",
					 base64, number);
	challenge_append_time(&text, now);
	appendStringInfoString(&text, "\"}");
	pfree(user.data);
	return text.data;
}

static void
challenge_send(const FeedIdentity *identity, const WampUser *user)
{
	const FeedChallenge *challenge = identity->challenge;
	WireMessage message = {.type = WIRE_CHALLENGE};

	message.u.challenge.session = identity->session;
	message.u.challenge.iterations = (uint32_t) user->iterations;
	message.u.challenge.keylen = (uint32_t) user->keylen;
	message.u.challenge.text = frames_bytes(challenge->text);
	message.u.challenge.salt = frames_bytes(user->salt);
	frames_queue(&identity->link->socket, &message);
}

void
challenge_make(Link *link, uint32 session, uint64 number, const char *name, uint32 len)
{
	FeedIdentity *identity = identity_find(link, session);
	FeedChallenge *challenge;
	MemoryContext context;
	MemoryContext outer;
	StringInfoData authid;
	WampUser user;

	if (identity->number != 0 || identity->challenged)
	{
		identity_reject(link, session, WIRE_NOT_AUTHENTICATED, "a session gets one challenge");
		return;
	}
	context =
		AllocSetContextCreate(link->feed->context, "pg_notifyd challenge", ALLOCSET_SMALL_SIZES);
	outer = MemoryContextSwitchTo(context);
	initStringInfo(&authid);
	utf8_append_server(&authid, name, (int) len);
	wamp_user_find(authid.data, &user);
	challenge = palloc0(sizeof(FeedChallenge));
	challenge->authid = authid.data;
	challenge->salt = user.salt;
	challenge->text = challenge_text(name, len, number, link->feed->now);
	challenge->until = link->feed->now + CHALLENGE_MS * INT64CONST(1000);
	OPENSSL_cleanse(user.key, strlen(user.key));
	MemoryContextSwitchTo(outer);
	identity->challenged = true;
	identity->challenge = challenge;
	identity->challenge_context = context;
	challenge_send(identity, &user);
}

/* Compare a signature with the right one, in a time that does not depend on where they differ. */
static bool
challenge_is_signed(const FeedChallenge *challenge, const WampUser *user, const char *signature,
					uint32 len)
{
	uint8 digest[DIGEST_SIZE];
	char expected[WAMP_USER_BASE64_SIZE(DIGEST_SIZE)];

	wamp_user_hmac(user->key, (int) strlen(user->key), challenge->text,
				   (int) strlen(challenge->text), digest);
	wamp_user_base64(digest, sizeof(digest), expected);
	return len == sizeof(expected) - 1 && CRYPTO_memcmp(expected, signature, len) == 0;
}

static void
challenge_issue(const FeedIdentity *identity, const WampUser *user, const char *role)
{
	WireMessage message = {.type = WIRE_ISSUED};
	char *token = token_own_issue(user, role, GetCurrentTimestamp());

	message.u.issued.session = identity->session;
	message.u.issued.token = frames_bytes(token);
	frames_queue(&identity->link->socket, &message);
	OPENSSL_cleanse(token, strlen(token));
}

/* Answer to a signature. The caller drops the challenge and the memory. */
static void
challenge_decide(FeedIdentity *identity, const char *signature, uint32 len)
{
	const FeedChallenge *challenge = identity->challenge;
	Link *link = identity->link;
	WampUser user;
	char *role;
	bool right;

	if (challenge == NULL || link->feed->now > challenge->until)
	{
		identity_reject(link, identity->session, WIRE_NOT_AUTHENTICATED,
						"the challenge is too old");
		return;
	}
	/* The user's key may be another one now. */
	wamp_user_find(challenge->authid, &user);
	right = challenge_is_signed(challenge, &user, signature, len);
	OPENSSL_cleanse(user.key, strlen(user.key));
	role = OidIsValid(user.role) ? GetUserNameFromId(user.role, true) : NULL;
	if (right && role != NULL && strcmp(user.salt, challenge->salt) == 0)
		challenge_issue(identity, &user, role);
	else
		identity_reject(link, identity->session, WIRE_NOT_AUTHENTICATED,
						"the user or the signature is wrong");
}

void
challenge_answer(Link *link, uint32 session, const char *signature, uint32 len)
{
	FeedIdentity *identity = identity_find(link, session);
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd signature", ALLOCSET_SMALL_SIZES);
	MemoryContext outer = MemoryContextSwitchTo(context);

	challenge_decide(identity, signature, len);
	identity_drop_challenge(identity);
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(context);
}
