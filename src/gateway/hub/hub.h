/*-------------------------------------------------------------------------
 *
 * hub.h
 *	  Databases, their streams, and who has subscribed to them.
 *
 * A database is known from its feed's first HELLO to its GOODBYE. Its link may be lost
 * and come back in between: meanwhile subscriptions wait, and are then made again from
 * where each stood.
 *
 * Life of a subscription; where an arrow has a frame's name, the feed has sent it:
 *
 *				  SUBSCRIBED			   REPLAY_DONE
 *	  WAITING ──────────────► REPLAYING ──────────────► LIVE
 *		 │ ▲   SUBSCRIBED without replay ──────────────► │ │
 *		 │ ├──────────── the link is lost ───────────────┤ │
 *		 │ └── queue empty ── LAGGING ◄──── no room ─────┘ │
 *		 └── REFUSED ──► (ended) ◄── STREAM_ENDED ─────────┘
 *
 * A SUBSCRIBE waits for its client's turn, see hub_ask.c.
 *
 * A stream is the feed's number for "one channel, one role"; an EVENT names streams, and
 * goes to their LIVE subscriptions. Its frame is built once for each protocol that its clients
 * speak, and they share it.
 *
 * Where a client's session has no room for an event, live or replayed, its subscription lags: its
 * events are ended at the feed, and it keeps its position, that of what was queued. When the client
 * has taken everything, the subscription is made anew from there, so the feed reads the rest from
 * the log as fast as the client takes it. The client notices nothing. Raw notifications are in no
 * log, so the feed goes on sending these while the subscription lags or replays. Those that find no
 * room, or may have been sent while the link was lost, are lost, and a reset tells the client.
 *
 * This module has neither socket nor clock; frames to a feed go out through HubSend.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HUB_H
#define GATEWAY_HUB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <uv/tree.h>

#include "gateway/protocol/protocol.h"
#include "gateway/session/session.h"
#include "wire/wire.h"

/* A feed is current if its last POSITION is not older and says that it is not further behind. */
#define HUB_CURRENT_MS 5000
#define HUB_BEHIND_MS  10000

/* The launcher says how it is every other second. */
#define HUB_LAUNCHER_MS 10000

/*
 * A feed that is not there so long after it was asked for is not coming soon: its clients are told.
 * Asked for so often.
 */
#define HUB_WAKE_MS 10000
#define HUB_ASK_MS  1000

#define HUB_MAX_SUBSCRIPTIONS 100   /* of one client */
#define HUB_BOOKMARK_MS       30000 /* of silence, before a client is sent a position */

typedef enum SubscriptionState
{
	SUBSCRIPTION_WAITING,
	SUBSCRIPTION_REPLAYING,
	SUBSCRIPTION_LIVE,
	SUBSCRIPTION_LAGGING,
	SUBSCRIPTION_ENDED, /* nobody's any more, but its SUBSCRIBE is not answered yet: see hub_ask.c */
} SubscriptionState;

/* What has become of a subscription's last SUBSCRIBE. */
typedef enum Asking
{
	ASKING_NOTHING, /* none, or it is answered */
	ASKING_WAITS,   /* it waits for its client's turn */
	ASKING_FEED,    /* the feed has it and will answer */
} Asking;

/* So many SUBSCRIBEs may be under way to a feed: what it deals with in a few milliseconds. */
#define HUB_UNANSWERED 128

typedef struct Subscription
{
	/* First, and in one line of the processor's cache, what each event needs: up to position. */
	LIST_ENTRY(Subscription) in_stream;
	struct HubClient *client;
	uint8_t state;
	uint8_t ops;
	uint8_t asking;    /* Asking */
	uint8_t protocol;  /* the number of its client's */
	bool asked;        /* the client waits for an answer */
	bool lost;         /* the client is still to be told that notifications were lost */
	bool missed;       /* the link was lost: so are notifications, if the channel has any */
	bool has_position; /* position is valid: not while WAITING for the first time without "since" */
	WirePosition position;
	RB_ENTRY(Subscription) in_database;
	LIST_ENTRY(Subscription) in_client;
	TAILQ_ENTRY(Subscription) in_asking; /* while it waits for its turn */
	struct Stream *stream;               /* while the feed has it, for whatever kinds */
	uint32_t number;
	uint32_t credit; /* bytes of its replay written, not yet told the feed */
	char *id;        /* of the request, while asked; see Request */
	uint8_t channel_len;
	char channel[];
} Subscription;

typedef struct Stream
{
	RB_ENTRY(Stream) in_database;
	uint32_t number;
	LIST_HEAD(, Subscription) subscriptions;
} Stream;

/*
 * A client: its session, and what it has asked for. Only while the session is OPEN has it a
 * database and subscriptions.
 */
typedef struct HubClient
{
	Session session; /* first: a pointer to it is one to the client */
	LIST_ENTRY(HubClient) in_database;
	struct Database *database; /* NULL unless OPEN */
	const Protocol *protocol;
	LIST_HEAD(, Subscription) subscriptions;
	uint32_t nsubscriptions;
	LIST_HEAD(, Subscription) ended;   /* with an answer to come that nobody waits for */
	TAILQ_HEAD(, Subscription) asking; /* wait for our turn */
	TAILQ_ENTRY(HubClient) in_asking;  /* of the database, while there are some */
	/* Only to be shown; whoever opens the client sets them. */
	uint64_t connected_at; /* microseconds since 1970 */
	bool subprotocol;      /* pg_notifyd.v1 was selected */
	struct Address *from;  /* whose clients it is one of; kept by whoever opens it */
} HubClient;

LIST_HEAD(HubClientList, HubClient);
TAILQ_HEAD(HubClientQueue, HubClient);
RB_HEAD(SubscriptionTree, Subscription);
RB_HEAD(StreamTree, Stream);

typedef struct Database
{
	LIST_ENTRY(Database) in_hub;
	void *link; /* NULL: lost */
	WirePosition position;
	uint64_t renew; /* clients that know of no later position are sent one soon */
	uint32_t behind_ms;
	uint64_t heard_at; /* when the last POSITION came; 0: none yet on this link */
	bool asleep; /* it has no feed, as nobody was subscribed; the launcher starts one for us */
	uint64_t needed_since; /* when we asked for that first; 0: not now */
	uint64_t asked_at;     /* and last */
	uint32_t last_number;
	uint32_t unanswered;          /* SUBSCRIBEs that the feed has not answered */
	struct HubClientQueue asking; /* clients with subscriptions that wait for their turn, in turn */
	/* For hub_tick(). */
	bool bookmarked;    /* there are clients that wait for the position to move, see hub_client.c */
	uint64_t ticked_id; /* position.id and renew as they were then */
	uint64_t ticked_renew;
	struct SubscriptionTree subscriptions;
	struct StreamTree streams;
	struct HubClientList clients;
	size_t name_len;
	char name[];
} Database;

/* Send a frame on a link. It may fail: the link is then lost, and hub_lost() called later. */
typedef void (*HubSend)(void *link, const WireMessage *message);

/* Ask the launcher for the feed of a database. */
typedef void (*HubWake)(WireBytes database);

typedef struct Hub
{
	HubSend send;
	HubWake wake; /* NULL: nobody to ask */
	Sessions *sessions;
	LIST_HEAD(, Database) databases;
	/* What the launcher says: see WIRE_HEALTH. */
	char *trouble;    /* NULL: nothing is wrong */
	bool looking;     /* it does not know all databases yet */
	uint64_t told_at; /* when it last said anything; 0: not yet */
	uint32_t news;    /* grows when a database may have come to be served, or looking has ended */
} Hub;

/* sessions were initialised with hub_session_events, and the hub as their owner. */
extern void hub_init(Hub *hub, HubSend send, Sessions *sessions);

/* What the hub does for its sessions. */
extern const SessionEvents hub_session_events;

/* The database of this name, or NULL. */
extern Database *hub_find(Hub *hub, const char *name, size_t len);

/*
 * A feed has said HELLO on link. Makes its subscriptions (again). *replaced is the
 * link that it had before, to be closed, or NULL.
 */
extern Database *hub_hello(Hub *hub, const WireHello *hello, void *link, void **replaced);

/* The database's link is gone. */
extern void hub_lost(Database *database);

/*
 * The launcher says that the database is no more. Returns the link that it still has, to be closed,
 * or NULL.
 */
extern void *hub_gone(Hub *hub, WireBytes name);

typedef enum HubResult
{
	HUB_OK,
	HUB_GOODBYE, /* the database is no more */
	HUB_BAD,     /* no frame that a feed may send: give the link up */
} HubResult;

/* A frame from the database's feed. */
extern HubResult hub_message(Hub *hub, Database *database, const WireMessage *message)
	__attribute__((warn_unused_result));

/* A client of this database is connected, and speaks this protocol: see session_open(). */
extern HubClient *hub_open(Hub *hub, Database *database, const Protocol *protocol,
						   const char *address, bool anonymous, void *io);

/*
 * The position up to which everything has been queued to this client: if it resumes there, and has
 * taken all of that, it loses nothing. Its session is OPEN.
 */
extern WirePosition hub_client_position(const HubClient *client);

/* Are all its subscriptions live, and its database's link there? */
extern bool hub_client_live(const HubClient *client);

/*
 * The launcher says that a database has no feed, which may start again from this position, or a
 * later one.
 */
extern void hub_asleep(Hub *hub, const WireAsleep *asleep);

/* Tell the launcher that a client asks for a database of this name, which may not exist. */
extern void hub_want(Hub *hub, const char *name, size_t len);

/* Ask for the feed of a database that is asleep, if that is so. */
extern void hub_need(Hub *hub, Database *database);

/*
 * Once a second, while there are clients, and before sessions_tick(): ask again for feeds, or give
 * them up, and see who is due for a bookmark.
 */
extern void hub_tick(Hub *hub);

/* The launcher says how it finds everything. */
extern void hub_health(Hub *hub, const WireHealth *health);

/* May a database that is not known, or has no feed, come to be served as the launcher goes on? */
extern bool hub_looking(const Hub *hub);

/*
 * Is the link there, and does the feed say that it keeps up; or is the database asleep? If not,
 * *why (if not NULL) says what is wrong.
 */
extern bool hub_database_current(const Database *database, uint64_t now, const char **why);

/* At the end: free all databases, which have no clients any more. */
extern void hub_free(Hub *hub);

#endif /* GATEWAY_HUB_H */
