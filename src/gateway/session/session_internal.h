/*-------------------------------------------------------------------------
 *
 * session_internal.h
 *	  Functions of session.c that session_tick.c uses. session.c does not use session_tick.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_SESSION_INTERNAL_H
#define GATEWAY_SESSION_INTERNAL_H

#include "gateway/session/session.h"

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
