/*-------------------------------------------------------------------------
 *
 * session_internal.h
 *	  What the sessions' files share: session.c and session_tick.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_SESSION_INTERNAL_H
#define GATEWAY_SESSION_INTERNAL_H

#include "gateway/session/session.h"

/*
 * Enter a session in the list of the second in which it is due (ms), or of the first that is still
 * to come.
 */
extern void session_file(Session *session, uint64_t due);

/* Something has happened for which the session may be due sooner: the next tick looks after it. */
extern void session_attend(Session *session);

/*
 * Bytes of events that are queued. A message of our own may be written in part, and still counts as
 * a whole.
 */
extern size_t session_events(const Session *session);

/* Queue a frame that is no event; the caller gives it away. before as in FrameNote. */
extern void session_queue_own(Session *session, Frame *frame, uint64_t before);

/* The connection is broken: forget what was to be written, and wait for session_closed(). */
extern void session_broken(Session *session);

/*
 * The client does not read: close it, and tell it from where it can go on. That is before
 * everything that is still queued, and not beyond what its subscriptions have got.
 */
extern void session_too_slow(Session *session);

#endif /* GATEWAY_SESSION_INTERNAL_H */
