/*-------------------------------------------------------------------------
 *
 * session.h
 *	  One connected client: what it has still to take, whether it is alive, how it ends.
 *
 * Life of a session:
 *
 *	  OPEN ──► CLOSING ──► GONE		we close: a close frame is the last thing queued
 *		└──► LEAVING ─────► GONE		the client closes, or the connection is broken: nothing is written any more
 *
 * The owner of the sessions, which is the hub, knows what clients have asked for; its functions are
 * called through SessionEvents. Nothing is written where it is queued: sessions_settle(), called once before the loop waits, writes all
 * that a round of events has queued, and frees the sessions that are GONE. So what a
 * feed sends in one piece goes out in one write, and no pointer becomes invalid within
 * a round. Only an event with which a round ends is not queued first, where nothing else
 * is: a thousand sessions are then gone through once, and not again when they are cold.
 *
 * What is queued for one client is bounded by client_buffer. A part of it is for events: one that
 * finds no room is refused, and the hub has its subscription read it from the log later. The rest,
 * but no more than SESSION_OWN, is for the session's own messages, which cannot be had again. A
 * client is not read while half of that is taken, so answers to its requests cannot pile up;
 * neither is it while SESSION_UNANSWERED of its requests wait for the feed (see hub_ask.c). An
 * event that is larger than all that is taken where no other is queued. Where much was queued for
 * long (SESSION_SOFT_MS), or nothing was taken for long (SESSION_STALL_MS), the client is slow too:
 * only half of the room is there until it has caught up; it is closed.
 *
 * All sessions together have a bound too, because client_buffer times max_clients would be no limit
 * at all. A frame counts once there, however many clients it is queued for, and so does what the
 * queues themselves take. Beyond SESSION_TOTAL times client_buffer each client has room for no more
 * than SESSION_SCARCE of events, and is not read while SESSION_OWN_SCARCE of its own messages are
 * queued, so only clients that are far behind feel it: they get the rest from the log.
 *
 * A session is looked after when it is due: each is in the list of the second in which something of
 * it comes next, its ping, its bookmark, the end of its time, and only those of the seconds that
 * have passed are gone through. Where something happens that may make it due sooner, it goes to the
 * list of now. So thousands that are quiet cost nothing but their pings; and these are spread over
 * the whole of keepalive, also where all have connected at once.
 *
 * This module has neither socket nor clock: both come in by SessionIo.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_SESSION_H
#define GATEWAY_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gateway/base/config.h"
#include "gateway/ws/frame.h"
#include "wire/wire.h"

#define SESSION_MAX_FRAGMENTS 1000  /* of one message */
#define SESSION_MESSAGE_MS    30000 /* from a message's first fragment to its last */
#define SESSION_CLOSE_MS      5000  /* from the first close frame to the connection's end */
#define SESSION_OWN_PART      4 /* this part of client_buffer is for the session's own messages, */
#define SESSION_OWN           65536 /* but no more than this */
#define SESSION_OWN_SCARCE                                                                         \
	4096 /* of which no more than so much is for answers where memory is scarce */
#define SESSION_UNANSWERED                                                                         \
	16                    /* requests that wait for the feed: the client is not read meanwhile */
#define SESSION_TURN   32 /* requests of a client that are dealt with before it is the others' turn */
#define SESSION_TOTAL  32    /* so many times client_buffer is for all clients together */
#define SESSION_SCARCE 65536 /* beyond that, bytes of events that may be queued for each of them */
#define SESSION_SOFT_MS                                                                            \
	10000 /* with more than half of the events' part queued: the rest is not used */
#define SESSION_STALL_MS 30000 /* with something queued of which the socket takes nothing: closed */
#define SESSION_GIVE_BACK                                                                          \
	(16 * 1024 * 1024) /* once queues have shrunk by this, the system gets it back */
#define SESSION_SECONDS                                                                            \
	256 /* a session is looked after at least once in so many, and a power of two */

/* Close codes (RFC 6455, 7.4; the last one is ours). */
#define SESSION_CLOSE_GOING_AWAY  1001
#define SESSION_CLOSE_UNSUPPORTED 1003
#define SESSION_CLOSE_BAD_TEXT    1007
#define SESSION_CLOSE_POLICY      1008
#define SESSION_CLOSE_TOO_BIG     1009
#define SESSION_CLOSE_RESTART     1012
#define SESSION_CLOSE_TOO_SLOW    4008

typedef struct Session Session;

typedef enum SessionState
{
	SESSION_OPEN,
	SESSION_CLOSING,
	SESSION_LEAVING,
	SESSION_GONE,
} SessionState;

/* The connection below a session. io is what session_open() was given. */
typedef struct SessionIo
{
	/* Milliseconds of a clock that never goes back. */
	uint64_t (*now)(void);
	/* May write() be called: has the socket taken everything that was written? */
	bool (*ready)(void *io);
	/* Write whole fragments. False: the connection is broken. */
	bool (*write)(void *io, const uint8_t *data, size_t len);
	/* Hand on nothing more that comes from the client, or go on, but not before this returns. */
	void (*pause)(void *io, bool pause);
	/* Call session_writable() as soon as the socket takes more. */
	void (*wake)(void *io);
	/* End the connection at once; session_closed() follows, but not before this returns. */
	void (*drop)(void *io);
	/*
	 * Called now and then while the socket takes nothing: end the connection if the client is gone.
	 */
	void (*probe)(void *io);
} SessionIo;

/* What a session tells its owner, and asks it. */
typedef struct SessionEvents
{
	/* The client has sent a message, which is len bytes of UTF-8. */
	void (*message)(Session *session, const char *text, size_t len);
	/* A frame was written whose note named a subscription and so many bytes of credit. */
	void (*written)(Session *session, uint32_t sub, uint32_t credit);
	/* Everything that was queued is written, and session->owed was set. It is not any more. */
	void (*drained)(Session *session);
	/*
	 * The position up to which everything has been queued: a client that took all of it loses
	 * nothing if it resumes there. The session is OPEN.
	 */
	WirePosition (*position)(const Session *session);
	/*
	 * When the owner will next have something to do for it, on the clock of SessionIo; UINT64_MAX:
	 * unless it calls session_attend() before. The session is OPEN.
	 */
	uint64_t (*due)(Session *session, uint64_t now);
	/* Do what is due. The session is OPEN. */
	void (*tick)(Session *session, uint64_t now);
	/* The session has left OPEN: it takes no frames any more. */
	void (*left)(Session *session);
} SessionEvents;

LIST_HEAD(SessionList, Session);
TAILQ_HEAD(SessionQueue, Session);

/* A walk over all sessions that may go on in a later round: sessions may come and go meanwhile. */
typedef struct SessionCursor
{
	LIST_ENTRY(SessionCursor) in_all;
	struct Session *next; /* NULL: none */
} SessionCursor;

/* Everything that sessions share. */
typedef struct Sessions
{
	const SessionIo *io;
	const Config *config;
	const SessionEvents *events;
	void *owner;
	struct SessionList all;                  /* not those that are GONE */
	struct SessionList gone;                 /* to be freed */
	struct SessionQueue dirty;               /* something was queued */
	struct SessionList due[SESSION_SECONDS]; /* of each second, counted on and on */
	uint64_t second;                         /* up to which they were gone through */
	uint32_t keepalive_ms;                   /* by which they were filed */
	LIST_HEAD(, SessionCursor) cursors;
	uint32_t count;     /* of all */
	size_t memory_peak; /* of frame_memory(), since memory was last given back */
	bool at_once;       /* see sessions_expect() */
	WireStats stats;
	uint8_t scratch[FRAME_WRITE];
} Sessions;

struct Session
{
	/*
	 * First, and in one line of the processor's cache, what an event needs that is written at once:
	 * up to queue.count.
	 */
	Sessions *sessions;
	void *io;
	uint8_t state; /* SessionState */
	bool dirty;
	bool waking;       /* wake() was called, session_writable() not yet */
	bool pinged;       /* a ping is not answered yet */
	bool anonymous;    /* came in without a token */
	bool owed;         /* the owner's: drained() is to be called when the queue is empty */
	bool paused;       /* the client is not read */
	uint64_t sent_at;  /* when something was last queued */
	uint64_t told;     /* the owner's: the id of the newest position that was queued */
	uint64_t messages; /* queued since it is open */
	uint64_t bytes;    /* written since then */
	Queue queue;
	uint8_t turn;      /* requests dealt with since it was last settled */
	size_t own;        /* bytes of the queue that are our own messages, not events */
	uint64_t over_at;  /* since when more than half of the events' room is taken; 0: it is not */
	uint64_t taken_at; /* when the socket last took something, or the queue began */
	LIST_ENTRY(Session) in_all;
	LIST_ENTRY(Session) in_due;
	TAILQ_ENTRY(Session) in_dirty;
	uint32_t number;     /* its own among all since the start */
	uint32_t unanswered; /* the owner's: requests of the client that wait for a feed */
	uint64_t alive_at;   /* when the client last gave a sign of life */
	uint32_t ping_share; /* the first ping is sent early, by this share of keepalive, of 2^32 */
	uint64_t deadline;   /* once it is not OPEN: when the connection is dropped */
	/* A message of which more fragments are to come. */
	char *partial;
	uint32_t partial_len;
	uint32_t fragments;
	uint64_t partial_at;
	const char *address; /* whom the log lines are about */
};

extern void sessions_init(Sessions *sessions, const SessionIo *io, const Config *config,
						  const SessionEvents *events, void *owner);

/*
 * A client is connected. io is its connection. The session ends with session_closed(), and is freed
 * by the next sessions_settle(). It is the beginning of a block of size bytes, of which what follows
 * the Session is the owner's, and zero.
 */
extern Session *
session_open(Sessions *sessions, size_t size, const char *address, bool anonymous, void *io);

/*
 * A part of a message was received: len bytes of a frame, of which remaining are still to
 * come; final: no other frame of this message follows.
 */
extern void session_received(Session *session, const char *data, size_t len, size_t remaining,
							 bool final, bool binary);

/* A pong was received. */
extern void session_alive(Session *session);

/* The socket takes more. */
extern void session_writable(Session *session);

/*
 * The client has sent a close frame, or has broken the protocol: is it to be told so, or has it had
 * our close frame? Nothing more is written here, and the connection is dropped if it does not end
 * by itself soon (SESSION_CLOSE_MS).
 */
extern bool session_answer_close(Session *session);

/* The connection is no more; neither is io. */
extern void session_closed(Session *session);

/* How many bytes of events may be queued for it, as things are. */
extern size_t session_room(const Session *session);

/*
 * Is there room for an event? Where it is scarce, what is queued is written first, so
 * this may find the connection broken: the session is not OPEN any more then (false).
 */
extern bool
session_has_room(Session *session, const Frame *frame) __attribute__((warn_unused_result));

/*
 * Write or queue an event, for which there is room. The caller has a reference to the frame. The
 * session may not be OPEN any more afterwards.
 */
extern void session_send_event(Session *session, Frame *frame, FrameNote note);

/* Have the processor fetch what session_has_room() and session_send_event() will need. */
static inline void
session_fetch(const Session *session)
{
	__builtin_prefetch(session);
}

/*
 * Queue a message of our own, given away by the caller; before as in FrameNote. Only an OPEN
 * session takes it; one that has too many of them queued is closed.
 */
extern void session_send_own(Session *session, Frame *frame, uint64_t before);

/*
 * Have sessions_settle() look after it though nothing was queued: session->owed was set, or it may
 * be read again.
 */
extern void session_schedule(Session *session);

/* Something has happened for which it may be due sooner: the next tick looks after it. */
extern void session_attend(Session *session);

/* Close, after everything queued was written. */
extern void session_close(Session *session, uint16_t code, const char *reason);

/*
 * The position that a client which has taken only what was written may resume from. For
 * a session that is OPEN.
 */
extern WirePosition session_position(const Session *session);

/*
 * Begin a walk over the sessions that are there now; the next of them that is OPEN, or
 * NULL at the end; end the walk, also before its end. The cursor is the caller's.
 */
extern void sessions_cursor_open(Sessions *sessions, SessionCursor *cursor);
extern Session *sessions_cursor_next(SessionCursor *cursor);
extern void sessions_cursor_close(SessionCursor *cursor);

/* Close every session, or every one that came in without a token. */
extern void sessions_close_all(Sessions *sessions, uint16_t code, const char *reason);
extern void sessions_close_anonymous(Sessions *sessions);

/*
 * Does more follow in this round? Then events are queued, to be written together; so they are until
 * this is said.
 */
extern void sessions_expect(Sessions *sessions, bool more);

/* Write what is queued, free what is gone; before the loop waits. */
extern void sessions_settle(Sessions *sessions);

/* Once a second, while there are sessions: keepalive, deadlines, and what the owner has due. */
extern void sessions_tick(Sessions *sessions);

/* At the end: free everything; connections are not closed. */
extern void sessions_free(Sessions *sessions);

#endif /* GATEWAY_SESSION_H */
