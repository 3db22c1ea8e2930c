/*-------------------------------------------------------------------------
 *
 * wamp_testament.h
 *	  Testaments: messages that are published when a session has ended.
 *
 * A client adds them with wamp.session.add_testament and removes them with
 * wamp.session.flush_testaments (WAMP, Advanced Profile, "Testament"). However the session ends, its
 * testaments are published then, in their order, as its role, by a worker: they are in the log, like
 * messages of notify_send(). A session does not survive its connection, so the scopes "detached" and
 * "destroyed" differ in what flush_testaments removes only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_TESTAMENT_H
#define GATEWAY_WAMP_TESTAMENT_H

#include "gateway/wamp/wamp_session.h"

#define TESTAMENT_MAX_COUNT 16
#define TESTAMENT_MAX_BYTES (64 * 1024) /* of all of a session */

/* Process a CALL if it is one of these procedures; otherwise returns false. */
extern bool wamp_testament_call(WampSession *session, const WampMessage *message);

/* The session ends: publish what it has left. */
extern void wamp_testament_left(WampSession *session);

#endif /* GATEWAY_WAMP_TESTAMENT_H */
