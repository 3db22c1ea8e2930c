/*-------------------------------------------------------------------------
 *
 * wire.h
 *	  The frames between the PostgreSQL half and the gateway.
 *
 * Both halves compile this file and wire.c, which depend only on libc, never allocate and never
 * log. Two kinds of connection use frames:
 *
 *	  control pipe	launcher <-> gateway, an inherited socket pair (file descriptor 3
 *				of the gateway). End-of-file on it ends the gateway.
 *	  link		feed or worker <-> gateway, a Unix socket in the data directory that the launcher
 *				binds, the gateway accepts on and every feed connects to.
 *
 * A backend that asks for the connected clients uses the same socket: its HELLO names no database,
 * and the gateway answers with HELLO, a CLIENT for each client and CLIENTS_END.
 *
 * A frame is an 8-byte header and a payload. All integers are little-endian:
 *
 *	  u32 length of the payload | u8 type | u8 zero | u16 zero | payload
 *
 * A payload consists of the message's fields in the order of the structs below, without padding. A
 * string is a u32 length and that many bytes of UTF-8, without a NUL. A decoder rejects a frame
 * with missing or extra bytes, an unknown type, or a length of more than WIRE_MAX_PAYLOAD.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WIRE_H
#define PG_NOTIFYD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/wire_query.h"
#include "wire/wire_route.h"
#include "wire/wire_types.h"

#define WIRE_VERSION     2
#define WIRE_HEADER_SIZE 8
#define WIRE_MAX_PAYLOAD (256u * 1024 * 1024)
#define WIRE_MAX_STREAMS 65535 /* maximum number of streams in one EVENT frame */
#define WIRE_MAX_SUBS    65535 /* and of subscriptions in one REPLAY_EVENT frame */

/* Operations, as bits of a subscription's filter. */
#define WIRE_OP_INSERT   0x01
#define WIRE_OP_UPDATE   0x02
#define WIRE_OP_DELETE   0x04
#define WIRE_OP_TRUNCATE 0x08
#define WIRE_OP_MESSAGE  0x10
#define WIRE_OP_NOTIFY   0x20
#define WIRE_OP_ALL      0x3f

typedef enum WireType
{
	/* control pipe, launcher to gateway */
	WIRE_CONFIG = 1, /* the first frame, and again at every reload */
	WIRE_STOP = 2,   /* close every client with this code, then exit 0 */
	WIRE_GONE = 3,   /* the database with this name was dropped or renamed */
	WIRE_HEALTH = 4, /* every few seconds, what /healthz reports; the gateway answers with ALIVE */
	WIRE_ASLEEP = 5, /* this database has no feed, because it has no subscribers; WAKE starts one */
	WIRE_NO_WORKER = 6, /* no worker can be started for the database with this name at present */
	WIRE_METRICS = 9,   /* the answer to WANT_METRICS */
	/* control pipe, gateway to launcher */
	WIRE_READY = 10, /* the gateway accepts clients */
	WIRE_LOG = 11,
	WIRE_STATS = 12, /* at most once a second, and only after a change */
	WIRE_ALIVE = 13, /* the answer to HEALTH */
	WIRE_WAKE = 14,  /* a client needs the database with this name, which may not exist; repeated */
	WIRE_SANDBOX = 15,      /* at the start, before READY, if a part of the sandbox is missing */
	WIRE_WANT_WORKER = 16,  /* queries wait for a worker of the database with this name; repeated */
	WIRE_LOAD = 17,         /* of a database, before the STATS that it belongs to */
	WIRE_WANT_METRICS = 19, /* not sent again before it is answered */
	/* link, both directions, the first frame of each side */
	WIRE_HELLO = 20,
	WIRE_HELLO_WORKER = 21, /* the same from a worker */
	/* link, gateway to feed */
	WIRE_SUBSCRIBE = 30,     /* answered by SUBSCRIBED or REFUSED, in the order of the requests */
	WIRE_UNSUBSCRIBE = 31,   /* not answered */
	WIRE_REPLAY_CREDIT = 32, /* so many bytes of a replay's events were written to the client */
	WIRE_AUTH = 33,          /* a client's token; answered by IDENTITY or AUTH_REFUSED, in order */
	WIRE_FORGET = 34,        /* a session that has sent AUTH on this link has ended; not answered */
	WIRE_JOIN = 35,          /* a subscription on hold goes on after a snapshot; not answered */
	WIRE_ROUTE_UP = 36,      /* see wire_route.h */
	WIRE_AUTH_USER = 37,     /* a user's name; answered by CHALLENGE or AUTH_REFUSED, as AUTH is */
	WIRE_AUTH_SIGNATURE = 38, /* of the challenge; answered by ISSUED or AUTH_REFUSED, as AUTH is */
	/* link, feed to gateway */
	WIRE_SUBSCRIBED = 40,
	WIRE_REFUSED = 41,
	WIRE_STREAM_ENDED = 42, /* the stream's subscriptions end; clients get the reason */
	WIRE_EVENT = 43,
	WIRE_REPLAY_EVENT = 44,
	WIRE_REPLAY_DONE = 45,
	WIRE_RESET = 46,
	WIRE_POSITION = 47, /* after events without subscribers, and at least every WIRE_HEARTBEAT_MS */
	WIRE_GOODBYE = 48,  /* the feed ends */
	WIRE_MOVED = 49,    /* the subscription belongs to another stream from here on */
	WIRE_IDENTITY = 60, /* the token is valid */
	WIRE_AUTH_REFUSED = 61,
	WIRE_IDENTITY_ENDED = 62,     /* with its subscriptions; the gateway closes the client */
	WIRE_SUBSCRIPTION_ENDED = 63, /* this subscription ends; its client gets the reason */
	WIRE_REPLAY_BEGIN = 64,       /* a subscription that was live gets a replay from here on */
	WIRE_GROUP_READY = 65,        /* a consumer group has events to take */
	WIRE_ROUTE_DOWN = 66,         /* see wire_route.h */
	WIRE_CHALLENGE = 67,          /* for the user that AUTH_USER names */
	WIRE_ISSUED = 68,             /* the signature is right: a token for the session */
	/* gateway to worker */
	WIRE_QUERY = 70,        /* answered by RESULT, SNAPSHOT_DONE or FAILED, in any order */
	WIRE_QUERY_CREDIT = 71, /* so many bytes of a snapshot's rows were written to the client */
	WIRE_QUERY_CANCEL = 72, /* the client does not want the answer; the query is answered anyway */
	/* worker to gateway */
	WIRE_ROWS = 80, /* a part of a snapshot, or of a call's result */
	WIRE_SNAPSHOT_DONE = 81,
	WIRE_RESULT = 82,
	WIRE_FAILED = 83,
	WIRE_SPOOLED = 84, /* the rest of the rows waits for credit; the worker takes other queries */
	/* gateway to backend */
	WIRE_CLIENT = 50,
	WIRE_CLIENTS_END = 51, /* after the last CLIENT */
} WireType;

/*
 * Exit code of a gateway whose first CONFIG has another version, EX_PROTOCOL of sysexits.h. The
 * gateway of version 1.0 exits with 0.
 */
#define WIRE_EXIT_VERSION 76

#define WIRE_HEARTBEAT_MS 1000

/*
 * The gateway says with how much credit a replay starts, at most this much. Each REPLAY_EVENT takes
 * the length of its body. The feed may send one while any credit is left, so a large event makes
 * the credit negative. REPLAY_CREDIT adds to it. Credit limits nothing else.
 */
#define WIRE_REPLAY_WINDOW (256u * 1024)

/*
 * Bytes of the longest token, filter and list of columns, and of the longest frame that a gateway
 * sends to a feed.
 */
#define WIRE_MAX_TOKEN       8192
#define WIRE_MAX_USER        255 /* of a user's name */
#define WIRE_MAX_FILTER      8192
#define WIRE_MAX_COLUMNS     8192
#define WIRE_MAX_REQUEST     (WIRE_HEADER_SIZE + WIRE_MAX_XIP * 8u + 1024)
#define WIRE_MAX_ROUTE_FRAME (WIRE_MAX_ROUTE + WIRE_MAX_REQUEST) /* the same for a ROUTE */

/* Transactions in progress that a snapshot may have. */
#define WIRE_MAX_XIP 65536

/* Bytes of the longest frame that a gateway sends to a worker. */
#define WIRE_MAX_QUERY (32u * 1024 * 1024)

/* At most this many frames AUTH, AUTH_USER and AUTH_SIGNATURE are on their way on a link without an answer. */
#define WIRE_MAX_AUTHS 64

/* The lifetime_ms of an identity that does not expire. */
#define WIRE_NEVER UINT64_MAX

/* pg_notifyd.sandbox: what the gateway gives up before it serves clients. */
typedef enum WireSandboxMode
{
	WIRE_SANDBOX_OFF = 0,
	WIRE_SANDBOX_ON = 1,      /* what the system offers */
	WIRE_SANDBOX_REQUIRE = 2, /* a gateway that misses a part of it ends */
} WireSandboxMode;

/* Parts of the sandbox that a system may not offer, as bits. */
#define WIRE_SANDBOX_CALLS    0x1 /* a filter of system calls, by seccomp */
#define WIRE_SANDBOX_LANDLOCK 0x2

typedef struct WireConfig
{
	uint16_t version; /* WIRE_VERSION */
	uint16_t gateway; /* number of this gateway, from 0 */
	uint16_t
		listeners; /* number of clients' listening sockets, inherited as descriptors 5, 6, ... */
	uint16_t port;
	uint8_t anonymous;          /* 1: accept clients without a token */
	uint32_t max_clients;       /* maximum for this gateway */
	uint32_t max_per_address;   /* maximum from one address; 0: no limit */
	uint32_t max_message;       /* maximum size of a client's message, in bytes */
	uint64_t client_buffer;     /* maximum number of bytes queued for one client */
	uint32_t keepalive_ms;      /* 0: no pings */
	uint8_t sandbox;            /* WireSandboxMode; only the first frame's counts */
	uint8_t page;               /* 1: serve the live page */
	uint8_t compression;        /* 1: offer permessage-deflate */
	uint32_t max_handshakes;    /* new clients a second from one address; 0: no limit */
	uint32_t max_failed_tokens; /* refused tokens a minute from one address; 0: no limit */
	uint8_t ssl; /* 1: TCP connections use TLS; only the first frame's counts, as for sandbox */
	uint16_t ssl_min_version; /* as in TLS' own messages: 0x0303 is TLS 1.2, 0x0304 is TLS 1.3 */
	WireBytes ssl_chain;      /* certificates, PEM, the server's own first */
	WireBytes ssl_key; /* private key of the first one, DER; both sides clear their buffers of it */
	WireBytes database;          /* pg_notifyd.default_database */
	WireBytes origins;           /* pg_notifyd.allowed_origins, unparsed */
	WireBytes listen_addresses;  /* pg_notifyd.listen_addresses, unparsed: for Host headers */
	WireBytes trusted_proxies;   /* pg_notifyd.trusted_proxies, unparsed */
	WireBytes metrics_addresses; /* pg_notifyd.metrics_addresses, unparsed */
	WireBytes endpoints;         /* pg_notifyd.endpoints, unparsed */
	WireBytes realms;            /* pg_notifyd.realms, unparsed */
} WireConfig;

typedef struct WireStop
{
	uint16_t code; /* WebSocket close code: 1001 or 1012 */
} WireStop;

typedef struct WireHealth
{
	uint8_t
		looking; /* 1: the launcher has not checked all databases yet, so more may be served soon */
	WireBytes trouble; /* the present problem, without database names; empty: none */
} WireHealth;

typedef struct WireAsleep
{
	WirePosition position; /* the feed would start there or later */
	WireBytes database;
} WireAsleep;

/* Also GONE and WANT_WORKER. */
typedef struct WireWake
{
	WireBytes database;
} WireWake;

typedef struct WireNoWorker
{
	WireBytes database;
	WireBytes reason;
} WireNoWorker;

typedef struct WireMetrics
{
	WireBytes text; /* of all processes but what only gateways know, see exposition.h */
} WireMetrics;

typedef struct WireSandbox
{
	uint8_t missing; /* WIRE_SANDBOX_ bits */
} WireSandbox;

typedef enum WireLogLevel
{
	WIRE_LOG_DEBUG = 0,
	WIRE_LOG_INFO = 1,
	WIRE_LOG_WARNING = 2,
	WIRE_LOG_ERROR = 3,
} WireLogLevel;

typedef struct WireLog
{
	uint8_t level; /* WireLogLevel */
	WireBytes message;
} WireLog;

/*
 * Why the gateway has refused a request, or a WebSocket before it became a client. The numbers of
 * requests for the API that fail for other reasons than these are not counted.
 */
typedef enum WireRefusal
{
	WIRE_REFUSED_REQUEST, /* malformed, too large, too slow, or for a path that does not exist */
	WIRE_REFUSED_HOST,
	WIRE_REFUSED_ORIGIN,
	WIRE_REFUSED_TOKEN,    /* malformed, or missing */
	WIRE_REFUSED_DATABASE, /* not served */
	WIRE_REFUSED_CLIENTS,  /* pg_notifyd.max_clients, and so on */
	WIRE_REFUSED_CLIENTS_PER_ADDRESS,
	WIRE_REFUSED_HANDSHAKES_PER_ADDRESS,
	WIRE_REFUSED_FAILED_TOKENS_PER_ADDRESS,
	WIRE_REFUSED_PROXY,     /* an unexpected or malformed header of the PROXY protocol */
	WIRE_REFUSED_SSL,       /* no TLS, or a handshake that failed */
	WIRE_REFUSED_METRICS,   /* pg_notifyd.metrics_addresses */
	WIRE_REFUSED_RESOURCES, /* no memory or file descriptor */
	WIRE_REFUSALS
} WireRefusal;

/* Their names for users: of the setting, if there is one. */
extern const char *const wire_refusal_names[WIRE_REFUSALS];

typedef struct WireStats
{
	uint32_t clients;
	uint32_t subscriptions;
	uint64_t accepted;               /* WebSocket connections since start */
	uint64_t refused[WIRE_REFUSALS]; /* requests refused since start */
	uint64_t closed_slow;            /* clients closed with 4008 */
	uint64_t events;                 /* EVENT and REPLAY_EVENT frames received */
	uint64_t messages;               /* messages queued to clients */
	uint64_t bytes;                  /* bytes written to clients */
	uint64_t queued;                 /* bytes queued to clients now */
	uint32_t slow;                   /* clients that are slow now */
	uint32_t waiting;                /* queries that wait for workers now */
	uint32_t busy_ms;                /* the longest turn of the loop since the last report */
} WireStats;

/* The clients of one database, and what waits for them or because of them, at present. */
typedef struct WireLoad
{
	uint32_t clients;
	uint32_t slow;    /* clients for which something has been queued for 10 s */
	uint32_t waiting; /* queries that wait for workers */
	uint64_t queued;  /* bytes queued to clients that do not take them at once */
} WireLoad;

/* A database that has no LOAD before a STATS has neither clients nor waiting queries. */
typedef struct WireDatabaseLoad
{
	WireLoad load;
	WireBytes database;
} WireDatabaseLoad;

/*
 * The gateway leaves database and position empty; the feed sets gateway to 0, and the worker also
 * position. A backend that asks for the clients sets only version.
 */
typedef struct WireHello
{
	uint16_t version;
	uint16_t gateway;
	uint32_t database_oid;
	WirePosition position; /* the stream continues after it */
	WireBytes database;
} WireHello;

/*
 * What a subscription is for, as bits. If a client reads too slowly, its subscription gets only raw
 * notifications until it requests the events again.
 */
#define WIRE_KIND_EVENTS        0x1 /* events of the log, after a position */
#define WIRE_KIND_NOTIFICATIONS 0x2 /* raw notifications, live only */
#define WIRE_KIND_ALL           0x3

/*
 * Subscriptions of one session, at most; how many of them may be patterns; and subscriptions to
 * channels that patterns match, which come in addition.
 */
#define WIRE_MAX_SUBSCRIPTIONS 100
#define WIRE_MAX_PATTERNS      20
#define WIRE_MAX_CHILDREN      1000

#define WIRE_SINCE_NEW 2

/* Replaces the subscription with the same number, if there is one. */
typedef struct WireSubscribe
{
	uint32_t sub;      /* assigned by the gateway, unique on this link while in use */
	uint8_t kinds;     /* WIRE_KIND_ bits; ops, since and window concern only events */
	uint8_t ops;       /* WIRE_OP_ bits, without WIRE_OP_NOTIFY */
	uint8_t has_since; /* 0: no replay; WIRE_SINCE_NEW: the client has nothing from before since */
	WirePosition since;
	uint32_t
		session; /* the gateway's number for the client's connection; connections take turns in replays */
	uint32_t window;   /* initial replay credit in bytes, at most WIRE_REPLAY_WINDOW */
	uint32_t identity; /* of the session's last IDENTITY on this link; 0: there was none */
	WireBytes channel;
	WireBytes filter;    /* which rows; empty: all */
	uint8_t has_columns; /* 0: all columns */
	WireBytes columns;   /* their names, a list: see wire_list_next() */
	uint8_t hold; /* 1: no events before JOIN, as the client gets a snapshot first; without since */
	uint8_t match;       /* UriMatch: channel is a pattern, and the kind NOTIFICATIONS */
	uint64_t subscriber; /* the session's own id, if it has one; 0: the client does not use WAMP */
} WireSubscribe;

/*
 * The subscription was on hold, and its client has the rows of this snapshot. Its replay begins, with
 * window bytes of credit and without the events that the snapshot has seen.
 */
typedef struct WireJoin
{
	uint32_t sub;
	uint32_t window;
	WireSnapshotIds seen;
} WireJoin;

typedef struct WireUnsubscribe
{
	uint32_t sub;
	uint8_t
		kinds; /* WIRE_KIND_ALL; with WIRE_KIND_EVENTS the subscription keeps its raw notifications */
} WireUnsubscribe;

typedef struct WireReplayCredit
{
	uint32_t sub;
	uint32_t bytes;
} WireReplayCredit;

/* A later token of the same connection renews the connection's identity. */
typedef struct WireAuth
{
	uint32_t session; /* as in WireSubscribe */
	WireBytes token;  /* at most WIRE_MAX_TOKEN bytes */
} WireAuth;

/* A user of WAMP-CRA wants a challenge. A session gets one on a link. */
typedef struct WireAuthUser
{
	uint32_t session; /* as in WireSubscribe */
	uint64_t number;  /* the session's own id, for the challenge */
	WireBytes user;   /* 1 to WIRE_MAX_USER bytes */
} WireAuthUser;

/* What the session's client has made of the challenge. */
typedef struct WireAuthSignature
{
	uint32_t session;
	WireBytes signature; /* at most WIRE_MAX_TOKEN bytes */
} WireAuthSignature;

typedef struct WireForget
{
	uint32_t session;
} WireForget;

/*
 * Subscriptions share a stream if they get the same events with the same contents; EVENT frames
 * name streams. If replay is set, REPLAY_EVENT frames follow, and
 * REPLAY_DONE adds the subscription to the stream; otherwise it belongs to the stream from this
 * frame on. It gets raw notifications from this frame on in both cases. notifies is set if the role
 * may get raw notifications of this channel.
 */
typedef struct WireSubscribed
{
	uint32_t sub;
	uint32_t stream;
	uint8_t replay;
	uint8_t notifies;
	WirePosition position; /* the stream starts after it */
} WireSubscribed;

typedef struct WireMoved
{
	uint32_t sub;
	uint32_t stream;
} WireMoved;

/* Why the feed refuses or ends a subscription, a stream, a token or an identity. */
typedef enum WireReason
{
	WIRE_NOT_PERMITTED = 1,     /* the role does not have the privilege */
	WIRE_NO_SUCH_CHANNEL = 2,   /* the channel does not exist or cannot be used */
	WIRE_NOT_AUTHENTICATED = 3, /* the token is not valid, or the link has no such identity */
	WIRE_EXPIRED = 4,           /* the token has expired */
	WIRE_REVOKED = 5,           /* tokens may no longer name the role; or the user has changed */
	WIRE_DISCONNECTED = 6,      /* notify_disconnect() was called */
	WIRE_BAD_FILTER = 7,        /* the filter or the columns cannot be used with this channel */
	WIRE_POLICY_FAILED = 8,     /* a row security policy or the filter raised an error */
} WireReason;

typedef struct WireRefused
{
	uint32_t sub;
	uint8_t reason; /* WireReason */
	WireBytes text; /* the reason as text */
	WireBytes name; /* with WIRE_BAD_FILTER: the column or value that is wrong; may be empty */
} WireRefused;

typedef struct WireSubscriptionEnded
{
	uint32_t sub;
	uint8_t reason; /* WireReason */
	WireBytes text;
} WireSubscriptionEnded;

typedef struct WireStreamEnded
{
	uint32_t stream;
	uint8_t reason;
	WireBytes text;
} WireStreamEnded;

/*
 * The identity of a connection, valid on this link only. A renewed identity keeps its number, role
 * and subject.
 */
typedef struct WireIdentity
{
	uint32_t session;
	uint32_t identity;    /* not 0 */
	uint64_t expires_at;  /* microseconds since 1970; 0: never */
	uint64_t lifetime_ms; /* from now on; WIRE_NEVER */
	WireBytes role;
	WireBytes subject; /* empty: none */
} WireIdentity;

/* What the user's client signs, and how it makes the key for that of the user's secret. */
typedef struct WireChallenge
{
	uint32_t session;
	uint32_t iterations;
	uint32_t keylen;
	WireBytes text;
	WireBytes salt;
} WireChallenge;

/* The gateway presents the token by AUTH, as if it were the client's. */
typedef struct WireIssued
{
	uint32_t session;
	WireBytes token;
} WireIssued;

/* If the connection already has an identity, the identity does not change. */
typedef struct WireAuthRefused
{
	uint32_t session;
	uint8_t reason; /* WireReason */
	WireBytes text;
} WireAuthRefused;

typedef struct WireIdentityEnded
{
	uint32_t session;
	uint32_t identity;
	uint8_t reason; /* WireReason */
	WireBytes text;
} WireIdentityEnded;

/*
 * body is the event as a JSON object, and op what the event does to the rows that these streams
 * see. A raw NOTIFY has id 0. Several frames in a row may have the same id, each for other streams;
 * more is 1 in all but the last of them. Otherwise ids increase from frame to frame. After a frame
 * with more = 0 the position of the link is the event's id.
 */
typedef struct WireEvent
{
	uint64_t id;
	uint8_t op;   /* one WIRE_OP_ bit */
	uint8_t more; /* 1: another frame with this id follows */
	uint16_t nstreams;
	const uint8_t *streams; /* nstreams u32, little-endian; read with wire_stream() */
	WireBytes audience;     /* with id 0: who gets it, the options of WAMP's PUBLISH; empty: all */
	WireBytes body;
} WireEvent;

/* An event of the replays of these subscriptions, which belong to one stream. */
typedef struct WireReplayEvent
{
	uint64_t id;
	uint8_t op; /* one WIRE_OP_ bit */
	uint16_t nsubs;
	const uint8_t *subs; /* nsubs u32, little-endian; read with wire_load_u32() */
	WireBytes body;
} WireReplayEvent;

typedef struct WireReplayDone
{
	uint32_t sub;
	uint64_t id;
} WireReplayDone;

/*
 * A large transaction comes next on the subscription. It is sent as a replay, so that others need
 * not wait for it. The replay begins where the link is, with as much credit as the SUBSCRIBE said.
 */
typedef struct WireReplayBegin
{
	uint32_t sub;
} WireReplayBegin;

/*
 * Events before position are not available any more, or raw notifications were lost; then position
 * means nothing.
 */
typedef struct WireReset
{
	uint32_t sub;
	uint8_t kind; /* one WIRE_KIND_ bit */
	WirePosition position;
	WireBytes reason;
} WireReset;

/*
 * The feed has sent everything up to id on this link. behind is 0 if there is nothing more. Clients
 * with a position before renew need a bookmark soon, because the log up to there is going to be
 * removed.
 */
typedef struct WirePositionMsg
{
	uint64_t id;
	uint64_t renew;
	uint32_t behind_ms;
} WirePositionMsg;

typedef struct WireGoodbye
{
	WireBytes reason;
} WireGoodbye;

/* A connected client. */
typedef struct WireClient
{
	uint64_t connected_at; /* microseconds since 1970 */
	WirePosition position; /* the client can resume from it: everything before was written to it */
	uint64_t lag;        /* number of ids between position and the newest id that the gateway has */
	uint64_t queued;     /* bytes in its queue */
	uint64_t queued_us;  /* for how long the queue has not been empty, in microseconds */
	uint64_t messages;   /* messages queued since it connected */
	uint64_t bytes;      /* bytes written to it since it connected */
	uint64_t expires_at; /* of its token, microseconds since 1970; 0: never, or no token */
	uint64_t number;     /* of its session of WAMP; 0: none */
	uint16_t port;       /* 0: unknown */
	WireBytes address;   /* numeric, without the port; empty: unknown, or a Unix socket */
	WireBytes database;
	WireBytes role;        /* empty: pg_notifyd.anonymous_role */
	WireBytes subject;     /* of its token; empty: none */
	WireBytes claims;      /* of its token, in base64url; empty: none */
	WireBytes subprotocol; /* empty: none */
	WireBytes channels;    /* its subscriptions, a list: see wire_list_next() */
} WireClient;

typedef struct WireMessage
{
	WireType type;
	union
	{
		WireConfig config;
		WireStop stop;
		WireWake gone;
		WireHealth health;
		WireAsleep asleep;
		WireWake wake;
		WireSandbox sandbox;
		WireMetrics metrics;
		WireLog log;
		WireStats stats;
		WireDatabaseLoad load;
		WireHello hello;
		WireSubscribe subscribe;
		WireUnsubscribe unsubscribe;
		WireReplayCredit credit;
		WireAuth auth;
		WireAuthUser auth_user;
		WireAuthSignature auth_signature;
		WireForget forget;
		WireSubscribed subscribed;
		WireMoved moved;
		WireRefused refused;
		WireStreamEnded ended;
		WireSubscriptionEnded subscription_ended;
		WireEvent event;
		WireReplayEvent replay_event;
		WireReplayDone replay_done;
		WireReplayBegin replay_begin;
		WireReset reset;
		WirePositionMsg position;
		WireGoodbye goodbye;
		WireBytes group_ready; /* its name */
		WireIdentity identity;
		WireChallenge challenge;
		WireIssued issued;
		WireAuthRefused auth_refused;
		WireIdentityEnded identity_ended;
		WireClient client;
		WireNoWorker no_worker;
		WireWake want_worker;
		WireJoin join;
		WireQuery query;
		WireQueryCredit query_credit;
		WireQueryCancel query_cancel;
		WireRows rows;
		WireQueryCancel spooled;
		WireSnapshotDone snapshot_done;
		WireResultMsg result;
		WireFailed failed;
		WireRoute route;
	} u;
} WireMessage;

/*
 * Write a message as one frame into buf. Returns the size of the frame in bytes. If that is larger
 * than cap, buf contains nothing usable, and the caller repeats the call with more space. The
 * streams of WIRE_EVENT and the subs of WIRE_REPLAY_EVENT must point to little-endian u32s.
 */
extern size_t wire_encode(const WireMessage *msg, void *buf, size_t cap);

typedef enum WireResult
{
	WIRE_OK,
	WIRE_MORE, /* the frame is incomplete */
	WIRE_BAD,  /* not a valid frame: close the connection */
} WireResult;

/*
 * Read one frame from the first len bytes of buf. With WIRE_OK, *msg points into buf and *used is
 * the size of the frame. With WIRE_MORE, *used is the total size needed (0: the header is
 * incomplete).
 */
extern WireResult wire_decode(const void *buf, size_t len, WireMessage *msg, size_t *used)
	__attribute__((warn_unused_result));

/* Return the i-th stream of an EVENT. */
extern uint32_t wire_stream(const WireEvent *event, uint16_t i);

/* Store v as a little-endian u32, and read one, for WireEvent.streams and WireReplayEvent.subs. */
extern void wire_store_u32(uint8_t *to, uint32_t v);
extern uint32_t wire_load_u32(const uint8_t *from);

/* The same for u64, for WireSnapshotIds.xip. */
extern void wire_store_u64(uint8_t *to, uint64_t v);
extern uint64_t wire_load_u64(const uint8_t *from);

/*
 * A list is a sequence of strings, each encoded like in a payload. wire_list_next() removes the
 * first one from *list, and returns false if there is none. wire_list_append() adds one to the
 * *used bytes of a list in buf, which has cap bytes; it returns false and adds nothing if it does
 * not fit.
 */
extern bool wire_list_next(WireBytes *list, WireBytes *item) __attribute__((warn_unused_result));
extern bool wire_list_append(void *buf, size_t cap, size_t *used, WireBytes item)
	__attribute__((warn_unused_result));

/*
 * Positions as clients see them: "<timeline>-<id>", both decimal without leading zeros.
 * wire_position_format() writes at most WIRE_POSITION_SIZE bytes including the NUL, and returns the
 * length. wire_position_parse() is strict and returns false for anything else, also for an id of
 * more than 2^53 - 1 or a timeline of 0.
 */
#define WIRE_POSITION_SIZE 32
extern size_t wire_position_format(WirePosition position, char *buf);
extern bool wire_position_parse(const char *text, size_t len, WirePosition *position)
	__attribute__((warn_unused_result));

/*
 * Convert a WIRE_OP_ bit to "INSERT" and so on, and back. Names are in upper case; the result for
 * an unknown name is 0.
 */
extern const char *wire_op_name(uint8_t op);
extern uint8_t wire_op_parse(const char *name, size_t len);

#endif /* PG_NOTIFYD_WIRE_H */
