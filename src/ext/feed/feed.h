/*-------------------------------------------------------------------------
 *
 * feed.h
 *	  The feed of a database, shared by its own files only. The model is at the head of feed.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_FEED_H
#define PG_NOTIFYD_FEED_H

#include "postgres.h"

#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "storage/latch.h"
#include "utils/hsearch.h"

#include "ext/access/access.h"
#include "ext/log/log.h"
#include "ext/base/frames.h"
#include "ext/base/shared.h"
#include "ext/feed/turns.h"
#include "wire/wire.h"

typedef struct Feed Feed;
typedef struct Link Link;
typedef struct Stream Stream;

/*
 * A client's connection, as the gateway numbered it. In link->sessions as long as it has
 * subscriptions.
 */
typedef struct Session
{
	uint32 number;
	int nsubs;
	TurnsSession turns;
} Session;

/* A subscription, as the gateway numbered it. In link->subs, by its number. */
typedef struct Sub
{
	uint32 number;
	Link *link;
	Stream *stream;
	Session *session;
	uint8 kinds;           /* WIRE_KIND_ bits */
	uint8 ops;             /* of events */
	bool replaying;        /* reads by itself, has not yet met the live stream */
	LogReader reader;      /* where its replay is */
	int64 credit;          /* bytes of replay that the client may still be sent */
	int64 window;          /* and may be at most */
	TurnsReplay turn;      /* when it is read for */
	dlist_node in_stream;  /* stream->subs */
	dlist_node in_replays; /* link->replays, while replaying */

	/* While a piece of the log is read for it and others, see feed_replay.c. */
	bool riding;
	uint32 given; /* events */
	struct Sub *next_rider;
	struct Sub *next_in_group;
} Sub;

/* The connection to one gateway. */
struct Link
{
	Feed *feed;
	int gateway;
	FrameSocket socket;
	bool greeted;       /* its HELLO has come */
	bool notifies_lost; /* raw notifications were dropped: subscribers are to be told */
	LogReader reader;   /* live: events up to reader.after have been queued on this link */
	uint64 position;    /* the same as a position that may be handed out */
	uint64 told;        /* position of the last POSITION frame */
	TimestampTz told_at;
	TimestampTz last_event_at; /* of the event read last: how far behind we are */
	uint64 delivered;          /* events up to this id have been taken by the socket */
	uint64 mark;               /* those up to this one will have been taken */
	uint64 mark_bytes;         /* once the socket has taken so many bytes */
	HTAB *subs;
	HTAB *sessions;
	dlist_head replays;
	Turns turns; /* of the replays */
};

/* What all subscriptions of one role to one channel share. */
typedef struct StreamKey
{
	char role[NAMEDATALEN]; /* empty: the anonymous role */
	char channel[NAMEDATALEN];
} StreamKey;

struct Stream
{
	StreamKey key;
	uint32 number;
	Oid role;
	AccessChannel channel;
	bool due; /* to be decided anew at the next look, see feed_recheck.c */
	MemoryContext decisions_context;
	dlist_head decisions; /* what has been found out about events, see feed_stream.c */
	dlist_head subs;
	struct ReplayGroup
		*riders; /* NULL except while a piece of the log is read for some, see feed_replay.c */
	/* By gateway, how many of them are sent events as they come, and how many raw notifications. */
	int live[NOTIFYD_MAX_GATEWAYS];
	int notified[NOTIFYD_MAX_GATEWAYS];
	dlist_node in_channel; /* FeedChannel.streams */
	dlist_node in_idle;    /* Feed.idle, while it has no subscriptions */
};

/* A channel with at least one stream. */
typedef struct FeedChannel
{
	char name[NAMEDATALEN];
	bool listening;
	dlist_head streams;
} FeedChannel;

struct Feed
{
	NotifydDatabase *database;
	Oid incarnation; /* notifyd.log_0, to notice that the extension went or was made anew */
	char *database_name;
	uint32 timeline;
	LogMap map;
	Link *links[NOTIFYD_MAX_GATEWAYS];
	uint32 gateway_generation; /* of the last attempt to connect */
	HTAB *streams;             /* StreamKey -> Stream */
	HTAB *channels;            /* name -> FeedChannel */
	HTAB *stream_numbers;      /* those in use */
	uint32 next_stream;        /* the number given last */
	dlist_head idle;           /* streams without subscriptions, until stream_settle() */
	int nsubs;
	TimestampTz now;        /* when this round began */
	TimestampTz idle_since; /* since when there are none */
	bool needed;            /* there has been one */
	bool first;             /* of this database since the server's start */
	uint64 watermark;       /* as it was when this round began */
	uint32 held_ms;         /* for how long the same commit has held it up */
	StringInfoData text;    /* the event being built */
	int found;              /* transactions with live events that this round has read */
	int64 began;            /* µs: when these could be read, being on disk */
	int64_t free_at;        /* µs: until then time is owed in which events gather, see gather.h */
	MemoryContext context;
};

/* A link that has more than this waiting to be sent gets no more events for now. */
#define LINK_HIGH_WATER (512 * 1024)

/* Whether a link is connected, greeted, and not too full to take events. */
static inline bool
link_ready(const Link *link)
{
	return link != NULL && link->socket.fd != PGINVALID_SOCKET && link->greeted &&
		   frames_unsent(&link->socket) < LINK_HIGH_WATER;
}

/* ---------------- where links are (feed_position.c) ---------------- */

/*
 * Events up to id have been queued on the link, or nothing is known but reader.after: id 0. Set the
 * position that may be handed out.
 */
extern void position_set(Link *link, uint64 id);

/*
 * The last position that a client may be given now, and the watermark that it belongs to. Flushes
 * the WAL up to there. Needs a transaction.
 */
extern uint64 position_last(Feed *feed, uint64 *watermark);

/* Put a link without subscriptions at the end of what is decided. Needs a transaction. */
extern void position_jump(Link *link);

/* Every link that is not there yet. */
extern void position_jump_all(Feed *feed);

/* Whether a link could be sent live events: up to the watermark; up to what is decided now. */
extern bool position_has_live(const Feed *feed, uint64 watermark);
extern bool position_behind(const Feed *feed);

/* ---------------- links (feed_link.c) ---------------- */

/* Raw notifications have no log to wait in: beyond this they are dropped, and subscribers told. */
#define LINK_NOTIFY_LIMIT (16 * 1024 * 1024)

/*
 * Connect to the gateways that are set, give up those that are no longer. Cheap when nothing
 * changed.
 */
extern void link_connect_all(Feed *feed, bool retry);

/* Has every gateway that the feed is connected to answered? */
extern bool link_all_greeted(const Feed *feed);

/* Read what has come and handle it; whether there was anything. */
extern bool link_receive_all(Feed *feed);

/* Send what can be sent without waiting. */
extern void link_send_all(Feed *feed);

/* Note what the socket has taken of the events that were queued, as link->delivered. */
extern void link_note_delivered(Link *link);

/* Queue POSITION where one is due; behind: there is more to read for this link. */
extern void link_tell_position(Link *link, bool behind);

/* Wait for the latch or a socket for at most timeout ms. */
extern void link_wait(Feed *feed, long timeout);

/* Say goodbye to all and close. */
extern void link_goodbye_all(Feed *feed, const char *reason);

/* ---------------- what decisions depend on (feed_change.c) ---------------- */

#define CHANGE_MAX_RELATIONS 64

/* What has changed. */
typedef struct FeedChanges
{
	bool all;   /* every decision counts as changed */
	bool roles; /* roles, memberships or the database */
	int n;
	Oid relations[CHANGE_MAX_RELATIONS];
} FeedChanges;

/* From now on PostgreSQL tells this process what changes. */
extern void change_init(void);

/* Something has changed since the last change_take(). */
extern bool change_due(void);

/* Every decision counts as changed. */
extern void change_all(void);

/* What has changed since the last call. */
extern FeedChanges change_take(void);

/* Something has just been decided for a stream, perhaps in the middle of a change. */
extern void change_decided(Stream *stream);

/* ---------------- streams and subscriptions (feed_stream.c) ---------------- */

extern void stream_init(Feed *feed);

/* Begin a transaction for frames where there is none, and leave it open: stream_settle() ends it. */
extern void stream_begin(void);

/*
 * Handle SUBSCRIBE, after recheck_look(), in the transaction that stream_begin() has begun;
 * UNSUBSCRIBE; REPLAY_CREDIT.
 */
extern void stream_subscribe(Link *link, const WireSubscribe *request);
extern void stream_unsubscribe(Link *link, const WireUnsubscribe *request);
extern void stream_credit(Link *link, const WireReplayCredit *credit);

/*
 * All frames that came together are handled: streams without subscriptions go, and what was begun
 * for the frames is committed. Before anything is sent, since only the commit makes us listen.
 * Cheap where there is nothing to do.
 */
extern void stream_settle(Feed *feed);

/* Drop all subscriptions of a link that is gone. */
extern void stream_drop_link(Link *link);

/*
 * Decide anew what the role may see of the channel; ends the stream if it is no longer allowed.
 * Needs a transaction.
 */
extern void stream_decide_anew(Feed *feed, Stream *stream);

/*
 * What was decided about events: whether there is anything about those of a relation; make it anew
 * when it is asked for.
 */
extern bool stream_has_decision(Stream *stream, Oid relation);
extern void stream_forget_decisions(Stream *stream);

extern FeedChannel *stream_channel(Feed *feed, const char *name, int length);
extern bool stream_event_allowed(Stream *stream, const LogEvent *event);

/* The replay of a subscription has met the live stream. */
extern void stream_go_live(Sub *sub);

/* Tell a subscription that events up to id can no longer be had. */
extern void stream_send_reset(Sub *sub, uint64 id, const char *reason);

/*
 * If raw notifications were dropped because the link was full, tell those who were to get them,
 * once it is not.
 */
extern void stream_tell_notifies_lost(Link *link);

/* ---------------- when decisions are made anew (feed_recheck.c) ---------------- */

extern void recheck_init(Feed *feed);

/*
 * Make decisions anew where that is needed; ends the streams that are no longer allowed. Needs a
 * transaction.
 */
extern void recheck_look(Feed *feed);

/* ---------------- events (feed_event.c) ---------------- */

/* What is said where retention has passed a subscription. */
#define EVENT_RESET_RETENTION "events after the position are no longer retained"

/* Build the event's JSON object in feed->text. */
extern void event_build_text(Feed *feed, const LogEvent *event);

/* feed->text has been queued. */
extern void event_count_sent(Feed *feed);

/*
 * Pass a reset that a writer put into the log on to one subscription, if it concerns it, see
 * watch_reset.c. Uses feed->text.
 */
extern void event_send_reset(Sub *sub, const LogEvent *event);

/* ---------------- reading (feed_read.c) ---------------- */

/* What a round of reading left. */
typedef enum FeedProgress
{
	FEED_IDLE,    /* nothing to do until something happens */
	FEED_MORE,    /* go on at once */
	FEED_STANDBY, /* waiting for a synchronous standby: look again soon */
} FeedProgress;

/*
 * One bounded round: live events up to feed->watermark for every link, which are sent at once, then
 * a piece of every replay. lsn: what has to be flushed for that watermark. Needs a transaction that
 * was begun after it was taken.
 */
extern FeedProgress feed_read(Feed *feed, XLogRecPtr lsn);

/* A few turns of replays (feed_replay.c). */
extern FeedProgress feed_read_replays(Feed *feed, Snapshot snapshot);

/* Up to which id every link and every replay has read; PG_UINT64_MAX where nobody reads. */
extern uint64 feed_read_by_all(Feed *feed);

/* Microseconds that pass evenly, from some point in time. */
extern int64 feed_clock(void);

/* Pass a raw notification on; a ListenCallback, whose arg is the Feed. */
extern void feed_notify(void *arg, const char *channel, const char *payload);

#endif /* PG_NOTIFYD_FEED_H */
