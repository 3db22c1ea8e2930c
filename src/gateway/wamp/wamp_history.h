/*-------------------------------------------------------------------------
 *
 * wamp_history.h
 *	  Event history: the procedure wamp.subscription.get_events.
 *
 * A worker reads the last events of the subscription's topic, under the role of the session. The
 * answer has their arguments as EVENT has them. See WAMP, Advanced Profile, "Event History".
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_HISTORY_H
#define GATEWAY_WAMP_HISTORY_H

#include "gateway/wamp/wamp_session.h"

/*
 * Process a CALL if it is one of this procedure; otherwise returns false. Arguments: the number of one of
 * the session's own subscriptions; how many events (default 10). Keyword arguments: limit, reverse.
 */
extern bool wamp_history_call(WampSession *session, const WampMessage *message);

/* Return true if this is the id of such a request. */
extern bool wamp_history_asked(const char *id);

/* RESULT of such a request: body is what the worker has answered. */
extern Frame *wamp_history_result(const char *id, WireBytes body, bool bigint);

#endif /* GATEWAY_WAMP_HISTORY_H */
