/*-------------------------------------------------------------------------
 *
 * feed_challenge.h
 *	  Challenges of WAMP-CRA, and their signatures. See feed_challenge.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_CHALLENGE_H
#define PG_NOTIFYD_FEED_CHALLENGE_H

#include "ext/feed/feed.h"

/*
 * Process AUTH_USER and AUTH_SIGNATURE of a connection, and answer. Needs a transaction. number is the
 * session's own id, and name is valid UTF-8.
 */
extern void challenge_make(Link *link, uint32 session, uint64 number, const char *name, uint32 len);
extern void challenge_answer(Link *link, uint32 session, const char *signature, uint32 len);

#endif /* PG_NOTIFYD_FEED_CHALLENGE_H */
