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

#include "gateway/wamp/wamp_build.h"
#include "gateway/wamp/wamp_session.h"

/* Process a message of an established session. Each may close the session. */
extern void wamp_subscribe(WampSession *session, const WampMessage *message);
extern void wamp_unsubscribe(WampSession *session, const WampMessage *message);

/* The subscription that the client itself has asked for, with this number, or NULL. */
extern Subscription *wamp_find_subscription(const HubClient *client, uint64_t id);

/*
 * Find the arguments of a message in its event's object, which payload->kwargs is at first: those that a
 * client of WAMP has published, or that its payload looks like. Adds who has published it to the details,
 * if subscribers may know, and sets *publication if the message has a number of its own. The object of
 * another event has no "payload", and stays as it is. So does that of a message to a channel on which
 * tables are watched, whose subscribers must be able to tell it from events of the tables.
 */
extern void
wamp_event_payload(WireBytes body, json_t *details, uint64_t *publication, WampPayload *payload);

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
