/*-------------------------------------------------------------------------
 *
 * feed_topic.h
 *	  What clients of WAMP have subscribed to: the procedures and events wamp.subscription.* (WAMP,
 *	  Advanced Profile, subscription meta API).
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_TOPIC_H
#define PG_NOTIFYD_FEED_TOPIC_H

#include "ext/feed/feed.h"

/* A subscriber that has been taken from a subscription, for topic_begin() or topic_drop(). */
typedef struct TopicSubscriber
{
	struct Topic *topic; /* NULL: none */
	uint64 session;
} TopicSubscriber;

/*
 * A subscription has begun. before: what topic_take() has returned for one that it replaces. If it is
 * for the same session and topic, nobody is told.
 */
extern void topic_begin(Sub *sub, const WireSubscribe *request, TopicSubscriber before);

/* Take the subscriber of a subscription that is about to be replaced. Ends with topic_begin() or topic_drop(). */
extern TopicSubscriber topic_take(Sub *sub);
extern void topic_drop(Feed *feed, TopicSubscriber subscriber);

/* A subscription ends. */
extern void topic_end(Sub *sub);

/*
 * Answer a call of a procedure wamp.subscription.*. payload and what is appended to result are as in
 * WireRoute, in UTF-8. Returns false if there is no such procedure. If the call fails, sets *error to
 * the error's URI, and result is its message.
 */
extern bool
topic_answer(WireBytes procedure, WireBytes payload, StringInfo result, const char **error);

#endif /* PG_NOTIFYD_FEED_TOPIC_H */
