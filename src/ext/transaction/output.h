/*-------------------------------------------------------------------------
 *
 * output.h
 *	  Output to the session's client while others wait for its commit.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_OUTPUT_H
#define PG_NOTIFYD_OUTPUT_H

/*
 * Stop waiting for the client. Messages are sent as far as the client's socket accepts them, and
 * the rest stays in PostgreSQL's output buffer, which grows as needed. A second call does nothing.
 */
extern void output_begin_buffering(void);

/*
 * Send messages as usual again. The next message also sends the contents of the buffer. Does
 * nothing without output_begin_buffering(). Never raises an error.
 */
extern void output_end_buffering(void);

#endif /* PG_NOTIFYD_OUTPUT_H */
