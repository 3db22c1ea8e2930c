/*-------------------------------------------------------------------------
 *
 * hub.h
 *	  The databases, their streams, and the clients' subscriptions.
 *
 * The hub knows a database from its feed's first HELLO to its GOODBYE. If the link is lost in
 * between, subscriptions wait for a new one, and then subscribe again from their positions.
 *
 * The states of a subscription. The feed's frames are in capitals:
 *
 *				  SUBSCRIBED			   REPLAY_DONE
 *	  WAITING ──────────────► REPLAYING ──────────────► LIVE
 *		 │ ▲					   ▲	  REPLAY_BEGIN	 │ │
 *		 │ │					   └─────────────────────┤ │
 *		 │ ▲   SUBSCRIBED without replay ──────────────► │ │
 *		 │ ├──────────── the link is lost ───────────────┤ │
 *		 │ └── queue empty ── LAGGING ◄──── no room ─────┘ │
 *		 └── REFUSED ──► (ended) ◄── STREAM_ENDED ─────────┘
											SUBSCRIPTION_ENDED
 *
 * A SUBSCRIBE waits for its client's turn, see hub_ask.c.
 *
 * A subscription of a pattern is LIVE from SUBSCRIBED on, and gets messages that are not in the log. The
 * feed names channels that match, and the hub subscribes to each of them for it: its children, whose
 * events have the pattern as tag (hub_pattern.c).
 *
 * A stream is the feed's number for subscriptions of one channel that get the same. An EVENT names
 * streams, and goes to their LIVE subscriptions. Its frame is built once for each protocol of these
 * clients, and shared. One event of the log may be several EVENTs, each for other streams. A
 * subscription that is MOVED belongs to another stream from then on. The events of a large
 * transaction are sent as replays, so a LIVE subscription may be REPLAYING again: its position then
 * stays behind the database's.
 *
 * If a client's session has no room for an event, live or replayed, the subscription lags: the hub
 * ends its events at the feed, and the subscription keeps the position of the last event that was
 * queued. When the client has taken everything, the hub subscribes again from there, so the feed
 * reads the rest from the log as fast as the client takes it. The client does not notice. Raw
 * notifications are not in the log, so the feed continues to send them while the subscription lags
 * or replays. If one does not fit, or may have been sent while the link was lost, it is lost, and
 * the client gets a reset.
 *
 * This module has no socket and no clock. It sends frames to feeds through HubSend.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_HUB_H
#define GATEWAY_HUB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <uv/tree.h>

#include "gateway/base/log_throttle.h"
#include "gateway/net/address.h"
#include "gateway/protocol/protocol.h"
#include "gateway/query/group.h"
#include "gateway/query/pool.h"
#include "gateway/session/identity.h"
#include "gateway/session/session.h"
#include "wire/wire.h"

/*
 * A feed is current if its last POSITION is at most this old and says that the feed is at most this
 * far behind.
 */
#define HUB_CURRENT_MS 5000
#define HUB_BEHIND_MS  10000

/* The launcher sends HEALTH every other second; it is considered dead after this. */
#define HUB_LAUNCHER_MS 10000

/*
 * If a feed has not started after this long, the clients are disconnected. The request for it is
 * repeated at this interval.
 */
#define HUB_WAKE_MS 10000
#define HUB_ASK_MS  1000

#define HUB_MAX_SUBSCRIPTIONS WIRE_MAX_SUBSCRIPTIONS /* for each client */
#define HUB_HINTS             512
#define HUB_MAX_PATTERNS      WIRE_MAX_PATTERNS
#define HUB_MAX_CHILDREN      WIRE_MAX_CHILDREN
#define HUB_BOOKMARK_MS       30000 /* a client without events for this long gets a bookmark */

typedef enum SubscriptionState
{
	SUBSCRIPTION_WAITING,
	SUBSCRIPTION_REPLAYING,
	SUBSCRIPTION_LIVE,
	SUBSCRIPTION_LAGGING,
	SUBSCRIPTION_ENDED, /* dropped, but its SUBSCRIBE is not answered yet: see hub_ask.c */
} SubscriptionState;

/* The state of a subscription's last SUBSCRIBE. */
typedef enum Asking
{
	ASKING_NOTHING, /* none, or answered */
	ASKING_WAITS,   /* waits for its client's turn */
	ASKING_FEED,    /* sent to the feed */
} Asking;

/*
 * The maximum number of SUBSCRIBEs that were sent to a feed and not answered: the feed processes
 * this many in a few milliseconds.
 */
#define HUB_UNANSWERED 128

typedef struct Snapshot Snapshot;

typedef struct Subscription
{
	/* First, in one cache line, what each event needs: up to position. */
	LIST_ENTRY(Subscription) in_stream;
	struct HubClient *client;
	uint8_t state;
	uint8_t ops;
	uint8_t asking;    /* Asking */
	uint8_t variant;   /* clients with the same number get the same bytes, see HUB_VARIANTS */
	bool asked;        /* the client waits for an answer */
	bool lost;         /* raw notifications were lost, and the client does not know yet */
	bool missed;       /* the link was lost, so raw notifications may be, if the channel has any */
	bool has_position; /* position is valid: not in the first WAITING without "since" */
	bool resumes_inside; /* its client resumes inside of a snapshot, and gets a reset */
	bool tagged;         /* its events have its tag, so it has frames of its own */
	bool resumes;        /* its client came with a position */
	bool joint;          /* its client resumes all subscriptions from one text: see hub_place.c */
	uint8_t match;       /* UriMatch: channel is a pattern, and its children have it as parent */
	WirePosition position;
	RB_ENTRY(Subscription) in_database;
	LIST_ENTRY(Subscription) in_client;
	TAILQ_ENTRY(Subscription) in_asking; /* while it waits for its turn */
	struct Stream *stream;               /* while the feed knows it, for any kinds */
	struct Subscription *parent;         /* a pattern that its channel matches; NULL: none */
	bool fresh;                          /* its client has nothing from before its position */
	uint32_t number;
	uint32_t credit;      /* bytes of its replay that were written, not yet returned to the feed */
	char *id;             /* of the request, while asked; see Request */
	Selection *selection; /* NULL: everything */
	struct Snapshot *snapshot; /* NULL: it does not begin with its rows */
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
 * A client: its session, database and subscriptions. It has the latter two only while the session
 * is OPEN.
 */
typedef struct HubClient
{
	Session session; /* first, so that pointers can be converted */
	LIST_ENTRY(HubClient) in_database;
	struct Database *database;      /* NULL unless OPEN, and while outside */
	RB_ENTRY(HubClient) in_members; /* of the database, if its protocol has hooks */
	bool outside; /* of all databases: its protocol has hooks, and it has entered none */
	const Protocol *protocol;
	void *state;                       /* belongs to the protocol; NULL at first */
	RB_ENTRY(HubClient) in_identities; /* of the database, once it has sent a token */
	Identity identity;
	struct TokenSource *token_source;  /* while its token waits for its turn, else NULL */
	TAILQ_ENTRY(HubClient) in_waiting; /* of token_source */
	LIST_HEAD(, Subscription) subscriptions;
	uint32_t nsubscriptions; /* without children */
	uint32_t npatterns;      /* of these */
	uint32_t nchildren;
	LIST_HEAD(, Subscription) ended;   /* dropped, with an answer still to come */
	TAILQ_HEAD(, Subscription) asking; /* waiting for their turn */
	TAILQ_ENTRY(HubClient) in_asking;  /* of the database, while asking is not empty */
	/* For messages that name who gets them, see audience.h. Set by protocols whose clients have them. */
	uint64_t number;      /* the session's own id; 0: it has none */
	uint64_t mark;        /* another one, in messages that it excludes itself from; 0: none */
	const char *authid;   /* NULL: the identity's subject */
	const char *authrole; /* NULL: the identity's role */
	/* Only for notifyd.clients. Set by the caller of hub_open(). */
	uint64_t connected_at;   /* microseconds since 1970 */
	const char *subprotocol; /* WebSocket's, or a stream's type; "": none */
	Address *from;           /* counts this client; owned by the caller of hub_open() */
	PoolClient queries;      /* calls and messages */
	LIST_HEAD(, HubQuery) asked_queries;
	LIST_HEAD(, Consumer) consumers;  /* of groups, see hub_group.c */
	STAILQ_HEAD(, HubAnswer) answers; /* of queries, for which the session had no room */
} HubClient;

LIST_HEAD(HubClientList, HubClient);
RB_HEAD(MemberTree, HubClient);
TAILQ_HEAD(HubClientQueue, HubClient);
RB_HEAD(SubscriptionTree, Subscription);
RB_HEAD(StreamTree, Stream);
RB_HEAD(IdentityTree, HubClient);

/* An address from which clients have sent tokens, while the feed has not answered all: see hub_token.c. */
typedef struct TokenSource
{
	RB_ENTRY(TokenSource) in_database;
	TAILQ_ENTRY(TokenSource) in_turns; /* while in_turn */
	struct HubClientQueue waiting;     /* clients whose tokens wait for their turn */
	uint32_t asked;                    /* tokens that the feed has */
	uint32_t limit;                    /* of asked */
	bool in_turn;                      /* it may send a token */
	uint8_t address[ADDRESS_SIZE];     /* Address.key */
} TokenSource;

RB_HEAD(TokenSourceTree, TokenSource);
TAILQ_HEAD(TokenSourceQueue, TokenSource);

/* A token that the feed has. */
typedef struct AskedToken
{
	uint32_t session; /* which may have ended */
	bool offered;     /* the client has just presented it */
	TokenSource *source;
} AskedToken;

typedef struct Database
{
	LIST_ENTRY(Database) in_hub;
	void *link; /* NULL: lost */
	WirePosition position;
	uint64_t renew; /* clients without a later position than this get one soon */
	uint32_t behind_ms;
	uint64_t heard_at; /* when the last POSITION arrived; 0: none yet on this link */
	bool asleep; /* it has no feed, because it had no subscribers; the launcher can start one */
	uint64_t needed_since; /* when the feed was first requested; 0: not now */
	uint64_t asked_at;     /* when it was last requested */
	uint32_t last_number;
	uint32_t unanswered;          /* SUBSCRIBEs that the feed has not answered */
	struct HubClientQueue asking; /* clients with waiting subscriptions, in turn */
	/* For hub_tick(). */
	bool bookmarked;    /* some clients wait for a newer position, see hub_client.c */
	uint64_t ticked_id; /* values of position.id and renew at the last tick */
	uint64_t ticked_renew;
	struct SubscriptionTree subscriptions;
	struct StreamTree streams;
	Subscription *next_delivered; /* by the running hub_event(), after the present one */
	struct HubClientList clients;
	struct MemberTree members;      /* clients whose protocols have hooks, by session's number */
	WireLoad load;                  /* its clients; the rest is that of the last tick */
	struct IdentityTree identities; /* clients that have sent a token, by session's number */
	uint32_t nheld;                 /* clients that wait for the answer to a token, or for a feed */
	uint64_t hints[HUB_HINTS];      /* belong to protocols with hooks */
	struct TokenSourceTree token_sources;
	struct TokenSourceQueue token_turns; /* those that may send a token, in turn */
	AskedToken asked[WIRE_MAX_AUTHS];    /* a ring */
	uint32_t first_asked;
	uint32_t nasked;
	Pool pool;
	Groups groups;
	PoolClient testator;    /* the messages of clients that have left, see hub_testament.c */
	LogThrottle testaments; /* that were not sent */
	TAILQ_HEAD(, Snapshot) snapshots; /* that begin again soon */
	size_t name_len;
	char name[];
} Database;

/* What is to be done at a time, see hub_set_due(). It belongs to a protocol; zeros: nothing. */
typedef struct HubDue
{
	RB_ENTRY(HubDue) in_hub;
	uint64_t at; /* on the clock of Sessions */
	bool set;
	void (*run)(struct HubDue *due); /* called once; it is not set any more */
} HubDue;

RB_HEAD(HubDueTree, HubDue);

/* Send a frame on a link. If this fails, the link is lost, and hub_lost() is called later. */
typedef void (*HubSend)(void *link, const WireMessage *message);

/* Request a database's feed from the launcher. */
typedef void (*HubWake)(WireBytes database);

typedef struct Hub
{
	HubSend send;
	HubWake wake; /* NULL: there is no launcher */
	/*
	 * May tokens of clients from this address (Address.key) be verified now? One that was refused is
	 * counted. NULL: there is no limit.
	 */
	bool (*token_allowed)(const uint8_t *address);
	void (*token_refused)(const uint8_t *address);
	Pools pools;
	Sessions *sessions;
	LIST_HEAD(, Database) databases;
	struct HubClientList outside; /* clients in no database, by in_database */
	LogThrottle realms;           /* that were refused */
	struct HubDueTree due;
	/* The launcher's last report, see WIRE_HEALTH. */
	char *trouble;      /* NULL: no problem */
	bool looking;       /* the launcher has not checked all databases yet */
	uint64_t health_at; /* when it last reported; 0: not yet */
	uint32_t news;      /* increased when a database may be served now, or when looking has ended */
} Hub;

/*
 * Initialise the hub. sessions were initialised with hub_session_events and this hub as their
 * owner.
 */
extern void hub_init(Hub *hub, HubSend send, Sessions *sessions);

/* The functions of the hub that sessions call. */
extern const SessionEvents hub_session_events;

/* Return the database with this name, or NULL. */
extern Database *hub_find(Hub *hub, const char *name, size_t len);

/*
 * Process a feed's HELLO on link. Subscribes (again) for the database's clients. Sets *replaced to
 * the previous link, which the caller closes, or NULL.
 */
extern Database *hub_hello(Hub *hub, const WireHello *hello, void *link, void **replaced);

/* The database's link was lost. */
extern void hub_lost(Database *database);

/*
 * The launcher reports that the database was dropped or renamed. Returns its link, which the caller
 * closes, or NULL.
 */
extern void *hub_gone(Hub *hub, WireBytes name);

typedef enum HubResult
{
	HUB_OK,
	HUB_GOODBYE, /* the feed has ended */
	HUB_BAD,     /* not a frame that a feed may send: close the link */
} HubResult;

/* Process a frame from the database's feed. */
extern HubResult hub_message(Hub *hub, Database *database, const WireMessage *message)
	__attribute__((warn_unused_result));

/*
 * Add a client of this database with this protocol, see session_open() for kind and io. anonymous: it may do
 * without a token. The database is NULL for a client that the caller closes at once, or whose protocol has
 * hooks: it is outside until hub_enter().
 */
extern HubClient *hub_open(Hub *hub, Database *database, SessionKind kind, const Protocol *protocol,
						   const char *address, bool anonymous, void *io);

/*
 * A client that is outside enters a database. anonymous: it needs no token; otherwise it has
 * IDENTITY_TOKEN_MS for one from now on.
 */
extern void hub_enter(HubClient *client, Database *database, bool anonymous);

/*
 * Return true if the database (NULL: none) may have clients now. Otherwise *later says that this may
 * change soon, see hub_looking().
 */
extern bool hub_serves(const Hub *hub, const Database *database, bool *later);

/*
 * Process a request of the client. Takes over what the request owns, but the caller still calls
 * request_free(). A client that presents a token need not wait until it is verified.
 */
extern void hub_request(HubClient *client, Request *request);

/*
 * The client leaves: send a message as its role, which a worker may do after it has left. payload and publisher are
 * JSON, as in Request.body and Request.named, and are copied.
 */
extern void hub_send_testament(HubClient *client, WireBytes channel, const char *payload,
							   const char *publisher);

/*
 * The client does not want the answer to a query any more, whose request had this id. It is not answered. Returns false
 * if there is none, because it has been answered.
 */
extern bool hub_cancel(HubClient *client, const char *id);

/*
 * Send a ROUTE to the feed for a client, whose session and identity are filled in here. Returns false
 * without a link on which the feed knows the client's identity: linked() of ProtocolHooks tells when there is one.
 */
extern bool
hub_route(HubClient *client, const WireRoute *route) __attribute__((warn_unused_result));

/* End a subscription of the client, which is told nothing of it. */
extern void hub_drop(HubClient *client, Subscription *sub);

/*
 * The client presents a token, in its handshake or by a request with this id (NULL: it wants no
 * answer), which is taken over. The client is not read until the feed has verified the token.
 */
extern void hub_offer(Hub *hub, HubClient *client, const char *token, size_t len, bool requested,
					  char *request);

/*
 * The client wants to authenticate by WAMP-CRA as this user, 1 to WIRE_MAX_USER bytes. number is the session's own id.
 * challenged() of ProtocolHooks has the answer, and the client then presents its signature of at most WIRE_MAX_TOKEN
 * bytes; if that is right, identified() follows as if the client had presented a token. The client is not read
 * until the feed has answered.
 */
extern void hub_offer_user(Hub *hub, HubClient *client, const char *user, uint64_t number);
extern void hub_offer_signature(Hub *hub, HubClient *client, const char *signature);

/*
 * Return the position up to which everything was queued to this client: if it takes all of that, it
 * can resume there. Its session is OPEN.
 */
extern WirePosition hub_client_position(const HubClient *client);

/* Return true if all its subscriptions are live, and its database has a link. */
extern bool hub_client_live(const HubClient *client);

/*
 * The launcher reports that a database has no feed. A new feed will start at this position or a
 * later one.
 */
extern void hub_asleep(Hub *hub, const WireAsleep *asleep);

/* Tell the launcher that a client wants a database with this name, which may not exist. */
extern void hub_want(Hub *hub, const char *name, size_t len);

/* Request a feed if the database has none. */
extern void hub_need(Hub *hub, Database *database);

/*
 * Called once a second while there are clients, before sessions_tick(): repeat or give up requests
 * for feeds, find clients that need a bookmark, and begin to measure the databases' loads.
 */
extern void hub_tick(Hub *hub);

/*
 * Let due->run be called in so many ms, instead of when it was to be called before; and not at all. Whoever frees a
 * HubDue calls hub_clear_due() first.
 */
extern void hub_set_due(Hub *hub, HubDue *due, uint64_t ms);
extern void hub_clear_due(Hub *hub, HubDue *due);

/*
 * Do what is due. Returns after how many ms to call this again, unless something is set before; UINT64_MAX: nothing
 * is set. May close sessions.
 */
extern uint64_t hub_run_due(Hub *hub);

/*
 * Return true if clients take from consumer groups, or deliveries have to be given back, for which
 * hub_tick() is needed.
 */
extern bool hub_groups_busy(const Hub *hub);

/* Process the launcher's HEALTH. */
extern void hub_health(Hub *hub, const WireHealth *health);

/*
 * Return true if databases that are unknown or have no feed may be served soon, because the
 * launcher still checks databases.
 */
extern bool hub_looking(const Hub *hub);

/*
 * Return true if the database has a link whose feed keeps up, or if it is asleep. Otherwise *why
 * (if not NULL) is set to the problem.
 */
extern bool hub_database_current(const Database *database, uint64_t now, const char **why);

/*
 * Process a worker's HELLO on link. Returns NULL if the database is not known; the caller then closes the link, and
 * the worker connects again. Otherwise frames from the worker go to pool_message().
 */
extern PoolWorker *hub_worker(Hub *hub, const WireHello *hello, void *link);

/* The launcher cannot start a worker. */
extern void hub_no_worker(Hub *hub, const WireNoWorker *message);

/* Free all databases at the end. They have no clients any more. */
extern void hub_free(Hub *hub);

#endif /* GATEWAY_HUB_H */
