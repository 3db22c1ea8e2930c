/*-------------------------------------------------------------------------
 *
 * feed_auth.h
 *	  Tokens that wait to be verified, and names and signatures of users.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_AUTH_H
#define PG_NOTIFYD_FEED_AUTH_H

#include "ext/feed/feed_identity.h"

/* Return true if the link may have one more token. */
extern bool auth_has_room(const Link *link);

/*
 * Process AUTH, AUTH_USER or AUTH_SIGNATURE, if there is room. text is the token, name or signature, and number the
 * session's own id with a name. The answer comes from auth_verify_some().
 */
extern void auth_receive(Link *link, WireType type, uint32 session, uint64 number, WireBytes text);

/*
 * Process FORGET. Returns false if no gateway sends it: the connection has not presented a token.
 * Its tokens that still wait are refused.
 */
extern bool auth_forget(Link *link, const WireForget *message) __attribute__((warn_unused_result));

/* Drop all tokens of a link that is closed. */
extern void auth_drop_link(Link *link);

#endif /* PG_NOTIFYD_FEED_AUTH_H */
