/*-------------------------------------------------------------------------
 *
 * feed.h
 *	  Declarations shared by the feed's own files. The model is at the head of feed.c.
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
#include "utils/jsonb.h"

#include "ext/access/access.h"
#include "ext/access/disconnected.h"
#include "ext/log/log.h"
#include "ext/base/frames.h"
#include "ext/base/shared.h"
#include "ext/sets/event_body.h"
#include "ext/feed/turns.h"
#include "ext/sets/sets.h"
#include "wire/wire.h"

typedef struct Feed Feed;
typedef struct Link Link;
typedef struct View View;
typedef struct Stream Stream;
typedef struct FeedAuth FeedAuth;
typedef struct Applied Applied;
typedef struct FeedChallenge FeedChallenge;
typedef struct Pattern Pattern;

/*
 * A connection that has presented a token, and its identity if a token was valid. In
 * link->identities, by session, until the gateway says that the connection has ended.
 */
typedef struct FeedIdentity
{
	uint32 session;
	uint32 number; /* what the gateway calls the identity; 0: no token was valid yet */
	Link *link;
	char role[NAMEDATALEN];
	char *subject;          /* NULL: none */
	TimestampTz expires_at; /* of its token; DT_NOEND: never */
	TimestampTz ends_at;    /* when it ends; DT_NOEND: never */
	TimestampTz issued_at;  /* of its token; DT_NOBEGIN: unknown */
	Jsonb *claims;          /* of its token, allocated alone in context */
	char *user;             /* Identity.user of its token, allocated alone in context; NULL: none */
	dlist_head subs;
	MemoryContext context;    /* NULL: there is no identity, or it has ended */
	bool challenged;          /* it has had a challenge, see feed_challenge.c */
	FeedChallenge *challenge; /* NULL: it has none now */
	MemoryContext challenge_context;
} FeedIdentity;

/*
 * A client's connection, with the gateway's number. In link->sessions while it has subscriptions.
 */
typedef struct Session
{
	uint32 number;
	int nsubs;
	Size filters;   /* bytes of their filters */
	int npatterns;  /* subscriptions of patterns */
	bool patterned; /* it has had some */
	TurnsSession turns;
} Session;

/* A subscription, with the gateway's number. In link->subs, by its number. */
typedef struct Sub
{
	uint32 number;
	Link *link;
	Stream *stream;
	Session *session;
	FeedIdentity *identity; /* NULL: the connection has no token */
	Applied *applied;       /* see feed_applied.c; NULL: policies have let all rows pass */
	char *filter;           /* UTF-8; NULL: none */
	uint8 kinds;            /* WIRE_KIND_ bits */
	uint8 ops;              /* WIRE_OP_ bits of the events */
	bool replaying;         /* reads the log itself, has not reached the live stream yet */
	bool waiting;           /* until it is placed again; in feed->waiting */
	int64 held_until;       /* its replay, or placing it, waits until this feed_clock() */
	int64 held_since;       /* since when it has had to wait again and again */
	uint64 placed;          /* the last round in which it was placed */
	LogReader reader;       /* the position of its replay */
	int64 credit;           /* bytes of replay that may still be sent to the client */
	int64 window;           /* the maximum of credit */
	TurnsReplay turn;       /* when it is read for next */
	bool held;              /* it waits for JOIN */
	bool unplaced;          /* it has begun in a stream of set_waiting_stream() */
	bool unsure;            /* it has waited to be placed while its snapshot may have been read */
	bool resumes;           /* then: with since, which is where its replay begins */
	struct SubSeen *seen;   /* NULL: it has no snapshot, or has passed it */
	uint64 serial;          /* of a pattern, see feed_pattern.c; 0: while it has a scan */
	struct PatternScan *scan;
	dlist_node in_stream;   /* stream->subs */
	dlist_node in_replays;  /* link->replays, while replaying */
	dlist_node in_identity; /* identity->subs */
	dlist_node in_waiting;
	struct Topic *topic; /* see feed_topic.c; NULL: it is not of a session of WAMP */
	uint64 subscriber;   /* then: the session */
	dlist_node in_topic;

	/* Valid only during a scan for several replays, see feed_replay.c. */
	bool in_scan;
	uint32 sent; /* events sent */
	struct Sub *next_in_scan;
	struct Sub *next_in_group;
} Sub;

/* The connection to one gateway. */
struct Link
{
	Feed *feed;
	int gateway;
	FrameSocket socket;
	bool greeted;       /* the gateway's HELLO has arrived */
	bool notifies_lost; /* raw notifications were dropped, and subscribers do not know yet */
	LogReader reader;   /* live: events up to reader.after were queued on this link */
	uint64 position;    /* the same, as a position that clients may get */
	uint64 announced;   /* position of the last POSITION frame */
	TimestampTz announced_at;
	TimestampTz last_event_at; /* of the last event that was read */
	uint64 delivered;          /* the socket has accepted the events up to this id */
	uint64 mark;               /* the socket will have accepted those up to this one */
	uint64 mark_bytes;         /* when it has accepted this many bytes */
	HTAB *subs;
	HTAB *sessions;
	HTAB *identities;
	dlist_head auths; /* tokens that wait to be verified, see feed_auth.c */
	int nauths;
	dlist_head replays;
	Turns turns;         /* of the replays */
	dlist_head patterns; /* see feed_pattern.c */
	uint64 newest_pattern;
	dlist_head kept; /* messages that have to wait, see feed_publish.c */
	Size kept_bytes; /* of their texts */
};

/* A list of columns that clients ask for. Equal lists are one, see feed_columns.c. */
typedef struct FeedColumns
{
	AccessColumns access;
	BodyColumns body;
	uint32 hash;
	int users;
	char *text; /* a list as in SUBSCRIBE, sorted */
	size_t length;
	struct FeedColumns *next; /* with the same hash */
	MemoryContext context;
} FeedColumns;

/* A source of a channel's events, and the streams that get all of them that their role may see. */
typedef struct ChannelSource
{
	Oid relation;   /* InvalidOid: messages */
	uint32 columns; /* a hash of the columns that filters can name */
	dlist_head open;
} ChannelSource;

/* Whether notifyd.applied_policies has rows of a channel. */
typedef enum AppliedChannel
{
	APPLIED_NOT_LOOKED,
	APPLIED_NOWHERE,
	APPLIED_SOMEWHERE
} AppliedChannel;

/* A channel with at least one view. */
typedef struct FeedChannel
{
	char name[NAMEDATALEN];
	Feed *feed;
	bool listening;
	dlist_head views;
	slist_head scanned; /* its streams in a scan for replays, see feed_replay.c */
	bool place;         /* its subscriptions must be placed again, see feed_place.c */
	int nspecial;       /* number of views with columns, and of streams with parts */
	int nsources;       /* 0: not known yet */
	ChannelSource **sources;
	dlist_head refreshed; /* streams whose sets may change with any commit */
	uint64 round;         /* the last round in which these were looked at */
	SetMoment looked_at;  /* when that was */
	uint64 placed;        /* the last round in which all subscriptions were placed again */
	AppliedChannel applied;
} FeedChannel;

typedef struct ViewKey
{
	char role[NAMEDATALEN]; /* empty: the anonymous role */
	char channel[NAMEDATALEN];
	FeedColumns *columns; /* NULL: all */
} ViewKey;

/* What a role may see of a channel, while a stream needs it. */
struct View
{
	ViewKey key;
	FeedChannel *channel;
	Oid role;
	AccessChannel access;
	bool due;             /* its decision must be repeated, see feed_recheck.c */
	dlist_head decisions; /* decisions about events, see feed_view.c */
	dlist_head filters;   /* columns of filters, see feed_filter.c */
	dlist_head streams;
	Stream *plain[NOTIFYD_MAX_GATEWAYS]; /* by gateway; NULL: none */
	dlist_node in_channel;               /* FeedChannel.views */
};

/* What a stream gets of one source of its channel. */
typedef struct StreamPart
{
	SetBinding *binding; /* NULL: all that the role may see, unless there is nothing */
	bool nothing;        /* the filter is about other sources */
	Stream *stream;
	dlist_node node; /* in set_users(binding) or ChannelSource.open, unless there is nothing */
} StreamPart;

/* Subscriptions on one link that get the same. In feed->streams, by its number. */
struct Stream
{
	uint32 number;
	int live;         /* number of subscriptions that get live events */
	int notified;     /* number of subscriptions that get raw notifications */
	View *view;       /* NULL: it has a pattern */
	Pattern *pattern; /* NULL: it has a view */
	Link *link;
	uint64 policies; /* a hash of the policies of its parts; 0: they let all rows pass */
	int nparts;      /* 0: it gets everything that the role may see */
	StreamPart *parts;
	dlist_head subs;
	struct ReplayGroup *groups; /* NULL except during a scan for replays, see feed_replay.c */
	slist_node in_scan;         /* FeedChannel.scanned, while it has groups */
	dlist_node in_view;         /* View.streams */
	dlist_node in_idle;         /* Feed.idle, while it has no subscriptions */
	bool refreshed;             /* a part's set may change with any commit */
	dlist_node in_refreshed;    /* FeedChannel.refreshed */
};

struct Feed
{
	NotifydDatabase *database;
	Oid incarnation; /* notifyd.log_0, to notice that the extension was dropped or created again */
	char *database_name;
	uint32 timeline;
	LogMap map;
	Link *links[NOTIFYD_MAX_GATEWAYS];
	uint32 gateway_generation; /* at the last attempt to connect */
	HTAB *channels;            /* name -> FeedChannel */
	HTAB *views;               /* ViewKey -> View */
	HTAB *streams;             /* number -> Stream */
	uint32 next_stream;        /* the last number assigned */
	dlist_head idle;           /* streams without subscriptions, until stream_commit() */
	dlist_head waiting;        /* subscriptions that are to be placed again, see feed_place.c */
	HTAB *applied;             /* see feed_applied.c */
	dlist_head applied_changed;
	bool applied_unsaved;   /* nothing may be sent before applied_commit() */
	uint64 applied_oldest;  /* map.oldest when applied_retain() last removed rows */
	uint64 applied_touched; /* the position when it last touched them */
	int nsubs;
	int npatterns; /* of these, subscriptions of patterns, */
	int nscans;    /* and those that read the log, see feed_pattern.c */
	int nrouted;   /* sessions of WAMP, and calls in SQL */
	int route_due; /* feed_route.c has something to do after so many ms; 0: at once; -1: nothing */
	int nidentities;
	uint32 last_identity;               /* the last number assigned */
	TimestampTz refusal_logged_at;      /* when a refused token was last logged; 0: never */
	int auth_turn;                      /* gateway whose token is verified next */
	DisconnectedSet *disconnected;      /* rows of notifyd.disconnected; NULL: not read yet */
	MemoryContext disconnected_context; /* of these */
	TimestampTz next_expiry;            /* no identity ends before; DT_NOEND: none ends */
	TimestampTz now;                    /* when this round began */
	TimestampTz idle_since;             /* since when there are no subscriptions */
	bool needed;                        /* there has been a subscription */
	TimestampTz locked_since;           /* since when feed_enter() has failed; 0: it has not */
	bool locked_long;                   /* for so long that notifications are discarded */
	bool first;                 /* the first feed of this database since the server started */
	TimestampTz sets_looked_at; /* when set_look_all() last did */
	uint64 sets_looked_count;   /* the number of transactions that had ended then */
	uint64 watermark;           /* as it was when this round began */
	uint64 round;               /* number of the round */
	uint64 set_changes;         /* set_changes() when bindings were last looked at */
	uint32 held_ms;             /* how long the same commit has held up the watermark */
	StringInfoData text;        /* the event being built */
	int transactions;           /* transactions with live events that this round has read */
	int64 read_began;    /* µs: when the WAL of these was flushed, so that they could be read */
	int64_t pause_until; /* µs: the feed pauses until then, see throttle.h */
	bool holds;          /* replays wait for a lock, or for time for their conditions */
	MemoryContext context;
};

/* A link with more unsent bytes than this gets no more events for now. */
#define LINK_HIGH_WATER (512 * 1024)

/* Return true if a link is connected, has sent HELLO, and is not too full for events. */
static inline bool
link_ready(const Link *link)
{
	return link != NULL && link->socket.fd != PGINVALID_SOCKET && link->greeted &&
		   frames_unsent(&link->socket) < LINK_HIGH_WATER;
}

/* ---------------- the lock on the tables (feed_lock.c) ---------------- */

/* Make the process release the lock when it ends. Must precede the first feed_enter(). */
extern void feed_lock_init(void);

/*
 * The feed uses the extension's tables only between feed_enter() and feed_exit(), which may be in
 * different transactions, or none. feed_enter() does not wait: it returns false, and the feed must
 * not use the tables, while a command has locked notifyd.log_0 or waits for that. Then the caller
 * begins another round after feed_wait_to_enter(), which waits a moment.
 */
extern bool feed_enter(Feed *feed);
extern void feed_exit(Feed *feed);
extern void feed_wait_to_enter(Feed *feed);

/* ---------------- where links are (feed_position.c) ---------------- */

/*
 * Set the position that clients may get: events up to id were queued on the link. With id 0 only
 * reader.after is known.
 */
extern void position_set(Link *link, uint64 id);

/*
 * Return the last position that a client may get now, and its watermark. Flushes the WAL up to
 * there. Needs a transaction.
 */
extern uint64 position_last(Feed *feed, uint64 *watermark);

/* Move a link without subscriptions to the end of the decided events. Needs a transaction. */
extern void position_jump(Link *link);

/* Do the same for all links that are not there yet. */
extern void position_jump_all(Feed *feed);

/*
 * Return true if there may be live events for a link, up to the watermark or up to what is decided
 * now.
 */
extern bool position_has_live(const Feed *feed, uint64 watermark);
extern bool position_behind(const Feed *feed);

/* ---------------- links (feed_link.c) ---------------- */

/*
 * Connect to the gateways that are running, and close links to those that are not. Cheap when
 * nothing has changed.
 */
extern void link_connect_all(Feed *feed, bool retry);

/* Return true if all connected gateways have sent HELLO. */
extern bool link_all_greeted(const Feed *feed);

/* Read and process what has arrived. Returns true if there was anything. */
extern bool link_receive_all(Feed *feed);

/* Send as much as possible without waiting, unless applied_commit() has to come first. */
extern void link_send_all(Feed *feed);

/* Set link->delivered from the bytes that the socket has accepted. */
extern void link_note_delivered(Link *link);

/* Queue POSITION if one is due. behind: there are more events for this link. */
extern void link_send_position(Link *link, bool behind);

/* Wait for the latch or a socket, at most timeout ms. */
extern void link_wait(Feed *feed, long timeout);

/* Tell a gateway, if it is connected, that a consumer group has events. arg is the feed. */
extern void link_group_ready(void *arg, int gateway, const char *group);

/* Send GOODBYE to all gateways and close the links. */
extern void link_goodbye_all(Feed *feed, const char *reason);

/* ---------------- what decisions depend on (feed_change.c) ---------------- */

#define CHANGE_MAX_RELATIONS 64

/* What has changed. */
typedef struct FeedChanges
{
	bool all;          /* all decisions are affected */
	bool disconnected; /* notifyd.disconnected, or notifyd.wamp_user */
	bool roles;        /* roles, memberships or the database */
	bool channels;     /* set by feed_recheck.c: relations that rights on channels depend on */
	int n;
	Oid relations[CHANGE_MAX_RELATIONS];
} FeedChanges;

/* Start to collect invalidations. */
extern void change_init(void);

/* Return true if something has changed since the last change_take(). */
extern bool change_due(void);

/* Treat all decisions as affected by a change. */
extern void change_all(void);

/* Return what has changed since the last call. */
extern FeedChanges change_take(void);

/* Must be called after a decision for a view, because a change may have arrived meanwhile. */
extern void change_decided(View *view);

/* ---------------- lists of columns (feed_columns.c) ---------------- */

extern void columns_init(Feed *feed);

/* Return a reference to the list with these names, as in SUBSCRIBE; and end one (NULL: none). */
extern FeedColumns *columns_get(WireBytes list);
extern void columns_release(FeedColumns *columns);

/* ---------------- channels and views (feed_view.c) ---------------- */

extern void view_init(Feed *feed);

/*
 * Copy a name from the wire in the server's encoding, into NAMEDATALEN bytes. Returns false if it is
 * too long or cannot be converted.
 */
extern bool view_copy_name(char *to, WireBytes name);

/* Return text from the wire in the server's encoding, allocated; NULL: it cannot be converted. */
extern char *view_server_text(WireBytes text);

/* Return the channel with this name, in the server's encoding, or NULL. */
extern FeedChannel *view_channel(Feed *feed, const char *name, int length);

/*
 * Return the view for a role (NULL: clients without a token), a channel, named in UTF-8, and
 * columns (NULL: all), whose reference is taken over. Returns NULL and sets *reason if the role may
 * not subscribe. The decision for an existing view is repeated if a change that concerns it has
 * arrived since. Needs a transaction. The caller adds a stream, or calls view_remove() if a new
 * view remains without one.
 */
extern View *view_find_or_create(Feed *feed, const char *role, WireBytes channel,
								 FeedColumns *columns, AccessReason *reason);

/* Remove a view without streams. Needs a transaction, for UNLISTEN. */
extern void view_remove(Feed *feed, View *view);

/* Return true if the role may get raw notifications of the channel. */
static inline bool
view_notifies(const View *view)
{
	return view->access.granted && !view->access.notifies;
}

/*
 * Return true if the role may see what the event contains; *restricted: row security decides which
 * rows. Needs a transaction.
 */
extern bool view_event_allowed(View *view, const LogEvent *event, bool *restricted);

/*
 * Repeat the decision on what the role may see of the channel. Returns false and sets *reason if
 * that is nothing any more. Needs a transaction.
 */
extern bool view_redecide(View *view, AccessReason *reason);

/*
 * The decisions about events: return true if there is one about events of a relation; discard all,
 * so that they are made again when needed.
 */
extern bool view_has_decision(const View *view, Oid relation);
extern void view_forget_decisions(View *view);

/* Return true if the view has a plain stream with live subscriptions. */
extern bool view_has_plain(const View *view);

/* ---------------- streams (feed_stream.c) ---------------- */

extern void stream_init(Feed *feed);

/* Return the plain stream of a view on a link, or create another one, without parts; view NULL: of a pattern. */
extern Stream *stream_plain(Link *link, View *view);
extern Stream *stream_create(Link *link, View *view);

/* Add and remove a subscription. It says whether it is live and gets raw notifications. */
extern void stream_add(Stream *stream, Sub *sub);
extern void stream_take(Sub *sub);

/* The same for its part in the counts only, before and after these change. */
extern void stream_count(Sub *sub, int change);

/* Remove streams without subscriptions, and their views. Needs a transaction if there are any. */
extern void stream_remove_idle(Feed *feed);

/*
 * End a stream of a pattern, or all streams of a view, with all subscriptions; and remove the view.
 * Needs a transaction.
 */
extern void stream_end(Feed *feed, Stream *stream, const AccessReason *reason);
extern void stream_end_view(Feed *feed, View *view, const AccessReason *reason);

/* Return true if its subscriptions may get raw notifications. */
static inline bool
stream_notifies(const Stream *stream)
{
	if (stream->pattern != NULL)
		return true;
	return view_notifies(stream->view) &&
		   (stream->nparts == 0 || (stream->parts[0].binding == NULL && !stream->parts[0].nothing));
}

/* ---------------- which rows (feed_set.c) ---------------- */

/* The index of the channel's source, -1: it has no such source yet; and add one. */
extern int set_source(const FeedChannel *channel, Oid relation);
extern void set_add_source(FeedChannel *channel, Oid relation);

/* Add messages, and the tables that are watched on the channel now. */
extern void set_find_sources(FeedChannel *channel);

/* A hash of the columns that events of a source have. */
extern uint32 set_hash_columns(const FeedChannel *channel, Oid relation);

/*
 * Return the stream for a subscription with this identity (NULL: no token) and filter (NULL: none).
 * Returns NULL and sets *reason if a policy or the filter cannot be used. Needs a transaction.
 */
extern Stream *set_stream(Link *link, View *view, const FeedIdentity *identity, const char *filter,
						  AccessReason *reason);

/*
 * The reason's kind if there is nothing wrong, but the stream cannot be known now, because of a lock or
 * for lack of time. The subscription can wait in a stream of set_waiting_stream(), which gets nothing.
 */
#define SET_NOT_NOW ((WireReason) 0)
extern Stream *set_waiting_stream(Link *link, View *view);

/* Note that one more subscription, or one less, wants the live events of a stream. */
extern void set_want_parts(Stream *stream, int change);

/* End a stream's use of its bindings. */
extern void set_remove_parts(Stream *stream);

/* ---------------- columns of filters (feed_filter.c) ---------------- */

/* Return true if the role may read the columns of a filter, and remember them; otherwise set *reason. */
extern bool
set_filter_allowed(View *view, Oid relation, const Bitmapset *columns, AccessReason *reason);

/* Check again that the role may read what filters name, and forget what they name. */
extern void set_recheck_filters(View *view);
extern void set_forget_filters(View *view);

/* ---------------- whether clients that resume have the right rows (feed_applied.c) ---------------- */

#define APPLIED_RESET_CHANGED "the rows that the subscription may see have changed"
#define APPLIED_RESET_UNKNOWN                                                                      \
	"the rows that the subscription may see may have changed since the position"
#define APPLIED_RESET_SNAPSHOT                                                                     \
	"the rows that the subscription may see may have changed since the snapshot"

extern void applied_init(Feed *feed);

/*
 * A subscription to events has begun in a stream; since: from this id, NULL: from now on, or with a
 * reset. Returns the reason for a reset if its client may have rows that it should not have, or lack
 * some; otherwise NULL. Needs a transaction.
 */
extern const char *applied_begin(Sub *sub, const uint64 *since);

/*
 * It has moved from a stream with other policies, and gets a reset; it ends; its identity has other
 * claims. Only the last one needs a transaction.
 */
extern void applied_move(Sub *sub, const Stream *from);
extern void applied_end(Sub *sub);
extern void applied_renew(Sub *sub);

/* Commit the transaction, with what has changed. */
extern void applied_commit(Feed *feed);

/* Called from time to time, without a transaction: remove what is not needed any more. */
extern void applied_retain(Feed *feed);

/* ---------------- which streams get what (feed_match.c) ---------------- */

/* What some streams get of an event. */
typedef struct MatchBody
{
	FeedColumns *columns;
	BodyChange change;
	bool bare;       /* without the payload */
	uint8 op;        /* WIRE_OP_ bit */
	bool known;      /* otherwise there is no text */
	StringInfo text; /* NULL: not built yet */
	List *streams;   /* live ones, of all links */
} MatchBody;

extern void match_init(Feed *feed);

/*
 * Find out which live streams of a channel get what of an event, place subscriptions again if that
 * is due, and queue the frames of a link. Needs a transaction with an active snapshot. What it
 * found is valid until the next call.
 */
extern void match_event(FeedChannel *channel, const LogEvent *event);
extern void match_send(Link *link);

/*
 * The same for streams that replay: begin with an event, then ask for each stream. The result is
 * NULL if it gets nothing. If *problem is set, the event is not known well enough, and its
 * subscriptions get a reset with that reason. If *leave is set, their replays must not go on now;
 * if they have not failed, they are held.
 */
extern void match_begin(FeedChannel *channel, const LogEvent *event);
extern bool match_allowed(View *view, bool *restricted); /* as view_event_allowed() */
extern MatchBody *match_stream(Stream *stream, const char **problem, bool *leave);

/* End the subscriptions for which a policy or filter has failed since. */
extern void match_end_failed(Feed *feed);

/* ---------------- subscriptions (feed_sub.c) ---------------- */

/* Begin a transaction for frames, unless one is open. sub_commit() ends it. */
extern void sub_begin(void);

/*
 * Process frames. sub_subscribe() is called after recheck_look(), in the transaction of
 * sub_begin().
 */
extern void sub_subscribe(Link *link, const WireSubscribe *request);
extern void sub_unsubscribe(Link *link, const WireUnsubscribe *request);
extern void sub_credit(Link *link, const WireReplayCredit *credit);

/*
 * Called when all frames that arrived together are processed: removes streams without
 * subscriptions, and commits the transaction for the frames. Must be called before anything is
 * sent, because LISTEN takes effect at the commit. Cheap when there is nothing to do.
 */
extern void sub_commit(Feed *feed);

/* Remove a subscription without a message to the gateway; and with one, that has the reason. */
extern void sub_remove(Sub *sub);
extern void sub_end(Sub *sub, const AccessReason *reason);

/* Drop all subscriptions of a link that is closed. */
extern void sub_drop_link(Link *link);

/*
 * If a subscription is live, let it replay from a reader's position, where it is. The link's own
 * reader goes on behind upto.
 */
extern void sub_replay(Sub *sub, const LogReader *reader, uint64 upto);

/* Let the replay of a subscription wait a moment. It becomes one if it is live, after this id. */
extern void sub_hold(Sub *sub, uint64 after);

/* Return true if it has been held so often that its conditions will not let it catch up. */
extern bool sub_is_late(const Sub *sub);

/*
 * The client has a snapshot: the subscription, which was held, goes on. Returns false if it was not held.
 */
extern bool sub_join(Link *link, const WireJoin *request);

extern void sub_go_live(Sub *sub);

/* Tell a subscription that events up to id are not available any more. */
extern void sub_send_reset(Sub *sub, NotifydReset kind, uint64 id, const char *reason);

/*
 * If raw notifications were dropped because the link was full, and it no longer is, send resets to
 * their subscribers.
 */
extern void sub_reset_notifies(Link *link);

/* ---------------- identities (feed_identity.c, feed_identity.h), and tokens that wait (feed_auth.c) ---------------- */

/* The entry of a connection that has presented a token, or NULL. */
extern FeedIdentity *identity_find(const Link *link, uint32 session);

/* End the identities whose time is over at feed->now. Cheap when there are none. */
extern void identity_expire(Feed *feed);

/*
 * End the identities whose role tokens may no longer choose, those that notify_disconnect() has ended, and those
 * of users of WAMP-CRA who were changed or dropped. Needs a transaction.
 */
extern void identity_recheck(Feed *feed);

/*
 * Remove rows of notifyd.disconnected that are not needed any more. Cheap when there are none.
 */
extern void identity_end_disconnected(Feed *feed);

/*
 * Verify some tokens, and send the answers. Returns true if others still wait. Called once in each
 * round, after the round's events are sent.
 */
extern bool auth_verify_some(Feed *feed);

/* ---------------- when decisions are repeated (feed_recheck.c) ---------------- */

extern void recheck_init(Feed *feed);

/*
 * Repeat decisions where necessary, and end streams that are no longer allowed. Needs a
 * transaction.
 */
extern void recheck_look(Feed *feed);

/* ---------------- events (feed_event.c) ---------------- */

/* The reason of a reset after retention has removed events. */
#define EVENT_RESET_RETENTION "events after the position are no longer retained"

/*
 * Build the event's JSON object. An event that is larger than pg_notifyd.max_event_size is reduced;
 * event_build_whole() builds the whole one. event_build_least() builds what is left of the largest.
 */
extern void event_build_text(StringInfo text, const LogEvent *event);
extern void event_build_whole(StringInfo text, const LogEvent *event);
extern void event_build_least(StringInfo text, const LogEvent *event, const char *op);

/* Queue an EVENT frame. The message is complete except for the text and the number of streams. */
extern void event_queue(Link *link, WireMessage *message, int n, StringInfo text);

/* Count a text as sent. */
extern void event_count_sent(Feed *feed, StringInfo text);

/*
 * Send a reset from the log to one subscription, if it concerns it, see watch_reset.c. Uses
 * feed->text.
 */
extern void event_send_reset(Sub *sub, const LogEvent *event);

/* ---------------- reading (feed_read.c) ---------------- */

/* The result of a round of reading. */
typedef enum FeedProgress
{
	FEED_IDLE,    /* nothing to do until something happens */
	FEED_MORE,    /* continue at once */
	FEED_STANDBY, /* waiting for a synchronous standby: check again soon */
} FeedProgress;

/*
 * Do one bounded round: read live events up to feed->watermark for all links and send them, then
 * read a part of every replay. lsn is the WAL position to flush for that watermark. Needs a
 * transaction that began after the watermark was taken.
 */
extern FeedProgress feed_read(Feed *feed, XLogRecPtr lsn);

/* Give a few turns to replays (feed_replay.c). */
extern FeedProgress feed_read_replays(Feed *feed, Snapshot snapshot);

/* Return how far the slowest link and the slowest replay have read. */
extern LogProgress feed_read_progress(Feed *feed);

/* Return a time in microseconds of a monotonic clock. */
extern int64 feed_clock(void);

/* Send a raw notification to its subscribers. A ListenCallback whose arg is the Feed. */
extern void feed_notify(void *arg, const char *channel, const char *payload);

#endif /* PG_NOTIFYD_FEED_H */
