/*-------------------------------------------------------------------------
 *
 * feed_identity.h
 *	  Identities: which tokens the feed has accepted, of which connections. See feed_identity.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_IDENTITY_H
#define PG_NOTIFYD_FEED_IDENTITY_H

#include "ext/feed/feed.h"

/* Make the table of a link's identities. */
extern HTAB *identity_table(Feed *feed);

/* Note that a connection presents a token. */
extern void identity_present(Link *link, uint32 session);

/*
 * Verify the token of a connection that has presented it, within a transaction and after
 * recheck_look(), and answer; or answer without that.
 */
extern void identity_verify(Link *link, uint32 session, const char *token, size_t len);
extern void identity_refuse(Link *link, uint32 session, WireReason reason, const char *text);

/* The same with what a client has presented: count that, and log it now and then. */
extern void identity_reject(Link *link, uint32 session, WireReason reason, const char *text);

/* The connection has ended. Returns false if it has not presented a token. */
extern bool identity_forget(Link *link, uint32 session) __attribute__((warn_unused_result));

/* Drop the challenge that a connection has, if any, see feed_challenge.c. */
extern void identity_drop_challenge(FeedIdentity *identity);

/* Drop all identities of a link that is closed. */
extern void identity_drop_link(Link *link);

#endif /* PG_NOTIFYD_FEED_IDENTITY_H */
