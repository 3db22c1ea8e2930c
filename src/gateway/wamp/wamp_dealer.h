/*-------------------------------------------------------------------------
 *
 * wamp_dealer.h
 *	  Procedures: CALL and RESULT. Workers execute exposed functions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_DEALER_H
#define GATEWAY_WAMP_DEALER_H

#include "gateway/wamp/wamp_session.h"

/* Process a message of an established session. May close the session. */
extern void wamp_call(WampSession *session, const WampMessage *message);

/* Functions of Protocol: answers to CALL and PUBLISH. */
extern Frame *wamp_query_result(const char *id, WireBytes body, bool bigint);
extern Frame *wamp_query_progress(const char *id, WireBytes row, bool bigint);
extern Frame *wamp_query_failure(const char *id, const WireFailed *failed, ProtocolName name);

#endif /* GATEWAY_WAMP_DEALER_H */
