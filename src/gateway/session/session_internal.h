/*-------------------------------------------------------------------------
 *
 * session_internal.h
 *	  Functions of session.c that session_input.c and session_tick.c use. It uses neither of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_SESSION_INTERNAL_H
#define GATEWAY_SESSION_INTERNAL_H

#include "gateway/session/session.h"

/* The functions of the session's connection. */
static inline const SessionIo *
session_io(const Session *session)
{
	return session->sessions->kinds[session->kind];
}

/* Take the complete message out of its turn, or put it there. */
static inline void
session_set_delayed(Session *session, bool delayed)
{
	if (delayed)
		TAILQ_INSERT_TAIL(&session->sessions->delayed, session, in_delayed);
	else
		TAILQ_REMOVE(&session->sessions->delayed, session, in_delayed);
}

/* Return true if the time for this work is over in the present turn of the loop. */
static inline bool
sessions_are_late(Sessions *sessions, Turn *turn)
{
	return sessions->clock != NULL && turn_is_over(turn, sessions->clock(), TURN_NS);
}

/*
 * Pause or resume reading from the client. The time in which it was not read does not count as
 * silence. Call this after every change that session_asks_too_much() depends on.
 */
extern void session_regulate(Session *session);

/* Drop what was kept of a message. */
extern void session_drop_partial(Session *session);

/* Add a session to the list of the second in which it is due (ms), or of the next second. */
extern void session_file(Session *session, uint64_t due);

/*
 * Return the number of bytes of events in the queue. A partly written message of our own still
 * counts completely.
 */
extern size_t session_events(const Session *session);

/* Queue a frame that is not an event, and take ownership of it. before is as in FrameNote. */
extern void session_queue_own(Session *session, Frame *frame, uint64_t before);

/* The connection is broken: clear the queue and wait for session_closed(). */
extern void session_broken(Session *session);

/*
 * Close a client that does not read, and tell it from which position it can resume. The position is
 * before everything still queued, and not later than events->position().
 */
extern void session_too_slow(Session *session);

#endif /* GATEWAY_SESSION_INTERNAL_H */
