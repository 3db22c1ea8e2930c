/*-------------------------------------------------------------------------
 *
 * feed_identity.c
 *	  Identities: which tokens the feed has accepted, of which connections.
 *
 * A gateway passes on what clients present, and gets back a number that is valid on its link and
 * for that connection only. So it has no identity but those of its own clients, whose tokens it has
 * seen. Connections without a token have the number 0, and the anonymous role.
 *
 * A gateway says FORGET when a connection that has presented a token ends, and until then the feed
 * keeps an entry of it, also if the token was refused or the identity has ended. So the feed knows
 * which numbers a connection may send, although a SUBSCRIBE may cross the end of its identity on
 * the way: such a request is refused. A number that the connection was not given ends the link.
 *
 * An identity has one role and subject for as long as it exists, so its subscriptions need no new
 * decision when a later token renews it. It ends with its subscriptions when its time is up, when
 * tokens may no longer choose its role, when the client leaves, and with its link.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ext/access/token.h"
#include "ext/access/wamp_user.h"
#include "ext/base/settings.h"
#include "ext/base/utf8.h"
#include "ext/base/worker.h"
#include "ext/feed/feed_due.h"
#include "ext/feed/feed_identity.h"
#include "ext/feed/feed_place.h"
#include "ext/feed/feed_route.h"

#define IDENTITY_LOG_MS 60000

HTAB *
identity_table(Feed *feed)
{
	HASHCTL identities = {
		.keysize = sizeof(uint32), .entrysize = sizeof(FeedIdentity), .hcxt = feed->context};

	return hash_create("pg_notifyd identities", 64, &identities,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

FeedIdentity *
identity_find(const Link *link, uint32 session)
{
	return hash_search(link->identities, &session, HASH_FIND, NULL);
}

/* ---------------- ends ---------------- */

/* End the identity of an entry, with its subscriptions. The entry stays. */
static void
identity_release(FeedIdentity *identity)
{
	dlist_mutable_iter iter;

	if (identity->context == NULL)
		return;
	dlist_foreach_modify (iter, &identity->subs)
		sub_remove(dlist_container(Sub, in_identity, iter.cur));
	route_end_session(identity->link, identity->session);
	MemoryContextDelete(identity->context);
	identity->context = NULL;
	identity->link->feed->nidentities--;
}

static void
identity_end(FeedIdentity *identity, WireReason reason, const char *text)
{
	WireMessage message = {.type = WIRE_IDENTITY_ENDED};
	StringInfoData utf8;

	initStringInfo(&utf8);
	utf8_append(&utf8, text, (int) strlen(text));
	message.u.identity_ended.session = identity->session;
	message.u.identity_ended.identity = identity->number;
	message.u.identity_ended.reason = reason;
	message.u.identity_ended.text = (WireBytes){.data = utf8.data, .len = (uint32_t) utf8.len};
	frames_queue(&identity->link->socket, &message);
	pfree(utf8.data);
	identity_release(identity);
}

void
identity_drop_challenge(FeedIdentity *identity)
{
	if (identity->challenge != NULL)
		MemoryContextDelete(identity->challenge_context);
	identity->challenge = NULL;
}

bool
identity_forget(Link *link, uint32 session)
{
	FeedIdentity *identity = identity_find(link, session);

	if (identity == NULL)
		return false;
	identity_drop_challenge(identity);
	identity_release(identity);
	hash_search(link->identities, &session, HASH_REMOVE, NULL);
	return true;
}

void
identity_drop_link(Link *link)
{
	HASH_SEQ_STATUS status;
	FeedIdentity *identity;

	hash_seq_init(&status, link->identities);
	while ((identity = hash_seq_search(&status)) != NULL)
	{
		identity_drop_challenge(identity);
		identity_release(identity);
		hash_search(link->identities, &identity->session, HASH_REMOVE, NULL);
	}
}

/* End those of a link whose time is up, and note when the next one's is. */
static void
identity_expire_link(Link *link)
{
	Feed *feed = link->feed;
	HASH_SEQ_STATUS status;
	FeedIdentity *identity;

	hash_seq_init(&status, link->identities);
	while ((identity = hash_seq_search(&status)) != NULL)
	{
		if (identity->context == NULL)
			continue;
		if (identity->ends_at <= feed->now)
			identity_end(identity, WIRE_EXPIRED, "the token has expired");
		else
			feed->next_expiry = Min(feed->next_expiry, identity->ends_at);
	}
}

void
identity_expire(Feed *feed)
{
	if (feed->now < feed->next_expiry)
		return;
	feed->next_expiry = DT_NOEND;
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (feed->links[i] != NULL)
			identity_expire_link(feed->links[i]);
	}
}

/* A token without a claim of a role has the role of clients without a token. */
static bool
identity_role_allowed(const char *role, char **refusal)
{
	return strcmp(role, notifyd_anonymous_role) == 0 || OidIsValid(token_role(role, refusal));
}

/* Read notifyd.disconnected, which later changes of it cause again. */
static void
identity_read_disconnected(Feed *feed)
{
	MemoryContext outer;

	if (feed->disconnected_context == NULL)
		feed->disconnected_context =
			AllocSetContextCreate(feed->context, "pg_notifyd disconnected", ALLOCSET_SMALL_SIZES);
	feed->disconnected = NULL;
	MemoryContextReset(feed->disconnected_context);
	outer = MemoryContextSwitchTo(feed->disconnected_context);
	feed->disconnected = disconnected_read();
	MemoryContextSwitchTo(outer);
}

void
identity_end_disconnected(Feed *feed)
{
	if (feed->disconnected == NULL || !disconnected_over(feed->disconnected, feed->now))
		return;
	worker_begin_transaction();
	disconnected_end(feed->now);
	CommitTransactionCommand();
}

static void
identity_recheck_link(Link *link)
{
	HASH_SEQ_STATUS status;
	FeedIdentity *identity;
	char *refusal;

	hash_seq_init(&status, link->identities);
	while ((identity = hash_seq_search(&status)) != NULL)
	{
		if (identity->context == NULL)
			continue;
		if (!identity_role_allowed(identity->role, &refusal))
			identity_end(identity, WIRE_REVOKED, refusal);
		else if (disconnected_has(link->feed->disconnected, identity->claims, identity->issued_at))
			identity_end(identity, WIRE_DISCONNECTED, "disconnected by notify_disconnect()");
		else if (identity->user != NULL &&
				 !wamp_user_is(identity->subject, identity->user, identity->role))
			identity_end(identity, WIRE_REVOKED, "the user was changed or dropped");
	}
}

void
identity_recheck(Feed *feed)
{
	identity_read_disconnected(feed);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (feed->links[i] != NULL)
			identity_recheck_link(feed->links[i]);
	}
}

/* ---------------- tokens ---------------- */

void
identity_refuse(Link *link, uint32 session, WireReason reason, const char *text)
{
	WireMessage message = {.type = WIRE_AUTH_REFUSED};
	StringInfoData utf8;

	initStringInfo(&utf8);
	utf8_append(&utf8, text, (int) strlen(text));
	message.u.auth_refused.session = session;
	message.u.auth_refused.reason = reason;
	message.u.auth_refused.text = (WireBytes){.data = utf8.data, .len = (uint32_t) utf8.len};
	frames_queue(&link->socket, &message);
}

static void
identity_send(const FeedIdentity *identity)
{
	Feed *feed = identity->link->feed;
	WireMessage message = {.type = WIRE_IDENTITY};
	StringInfoData role;
	StringInfoData subject;

	initStringInfo(&role);
	initStringInfo(&subject);
	utf8_append(&role, identity->role, (int) strlen(identity->role));
	if (identity->subject != NULL)
		utf8_append(&subject, identity->subject, (int) strlen(identity->subject));
	message.u.identity.session = identity->session;
	message.u.identity.identity = identity->number;
	message.u.identity.lifetime_ms = WIRE_NEVER;
	if (identity->ends_at != DT_NOEND)
	{
		message.u.identity.expires_at = (uint64) (identity->expires_at + NOTIFYD_UNIX_EPOCH);
		message.u.identity.lifetime_ms = (uint64) (identity->ends_at - feed->now) / 1000;
	}
	message.u.identity.role = (WireBytes){.data = role.data, .len = (uint32_t) role.len};
	message.u.identity.subject = (WireBytes){.data = subject.data, .len = (uint32_t) subject.len};
	frames_queue(&identity->link->socket, &message);
}

void
identity_present(Link *link, uint32 session)
{
	bool found;
	FeedIdentity *identity = hash_search(link->identities, &session, HASH_ENTER, &found);

	if (!found)
	{
		memset(identity, 0, sizeof(*identity));
		identity->session = session;
		identity->link = link;
	}
}

/* Give the connection of an entry an identity. */
static void
identity_start(FeedIdentity *identity, const Identity *valid)
{
	Feed *feed = identity->link->feed;

	/* 0 is the anonymous one. Whether another link has the number does not matter. */
	if (++feed->last_identity == 0)
		++feed->last_identity;
	identity->number = feed->last_identity;
	identity->context =
		AllocSetContextCreate(feed->context, "pg_notifyd identity", ALLOCSET_SMALL_SIZES);
	strlcpy(identity->role, valid->role_name, sizeof(identity->role));
	identity->subject =
		valid->subject != NULL ? MemoryContextStrdup(identity->context, valid->subject) : NULL;
	dlist_init(&identity->subs);
	feed->nidentities++;
}

/*
 * The connection of a token that has expired within the skew that is allowed ends when that is
 * over; any other one as soon as its token expires.
 */
static void
identity_set_token(FeedIdentity *identity, const Identity *valid)
{
	Feed *feed = identity->link->feed;
	bool renewed = identity->claims != NULL;
	bool same = renewed && VARSIZE(identity->claims) == VARSIZE(valid->claims) &&
				memcmp(identity->claims, valid->claims, VARSIZE(valid->claims)) == 0;

	identity->expires_at = valid->expires_at;
	identity->issued_at = valid->issued_at;
	if (identity->claims != NULL)
		pfree(identity->claims);
	identity->claims = memcpy(MemoryContextAlloc(identity->context, VARSIZE(valid->claims)),
							  valid->claims, VARSIZE(valid->claims));
	if (identity->user != NULL)
		pfree(identity->user);
	identity->user =
		valid->user != NULL ? MemoryContextStrdup(identity->context, valid->user) : NULL;
	identity->ends_at = valid->expires_at > feed->now ? valid->expires_at : valid->valid_until;
	feed->next_expiry = Min(feed->next_expiry, identity->ends_at);
	if (renewed && !same)
		set_place_identity(identity);
}

static bool
identity_same(const FeedIdentity *identity, const Identity *valid)
{
	bool same_subject = identity->subject == NULL || valid->subject == NULL
							? identity->subject == valid->subject
							: strcmp(identity->subject, valid->subject) == 0;

	return same_subject && strcmp(identity->role, valid->role_name) == 0;
}

/* Count a refusal, and log it at most once a minute. A reason names at most a role or a key. */
static void
identity_note_refusal(Feed *feed, const char *reason)
{
	(void) pg_atomic_fetch_add_u64(&feed->database->refused_tokens, 1);
	if (!due_since(feed->refusal_logged_at, feed->now, IDENTITY_LOG_MS))
		return;
	feed->refusal_logged_at = feed->now;
	ereport(LOG, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				  errmsg("a client's token is refused in database \"%s\": %s", feed->database_name,
						 reason),
				  errhint("Other refusals are logged a minute later at the earliest. "
						  "notifyd.stats.refused_tokens counts all of them.")));
}

void
identity_reject(Link *link, uint32 session, WireReason reason, const char *text)
{
	identity_note_refusal(link->feed, text);
	identity_refuse(link, session, reason, text);
}

static void
identity_decide(Link *link, uint32 session, const char *token, size_t len)
{
	Feed *feed = link->feed;
	FeedIdentity *identity = identity_find(link, session);
	bool first = identity->number == 0;
	Identity valid;
	const char *disconnected;
	char *refusal;

	if (feed->disconnected == NULL)
		identity_read_disconnected(feed);
	if (!token_verify(token, len, feed->now, &valid, &refusal))
		identity_reject(link, session, WIRE_NOT_AUTHENTICATED, refusal);
	else if ((disconnected =
				  disconnected_refusal(feed->disconnected, valid.claims, valid.issued_at)) != NULL)
		identity_reject(link, session, WIRE_DISCONNECTED, disconnected);
	else if (!first && identity->context == NULL)
		identity_reject(link, session, WIRE_NOT_AUTHENTICATED, "the identity has ended");
	else if (!first && !identity_same(identity, &valid))
		identity_reject(link, session, WIRE_NOT_AUTHENTICATED,
						"JWT is of another subject or role than the connection; open another "
						"connection for it");
	else if (first && feed->nidentities >= notifyd_max_clients)
		identity_reject(link, session, WIRE_NOT_AUTHENTICATED, "too many clients");
	else
	{
		if (first)
			identity_start(identity, &valid);
		identity_set_token(identity, &valid);
		identity_send(identity);
	}
}

void
identity_verify(Link *link, uint32 session, const char *token, size_t len)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_notifyd token", ALLOCSET_SMALL_SIZES);
	MemoryContext outer = MemoryContextSwitchTo(context);

	identity_decide(link, session, token, len);
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(context);
}
