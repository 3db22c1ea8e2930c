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
 * From now on messages to the client are sent as far as its socket takes them, and the rest stays in
 * PostgreSQL's output buffer, which grows as needed. A session whose client does not read waits for
 * it no longer. A second call does nothing.
 */
extern void output_begin_buffering(void);

/*
 * Send to the client as before. What is in the buffer goes out with the next message. Does nothing
 * without output_begin_buffering(). Cannot fail.
 */
extern void output_end_buffering(void);

#endif /* PG_NOTIFYD_OUTPUT_H */
