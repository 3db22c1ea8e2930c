/*-------------------------------------------------------------------------
 *
 * wamp_publish.h
 *	  PUBLISH: messages that are in the log, and others.
 *
 * The feed knows whether messages of a topic are in the log. If not, it passes the message on by itself,
 * and otherwise a worker sends it (ROUTE_PUBLISH, wire_route.h):
 *
 *	  WAITING ──► AT_FEED ──► published, or refused
 *		 │			 │ ROUTE_DURABLE
 *		 └───────────┴──► AT_WORKER ──► published, after the commit, or refused
 *
 * A session's messages are published in the order in which they were sent, also on several topics. So a
 * message waits for the earlier ones, unless all of them go through the feed alone. One that follows a
 * message in the log names the event of that message, and the feed sends it after this event. While
 * SESSION_UNANSWERED of its messages wait, the client is not read. The database keeps what the feed has
 * said of some topics, which saves asking.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_PUBLISH_H
#define GATEWAY_WAMP_PUBLISH_H

#include "gateway/wamp/wamp_session.h"

/* The requests of these ROUTEs have this bit, and those of others do not. */
#define WAMP_PUBLICATION (UINT64_C(1) << 62)

/* Process PUBLISH in an established session. May close it. */
extern void wamp_publish(WampSession *session, const WampMessage *message);

/* Process the feed's answer, whose request has that bit. May close the session. */
extern void wamp_publish_routed(WampSession *session, const WireRoute *route);

/* A worker has answered the request with this number. May close the session. */
extern void wamp_publish_answered(WampSession *session, uint64_t number, const WireMessage *answer);

/* The feed is connected, or was lost. May close the session. */
extern void wamp_publish_linked(WampSession *session, bool linked);

/* The session ends. */
extern void wamp_publish_left(WampSession *session);

#endif /* GATEWAY_WAMP_PUBLISH_H */
