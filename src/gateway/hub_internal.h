/*-------------------------------------------------------------------------
 *
 * hub_internal.h
 *	  What the hub's two files share: hub.c, the feeds' side, and hub_client.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HUB_INTERNAL_H
#define GATEWAY_HUB_INTERNAL_H

#include "hub.h"

/* The subscription that has this number, or whose companion has; or NULL. */
extern Subscription *hub_subscription(Database *database, uint32_t number);

/* Give a subscription an even number that no other has had for long, and file it under it. */
extern void hub_file(Database *database, Subscription *sub);

/* Ask the feed for a subscription, if it is there; otherwise hub_hello() will. */
extern void hub_ask(Hub *hub, Database *database, Subscription *sub);

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
