/*-------------------------------------------------------------------------
 *
 * session_internal.h
 *	  What session_tick.c uses of session.c, which knows nothing of it.
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
 * everything that is still queued, and not beyond events->position().
 */
extern void session_too_slow(Session *session);

#endif /* GATEWAY_SESSION_INTERNAL_H */
