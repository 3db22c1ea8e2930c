/*-------------------------------------------------------------------------
 *
 * feed_auth.c
 *	  Tokens that wait to be verified.
 *
 * Verifying a bad token takes as long as the signature takes, times the number of keys that the
 * token may have been signed with: up to 10 ms. So the feed keeps tokens that have arrived, and
 * verifies some of them in each round, after it has sent that round's events: one in any case, and
 * more until AUTH_BUDGET_US are over. The next round takes notice of revocations before it goes on.
 * Links take turns, and the tokens of a link are answered in order.
 *
 * Other frames do not wait for tokens: the gateway sends no request that depends on a token before
 * it has the answer. A link has at most WIRE_MAX_AUTHS tokens that wait. The gateway decides whose
 * these are (gateway/hub/hub_token.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/feed/feed_auth.h"
#include "ext/feed/feed_challenge.h"

#define AUTH_BUDGET_US 2000

struct FeedAuth
{
	dlist_node in_link; /* Link.auths */
	WireType type;      /* AUTH, AUTH_USER, AUTH_SIGNATURE */
	uint32 session;
	bool forgotten; /* the session has ended meanwhile */
	uint64 number;  /* WireAuthUser.number */
	uint32 len;
	char text[FLEXIBLE_ARRAY_MEMBER];
};

bool
auth_has_room(const Link *link)
{
	return link->nauths < WIRE_MAX_AUTHS;
}

void
auth_receive(Link *link, WireType type, uint32 session, uint64 number, WireBytes text)
{
	FeedAuth *auth = MemoryContextAlloc(link->feed->context, offsetof(FeedAuth, text) + text.len);

	Assert(auth_has_room(link));
	identity_present(link, session);
	auth->type = type;
	auth->session = session;
	auth->forgotten = false;
	auth->number = number;
	auth->len = text.len;
	memcpy(auth->text, text.data, text.len);
	dlist_push_tail(&link->auths, &auth->in_link);
	link->nauths++;
}

bool
auth_forget(Link *link, const WireForget *message)
{
	dlist_iter iter;

	dlist_foreach (iter, &link->auths)
	{
		FeedAuth *auth = dlist_container(FeedAuth, in_link, iter.cur);

		auth->forgotten |= auth->session == message->session;
	}
	return identity_forget(link, message->session);
}

static void
auth_free(Link *link, FeedAuth *auth)
{
	dlist_delete(&auth->in_link);
	link->nauths--;
	pfree(auth);
}

void
auth_drop_link(Link *link)
{
	while (link->nauths > 0)
		auth_free(link, dlist_head_element(FeedAuth, in_link, &link->auths));
}

/* Return the link whose turn it is, or NULL if no token waits. */
static Link *
auth_next_link(const Feed *feed)
{
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		Link *link = feed->links[(feed->auth_turn + i) % NOTIFYD_MAX_GATEWAYS];

		if (link != NULL && link->nauths > 0)
			return link;
	}
	return NULL;
}

static void
auth_verify(Link *link)
{
	FeedAuth *auth = dlist_head_element(FeedAuth, in_link, &link->auths);

	link->feed->auth_turn = link->gateway + 1;
	if (auth->forgotten)
		identity_refuse(link, auth->session, WIRE_NOT_AUTHENTICATED, "the connection has ended");
	else if (auth->type == WIRE_AUTH_USER)
		challenge_make(link, auth->session, auth->number, auth->text, auth->len);
	else if (auth->type == WIRE_AUTH_SIGNATURE)
		challenge_answer(link, auth->session, auth->text, auth->len);
	else
		identity_verify(link, auth->session, auth->text, auth->len);
	auth_free(link, auth);
}

bool
auth_verify_some(Feed *feed)
{
	Link *link = auth_next_link(feed);
	int64 until;

	if (link == NULL)
		return false;
	until = feed_clock() + AUTH_BUDGET_US;
	sub_begin();
	recheck_look(feed);
	do
	{
		auth_verify(link);
		link = auth_next_link(feed);
	} while (link != NULL && feed_clock() < until);
	sub_commit(feed);
	link_send_all(feed);
	return link != NULL;
}
