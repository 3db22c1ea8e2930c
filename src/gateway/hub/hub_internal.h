/*-------------------------------------------------------------------------
 *
 * hub_internal.h
 *	  What the hub's files use of each other.
 *
 * Each file uses those below it:
 *
 *	  hub.c					frames from the feeds; the hub as a whole
 *	  hub_client.c			the clients' requests, and what their sessions ask
 *	  hub_subscription.c	a subscription: stream, position, lag, end
 *	  hub_ask.c				SUBSCRIBE frames, each client's in its turn
 *	  hub_database.c		which databases there are
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HUB_INTERNAL_H
#define GATEWAY_HUB_INTERNAL_H

#include "gateway/hub/hub.h"

RB_PROTOTYPE(SubscriptionTree, Subscription, in_database, )

/* ---------------- databases (hub_database.c) ---------------- */

/* Make the database of this name, which is not there yet. */
extern Database *hub_new_database(Hub *hub, WireBytes name);

/* ---------------- what the feed is asked for (hub_ask.c) ---------------- */

/* The subscription that has this number, or NULL. One that is ENDED is not found. */
extern Subscription *hub_subscription(Database *database, uint32_t number);

/*
 * Give a subscription a number that no other has, and file it under it. A number comes again after
 * 2^32 others; one that is still in use then, or that the feed has still to answer, is passed
 * over.
 */
extern void hub_file(Database *database, Subscription *sub);

/*
 * Ask the feed for a subscription when it is its client's turn; for its raw notifications alone if it
 * still lags then. Without a link hub_hello() will.
 */
extern void hub_ask(Hub *hub, Database *database, Subscription *sub);

/*
 * The feed has answered the SUBSCRIBE of this number, which may have been a subscription that is
 * ENDED: that is freed. False: it was not asked.
 */
extern bool
hub_answered(Hub *hub, Database *database, uint32_t number) __attribute__((warn_unused_result));

/* The link is gone: so is everything that it was asked for or was to be. */
extern void hub_forget_asked(Database *database);

/* Take a subscription from its client, and free it, now or when the feed has answered. */
extern void hub_drop_subscription(Database *database, Subscription *sub);

/* A client leaves: what the feed answers to what it had asked for is nobody's. */
extern void hub_leave_ended(HubClient *client);

/* ---------------- subscriptions (hub_subscription.c) ---------------- */

/* The stream of this number that has subscriptions here, or NULL. */
extern Stream *hub_stream(Database *database, uint32_t number);

/*
 * Make a subscription one of this stream, and of no other. A stream is one channel's, and so has no
 * two subscriptions of one client, which hub_event() relies on: false for another channel's.
 */
extern bool hub_join(Database *database, Subscription *sub, uint32_t number)
	__attribute__((warn_unused_result));

/* Take a subscription out of its stream; a stream without subscriptions goes. */
extern void hub_part(Database *database, Subscription *sub);

/*
 * The position that a client which has taken everything queued for this subscription is at. Inline,
 * as it is called for each event and client.
 */
static inline WirePosition
hub_position(const Database *database, const Subscription *sub)
{
	if (sub->state == SUBSCRIPTION_LIVE && database->position.id > sub->position.id)
		return database->position;
	return sub->position;
}

/* End at the feed all that it may have of a subscription. */
extern void hub_withdraw(Hub *hub, Database *database, const Subscription *sub);

/*
 * Its session has no room: the events that the subscription does not have yet are to come from the
 * log, later.
 */
extern void hub_lag(Hub *hub, Database *database, Subscription *sub);

/* A raw notification did not reach the subscription, or is said not to have. */
extern void hub_note_lost(Subscription *sub);

/* From now on it gets events as they come. */
extern void hub_go_live(Subscription *sub);

/* The channel of a subscription. */
static inline WireBytes
hub_channel(const Subscription *sub)
{
	return (WireBytes){.data = sub->channel, .len = sub->channel_len};
}

/* Answer the client's request, now that the feed has. */
extern void hub_answer(Subscription *sub);

/* Tell the client that its subscription begins anew at its position; before as in FrameNote. */
extern void hub_send_reset(Subscription *sub, WireBytes reason, uint64_t before);

/*
 * The feed has ended a subscription, or the client takes it back before it began: free it, and tell the client why, in answer to its request or of our own accord.
 */
extern void hub_end(Hub *hub, Subscription *sub, ProtocolReason reason, WireBytes text);

extern void hub_free_subscription(Hub *hub, Subscription *sub);

#endif /* GATEWAY_HUB_INTERNAL_H */
