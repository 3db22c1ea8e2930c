/*-------------------------------------------------------------------------
 *
 * wamp_route_internal.h
 *	  Declarations shared by wamp_route.c and the files below it.
 *
 *	  wamp_route.c		the session as the feed knows it, and messages from the feed
 *	  wamp_callee.c		registrations and invocations
 *	  wamp_caller.c		calls
 *	  wamp_route_send.c	how messages are sent
 *
 * The number of a ROUTE says what it is about: a CALL has its own number, and the others have one of
 * the bits below.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_ROUTE_INTERNAL_H
#define GATEWAY_WAMP_ROUTE_INTERNAL_H

#include "gateway/wamp/wamp_build.h"
#include "gateway/wamp/wamp_route.h"

#define ROUTE_OF_REGISTER   (UINT64_C(1) << 61)
#define ROUTE_OF_UNREGISTER (UINT64_C(1) << 60)
#define ROUTE_OF_AGAIN      (UINT64_C(1) << 59) /* with the registration's id */
#define ROUTE_NUMBER        (ROUTE_OF_AGAIN - 1)

#define ROUTE_UNAVAILABLE "wamp.error.unavailable"

/* ---------------- sending (wamp_route_send.c) ---------------- */

/*
 * Send a message that others have caused, which is taken over. It takes the room of events. Returns
 * false if there is none. May close the session.
 */
extern bool route_send(HubClient *client, Frame *frame) __attribute__((warn_unused_result));

/* Send the feed a ROUTE that means nothing without a link. */
extern void route_tell(HubClient *client, const WireRoute *route);

/* A payload from the feed for this client, and an error from the feed for a request. */
extern WampPayload route_payload(const HubClient *client, WireBytes payload);
extern Frame *
route_error(HubClient *client, WampType type, uint64_t request, const WireRoute *route);

/*
 * The members of details with these names and those of payload passthru, as text that the caller frees; NULL:
 * it is too long, which it is not without names.
 */
extern char *route_options(const json_t *details, const char *const *names, size_t n);

/* ---------------- registrations and invocations (wamp_callee.c) ---------------- */

/* The feed's answers to REGISTER and UNREGISTER. */
extern void callee_registered(WampSession *session, const WireRoute *route);
extern void callee_unregistered(WampSession *session, const WireRoute *route);

/* The feed does not have a registration any more. */
extern void callee_ended(WampSession *session, uint64_t id, WireBytes reason);

extern void callee_invoke(HubClient *client, const WireRoute *route);

/* A feed is connected: it gets all registrations. It was lost. The session ends. */
extern void callee_register_all(WampSession *session);
extern void callee_lost(HubClient *client);
extern void callee_free_all(WampSession *session);

/* ---------------- calls (wamp_caller.c) ---------------- */

/* The feed's answer to a call. */
extern void caller_answered(WampSession *session, const WireRoute *route);

/* The feed was lost. The session ends. */
extern void caller_lost(HubClient *client);
extern void caller_free_all(WampSession *session);

/* End a call that a worker has or will get, if there is one with this number, with an error. May close the session. */
extern void
caller_end_query(HubClient *client, uint64_t request, const char *error, const char *message);

/* ---------------- timeouts of calls for workers (wamp_timeout.c) ---------------- */

/* Start one, in ms; 0: the call has none. And: the call has ended. */
extern void timeout_start(WampSession *session, uint64_t request, uint64_t ms);
extern void timeout_end(WampSession *session, uint64_t request);
extern void timeout_free_all(WampSession *session);

#endif /* GATEWAY_WAMP_ROUTE_INTERNAL_H */
