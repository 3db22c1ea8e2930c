/*-------------------------------------------------------------------------
 *
 * identity.c
 *	  Who a client is, for all client protocols.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/session/identity.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/memory.h"

void
identity_start(Identity *identity, bool anonymous, uint64_t now)
{
	*identity = (Identity){.state = anonymous ? IDENTITY_ANONYMOUS : IDENTITY_MISSING,
						   .deadline = anonymous ? UINT64_MAX : now + IDENTITY_TOKEN_MS};
}

void
identity_offer(Identity *identity, const char *token, size_t len, bool requested, char *request)
{
	identity->offer = memory_string(token, len);
	identity->kind = IDENTITY_OFFER_TOKEN;
	identity->requested = requested;
	identity->request = request;
}

void
identity_offer_other(Identity *identity, IdentityOffer kind, const char *text, size_t len,
					 uint64_t number)
{
	identity_offer(identity, text, len, true, NULL);
	identity->kind = (uint8_t) kind;
	identity->claimed = number;
}

/* Free a token; what the allocator does with the memory next must not show it. */
static void
identity_free_token(char **token)
{
	if (*token != NULL)
		explicit_bzero(*token, strlen(*token));
	free(*token);
	*token = NULL;
}

void
identity_issued(Identity *identity, WireBytes token)
{
	identity_free_token(&identity->offer);
	identity->offer = memory_string(token.data, token.len);
	identity->kind = IDENTITY_OFFER_TOKEN;
	identity->asked = IDENTITY_ASKED_NOTHING;
}

void
identity_drop_offer(Identity *identity)
{
	identity_free_token(&identity->offer);
	free(identity->request);
	identity->request = NULL;
}

static void
identity_set_text(char **to, WireBytes from)
{
	free(*to);
	*to = memory_string(from.data, from.len);
}

void
identity_accept(Identity *identity, const WireIdentity *accepted, uint64_t now)
{
	uint64_t deadline =
		accepted->lifetime_ms > UINT64_MAX - now ? UINT64_MAX : now + accepted->lifetime_ms;

	/*
	 * A feed accepts a token for some time after its expiry. A connection that has presented the
	 * token before does not gain that time when another feed verifies it again.
	 */
	if (identity->asked == IDENTITY_ASKED_TOKEN && identity->deadline < deadline)
		deadline = identity->deadline;
	if (identity->asked == IDENTITY_ASKED_OFFER)
	{
		identity_free_token(&identity->token);
		identity->token = identity->offer;
		identity->offer = NULL;
	}
	identity->asked = IDENTITY_ASKED_NOTHING;
	identity->state = IDENTITY_KNOWN;
	identity->number = accepted->identity;
	identity->expires_at = accepted->expires_at;
	identity->deadline = deadline;
	identity_set_text(&identity->role, accepted->role);
	identity_set_text(&identity->subject, accepted->subject);
}

const char *
identity_unverified(const Identity *identity)
{
	return identity_waits(identity) ? identity->token : identity->offer;
}

void
identity_free(Identity *identity)
{
	identity_free_token(&identity->token);
	identity_drop_offer(identity);
	free(identity->role);
	free(identity->subject);
	*identity = (Identity){0};
}
