/*-------------------------------------------------------------------------
 *
 * session.h
 *	  One connected client: its queue, keepalive, and the end of its connection.
 *
 * The states of a session:
 *
 *	  OPEN ──► CLOSING ──► GONE		we close: a close frame is the last entry of the queue
 *		└──► LEAVING ─────► GONE		the client closes, or the connection is broken: nothing more is
 *									written
 *
 * A session whose kind has begin() waits until session_begin() before it writes anything; until then
 * there is no room for events.
 *
 * The owner of the sessions is the hub, which knows the clients' subscriptions. Sessions call its
 * functions through SessionEvents. Messages are queued first. sessions_flush(), which the loop
 * calls once before it waits, writes all that was queued in a round, and frees the sessions that
 * are GONE. So everything that a feed sends together goes out in one write, and no pointer becomes
 * invalid during a round. Only the last event of a round is written at once if the queue is empty,
 * so that thousands of sessions are visited once, and not again when they have left the processor's
 * cache.
 *
 * The queue of a client is limited to client_buffer. One part of it is for events. If an event does
 * not fit, session_has_room() returns false, and the hub makes its subscription read the event from
 * the log later. The rest, at most SESSION_OWN, is for the session's own messages, which are not in
 * the log. A client is not read while half of that rest is taken, so answers to its requests cannot
 * pile up, or while SESSION_UNANSWERED of its requests wait for the feed (see hub_ask.c). An event
 * that is larger than the buffer is queued if no other event is. A client is slow if much was
 * queued for long (SESSION_SOFT_MS): it then has only half of the room until it has caught up. If
 * its socket accepted nothing for long (SESSION_STALL_MS), it is closed.
 *
 * All sessions together have a limit too, because client_buffer times max_clients would not be an
 * effective one. In it a frame counts once, however many queues it is in, and the memory of the
 * queues counts too. Beyond SESSION_TOTAL times client_buffer, each client has room for at most
 * SESSION_SCARCE bytes of events, and is not read while SESSION_OWN_SCARCE bytes of its own
 * messages are queued. Only clients that are far behind notice this: they get the rest from the
 * log. A burst can reach the limit before the queues are written. Then an event has queues written
 * that have no room, for a limited time in each turn of the loop; the other clients get it from the
 * log.
 *
 * Sessions are visited when something is due. Each session is in the list of the second of its next
 * action: a ping, a bookmark, or a deadline. sessions_tick() goes through the lists of the seconds
 * that have passed. If something may be due sooner, the session moves to the list of the present
 * second. So thousands of quiet sessions cost nothing except their pings, and pings are spread over
 * the whole keepalive interval, even if all clients have connected at once.
 *
 * The requests of all clients together, and writing the queues, have a limited time in each turn of the
 * loop (turn.h). A request that arrives later in the turn, or while others wait, is kept until it is
 * its turn, and its client is not read meanwhile. So requests that take long cannot keep the loop from
 * other work, however many clients send them.
 *
 * Sessions have connections of several kinds. A kind is a SessionIo: functions for the connection, and
 * the frames that sessions send by themselves. Everything else is the same for all of them.
 *
 * This module has no socket and no clock. It gets both from its caller.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_SESSION_H
#define GATEWAY_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gateway/base/config.h"
#include "gateway/base/log_throttle.h"
#include "gateway/base/turn.h"
#include "gateway/ws/frame.h"
#include "wire/wire.h"

#define SESSION_MAX_FRAGMENTS 1000  /* in one message */
#define SESSION_MESSAGE_MS    30000 /* from the first fragment of a message to the last */
#define SESSION_CLOSE_MS      5000  /* from the first close frame to the end of the connection */
#define SESSION_OWN_PART      4     /* 1/4 of client_buffer is for the session's own messages, */
#define SESSION_OWN           65536 /* but at most this much */
#define SESSION_OWN_SCARCE                                                                         \
	4096                      /* of which at most this much is for answers when memory is scarce */
#define SESSION_UNANSWERED 16 /* requests waiting for the feed before the client is not read */
#define SESSION_TURN       32 /* requests of a client that are processed before others get their turn */
#define SESSION_TURN_BYTES 32768u /* or bytes of them, after decompression */
#define SESSION_TOTAL      32     /* all clients together may take this many times client_buffer */
#define SESSION_SCARCE     65536 /* beyond that, bytes of events that may be queued for each client */
#define SESSION_SOFT_MS                                                                            \
	10000 /* with more than half of the room for events taken: the rest is not used */
#define SESSION_SLOW_MS 10000 /* with something queued all the time: the client counts as slow */
#define SESSION_STALL_MS                                                                           \
	30000 /* without progress while something is queued: the client is closed */
#define SESSION_GIVE_BACK                                                                          \
	(16 * 1024 * 1024) /* when queues have shrunk by this much, memory is returned to the system */
#define SESSION_SECONDS                                                                            \
	256 /* each session is visited at least once in this many seconds; a power of two */

/* Close codes (RFC 6455, 7.4; the last one is ours). */
#define SESSION_CLOSE_GOING_AWAY  1001
#define SESSION_CLOSE_UNSUPPORTED 1003
#define SESSION_CLOSE_BAD_TEXT    1007
#define SESSION_CLOSE_POLICY      1008
#define SESSION_CLOSE_TOO_BIG     1009
#define SESSION_CLOSE_RESTART     1012
#define SESSION_CLOSE_EXPIRED     4001
#define SESSION_CLOSE_TOO_SLOW    4008
#define SESSION_CLOSE_NO_IDENTITY 4401
#define SESSION_CLOSE_NOT_SERVED  4503

typedef struct Session Session;

typedef enum SessionState
{
	SESSION_OPEN,
	SESSION_CLOSING,
	SESSION_LEAVING,
	SESSION_GONE,
} SessionState;

/* The kinds of connections. */
typedef enum SessionKind
{
	SESSION_WEBSOCKET,
	SESSION_COMPRESSED, /* a WebSocket with permessage-deflate */
	SESSION_SSE,
	SESSION_KINDS
} SessionKind;

/* A kind of connections. io is the argument of session_open(). */
typedef struct SessionIo
{
	/* Return true if write() may be called: the socket has accepted everything written before. */
	bool (*ready)(void *io);
	/* Write what queue_peek() returns. Returns false if the connection is broken. */
	bool (*write)(void *io, const uint8_t *data, size_t len);
	/* Stop or resume delivering data from the client, after this function has returned. */
	void (*pause)(void *io, bool pause);
	/* Call session_writable() when the socket accepts more. */
	void (*wake)(void *io);
	/* End the connection at once. session_closed() is called after this function has returned. */
	void (*drop)(void *io);
	/*
	 * Called from time to time while the socket accepts nothing: end the connection if the client
	 * is gone.
	 */
	void (*probe)(void *io);
	/* A complete frame for a quiet client. */
	WireBytes ping;
	/* A client answers a ping; one that does not is closed. Otherwise it need not. */
	bool answers_pings;
	/* Turn a message of the protocol, which is taken over, into what is sent. NULL: it is sent as it is. */
	Frame *(*pack)(Frame *frame);
	/* Make the last frame of a session, which is closed with this code and reason. */
	Frame *(*close)(uint16_t code, const char *reason);
	/* The bytes of a frame belong together: nothing may follow a part of it. */
	bool whole;
	/* The following three are NULL if the connection needs no such call. */
	/* The session may write from now on. */
	void (*begin)(void *io);
	/* The session is CLOSING, and this is its last frame. The connection may write something else. */
	void (*closing)(void *io, Frame *last);
	/* The last frame is written: end the connection, and call session_closed() later. */
	void (*finish)(void *io);
} SessionIo;

/* The functions of the owner that a session calls. */
typedef struct SessionEvents
{
	/* The client has sent a message, len bytes of UTF-8; of anything if session->encode is set. */
	void (*message)(Session *session, const char *text, size_t len);
	/* A frame was written whose note contains this subscription and credit. */
	void (*written)(Session *session, uint32_t sub, uint32_t credit);
	/* The queue is empty and session->owed was set. It is cleared before the call. */
	void (*drained)(Session *session);
	/*
	 * Return the position up to which everything was queued: a client that has taken all of that
	 * can resume there. The session is OPEN.
	 */
	WirePosition (*position)(const Session *session);
	/*
	 * Return when the owner next has something to do for the session, on the clock of Sessions;
	 * UINT64_MAX: only after session_attend(). The session is OPEN.
	 */
	uint64_t (*due)(Session *session, uint64_t now);
	/* Do what is due. The session is OPEN. */
	void (*tick)(Session *session, uint64_t now);
	/* The session has left the state OPEN: it accepts no more frames. */
	void (*left)(Session *session);
	/*
	 * The session is about to be closed with this code and reason. Return a message to send before
	 * the last frame, or NULL. The session is OPEN.
	 */
	Frame *(*farewell)(Session *session, uint16_t code, const char *reason);
} SessionEvents;

LIST_HEAD(SessionList, Session);
TAILQ_HEAD(SessionQueue, Session);

/*
 * A walk over all sessions that may continue in a later round. Sessions may come and go in between.
 */
typedef struct SessionCursor
{
	LIST_ENTRY(SessionCursor) in_all;
	struct Session *next; /* NULL: none */
} SessionCursor;

/* The data shared by all sessions. */
typedef struct Sessions
{
	uint64_t (*now)(void);   /* milliseconds of a clock that never goes back */
	uint64_t (*clock)(void); /* nanoseconds; for the turns. NULL: they never end */
	Turn asking;             /* for the requests of all clients */
	Turn writing;            /* for sessions_flush() */
	Turn relieving;          /* for session_has_room(), if memory is scarce */
	const SessionIo *kinds[SESSION_KINDS];
	const Config *config;
	const SessionEvents *events;
	void *owner;
	struct SessionList all;                  /* except those that are GONE */
	struct SessionList gone;                 /* to be freed */
	struct SessionQueue dirty;               /* with something queued */
	struct SessionQueue delayed;             /* with a request for which there was no time */
	struct SessionList due[SESSION_SECONDS]; /* by the second modulo SESSION_SECONDS */
	uint64_t second;                         /* lists up to this second were processed */
	uint32_t keepalive_ms;                   /* the value used to sort them */
	LIST_HEAD(, SessionCursor) cursors;
	uint32_t count;                 /* number of sessions, */
	uint32_t counts[SESSION_KINDS]; /* and of each kind */
	size_t memory_peak;             /* highest frame_memory() since memory was last returned */
	bool at_once;                   /* see sessions_expect() */
	LogThrottle too_big;            /* messages that were logged */
	WireStats stats;
	uint8_t scratch[FRAME_WRITE];
} Sessions;

struct Session
{
	/* First, in one cache line, what an event needs that is written at once: up to queue.count. */
	Sessions *sessions;
	void *io;
	uint8_t state; /* SessionState */
	bool dirty;
	bool waking;        /* wake() was called, but session_writable() was not yet */
	uint8_t kind;       /* SessionKind */
	bool waits;         /* until session_begin() */
	bool owed;          /* set by the owner: call drained() when the queue is empty */
	bool paused;        /* the client is not being read */
	bool held;          /* set by session_hold(): it must not be read */
	uint64_t sent_at;   /* when something was last queued */
	uint64_t announced; /* set by the owner: id of the newest position that was queued */
	uint64_t messages;  /* number queued since it was opened */
	uint64_t bytes;     /* number written since then */
	Queue queue;
	uint8_t turn;       /* of SESSION_TURN, used since the last sessions_flush() */
	uint32_t queued_at; /* since when the queue is not empty, unless it is; ms modulo 2^32 */
	size_t own;         /* bytes of our own messages in the queue, not of events */
	uint64_t over_at;   /* since when more than half of the room for events is taken; 0: not now */
	uint64_t taken_at;  /* when the socket last accepted something, or the queue was empty */
	LIST_ENTRY(Session) in_all;
	LIST_ENTRY(Session) in_due;
	TAILQ_ENTRY(Session) in_dirty;
	uint32_t number;     /* unique since the start */
	uint32_t unanswered; /* set by the owner: the client's requests waiting for a feed */
	bool pinged;         /* a ping was sent and not answered yet */
	bool anonymous;      /* connected without a token */
	bool torn;           /* a part of a message was written whose rest never will be */
	uint64_t alive_at;   /* when the client last gave a sign of life */
	uint32_t ping_share; /* the first ping is early by this share of keepalive, in units of 2^-32 */
	uint64_t deadline;   /* unless OPEN: when the connection is dropped */
	/* A message whose last fragment has not arrived yet, or which is complete and waits. */
	char *partial;
	uint32_t partial_len;
	uint32_t fragments;
	uint64_t partial_at;
	TAILQ_ENTRY(Session) in_delayed; /* while it is complete and the session is not held */
	bool complete;                   /* there was no time for it in its turn of the loop */
	bool compressed;                 /* if it is complete */
	const char *address;             /* for log messages */
	/*
	 * Set by the owner before anything is sent or received: messages are binary, in both directions. Turns
	 * a text message, which is taken over, into what is sent. NULL: they are text.
	 */
	Frame *(*encode)(Frame *frame);
};

/* now and kinds are copied to the members with these names. */
extern void sessions_init(Sessions *sessions, uint64_t (*now)(void), const SessionIo *const *kinds,
						  const Config *config, const SessionEvents *events, void *owner);

/*
 * Open a session for a connected client. io is its connection, of this kind. The session ends with
 * session_closed(), and the next sessions_flush() frees it. It is the start of a block of size
 * bytes; the rest belongs to the owner and is zero at first.
 */
extern Session *session_open(Sessions *sessions, SessionKind kind, size_t size, const char *address,
							 bool anonymous, void *io);

/*
 * Part of a message was received: len bytes of a frame, with remaining bytes to follow. final: this
 * is the last frame of the message. binary and compressed are about the whole message.
 */
extern void session_received(Session *session, const char *data, size_t len, size_t remaining,
							 bool final, bool binary, bool compressed);

/* A pong was received. */
extern void session_alive(Session *session);

/* The socket accepts more. */
extern void session_writable(Session *session);

/*
 * The client has sent a close frame or violated the protocol. Returns true if the connection must
 * send a close frame, and false if the session's own was sent. The session writes nothing more, and
 * drops the connection if it does not end soon (SESSION_CLOSE_MS).
 */
extern bool session_answer_close(Session *session);

/* The connection has ended, and io is invalid. */
extern void session_closed(Session *session);

/* Return how many bytes of events may be queued at present. */
extern size_t session_room(const Session *session);

/*
 * Return true if there is room for an event. If there is little, this writes the queue first, and
 * may find that the connection is broken: the result is false, and the session is not OPEN any
 * more.
 */
extern bool
session_has_room(Session *session, const Frame *frame) __attribute__((warn_unused_result));

/*
 * Write or queue an event, for which there is room. The caller keeps its reference to the frame.
 * Afterwards the session may not be OPEN any more.
 */
extern void session_send_event(Session *session, Frame *frame, FrameNote note);

/* Turn a text message, which is taken over, into a binary one if the client gets these. */
static inline Frame *
session_encode(const Session *session, Frame *frame)
{
	return session->encode != NULL && frame_is_text(frame) ? session->encode(frame) : frame;
}

/*
 * Turn a message of the client's protocol, which is taken over, into what its connection sends. All
 * sessions of the same kind and protocol send the same. session_send_own() need not get it, because
 * short messages are sent without compression.
 */
static inline Frame *
session_pack(const Session *session, Frame *frame)
{
	const SessionIo *io = session->sessions->kinds[session->kind];

	frame = session_encode(session, frame);
	return io->pack != NULL ? io->pack(frame) : frame;
}

/* Return for how long, in ms, something has been queued; 0: nothing is. */
static inline uint64_t
session_queued_ms(const Session *session, uint64_t now)
{
	return session->queue.count > 0 ? (uint32_t) now - session->queued_at : 0;
}

/* Prefetch what session_has_room() and session_send_event() need. */
static inline void
session_fetch(const Session *session)
{
	__builtin_prefetch(session);
}

/*
 * Queue one of our own messages, whose ownership passes to the session; before is as in FrameNote.
 * Ignored unless the session is OPEN. If too many are queued, the session is closed.
 */
extern void session_send_own(Session *session, Frame *frame, uint64_t before);

/*
 * Make the next sessions_flush() visit the session even if nothing was queued, because
 * session->owed was set, or because it may be read again.
 */
extern void session_schedule(Session *session);

/* Make the next tick visit the session, because something may be due sooner. */
extern void session_attend(Session *session);

/* Let a session write that waits for this. */
extern void session_begin(Session *session);

/* Close the session after everything queued was written. */
extern void session_close(Session *session, uint16_t code, const char *reason);

/* The same with this last frame, whose ownership passes to the session. */
extern void session_end(Session *session, Frame *last);

/* Close without writing what is queued, because the client may no longer get it. */
extern void session_cut_off(Session *session, uint16_t code, const char *reason);

/* Read nothing more from the client, or read again, from the next sessions_flush() on. */
extern void session_hold(Session *session, bool hold);

/*
 * Return the position from which a client that has taken only what was written can resume. The
 * session is OPEN.
 */
extern WirePosition session_position(const Session *session);

/*
 * Start a walk over the present sessions; return the next one that is OPEN, or NULL at the end; end
 * the walk, also before its end. The caller owns the cursor.
 */
extern void sessions_cursor_open(Sessions *sessions, SessionCursor *cursor);
extern Session *sessions_cursor_next(SessionCursor *cursor);
extern void sessions_cursor_close(SessionCursor *cursor);

/* Close all sessions, or only those without a token. */
extern void sessions_close_all(Sessions *sessions, uint16_t code, const char *reason);
extern void sessions_close_anonymous(Sessions *sessions);

/*
 * Set whether more events follow in this round. If so, events are queued, to be written together.
 */
extern void sessions_expect(Sessions *sessions, bool more);

/*
 * Begin a turn of the loop: process the requests for which the last turn had no time. Called before
 * sessions_flush().
 */
extern void sessions_work(Sessions *sessions);

/*
 * Write what is queued, and free the sessions that are GONE. Called before the loop waits, which it
 * must not do while sessions_wait() returns true: then the time was too short for all sessions, and
 * the next turn continues with the others.
 */
extern void sessions_flush(Sessions *sessions);
extern bool sessions_wait(const Sessions *sessions);

/*
 * Called once a second while there are sessions: keepalive, deadlines, and what is due for the
 * owner.
 */
extern void sessions_tick(Sessions *sessions);

/* Free everything at the end. Connections are not closed. */
extern void sessions_free(Sessions *sessions);

#endif /* GATEWAY_SESSION_H */
