/*-------------------------------------------------------------------------
 *
 * gateway.h
 *	  The gateway as a whole.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

/* The descriptors passed by the launcher. */
#define GATEWAY_CONTROL_PIPE_FD 3
#define GATEWAY_LINK_FD         4
#define GATEWAY_LISTENER_FD     5

/* From STOP to the end: the time for clients to read what is queued. */
#define GATEWAY_STOP_MS 1000

/* Serve until the launcher sends STOP or ends. Returns the exit status. */
extern int gateway_run(void);

#endif /* GATEWAY_GATEWAY_H */
