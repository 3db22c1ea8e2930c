/*-------------------------------------------------------------------------
 *
 * wire.h
 *	  The frames between the PostgreSQL half and the gateway.
 *
 * Both halves compile this file and wire.c; it depends on libc alone, never
 * allocates and never logs. Two kinds of connection carry frames:
 *
 *	  control pipe	launcher <-> gateway, an inherited socket pair (file descriptor 3
 *				of the gateway). End-of-file on it ends the gateway.
 *	  link		feed <-> gateway, a Unix socket in the data directory that the
 *				gateway binds and every feed connects to.
 *
 * A backend that wants to know who is connected uses the same socket: its HELLO names
 * no database, and the gateway answers with HELLO, a CLIENT for each and CLIENTS_END.
 *
 * A frame is an 8-byte header and a payload. All integers are little-endian:
 *
 *	  u32 length of the payload | u8 type | u8 zero | u16 zero | payload
 *
 * A payload is its message's fields in the order of the structs below, with no
 * padding; a string is a u32 length and that many bytes, without a NUL, in UTF-8.
 * A decoder refuses a frame with bytes left over or missing, an unknown type, and
 * a length beyond WIRE_MAX_PAYLOAD.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_WIRE_H
#define PG_NOTIFYD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION     2
#define WIRE_HEADER_SIZE 8
#define WIRE_MAX_PAYLOAD (256u * 1024 * 1024)
#define WIRE_MAX_STREAMS 65535 /* streams one EVENT frame may name: all there are */

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
	WIRE_GONE = 3,   /* the database of this name is no longer there, or has another name now */
	WIRE_HEALTH =
		4, /* how the launcher finds everything, every few seconds; to be answered by ALIVE */
	WIRE_ASLEEP = 5, /* this database has no feed, as nobody is subscribed; WAKE starts one */
	/* control pipe, gateway to launcher */
	WIRE_READY = 10, /* clients are being accepted */
	WIRE_LOG = 11,
	WIRE_STATS = 12, /* at most once a second, only when something changed */
	WIRE_ALIVE = 13, /* the answer to HEALTH */
	WIRE_WAKE =
		14, /* a client needs the database of this name; may be sent more than once, for any name */
	/* link, both directions, the first frame of each side */
	WIRE_HELLO = 20,
	/* link, gateway to feed */
	WIRE_SUBSCRIBE =
		30, /* answered by SUBSCRIBED or REFUSED, in the order in which they were sent */
	WIRE_UNSUBSCRIBE = 31, /* no frame follows in reply */
	WIRE_REPLAY_CREDIT =
		32, /* this many bytes of the replay's events have been written to the client */
	/* link, feed to gateway */
	WIRE_SUBSCRIBED = 40,
	WIRE_REFUSED = 41,
	WIRE_STREAM_ENDED = 42, /* its subscriptions end, the client is told why */
	WIRE_EVENT = 43,
	WIRE_REPLAY_EVENT = 44,
	WIRE_REPLAY_DONE = 45,
	WIRE_RESET = 46,
	WIRE_POSITION = 47, /* behind events that nobody gets, and at least every WIRE_HEARTBEAT_MS */
	WIRE_GOODBYE = 48,  /* this database is no longer served */
	/* gateway to backend */
	WIRE_CLIENT = 50,
	WIRE_CLIENTS_END = 51, /* that were all of them */
} WireType;

/*
 * A gateway that is not given a CONFIG of its own version first ends with this code, EX_PROTOCOL of
 * sysexits.h. The gateway of 1.0 ends with 0.
 */
#define WIRE_EXIT_VERSION 76

#define WIRE_HEARTBEAT_MS 1000

/*
 * A replay starts with as much credit as the gateway asks for, and this much at most. A
 * REPLAY_EVENT costs the length of its body, and one may be sent while any credit is left, so a
 * large event takes it below zero; REPLAY_CREDIT gives bytes back. Nothing else is limited by it.
 */
#define WIRE_REPLAY_WINDOW (256u * 1024)

/* A slice of somebody else's bytes. */
typedef struct WireBytes
{
	const char *data;
	uint32_t len;
} WireBytes;

/* A place in the order of events. */
typedef struct WirePosition
{
	uint32_t timeline;
	uint64_t id;
} WirePosition;

typedef struct WireConfig
{
	uint16_t version;   /* WIRE_VERSION */
	uint16_t gateway;   /* this gateway's number, from 0 */
	uint16_t listeners; /* listening sockets, inherited as descriptors 4, 5, ... */
	uint16_t port;
	uint8_t anonymous;        /* 1: a client without a token is let in */
	uint32_t max_clients;     /* for this gateway */
	uint32_t max_per_address; /* of these, from one address; 0: no limit */
	uint32_t max_message;     /* bytes, from a client */
	uint64_t client_buffer;   /* bytes queued for one client */
	uint32_t keepalive_ms;    /* 0: no pings */
	WireBytes feed_socket;    /* path to bind for the feeds, relative to the working directory */
	WireBytes database;       /* pg_notifyd.default_database */
	WireBytes origins;        /* pg_notifyd.allowed_origins, as set */
	WireBytes
		listen_addresses; /* pg_notifyd.listen_addresses, as set: names that a Host header may carry */
} WireConfig;

typedef struct WireStop
{
	uint16_t code; /* WebSocket close code: 1001 or 1012 */
} WireStop;

typedef struct WireGone
{
	WireBytes database;
} WireGone;

typedef struct WireHealth
{
	uint8_t looking;   /* 1: a database that has not been looked at yet may turn out to be served */
	WireBytes trouble; /* what is wrong, naming no database; empty: nothing */
} WireHealth;

typedef struct WireAsleep
{
	WirePosition position; /* that its feed would begin at, or an earlier one */
	WireBytes database;
} WireAsleep;

typedef struct WireWake
{
	WireBytes database;
} WireWake;

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

typedef struct WireStats
{
	uint32_t clients;
	uint32_t subscriptions;
	uint64_t accepted;    /* WebSocket connections since start */
	uint64_t refused;     /* handshakes refused since start */
	uint64_t closed_slow; /* clients closed with 4008 */
	uint64_t events;      /* EVENT and REPLAY_EVENT frames received */
	uint64_t messages;    /* messages queued to clients */
	uint64_t bytes;       /* bytes written to clients */
	uint64_t queued;      /* bytes queued to clients now */
} WireStats;

/*
 * From the gateway, database and position are empty; from the feed, gateway is 0. From a
 * backend that asks who is connected, only version is given.
 */
typedef struct WireHello
{
	uint16_t version;
	uint16_t gateway;
	uint32_t database_oid;
	WirePosition position; /* the stream goes on right after it */
	WireBytes database;
} WireHello;

/*
 * What a subscription is for, as bits. A client that cannot take its events as they come has only
 * raw notifications of the feed until it asks for the events again.
 */
#define WIRE_KIND_EVENTS        0x1 /* events of the log, from a position on */
#define WIRE_KIND_NOTIFICATIONS 0x2 /* raw notifications, as they come */
#define WIRE_KIND_ALL           0x3

/* A subscription takes the place of the one that had its number, if there is one. */
typedef struct WireSubscribe
{
	uint32_t sub;      /* the gateway's number for it, unique on this link while in use */
	uint8_t kinds;     /* WIRE_KIND_ bits; ops, since and window are about events */
	uint8_t ops;       /* WIRE_OP_ bits, without WIRE_OP_NOTIFY */
	uint8_t has_since; /* 0: from now on */
	WirePosition since;
	uint32_t
		session; /* the gateway's number for the client's connection: replays have their turns by it */
	uint32_t window; /* replay credit to start with, in bytes, at most WIRE_REPLAY_WINDOW */
	WireBytes role;  /* empty: pg_notifyd.anonymous_role */
	WireBytes channel;
} WireSubscribe;

typedef struct WireUnsubscribe
{
	uint32_t sub;
	uint8_t kinds; /* WIRE_KIND_ALL; or WIRE_KIND_EVENTS: it goes on with its raw notifications */
} WireUnsubscribe;

typedef struct WireReplayCredit
{
	uint32_t sub;
	uint32_t bytes;
} WireReplayCredit;

/*
 * stream: all subscriptions for which the feed decides alike (one channel and one
 * role) share a stream, and EVENT frames name streams. replay: REPLAY_EVENT frames
 * come first, and REPLAY_DONE makes the subscription a member of the stream;
 * without it the subscription is one from this frame on. Raw notifications it gets from this
 * frame on in any case; notifies: whether the role may have those of this channel.
 */
typedef struct WireSubscribed
{
	uint32_t sub;
	uint32_t stream;
	uint8_t replay;
	uint8_t notifies;
	WirePosition position; /* the stream starts right after it */
} WireSubscribed;

/* Why a subscription is refused, or a stream has ended. */
typedef enum WireReason
{
	WIRE_NOT_PERMITTED = 1,   /* the role has no right to it */
	WIRE_NO_SUCH_CHANNEL = 2, /* there is nothing to subscribe to, or it does not work */
} WireReason;

typedef struct WireRefused
{
	uint32_t sub;
	uint8_t reason; /* WireReason */
	WireBytes text; /* the same for people */
} WireRefused;

typedef struct WireStreamEnded
{
	uint32_t stream;
	uint8_t reason;
	WireBytes text;
} WireStreamEnded;

/*
 * body is the event as a JSON object. A raw NOTIFY has id 0. Ids grow from frame
 * to frame of a link: one frame names all streams that an event goes to, and once it is
 * read the link's position is the event's id.
 */
typedef struct WireEvent
{
	uint64_t id;
	uint8_t op; /* one WIRE_OP_ bit */
	uint16_t nstreams;
	const uint8_t *streams; /* nstreams u32, little-endian; read with wire_stream() */
	WireBytes body;
} WireEvent;

typedef struct WireReplayEvent
{
	uint32_t sub;
	uint64_t id;
	uint8_t op; /* one WIRE_OP_ bit */
	WireBytes body;
} WireReplayEvent;

typedef struct WireReplayDone
{
	uint32_t sub;
	uint64_t id;
} WireReplayDone;

/*
 * Events before position can no longer be had; or raw notifications were lost, about which position
 * says nothing.
 */
typedef struct WireReset
{
	uint32_t sub;
	uint8_t kind; /* one WIRE_KIND_ bit */
	WirePosition position;
	WireBytes reason;
} WireReset;

/*
 * Everything up to id has been sent on this link. behind: 0 when that is everything there is.
 * Clients whose position is before renew should have a bookmark soon: the log up to there goes
 * next.
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

/* A client that is connected. */
typedef struct WireClient
{
	uint64_t connected_at; /* microseconds since 1970 */
	WirePosition
		position;      /* what it can resume from: all before it has been written to the client */
	uint64_t lag;      /* by so many ids position is behind the newest that the gateway has */
	uint64_t queued;   /* bytes queued for it now */
	uint64_t messages; /* queued to it since it is connected */
	uint64_t bytes;    /* written to it since it is connected */
	uint16_t port;     /* with address; 0: not known */
	WireBytes address; /* numeric, without the port; empty: not known */
	WireBytes database;
	WireBytes role;        /* empty: pg_notifyd.anonymous_role */
	WireBytes subprotocol; /* empty: none */
	WireBytes channels;    /* that it is subscribed to, a list: see wire_list_next() */
} WireClient;

typedef struct WireMessage
{
	WireType type;
	union
	{
		WireConfig config;
		WireStop stop;
		WireGone gone;
		WireHealth health;
		WireAsleep asleep;
		WireWake wake;
		WireLog log;
		WireStats stats;
		WireHello hello;
		WireSubscribe subscribe;
		WireUnsubscribe unsubscribe;
		WireReplayCredit credit;
		WireSubscribed subscribed;
		WireRefused refused;
		WireStreamEnded ended;
		WireEvent event;
		WireReplayEvent replay_event;
		WireReplayDone replay_done;
		WireReset reset;
		WirePositionMsg position;
		WireGoodbye goodbye;
		WireClient client;
	} u;
} WireMessage;

/*
 * Write a message as one frame into buf. Returns the frame's size in bytes; where
 * that is larger than cap nothing usable was written (call again with that much
 * room). For WIRE_EVENT, streams must point to little-endian u32s.
 */
extern size_t wire_encode(const WireMessage *msg, void *buf, size_t cap);

typedef enum WireResult
{
	WIRE_OK,
	WIRE_MORE, /* the frame is not complete yet */
	WIRE_BAD,  /* not a frame of this protocol: give the connection up */
} WireResult;

/*
 * Read one frame from the first len bytes of buf. On WIRE_OK *msg points into buf
 * and *used is the frame's size. On WIRE_MORE *used is the size needed in all (0:
 * not even the header is there).
 */
extern WireResult wire_decode(const void *buf, size_t len, WireMessage *msg, size_t *used)
	__attribute__((warn_unused_result));

/* The i-th stream that an EVENT names. */
extern uint32_t wire_stream(const WireEvent *event, uint16_t i);

/* Store v as a little-endian u32 (to fill WireEvent.streams). */
extern void wire_store_u32(uint8_t *to, uint32_t v);

/*
 * A list is strings one after the other, each as in a payload. next takes the first one
 * off *list: false when there is none. append adds one to the *used bytes of a list in
 * buf, which has room for cap: false, and nothing is added, when it does not fit.
 */
extern bool wire_list_next(WireBytes *list, WireBytes *item) __attribute__((warn_unused_result));
extern bool wire_list_append(void *buf, size_t cap, size_t *used, WireBytes item)
	__attribute__((warn_unused_result));

/*
 * Positions as clients see them, "<timeline>-<id>", both decimal without leading
 * zeros. format writes at most WIRE_POSITION_SIZE bytes with the NUL and returns the
 * length; parse is strict and returns false for anything else, an id beyond
 * 2^53 - 1 or a timeline of 0 included.
 */
#define WIRE_POSITION_SIZE 32
extern size_t wire_position_format(WirePosition position, char *buf);
extern bool wire_position_parse(const char *text, size_t len, WirePosition *position)
	__attribute__((warn_unused_result));

/* "INSERT" and so on for one WIRE_OP_ bit, and back (exact, upper case); 0 for an unknown name. */
extern const char *wire_op_name(uint8_t op);
extern uint8_t wire_op_parse(const char *name, size_t len);

#endif /* PG_NOTIFYD_WIRE_H */
