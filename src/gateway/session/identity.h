/*-------------------------------------------------------------------------
 *
 * identity.h
 *	  Who a client is, for all client protocols.
 *
 *	  MISSING ──► KNOWN		the feed has accepted a token; a later one renews it
 *	  ANONYMOUS ──► KNOWN	the same, while the client has no subscriptions
 *
 * Only the feed verifies tokens. The gateway keeps the accepted token, because an identity's number
 * is valid on one link only: on a new link the feed verifies the token again. A token that the feed
 * has not accepted yet is kept beside it.
 *
 * The identity ends by the gateway's own clock, too, so a client cannot outlive its token while no
 * feed is connected. That clock does not follow changes of the system time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_IDENTITY_H
#define GATEWAY_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/wire.h"

/* A client without an identity has this long to send a token. */
#define IDENTITY_TOKEN_MS 10000

typedef enum IdentityState
{
	IDENTITY_MISSING,
	IDENTITY_ANONYMOUS,
	IDENTITY_KNOWN,
} IdentityState;

/* Which token of a client the feed is verifying. */
typedef enum IdentityAsked
{
	IDENTITY_ASKED_NOTHING,
	IDENTITY_ASKED_TOKEN, /* the accepted one, again */
	IDENTITY_ASKED_OFFER,
} IdentityAsked;

/* What a client has presented. */
typedef enum IdentityOffer
{
	IDENTITY_OFFER_TOKEN,
	IDENTITY_OFFER_USER,      /* a name of WAMP-CRA: the feed answers with a challenge */
	IDENTITY_OFFER_SIGNATURE, /* of that: the feed answers with a token, which is verified next */
} IdentityOffer;

typedef struct Identity
{
	uint8_t state;       /* IdentityState */
	uint8_t asked;       /* IdentityAsked */
	uint8_t kind;        /* IdentityOffer, of the offer */
	bool requested;      /* a request of the client has made the offer, not its handshake */
	bool presented;      /* the feed has got a token on the present link, and expects FORGET */
	uint32_t number;     /* from the feed, on the present link; 0: none */
	uint64_t deadline;   /* when it ends, on the clock of Sessions; UINT64_MAX: never */
	uint64_t expires_at; /* microseconds since 1970; 0: never */
	char *role;          /* NULL unless KNOWN */
	char *subject;       /* NULL unless KNOWN */
	char *token;         /* NULL unless KNOWN */
	char *offer;         /* what is not accepted yet, or NULL */
	uint64_t claimed;    /* with IDENTITY_OFFER_USER: the session's own id */
	char *request;       /* id of the request that has made the offer, or NULL; see Request */
} Identity;

/* Fill in the identity of a new client. */
extern void identity_start(Identity *identity, bool anonymous, uint64_t now);

/* Take an offer of a token; there must be none. Takes over request, which is NULL without a request. */
extern void
identity_offer(Identity *identity, const char *token, size_t len, bool requested, char *request);

/* The feed has accepted the token that it was asked about. */
extern void identity_accept(Identity *identity, const WireIdentity *accepted, uint64_t now);

/* Take an offer of another kind. number is for IDENTITY_OFFER_USER. */
extern void identity_offer_other(Identity *identity, IdentityOffer kind, const char *text,
								 size_t len, uint64_t number);

/* The feed has issued a token for the signature that was offered: it is the offer now. */
extern void identity_issued(Identity *identity, WireBytes token);

/* Forget an offer. */
extern void identity_drop_offer(Identity *identity);

/* The token, name or signature that the feed is to verify next on this link, or NULL. */
extern const char *identity_unverified(const Identity *identity);

/* Whether requests must wait until the feed has answered on this link. */
static inline bool
identity_waits(const Identity *identity)
{
	return identity->state == IDENTITY_KNOWN && identity->number == 0;
}

/* Free what it owns. */
extern void identity_free(Identity *identity);

#endif /* GATEWAY_IDENTITY_H */
