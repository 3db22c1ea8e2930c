/*-------------------------------------------------------------------------
 *
 * hub_internal.h
 *	  Declarations shared by the hub's own files.
 *
 * Each file uses only those below it:
 *
 *	  hub.c					frames from the feeds; the hub as a whole
 *	  hub_client.c			the clients' requests, and the functions that sessions call
 *	  hub_route.c			frames for clients with sessions of their own
 *	  hub_pattern.c			subscriptions of patterns, and who gets a message
 *	  hub_snapshot.c		subscriptions that begin with the rows of their set
 *	  hub_query.c			calls and messages, which workers execute
 *	  hub_group.c			consumers of groups
 *	  hub_identity.c		tokens, and the identities that the feed gives for them
 *	  hub_token.c			AUTH frames, in turns of the clients' addresses
 *	  hub_subscription.c	a subscription: stream, position, lag, end
 *	  hub_place.c			from where a client resumes all of its subscriptions
 *	  hub_ask.c				SUBSCRIBE frames, in turns of the clients
 *	  hub_database.c		the set of databases
 *	  hub_due.c				what protocols do at a certain time
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HUB_INTERNAL_H
#define GATEWAY_HUB_INTERNAL_H

#include "gateway/hub/hub.h"
#include "gateway/protocol/audience.h"
#include "wire/uri.h"

/* Protocols of clients, times the kinds of their connections. */
#define HUB_VARIANTS (PROTOCOL_MAX * SESSION_KINDS)

RB_PROTOTYPE(SubscriptionTree, Subscription, in_database, )

/* ---------------- databases (hub_database.c) ---------------- */

/* Add a database with this name, which does not exist yet. */
extern Database *hub_new_database(Hub *hub, WireBytes name);

/* ---------------- what the feed is asked for (hub_ask.c) ---------------- */

/* Return the subscription with this number, or NULL. Does not find ENDED ones. */
extern Subscription *hub_subscription(Database *database, uint32_t number);

/*
 * Assign an unused number to a subscription, and add it under that number. A number is used again
 * after 2^32 others, except those in use and those that the feed has not answered.
 */
extern void hub_file(Database *database, Subscription *sub);

/*
 * Send SUBSCRIBE when it is the client's turn, only for raw notifications if the subscription still
 * lags then. Without a link, hub_hello() sends it later.
 */
extern void hub_ask(Hub *hub, Database *database, Subscription *sub);

/*
 * The feed has answered the SUBSCRIBE with this number. If the subscription is ENDED, frees it.
 * Returns false if there was no such SUBSCRIBE.
 */
extern bool
hub_answered(Hub *hub, Database *database, uint32_t number) __attribute__((warn_unused_result));

/* The link was lost: forget all SUBSCRIBEs, sent or not. */
extern void hub_forget_asked(Database *database);

/* Remove a subscription from its client, and free it now or when the feed has answered. */
extern void hub_drop_subscription(Database *database, Subscription *sub);

/* A client leaves: the answers to its ENDED subscriptions are ignored. */
extern void hub_leave_ended(HubClient *client);

/* ---------------- tokens on their way (hub_token.c) ---------------- */

/*
 * Send the feed the client's token that it has not verified on this link, if there is one, when it
 * is the turn of the client's address. Without a link, hub_hello() does so later.
 */
extern void hub_verify(Hub *hub, HubClient *client);

typedef enum TokenAnswer
{
	HUB_TOKEN_REFUSED,
	HUB_TOKEN_ACCEPTED,
	HUB_TOKEN_CHALLENGED, /* says nothing about who the client is */
} TokenAnswer;

/*
 * The feed has answered a token, name or signature of this session. Returns false if another answer
 * comes first, or none.
 */
extern bool hub_token_answered(Hub *hub, Database *database, uint32_t session, TokenAnswer answer)
	__attribute__((warn_unused_result));

/* Refuse what a client has offered, which is not sent: too much from its address was refused meanwhile. */
extern void hub_refuse_guess(HubClient *client);

/* The client leaves: its token need not be sent. */
extern void hub_leave_token(HubClient *client);

/* The link was lost: forget all tokens, sent or not. */
extern void hub_forget_tokens(Database *database);

/* ---------------- tokens and identities (hub_identity.c) ---------------- */

/* Frames from the feed. False: not one that a feed may send. */
extern bool hub_identity(Hub *hub, Database *database, const WireIdentity *message)
	__attribute__((warn_unused_result));
extern bool hub_auth_refused(Hub *hub, Database *database, const WireAuthRefused *message)
	__attribute__((warn_unused_result));
extern bool hub_challenge(Hub *hub, Database *database, const WireChallenge *message)
	__attribute__((warn_unused_result));
extern bool hub_issued(Hub *hub, Database *database, const WireIssued *message)
	__attribute__((warn_unused_result));
extern void hub_identity_ended(Database *database, const WireIdentityEnded *message);

/* A new link: have all tokens verified again. The link is gone: so are the identities' numbers. */
extern void hub_verify_all(Hub *hub, Database *database);
extern void hub_forget_identities(Database *database);

/* When the client is to be closed unless it sends a token before, and do so. */
extern uint64_t hub_identity_deadline(const HubClient *client);
extern void hub_identity_due(HubClient *client);

/* The client leaves: so does its identity. */
extern void hub_leave_identity(Hub *hub, HubClient *client);

/* ---------------- queries (hub_query.c) ---------------- */

/* Pass a request on to the workers. Takes over its id. */
extern void hub_query(HubClient *client, Request *request);

/* Send answers for which there was no room, if there is now. May close the session. */
extern void hub_flush_answers(HubClient *client);

/* The client leaves: cancel its queries. */
extern void hub_leave_queries(HubClient *client);

/* ---------------- consumers (hub_group.c) ---------------- */

/*
 * Begin to consume, or change the window. Takes over the request's id if it answers later. Returns
 * false if the client has too many consumers.
 */
extern bool hub_consume(HubClient *client, Request *request) __attribute__((warn_unused_result));

/* Deliveries were acknowledged or given back by the client. */
extern void hub_settled(HubClient *client, const char *group, const uint64_t *ids, size_t nids);

/* The session may have room for more deliveries. */
extern void hub_flush_consumers(HubClient *client);

/* The client leaves: give its deliveries back. */
extern void hub_leave_consumers(HubClient *client);

/* ---------------- snapshots (hub_snapshot.c) ---------------- */

/* Return the replay credit for a client's subscriptions (hub_ask.c). */
extern uint32_t hub_window(const HubClient *client);

/* A subscription asks for a snapshot: give it one. Takes over request->order. */
extern void hub_snapshot_new(Hub *hub, Subscription *sub, Request *request);
extern void hub_snapshot_free(Subscription *sub);

/* Return true if its next SUBSCRIBE is to be held; if its snapshot is not done yet. */
extern bool hub_snapshot_holds(const Subscription *sub);
extern bool hub_snapshot_is_unfinished(const Subscription *sub);

/* Return true if a worker reads its rows. */
extern bool hub_snapshot_is_reading(const Subscription *sub);

/* Return true if it begins again soon; if frames of it wait for room, so that no event may be sent before. */
extern bool hub_snapshot_is_due(const Subscription *sub);
extern bool hub_snapshot_has_frames(const Snapshot *snapshot);

/* Each event asks for each subscription, and most have no snapshot. */
static inline bool
hub_snapshot_waits(const Subscription *sub)
{
	return sub->snapshot != NULL && hub_snapshot_has_frames(sub->snapshot);
}

/* Return credit of a replay to the feed, now or when the session's queue is empty (hub_client.c). */
extern void hub_return_credit(Hub *hub, Subscription *sub, uint32_t bytes);

/* The feed has answered the SUBSCRIBE that is held: have the rows read. May end the subscription. */
extern void hub_snapshot_subscribed(Subscription *sub);

/*
 * A part of the session's room was given back. Returns true if it belongs to the snapshot's rows, and not to the
 * events of a replay.
 */
extern bool hub_snapshot_credit(const Subscription *sub, uint32_t bytes);

/* An event of the replay has come, or its end. */
typedef enum SnapshotResult
{
	HUB_SNAPSHOT_PASSED, /* send the event like any other */
	HUB_SNAPSHOT_HELD,   /* it was taken */
	HUB_SNAPSHOT_CLOSED, /* the session is closed */
} SnapshotResult;

extern SnapshotResult
hub_snapshot_event(Subscription *sub, WirePosition position, const WireReplayEvent *event);
extern bool hub_snapshot_replayed(Subscription *sub, WirePosition position);

/* Send frames that wait for room. May close the session. */
extern void hub_flush_snapshot(Subscription *sub);

/* The link was lost while the snapshot was not done: it begins again on the next one. */
extern void hub_snapshot_lost(Subscription *sub);

/* Tell the client that it has to load the rows again, and do that. May close the session. */
extern void hub_restart_snapshot(Subscription *sub, WireBytes reason);

/* Called once a second: begin the snapshots that are due. */
extern void hub_snapshot_tick(Database *database, uint64_t now);

/* ---------------- patterns (hub_pattern.c) ---------------- */

/* Return the name of a pattern as a tag, which the caller frees. */
extern Selection *hub_pattern_tag(UriMatch match, const char *pattern, size_t len);

/* Process ROUTE_CHANNEL. Returns false if no feed may send it. May close the session. */
extern bool hub_channel(Hub *hub, Database *database, const WireRoute *route)
	__attribute__((warn_unused_result));

/*
 * The topic of a message that is not in the log, from its body. Returns false if it has none. buf has
 * PROTOCOL_MAX_CHANNEL bytes.
 */
extern bool
hub_topic(WireBytes body, char *buf, WireBytes *topic) __attribute__((warn_unused_result));

/* Return true if the client is among those that get a message. */
extern bool hub_hears(const HubClient *client, const Audience *audience);

/* ---------------- frames for clients with sessions of their own (hub_route.c) ---------------- */

/* A client whose protocol has hooks enters its database, or leaves it. */
extern void hub_add_member(HubClient *client);
extern void hub_remove_member(HubClient *client);

/* Process ROUTE_DOWN. Returns false if no feed may send it. May close the session. */
extern bool hub_routed(Hub *hub, Database *database, const WireRoute *route)
	__attribute__((warn_unused_result));

/* Tell the clients that the link is there, or was lost. May close their sessions. */
extern void hub_tell_members(Database *database, bool linked);

/* ---------------- places of all subscriptions (hub_place.c) ---------------- */

/*
 * Return the frame that a joint subscription's client gets for a live event with this id: NULL if all
 * of its subscriptions resume from there, so that it gets the shared one.
 */
extern Frame *hub_place_event(const Subscription *sub, uint64_t id, const Frame *shared);

/*
 * A frame of the client has a position, of this subscription, inside of its snapshot or not. NULL:
 * of all. Takes the frame over and returns it, or one that names the places of the others.
 */
extern Frame *hub_place(const HubClient *client, const Subscription *sub, WirePosition position,
						bool inside, Frame *frame);

/* ---------------- subscriptions (hub_subscription.c) ---------------- */

/* Return the stream with this number if it has subscriptions here, or NULL. */
extern Stream *hub_stream(Database *database, uint32_t number);

/* Move a subscription to this stream. Returns false if the stream belongs to another channel. */
extern bool hub_join(Database *database, Subscription *sub, uint32_t number)
	__attribute__((warn_unused_result));

/* Remove a subscription from its stream, and free the stream if it has no other. */
extern void hub_part(Database *database, Subscription *sub);

/*
 * Return the position of a client that has taken everything queued for this subscription. Inline,
 * because it is called for each event and client.
 */
static inline WirePosition
hub_position(const Database *database, const Subscription *sub)
{
	if (sub->state == SUBSCRIPTION_LIVE && database->position.id > sub->position.id)
		return database->position;
	return sub->position;
}

/* End the subscription at the feed. */
extern void hub_withdraw(Hub *hub, Database *database, const Subscription *sub);

/*
 * Let a subscription lag because its session has no room: it will get the events from the log
 * later.
 */
extern void hub_lag(Hub *hub, Database *database, Subscription *sub);

/* A raw notification did not reach the subscription, or may not have. */
extern void hub_note_lost(Subscription *sub);

/* The subscription gets live events from now on. */
extern void hub_go_live(Subscription *sub);

/* Return the channel and tag of a subscription. */
static inline ProtocolName
hub_name(const Subscription *sub)
{
	ProtocolName name = {.channel = {.data = sub->channel, .len = sub->channel_len}};

	if (sub->selection != NULL)
		name.tag = sub->selection->tag;
	return name;
}

/* Answer the client's request after the feed has answered. */
extern void hub_answer(Subscription *sub);

/* A subscription has begun: if all of its client's have, let the client's session write. */
extern void hub_try_begin(HubClient *client);

/* Send a refusal, which ends a client of a protocol in which refusals do. */
extern void hub_send_refusal(HubClient *client, Frame *refusal);

/*
 * Send a reset: the subscription begins again at its position. before is as in FrameNote. May
 * close the session.
 */
extern void hub_send_reset(Subscription *sub, WireBytes reason, uint64_t before);

/*
 * Free a subscription that the feed has ended, or that the client drops before it began, and send
 * the reason to the client, as the answer to its request or as a notification.
 */
extern void hub_end(Hub *hub, Subscription *sub, ProtocolReason reason, WireBytes text);

/* Remove a subscription from its client, with its children. */
extern void hub_free_subscription(Hub *hub, Subscription *sub);

#endif /* GATEWAY_HUB_INTERNAL_H */
