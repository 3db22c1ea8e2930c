/*-------------------------------------------------------------------------
 *
 * hub_internal.h
 *	  What the hub's files share: hub.c, the feeds' side, hub_client.c, and hub_ask.c between them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HUB_INTERNAL_H
#define GATEWAY_HUB_INTERNAL_H

#include "gateway/hub/hub.h"

/* Added to a subscription's number it is that of its companion. */
#define HUB_COMPANION 1u

RB_PROTOTYPE(SubscriptionTree, Subscription, in_database, )

/*
 * The subscription that has this number, or whose companion has; or NULL. One that is ENDED is not
 * found.
 */
extern Subscription *hub_subscription(Database *database, uint32_t number);

/*
 * Give a subscription an even number that no other has, and file it under it. A number comes again
 * after 2^31 others; one that is still in use then, or that the feed has still to answer, is passed
 * over.
 */
extern void hub_file(Database *database, Subscription *sub);

/*
 * Ask the feed for a subscription when it is its session's turn. Without a link hub_hello() will.
 */
extern void hub_ask(Hub *hub, Database *database, Subscription *sub);

/*
 * The feed has answered the SUBSCRIBE of this number (not a companion's), which may have been a
 * subscription that is ENDED: that is freed. False: it was not asked.
 */
extern bool
hub_answered(Hub *hub, Database *database, uint32_t number) __attribute__((warn_unused_result));

/* The link is gone: so is everything that it was asked for or was to be. */
extern void hub_forget_asked(Database *database);

/* Take a subscription from its session, and free it, now or when the feed has answered. */
extern void hub_drop_subscription(Database *database, Subscription *sub);

/* A session leaves: what the feed answers to what it had asked for is nobody's. */
extern void hub_leave_ended(Session *session);

/* The replay credit that a session's subscriptions ask for: two replays never fill its room. */
extern uint32_t hub_window(const Session *session);

/* End at the feed all that it may have of a subscription. */
extern void hub_withdraw(Hub *hub, Database *database, const Subscription *sub);

/*
 * The feed has ended a subscription, or its companion, or the client takes it back before
 * it began: free it, and tell the client why, in answer to its request or of our own accord.
 */
extern void hub_end(Hub *hub, Subscription *sub, int code, WireBytes message);

extern void hub_free_subscription(Hub *hub, Subscription *sub);

/* The position that a client which has taken everything queued for this subscription is at. */
extern WirePosition hub_position(const Database *database, const Subscription *sub);

/* Tell the client that its subscription begins anew at its position; before as in FrameNote. */
extern void hub_send_reset(Subscription *sub, WireBytes reason, uint64_t before);

#endif /* GATEWAY_HUB_INTERNAL_H */
