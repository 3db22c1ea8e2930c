/*-------------------------------------------------------------------------
 *
 * wamp_route.h
 *	  Procedures of sessions: REGISTER, INVOCATION, YIELD, and calls that no function of the database
 *	  answers.
 *
 * The feed has the registrations of a database and the calls under way (wire_route.h). A gateway does
 * not know whether a name is that of an exposed function or of a registered procedure, so it asks the
 * feed:
 *
 *	  CALL ──► feed ──► a session has registered it ──► answered
 *		│		 └──► it is a function, or nothing ──► worker ──► answered
 *		└── the database remembers that it is a function ──┘
 *
 * So the calls of a session reach the feed in the order in which they came. Functions have none.
 *
 * When the link to the feed is lost, calls at the feed fail. The session stays, and its registrations:
 * the next feed gets them again. One that another session has taken meanwhile ends with UNREGISTERED.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_ROUTE_H
#define GATEWAY_WAMP_ROUTE_H

#include "gateway/wamp/wamp_session.h"

/* All functions are for an established session, and may close it. */

/* Process a message of the client. */
extern void wamp_register(WampSession *session, const WampMessage *message);
extern void wamp_unregister(WampSession *session, const WampMessage *message);
extern void wamp_yield(WampSession *session, const WampMessage *message);
extern void wamp_invocation_failed(WampSession *session, const WampMessage *message);

/* A CALL with a valid name has come. */
extern void wamp_route_call(WampSession *session, const WampMessage *message);

/* CANCEL: of calls at a worker, too. */
extern void wamp_cancel(WampSession *session, const WampMessage *message);

/* A worker has answered a CALL. Returns true if the client has got another answer. */
extern bool wamp_route_answered(WampSession *session, uint64_t request, const WireMessage *answer);

/* The session is established, or the feed is connected or lost. */
extern void wamp_route_join(WampSession *session);
extern void wamp_route_linked(WampSession *session, bool linked);

/* Process the feed's message. */
extern void wamp_route_received(WampSession *session, const WireRoute *route);

/* The session ends. */
extern void wamp_route_left(WampSession *session);

#endif /* GATEWAY_WAMP_ROUTE_H */
