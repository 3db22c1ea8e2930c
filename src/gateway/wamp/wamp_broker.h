/*-------------------------------------------------------------------------
 *
 * wamp_broker.h
 *	  Topics: SUBSCRIBE, UNSUBSCRIBE and EVENT.
 *
 * A topic is a channel, and a subscription one of the hub's. Its number is made of the topic, see
 * uri_id(), so that all sessions share the frame of an event.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_WAMP_BROKER_H
#define GATEWAY_WAMP_BROKER_H

#include "gateway/wamp/wamp_session.h"

/* Process a message of an established session. Each may close the session. */
extern void wamp_subscribe(WampSession *session, const WampMessage *message);
extern void wamp_unsubscribe(WampSession *session, const WampMessage *message);

/* Functions of ProtocolHooks. */
extern void wamp_has_subscribed(HubClient *client, ProtocolName name);
extern void
wamp_has_ended(HubClient *client, ProtocolName name, ProtocolReason reason, WireBytes text);

/* Functions of Protocol. bigint: numbers that a double does not hold become strings. */
extern Frame *wamp_topic_event(const ProtocolEvent *event, bool bigint);
extern Frame *wamp_topic_result(const char *id, ProtocolName name);
extern Frame *
wamp_topic_refusal(const char *id, ProtocolReason reason, WireBytes text, ProtocolName name);
extern Frame *
wamp_topic_reset(ProtocolName name, WireBytes reason, WirePosition position, bool inside);

#endif /* GATEWAY_WAMP_BROKER_H */
