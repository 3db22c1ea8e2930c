/*-------------------------------------------------------------------------
 *
 * acceptor.h
 *	  Accepts connections on the listening sockets.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GATEWAY_ACCEPTOR_H
#define GATEWAY_ACCEPTOR_H

#include <stdbool.h>

#include <uv.h>

#include "gateway/net/transport.h"

/*
 * Accept on count listening sockets, the descriptors from first_fd on. They are shared with other
 * gateways. The kernel keeps a connection back for defer_ms while its client sends nothing.
 * accepted() gets each connection, and owns its transport.
 */
extern bool
acceptor_start(uv_loop_t *loop, int first_fd, int count, int defer_ms,
			   void (*accepted)(Transport *transport)) __attribute__((warn_unused_result));

/* Once a second, while acceptor_waits(): the system had no descriptors or memory, try again. */
extern void acceptor_tick(void);
extern bool acceptor_waits(void);

/* Accept no more: close the listening sockets. */
extern void acceptor_stop(void);

#endif /* GATEWAY_ACCEPTOR_H */
