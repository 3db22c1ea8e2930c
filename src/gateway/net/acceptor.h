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
 * Accept on count listening sockets, the descriptors from first_fd on, which other gateways share.
 * The kernel holds back a connection for defer_ms while its client sends nothing. accepted() is
 * called with each connection, and owns its transport.
 */
extern bool
acceptor_start(uv_loop_t *loop, int first_fd, int count, int defer_ms,
			   void (*accepted)(Transport *transport)) __attribute__((warn_unused_result));

/* Called once a second while acceptor_waits(): try again after a lack of descriptors or memory. */
extern void acceptor_tick(void);
extern bool acceptor_waits(void);

/* Stop accepting: close the listening sockets. */
extern void acceptor_stop(void);

#endif /* GATEWAY_ACCEPTOR_H */
