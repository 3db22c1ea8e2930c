/*-------------------------------------------------------------------------
 *
 * wamp_hint.h
 *	  What a database's feed and workers have said of names, which saves asking again.
 *
 * A hint may be wrong, because the name has changed, or missing, because another name has its place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_HINT_H
#define GATEWAY_WAMP_HINT_H

#include "gateway/hub/hub.h"

typedef enum WampHint
{
	HINT_NONE,
	HINT_PLAIN,   /* a topic whose messages are not in the log, */
	HINT_DURABLE, /* and one whose are */
	HINT_WORKER,  /* a procedure that is a function, */
	HINT_FEED,    /* and one that a session has registered */
} WampHint;

/* Return the key of a topic, and of a procedure. */
extern uint64_t wamp_hint_topic(WireBytes topic);
extern uint64_t wamp_hint_procedure(WireBytes name);

/* Return the hint of a key. */
extern WampHint wamp_hint(const Database *database, uint64_t key);

/* Set it. HINT_NONE: forget the hint of this key, if there is one. */
extern void wamp_hint_learn(Database *database, uint64_t key, WampHint hint);

#endif /* GATEWAY_WAMP_HINT_H */
